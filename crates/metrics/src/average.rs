//! Averages over records that may be averaged.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Record;
use crate::record::ModelStamp;

/// The mean of one measure over several clips.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Name of the measure.
    pub measure: String,
    /// The network or algorithm behind all of its values.
    pub model: Option<ModelStamp>,
    /// How the input of all of them was prepared.
    pub preprocessing: String,
    /// Number of values.
    pub count: usize,
    /// Number of records without a value; they do not count.
    pub absent: usize,
    /// Mean of the values; absent if there are none.
    pub mean: Option<f64>,
    /// Standard deviation of the values (of a sample); absent below two.
    pub standard_deviation: Option<f64>,
}

/// One average for each measure, model and preprocessing, in the order in which they first appear: records that
/// differ in one of these are never mixed.
pub fn averages<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Average> {
    type Kind<'a> = (&'a str, &'a Option<ModelStamp>, &'a str);
    let mut order: Vec<Kind<'_>> = Vec::new();
    let mut values: BTreeMap<Kind<'_>, Vec<Option<f64>>> = BTreeMap::new();
    for record in records {
        let kind = (
            record.measure.as_str(),
            &record.model,
            record.preprocessing.as_str(),
        );
        let known = values.entry(kind).or_insert_with(|| {
            order.push(kind);
            Vec::new()
        });
        known.push(record.value);
    }
    let average = |kind: Kind<'_>| {
        let all = values.get(&kind).map(Vec::as_slice).unwrap_or_default();
        let present: Vec<f64> = all.iter().flatten().copied().collect();
        let count = present.len();
        let mean = (count > 0).then(|| present.iter().sum::<f64>() / count as f64);
        let squares = |mean: f64| present.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Average {
            measure: kind.0.into(),
            model: kind.1.clone(),
            preprocessing: kind.2.into(),
            count,
            absent: all.len() - count,
            mean,
            standard_deviation: mean
                .filter(|_| count > 1)
                .map(|mean| (squares(mean) / (count - 1) as f64).sqrt()),
        }
    };
    order.into_iter().map(average).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(measure: &str, model: &str, value: Option<f64>) -> Record {
        let stamp = ModelStamp {
            name: model.into(),
            sha256: None,
        };
        Record::new(measure, value, stamp, "none")
    }

    #[test]
    fn records_of_different_models_are_never_mixed() {
        let records = [
            record("a", "x", Some(1.0)),
            record("a", "y", Some(10.0)),
            record("a", "x", Some(3.0)),
            record("b", "x", Some(5.0)),
            record("a", "x", None),
        ];
        let averages = averages(&records);
        let means: Vec<_> = averages
            .iter()
            .map(|a| (a.mean, a.count, a.absent))
            .collect();
        assert_eq!(
            means,
            [(Some(2.0), 2, 1), (Some(10.0), 1, 0), (Some(5.0), 1, 0)]
        );
        assert!((averages[0].standard_deviation.unwrap() - 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(averages[1].standard_deviation, None);
        let mut other = record("a", "x", Some(0.0));
        other.preprocessing = "other".into();
        assert_eq!(super::averages([&records[0], &other]).len(), 2);
    }

    #[test]
    fn without_values_there_is_no_mean() {
        let averages = averages(&[record("a", "x", None)]);
        assert_eq!((averages[0].mean, averages[0].absent), (None, 1));
        assert!(super::averages([]).is_empty());
    }
}
