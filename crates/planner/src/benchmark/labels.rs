//! What a judge found: which ablations of the truth are met by which entries of a plan. As text, the form of
//! AblationBench: one JSON object a line.

use serde::{Deserialize, Serialize};

/// A judge's answer about one plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Labels {
    /// Against ablations: a label for each of the truth.
    Ablations(Vec<AblationLabel>),
    /// Against reviews: a label for each entry of the plan.
    Reviews(Vec<ReviewLabel>),
}

/// Which entries of the plan match one ablation of the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationLabel {
    /// The ablation of the truth.
    pub name_in_paper: String,
    /// The entries that match it.
    pub name_in_plan: Option<Names>,
}

/// One name or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One, as a text.
    One(String),
    /// Several, as a list.
    Many(Vec<String>),
}

/// Whether reviews ask for an entry of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewLabel {
    /// The entry.
    pub name_in_plan: String,
    /// Whether a review asks for it.
    pub appears_in_review: bool,
}

impl Labels {
    /// Reads labels: JSON objects, one a line. Which kind they are the first line tells; no line at all is no label of
    /// an ablation.
    ///
    /// # Errors
    /// What is wrong, with the number of the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = lines(text).peekable();
        let is_review = lines.peek().is_some_and(|(_, line)| {
            serde_json::from_str::<serde_json::Value>(line)
                .is_ok_and(|value| value.get("appears_in_review").is_some())
        });
        if is_review {
            lines
                .map(of_line)
                .collect::<Result<_, _>>()
                .map(Self::Reviews)
        } else {
            lines
                .map(of_line)
                .collect::<Result<_, _>>()
                .map(Self::Ablations)
        }
    }

    /// What [`Labels::parse`] reads.
    pub fn to_json_lines(&self) -> String {
        fn write(labels: &[impl Serialize]) -> String {
            let lines = labels
                .iter()
                .filter_map(|label| serde_json::to_string(label).ok());
            lines.map(|line| line + "\n").collect()
        }
        match self {
            Self::Ablations(labels) => write(labels),
            Self::Reviews(labels) => write(labels),
        }
    }
}

impl AblationLabel {
    /// A label of these entries: null for none, a text for one, a list for more.
    pub fn new(name_in_paper: impl Into<String>, mut names: Vec<String>) -> Self {
        Self {
            name_in_paper: name_in_paper.into(),
            name_in_plan: match names.len() {
                0 => None,
                1 => names.pop().map(Names::One),
                _ => Some(Names::Many(names)),
            },
        }
    }

    /// The entries that match.
    pub fn names(&self) -> &[String] {
        self.name_in_plan.as_ref().map_or(&[], Names::as_slice)
    }
}

impl Names {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// Lines that say something, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate();
    numbered
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// A label from its line.
pub(super) fn of_line<T: for<'a> Deserialize<'a>>(
    (number, line): (usize, &str),
) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| {
        let message = error.to_string();
        // The parser counts lines from the beginning of the object, which is always one line.
        let reason = message.split(" at line ").next().unwrap_or_default();
        format!("line {number}: {reason}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_are_written() {
        let ablations = "{\"name_in_paper\":\"a\",\"name_in_plan\":null}\n\
                         {\"name_in_paper\":\"b\",\"name_in_plan\":\"x\"}\n\
                         {\"name_in_paper\":\"c\",\"name_in_plan\":[\"x\",\"y\"]}\n";
        let labels = Labels::parse(ablations).unwrap();
        assert_eq!(labels.to_json_lines(), ablations);
        let Labels::Ablations(rows) = labels else {
            panic!()
        };
        let names: Vec<String> = rows.iter().map(|row| row.names().join("+")).collect();
        assert_eq!(names, ["", "x", "x+y"]);
        for row in &rows {
            let again = AblationLabel::new(&*row.name_in_paper, row.names().to_vec());
            assert_eq!(&again, row);
        }

        let reviews = "{\"name_in_plan\":\"x\",\"appears_in_review\":true}\n";
        let labels = Labels::parse(&format!("\n  {reviews}\n")).unwrap();
        assert!(matches!(&labels, Labels::Reviews(rows) if rows.len() == 1));
        assert_eq!(labels.to_json_lines(), reviews);
        assert_eq!(Labels::parse("").unwrap(), Labels::Ablations(Vec::new()));
    }

    #[test]
    fn what_is_no_label_is_refused_with_its_line() {
        for (text, expected) in [
            ("{\"name_in_paper\":\"a\"", "line 1: EOF"),
            (
                "\n{\"name_in_plan\":\"a\"}",
                "line 2: missing field `name_in_paper`",
            ),
            (
                "{\"name_in_plan\":\"a\",\"appears_in_review\":\"yes\"}",
                "line 1: invalid type",
            ),
            (
                "{\"name_in_paper\":\"a\",\"name_in_plan\":3}",
                "line 1: data did not match",
            ),
            (
                "{\"name_in_paper\":\"a\",\"name_in_plan\":null,\"more\":1}",
                "line 1: unknown field",
            ),
        ] {
            let error = Labels::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
