//! Scores as AblationBench's code counts them (at its commit fabe61e), to compare with its published tables.
//!
//! How they differ from [ours](super::scores):
//!
//! * A prediction is a true positive for each *truth* that is matched, not for each entry of the plan; false positives
//!   are the entries that no label names. Five entries that all match one truth make one true positive and no false one.
//! * A label that names any entry outside the first `top_k` matches nothing, yet its entries are no false positives.
//! * nDCG runs over the truths in the order of the *paper* and not over the ranks of the plan, up to the shorter of the
//!   two. It tells which truths are found, not whether the plan puts them first.
//! * With reviews, matched entries beyond the number of suggestions are neither right nor wrong, and there is no nDCG.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::labels::{AblationLabel, Labels, ReviewLabel};
use super::manifest::Truth;
use super::scores::{ScoreMeans, dcg, mean};
use crate::Error;

/// Labels and scores of one paper as AblationBench counts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// What should be: a label for each truth, then one for each false positive.
    pub true_labels: Vec<bool>,
    /// What is.
    pub pred_labels: Vec<bool>,
    /// Of the labels.
    pub precision: f64,
    /// Of the labels.
    pub recall: f64,
    /// Of the labels.
    pub f1_score: f64,
    /// Of the labels; absent with reviews.
    pub ndcg_score: Option<f64>,
}

/// Counts as AblationBench does, for the first `top_k` entries of a plan or all of them.
///
/// Two entries match the only truth; the third matches nothing. Counted by truths, one of two predictions is right:
///
/// ```
/// use kinvert_planner::benchmark::{Labels, Truth, TruthAblation, published};
///
/// let truth = Truth::Ablations(vec![TruthAblation::named("no debiasing")]);
/// let labels = Labels::parse(r#"{"name_in_paper": "no debiasing", "name_in_plan": ["a", "b"]}"#)?;
/// let scores = published(&labels, &["a", "b", "c"], &truth, None);
/// assert_eq!(scores.precision, 0.5); // two of three entries are relevant, so ours is 2/3
/// assert_eq!(scores.recall, 1.0);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
/// If the labels are about reviews and the truth is ablations, or the other way round.
pub fn published(
    labels: &Labels,
    plan: &[&str],
    truth: &Truth,
    top_k: Option<NonZeroUsize>,
) -> Published {
    match (labels, truth) {
        (Labels::Ablations(labels), Truth::Ablations(truths)) => {
            let truths: Vec<&str> = truths.iter().map(|truth| truth.name.as_str()).collect();
            let entries = &plan[..top_k.map_or(plan.len(), |k| plan.len().min(k.get()))];
            against_ablations(labels, entries, &truths)
        }
        (Labels::Reviews(labels), Truth::Reviews { suggestions, .. }) => {
            let labels = &labels[..top_k.map_or(labels.len(), |k| labels.len().min(k.get()))];
            against_reviews(labels, *suggestions)
        }
        _ => panic!("labels and truth of the same kind"),
    }
}

fn against_ablations(labels: &[AblationLabel], entries: &[&str], truths: &[&str]) -> Published {
    let is_matched = |truth: &&str| {
        labels.iter().any(|label| {
            let mut names = label.names().iter();
            label.name_in_paper == *truth
                && label.name_in_plan.is_some()
                && names.all(|name| entries.contains(&name.as_str()))
        })
    };
    let named: BTreeSet<&str> = labels
        .iter()
        .flat_map(|label| label.names())
        .map(String::as_str)
        .collect();
    let entries_once: BTreeSet<&str> = entries.iter().copied().collect();
    let false_positives = entries_once.difference(&named).count();
    let mut published = Published::of(truths.iter().map(is_matched).collect(), false_positives);

    let ranks = truths.len().min(entries.len());
    let ideal = dcg(published.true_labels.iter().copied().take(ranks));
    let gain = dcg(published.pred_labels.iter().copied().take(ranks));
    published.ndcg_score = Some(if ideal == 0.0 { 0.0 } else { gain / ideal });
    published
}

fn against_reviews(labels: &[ReviewLabel], suggestions: usize) -> Published {
    let matched = labels
        .iter()
        .filter(|label| label.appears_in_review)
        .count();
    let found = (0..suggestions).map(|index| index < matched).collect();
    Published::of(found, labels.len() - matched)
}

impl Published {
    fn of(mut found: Vec<bool>, false_positives: usize) -> Self {
        let true_positives = found.iter().filter(|found| **found).count();
        let share = |all: usize| true_positives as f64 / all.max(1) as f64;
        let truths = found.len();
        let mut true_labels = vec![true; truths];
        true_labels.extend(vec![false; false_positives]);
        found.extend(vec![true; false_positives]);
        Self {
            true_labels,
            pred_labels: found,
            precision: share(true_positives + false_positives),
            recall: share(truths),
            f1_score: 2.0 * true_positives as f64
                / (true_positives + false_positives + truths).max(1) as f64,
            ndcg_score: None,
        }
    }

