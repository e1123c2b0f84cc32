//! Names of folders for judges.

use crate::benchmark::digest::{hex, sha256};
use crate::benchmark::judge::JudgeName;

use super::MAJORITY_FOLDER;

/// Longest name of a folder that is taken from a judge's own.
const MAX_FOLDER_BYTES: usize = 100;

/// A name of a folder for a judge: `openai--model` for `openai/model`. No two judges have the same, for where anything
/// but a `/` is changed, or was there twice, a piece of the name's hash is added.
pub(super) fn folder_name(judge: &JudgeName) -> String {
    let name = &judge.model;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut safe: String = name
        .replace('/', "--")
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(MAX_FOLDER_BYTES)
        .collect();
    let is_told_apart = safe.replace("--", "/") == *name
        && !name.contains("//")
        && !safe.starts_with('.')
        && safe != MAJORITY_FOLDER
        && !safe.is_empty();
    if !is_told_apart {
        let digest = hex(sha256([name.as_str()]));
        safe = format!("{}-{}", safe.trim_start_matches('.'), &digest[..8]);
    }
    match judge.sample {
        0 => safe,
        sample => format!("{safe}--{}", sample + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_judge_has_a_folder_of_its_own() {
        let name = |model: &str, sample| {
            folder_name(&JudgeName {
                model: model.into(),
                sample,
            })
        };
        assert_eq!(name("openai/gpt-4o", 0), "openai--gpt-4o");
        assert_eq!(name("openai/gpt-4o", 2), "openai--gpt-4o--3");
        let hostile = [
            "", ".", "..", "../x", "a--b", "a/b", "majority", "a\0b", "a b", "a:b", "ä", "a//b",
            "a/-b", "a-/b",
        ];
        let mut names: Vec<String> = hostile.iter().map(|model| name(model, 0)).collect();
        for (name, model) in names.iter().zip(hostile) {
            assert!(
                !name.starts_with('.') && !name.contains(['/', '\\', '\0', ' ', ':']),
                "{model}: {name}"
            );
            assert_ne!(name, "majority");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), hostile.len());
        assert!(name(&"long/".repeat(100), 0).len() < 120);
    }
}
