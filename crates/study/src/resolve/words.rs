//! Free text as a row of concepts: the normal form in which plans are compared with the axes.
//!
//! Words are folded (Unicode, case, plural, punctuation) and looked up in one table, the longest form first. A
//! word that is not in the table stays visible as unknown, and one that would change the meaning of what stands
//! around it is foreign: no setting of the method is near it.

use std::{collections::BTreeMap, sync::LazyLock};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// A word, or the words that make up one concept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub meaning: Meaning,
    /// As written, folded.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// A row of [`CONCEPTS`].
    Concept(&'static str),
    Number(f64),
    /// `4x4`.
    Grid(u16, u16),
    Separator(Separator),
    /// Says nothing here.
    Neutral,
    Unknown,
    /// Changes the meaning, and no setting stands for it.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    Or,
    And,
    Comma,
    Semicolon,
    Slash,
}

/// Concepts and the forms that name them. A `*` stands for any ending, and a comma for any separator or none.
const CONCEPTS: [(&str, &str); 61] = [
    (
        "mqk",
        "motion query,key embedding | motion query,key | query,key motion embedding | query,key embedding | mqk embedding | mqk | m qk | qk embedding | motion qk | motion q,k | embedding for query,key | motion embedding for query,key | motion embedding for the query,key | query,key motion | m q k",
    ),
    (
        "mv",
        "motion value embedding | motion value | value embedding | value motion embedding | mv embedding | mv | m v | v embedding | motion v | motion embedding for value | embedding for value",
    ),
    ("motion", "motion embedding | learned motion embedding"),
    ("embedding", "embedding"),
    (
        "qkv",
        "query,key,value | q,k,v | qkv | query,key | q,k | qk | key,value | k,v",
    ),
    (
        "projection",
        "project* | linear projection | linear layer | linear transformation",
    ),
    (
        "before",
        "before | prior to | pre | ahead of | preprojection",
    ),
    (
        "after",
        "after | post | following | subsequent to | postprojection",
    ),
    (
        "add",
        "add | adding | added | addition | additive | additively | sum | summing | summed | summation | element wise addition | plus",
    ),
    (
        "multiply",
        "multipl* | hadamard product | element wise product | elementwise product | hadamard",
    ),
    ("concat", "concat*"),
    (
        "difference",
        "frame differenc* | temporal differenc* | differenc* | differential | inter frame differenc* | subtract* | diff",
    ),
    (
        "mean",
        "mean | average | averag* | temporal mean | temporal average",
    ),
    (
        "normalize",
        "normaliz* | normalis* | centering | centring | centered | zero mean | temporal normaliz* | temporal normalis*",
    ),
    (
        "debias",
        "debias* | de bias* | appearance debias* | bias removal | appearance removal | remove appearance | remove static appearance | eliminate appearance | appearance bias removal | remove the appearance",
    ),
    (
        "without",
        "without | no | none | nothing | not | omit* | omission | remov* | exclud* | exclus* | drop | dropping | dropped | disabl* | leave out | leave it out | leave them out | left out | leaving out | skip* | eliminat* | discard* | absence | absent | lack* | turn off | bypass* | off | delet*",
    ),
    (
        "raw",
        "raw | unprocessed | unmodified | unchanged | as is | as learned | undebiased | use directly | direct use | directly use",
    ),
    ("only", "only | alone | solely | just | exclusively"),
    ("both", "both"),
    ("neither", "neither"),
    (
        "keep",
        "keep* | kept | retain* | maintain* | remain* | alongside | in addition to",
    ),
    (
        "individual",
        "individual* | separate* | contribution | respective*",
    ),
    (
        "spatial",
        "spatial* | spatially varying | h w | height width | height and width",
    ),
    ("dimension", "dimension* | dim | shape* | dimensionality"),
    ("1d", "1d | 1 d | one dimension* | 1 dimension*"),
    ("2d", "2d | 2 d | two dimension* | 2 dimension*"),
    (
        "partial",
        "partial* | partly | coarse | coarser | low resolution | lower resolution | downsampl* | pooled | reduced | grid",
    ),
    ("full", "full | fully | complete | completely"),
    ("include", "includ* | inclus* | introduc* | extend*"),
    ("frame", "frame"),
    (
        "window",
        "window* | stride* | gap | interval | lag | offset | horizon | k",
    ),
    (
        "adjacent",
        "adjacent | consecutive | neighbor* | neighbour* | previous | preceding | successive",
    ),
    (
        "longer",
        "longer | long | larger | wider | multi frame | multiple frame | long range",
    ),
    (
        "loss",
        "loss* | objective* | training objective | loss function",
    ),
    (
        "standard",
        "standard | vanilla | plain | mse | mean squared error | denoising | base | conventional | reconstruction | noise prediction",
    ),
    (
        "temporal",
        "temporal* | temporal dimension | temporal axis | time dimension | time axis | frame dimension",
    ),
    ("hybrid", "hybrid | spatial lora"),
    ("inference", "inference strategy | inference operation"),
    (
        "noise",
        "noise | initial noise | noise initiali* | initial latent* | latent initiali*",
    ),
    (
        "inverted",
        "ddim inversion | ddim inverted | inverted | noise inversion | latent inversion | ddim latent*",
    ),
    (
        "prior",
        "noise prior | prior strength | blending ratio | blend ratio | blending weight | mixing ratio | mixing coefficient | blending coefficient | noise prior strength",
    ),
    (
        "blend",
        "blend* | mix | mixing | mixed | mixture | interpolat*",
    ),
    ("random", "random | gaussian | fresh | pure noise"),
    (
        "frequency",
        "frequency | frequency domain | low frequency | high frequency | spatial frequency | frequency mixing",
    ),
    (
        "fft",
        "fft | fourier | freeinit | spatio temporal frequency | spatiotemporal frequency | 3d frequency",
    ),
    (
        "steps",
        "training step | inversion step | optimization step | optimisation step | training iteration | iteration | step | number of step | number of training step",
    ),
    ("rate", "learning rate | lr"),
    (
        "guidance",
        "guidance scale | classifier free guidance | guidance | cfg | cfg scale | guidance weight",
    ),
    (
        "sampling",
        "denoising step | sampling step | inference step | ddim step | number of denoising step | number of inference step | number of sampling step",
    ),
    (
        "timestep",
        "timestep range | timestep | time step | time step range",
    ),
    (
        "site",
        "layer | site | temporal layer | injection layer | injection site | placement",
    ),
    ("up", "up block | upsampling block | decoder | up"),
    ("down", "down block | downsampling block | encoder | down"),
    (
        "mid",
        "mid block | middle block | bottleneck | mid | middle",
    ),
    ("all", "all | every"),
    (
        "backbone",
        "base model | backbone | base video model | video backbone | t2v model | text to video model | base diffusion model",
    ),
    ("zeroscope", "zeroscope | zeroscope v2 | zeroscope v2 576w"),
    (
        "modelscope",
        "modelscope | modelscopet2v | modelscope t2v | text to video ms 1 7b",
    ),
    (
        "channel",
        "channel dimension | channel axis | feature dimension | embedding dimension | channel",
    ),
    // Of these the method has none: no axis knows the word.
    (
        "other norm",
        "layer normaliz* | layer normalis* | layer norm | batch normaliz* | batch normalis* | group normaliz* | instance normaliz* | l2 normaliz*",
    ),
    (
        "original",
        "original | baseline | ours | proposed | default | published | paper",
    ),
];

