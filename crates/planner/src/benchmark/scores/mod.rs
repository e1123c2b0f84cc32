//! How well a plan meets the truth: precision, recall, F1 and nDCG of one paper, and their means over papers.
//!
//! A *truth* is an ablation that people chose for the paper, or one of the suggestions of its reviewers. An entry of the
//! plan is *relevant* if it matches some truth. Of a plan with `n` entries (the first `top_k` alone, if so many are
//! asked for) for a paper with `m > 0` truths:
//!
//! * precision = relevant entries / `n`, and 0 for an empty plan;
//! * recall = truths that some entry matches / `m`. Reviews do not say which suggestion an entry meets, so there it is
//!   min(relevant entries, `m`) / `m`;
//! * F1 is their harmonic mean, and 0 if both are 0;
//! * nDCG = DCG / ideal DCG with DCG = Σ relevantᵢ / log₂(i + 1) over the ranks i = 1, 2, … of the plan. The ideal has
//!   its first max(min(`n`, `m`), relevant entries) ranks relevant and no others. It is thus never below the DCG, and 1
//!   is reached just where no better ranking is left: a relevant entry for each truth as far as the plan is long, and
//!   all relevant entries, which are more than `m` if several match the same truth, before all others.
//!
//! One entry may match several truths, and several entries one truth. A paper without truths has no scores.
//! AblationBench counts otherwise; see [`published`](super::published()).

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use kinvert_metrics::statistics::{Bootstrap, Sample, Summary};
use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::manifest::Truth;
use crate::Error;

/// Which entries of a plan are relevant, and how many truths they find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matches {
    /// Whether the entry matches some truth, for each entry, the most important first.
    pub relevant: Vec<bool>,
    /// How many truths are matched by some entry.
    pub found: usize,
    /// How many truths there are.
    pub truths: usize,
}

/// How well a plan meets the truth of its paper. Each is from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of entries that are relevant.
    pub precision: f64,
    /// Share of truths that are found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1_score: f64,
    /// How early the relevant entries stand.
    pub ndcg_score: f64,
}

/// Means over papers, with sample standard deviations and bootstrap intervals over papers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreMeans {
    /// Of precision.
    pub precision: Summary,
    /// Of recall.
    pub recall: Summary,
    /// Of F1.
    pub f1_score: Summary,
    /// Of nDCG; absent where it is not defined.
    pub ndcg_score: Option<Summary>,
}

impl Matches {
    /// What labels say about the first `top_k` entries of a plan, or about all. Names that neither side has do not
    /// count; where several truths have the same name, a label holds for all of them.
    ///
    /// # Panics
    /// If the labels are about reviews and the truth is ablations, or the other way round.
    pub fn of(labels: &Labels, plan: &[&str], truth: &Truth, top_k: Option<NonZeroUsize>) -> Self {
        let entries = &plan[..top_k.map_or(plan.len(), |k| plan.len().min(k.get()))];
        match (labels, truth) {
            (Labels::Ablations(labels), Truth::Ablations(truths)) => {
                let counts = |name: &String| entries.contains(&name.as_str());
                let is_known = |name: &str| truths.iter().any(|truth| truth.name == name);
                let known = || labels.iter().filter(|label| is_known(&label.name_in_paper));
                let matched: BTreeSet<&str> = known()
                    .flat_map(|label| label.names())
                    .map(String::as_str)
                    .collect();
                let found: BTreeSet<&str> = known()
                    .filter(|label| label.names().iter().any(counts))
                    .map(|label| label.name_in_paper.as_str())
                    .collect();
                Self {
                    relevant: entries.iter().map(|name| matched.contains(name)).collect(),
                    found: truths
                        .iter()
                        .filter(|truth| found.contains(truth.name.as_str()))
                        .count(),
                    truths: truths.len(),
                }
            }
            (Labels::Reviews(labels), Truth::Reviews { suggestions, .. }) => {
                let asked: BTreeSet<&str> = labels
                    .iter()
                    .filter(|label| label.appears_in_review)
                    .map(|label| label.name_in_plan.as_str())
                    .collect();
                let relevant: Vec<bool> = entries.iter().map(|name| asked.contains(name)).collect();
                let count = relevant.iter().filter(|relevant| **relevant).count();
                Self {
                    relevant,
                    found: count.min(*suggestions),
                    truths: *suggestions,
                }
            }
            _ => panic!("labels and truth of the same kind"),
        }
    }

    /// The scores, as the module defines them; `None` without truths.
    ///
    /// Of three entries the second matches two of four truths. The ideal has three relevant entries:
    /// nDCG = (1 / log₂ 3) / (1 + 1 / log₂ 3 + 1 / 2) = 0.6309 / 2.1309.
    ///
    /// ```
    /// use kinvert_planner::benchmark::Matches;
    ///
    /// let matches = Matches { relevant: vec![false, true, false], found: 2, truths: 4 };
    /// let scores = matches.scores().expect("there are truths");
    /// assert_eq!((scores.precision, scores.recall), (1.0 / 3.0, 0.5));
    /// assert!((scores.f1_score - 0.4).abs() < 1e-12);
    /// assert!((scores.ndcg_score - 0.6309 / 2.1309).abs() < 1e-4);
    /// ```
    pub fn scores(&self) -> Option<Scores> {
        if self.truths == 0 {
            return None;
        }
        let entries = self.relevant.len();
        let relevant = self.relevant.iter().filter(|relevant| **relevant).count();
        let precision = relevant as f64 / entries.max(1) as f64;
        let recall = self.found as f64 / self.truths as f64;
        let ideal = entries.min(self.truths).max(relevant);
        let gain = dcg(self.relevant.iter().copied());
        Some(Scores {
            precision,
            recall,
            f1_score: harmonic_mean(precision, recall),
            ndcg_score: if entries == 0 {
                0.0
            } else {
                // Both are sums in the same order, so that the quotient cannot exceed 1 by rounding.
                gain / dcg((0..entries).map(|rank| rank < ideal))
            },
        })
    }
}

impl ScoreMeans {
    /// Means of the scores of papers, `None` of none.
    ///
    /// # Errors
    /// If a score is not finite.
    pub fn of(scores: &[Scores]) -> Result<Option<Self>, Error> {
        if scores.is_empty() {
            return Ok(None);
        }
        let column = |value: fn(&Scores) -> f64| mean(scores.iter().map(value));
        Ok(Some(Self {
            precision: column(|scores| scores.precision)?,
            recall: column(|scores| scores.recall)?,
            f1_score: column(|scores| scores.f1_score)?,
            ndcg_score: Some(column(|scores| scores.ndcg_score)?),
        }))
    }
}

/// Mean, deviation and interval of the values of papers, of which there must be one.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Result<Summary, Error> {
    let sample = Sample::independent(values.collect())?;
    Ok(sample.summary(&Bootstrap::default()))
}

/// Σ relevantᵢ / log₂(i + 1) over ranks from 1.
pub(super) fn dcg(relevant: impl Iterator<Item = bool>) -> f64 {
    let ranked = (2..).zip(relevant);
    ranked
        .filter(|(_, relevant)| *relevant)
        .map(|(rank, _)| 1.0 / f64::from(rank).log2())
        .sum()
}

/// 2 a b / (a + b), and 0 if both are 0.
pub(super) fn harmonic_mean(a: f64, b: f64) -> f64 {
    if a + b > 0.0 {
        2.0 * a * b / (a + b)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
