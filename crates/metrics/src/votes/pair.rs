//! What a rater compares.

use serde::{Deserialize, Serialize};

use super::table::{Cells, Column};
use super::word::Word;
use super::{MAX_TEXT_BYTES, name_fault, text_fault};

/// Two results for the same reference and prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PairRow", into = "PairRow")]
pub struct Pair {
    /// Id, unique in a survey.
    pub id: String,
    /// Clip whose motion is followed: a file or any label.
    pub reference: String,
    /// What the results should show; may be empty.
    pub prompt: String,
    /// One result.
    pub a: Candidate,
    /// The other result.
    pub b: Candidate,
    /// What it is asked for.
    pub kind: PairKind,
}

/// One of the two results of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the variant that made it, which raters do not see.
    pub variant: String,
    /// The clip: a file or any label.
    pub file: String,
}

/// What a pair is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairKind {
    /// To compare two variants.
    Comparison,
    /// To see whether the rater looks.
    Check {
        /// The answer to every question: equal for a clip against itself, the clip for a clip against noise.
        expected: Verdict,
    },
}

/// One of the two places in a [`Pair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// [`Pair::a`]
    A,
    /// [`Pair::b`]
    B,
}

/// Which result of a pair is better, wherever it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// [`Pair::a`] is.
    A,
    /// They are about equal.
    Equal,
    /// [`Pair::b`] is.
    B,
}

impl Word for Slot {
    const WORDS: &'static [(&'static str, Self)] = &[("a", Self::A), ("b", Self::B)];
}

impl Word for Verdict {
    const WORDS: &'static [(&'static str, Self)] =
        &[("a", Self::A), ("b", Self::B), ("equal", Self::Equal)];
}

impl Slot {
    /// The other place.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Columns of a file of pairs.
pub(super) const COLUMNS: &[Column] = &[
    Column::required("pair"),
    Column::required("kind"),
    Column::optional("expected"),
    Column::required("reference"),
    Column::required("prompt"),
    Column::required("a_variant"),
    Column::required("a_file"),
    Column::required("b_variant"),
    Column::required("b_file"),
];

impl Pair {
    /// The pair of a row; what is wrong with it goes to `cells`.
    pub(super) fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let row = PairRow {
            pair: cells.text("pair"),
            kind: cells.word("kind")?,
            expected: cells.optional_word("expected"),
            reference: cells.text("reference"),
            prompt: cells.text("prompt"),
            a_variant: cells.text("a_variant"),
            a_file: cells.text("a_file"),
            b_variant: cells.text("b_variant"),
            b_file: cells.text("b_file"),
        };
        if cells.is_faulty() {
            return None;
        }
        let pair = Self::try_from(row);
        pair.map_err(|reason| cells.refuse(reason)).ok()
    }

    /// What is wrong with the pair by itself.
    pub(super) fn faults(&self) -> Vec<String> {
        let names = [
            name_fault("pair", &self.id),
            name_fault("a_variant", &self.a.variant),
            name_fault("b_variant", &self.b.variant),
            text_fault("prompt", &self.prompt, MAX_TEXT_BYTES),
        ];
        let files = [
            ("reference", &self.reference),
            ("a_file", &self.a.file),
            ("b_file", &self.b.file),
        ];
        let files = files.map(|(column, text)| match text.as_str() {
            "" => Some(format!("`{column}` is empty")),
            text => text_fault(column, text, MAX_TEXT_BYTES),
        });
        let against_itself = (self.kind == PairKind::Comparison
            && self.a.variant == self.b.variant)
            .then(|| format!("compares the variant {:?} with itself", self.a.variant));
        let faults = names.into_iter().chain(files).chain([against_itself]);
        faults.flatten().collect()
    }
}

/// A pair as it stands in files: one value per column, under its name.
#[derive(Serialize, Deserialize)]
struct PairRow {
    pair: String,
    kind: KindWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<Verdict>,
    reference: String,
    prompt: String,
    a_variant: String,
    a_file: String,
    b_variant: String,
    b_file: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindWord {
    Comparison,
    Check,
}

impl Word for KindWord {
    const WORDS: &'static [(&'static str, Self)] =
        &[("comparison", Self::Comparison), ("check", Self::Check)];
}

impl From<Pair> for PairRow {
    fn from(pair: Pair) -> Self {
        let (kind, expected) = match pair.kind {
            PairKind::Comparison => (KindWord::Comparison, None),
            PairKind::Check { expected } => (KindWord::Check, Some(expected)),
        };
        Self {
            pair: pair.id,
            kind,
            expected,
            reference: pair.reference,
            prompt: pair.prompt,
            a_variant: pair.a.variant,
            a_file: pair.a.file,
            b_variant: pair.b.variant,
            b_file: pair.b.file,
        }
    }
}

impl TryFrom<PairRow> for Pair {
    type Error = String;

    fn try_from(row: PairRow) -> Result<Self, String> {
        let kind = match (row.kind, row.expected) {
            (KindWord::Comparison, None) => PairKind::Comparison,
            (KindWord::Check, Some(expected)) => PairKind::Check { expected },
            (KindWord::Comparison, Some(_)) => {
                return Err("`expected` is given, but a comparison has no right answer".into());
            }
            (KindWord::Check, None) => {
                return Err(format!(
                    "`expected` is empty, expected {} for a check",
                    Verdict::choices()
                ));
            }
        };
        Ok(Self {
            id: row.pair,
            reference: row.reference,
            prompt: row.prompt,
            a: Candidate {
                variant: row.a_variant,
                file: row.a_file,
            },
            b: Candidate {
                variant: row.b_variant,
                file: row.b_file,
            },
            kind,
        })
    }
}
