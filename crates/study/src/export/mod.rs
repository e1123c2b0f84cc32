//! What a study gave, for other programs: cells as CSV and JSON Lines, tables as CSV and LaTeX.
//!
//! Equal results give equal bytes. CSV holds no times and no dates, so that two runs of the same study give the same
//! file; JSON Lines hold everything.

mod csv;
mod json_lines;
mod latex;

pub use csv::{csv, tables_csv};
pub use json_lines::json_lines;
pub use latex::latex;

use crate::results::Outcome;

/// A state in one word.
fn state(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Waiting => "waiting",
        Outcome::Running => "running",
        Outcome::Done(_) => "done",
        Outcome::Failed { .. } => "failed",
    }
}
