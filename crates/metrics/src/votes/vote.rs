//! What a rater answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name_fault;
use super::pair::{Slot, Verdict};
use super::table::{Cells, Column};
use super::timestamp::Timestamp;
use super::word::Word;

/// The answers of one rater to one pair: what was clicked, and the order in which the results were shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Id of the pair.
    pub pair: String,
    /// Anonymous id of the rater.
    pub rater: String,
    /// Which result was shown on the left.
    pub left: Slot,
    /// The answer to [`Question::Motion`].
    pub motion: Answer,
    /// The answer to [`Question::Text`].
    pub text: Answer,
    /// The answer to [`Question::Preference`].
    pub preference: Answer,
    /// Time taken in seconds.
    pub seconds: f64,
    /// When it was given, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// What raters are asked of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// Which follows the reference's motion better?
    Motion,
    /// Which fits the text better?
    Text,
    /// Which do you prefer?
    Preference,
}

/// What a rater clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The clip on the left.
    Left,
    /// The clip on the right.
    Right,
    /// About equal.
    Equal,
}

impl Question {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Motion, Self::Text, Self::Preference];

    /// Its name in files and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Motion => "motion",
            Self::Text => "text",
            Self::Preference => "preference",
        }
    }

    /// What raters read.
    pub fn wording(self) -> &'static str {
        match self {
            Self::Motion => "Which follows the reference's motion better?",
            Self::Text => "Which fits the text better?",
            Self::Preference => "Which do you prefer?",
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Word for Answer {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("left", Self::Left),
        ("right", Self::Right),
        ("equal", Self::Equal),
    ];
}

/// Columns of a file of votes.
pub(super) const COLUMNS: &[Column] = &[
    Column::required("pair"),
    Column::required("rater"),
    Column::required("left"),
    Column::required("motion"),
    Column::required("text"),
    Column::required("preference"),
    Column::required("seconds"),
    Column::optional("time"),
];

impl Vote {
    /// What was clicked.
    pub fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Motion => self.motion,
            Question::Text => self.text,
            Question::Preference => self.preference,
        }
    }

    /// What that says about the pair.
    pub fn verdict(&self, question: Question) -> Verdict {
        let chosen = match self.answer(question) {
            Answer::Left => self.left,
            Answer::Right => self.left.other(),
            Answer::Equal => return Verdict::Equal,
        };
        match chosen {
            Slot::A => Verdict::A,
            Slot::B => Verdict::B,
        }
    }

    /// The vote of a row; what is wrong with it goes to `cells`.
    pub(super) fn read(cells: &mut Cells<'_>) -> Option<Self> {
        let pair = cells.text("pair");
        let rater = cells.text("rater");
        let left = cells.word("left");
        let [motion, text, preference] = Question::ALL.map(|question| cells.word(question.name()));
        let seconds = cells.number("seconds");
        let time = cells.optional("time");
        Some(Self {
            pair,
            rater,
            left: left?,
            motion: motion?,
            text: text?,
            preference: preference?,
            seconds: seconds?,
            time,
        })
    }

    /// What is wrong with the vote by itself.
    pub(super) fn faults(&self) -> Vec<String> {
        let time = !(self.seconds.is_finite() && self.seconds >= 0.0);
        let faults = [
            name_fault("pair", &self.pair),
            name_fault("rater", &self.rater),
            time.then(|| {
                let found = self.seconds;
                format!("`seconds` is {found}, expected a finite number that is not negative")
            }),
        ];
        faults.into_iter().flatten().collect()
    }
}
