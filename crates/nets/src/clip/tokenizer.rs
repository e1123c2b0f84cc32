//! From a prompt to the token ids of CLIP.
//!
//! Text is brought into Unicode form C, lower-cased character by character, split by CLIP's pattern
//! (contractions, runs of letters, single digits, runs of everything else; white space separates and vanishes),
//! and each piece is encoded by byte-level byte-pair merges, its last symbol marked `</w>`. The start and end
//! tokens are recognised when a prompt spells them out.
//!
//! Ids agree with the transformers library's Rust tokenizer (`CLIPTokenizerFast`, and `CLIPTokenizer` from its
//! version 5 on). OpenAI's own tokenizer first repairs text (mis-decoded characters, curly quotes, ligatures,
//! full-width forms, control characters) and resolves HTML entities, and lower-cases a final sigma as such;
//! neither the transformers library's nor this one does.
//!
//! On purpose, a padding token other than the start and end tokens is *not* recognised in prompts. Stable
//! Diffusion 2 and ZeroScope pad with `!`; the transformers library therefore turns every `!` of a prompt into
//! padding, while those models were trained with `!` as the word that it is.

use std::collections::BTreeSet;

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::{PreTokenizerWrapper, sequence};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, normalizers};

use super::CLIPTextConfig;
use crate::{Error, ModelFiles};

/// What CLIP takes as a piece of text; everything between pieces is dropped.
const PIECE_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// Marks the last symbol of a piece.
const END_OF_WORD: &str = "</w>";

/// The largest vocabulary file that is read. OpenAI's `tokenizer.json` has 2.2 MB.
const MAX_FILE_BYTES: usize = 8 << 20;

/// Tokens of a prompt where `tokenizer_config.json` does not say, as in all published models.
const DEFAULT_MAX_LENGTH: f64 = 77.0;

/// A prompt as the text encoder takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Start token, tokens of the text, end token, padding: always `max_length` ids.
    pub ids: Vec<i64>,
    /// How many tokens of the text were cut off at the end because there are more than fit, if any were.
    pub truncated: Option<usize>,
}

/// Turns prompts into token ids; see the [module docs](self).
#[derive(Clone, Debug)]
pub struct CLIPTokenizer {
    path: String,
    pipeline: Tokenizer,
    start: i64,
    end: i64,
    padding: i64,
    max_length: usize,
    largest_id: i64,
}

impl CLIPTokenizer {
    /// Reads `vocab.json` and `merges.txt`, or `tokenizer.json` where one of them is absent, and, if present,
    /// `tokenizer_config.json` and `special_tokens_map.json`.
    ///
    /// # Errors
    /// If a file is missing, damaged or larger than 8 MiB, a merge names a token that the vocabulary lacks, a
    /// special token is not in the vocabulary, or the tokenizer is of another kind.
    pub fn load(files: &ModelFiles) -> Result<Self, Error> {
        let has_pair = files.contains("vocab.json") && files.contains("merges.txt");
        let vocabulary = if !has_pair && files.contains("tokenizer.json") {
            Vocabulary::from_tokenizer_json(files)?
        } else {
            Vocabulary::from_vocab_and_merges(files)?
        };
        let settings = Settings::load(files)?;
        vocabulary.into_tokenizer(settings)
    }

    /// Encodes a prompt. A prompt with more than [`Self::max_length`]` - 2` tokens loses those at its end.
    pub fn encode(&self, text: &str) -> Encoding {
        // The only failure that the pipeline knows is a symbol outside the vocabulary without an unknown
        // token to stand for it; loading made sure of that token.
        let encoded = self.pipeline.encode_fast(text, false);
        let encoded = encoded.expect("the unknown token is part of the vocabulary");
        let tokens = encoded.get_ids();
        let kept = &tokens[..tokens.len().min(self.max_length - 2)];

        let mut ids = Vec::with_capacity(self.max_length);
        ids.push(self.start);
        ids.extend(kept.iter().map(|id| i64::from(*id)));
        ids.push(self.end);
        ids.resize(self.max_length, self.padding);
        let cut = tokens.len() - kept.len();
        Encoding {
            ids,
            truncated: (cut > 0).then_some(cut),
        }
    }

    /// Ids per prompt: `model_max_length`, 77 in the published models.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Checks that a text encoder takes every encoding of this tokenizer.
    ///
    /// # Errors
    /// If it has fewer positions than an encoding has ids, or fewer ids than the vocabulary.
    pub fn check_fits(&self, config: &CLIPTextConfig) -> Result<(), Error> {
        let reason = if self.max_length > config.max_position_embeddings {
            format!(
                "prompts have {} tokens, but the text encoder has {} positions",
                self.max_length, config.max_position_embeddings
            )
        } else if self.largest_id >= config.vocab_size as i64 {
            format!(
                "ids go up to {}, but the text encoder knows {} tokens",
                self.largest_id, config.vocab_size
            )
        } else {
            return Ok(());
        };
        let path = self.path.clone();
        Err(Error::Tokenizer { path, reason })
    }
}

