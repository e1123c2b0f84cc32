//! Paths of points through a clip, and who finds them.
//!
//! Places are in pixels of the clip: `[x, y]` from its upper left corner, where the centre of the first pixel is
//! at `[0, 0]` as in the published trackers.

use kinvert_base::Progress;
use kinvert_video::{Clip, Size};

use crate::Error;
use crate::cache::{Array, Cached};
use crate::record::ModelStamp;

/// A place in a frame, `[x, y]` in pixels.
pub type Place = [f32; 2];

/// Paths of points through all frames of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracks {
    frames: usize,
    size: Size,
    places: Vec<Place>, // [tracks, frames]
    visible: Vec<bool>, // [tracks, frames]
}

impl Tracks {
    /// Tracks through `frames` frames of a clip of a size: `places` and `visible` hold all frames of the first
    /// track, then all of the second, and so on.
    ///
    /// # Errors
    /// If there is no frame, the two lists differ in length or hold no whole number of tracks, or a place is
    /// not finite.
    pub fn new(
        frames: usize,
        size: Size,
        places: Vec<Place>,
        visible: Vec<bool>,
    ) -> Result<Self, Error> {
        if frames == 0 || !places.len().is_multiple_of(frames) || places.len() != visible.len() {
            return Err(Error::argument(
                "tracks",
                format!("{} places and {} visibilities", places.len(), visible.len()),
                format!("a multiple of {frames} frames each"),
            ));
        }
        if let Some(at) = places
            .iter()
            .position(|[x, y]| !x.is_finite() || !y.is_finite())
        {
            return Err(Error::argument(
                "tracks",
                format!(
                    "{:?} in frame {} of track {}",
                    places[at],
                    at % frames,
                    at / frames
                ),
                "finite places",
            ));
        }
        Ok(Self {
            frames,
            size,
            places,
            visible,
        })
    }

    /// Number of tracks.
    pub fn len(&self) -> usize {
        self.places.len() / self.frames
    }

    /// Whether there is no track.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Number of frames, at least one.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Width and height of the clip.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Places of one track, one per frame. Where the point is not visible they are guesses.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn places(&self, track: usize) -> &[Place] {
        &self.places[track * self.frames..][..self.frames]
    }

    /// Whether the point of one track is seen, one entry per frame.
    ///
    /// # Panics
    /// If there is no such track.
    pub fn visible(&self, track: usize) -> &[bool] {
        &self.visible[track * self.frames..][..self.frames]
    }

    /// The places of every track in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Place]> {
        self.places.chunks_exact(self.frames)
    }

    /// The tracks for which `keep` holds, given their number.
    pub fn filtered(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.len()).filter(|&track| keep(track)).collect();
        Self {
            frames: self.frames,
            size: self.size,
            places: kept.iter().flat_map(|&t| self.places(t).to_vec()).collect(),
            visible: kept
                .iter()
                .flat_map(|&t| self.visible(t).to_vec())
                .collect(),
        }
    }

    /// The tracks whose point is visible in every frame.
    pub fn whole(&self) -> Self {
        self.filtered(|track| self.visible(track).iter().all(|visible| *visible))
    }

    /// How long the tracks' ways are on average, in fractions of the frame's diagonal: over every step the mean
    /// distance that the points seen before and after it go, and these summed. For tracks that are seen
    /// throughout it is the mean length of their ways.
    ///
    /// Where most points get lost, the few that last are those that stay, and say little about the clip: a step
    /// counts if at least a twentieth of all points is seen. `None` if that holds for less than half of the steps,
    /// or there is none.
    pub fn motion_magnitude(&self) -> Option<f64> {
        let diagonal = f64::from(self.size.width).hypot(f64::from(self.size.height));
        let steps = (1..self.frames).filter_map(|frame| {
            let is_seen = |track: &usize| {
                let visible = self.visible(*track);
                visible[frame - 1] && visible[frame]
            };
            let (mut sum_px, mut seen) = (0.0, 0);
            for track in (0..self.len()).filter(is_seen) {
                let places = self.places(track);
                sum_px += distance_px(places[frame - 1], places[frame]);
                seen += 1;
            }
            (20 * seen >= self.len() && seen > 0).then(|| sum_px / seen as f64)
        });
        let steps: Vec<f64> = steps.collect();
        let all = self.frames - 1;
        // Steps that do not count are taken to be like those that do.
        (!steps.is_empty() && 2 * steps.len() >= all)
            .then(|| steps.iter().sum::<f64>() / steps.len() as f64 * all as f64 / diagonal)
    }
}

fn distance_px(a: Place, b: Place) -> f64 {
    f64::from(b[0] - a[0]).hypot(f64::from(b[1] - a[1]))
}

impl Cached for Tracks {
    fn to_arrays(&self) -> Vec<(&'static str, Array)> {
        let seen = self
            .visible
            .iter()
            .map(|visible| f32::from(u8::from(*visible)));
        let Size { width, height } = self.size;
        let array = |shape: &[usize], values| Array {
            shape: shape.to_vec(),
            values,
        };
        vec![
            ("size", array(&[2], vec![width as f32, height as f32])),
            (
                "places",
                array(&[self.len(), self.frames, 2], self.places.concat()),
            ),
            ("visible", array(&[self.len(), self.frames], seen.collect())),
        ]
    }

    fn from_arrays(mut array: impl FnMut(&str) -> Option<Array>) -> Option<Self> {
        let [width, height] = array("size")?.values[..] else {
            return None;
        };
        let size = Size {
            width: width as u32, // sides are below 2^16, which f32 holds exactly
            height: height as u32,
        };
        let places = array("places")?;
        let frames = *places.shape.get(1)?;
        let places = places.values.as_chunks().0.to_vec();
        let visible = array("visible")?
            .values
            .iter()
            .map(|seen| *seen != 0.0)
            .collect();
        Self::new(frames, size, places, visible).ok()
    }
}