/// Words that say nothing about a setting.
const NEUTRAL: &str = "\
    a an the of for to in on into onto by as with using use used utiliz* utilis* via through is are be \
    been being its it they them their this that these those each per same motion embedding method \
    approach technique mechanism operation strategy variant version setting configur* inference design choice \
    different alternative alternatively other instead direct directly simpl* element wise elementwise \
    along across over between among channel axis axes tensor matri* vector space module block self \
    attention transformer network unet u net model video diffusion learned learnable trainable equation \
    eq s e g i t m f x h w n component part type kind form appearance static information computation \
    compute* calculat* process* applied apply* perform* employ* followed then value feature input hidden state \
    activation spatiotemporal global local structure customiz* entire* whole set number size length \
    when where at from if during then have has having take taking integrat* inject* incorporat* insert* \
    fus* fusion modulat* combin* representation content level stage position location pixel procedure \
    impact effect influence importance role investigat* explor* ablat* experiment analysis study test* \
    evaluat* assess* vary* varying effectiveness domain two joint* together simultaneous* also either \
    option non based specific dependent new additional inversion reference clip generation generated \
    necessary necessity performance 1280 eq3 term branch path scheme rule formula mode";

/// Words that no setting of the method stands for, and that change what stands around them.
const FOREIGN: &str = "\
    text prompt caption adversarial discriminator gan cross lora adapter flow depth mask* dropout \
    regulari* pretrain* sigmoid tanh relu softmax mlp gate gated gating film adain conv* lstm gru rnn \
    positional rotary output score logit residual first last order batch layernorm std deviation \
    variance standardi* l1 l2 perceptual contrastive cosine triplet 3d third image audio optical pose \
    skeleton trajectory discrete codebook quanti* vq hypernetwork teacher distill* student weight \
    nonlinear* shared share sharing unified single scheduler augment* crop* class label token kl \
    entropy td reward policy critic actor agent";