/// Tokens and merges, checked against each other.
struct Vocabulary {
    /// The file that tells about the tokens.
    path: String,
    ids: Vocab,
    merges: Merges,
}

impl Vocabulary {
    fn from_vocab_and_merges(files: &ModelFiles) -> Result<Self, Error> {
        let ids: Vocab = read_json(files, "vocab.json")?;
        let path = files.label("merges.txt");
        let invalid = |reason| Error::Tokenizer {
            path: path.clone(),
            reason,
        };
        let bytes = read_bounded(files, "merges.txt")?;
        let text = str::from_utf8(&bytes).map_err(|e| invalid(e.to_string()))?;
        let mut merges = Merges::new();
        for (index, line) in text.lines().enumerate() {
            let is_header = index == 0 && line.starts_with("#version");
            if is_header || line.is_empty() {
                continue;
            }
            let at_line = |reason| invalid(format!("line {}: {reason}", index + 1));
            merges.push(parse_merge(line).map_err(at_line)?);
            check_merge(&merges[merges.len() - 1], &ids).map_err(at_line)?;
        }
        Ok(Self {
            path: files.label("vocab.json"),
            ids,
            merges,
        })
    }

    fn from_tokenizer_json(files: &ModelFiles) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct File {
            model: Model,
            #[serde(default)]
            added_tokens: Vec<Added>,
        }
        #[derive(Deserialize)]
        struct Model {
            #[serde(rename = "type")]
            kind: Option<String>,
            end_of_word_suffix: Option<String>,
            continuing_subword_prefix: Option<String>,
            vocab: Vocab,
            merges: Vec<Merge>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Merge {
            Pair(String, String),
            Line(String),
        }
        #[derive(Deserialize)]
        struct Added {
            id: u32,
            content: String,
        }

        let name = "tokenizer.json";
        let path = files.label(name);
        let File {
            model,
            added_tokens,
        } = read_json(files, name)?;
        // Other byte-pair tokenizers share this file format; only CLIP's rules are implemented here.
        let kind = model.kind.as_deref().unwrap_or("BPE");
        if kind != "BPE" {
            return Err(Error::config(&path, "model.type", kind, "\"BPE\""));
        }
        let suffix = model.end_of_word_suffix.unwrap_or_default();
        if suffix != END_OF_WORD {
            let field = "model.end_of_word_suffix";
            return Err(Error::config(
                &path,
                field,
                suffix,
                format!("{END_OF_WORD:?}"),
            ));
        }
        let prefix = model.continuing_subword_prefix.unwrap_or_default();
        if !prefix.is_empty() {
            let field = "model.continuing_subword_prefix";
            return Err(Error::config(&path, field, prefix, "\"\""));
        }

        let mut ids = model.vocab;
        for added in added_tokens {
            ids.entry(added.content).or_insert(added.id);
        }
        let mut merges = Merges::new();
        for (index, merge) in model.merges.into_iter().enumerate() {
            let invalid = |reason| Error::Tokenizer {
                path: path.clone(),
                reason: format!("merge {}: {reason}", index + 1),
            };
            let merge = match merge {
                Merge::Pair(first, second) => (first, second),
                Merge::Line(line) => parse_merge(&line).map_err(invalid)?,
            };
            check_merge(&merge, &ids).map_err(invalid)?;
            merges.push(merge);
        }
        Ok(Self { path, ids, merges })
    }

    fn into_tokenizer(self, settings: Settings) -> Result<CLIPTokenizer, Error> {
        let path = self.path;
        let id_of = |(field, token): (&str, &String)| {
            let missing = || Error::Tokenizer {
                path: path.clone(),
                reason: format!("`{field}` is {token:?}, which is not in the vocabulary"),
            };
            self.ids.get(token).copied().ok_or_else(missing)
        };
        let start = id_of(("bos_token", &settings.bos_token))?;
        let end = id_of(("eos_token", &settings.eos_token))?;
        let padding = id_of(("pad_token", &settings.pad_token))?;
        id_of(("unk_token", &settings.unk_token))?;
        let largest_id = self.ids.values().copied().max().unwrap_or(0);

        let model = BPE::builder()
            .vocab_and_merges(self.ids, self.merges)
            .unk_token(settings.unk_token)
            .end_of_word_suffix(END_OF_WORD.into())
            .build()
            .map_err(|e| Error::Tokenizer {
                path: path.clone(),
                reason: e.to_string(),
            })?;
        let mut pipeline = Tokenizer::new(model);
        pipeline.with_normalizer(Some(normalizers::Sequence::new(vec![
            NormalizerWrapper::NFC(NFC),
            NormalizerWrapper::Lowercase(Lowercase),
        ])));
        let pieces = Split::new(
            SplitPattern::Regex(PIECE_PATTERN.into()),
            SplitDelimiterBehavior::Removed,
            true,
        )
        .expect("the pattern is constant and tested");
        pipeline.with_pre_tokenizer(Some(sequence::Sequence::new(vec![
            PreTokenizerWrapper::Split(pieces),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)),
        ])));
        let spelled_out = BTreeSet::from([settings.bos_token, settings.eos_token]);
        let special: Vec<AddedToken> = spelled_out
            .into_iter()
            .map(|token| AddedToken::from(token, true))
            .collect();
        pipeline.add_special_tokens(&special);

        Ok(CLIPTokenizer {
            path,
            pipeline,
            start: start.into(),
            end: end.into(),
            padding: padding.into(),
            max_length: settings.max_length,
            largest_id: largest_id.into(),
        })
    }
}

