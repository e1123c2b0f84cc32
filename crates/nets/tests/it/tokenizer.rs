//! The CLIP tokenizer: OpenAI's vocabulary against recordings where it is at hand, a vocabulary of bare bytes
//! for the rules, and damaged files.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use kinvert_nets::clip::CLIPTextConfig;
use kinvert_nets::{CLIPTokenizer, Error, ModelFiles};
use kinvert_testkit::{Recording, fixtures_dir};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const START: i64 = 512;
const END: i64 = 513;

/// 73 strings with the ids that OpenAI's tokenizer gives, and those of the transformers library's Rust tokenizer
/// where they differ; the rule of this crate is the latter. The recording holds ids for the published
/// vocabulary and for a small part of it, which the environment variable must lead to: a folder with `full/` and
/// `small/`, each with `vocab.json` and `merges.txt`.
#[test]
fn openai_vocabularies_agree_with_the_reference() {
    let Some(folder) = std::env::var_os("KINVERT_CLIP_VOCAB") else {
        println!("skipped: KINVERT_CLIP_VOCAB does not name a folder with OpenAI's vocabulary");
        return;
    };
    let cases = std::fs::read(fixtures_dir().join("parity/clip_tokenizer/cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let recording = Recording::open("parity/clip_tokenizer/io.safetensors");
    for version in ["full", "small"] {
        let files = ModelFiles::folder(Path::new(&folder).join(version));
        let tokenizer = CLIPTokenizer::load(&files).unwrap();
        let padded = recording.i64s(&format!("ids_{version}"));
        let mut other_rule = 0;
        for (case, openai) in cases.iter().zip(padded.chunks(77)) {
            let text = case["text"].as_str().unwrap();
            let differing = &case[format!("{version}_differs_in")]["hf_fast"];
            other_rule += usize::from(differing.is_array());
            let recorded = match differing {
                Value::Null => &case[format!("{version}_ids")],
                ids => ids,
            };
            let expected: Vec<i64> = serde_json::from_value(recorded.clone()).unwrap();
            let encoding = tokenizer.encode(text);
            let (ids, padding) = encoding.ids.split_at(expected.len());
            assert_eq!(ids, expected, "{version}: {text:?}");
            assert!(
                padding.iter().all(|id| id == expected.last().unwrap()),
                "{text:?}"
            );
            if differing.is_null() {
                // The recording pads with 0.
                assert_eq!(ids, &openai[..ids.len()], "{text:?}");
                let total = case[format!("{version}_untruncated_len")].as_u64().unwrap() as usize;
                let cut = total.saturating_sub(77);
                assert_eq!(encoding.truncated.unwrap_or(0), cut, "{text:?}");
            }
        }
        // Curly quotes, HTML entities (2), full width, a ligature, a final sigma, control characters,
        // mis-decoded text: what OpenAI's tokenizer repairs first.
        assert_eq!(other_rule, 8, "{version}");
    }
}

#[test]
fn text_is_split_into_lower_case_pieces() {
    let tokenizer = Vocabulary::of_bytes().with_max_length(256).load().unwrap();
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(pieces(&tokenizer.encode(text).ids), expected, "{text:?}");
    };
    check("", &[]);
    check(" \t\n\u{3000}", &[]);
    check("A Photo  of\ta\r\nCAT", &["a", "photo", "of", "a", "cat"]);
    check(
        "it's DON'T we've I'm",
        &["it", "'s", "don", "'t", "we", "'ve", "i", "'m"],
    );
    check("rock 'n' roll", &["rock", "'", "n", "'", "roll"]);
    check("x's's 'sx", &["x", "'s", "'s", "'s", "x"]);
    check("1,024 in4k", &["1", ",", "0", "2", "4", "in", "4", "k"]);
    check("½ x² Ⅷ", &["½", "x", "²", "ⅷ"]);
    check("wow!!! ...a--b", &["wow", "!!!", "...", "a", "--", "b"]);
    check("cafe\u{301} É", &["café", "é"]); // composed
    check("İ", &["i", "\u{307}"]); // a mark is no letter
    check("ΟΔΟΣ", &["οδοσ"]); // no final sigma
    check("日本 語", &["日本", "語"]);
    check("שלום مرحبا", &["שלום", "مرحبا"]);
    check("a🐱b👩\u{200d}👧", &["a", "🐱", "b", "👩\u{200d}👧"]);
    check("a\0b\u{1}\u{7f}", &["a", "\0", "b", "\u{1}\u{7f}"]);
    check("&amp; “x”", &["&", "amp", ";", "“", "x", "”"]);
    check(
        "<|startoftext|>a<|endoftext|> b",
        &["START", "a", "END", "b"],
    );
    check("<|ENDOFTEXT|>", &["<|", "endoftext", "|>"]);
}

#[test]
fn merges_apply_in_their_order() {
    let vocabulary = Vocabulary::of_bytes().with_merges(&["b c</w>", "a b", "ab c</w>"]);
    let tokenizer = vocabulary.load().unwrap();
    let check = |text: &str, expected: &[&str]| {
        let expected: Vec<i64> = expected.iter().map(|token| vocabulary.id(token)).collect();
        assert_eq!(
            tokenizer.encode(text).ids[1..=expected.len()],
            expected,
            "{text:?}"
        );
    };
    // The merge of "b" and "c" comes first, although "abc" could become one token by the others.
    check("abc", &["a", "bc</w>", "<|endoftext|>"]);
    check("abd ab", &["ab", "d</w>", "a", "b</w>"]);
    check("abcd", &["ab", "c", "d</w>"]);
}

#[test]
fn long_prompts_lose_their_end_and_say_so() {
    let tokenizer = Vocabulary::of_bytes().load().unwrap();
    assert_eq!(tokenizer.max_length(), 77);
    let encode = |count| tokenizer.encode(&"a ".repeat(count));
    assert_eq!(encode(75).truncated, None);
    assert_eq!(encode(75).ids[76], END);
    assert_eq!(encode(76).truncated, Some(1));
    assert_eq!(encode(76).ids, encode(75).ids);
    assert_eq!(encode(1000).truncated, Some(925));
}

#[test]
fn padding_is_what_the_files_say() {
    let last =
        |vocabulary: &Vocabulary| *vocabulary.load().unwrap().encode("hi!").ids.last().unwrap();
    let config = |value| Vocabulary::of_bytes().with_file("tokenizer_config.json", value);
    let map =
        |vocabulary: Vocabulary, value| vocabulary.with_file("special_tokens_map.json", value);
    let end = json!({"pad_token": "<|endoftext|>"});
    let mark = json!({"pad_token": {"content": "!", "lstrip": false, "special": true}});
    assert_eq!(last(&Vocabulary::of_bytes()), END);
    assert_eq!(last(&config(mark.clone())), 0);
    assert_eq!(last(&map(config(end.clone()), mark.clone())), 0);
    let mut decoded = end;
    decoded["added_tokens_decoder"] = json!({});
    assert_eq!(last(&map(config(decoded), mark.clone())), END);
    // The padding token remains a word: "!" at the end of one, not the padding's id 0.
    let vocabulary = config(mark);
    let ids = vocabulary.load().unwrap().encode("!").ids;
    assert_eq!(ids[..4], [START, vocabulary.id("!</w>"), END, 0]);
}

#[test]
fn a_tokenizer_json_is_as_good_as_the_pair() {
    let merges = ["t h", "th e</w>"];
    let vocabulary = Vocabulary::of_bytes().with_merges(&merges);
    let pair = vocabulary.load().unwrap();
    let as_lines = json!(merges);
    let as_pairs = json!([["t", "h"], ["th", "e</w>"]]);
    for merges in [as_lines, as_pairs] {
        let folder = tempfile::tempdir().unwrap();
        let file = tokenizer_json(&vocabulary, merges);
        write(&folder, "tokenizer.json", file.to_string().as_bytes());
        let single = load(&folder).unwrap();
        for text in ["the Theatre", "<|endoftext|> 42!"] {
            assert_eq!(single.encode(text), pair.encode(text));
        }
    }
}

#[test]
fn ten_thousand_characters_take_no_time() {
    let tokenizer = Vocabulary::of_bytes()
        .with_merges(&["a a", "aa aa"])
        .load()
        .unwrap();
    for text in [
        "a", "a ", "'", "1", "é", "e\u{301}", "\u{301}", "🐱", "א", "\0", " ", "<|", "'s",
    ] {
        let long: String = text.chars().cycle().take(10_000).collect();
        let begin = Instant::now();
        let encoding = tokenizer.encode(&long);
        let took = begin.elapsed();
        assert_eq!(encoding.ids.len(), 77, "{text:?}");
        assert!(took < Duration::from_secs(2), "{text:?} took {took:?}");
    }
}

proptest! {
    /// Encoding what an encoding spells gives the same encoding: nothing is lost but case, white space and
    /// the composition of characters.
    #[test]
    fn any_text_survives_a_round_trip(text in any::<String>()) {
        static TOKENIZER: LazyLock<CLIPTokenizer> =
            LazyLock::new(|| Vocabulary::of_bytes().with_max_length(4096).load().unwrap());
        let encoding = TOKENIZER.encode(&text);
        prop_assert_eq!(encoding.ids.len(), 4096);
        prop_assert_eq!(encoding.truncated, None);
        let spelled = pieces(&encoding.ids).join(" ");
        prop_assert_eq!(TOKENIZER.encode(&spelled), encoding);
    }
}

#[test]
fn a_tokenizer_is_checked_against_its_text_encoder() {
    let tokenizer = Vocabulary::of_bytes().load().unwrap();
    let config = |vocab_size, max_position_embeddings| CLIPTextConfig {
        vocab_size,
        max_position_embeddings,
        ..CLIPTextConfig::default()
    };
    tokenizer.check_fits(&config(514, 77)).unwrap();
    let error = tokenizer.check_fits(&config(513, 77)).unwrap_err();
    assert!(error.to_string().contains("ids go up to 513"), "{error}");
    let error = tokenizer.check_fits(&config(514, 76)).unwrap_err();
    assert!(error.to_string().contains("76 positions"), "{error}");
}

#[test]
fn contradictory_vocabularies_are_errors() {
    let check = |vocabulary: &Vocabulary, expected: &str| {
        let error = vocabulary.load().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some(), "{error}");
    };
    let with_merges = |text: &str| Vocabulary::of_bytes().with_text("merges.txt", text.as_bytes());
    check(
        &with_merges("#version: 0.2\na b\n"),
        "line 2: the merge of \"a\" and \"b\" needs \"ab\"",
    );
    check(
        &with_merges("zz a\n"),
        "line 1: the merge of \"zz\" and \"a\" needs \"zz\"",
    );
    check(&with_merges("ab\n"), "line 1: \"ab\" is not two tokens");
    check(&with_merges("a \n"), "line 1: \"a \" is not two tokens");
    check(
        &Vocabulary::of_bytes().with_text("merges.txt", &[0xff, 0xfe]),
        "merges.txt",
    );

    for (field, token) in [
        ("bos_token", "<s>"),
        ("eos_token", ""),
        ("unk_token", "<unk>"),
        ("pad_token", "<pad>"),
    ] {
        let vocabulary =
            Vocabulary::of_bytes().with_file("special_tokens_map.json", json!({field: token}));
        check(
            &vocabulary,
            &format!("`{field}` is {token:?}, which is not in the vocabulary"),
        );
    }
    check(
        &Vocabulary::of_bytes().with_text("vocab.json", b"{}"),
        "`bos_token`",
    );

    for length in [json!(1), json!(0), json!(-5), json!(77.5), json!(1e30)] {
        let config = json!({"model_max_length": length});
        check(
            &Vocabulary::of_bytes().with_file("tokenizer_config.json", config),
            "`model_max_length`",
        );
    }
    for text in [
        "",
        "[]",
        "{\"a\": -1}",
        "{\"a\": 4294967296}",
        "{\"a\": \"b\"}",
        "{\"a\": 1",
    ] {
        let error = Vocabulary::of_bytes()
            .with_text("vocab.json", text.as_bytes())
            .load()
            .unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{text}: {error}");
    }
}