/// The tokens of a text that [`fold`] has folded.
pub(super) fn lex(folded: &str) -> Vec<Token> {
    let raw = split(folded);
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let (token, length) = LEXICON.longest(&raw[at..]).unwrap_or_else(|| {
            let meaning = raw[at].alone();
            let words = raw[at].text.clone();
            (Token { meaning, words }, 1)
        });
        tokens.push(token);
        at += length;
    }
    tokens
}

/// Lower case without marks over letters, and formulas without their commands.
pub(super) fn fold(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let mut command = String::new();
                while let Some(letter) = chars.next_if(char::is_ascii_alphabetic) {
                    command.push(letter);
                }
                plain.push_str(match command.as_str() {
                    "odot" | "otimes" | "circ" => " multiplied ",
                    "times" => "x",
                    _ => " ",
                });
            }
            '⊙' => plain.push_str(" multiplied "),
            '×' => plain.push('x'),
            '→' => plain.push_str("->"),
            '$' | '{' | '}' => {}
            '^' | '_' => plain.push(' '),
            c => plain.push(c),
        }
    }
    let folded: String = plain.nfkd().filter(|c| !is_combining_mark(*c)).collect();
    folded
        .to_lowercase()
        .replace("w/o", "without")
        .replace("w/", "with ")
}

/// A word or a separator, before it has a meaning.
#[derive(Debug)]
struct Raw {
    /// As written, without plural.
    stem: String,
    text: String,
    separator: Option<Separator>,
    number: Option<f64>,
}

impl Raw {
    fn alone(&self) -> Meaning {
        if let Some(separator) = self.separator {
            return Meaning::Separator(separator);
        }
        if let Some(number) = self.number {
            return Meaning::Number(number);
        }
        let grid = self.text.split_once('x');
        if let Some((Ok(rows), Ok(columns))) = grid.map(|(r, c)| (r.parse(), c.parse())) {
            return Meaning::Grid(rows, columns);
        }
        if is_listed(FOREIGN, &self.stem) {
            return Meaning::Foreign;
        }
        if is_listed(NEUTRAL, &self.stem) || (self.text.len() == 1) {
            return Meaning::Neutral;
        }
        Meaning::Unknown
    }
}

fn is_listed(list: &str, stem: &str) -> bool {
    list.split_whitespace().any(|entry| fits(entry, stem))
}

/// Whether a word is an entry, or begins with one that ends in `*`.
fn fits(entry: &str, stem: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(beginning) => stem.starts_with(beginning),
        None => stem == entry,
    }
}

fn split(folded: &str) -> Vec<Raw> {
    let mut raw = Vec::new();
    let mut rest = folded;
    while let Some(c) = rest.chars().next() {
        let (text, separator, number) = if c.is_alphanumeric() {
            let number = leading_number(rest);
            let end = number.map_or_else(
                || {
                    rest.find(|c: char| !c.is_alphanumeric())
                        .unwrap_or(rest.len())
                },
                |(_, length)| length,
            );
            let word = &rest[..end];
            let separator = match word {
                "or" | "vs" | "versus" => Some(Separator::Or),
                "and" => Some(Separator::And),
                _ => None,
            };
            (
                word,
                separator,
                number
                    .map(|(value, _)| value)
                    .or_else(|| spelt_number(word)),
            )
        } else {
            let separator = match c {
                ',' => Some(Separator::Comma),
                ';' | '\n' => Some(Separator::Semicolon),
                '/' | '|' => Some(Separator::Slash),
                '&' | '+' => Some(Separator::And),
                _ => None,
            };
            (&rest[..c.len_utf8()], separator, None)
        };
        rest = &rest[text.len()..];
        if separator.is_some() || c.is_alphanumeric() {
            raw.push(Raw {
                stem: singular(text),
                text: text.to_owned(),
                separator,
                number,
            });
        }
    }
    raw
}

/// The number that a text begins with and its length, unless letters follow it (`2d`).
fn leading_number(text: &str) -> Option<(f64, usize)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut end = digits(0);
    if end == 0 {
        return None;
    }
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if bytes.get(end) == Some(&b'e') {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'-' | b'+')));
        let exponent = bytes.len().min(end + 1 + sign);
        if digits(exponent) > 0 {
            end = exponent + digits(exponent);
        }
    }
    if text[end..].starts_with(char::is_alphanumeric) {
        return None;
    }
    text[..end].parse().ok().map(|value| (value, end))
}

fn spelt_number(word: &str) -> Option<f64> {
    let names = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    let index = names.iter().position(|name| *name == word)?;
    Some(index as f64 + 1.0)
}