/// `first second`, as a line of `merges.txt` has it.
fn parse_merge(line: &str) -> Result<(String, String), String> {
    match line.split_once(' ') {
        Some((first, second)) if !first.is_empty() && !second.is_empty() => {
            Ok((first.into(), second.into()))
        }
        _ => Err(format!("{line:?} is not two tokens with a space between")),
    }
}

/// Whether the vocabulary has both tokens of a merge and what they become.
fn check_merge((first, second): &(String, String), ids: &Vocab) -> Result<(), String> {
    let merged = format!("{first}{second}");
    let missing = [first, second, &merged]
        .into_iter()
        .find(|token| !ids.contains_key(*token));
    match missing {
        None => Ok(()),
        Some(token) => Err(format!(
            "the merge of {first:?} and {second:?} needs {token:?}, which is not in the vocabulary"
        )),
    }
}

/// What `tokenizer_config.json` and `special_tokens_map.json` say.
struct Settings {
    bos_token: String,
    eos_token: String,
    unk_token: String,
    pad_token: String,
    max_length: usize,
}

#[derive(Default, Deserialize)]
struct TokenizerConfig {
    #[serde(flatten)]
    special_tokens: SpecialTokens,
    /// Some exports write 1e30 for "no limit".
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct SpecialTokens {
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
}

/// A special token, as plain text or with its properties.
#[derive(Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Plain(String),
    Described { content: String },
}

impl SpecialTokens {
    /// These tokens, and where one is absent that of `other`.
    fn or(self, other: Self) -> Self {
        Self {
            bos_token: self.bos_token.or(other.bos_token),
            eos_token: self.eos_token.or(other.eos_token),
            unk_token: self.unk_token.or(other.unk_token),
            pad_token: self.pad_token.or(other.pad_token),
        }
    }
}

impl Settings {
    fn load(files: &ModelFiles) -> Result<Self, Error> {
        let config_name = "tokenizer_config.json";
        let config: TokenizerConfig = read_json_if_there(files, config_name)?;
        let map: SpecialTokens = read_json_if_there(files, "special_tokens_map.json")?;
        // The transformers library lets the map win over configurations from before `added_tokens_decoder`.
        // It matters: Stable Diffusion 2 was published with the end token as padding in the configuration
        // and "!" in the map, and was trained with the latter.
        let tokens = if config.added_tokens_decoder.is_some() {
            config.special_tokens.or(map)
        } else {
            map.or(config.special_tokens)
        };
        let content = |token: Option<SpecialToken>, default: &str| match token {
            Some(SpecialToken::Plain(content) | SpecialToken::Described { content }) => content,
            None => default.into(),
        };

        let max_length = config.model_max_length.unwrap_or(DEFAULT_MAX_LENGTH);
        if !(2.0..=65536.0).contains(&max_length) || max_length.fract() != 0.0 {
            let expected = "a whole number from 2 to 65536";
            let path = files.label(config_name);
            return Err(Error::config(
                &path,
                "model_max_length",
                max_length,
                expected,
            ));
        }
        Ok(Self {
            bos_token: content(tokens.bos_token, "<|startoftext|>"),
            eos_token: content(tokens.eos_token, "<|endoftext|>"),
            unk_token: content(tokens.unk_token, "<|endoftext|>"),
            pad_token: content(tokens.pad_token, "<|endoftext|>"),
            max_length: max_length as usize,
        })
    }
}

fn read_bounded(files: &ModelFiles, name: &str) -> Result<std::borrow::Cow<'static, [u8]>, Error> {
    let bytes = files.read(name)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Error::TooLarge {
            path: files.label(name),
            found: bytes.len() as u64,
            limit: MAX_FILE_BYTES as u64,
        });
    }
    Ok(bytes)
}

fn read_json<T: serde::de::DeserializeOwned>(files: &ModelFiles, name: &str) -> Result<T, Error> {
    serde_json::from_slice(&read_bounded(files, name)?).map_err(|source| Error::Json {
        path: files.label(name),
        source,
    })
}

fn read_json_if_there<T: serde::de::DeserializeOwned + Default>(
    files: &ModelFiles,
    name: &str,
) -> Result<T, Error> {
    if files.contains(name) {
        read_json(files, name)
    } else {
        Ok(T::default())
    }
}
