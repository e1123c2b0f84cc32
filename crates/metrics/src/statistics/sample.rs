//! A sample of values, and its summary.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bootstrap, Interval, all_finite};
use crate::Error;

/// Finite values, at least one, and which of them belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    values: Vec<f64>,
    clusters: Vec<Cluster>,
}

/// Values that are drawn together, as far as a mean needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cluster {
    sum: f64,
    count: usize,
}

/// What a sample says about the mean it was drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean of all values, each with the same weight.
    pub mean: f64,
    /// Standard deviation of the values, with `n - 1`; none for a single value.
    pub standard_deviation: Option<f64>,
    /// 95 % bootstrap interval of the mean over clusters; none for a single cluster.
    pub interval: Option<Interval>,
    /// Number of values.
    pub values: usize,
    /// Number of clusters: that of the values where each stands for itself.
    pub clusters: usize,
}

impl Sample {
    /// Values that have nothing to do with one another.
    ///
    /// # Errors
    /// If there is no value or one is not finite.
    pub fn independent(values: Vec<f64>) -> Result<Self, Error> {
        Self::clustered(values.into_iter().enumerate())
    }

    /// Values with the cluster that each belongs to: the cells of one clip, the answers of one rater.
    ///
    /// # Errors
    /// If there is no value or one is not finite.
    pub fn clustered<C: Ord>(values: impl IntoIterator<Item = (C, f64)>) -> Result<Self, Error> {
        let mut clusters = BTreeMap::<C, Cluster>::new();
        let mut all = Vec::new();
        for (name, value) in values {
            let cluster = clusters.entry(name).or_default();
            cluster.sum += value;
            cluster.count += 1;
            all.push(value);
        }
        if all.is_empty() {
            return Err(Error::argument("values", "empty", "at least one number"));
        }
        all_finite(&all)?;
        Ok(Self {
            values: all,
            clusters: clusters.into_values().collect(),
        })
    }

    /// The values, in the order in which they were given.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Mean of the values.
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// Standard deviation with `n - 1`; `None` for a single value.
    pub fn standard_deviation(&self) -> Option<f64> {
        let mean = self.mean();
        let squares: f64 = self.values.iter().map(|value| (value - mean).powi(2)).sum();
        let count = self.values.len();
        (count > 1).then(|| (squares / (count - 1) as f64).sqrt())
    }

    /// Mean, standard deviation and the interval of the mean.
    pub fn summary(&self, bootstrap: &Bootstrap) -> Summary {
        Summary {
            mean: self.mean(),
            standard_deviation: self.standard_deviation(),
            interval: bootstrap
                .interval(self.clusters.len(), |times| mean_of(&self.clusters, times)),
            values: self.values.len(),
            clusters: self.clusters.len(),
        }
    }
}

/// Mean over clusters of which each was drawn so many times.
fn mean_of(clusters: &[Cluster], times: &[u32]) -> f64 {
    let mut sum = 0.0;
    let mut count = 0.0;
    for (cluster, times) in clusters.iter().zip(times) {
        sum += f64::from(*times) * cluster.sum;
        count += f64::from(*times) * cluster.count as f64;
    }
    sum / count
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_the_closed_forms() {
        // Of 1..=n: mean (n + 1) / 2, variance n (n + 1) / 12.
        let sample = Sample::independent((1..=9).map(f64::from).collect()).unwrap();
        assert_eq!(sample.mean(), 5.0);
        assert_eq!(sample.standard_deviation(), Some(7.5_f64.sqrt()));
        let single = Sample::independent(vec![3.0]).unwrap();
        let summary = single.summary(&Bootstrap::default());
        assert_eq!((summary.standard_deviation, summary.interval), (None, None));
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn values_that_say_nothing_are_refused() {
        assert!(Sample::independent(vec![]).is_err());
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = Sample::independent(vec![1.0, bad]).unwrap_err().to_string();
            assert!(error.contains("at position 1"), "{error}");
        }
    }
}
