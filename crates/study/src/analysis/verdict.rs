//! What may be said of a difference.

use kinvert_metrics::statistics::Interval;
use serde::Serialize;

/// Corrected p-values below this count.
pub const LEVEL: f64 = 0.05;

/// Fewest units (clips or cells) that an interval must be drawn over for anything to be said: of fewer, the percentile
/// bootstrap is far too narrow.
pub const FEWEST_UNITS: usize = 5;

/// What may be said of a difference, by rules that do not overstate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Above zero: the interval and the corrected p-value agree.
    Higher,
    /// Below zero: the interval and the corrected p-value agree.
    Lower,
    /// The whole interval lies within what counts as none, whether or not it holds zero.
    Same,
    /// Neither a difference nor its absence is shown.
    Open,
}

impl Verdict {
    /// The verdict on a difference with this interval, drawn over so many units, and this corrected p-value. Differences
    /// up to `negligible` count as none.
    pub fn of(
        interval: Option<Interval>,
        units: usize,
        p_holm: Option<f64>,
        negligible: Option<f64>,
    ) -> Self {
        let Some(Interval { low, high }) = interval.filter(|_| units >= FEWEST_UNITS) else {
            return Self::Open;
        };
        let is_shown = p_holm.is_some_and(|p| p < LEVEL);
        if negligible.is_some_and(|size| -size <= low && high <= size) {
            Self::Same
        } else if low > 0.0 && is_shown {
            Self::Higher
        } else if high < 0.0 && is_shown {
            Self::Lower
        } else {
            Self::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(low: f64, high: f64, p: f64) -> Verdict {
        Verdict::of(Some(Interval { low, high }), 6, Some(p), Some(0.01))
    }

    #[test]
    fn every_verdict_has_its_case() {
        assert_eq!(of(0.02, 0.04, 0.01), Verdict::Higher);
        assert_eq!(of(-0.04, -0.02, 0.01), Verdict::Lower);
        assert_eq!(of(-0.01, 0.009, 0.9), Verdict::Same);
        assert_eq!(
            of(0.001, 0.002, 0.01),
            Verdict::Same,
            "shown, but negligible"
        );
        assert_eq!(of(-0.02, 0.02, 0.9), Verdict::Open);
        assert_eq!(of(0.02, 0.04, 0.05), Verdict::Open);
        assert_eq!(of(f64::NAN, f64::NAN, 0.01), Verdict::Open);
        let tiny = Some(Interval {
            low: 0.0,
            high: 0.0,
        });
        assert_eq!(Verdict::of(tiny, 6, Some(0.01), None), Verdict::Open);
        assert_eq!(Verdict::of(tiny, 4, Some(1.0), Some(0.01)), Verdict::Open);
        assert_eq!(Verdict::of(None, 6, Some(0.01), Some(0.01)), Verdict::Open);
    }

    proptest! {
        #[test]
        fn a_verdict_never_says_more_than_its_evidence(
            low in -0.1_f64..0.1, width in 0.0_f64..0.1, units in 0_usize..12,
            p in prop::option::of(prop_oneof![0.0_f64..0.05, 0.0_f64..=1.0]),
            negligible in prop::option::of(0.0_f64..0.05),
        ) {
            let high = low + width;
            let found = Verdict::of(Some(Interval { low, high }), units, p, negligible);
            let holds_zero = low <= 0.0 && 0.0 <= high;
            match found {
                Verdict::Higher | Verdict::Lower => {
                    prop_assert!(!holds_zero && p.unwrap() < LEVEL && units >= FEWEST_UNITS);
                    prop_assert_eq!(found == Verdict::Higher, low > 0.0);
                }
                Verdict::Same => {
                    let size = negligible.unwrap();
                    prop_assert!(low.abs() <= size && high.abs() <= size && units >= FEWEST_UNITS);
                }
                Verdict::Open => {}
            }
        }

        #[test]
        fn the_mirrored_difference_has_the_mirrored_verdict(
            low in -0.1_f64..0.1, width in 0.0_f64..0.1, p in 0.0_f64..0.1,
        ) {
            let high = low + width;
            let mirrored = match of(-high, -low, p) {
                Verdict::Higher => Verdict::Lower,
                Verdict::Lower => Verdict::Higher,
                other => other,
            };
            prop_assert_eq!(of(low, high, p), mirrored);
        }
    }
}