    /// Means over papers, `None` of none.
    ///
    /// # Errors
    /// If a score is not finite.
    pub fn means(papers: &[Self]) -> Result<Option<ScoreMeans>, Error> {
        if papers.is_empty() {
            return Ok(None);
        }
        let column = |value: fn(&Self) -> f64| mean(papers.iter().map(value));
        let ndcg: Vec<f64> = papers.iter().filter_map(|paper| paper.ndcg_score).collect();
        Ok(Some(ScoreMeans {
            precision: column(|paper| paper.precision)?,
            recall: column(|paper| paper.recall)?,
            f1_score: column(|paper| paper.f1_score)?,
            ndcg_score: match ndcg.is_empty() {
                true => None,
                false => Some(mean(ndcg.into_iter())?),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::benchmark::manifest::TruthAblation;
    use crate::benchmark::scores::Matches;

    /// One recorded case: what went in and what AblationBench's code gave.
    #[derive(Deserialize)]
    struct Case {
        truths: Option<Vec<String>>,
        suggestions: Option<usize>,
        plan: Vec<String>,
        labels: String,
        top_k: Option<NonZeroUsize>,
        expected: Published,
    }

    #[test]
    fn every_recorded_case_is_counted_as_ablation_bench_counts_it() {
        let text = include_str!("../../tests/data/ablationbench_scores.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 20);
        for (index, case) in cases.iter().enumerate() {
            let truth = match (&case.truths, case.suggestions) {
                (Some(names), None) => Truth::Ablations(
                    names
                        .iter()
                        .map(|name| TruthAblation::named(name))
                        .collect(),
                ),
                (None, Some(suggestions)) => Truth::Reviews {
                    texts: Vec::new(),
                    suggestions,
                },
                _ => panic!("case {index}"),
            };
            let labels = Labels::parse(&case.labels).unwrap();
            let plan: Vec<&str> = case.plan.iter().map(String::as_str).collect();
            let found = published(&labels, &plan, &truth, case.top_k);
            let expected = &case.expected;
            assert_eq!(found.true_labels, expected.true_labels, "case {index}");
            assert_eq!(found.pred_labels, expected.pred_labels, "case {index}");
            for (name, found, expected) in [
                ("precision", found.precision, expected.precision),
                ("recall", found.recall, expected.recall),
                ("F1", found.f1_score, expected.f1_score),
                (
                    "nDCG",
                    found.ndcg_score.unwrap_or(-1.0),
                    expected.ndcg_score.unwrap_or(-1.0),
                ),
            ] {
                let difference = (found - expected).abs();
                assert!(
                    difference < 1e-12,
                    "case {index}: {name} {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn the_order_of_the_plan_counts_for_ours_and_that_of_the_paper_for_theirs() {
        // Truths 1, 2, 3; the plan is miss, miss, hit, and the hit is truth 1.
        let truth = Truth::Ablations(["1", "2", "3"].map(TruthAblation::named).into());
        let labels = Labels::parse(r#"{"name_in_paper": "1", "name_in_plan": "hit"}"#).unwrap();
        let plan = ["miss", "other miss", "hit"];
        let ideal = 1.0 + 1.0 / 3_f64.log2() + 0.5; // three relevant ranks in both
        let theirs = published(&labels, &plan, &truth, None);
        assert!((theirs.ndcg_score.unwrap() - 1.0 / ideal).abs() < 1e-12); // the first truth
        let ours = Matches::of(&labels, &plan, &truth, None).scores().unwrap();
        assert!((ours.ndcg_score - 0.5 / ideal).abs() < 1e-12); // the third rank
        // One true positive, two false ones, two truths that are not found: the same for both.
        assert_eq!((theirs.precision, ours.precision), (1.0 / 3.0, 1.0 / 3.0));
        assert_eq!((theirs.recall, ours.recall), (1.0 / 3.0, 1.0 / 3.0));
    }

    #[test]
    fn an_entry_beyond_the_first_spoils_a_label_for_theirs_only() {
        let truth = Truth::Ablations(vec![TruthAblation::named("1")]);
        let labels =
            Labels::parse(r#"{"name_in_paper": "1", "name_in_plan": ["a", "b"]}"#).unwrap();
        let first = NonZeroUsize::new(1);
        let theirs = published(&labels, &["a", "b"], &truth, first);
        // No true positive, and `a` is named by the label, so no false positive either: 0 of 0.
        assert_eq!((theirs.precision, theirs.recall), (0.0, 0.0));
        assert_eq!(theirs.pred_labels, [false]);
        let ours = Matches::of(&labels, &["a", "b"], &truth, first)
            .scores()
            .unwrap();
        assert_eq!(
            (ours.precision, ours.recall, ours.ndcg_score),
            (1.0, 1.0, 1.0)
        );
    }

    #[test]
    fn entries_beyond_the_suggestions_count_as_nothing_for_theirs() {
        // Three of four entries are asked for, by two suggestions.
        let labels: String = ["a", "b", "c", "d"]
            .iter()
            .map(|name| {
                let asked = *name != "d";
                format!("{{\"name_in_plan\":\"{name}\",\"appears_in_review\":{asked}}}\n")
            })
            .collect();
        let labels = Labels::parse(&labels).unwrap();
        let truth = Truth::Reviews {
            texts: Vec::new(),
            suggestions: 2,
        };
        let plan = ["a", "b", "c", "d"];
        let theirs = published(&labels, &plan, &truth, None);
        assert_eq!((theirs.precision, theirs.recall), (2.0 / 3.0, 1.0));
        assert_eq!(theirs.ndcg_score, None);
        let ours = Matches::of(&labels, &plan, &truth, None).scores().unwrap();
        assert_eq!(
            (ours.precision, ours.recall, ours.ndcg_score),
            (0.75, 1.0, 1.0)
        );
    }
}
