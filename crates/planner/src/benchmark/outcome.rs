//! What came of work on many papers, in words.

use serde::Serialize;

use crate::{Error, Usage};

/// A paper that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The paper.
    pub id: String,
    /// The error, with its causes.
    pub error: String,
}

/// What work on papers took so far, and how much of it failed.
#[derive(Default)]
pub(super) struct Tally {
    usage: Usage,
    failed: usize,
}

impl Tally {
    /// Adds what one paper took, or that it failed, and says all of it: `12900 tokens, 0.04 $, 1 failed`.
    pub(super) fn add(&mut self, usage: Option<Usage>) -> String {
        match usage {
            Some(usage) => self.usage += usage,
            None => self.failed += 1,
        }
        let tokens = self.usage.input_tokens + self.usage.output_tokens;
        let mut told = format!("{tokens} tokens");
        if let Some(cost) = self.usage.cost_usd {
            told += &format!(", {cost:.2} $");
        }
        if self.failed > 0 {
            told += &format!(", {} failed", self.failed);
        }
        told
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
