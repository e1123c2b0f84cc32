//! Percentile bootstrap intervals over groups of values.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Probability that lies outside of an interval, on each side.
const TAIL: f64 = 0.025;

/// Largest share of resamples in which a statistic may be undefined for its interval to be told.
const MAX_UNDEFINED: f64 = 0.1;

/// Fewest resamples whose tails hold anything, and most that fit the memory with many statistics at once.
const RESAMPLES: std::ops::RangeInclusive<usize> = 100..=100_000;

/// Ends of a 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How intervals are drawn. The same settings and data give the same interval, on any number of threads.
///
/// What is drawn with replacement are *units*: single values where those are independent, whole clusters (all cells of
/// a clip, all votes of a rater) where they are not. Source: Efron & Tibshirani, *An Introduction to the Bootstrap*
/// (1993), chapter 13.
///
/// The plain percentile interval is used and not BCa: the acceleration of BCa comes from a jackknife that breaks down
/// just where votes often are, at win rates of 0 and 1 and with a handful of raters, and the percentile interval of a
/// rate can never leave 0..1. For small samples it is somewhat too narrow (by a factor of about `sqrt(1 - 1/n)` for a
/// mean of `n` values), so the number of units always stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    resamples: usize,
    seed: u64,
}

impl Default for Bootstrap {
    /// 10 000 resamples, seed 0.
    fn default() -> Self {
        Self {
            resamples: 10_000,
            seed: 0,
        }
    }
}

impl Bootstrap {
    /// Intervals from a number of resamples.
    ///
    /// # Errors
    /// If there are fewer than 100 resamples or more than 100 000.
    pub fn new(resamples: usize, seed: u64) -> Result<Self, Error> {
        if !RESAMPLES.contains(&resamples) {
            let [fewest, most] = [RESAMPLES.start(), RESAMPLES.end()];
            let expected = format!("{fewest} to {most}");
            return Err(Error::argument("resamples", resamples, expected));
        }
        Ok(Self { resamples, seed })
    }

    /// Number of resamples.
    pub fn resamples(&self) -> usize {
        self.resamples
    }

    /// Seed of the resamples.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Intervals of several statistics of the same `units`.
    ///
    /// `statistics` is told how often each unit was drawn and gives one number per statistic, always in the same
    /// order, NaN where one is not defined (a rate of nothing). An interval is `None` if the statistic was undefined
    /// in more than a tenth of the resamples; and all are if there are fewer than two units, which cannot vary.
    ///
    /// # Panics
    /// If `statistics` does not always give equally many numbers.
    pub fn intervals(
        &self,
        units: usize,
        statistics: impl Fn(&[u32]) -> Vec<f64> + Sync,
    ) -> Vec<Option<Interval>> {
        let width = statistics(&vec![1; units]).len();
        if units < 2 {
            return vec![None; width];
        }
        let key = ChaCha8Rng::seed_from_u64(self.seed);
        let resample = |times: &mut Vec<u32>, index: usize| {
            let mut rng = key.clone();
            rng.set_stream(index as u64); // so that no resample depends on which thread draws it
            times.fill(0);
            for _ in 0..units {
                times[rng.random_range(0..units)] += 1;
            }
            statistics(times)
        };
        let drawn: Vec<Vec<f64>> = (0..self.resamples)
            .into_par_iter()
            .map_init(|| vec![0; units], resample)
            .collect();
        let column = |at| percentiles(drawn.iter().map(|row| row[at]));
        (0..width).map(column).collect()
    }

    /// The interval of one statistic; see [`Bootstrap::intervals`].
    pub fn interval(
        &self,
        units: usize,
        statistic: impl Fn(&[u32]) -> f64 + Sync,
    ) -> Option<Interval> {
        let intervals = self.intervals(units, |times| vec![statistic(times)]);
        intervals.into_iter().next().flatten()
    }
}

/// The middle 95 % of the values that are defined.
fn percentiles(values: impl ExactSizeIterator<Item = f64>) -> Option<Interval> {
    let all = values.len();
    let mut defined: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    if defined.is_empty() || (all - defined.len()) as f64 > MAX_UNDEFINED * all as f64 {
        return None;
    }
    defined.sort_by(f64::total_cmp);
    Some(Interval {
        low: quantile(&defined, TAIL),
        high: quantile(&defined, 1.0 - TAIL),
    })
}

/// The quantile of sorted values, interpolated between neighbours as NumPy and R (type 7) do.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    if below == above {
        return below; // also where both are infinite
    }
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0.025, 0.5, 0.975])
        let values = [1.0, 2.0, 4.0, 8.0];
        assert!((quantile(&values, 0.025) - 1.075).abs() < 1e-12);
        assert_eq!(quantile(&values, 0.5), 3.0);
        assert!((quantile(&values, 0.975) - 7.7).abs() < 1e-12);
    }

    #[test]
    fn every_unit_is_drawn_as_often_as_any_other() {
        let drawn = |unit: usize| {
            let mean = Bootstrap::default().interval(4, |times| f64::from(times[unit]));
            mean.unwrap()
        };
        // Binomial(4, 1/4): P(0) = 0.32 and P(at least 4) = 0.004, so that the middle 95 % is 0..3.
        for unit in 0..4 {
            let expected = Interval {
                low: 0.0,
                high: 3.0,
            };
            assert_eq!(drawn(unit), expected);
        }
    }

    #[test]
    fn a_statistic_that_is_often_undefined_has_no_interval() {
        let bootstrap = Bootstrap::default();
        // Unit 0 of n is not drawn with probability (1 - 1/n)^n, about 0.37.
        let often = |times: &[u32]| if times[0] == 0 { f64::NAN } else { 1.0 };
        assert_eq!(bootstrap.interval(20, often), None);
        // Neither of units 0..5 of 20 is drawn with probability 0.75^20, about 0.003.
        let seldom = |times: &[u32]| {
            let drawn = times[..5].iter().any(|times| *times > 0);
            if drawn { 1.0 } else { f64::NAN }
        };
        assert!(bootstrap.interval(20, seldom).is_some());
    }

    #[test]
    fn a_single_unit_has_no_interval_and_few_resamples_are_refused() {
        assert_eq!(Bootstrap::default().interval(1, |_| 1.0), None);
        assert_eq!(Bootstrap::default().interval(0, |_| 1.0), None);
        for resamples in [0, 99, 100_001, usize::MAX] {
            assert!(Bootstrap::new(resamples, 0).is_err(), "{resamples}");
        }
    }
}
