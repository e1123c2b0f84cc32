//! The tokenizer of the sprite world: a byte-pair vocabulary in CLIP's format in which every word of the world is one
//! token, and any other text is spelled in bytes.
//!
//! Source of the format: *Language Models are Unsupervised Multitask Learners* (GPT-2) for bytes as printable
//! characters, and CLIP for the mark of a word's end.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The words, in the order in which they are merged: long ones first.
const WORDS: [&str; 29] = [
    "background",
    "checkered",
    "triangle",
    "striped",
    "moving",
    "circle",
    "square",
    "yellow",
    "purple",
    "orange",
    "small",
    "large",
    "cross",
    "green",
    "white",
    "black",
    "with",
    "star",
    "ring",
    "blue",
    "cyan",
    "gray",
    "navy",
    "the",
    "and",
    "red",
    "an",
    "on",
    "of",
];

/// What stands behind the last character of a word.
const END_OF_WORD: &str = "</w>";

/// Tokens that mark where a text starts and ends.
const SPECIAL: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// `merges.txt`: pairs that become one token, the earliest first.
pub fn merges() -> String {
    let pairs = merged_pairs();
    let lines = pairs
        .iter()
        .map(|[left, right]| format!("{left} {right}\n"));
    format!("#version: 0.2\n{}", lines.collect::<String>())
}

/// `vocab.json`: the number of every token.
pub fn vocabulary() -> Map<String, Value> {
    let bytes = byte_characters();
    let ends = bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}"));
    let merged = merged_pairs().into_iter().map(|pair| pair.concat());
    let tokens = bytes
        .iter()
        .map(char::to_string)
        .chain(ends)
        .chain(merged)
        .chain(SPECIAL.map(String::from));
    tokens
        .zip(0..)
        .map(|(token, number)| (token, Value::from(number)))
        .collect()
}

fn merged_pairs() -> Vec<[String; 2]> {
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for word in WORDS {
        let last = word.len() - 1;
        let piece = |at: usize| match at == last {
            true => format!("{}{END_OF_WORD}", &word[at..]),
            false => word[at..=at].to_string(),
        };
        let mut left = piece(0);
        for at in 1..word.len() {
            let pair = [left, piece(at)];
            left = pair.concat();
            if seen.insert(pair.clone()) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// A printable character for every byte, those that are printable themselves first.
fn byte_characters() -> Vec<char> {
    let printable = (b'!'..=b'~')
        .chain(0xA1..=0xAC)
        .chain(0xAE..=0xFF)
        .map(char::from);
    let others = 256 - printable.clone().count() as u32;
    let beyond = (0..others).filter_map(|index| char::from_u32(256 + index));
    printable.chain(beyond).collect()
}

#[cfg(test)]
mod tests {
    use kinvert_world::{Look, model::model_files};

    use super::*;

    #[test]
    fn the_built_in_tokenizer_is_this_one() {
        for part in ["tokenizer", "clip"] {
            let files = model_files().part(part);
            assert_eq!(files.read("merges.txt").unwrap(), merges().as_bytes());
            let vocabulary_there: Map<String, Value> = files.json("vocab.json").unwrap();
            assert_eq!(vocabulary_there, vocabulary());
        }
    }

    #[test]
    fn every_word_of_every_caption_is_a_token() {
        let vocabulary = vocabulary();
        for look in Look::all() {
            for word in look.caption().split(' ') {
                assert!(
                    vocabulary.contains_key(&format!("{word}{END_OF_WORD}")),
                    "{word}"
                );
            }
        }
    }
}
