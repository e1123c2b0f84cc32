//! What a measurement says, and what it needs to be compared with another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One measured value and what it was measured with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the measure, such as `text_similarity`.
    pub measure: String,
    /// The value; absent where the measure is not defined, which a warning then explains.
    pub value: Option<f64>,
    /// The network or algorithm that the value rests on; none where the truth is known.
    pub model: Option<ModelStamp>,
    /// How the input was prepared, in words.
    pub preprocessing: String,
    /// How much was measured: `frames`, `tracks`, `pairs`, …
    pub samples: BTreeMap<String, usize>,
    /// Other numbers that belong to the value, such as the motion magnitude beside a consistency.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub beside: BTreeMap<String, Option<f64>>,
    /// Values of single frames, tracks or pairs, by name; only on request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub detail: BTreeMap<String, Vec<Option<f64>>>,
    /// What makes the value doubtful.
    pub warnings: Vec<String>,
    /// Version of this crate.
    pub kinvert_version: String,
}

/// What identifies the network or algorithm behind a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelStamp {
    /// Its name, such as `sprites` or `klt`.
    pub name: String,
    /// SHA-256 of its weights in hexadecimal digits; none for an algorithm without weights.
    pub sha256: Option<String>,
}

impl Record {
    /// A record without remarks.
    pub fn new(
        measure: impl Into<String>,
        value: impl Into<Option<f64>>,
        model: impl Into<Option<ModelStamp>>,
        preprocessing: impl Into<String>,
    ) -> Self {
        let value: Option<f64> = value.into();
        Self {
            measure: measure.into(),
            value: value.filter(|value| value.is_finite()), // JSON has no other numbers
            model: model.into(),
            preprocessing: preprocessing.into(),
            samples: BTreeMap::new(),
            beside: BTreeMap::new(),
            detail: BTreeMap::new(),
            warnings: Vec::new(),
            kinvert_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Adds a sample size.
    pub fn with_samples(mut self, what: &str, count: usize) -> Self {
        self.samples.insert(what.into(), count);
        self
    }

    /// Adds a number that belongs to the value.
    pub fn with_beside(mut self, what: &str, value: impl Into<Option<f64>>) -> Self {
        let value: Option<f64> = value.into();
        self.beside
            .insert(what.into(), value.filter(|value| value.is_finite()));
        self
    }

    /// Adds values of single frames, tracks or pairs.
    pub fn with_detail(mut self, what: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter();
        self.detail.insert(
            what.into(),
            values
                .map(|value| Some(value).filter(|value| value.is_finite()))
                .collect(),
        );
        self
    }

    /// Adds a warning.
    pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_number_is_absent_in_json() {
        let record = Record::new("fid", f64::NAN, None, "none").with_beside("kid", f64::INFINITY);
        let json = serde_json::to_value(&record).unwrap();
        assert!(json["value"].is_null() && json["beside"]["kid"].is_null());
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
    }
}