fn singular(word: &str) -> String {
    if word.len() > 3
        && let Some(stem) = word.strip_suffix("ies")
    {
        return format!("{stem}y");
    }
    let keeps = ["ss", "us", "is", "as"]
        .iter()
        .any(|end| word.ends_with(end));
    match word.strip_suffix('s') {
        Some(stem) if word.len() > 3 && !keeps => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// [`CONCEPTS`], by the first letter of their forms.
struct Lexicon(BTreeMap<char, Vec<Form>>);

struct Form {
    concept: &'static str,
    /// Each word, and whether separators may stand before it.
    words: Vec<(&'static str, bool)>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut forms: BTreeMap<char, Vec<Form>> = BTreeMap::new();
    for (concept, listed) in CONCEPTS {
        for form in listed.split('|') {
            let words: Vec<_> = form
                .split_whitespace()
                .flat_map(|part| part.split(',').enumerate().map(|(i, word)| (word, i > 0)))
                .collect();
            if let Some(first) = words.first().and_then(|(word, _)| word.chars().next()) {
                forms
                    .entry(first)
                    .or_default()
                    .push(Form { concept, words });
            }
        }
    }
    Lexicon(forms)
});

impl Lexicon {
    /// The concept with the longest form that a row of words begins with, and how many words that is.
    fn longest(&self, raw: &[Raw]) -> Option<(Token, usize)> {
        let forms = self.0.get(&raw.first()?.stem.chars().next()?)?;
        let matches = forms
            .iter()
            .filter_map(|form| Some((form.length(raw)?, form)));
        let (length, form) = matches.max_by_key(|(length, form)| (*length, form.words.len()))?;
        let words: Vec<_> = raw[..length].iter().map(|raw| raw.text.as_str()).collect();
        let meaning = Meaning::Concept(form.concept);
        let words = words.join(" ");
        Some((Token { meaning, words }, length))
    }
}

impl Form {
    fn length(&self, raw: &[Raw]) -> Option<usize> {
        let mut at = 0;
        for (word, loose) in &self.words {
            if *loose {
                at += raw[at..]
                    .iter()
                    .take_while(|raw| raw.separator.is_some())
                    .count();
            }
            let stem = &raw.get(at)?.stem;
            // "1 d" and "two dimensional" are written with numbers; separators are no words.
            if raw[at].separator.is_some() || !fits(word, stem) {
                return None;
            }
            at += 1;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concepts(text: &str) -> Vec<&'static str> {
        let tokens = lex(&fold(text));
        let concept = |token: &Token| match token.meaning {
            Meaning::Concept(concept) => Some(concept),
            _ => None,
        };
        tokens.iter().filter_map(concept).collect()
    }

    #[test]
    fn one_thing_has_many_names() {
        for name in [
            "MQK",
            "Motion Query-Key embeddings",
            "query-key embedding",
            "motion query/key",
            "$\\mathcal{M}^{QK}$",
            "M_QK",
            "𝐌𝐐𝐊",
        ] {
            assert_eq!(concepts(name), ["mqk"], "{name}");
        }
        for name in [
            "MV",
            "motion value embeddings",
            "Value embedding",
            "$M^{V}$",
        ] {
            assert_eq!(concepts(name), ["mv"], "{name}");
        }
        for name in ["Q/K/V", "Query, Key, and Value", "q, k & v", "QKV"] {
            assert_eq!(concepts(name), ["qkv"], "{name}");
        }
        assert_eq!(concepts("w/o MV"), ["without", "mv"]);
        assert_eq!(concepts("One-dimensional"), ["1d"]);
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        let numbers = |text: &str| -> Vec<f64> {
            let tokens = lex(&fold(text));
            let number = |token: &Token| match token.meaning {
                Meaning::Number(value) => Some(value),
                _ => None,
            };
            tokens.iter().filter_map(number).collect()
        };
        assert_eq!(numbers("2-, 3- and five-frame"), [2.0, 3.0, 5.0]);
        assert_eq!(numbers("lr of 1e-3 or 0.05."), [1e-3, 0.05]);
        assert!(numbers("1e 2d 3e- 4x4").is_empty());
        let grid = &lex("4x4")[0];
        assert_eq!(grid.meaning, Meaning::Grid(4, 4));
    }

    #[test]
    fn words_that_change_the_meaning_are_told_from_words_that_say_nothing() {
        let meaning = |word: &str| lex(word)[0].meaning;
        assert_eq!(meaning("sigmoid"), Meaning::Foreign);
        assert_eq!(meaning("mechanism"), Meaning::Neutral);
        assert_eq!(meaning("zebra"), Meaning::Unknown);
    }
}
