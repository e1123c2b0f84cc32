//! Tracks of two clips brought to the same frames and the same pixels.

use kinvert_video::Size;

use crate::tracks::Place;
use crate::{Error, Tracks};

/// The tracks of a reference and of a result, on the same number of frames and in pixels of the reference's frame;
/// the [module docs](super) say how and why.
#[derive(Clone, Debug)]
pub struct TrackPair {
    /// Tracks of the reference.
    pub(super) reference: Tracks,
    /// Tracks of the result.
    pub(super) result: Tracks,
    /// What was done, in words.
    pub(super) preprocessing: String,
    pub(super) warnings: Vec<String>,
}

impl TrackPair {
    /// Brings two clips' tracks together.
    ///
    /// # Errors
    /// If a clip has no pixels, or places overflow when they are scaled.
    pub fn new(reference: &Tracks, result: &Tracks) -> Result<Self, Error> {
        check_size(reference.size())?;
        check_size(result.size())?;
        let (mut done, mut warnings) = (Vec::new(), Vec::new());

        let (size, other) = (reference.size(), result.size());
        let mut reference = reference.clone();
        let mut result = result.clone();
        if size != other {
            result = scaled(&result, size)?;
            done.push("tracks of the result scaled to the reference's size");
            let aspect = |size: Size| f64::from(size.width) / f64::from(size.height);
            if (aspect(size) / aspect(other) - 1.0).abs() > 0.02 {
                warnings.push(format!(
                    "the reference has {size} pixels and the result {other}: its tracks were stretched to the \
                     reference's aspect ratio"
                ));
            }
        }

        let frames = reference.frames().min(result.frames());
        if reference.frames() != result.frames() {
            warnings.push(format!(
                "the reference has {} frames and the result {}: the tracks of the longer were resampled in time to \
                 those of the shorter",
                reference.frames(),
                result.frames()
            ));
            done.push("resampled in time to the shorter clip");
            reference = resampled(&reference, frames)?;
            result = resampled(&result, frames)?;
        }
        Ok(Self {
            reference,
            result,
            preprocessing: if done.is_empty() {
                "tracks as they are".into()
            } else {
                done.join("; ")
            },
            warnings,
        })
    }

    /// Tracks of the reference.
    pub fn reference(&self) -> &Tracks {
        &self.reference
    }

    /// Tracks of the result.
    pub fn result(&self) -> &Tracks {
        &self.result
    }

    /// Steps from frame to frame.
    pub fn steps(&self) -> usize {
        self.reference.frames() - 1
    }

    /// Why nothing can be compared, if so.
    pub(super) fn undefined(&self) -> Option<String> {
        let sides = [("reference", &self.reference), ("result", &self.result)];
        let empty: Vec<&str> = sides
            .iter()
            .filter(|(_, tracks)| tracks.is_empty())
            .map(|(side, _)| *side)
            .collect();
        if !empty.is_empty() {
            return Some(format!(
                "no track of the {} is left",
                empty.join(" and of the ")
            ));
        }
        (self.steps() == 0).then(|| "a single frame does not move".into())
    }
}

pub(super) fn check_size(size: Size) -> Result<(), Error> {
    if size.width > 0 && size.height > 0 {
        return Ok(());
    }
    Err(Error::argument("size", size, "at least one pixel a side"))
}

/// The tracks as they would be in a clip stretched to another size; pixel centres lie at whole numbers.
fn scaled(tracks: &Tracks, size: Size) -> Result<Tracks, Error> {
    let from = tracks.size();
    let factors = [
        f64::from(size.width) / f64::from(from.width),
        f64::from(size.height) / f64::from(from.height),
    ];
    let scaled = |place: &Place| {
        [0, 1].map(|axis| ((f64::from(place[axis]) + 0.5) * factors[axis] - 0.5) as f32)
    };
    let places = tracks.iter().flatten().map(scaled).collect();
    let visible = (0..tracks.len())
        .flat_map(|track| tracks.visible(track).iter().copied())
        .collect();
    Tracks::new(tracks.frames(), size, places, visible)
}

