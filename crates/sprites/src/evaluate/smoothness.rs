//! How smoothly sprites move: real ones hardly change their velocity from frame to frame, and badly generated ones jump.

use kinvert_metrics::statistics::median;
use kinvert_world::Point;
use serde::Serialize;

use super::Mean;
use crate::Error;

/// Changes of velocity along the paths of sprites, in pixels per frame and frame: one value for each clip in which the
/// sprite is found in three frames in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Smoothness {
    /// Of generated clips.
    pub generated_px: Mean,
    /// Of real clips with the same captions.
    pub real_px: Mean,
    /// Mean of the generated over mean of the real ones; 1 is as smooth as the world. None if the real ones stand still.
    pub ratio: Option<f64>,
    /// Median of the generated over median of the real ones, which a few lost sprites do not change.
    pub ratio_of_medians: Option<f64>,
}

impl Smoothness {
    /// Compares paths, one for each clip; `None` if there are none to compare.
    ///
    /// # Errors
    /// If a path goes through a place that is no number.
    pub fn of(
        generated: &[Vec<Option<Point>>],
        real: &[Vec<Option<Point>>],
    ) -> Result<Option<Self>, Error> {
        let [generated, real] = [generated, real].map(|paths| {
            let values = paths
                .iter()
                .filter_map(|path| mean_change_of_velocity(path));
            values.collect::<Vec<f64>>()
        });
        let medians = [&generated, &real].map(|values| median(values.iter().copied()));
        let [Some(generated_median), Some(real_median)] = medians else {
            return Ok(None);
        };
        let (generated_px, real_px) = (Mean::of(generated)?, Mean::of(real)?);
        let ratio = |a: f64, b: f64| (b > 0.0).then(|| a / b);
        Ok(Some(Self {
            generated_px,
            real_px,
            ratio: ratio(generated_px.mean, real_px.mean),
            ratio_of_medians: ratio(generated_median, real_median),
        }))
    }
}

/// The mean length of second differences of a path, over the frames whose neighbours are known too.
fn mean_change_of_velocity(path: &[Option<Point>]) -> Option<f64> {
    let changes: Vec<f64> = path
        .windows(3)
        .filter_map(|places| {
            let [Some(before), Some(here), Some(after)] = *places else {
                return None;
            };
            let second_difference = |axis: usize| after[axis] - 2.0 * here[axis] + before[axis];
            Some(second_difference(0).hypot(second_difference(1)))
        })
        .collect();
    (!changes.is_empty()).then(|| changes.iter().sum::<f64>() / changes.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held_out_scene;

    fn path(places: impl IntoIterator<Item = Point>) -> Vec<Option<Point>> {
        places.into_iter().map(Some).collect()
    }

    #[test]
    fn changes_of_velocity_are_the_closed_forms() {
        let frames = || (0..16).map(f64::from);
        let line = path(frames().map(|f| [3.0 * f, 40.0 - f]));
        assert_eq!(mean_change_of_velocity(&line), Some(0.0));
        let fall = path(frames().map(|f| [f, 0.5 * f * f]));
        assert_eq!(mean_change_of_velocity(&fall), Some(1.0));
        // A circle of radius r in steps of angle a: every second difference points inwards with 2 r (1 - cos a).
        let circle = path(frames().map(|f| [10.0 * (0.3 * f).cos(), 10.0 * (0.3 * f).sin()]));
        let expected = 20.0 * (1.0 - 0.3_f64.cos());
        assert!((mean_change_of_velocity(&circle).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn unknown_places_are_left_out() {
        let mut fall = path((0..8).map(|f| [0.0, f64::from(f * f)]));
        fall[3] = None;
        assert_eq!(mean_change_of_velocity(&fall), Some(2.0));
        let gaps = [Some([0.0; 2]), Some([9.0; 2]), None, Some([5.0; 2])];
        assert_eq!(mean_change_of_velocity(&gaps), None);
        let known = [path([[0.0; 2]; 3])];
        assert_eq!(Smoothness::of(&[gaps.to_vec()], &known).unwrap(), None);
    }

    #[test]
    fn frames_in_another_order_are_rougher() {
        let real: Vec<_> = (0..20)
            .map(|index| path(held_out_scene(index).centre_path()))
            .collect();
        let shuffled: Vec<_> = real
            .iter()
            .map(|path| (0..16).map(|f| path[5 * f % 16]).collect())
            .collect();
        let same = Smoothness::of(&real, &real).unwrap().unwrap();
        assert_eq!((same.ratio, same.ratio_of_medians), (Some(1.0), Some(1.0)));
        let rough = Smoothness::of(&shuffled, &real).unwrap().unwrap();
        assert!(rough.ratio.unwrap() > 4.0, "{rough:?}");
        assert!(rough.ratio_of_medians.unwrap() > 4.0, "{rough:?}");
    }
}
