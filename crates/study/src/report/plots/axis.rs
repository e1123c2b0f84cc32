//! Axes with round ticks.

/// A range of values, and where it lies in a drawing.
pub(super) struct Axis {
    low: f64,
    high: f64,
    pixels: [f64; 2],
}

/// A tick, with its number written out.
pub(super) struct Tick {
    pub(super) pixel: f64,
    pub(super) value: f64,
    /// Digits after the point that tell it from its neighbours.
    pub(super) digits: usize,
}

impl Axis {
    /// An axis that holds all finite values with some room at both ends; none if there is no such value.
    pub(super) fn of(values: impl IntoIterator<Item = f64>, pixels: [f64; 2]) -> Option<Self> {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let ends = finite.fold(None, |ends: Option<(f64, f64)>, value| {
            let (low, high) = ends.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = ends?;
        let largest = low.abs().max(high.abs());
        let span = high / 2.0 - low / 2.0; // halved, since the difference of two large values may be no number
        let room = match span > largest * 1e-9 {
            true => span * 0.12,
            false if largest > 0.0 => largest * 0.05,
            false => 1.0,
        };
        let [low, high] = [low - room, high + room].map(|end| end.clamp(-1e300, 1e300));
        Some(Self { low, high, pixels })
    }

    /// Where a value lies.
    pub(super) fn pixel(&self, value: f64) -> f64 {
        let [left, right] = self.pixels;
        // Halved, as above.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        left + share.clamp(0.0, 1.0) * (right - left)
    }

    /// Ticks at multiples of 1, 2 or 5 times a power of ten, about four of them.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let rough = (self.high / 4.0 - self.low / 4.0).max(f64::MIN_POSITIVE);
        let power = 10_f64.powi(rough.log10().floor() as i32);
        let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
        let step = factors
            .map(|factor| factor * power)
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(10.0 * power);
        let digits = (-step.log10() + 1e-9).ceil().clamp(0.0, 12.0) as usize;
        let first = (self.low / step).ceil();
        (0..8)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|value| *value <= self.high)
            .map(|value| Tick {
                pixel: self.pixel(value),
                value,
                digits,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis::of([0.61, 0.78], [0.0, 100.0]).unwrap();
        let ticks: Vec<_> = axis.ticks();
        let values: Vec<_> = ticks
            .iter()
            .map(|tick| format!("{:.*}", tick.digits, tick.value))
            .collect();
        assert_eq!(values, ["0.60", "0.65", "0.70", "0.75"]);
    }

    #[test]
    fn an_axis_needs_a_value() {
        assert!(Axis::of([], [0.0, 1.0]).is_none());
        assert!(Axis::of([f64::NAN, f64::INFINITY], [0.0, 1.0]).is_none());
    }

    proptest! {
        #[test]
        fn every_axis_has_its_values_and_a_few_ticks_inside(
            values in prop::collection::vec(prop_oneof![
                prop::num::f64::ANY, -1.0..1.0, Just(0.0), Just(-0.25)
            ], 1..6)
        ) {
            let Some(axis) = Axis::of(values.iter().copied(), [10.0, 350.0]) else {
                return Ok(());
            };
            for value in values.iter().filter(|value| value.is_finite()) {
                prop_assert!((10.0..=350.0).contains(&axis.pixel(*value)));
            }
            let ticks = axis.ticks();
            prop_assert!(ticks.len() <= 8);
            for tick in ticks {
                prop_assert!((10.0..=350.0).contains(&tick.pixel));
            }
        }
    }
}