#[test]
fn missing_and_oversized_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(&folder).unwrap_err();
    assert!(
        matches!(&error, Error::Missing { path } if path.ends_with("vocab.json")),
        "{error}"
    );
    write(&folder, "vocab.json", b"{}");
    let error = load(&folder).unwrap_err();
    assert!(
        matches!(&error, Error::Missing { path } if path.ends_with("merges.txt")),
        "{error}"
    );
    write(&folder, "merges.txt", b"");
    write(&folder, "vocab.json", &vec![b' '; 9 << 20]);
    let error = load(&folder).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn tokenizers_of_another_kind_are_refused() {
    let vocabulary = Vocabulary::of_bytes();
    let refused = [
        ("type", json!("WordPiece")),
        ("end_of_word_suffix", json!("")),
        ("end_of_word_suffix", Value::Null),
        ("continuing_subword_prefix", json!("##")),
    ];
    for (field, value) in refused {
        let mut file = tokenizer_json(&vocabulary, json!([]));
        file["model"][field] = value;
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "tokenizer.json", file.to_string().as_bytes());
        let error = load(&folder).unwrap_err();
        assert!(
            error.to_string().contains(&format!("`model.{field}`")),
            "{error}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = tokenizer_json(&vocabulary, json!([["a", "b"]]));
    write(&folder, "tokenizer.json", file.to_string().as_bytes());
    let error = load(&folder).unwrap_err();
    assert!(error.to_string().contains("merge 1: "), "{error}");
}

/// A tokenizer folder: the alphabet of bytes, the same at the end of a word, what the merges make, and the
/// special tokens, in the order of OpenAI's vocabulary.
struct Vocabulary {
    tokens: Vec<String>,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Vocabulary {
    fn of_bytes() -> Self {
        Self {
            tokens: Vec::new(),
            files: Vec::new(),
        }
        .with_merges(&[])
    }

    fn with_merges(mut self, merges: &[&str]) -> Self {
        let alphabet = byte_alphabet().map(String::from).to_vec();
        let endings = alphabet.iter().map(|symbol| format!("{symbol}</w>"));
        let merged = merges.iter().map(|merge| merge.replace(' ', ""));
        let special = ["<|startoftext|>", "<|endoftext|>"].map(String::from);
        self.tokens = alphabet
            .iter()
            .cloned()
            .chain(endings)
            .chain(merged)
            .chain(special)
            .collect();
        let vocab: Map<String, Value> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(id, token)| (token.clone(), json!(id)))
            .collect();
        let lines = format!("#version: 0.2\n{}\n", merges.join("\n"));
        self.with_file("vocab.json", Value::Object(vocab))
            .with_text("merges.txt", lines.as_bytes())
    }

    fn with_max_length(self, length: usize) -> Self {
        self.with_file("tokenizer_config.json", json!({"model_max_length": length}))
    }

    fn with_file(self, name: &'static str, content: Value) -> Self {
        self.with_text(name, content.to_string().as_bytes())
    }

    fn with_text(mut self, name: &'static str, content: &[u8]) -> Self {
        self.files.push((name, content.to_vec())); // a later file of the same name replaces this one
        self
    }

    fn load(&self) -> Result<CLIPTokenizer, Error> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            write(&folder, name, content);
        }
        load(&folder)
    }

    fn id(&self, token: &str) -> i64 {
        self.tokens.iter().position(|known| known == token).unwrap() as i64
    }
}