/// Finds where points of the first frame go.
pub trait Tracker: Send {
    /// What identifies the tracker.
    fn stamp(&self) -> &ModelStamp;

    /// Everything besides its weights that its tracks of a clip of this size depend on, in words.
    fn settings(&self, size: Size) -> String;

    /// The tracks whose places mean something in every frame: those that are seen throughout, unless the tracker
    /// also knows where hidden points are.
    fn followed(&self, tracks: &Tracks) -> Tracks {
        tracks.whole()
    }

    /// Follows points of the first frame through a clip: one track per start, in their order.
    ///
    /// # Errors
    /// If a start lies outside the frame, or the user asked to stop.
    fn track(
        &self,
        clip: &Clip,
        starts: &[Place],
        progress: &mut dyn Progress,
    ) -> Result<Tracks, Error>;
}

/// Refuses starts outside the frame, which reaches from half a pixel before the centre of the first to half a pixel
/// beyond the last: a [`grid`] on a frame of few pixels comes that close.
pub(crate) fn check_starts(size: Size, starts: &[Place]) -> Result<(), Error> {
    let is_within = |at: f32, length: u32| (-0.5..=length as f32).contains(&at);
    let is_inside = |[x, y]: &Place| is_within(*x, size.width) && is_within(*y, size.height);
    match starts.iter().position(|start| !is_inside(start)) {
        None => Ok(()),
        Some(index) => Err(Error::argument(
            "starts",
            format!("{:?} for point {index}", starts[index]),
            format!("places within a frame of {size} pixels"),
        )),
    }
}

/// A regular grid of `per_side` by `per_side` places, row by row, a 64th of the width away from the borders: the
/// one that CoTracker's published code starts from. A single place is the frame's centre.
///
/// # Panics
/// If `per_side` is 0.
pub fn grid(size: Size, per_side: u32) -> Vec<Place> {
    assert!(per_side > 0, "a grid has at least one place");
    let margin = size.width as f32 / 64.0;
    let at = |index: u32, length: u32| {
        if per_side == 1 {
            return length as f32 / 2.0;
        }
        let share = index as f32 / (per_side - 1) as f32;
        margin + share * (length as f32 - 2.0 * margin)
    };
    (0..per_side)
        .flat_map(|row| (0..per_side).map(move |column| (row, column)))
        .map(|(row, column)| [at(column, size.width), at(row, size.height)])
        .collect()
}

/// Places a side of the grid that is used unless asked otherwise: the 55 of the published measure, but not more
/// than one for every two pixels.
pub fn default_grid(size: Size) -> u32 {
    (size.width.min(size.height) / 2).clamp(1, 55)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 30,
        height: 40,
    };

    #[test]
    fn a_grid_keeps_its_distance_from_the_borders() {
        let size = Size {
            width: 64,
            height: 128,
        };
        let places = grid(size, 3);
        assert_eq!(places.len(), 9);
        assert_eq!(places[..3], [[1.0, 1.0], [32.0, 1.0], [63.0, 1.0]]);
        assert_eq!(places[8], [63.0, 127.0]);
        assert_eq!(grid(size, 1), [[32.0, 64.0]]);
    }

    #[test]
    fn motion_magnitude_is_the_mean_way_over_the_diagonal() {
        let places = vec![
            [0.0, 0.0],
            [3.0, 4.0],
            [0.0, 0.0],
            [9.0, 9.0],
            [9.0, 9.0],
            [9.0, 9.0],
        ];
        let tracks = Tracks::new(3, SIZE, places, vec![true; 6]).unwrap();
        assert_eq!(tracks.motion_magnitude(), Some(5.0 / 50.0));
        assert_eq!(
            tracks.filtered(|track| track == 1).motion_magnitude(),
            Some(0.0)
        );
        assert_eq!(tracks.filtered(|_| false).motion_magnitude(), None);

        // A point that gets lost counts as long as it is seen: 5 and 0 in the first step, 5 in the second.
        let places = vec![
            [0.0, 0.0],
            [3.0, 4.0],
            [0.0, 0.0],
            [9.0, 9.0],
            [9.0, 9.0],
            [9.0, 9.0],
        ];
        let visible = vec![true, true, true, true, true, false];
        let tracks = Tracks::new(3, SIZE, places, visible).unwrap();
        assert_eq!(tracks.motion_magnitude(), Some(7.5 / 50.0));

        // One point of many that lasts says nothing.
        let mut visible = [true, false, false].repeat(30);
        visible[..3].fill(true);
        let tracks = Tracks::new(3, SIZE, vec![[1.0, 1.0]; 90], visible).unwrap();
        assert_eq!(tracks.motion_magnitude(), None);
    }

    #[test]
    fn only_tracks_that_are_seen_throughout_are_whole() {
        let tracks =
            Tracks::new(2, SIZE, vec![[0.0; 2]; 4], vec![true, false, true, true]).unwrap();
        assert_eq!(tracks.whole().len(), 1);
    }

    #[test]
    fn bad_tracks_are_refused() {
        for (frames, places, visible) in [
            (0, vec![], vec![]),
            (2, vec![[0.0; 2]; 3], vec![true; 3]),
            (2, vec![[0.0; 2]; 2], vec![true; 4]),
            (1, vec![[f32::NAN, 0.0]], vec![true]),
        ] {
            assert!(Tracks::new(frames, SIZE, places, visible).is_err());
        }
    }
}
