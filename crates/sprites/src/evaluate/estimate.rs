//! Shares and means with their uncertainty.

use kinvert_metrics::statistics::Sample;
use kinvert_world::Look;
use serde::Serialize;

use crate::Error;

/// How often something was right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// How often it was right.
    pub right: usize,
    /// Of how many times.
    pub of: usize,
    /// The share, 0 to 1.
    pub share: f64,
    /// Wilson's 95 % interval of the probability behind it.
    pub interval: [f64; 2],
}

impl Share {
    /// So many right ones of so many.
    ///
    /// # Panics
    /// If there is none, or more are right than there are.
    pub fn new(right: usize, of: usize) -> Self {
        assert!(right <= of && of > 0, "{right} of {of}");
        Self {
            right,
            of,
            share: right as f64 / of as f64,
            interval: wilson_interval(right, of),
        }
    }
}

/// The score interval of a probability: those that lie within 1.96 of their own standard errors from what was seen
/// (E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, 1927). Unlike the share plus or
/// minus its standard error it stays within 0 and 1 and has a width where all or none are right.
fn wilson_interval(right: usize, of: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054; // the normal distribution has 95 % within
    let count = of as f64;
    let share = right as f64 / count;
    let middle = share + Z * Z / (2.0 * count);
    let half = Z * (share * (1.0 - share) / count + (Z / (2.0 * count)).powi(2)).sqrt();
    let scale = 1.0 + Z * Z / count;
    [
        ((middle - half) / scale).max(0.0),
        ((middle + half) / scale).min(1.0),
    ]
}

/// The mean of a value over clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error; none of a single value.
    pub standard_error: Option<f64>,
    /// Number of values.
    pub of: usize,
}

impl Mean {
    /// Mean and standard error of values that have nothing to do with one another.
    ///
    /// # Errors
    /// If there is no value or one is not finite.
    pub fn of(values: Vec<f64>) -> Result<Self, Error> {
        let sample = Sample::independent(values)?;
        let of = sample.values().len();
        let deviation = sample.standard_deviation();
        Ok(Self {
            mean: sample.mean(),
            standard_error: deviation.map(|deviation| deviation / (of as f64).sqrt()),
            of,
        })
    }
}

/// How often what is seen is what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AttributeShares {
    /// The colour is right.
    pub colour: Share,
    /// The shape is right.
    pub shape: Share,
    /// The background is right.
    pub background: Share,
    /// All three are right.
    pub all: Share,
}

impl AttributeShares {
    /// Compares what was wanted with what was found.
    ///
    /// # Panics
    /// If there is nothing to compare.
    pub fn of(verdicts: &[Verdict]) -> Self {
        let share = |is_right: fn(&Verdict) -> bool| {
            let right = verdicts.iter().filter(|verdict| is_right(verdict)).count();
            Share::new(right, verdicts.len())
        };
        Self {
            colour: share(|v| v.wanted.colour == v.found.colour),
            shape: share(|v| v.wanted.shape == v.found.shape),
            background: share(|v| v.wanted.background == v.found.background),
            all: share(|v| v.wanted == v.found),
        }
    }
}

/// What a caption says, and what a judge says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// What the caption says.
    pub wanted: Look,
    /// What the judge says.
    pub found: Look,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The square of 1.959964.
    const Z2: f64 = 3.841_458_820_694_124;

    #[test]
    fn wilson_intervals_are_the_closed_forms() {
        for of in [1, 4, 10, 480] {
            let count = of as f64;
            let [low, high] = Share::new(0, of).interval;
            assert_eq!(low, 0.0);
            assert!((high - Z2 / (count + Z2)).abs() < 1e-12, "{of}: {high}");
            let [low, high] = Share::new(of, of).interval;
            assert!((low - count / (count + Z2)).abs() < 1e-12, "{of}: {low}");
            assert!((high - 1.0).abs() < 1e-12, "{of}: {high}");
        }
        for half in [1, 5, 100] {
            let [low, high] = Share::new(half, 2 * half).interval;
            let width = (Z2 / (2.0 * half as f64 + Z2)).sqrt();
            assert!((low + high - 1.0).abs() < 1e-12);
            assert!((high - low - width).abs() < 1e-12, "{half}: {low} {high}");
        }
    }

    #[test]
    fn the_ends_of_an_interval_are_as_unlikely_as_they_should_be() {
        for (right, of) in [(3, 10), (150, 240), (1, 7)] {
            let Share {
                share, interval, ..
            } = Share::new(right, of);
            for end in interval {
                let standard_error = (end * (1.0 - end) / of as f64).sqrt();
                let distance = (share - end).abs() / standard_error;
                assert!((distance * distance - Z2).abs() < 1e-9, "{right} of {of}");
            }
        }
    }

    #[test]
    fn means_have_the_standard_error_of_the_closed_form() {
        // Of 1..=9: mean 5, variance 7.5.
        let mean = Mean::of((1..=9).map(f64::from).collect()).unwrap();
        assert_eq!((mean.mean, mean.of), (5.0, 9));
        assert_eq!(mean.standard_error, Some(7.5_f64.sqrt() / 3.0));
        assert_eq!(Mean::of(vec![2.0]).unwrap().standard_error, None);
        assert!(Mean::of(vec![]).is_err());
        assert!(Mean::of(vec![f64::NAN]).is_err());
    }

    #[test]
    fn attributes_are_counted_one_by_one() {
        let look = |caption| Look::parse(caption).unwrap();
        let wanted = look("a red circle on a gray background");
        let found = [
            "a red circle on a gray background",
            "a red star on a gray background",
            "a blue star on a gray background",
            "a red circle on a navy background",
        ];
        let verdicts = found.map(|caption| Verdict {
            wanted,
            found: look(caption),
        });
        let shares = AttributeShares::of(&verdicts);
        let rights = [shares.colour, shares.shape, shares.background, shares.all];
        assert_eq!(rights.map(|share| share.right), [3, 2, 3, 1]);
        assert!(rights.iter().all(|share| share.of == 4));
    }
}
