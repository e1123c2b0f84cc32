//! Who looked, and who did not.

use serde::Serialize;

use super::ballots::Ballots;
use super::pair::PairKind;
use super::vote::{Question, Vote};

/// A rater whose votes do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The rater.
    pub rater: String,
    /// Attention checks that were answered.
    pub checks: usize,
    /// How many of them were failed.
    pub failed: usize,
    /// Comparisons that do not count for this.
    pub votes: usize,
}

/// All raters, told apart by their attention checks.
pub(super) struct Screening<'b> {
    /// Comparisons of each rater who counts and gave any.
    pub kept: Vec<Vec<&'b Vote>>,
    pub left_out: Vec<LeftOut>,
    /// Raters who count although they answered no check.
    pub without_checks: usize,
}

/// Leaves out raters who failed more than a share of the checks they answered.
///
/// A check is failed if the answer to any question is not the expected one.
pub(super) fn screen<'b>(ballots: &'b Ballots<'_>, max_failed_share: f64) -> Screening<'b> {
    let mut screening = Screening {
        kept: Vec::new(),
        left_out: Vec::new(),
        without_checks: 0,
    };
    for votes in ballots.by_rater() {
        let mut comparisons = Vec::new();
        let (mut checks, mut failed) = (0, 0);
        for vote in votes {
            match ballots.kind(vote) {
                Some(PairKind::Check { expected }) => {
                    let is_right = |question| vote.verdict(question) == expected;
                    checks += 1;
                    failed += usize::from(!Question::ALL.into_iter().all(is_right));
                }
                Some(PairKind::Comparison) => comparisons.push(vote),
                None => {} // no vote of `Ballots` is on an unknown pair
            }
        }
        if failed as f64 > max_failed_share * checks as f64 {
            screening.left_out.push(LeftOut {
                rater: votes[0].rater.clone(),
                checks,
                failed,
                votes: comparisons.len(),
            });
        } else if !comparisons.is_empty() {
            screening.without_checks += usize::from(checks == 0);
            screening.kept.push(comparisons);
        }
    }
    screening
}
