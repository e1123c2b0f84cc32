//! User preference: what people say when they see two clips side by side.
//!
//! A rater sees the reference, the prompt and two results in random left and right order, without names, and answers
//! three [`Question`]s with left, right or about equal. Attention checks are mixed in: a clip against itself, a clip
//! against noise.
//!
//! | thing | what it is | file |
//! |---|---|---|
//! | [`Pair`], [`Survey`] | what is to be compared, and the checks | `pairs.csv` or `pairs.jsonl` |
//! | [`Presentation`] | what one rater is shown, in which order, from [`Survey::presentations`] | |
//! | [`Vote`], [`Ballots`] | what was clicked, with the order shown, so that nothing is lost | `votes.csv` or `votes.jsonl` |
//! | [`Report`] | win rates, strengths, agreement, and who was left out | |
//!
//! # Files
//!
//! A file is CSV (`.csv`, with a header line, comma-separated) or JSON Lines (`.jsonl` or `.ndjson`, one object a
//! line), in UTF-8. Columns of the one have the names of the keys of the other, in any order:
//!
//! | pairs | |
//! |---|---|
//! | `pair` | id of the pair, unique |
//! | `kind` | `comparison`, or `check` for an attention check |
//! | `expected` | of a check `a`, `b` or `equal`: the answer of whoever looks; of a comparison empty or absent |
//! | `reference` | clip whose motion is followed: a file or any label |
//! | `prompt` | the text; may be empty |
//! | `a_variant`, `b_variant` | names of the variants that made the two results |
//! | `a_file`, `b_file` | the results: files or any labels |
//!
//! | votes | |
//! |---|---|
//! | `pair` | id of the pair |
//! | `rater` | anonymous id of the rater |
//! | `left` | `a` or `b`: the result that was shown on the left |
//! | `motion`, `text`, `preference` | the answers as they were clicked: `left`, `right` or `equal` |
//! | `seconds` | time taken |
//! | `time` | when; RFC 3339 such as `2026-03-01T12:00:00Z` or Unix seconds; may be empty or absent |
//!
//! Space around a value is not part of it. Other columns are ignored, and a warning names them. A value that a
//! spreadsheet would take for a formula (that begins with `=`, `+`, `-`, `@`, a tab or a carriage return) is written to
//! CSV with an apostrophe before it, and an apostrophe before such a character is taken away when CSV is read.

mod ballots;
mod checks;
mod fault;
mod pair;
mod presentation;
mod report;
mod survey;
mod table;
mod tally;
mod timestamp;
mod vote;
mod word;

pub use ballots::{Ballots, Import, OnFault};
pub use checks::LeftOut;
pub use fault::{Fault, Faults};
pub use pair::{Candidate, Pair, PairKind, Slot, Verdict};
pub use presentation::Presentation;
pub use report::{
    Agreement, Answers, Estimate, HeadToHead, QuestionReport, Raters, Report, ReportOptions,
    VariantResult, VoteCounts,
};
pub use survey::Survey;
pub use table::escaped_cell;
pub use timestamp::Timestamp;
pub use vote::{Answer, Question, Vote};

/// Longest id and longest name of a variant, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Longest prompt, reference or file, in bytes.
const MAX_TEXT_BYTES: usize = 10_000;

/// What is wrong with an id or the name of a variant, if anything is.
fn name_fault(column: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("`{column}` is empty"));
    }
    if name.chars().any(char::is_control) {
        return Some(format!("`{column}` holds a control character"));
    }
    text_fault(column, name, MAX_NAME_BYTES)
}

/// What is wrong with a text that may be empty and hold several lines, if anything is.
fn text_fault(column: &str, text: &str, max_bytes: usize) -> Option<String> {
    if text.len() > max_bytes {
        let found = text.len();
        return Some(format!(
            "`{column}` has {found} bytes, expected at most {max_bytes}"
        ));
    }
    (text.trim() != text).then(|| format!("`{column}` begins or ends with space"))
}
