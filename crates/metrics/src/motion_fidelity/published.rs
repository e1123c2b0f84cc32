//! Motion fidelity as two published scripts compute it, for comparison with published numbers.
//!
//! Both are one-sided: the mean over the result's tracks of the best similarity with a track of the reference. A
//! result that repeats a small part of the reference's motion everywhere is perfect to them. Neither allows
//! for a step of length zero, which makes their number undefined; so it is here.

use kinvert_video::Size;

use super::hybrid::{LOCAL_WEIGHT, evenly};
use super::pair::check_size;
use super::similarity::{Panels, step};
use super::{StillSteps, Variant};
use crate::record::ModelStamp;
use crate::{Error, Record, Tracks};

/// Tracks of each clip whose places [`published_hybrid`] compares.
pub const PUBLISHED_HYBRID_TRACKS: usize = 50;

/// The number that a published script gives.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedFidelity {
    /// The number; absent where the script fails or gives none.
    pub value: Option<f64>,
    /// Why it is absent.
    pub reason: Option<String>,
    /// Where the value departs from the script.
    pub preprocessing: &'static str,
    /// Further numbers, by name.
    pub parts: Vec<(&'static str, f64)>,
}

impl PublishedFidelity {
    /// The record of a variant.
    pub fn into_record(self, variant: Variant, tracker: &ModelStamp) -> Record {
        let mut record = Record::new(
            variant.measure(),
            self.value,
            tracker.clone(),
            self.preprocessing,
        );
        record.warnings.extend(self.reason);
        for (name, value) in self.parts {
            record = record.with_beside(name, value);
        }
        record
    }

    fn absent(preprocessing: &'static str, reason: impl Into<String>) -> Self {
        Self {
            value: None,
            reason: Some(reason.into()),
            preprocessing,
            parts: Vec::new(),
        }
    }
}

/// The score of the script published with *Space-Time Diffusion Features* (`motion_fidelity_score.py`).
///
/// It subtracts 1 from the similarity of tracks of the same number, which only makes sense when a clip is compared
/// with itself to find what else moves alike: a result scores by motion that is found *elsewhere* in the reference,
/// and one identical to its reference stays below 1.
///
/// Absent where the clips differ in the number of tracks or frames, which stops the script, where a step has length
/// zero, which makes its score NaN, and without tracks or steps.
pub fn published(reference: &Tracks, result: &Tracks) -> PublishedFidelity {
    const AS: &str = "as the published script: one-sided, same-numbered tracks lowered by 1";
    if let Some(reason) = stops(reference, result) {
        return PublishedFidelity::absent(AS, reason);
    }
    if reference.frames() != result.frames() {
        let frames = [reference, result].map(Tracks::frames);
        let reason = format!(
            "the published script needs the same number of frames; the reference has {}, the result {}",
            frames[0], frames[1]
        );
        return PublishedFidelity::absent(AS, reason);
    }
    for (side, tracks) in [("reference", reference), ("result", result)] {
        if let Some(track) = tracks.iter().position(stands_still) {
            return PublishedFidelity::absent(AS, divides_by_zero(side, track));
        }
    }
    let [rows, columns] =
        [result, reference].map(|tracks| Panels::directions(tracks, StillSteps::CountZero));
    let value = mean_of_row_maxima(&rows, &columns, |row, column, similarity| {
        similarity - f64::from(u8::from(row == column))
    });
    PublishedFidelity {
        value: Some(value),
        reason: None,
        preprocessing: AS,
        parts: Vec::new(),
    }
}