/// The tracks at `frames` times spread evenly from the first frame to the last, linear between frames. A point is
/// seen where it is in both frames around.
fn resampled(tracks: &Tracks, frames: usize) -> Result<Tracks, Error> {
    let moments = moments(tracks.frames(), frames);
    let mut places = Vec::with_capacity(tracks.len() * frames);
    let mut visible = Vec::with_capacity(tracks.len() * frames);
    for track in 0..tracks.len() {
        let (all, seen) = (tracks.places(track), tracks.visible(track));
        for &(before, after, share) in &moments {
            let (a, b) = (all[before], all[after]);
            places.push([0, 1].map(|axis| between(a[axis].into(), b[axis].into(), share) as f32));
            visible.push(seen[before] && seen[after]);
        }
    }
    Tracks::new(frames, tracks.size(), places, visible)
}

/// For each of `frames` moments spread evenly over `given` frames: the frame before, the frame after, and how far
/// the moment lies between them, 0..1. A moment on a frame has that frame on both sides.
pub(super) fn moments(given: usize, frames: usize) -> Vec<(usize, usize, f64)> {
    let moment = |index: usize| {
        let at = (index * (given - 1)) as f64 / (frames - 1).max(1) as f64;
        let before = at as usize;
        let share = at - before as f64;
        (before, before + usize::from(share > 0.0), share)
    };
    (0..frames).map(moment).collect()
}

/// `a` at share 0, `b` at share 1.
pub(super) fn between(a: f64, b: f64, share: f64) -> f64 {
    a + share * (b - a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(frames: usize, size: Size, step: Place) -> Tracks {
        let places = (0..frames).map(|i| [step[0] * i as f32, step[1] * i as f32]);
        Tracks::new(frames, size, places.collect(), vec![true; frames]).unwrap()
    }

    const SMALL: Size = Size {
        width: 64,
        height: 64,
    };

    #[test]
    fn the_longer_is_resampled_to_the_shorter() {
        let (short, long) = (line(5, SMALL, [3.0, 0.0]), line(9, SMALL, [1.5, 0.0]));
        for (reference, result) in [(&short, &long), (&long, &short)] {
            let pair = TrackPair::new(reference, result).unwrap();
            assert_eq!(pair.reference, pair.result);
            assert_eq!(pair.reference, short);
            assert!(pair.warnings[0].contains("9"), "{:?}", pair.warnings);
        }
        let pair =
            TrackPair::new(&line(4, SMALL, [1.0, 0.0]), &line(6, SMALL, [1.0, 0.0])).unwrap();
        let x: Vec<f32> = pair.result.places(0).iter().map(|place| place[0]).collect();
        for (x, expected) in x.iter().zip([0.0, 5.0 / 3.0, 10.0 / 3.0, 5.0]) {
            assert!((x - expected).abs() < 1e-6, "{x} {expected}");
        }
    }

    #[test]
    fn the_result_is_scaled_to_the_reference() {
        let wide = Size {
            width: 128,
            height: 64,
        };
        let pair = TrackPair::new(&line(3, SMALL, [1.0, 1.0]), &line(3, wide, [2.0, 1.0])).unwrap();
        assert_eq!(pair.result.size(), SMALL);
        let steps = pair.result.places(0).windows(2);
        assert!(
            steps
                .into_iter()
                .all(|p| p[1][0] - p[0][0] == 1.0 && p[1][1] - p[0][1] == 1.0)
        );
        assert!(pair.warnings[0].contains("128x64"), "{:?}", pair.warnings);
    }

    #[test]
    fn a_resampled_point_is_seen_where_both_frames_around_see_it() {
        let visible = vec![true, true, true, false, true];
        let long = Tracks::new(5, SMALL, vec![[0.0; 2]; 5], visible).unwrap();
        assert_eq!(resampled(&long, 3).unwrap().visible(0), [true, true, true]);
        let seen = resampled(&long, 4).unwrap();
        assert_eq!(seen.visible(0), [true, true, false, true]);
    }

    #[test]
    fn clips_without_pixels_are_refused() {
        let none = Size {
            width: 0,
            height: 64,
        };
        let (fine, empty) = (line(3, SMALL, [1.0; 2]), line(3, none, [1.0; 2]));
        assert!(TrackPair::new(&fine, &empty).is_err());
        assert!(TrackPair::new(&empty, &fine).is_err());
    }
}
