//! Why an answer cannot be used.

use crate::chat::events::{MAX_LINE, TooLong};

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// It ended in the middle.
    #[error("the answer was cut off before its end")]
    CutOff,
    /// It is something else, such as a page for people.
    #[error("the answer is of the type `{found}`, expected text/event-stream or application/json")]
    ContentType {
        /// What it calls itself.
        found: String,
    },
    /// It is not what the protocol says.
    #[error("the answer is no chat completion: {reason}")]
    Malformed {
        /// Where it differs.
        reason: String,
    },
    /// It holds no choice.
    #[error("the answer has no choices, expected one")]
    NoChoices,
    /// It holds a choice without text.
    #[error("the answer is empty, expected text")]
    Empty,
    /// It reached the bound on its tokens.
    #[error(
        "the answer is not whole: it reached its max tokens ({})",
        bound.map_or("the model's own".into(), |bound| bound.to_string())
    )]
    Length {
        /// The bound that was asked for.
        bound: Option<u32>,
    },
    /// A filter of the endpoint stopped it.
    #[error("the endpoint's content filter stopped the answer")]
    Filtered,
    /// The model does not want to answer.
    #[error("the model refused to answer: {reason}")]
    Refused {
        /// What it said instead.
        reason: String,
    },
    /// It is larger than anything that was asked for.
    #[error("the answer exceeds {limit} bytes {of}, the rest was not read")]
    TooLong {
        /// The bound.
        limit: usize,
        /// Of what.
        of: &'static str,
    },
    /// The endpoint failed while it answered.
    #[error("the endpoint failed while it answered: {message}")]
    Reported {
        /// What it said.
        message: String,
        /// Whether it may do better another time.
        passes: bool,
    },
}

impl AnswerFault {
    /// What the user can do about it, if anything is known.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ContentType { .. } | Self::Malformed { .. } | Self::NoChoices => {
                "check that the base URL leads to chat completions as OpenAI speaks them"
            }
            Self::Empty | Self::Length { .. } => {
                "let the answer have more tokens (--answer-tokens); what a model thinks counts as well"
            }
            Self::Filtered | Self::Refused { .. } => "ask another model",
            Self::TooLong { .. } => {
                "bound the answer's tokens (--answer-tokens), or ask another model"
            }
            Self::CutOff | Self::Reported { .. } => "try again later, or ask another endpoint",
        };
        Some(hint.into())
    }

    /// Whether the same request may be answered later.
    pub(in crate::chat) fn passes(&self) -> bool {
        matches!(self, Self::CutOff | Self::Reported { passes: true, .. })
    }
}

impl From<TooLong> for AnswerFault {
    fn from(_: TooLong) -> Self {
        Self::TooLong {
            limit: MAX_LINE,
            of: "in one event",
        }
    }
}