/// The score of the evaluation script published with MTBench (`evaluation.py` of *Decouple and Track*), with its
/// Fréchet score added; without it, which is the script's default, the score is the part `local`.
///
/// What it computes differs from its description:
/// * Its Fréchet distance is the mean distance of all points of one track from all points of the other, a number
///   that is not 0 for two equal tracks.
/// * Its directions begin with that from the frame's upper left corner to the track's start.
/// * For the global part it draws 50 tracks at random, without a seed, and takes the same numbers from both clips.
///   [`PUBLISHED_HYBRID_TRACKS`] evenly spread ones are taken here instead.
/// * Of the longer clip the frames are picked that lie on or before evenly spaced times.
///
/// Absent where the clips differ in the number of tracks (the script may then look for tracks that are not there),
/// where a track starts in the corner or a step has length zero (NaN in the script), and without tracks or steps.
///
/// # Errors
/// If a clip has no pixels.
pub fn published_hybrid(reference: &Tracks, result: &Tracks) -> Result<PublishedFidelity, Error> {
    const AS: &str = "as the published script of MTBench: one-sided, with 50 evenly spread tracks in the global part";
    check_size(reference.size())?;
    check_size(result.size())?;
    if let Some(reason) = stops(reference, result) {
        return Ok(PublishedFidelity::absent(AS, reason));
    }
    let frames = reference.frames().min(result.frames());
    let reference_tracks = Fractions::new(reference, frames);
    let result_tracks = Fractions::new(result, frames);
    for (side, tracks) in [("reference", &reference_tracks), ("result", &result_tracks)] {
        if let Some(track) = tracks.first_without_direction() {
            return Ok(PublishedFidelity::absent(AS, divides_by_zero(side, track)));
        }
    }

    let local = mean_of_row_maxima(
        &result_tracks.directions(),
        &reference_tracks.directions(),
        |_, _, similarity| similarity,
    );
    let global = result_tracks.global_similarity(&reference_tracks);
    Ok(PublishedFidelity {
        value: Some(LOCAL_WEIGHT * local + (1.0 - LOCAL_WEIGHT) * global),
        reason: None,
        preprocessing: AS,
        parts: vec![("local", local), ("global", global)],
    })
}

/// Why neither script gets to a number, if so.
fn stops(reference: &Tracks, result: &Tracks) -> Option<String> {
    let (of_reference, of_result) = (reference.len(), result.len());
    if of_reference != of_result {
        return Some(format!(
            "the published script needs the same number of tracks; the reference has {of_reference}, the result \
             {of_result}"
        ));
    }
    if of_reference == 0 {
        return Some("no track is left".into());
    }
    (reference.frames() == 1 || result.frames() == 1).then(|| "a single frame does not move".into())
}

fn stands_still(places: &[[f32; 2]]) -> bool {
    places.windows(2).any(|pair| pair[0] == pair[1])
}

fn divides_by_zero(side: &str, track: usize) -> String {
    format!(
        "track {track} of the {side} stands still for a frame or has no direction, where the published script \
         divides by zero"
    )
}

fn mean_of_row_maxima(
    rows: &Panels,
    columns: &Panels,
    adjusted: impl Fn(usize, usize, f64) -> f64 + Sync,
) -> f64 {
    let best = rows.maxima(columns, adjusted).rows;
    best.iter().map(|best| best.similarity).sum::<f64>() / best.len() as f64
}

/// Tracks in fractions of the frame's width and height, as MTBench takes them.
struct Fractions {
    frames: usize,
    points: Vec<[f32; 2]>, // [tracks, frames]
}

impl Fractions {
    fn new(tracks: &Tracks, frames: usize) -> Self {
        let Size { width, height } = tracks.size();
        let picked = picked_frames(tracks.frames(), frames);
        let points = tracks.iter().flat_map(|places| {
            let fraction = |&frame: &usize| {
                let [x, y] = places[frame];
                [x / width as f32, y / height as f32]
            };
            picked.iter().map(fraction)
        });
        Self {
            frames,
            points: points.collect(),
        }
    }

    fn len(&self) -> usize {
        self.points.len() / self.frames
    }

    fn track(&self, index: usize) -> &[[f32; 2]] {
        &self.points[index * self.frames..][..self.frames]
    }

    /// The direction of the start from the corner, and those of the steps, one per frame.
    fn vectors(&self, track: usize) -> impl Iterator<Item = [f64; 2]> {
        let points = self.track(track);
        let steps = points.windows(2).map(|pair| step(pair[0], pair[1]));
        std::iter::once(points[0].map(f64::from)).chain(steps)
    }

    fn first_without_direction(&self) -> Option<usize> {
        (0..self.len()).find(|&track| self.vectors(track).any(|vector| vector == [0.0; 2]))
    }

    fn directions(&self) -> Panels {
        Panels::new(self.len(), 2 * self.frames, self.frames, |track, row| {
            for (numbers, [x, y]) in row.chunks_exact_mut(2).zip(self.vectors(track)) {
                let length = x.hypot(y);
                numbers.copy_from_slice(&[x / length, y / length]);
            }
        })
    }

    /// Mean over the sampled tracks of the best `1 / (1 + mean distance)`.
    fn global_similarity(&self, reference: &Self) -> f64 {
        let sampled = evenly(self.len(), PUBLISHED_HYBRID_TRACKS);
        let best = |&track: &usize| {
            let distances = sampled
                .iter()
                .map(|&other| mean_distance(self.track(track), reference.track(other)));
            1.0 / (1.0 + distances.fold(f64::INFINITY, f64::min))
        };
        sampled.iter().map(best).sum::<f64>() / sampled.len() as f64
    }
}

