//! What a judge answered.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Case;
use crate::answer::after_thoughts;
use crate::benchmark::labels::{AblationLabel, Labels, ReviewLabel, lines, of_line};
use crate::benchmark::manifest::Truth;

/// Lines of an answer that are told to be wrong; a judge that hears more learns no more.
const MAX_TOLD: usize = 5;

/// An answer that could be read.
pub(super) struct Answer {
    pub labels: Labels,
    pub discussion: String,
    pub notes: Vec<String>,
}

/// Reads an answer: `<discussion>` and `<predictions>`, a JSON object a line. Names that neither side has match nothing,
/// what has no line is not matched, and several lines for the same are merged; all that is noted.
///
/// # Errors
/// What is wrong, for the judge to hear.
pub(super) fn parse(text: &str, case: &Case<'_>) -> Result<Answer, String> {
    let text = after_thoughts(text);
    let (discussion, rest) = match between(text, "discussion") {
        Some((discussion, rest)) => (discussion, rest?),
        None => ("", text), // reasoning is asked for, but nothing hangs on it
    };
    let (predictions, end) = between(rest, "predictions").ok_or("there is no <predictions>")?;
    end?;
    let mut notes = Vec::new();
    let labels = match case.truth {
        Truth::Ablations(truths) => {
            let names: Vec<&str> = truths.iter().map(|truth| truth.name.as_str()).collect();
            Labels::Ablations(against_ablations(
                read(predictions)?,
                &names,
                case,
                &mut notes,
            ))
        }
        Truth::Reviews { .. } => {
            Labels::Reviews(against_reviews(read(predictions)?, case, &mut notes))
        }
    };
    Ok(Answer {
        labels,
        discussion: discussion.trim().into(),
        notes,
    })
}

/// The content of the first such element and what comes after it, or that it is not closed.
fn between<'a>(text: &'a str, tag: &str) -> Option<(&'a str, Result<&'a str, String>)> {
    let (_, inside) = text.split_once(&format!("<{tag}>"))?;
    Some(match inside.split_once(&format!("</{tag}>")) {
        Some((content, rest)) => (content, Ok(rest)),
        None => (inside, Err(format!("<{tag}> is not closed"))),
    })
}

/// The labels of all lines; fences of code around them say nothing.
fn read<T: for<'a> Deserialize<'a>>(predictions: &str) -> Result<Vec<T>, String> {
    let mut faults = Vec::new();
    let mut labels = Vec::new();
    for line in lines(predictions).filter(|(_, line)| !line.starts_with("```")) {
        match of_line(line) {
            Ok(label) => labels.push(label),
            Err(reason) => faults.push(reason),
        }
    }
    if faults.len() > MAX_TOLD {
        let more = faults.len() - MAX_TOLD;
        faults.truncate(MAX_TOLD);
        faults.push(format!("and {more} more"));
    }
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    if labels.is_empty() {
        return Err("<predictions> holds no line".into());
    }
    Ok(labels)
}

fn against_ablations(
    found: Vec<AblationLabel>,
    truths: &[&str],
    case: &Case<'_>,
    notes: &mut Vec<String>,
) -> Vec<AblationLabel> {
    let mut merged: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for label in &found {
        let Some(truth) = known(&label.name_in_paper, truths) else {
            notes.push(format!(
                "No ablation of the paper is named `{}`.",
                label.name_in_paper
            ));
            continue;
        };
        let names = merged.entry(truth).or_default();
        for name in label.names() {
            match known(name, &entries(case)) {
                None => notes.push(format!("No entry of the plan is named `{name}`.")),
                Some(name) if names.iter().any(|known| known == name) => {}
                Some(name) => names.push(name.into()),
            }
        }
    }
    let labels = truths.iter().map(|truth| {
        let names = merged.get(truth).cloned().unwrap_or_else(|| {
            notes.push(format!("The answer leaves out `{truth}`."));
            Vec::new()
        });
        AblationLabel::new(*truth, names)
    });
    labels.collect()
}

fn against_reviews(
    found: Vec<ReviewLabel>,
    case: &Case<'_>,
    notes: &mut Vec<String>,
) -> Vec<ReviewLabel> {
    let entries = entries(case);
    let mut merged: BTreeMap<&str, bool> = BTreeMap::new();
    for label in &found {
        let Some(name) = known(&label.name_in_plan, &entries) else {
            notes.push(format!(
                "No entry of the plan is named `{}`.",
                label.name_in_plan
            ));
            continue;
        };
        let appears = label.appears_in_review;
        if merged.get(name).is_some_and(|before| *before != appears) {
            notes.push(format!("The answer contradicts itself about `{name}`."));
        }
        // What is unclear does not match.
        merged
            .entry(name)
            .and_modify(|before| *before &= appears)
            .or_insert(appears);
    }
    let labels = entries.iter().map(|name| ReviewLabel {
        name_in_plan: (*name).into(),
        appears_in_review: merged.get(name).copied().unwrap_or_else(|| {
            notes.push(format!("The answer leaves out `{name}`."));
            false
        }),
    });
    labels.collect()
}

fn entries<'a>(case: &Case<'a>) -> Vec<&'a str> {
    case.plan.iter().map(|entry| entry.name.as_str()).collect()
}

/// The name that is meant: space around it does not count.
fn known<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let meant = |known: &&&str| known.trim() == name.trim();
    names.iter().find(meant).copied()
}