/// The file that the tokenizers library itself would write.
fn tokenizer_json(vocabulary: &Vocabulary, merges: Value) -> Value {
    let ids = vocabulary.tokens.iter().enumerate();
    let vocab: Map<String, Value> = ids.map(|(id, token)| (token.clone(), json!(id))).collect();
    let end = vocabulary.id("<|endoftext|>");
    json!({
        "version": "1.0",
        "added_tokens": [{"id": end, "content": "<|endoftext|>", "special": true}],
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<|endoftext|>",
            "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
            "vocab": vocab, "merges": merges,
        },
    })
}

fn write(folder: &TempDir, name: &str, content: &[u8]) {
    std::fs::write(folder.path().join(name), content).unwrap();
}

fn load(folder: &TempDir) -> Result<CLIPTokenizer, Error> {
    CLIPTokenizer::load(&ModelFiles::folder(folder.path()))
}

/// The printable character that stands for each byte, in the order of CLIP's ids, which puts the bytes that
/// are printable themselves first.
fn byte_alphabet() -> [char; 256] {
    let bytes = bytes_in_order();
    let mut invented = 256..;
    bytes.map(|byte| {
        if is_printable(byte) {
            char::from(byte)
        } else {
            char::from_u32(invented.next().unwrap()).unwrap()
        }
    })
}

fn bytes_in_order() -> [u8; 256] {
    let printable = (0..=255).filter(|byte| is_printable(*byte));
    let others = (0..=255).filter(|byte| !is_printable(*byte));
    let bytes: Vec<u8> = printable.chain(others).collect();
    bytes.try_into().unwrap()
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Spells out ids of [`Vocabulary::of_bytes`] up to the last end token before the padding.
fn pieces(ids: &[i64]) -> Vec<String> {
    let padding = ids.iter().rev().take_while(|id| **id == END).count();
    let (mut spelled, mut bytes) = (Vec::new(), Vec::new());
    for id in &ids[1..ids.len() - padding] {
        match *id {
            START => spelled.push("START".to_string()),
            END => spelled.push("END".to_string()),
            id => bytes.push(bytes_in_order()[id as usize % 256]),
        }
        if (256..512).contains(id) {
            spelled.push(String::from_utf8(std::mem::take(&mut bytes)).unwrap());
        }
    }
    assert!(bytes.is_empty(), "a piece without an end");
    spelled
}