/// Mean distance of all points of one track from all points of another.
fn mean_distance(a: &[[f32; 2]], b: &[[f32; 2]]) -> f64 {
    let pairs = a
        .iter()
        .flat_map(|from| b.iter().map(|to| step(*from, *to)));
    pairs.map(|[x, y]| x.hypot(y)).sum::<f64>() / (a.len() * b.len()) as f64
}

/// The frames that `torch.linspace(0, given - 1, frames)`, cut to whole numbers, picks. It computes in f32 and from
/// both ends, and rounding decides between a frame and the one before it.
fn picked_frames(given: usize, frames: usize) -> Vec<usize> {
    if given == frames {
        return (0..given).collect();
    }
    let last = (given - 1) as f32;
    let spacing = last / (frames - 1).max(1) as f32;
    let at = |index: usize| {
        if index < frames / 2 {
            spacing * index as f32
        } else {
            last - spacing * (frames - 1 - index) as f32
        }
    };
    (0..frames).map(|index| at(index) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 10,
        height: 20,
    };

    fn tracks(frames: usize, places: &[[f32; 2]]) -> Tracks {
        Tracks::new(frames, SIZE, places.to_vec(), vec![true; places.len()]).unwrap()
    }

    #[test]
    fn the_hybrid_score_by_hand() {
        // In fractions of the frame: from (0.1, 0) to (0.3, 0), and from (0, 0.1) to (0.2, 0.1).
        let reference = tracks(2, &[[1.0, 0.0], [3.0, 0.0]]);
        let result = tracks(2, &[[0.0, 2.0], [2.0, 2.0]]);
        let found = published_hybrid(&reference, &result).unwrap();
        // The starts are at right angles, the steps parallel.
        let local = 0.5;
        let distances = [
            0.1_f64.hypot(0.1),
            0.1_f64.hypot(0.1),
            0.3_f64.hypot(0.1),
            0.1_f64.hypot(0.1),
        ];
        let global = 1.0 / (1.0 + distances.iter().sum::<f64>() / 4.0);
        assert!((found.parts[0].1 - local).abs() < 1e-6);
        assert!((found.parts[1].1 - global).abs() < 1e-6);
        assert!((found.value.unwrap() - (local + global) / 2.0).abs() < 1e-6);
        // Equal tracks are not equal to it.
        let same = published_hybrid(&result, &result).unwrap();
        assert!((same.value.unwrap() - (1.0 + 1.0 / 1.1) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn frames_are_picked_as_torch_does() {
        assert_eq!(picked_frames(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(picked_frames(9, 5), [0, 2, 4, 6, 8]);
        assert_eq!(picked_frames(6, 4), [0, 1, 3, 5]); // 0, 1.67, 3.33, 5
        assert_eq!(picked_frames(49, 2), [0, 48]);
    }

    #[test]
    fn where_a_script_fails_there_is_a_reason() {
        let moving = tracks(3, &[[1.0, 1.0], [2.0, 1.0], [3.0, 2.0]]);
        let two = tracks(3, &[[1.0, 1.0], [2.0, 1.0], [3.0, 2.0]].repeat(2));
        let pauses = tracks(3, &[[1.0, 1.0], [2.0, 1.0], [2.0, 1.0]]);
        let short = tracks(2, &[[1.0, 1.0], [2.0, 1.0]]);
        let single = tracks(1, &[[1.0, 1.0]]);
        let none = tracks(3, &[]);
        let corner = tracks(3, &[[0.0, 0.0], [2.0, 1.0], [3.0, 2.0]]);
        for (reference, result, needle, hybrid_needle) in [
            (&moving, &two, "number of tracks", "number of tracks"),
            (
                &moving,
                &pauses,
                "track 0 of the result",
                "track 0 of the result",
            ),
            (
                &pauses,
                &moving,
                "track 0 of the reference",
                "track 0 of the reference",
            ),
            (&single, &single, "single frame", "single frame"),
            (&none, &none, "no track", "no track"),
            (&moving, &short, "number of frames", ""),
            (&moving, &corner, "", "track 0 of the result"),
        ] {
            for (found, needle) in [
                (published(reference, result), needle),
                (published_hybrid(reference, result).unwrap(), hybrid_needle),
            ] {
                assert_eq!(found.value.is_some(), needle.is_empty(), "{found:?}");
                let reason = found.reason.unwrap_or_default();
                assert!(reason.contains(needle), "{reason}: {needle}");
            }
        }
    }
}
