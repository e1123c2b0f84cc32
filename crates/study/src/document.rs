//! A file that is either a plan or a study.

use std::path::Path;

use crate::error::Error;
use crate::input;
use crate::plan::Plan;
use crate::study::Study;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A plan in words.
    Plan {
        /// The plan.
        plan: Plan,
        /// Name of the file, without its folder.
        name: String,
        /// The file as it is, for its hash.
        bytes: Vec<u8>,
    },
    /// A compiled study.
    Study(Study),
}

impl Document {
    /// Reads a file: TOML with a `[study]` table is a study, everything else is a plan in one of its forms.
    ///
    /// # Errors
    /// If the file cannot be read, has more than 16 MiB, or is no valid plan or study.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = input::read(path, "plan or study")?;
        let name = path.display().to_string();
        let text = input::text(&name, &bytes)?;
        if has_study_table(text) {
            return Ok(Self::Study(Study::parse(&name, text)?));
        }
        let plan = Plan::parse(&name, text, None)?;
        let name = path
            .file_name()
            .map_or(name, |name| name.to_string_lossy().into_owned());
        Ok(Self::Plan { plan, name, bytes })
    }
}

/// Whether a line opens the table `study`. A study with a fault further on is still one, and its fault is told.
fn has_study_table(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().collect::<String>() == "[study]"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_and_studies_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Document::read(&path)
        };
        let study = read("a", "[ study ] # as it is\nclips = []\n").unwrap();
        assert!(matches!(study, Document::Study(_)));
        let line = r#"{"name": "n", "ablated_part": "MV", "action": "REMOVE", "metrics": ["FID"]}"#;
        let Document::Plan { name, bytes, .. } = read("plan.jsonl", line).unwrap() else {
            panic!("a plan is expected")
        };
        assert_eq!(
            (name.as_str(), bytes.as_slice()),
            ("plan.jsonl", line.as_bytes())
        );
        let faulty = read("b", "[study]\nclips = 3\n").unwrap_err().to_string();
        assert!(faulty.contains("in the study"), "{faulty}");
    }
}
