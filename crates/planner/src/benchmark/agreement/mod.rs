//! How well a judge agrees with people.
//!
//! People labelled plans; the judge labelled the same plans. Of each item, which is a plan for a paper, every label is
//! taken as yes (something matches) or no, and the judge's are held to those of people as AblationBench holds them:
//! precision, recall and F1 of the yes, 0 where they are 0 of 0, and their means over items. Beside that stand all
//! labels together, with their accuracy and Cohen's kappa (Cohen 1960), which does not take agreement by chance for
//! agreement.
//!
//! A label that the judge does not have is a no, and so is each of an item that it did not judge. AblationBench's reader
//! takes an item of people whose labels are all null for all yes; here null is no.

use std::collections::HashMap;
use std::path::Path;

use kinvert_metrics::statistics::Summary;
use serde::Serialize;
use serde_json::Value;

use super::faults::RowFaults;
use super::labels::Labels;
use super::manifest::check_id;
use super::scores::mean;
use super::{files, table};
use crate::Error;

/// How well a judge agrees with people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Each item.
    pub items: Vec<ItemAgreement>,
    /// Mean over items.
    pub precision: Summary,
    /// Mean over items.
    pub recall: Summary,
    /// Mean over items.
    pub f1_score: Summary,
    /// All labels of all items together.
    pub pooled: Counts,
    /// Share of labels that are the same; absent without labels.
    pub accuracy: Option<f64>,
    /// Cohen's kappa of all labels; absent if chance would agree always.
    pub kappa: Option<f64>,
    /// Items that the judge did not judge.
    pub not_judged: Vec<String>,
}

/// One plan for one paper.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemAgreement {
    /// Its id: that of the paper, or `planner/paper`.
    pub id: String,
    /// How its labels compare.
    pub counts: Counts,
    /// Share of the judge's yes that are right.
    pub precision: f64,
    /// Share of people's yes that the judge finds.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1_score: f64,
}

/// How labels compare: people's first, then the judge's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Yes, and the judge says so.
    pub true_positive: usize,
    /// No, but the judge says yes.
    pub false_positive: usize,
    /// Yes, but the judge says no.
    pub false_negative: usize,
    /// No, and the judge says so.
    pub true_negative: usize,
}

/// Compares a judge's labels with those of people.
///
/// `labelled` is a table with the columns `id` and `labels`: a list of labels, or their text, one JSON object a line.
/// The judge's lie in `folder`, in `<id>.jsonl`; for an id such as `planner/paper` in a folder of the planner's name.
///
/// # Errors
/// If the table cannot be read, is too large or has faults, or labels of the judge cannot be read.
pub fn agreement(labelled: &Path, folder: &Path) -> Result<Agreement, Error> {
    let mut not_judged = Vec::new();
    let mut items = Vec::new();
    for Labelled { id, labels } in read_labelled(labelled)? {
        let (place, paper) = match id.split_once('/') {
            Some((planner, paper)) => (folder.join(planner), paper),
            None => (folder.to_owned(), id.as_str()),
        };
        let judge = match files::lines(&place, paper)? {
            None => {
                not_judged.push(id.clone());
                Vec::new()
            }
            Some(lines) => {
                let path = place.join(format!("{paper}.jsonl"));
                yes_and_no(&Labels::parse(&lines).map_err(|reason| Error::table(&path, reason))?)
            }
        };
        items.push(ItemAgreement::new(id, Counts::of(&labels, &judge)));
    }
    let column = |value: fn(&ItemAgreement) -> f64| mean(items.iter().map(value));
    let pooled = Counts::sum(items.iter().map(|item| item.counts));
    Ok(Agreement {
        precision: column(|item| item.precision)?,
        recall: column(|item| item.recall)?,
        f1_score: column(|item| item.f1_score)?,
        pooled,
        accuracy: pooled.accuracy(),
        kappa: pooled.kappa(),
        not_judged,
        items,
    })
}

impl Counts {
    /// People's labels, each beside the judge's of the same name. If the judge has several, each counts; if none, a no.
    fn of(people: &[(String, bool)], judge: &[(String, bool)]) -> Self {
        let mut by_name: HashMap<&str, Vec<bool>> = HashMap::new();
        for (name, label) in judge {
            by_name.entry(name).or_default().push(*label);
        }
        let mut counts = Self::default();
        for (name, expected) in people {
            let found = by_name
                .get(name.as_str())
                .map_or(&[false][..], Vec::as_slice);
            for found in found {
                *match (expected, found) {
                    (true, true) => &mut counts.true_positive,
                    (false, true) => &mut counts.false_positive,
                    (true, false) => &mut counts.false_negative,
                    (false, false) => &mut counts.true_negative,
                } += 1;
            }
        }
        counts
    }

    fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, counts| Self {
            true_positive: sum.true_positive + counts.true_positive,
            false_positive: sum.false_positive + counts.false_positive,
            false_negative: sum.false_negative + counts.false_negative,
            true_negative: sum.true_negative + counts.true_negative,
        })
    }

    /// All labels.
    pub fn total(&self) -> usize {
        self.true_positive + self.false_positive + self.false_negative + self.true_negative
    }

    /// Share of labels that are the same; `None` without labels.
    pub fn accuracy(&self) -> Option<f64> {
        let same = self.true_positive + self.true_negative;
        (self.total() > 0).then(|| same as f64 / self.total() as f64)
    }

    /// Cohen's kappa: (accuracy − chance) / (1 − chance), where chance is how often two raters agree who say yes as often
    /// as people and judge do, but at random. `None` without labels, and if chance would agree always.
    ///
    /// Of 50 labels people say yes to 25 and the judge to 30, to 20 of them both: the accuracy is 35/50, chance
    /// 25/50 · 30/50 + 25/50 · 20/50 = 1/2, and kappa (0.7 − 0.5) / 0.5 = 0.4.
    ///
    /// ```
    /// use kinvert_planner::benchmark::Counts;
    ///
    /// let counts = Counts { true_positive: 20, false_positive: 10, false_negative: 5, true_negative: 15 };
    /// assert!((counts.kappa().expect("chance does not agree always") - 0.4).abs() < 1e-12);
    /// ```
    pub fn kappa(&self) -> Option<f64> {
        let accuracy = self.accuracy()?;
        let total = self.total() as f64;
        let people = (self.true_positive + self.false_negative) as f64 / total;
        let judge = (self.true_positive + self.false_positive) as f64 / total;
        let chance = people * judge + (1.0 - people) * (1.0 - judge);
        (chance < 1.0).then(|| (accuracy - chance) / (1.0 - chance))
    }
}

impl ItemAgreement {
    fn new(id: String, counts: Counts) -> Self {
        let right = counts.true_positive;
        let share = |of: usize, all: usize| of as f64 / all.max(1) as f64; // 0 of 0 is 0
        let wrong = counts.false_positive + counts.false_negative;
        Self {
            id,
            counts,
            precision: share(right, right + counts.false_positive),
            recall: share(right, right + counts.false_negative),
            f1_score: share(2 * right, 2 * right + wrong),
        }
    }
}

/// Labels as yes or no, by the name that is labelled.
fn yes_and_no(labels: &Labels) -> Vec<(String, bool)> {
    match labels {
        Labels::Ablations(labels) => labels
            .iter()
            .map(|label| (label.name_in_paper.clone(), !label.names().is_empty()))
            .collect(),
        Labels::Reviews(labels) => labels
            .iter()
            .map(|label| (label.name_in_plan.clone(), label.appears_in_review))
            .collect(),
    }
}

/// A plan for a paper that people labelled.
struct Labelled {
    id: String,
    labels: Vec<(String, bool)>,
}

/// The items that people labelled.
fn read_labelled(path: &Path) -> Result<Vec<Labelled>, Error> {
    let mut faults = RowFaults::default();
    let mut items = Vec::new();
    let mut seen = HashMap::new();
    for (number, row) in (1..).zip(table::read(path, &["id", "labels"])?) {
        let id = match row.get("id").and_then(Value::as_str) {
            None => Err("no `id`, expected a text".to_owned()),
            Some(id) => match id.split_once('/') {
                Some((planner, paper)) => check_id(planner).and_then(|()| check_id(paper)),
                None => check_id(id),
            }
            .map(|()| id.to_owned()),
        };
        let labels = match row.get("labels") {
            Some(Value::String(text)) => Labels::parse(text),
            Some(Value::Array(labels)) => {
                let lines: Vec<String> = labels.iter().map(Value::to_string).collect();
                Labels::parse(&lines.join("\n"))
            }
            _ => Err("no `labels`, expected a list or text".to_owned()),
        };
        let labels = labels.map_err(|reason| format!("`labels`: {reason}"));
        if let Ok(id) = &id
            && let Some(first) = seen.insert(id.clone(), number)
        {
            faults.push(number, format!("id `{id}` is also that of row {first}"));
        }
        match (id, labels) {
            (Ok(id), Ok(labels)) => {
                let labels = yes_and_no(&labels);
                items.push(Labelled { id, labels });
            }
            (id, labels) => {
                for reason in [id.err(), labels.err()].into_iter().flatten() {
                    faults.push(number, reason);
                }
            }
        }
    }
    Error::of_faults(path, faults)?;
    Ok(items)
}

#[cfg(test)]
mod tests;
