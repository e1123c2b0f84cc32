//! What people said of a variant.

use kinvert_metrics::statistics::{Interval, Summary};
use kinvert_metrics::votes::{HeadToHead, Question, QuestionReport, Report};

use crate::voting::name_in_survey;

/// The answers to the question which result people prefer.
pub(super) struct Preference<'a> {
    pub report: &'a Report,
}

/// How a variant did against the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Against {
    /// Share of comparisons won, a tie as half a win.
    pub share: f64,
    pub interval: Option<Interval>,
    pub votes: usize,
}

impl Preference<'_> {
    /// The share of all comparisons that a variant won, under whichever of its names it was compared.
    pub fn won(&self, names: &[&str]) -> Option<Summary> {
        let found = self
            .question()?
            .variants
            .iter()
            .find(|result| is_one_of(names, &result.variant))?;
        Some(Summary {
            mean: found.win_rate.value?,
            standard_deviation: None,
            interval: found.win_rate.interval,
            values: found.wins + found.ties + found.losses,
            clusters: self.report.raters.kept,
        })
    }

    /// How a variant did against the baseline.
    pub fn against(&self, names: &[&str], baseline: &[&str]) -> Option<Against> {
        let results = &self.question()?.head_to_head;
        let votes = |found: &HeadToHead| found.wins + found.ties + found.losses;
        let ours = results
            .iter()
            .find(|found| is_one_of(names, &found.variant) && is_one_of(baseline, &found.against));
        if let Some(found) = ours {
            return Some(Against {
                share: found.win_rate.value?,
                interval: found.win_rate.interval,
                votes: votes(found),
            });
        }
        let theirs = results.iter().find(|found| {
            is_one_of(baseline, &found.variant) && is_one_of(names, &found.against)
        })?;
        Some(Against {
            share: 1.0 - theirs.win_rate.value?,
            interval: theirs.win_rate.interval.map(|ends| Interval {
                low: 1.0 - ends.high,
                high: 1.0 - ends.low,
            }),
            votes: votes(theirs),
        })
    }

    fn question(&self) -> Option<&QuestionReport> {
        self.report.question(Question::Preference)
    }
}

fn is_one_of(names: &[&str], found: &str) -> bool {
    names.iter().any(|name| name_in_survey(name) == found)
}
