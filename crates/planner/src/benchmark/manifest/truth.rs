//! The truth of a paper: the ablations that its authors made, or the reviews that ask for some.

use kinvert_study::Ablation;
use serde::Serialize;
use serde_json::Value;

use super::{Row, filled};

pub(super) const ABLATIONS: &[&str] = &["ablations_in_paper", "ablations"];
pub(super) const REVIEWS: &[&str] = &["review_text", "reviews"];
pub(super) const SUGGESTIONS: &[&str] = &["num_ablation_suggestions", "suggestions"];

/// Bounds on the truth of one paper: far beyond what any has.
const MAX_ITEMS: usize = 1000;
const MAX_NAME_BYTES: usize = 2 << 10;
const MAX_TEXT_BYTES: usize = 32 << 10;
const MAX_REVIEW_BYTES: usize = 256 << 10;

/// What people chose for a paper.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Truth {
    /// Ablations that the paper has.
    Ablations(Vec<TruthAblation>),
    /// What reviewers said, who found ablations missing.
    Reviews {
        /// Each review.
        texts: Vec<String>,
        /// How many ablations they ask for.
        suggestions: usize,
    },
}

/// An ablation that people chose. Datasets are written by hand, so that only its name must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TruthAblation {
    /// What it is called.
    pub name: String,
    /// The part of the method that it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ablated_part: String,
    /// What is done to that part, as it is written: `REMOVE`, `REPLACE`, `ADD`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// What is put in, an alternative each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replacement: Vec<String>,
    /// The names of the measures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
}

impl Truth {
    /// How many ablations were chosen.
    pub fn count(&self) -> usize {
        match self {
            Self::Ablations(ablations) => ablations.len(),
            Self::Reviews { suggestions, .. } => *suggestions,
        }
    }

    pub(super) fn of_row(row: &Row, fault: &mut impl FnMut(String)) -> Option<Self> {
        match (filled(row, ABLATIONS), filled(row, REVIEWS)) {
            (None, None) => None,
            (Some((ablations, _)), Some((reviews, _))) => {
                fault(format!(
                    "both `{ablations}` and `{reviews}`, expected one kind of truth"
                ));
                None
            }
            (Some((name, value)), None) => {
                let items = list(name, value, fault)?;
                let ablations = (1..).zip(items).filter_map(|(number, item)| {
                    TruthAblation::of(&item)
                        .map_err(|reason| fault(format!("`{name}`, item {number}: {reason}")))
                        .ok()
                });
                Some(Self::Ablations(ablations.collect()))
            }
            (None, Some((name, value))) => {
                let mut texts = Vec::new();
                for (number, item) in (1..).zip(list(name, value, fault)?) {
                    match item {
                        Value::String(text) if text.len() <= MAX_REVIEW_BYTES => texts.push(text),
                        Value::String(text) => fault(format!(
                            "`{name}`, item {number}: {} bytes, expected at most {MAX_REVIEW_BYTES}",
                            text.len()
                        )),
                        _ => fault(format!("`{name}`, item {number}: no text")),
                    }
                }
                let suggestions = suggestions(row, fault)?;
                Some(Self::Reviews { texts, suggestions })
            }
        }
    }
}

impl TruthAblation {
    /// An ablation of which only the name is known.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    fn of(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            return Err("no ablation, expected an object with `name` and more".into());
        };
        let text = |field: &str, most: usize| -> Result<String, String> {
            match fields.get(field) {
                None | Some(Value::Null) => Ok(String::new()),
                Some(Value::String(text)) if text.len() > most => Err(format!(
                    "`{field}` has {} bytes, expected at most {most}",
                    text.len()
                )),
                Some(Value::String(text)) => Ok(text.trim().into()),
                Some(_) => Err(format!("`{field}` is no text")),
            }
        };
        let texts = |field: &str| -> Result<Vec<String>, String> {
            let items: Vec<String> = match fields.get(field) {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(items)) => items.iter().map(readable).collect(),
                Some(Value::Object(items)) => items
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", readable(value)))
                    .collect(),
                Some(value) => vec![readable(value)],
            };
            let bytes: usize = items.iter().map(String::len).sum();
            if items.len() > MAX_ITEMS || bytes > MAX_TEXT_BYTES {
                return Err(format!(
                    "`{field}` has {} items of {bytes} bytes, expected at most {MAX_ITEMS} of {MAX_TEXT_BYTES}",
                    items.len()
                ));
            }
            Ok(items
                .into_iter()
                .filter(|item| !item.trim().is_empty())
                .collect())
        };
        let ablation = Self {
            name: text("name", MAX_NAME_BYTES)?,
            ablated_part: text("ablated_part", MAX_TEXT_BYTES)?,
            action: text("action", MAX_NAME_BYTES)?,
            replacement: texts("replacement")?,
            metrics: texts("metrics")?,
        };
        if ablation.name.is_empty() {
            return Err("an ablation without `name`".into());
        }
        Ok(ablation)
    }
}

impl From<&Ablation> for TruthAblation {
    fn from(ablation: &Ablation) -> Self {
        Self {
            name: ablation.name.clone(),
            ablated_part: ablation.ablated_part.clone(),
            action: ablation.action.name().into(),
            replacement: ablation.replacement.clone(),
            metrics: ablation.metrics.clone(),
        }
    }
}

/// The items of a list, or of the JSON text of one.
fn list(name: &str, value: &Value, fault: &mut impl FnMut(String)) -> Option<Vec<Value>> {
    let list = match value {
        Value::Array(items) => Ok(items.clone()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => Ok(items),
            Ok(_) => Err("its JSON text is no list".into()),
            Err(error) => Err(format!("its text is no JSON: {error}")),
        },
        _ => Err("neither a list nor the JSON text of one".into()),
    };
    let list = list.and_then(|items| match items.len() {
        count if count > MAX_ITEMS => Err(format!("{count} items, expected at most {MAX_ITEMS}")),
        _ => Ok(items),
    });
    list.map_err(|reason: String| fault(format!("`{name}`: {reason}")))
        .ok()
}

/// The number of suggestions; tables with gaps hold it as `3.0`.
fn suggestions(row: &Row, fault: &mut impl FnMut(String)) -> Option<usize> {
    let Some((name, value)) = filled(row, SUGGESTIONS) else {
        fault("reviews without `suggestions`, expected how many ablations they ask for".into());
        return None;
    };
    let count = value
        .as_f64()
        .filter(|count| count.fract() == 0.0 && (0.0..=MAX_ITEMS as f64).contains(count));
    if count.is_none() {
        fault(format!(
            "`{name}` is `{value}`, expected a whole number from 0 to {MAX_ITEMS}"
        ));
    }
    count.map(|count| count as usize)
}

/// A value in one line.
fn readable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().into(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(readable).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}
