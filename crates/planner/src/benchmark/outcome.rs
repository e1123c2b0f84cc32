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

/// What it took and what failed: `12900 tokens, 0.04 $, 1 failed`.
pub(super) fn told(usage: &Usage, failed: usize) -> String {
    let mut told = format!("{} tokens", usage.input_tokens + usage.output_tokens);
    if let Some(cost) = usage.cost_usd {
        told += &format!(", {cost:.2} $");
    }
    if failed > 0 {
        told += &format!(", {failed} failed");
    }
    told
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
