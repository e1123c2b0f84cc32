//! Directions and places together, after the hybrid measure of MTBench.
//!
//! *Decouple and Track* (arXiv:2503.17350), which introduced MTBench, describes its measure as a global similarity,
//! by the Fréchet distance between tracks, and a local one, by the cosine between their steps. The weights, the form
//! `1 / (1 + distance)` and the unit, fractions of the frame's width and height, are those of the evaluation
//! script published with it. The script itself departs from the description in ways that make it unfit as a
//! default: [`published_hybrid`](super::published_hybrid) repeats them for comparison with published numbers. Here,
//! * the distance is the [discrete Fréchet distance](super::discrete_frechet_distance);
//! * the local similarity is [`MotionFidelity::two_sided`], steps only, still ones by [`StillSteps::Agree`];
//! * both are means over the tracks of both clips.
//!
//! The global part compares where in the frame things are. It thus is what the local part is not: lowered by a
//! motion that happens elsewhere or on another scale. Distances within a frame are below √2, so it lies between
//! 0.41 and 1 for tracks that stay inside.

use super::frechet::Paths;
use super::{MotionFidelity, StillSteps, TrackPair, Variant};
use crate::record::ModelStamp;
use crate::{Record, Tracks};

/// Weight of the local similarity; the global one has the rest.
pub const LOCAL_WEIGHT: f64 = 0.5;

/// Most tracks of a clip whose places are compared; of more, this many evenly spread ones are. Most pairs are
/// settled by bounds, but tracks that all start and end together are not.
pub const MAX_PLACED_TRACKS: usize = 1024;

/// How alike two clips move, by direction and by place.
#[derive(Clone, Debug, PartialEq)]
pub struct HybridFidelity {
    /// The weighted sum of both; absent where [`MotionFidelity::two_sided`] is.
    pub value: Option<f64>,
    /// Mean over both clips' tracks of `1 / (1 + d)`, d being the Fréchet distance to the nearest track of the
    /// other clip in fractions of the frame, 0..1.
    pub global: Option<f64>,
    /// The measure of directions.
    pub local: MotionFidelity,
    /// Tracks of the reference and of the result whose places were compared.
    pub placed_tracks: [usize; 2],
}

impl HybridFidelity {
    /// Compares all tracks, or [`MAX_PLACED_TRACKS`] of them in the global part.
    pub fn new(pair: &TrackPair) -> Self {
        let local = MotionFidelity::two_sided(pair, StillSteps::Agree);
        let Some(local_value) = local.value else {
            return Self {
                value: None,
                global: None,
                local,
                placed_tracks: [0; 2],
            };
        };
        let sides = [&pair.reference, &pair.result].map(|tracks| {
            let chosen = evenly(tracks.len(), MAX_PLACED_TRACKS);
            (paths(tracks, &chosen), chosen.len())
        });
        let [(reference, of_reference), (result, of_result)] = sides;
        let similarity = |distances: Vec<f64>| {
            let sum: f64 = distances.iter().map(|d| 1.0 / (1.0 + d)).sum();
            sum / distances.len() as f64
        };
        let global =
            (similarity(reference.nearest(&result)) + similarity(result.nearest(&reference))) / 2.0;
        Self {
            value: Some(LOCAL_WEIGHT * local_value + (1.0 - LOCAL_WEIGHT) * global),
            global: Some(global),
            local,
            placed_tracks: [of_reference, of_result],
        }
    }

    /// The record `motion_fidelity.hybrid`.
    pub fn into_record(self, tracker: &ModelStamp) -> Record {
        let mut record = self.local.into_record(Variant::Hybrid, tracker, false);
        let local = std::mem::replace(&mut record.value, self.value);
        record
            .with_samples("placed_reference_tracks", self.placed_tracks[0])
            .with_samples("placed_result_tracks", self.placed_tracks[1])
            .with_beside("local", local)
            .with_beside("global", self.global)
    }
}

/// Places in fractions of the frame, 0 and 1 at its borders.
fn paths(tracks: &Tracks, chosen: &[usize]) -> Paths {
    let size = tracks.size();
    let fraction = |at: f32, length: u32| (f64::from(at) + 0.5) / f64::from(length);
    let places = chosen.iter().flat_map(|&track| tracks.places(track));
    let points = places.map(|[x, y]| [fraction(*x, size.width), fraction(*y, size.height)]);
    Paths::new(tracks.frames(), points.collect())
}

/// Up to `most` of the numbers below `count`, evenly spread from 0 on.
pub(super) fn evenly(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    (0..chosen).map(|index| index * count / chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinvert_video::Size;

    const SIZE: Size = Size {
        width: 100,
        height: 50,
    };

    fn lines(starts: &[[f32; 2]], step: [f32; 2]) -> Tracks {
        let place = |start: &[f32; 2], i: usize| [0, 1].map(|a| start[a] + step[a] * i as f32);
        let places: Vec<_> = starts
            .iter()
            .flat_map(|start| (0..4).map(move |i| place(start, i)))
            .collect();
        let visible = vec![true; places.len()];
        Tracks::new(4, SIZE, places, visible).unwrap()
    }

    #[test]
    fn the_parts_by_hand() {
        let reference = lines(&[[10.0, 10.0], [40.0, 10.0]], [5.0, 0.0]);
        let result = lines(&[[10.0, 20.0]], [5.0, 0.0]); // 10 of 50 pixels lower: a fifth of the height
        let found = HybridFidelity::new(&TrackPair::new(&reference, &result).unwrap());
        assert_eq!(found.local.value, Some(1.0));
        let near = 1.0 / (1.0 + 0.2);
        let far = 1.0 / (1.0 + 0.3_f64.hypot(0.2));
        let expected = ((near + far) / 2.0 + near) / 2.0;
        assert!((found.global.unwrap() - expected).abs() < 1e-12);
        assert!((found.value.unwrap() - (1.0 + expected) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn samples_are_spread_evenly() {
        assert_eq!(evenly(3, 5), [0, 1, 2]);
        assert_eq!(evenly(10, 4), [0, 2, 5, 7]);
        assert_eq!(evenly(0, 4), [0; 0]);
        let tracks = lines(&vec![[1.0, 1.0]; 3 * MAX_PLACED_TRACKS / 2], [1.0, 0.0]);
        let found = HybridFidelity::new(&TrackPair::new(&tracks, &tracks).unwrap());
        assert_eq!(found.placed_tracks, [MAX_PLACED_TRACKS; 2]);
        assert_eq!(found.global, Some(1.0));
        assert!((found.value.unwrap() - 1.0).abs() < 1e-12);
    }
}
