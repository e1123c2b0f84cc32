//! Krippendorff's alpha: how far raters agree beyond chance.
//!
//! Source: Krippendorff, *Computing Krippendorff's Alpha-Reliability* (2011). Raters may miss units. Values are numbers
//! of levels, `0..levels`, in their order where they have one.

/// What makes two values disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All different values disagree equally.
    Nominal,
    /// Values disagree the more, the more ranks lie between them.
    Ordinal,
}

/// How often two values met on the same unit: the coincidence matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Coincidences {
    levels: usize,
    pairs: Vec<f64>, // [value, value], symmetric
    units: usize,
}

impl Coincidences {
    /// Counts the values that raters gave to each unit. Units with fewer than two say nothing about agreement and do
    /// not count.
    ///
    /// # Panics
    /// If a value is not below `levels`.
    pub fn of<U: AsRef<[usize]>>(levels: usize, units: impl IntoIterator<Item = U>) -> Self {
        let mut pairs = vec![0.0; levels * levels];
        let mut pairable = 0;
        for unit in units {
            let mut counts = vec![0.0; levels];
            for &value in unit.as_ref() {
                assert!(value < levels, "value {value} of {levels} levels");
                counts[value] += 1.0;
            }
            let raters = unit.as_ref().len();
            if raters < 2 {
                continue;
            }
            pairable += 1;
            for (value, count) in counts.iter().enumerate() {
                for (other, other_count) in counts.iter().enumerate() {
                    let itself = f64::from(value == other);
                    pairs[value * levels + other] +=
                        count * (other_count - itself) / (raters - 1) as f64;
                }
            }
        }
        Self {
            levels,
            pairs,
            units: pairable,
        }
    }

    /// Units with at least two values.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Share of equal values among those that met; `None` if none did.
    pub fn observed_agreement(&self) -> Option<f64> {
        let equal: f64 = (0..self.levels)
            .map(|v| self.pairs[v * self.levels + v])
            .sum();
        let all: f64 = self.pairs.iter().sum();
        (all > 0.0).then(|| equal / all)
    }

    /// Alpha: 1 for perfect agreement, 0 for what chance gives, negative for less. `None` if no two values met or all
    /// were the same: then chance cannot be told from agreement.
    pub fn alpha(&self, level: Level) -> Option<f64> {
        let totals: Vec<f64> = self
            .pairs
            .chunks(self.levels.max(1))
            .map(|row| row.iter().sum())
            .collect();
        let all: f64 = totals.iter().sum();
        let mut observed = 0.0;
        let mut expected = 0.0;
        for value in 0..self.levels {
            for other in value + 1..self.levels {
                let distance = squared_distance(level, &totals, value, other);
                observed += self.pairs[value * self.levels + other] * distance;
                expected += totals[value] * totals[other] * distance;
            }
        }
        (expected > 0.0).then(|| 1.0 - (all - 1.0) * observed / expected)
    }
}

/// How much two values disagree, `value < other`.
fn squared_distance(level: Level, totals: &[f64], value: usize, other: usize) -> f64 {
    match level {
        Level::Nominal => 1.0,
        Level::Ordinal => {
            let ranks: f64 = totals[value..=other].iter().sum();
            (ranks - (totals[value] + totals[other]) / 2.0).powi(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfect_agreement_is_1_and_no_variation_is_not_defined() {
        let perfect = Coincidences::of(3, [[0, 0], [1, 1], [2, 2]]);
        assert_eq!(perfect.alpha(Level::Nominal), Some(1.0));
        assert_eq!(perfect.alpha(Level::Ordinal), Some(1.0));
        let constant = Coincidences::of(3, [[1, 1], [1, 1]]);
        assert_eq!(constant.alpha(Level::Nominal), None);
        assert_eq!(constant.observed_agreement(), Some(1.0));
        let alone = Coincidences::of(3, [[0], [2]]);
        assert_eq!((alone.alpha(Level::Ordinal), alone.units()), (None, 0));
        assert_eq!(alone.observed_agreement(), None);
    }

    /// Two raters, two values, the closed form of the 2011 paper: `1 - (n - 1) o_01 / (n_0 n_1)`.
    #[test]
    fn two_raters_and_two_values_have_a_closed_form() {
        // The paper's section A: 10 units, o_01 = 4, n_0 = 14, n_1 = 6, alpha = 0.095.
        let meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0];
        let owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0];
        let units = meg.iter().zip(owen).map(|(meg, owen)| [*meg, owen]);
        let found = Coincidences::of(2, units);
        let expected = 1.0 - 19.0 * 4.0 / (14.0 * 6.0);
        assert!((expected - 0.095_f64).abs() < 5e-4);
        assert!((found.alpha(Level::Nominal).unwrap() - expected).abs() < 1e-12);
        assert_eq!(found.observed_agreement(), Some(0.6));
    }
}
