//! Tracking a clip in windows, and joining what was found in them.
//!
//! A window is as long as the network was trained on, and shares a quarter of its frames with the next one. In
//! the next window, a track is asked for at its *anchor*: the last frame of the overlap in which the earlier window
//! saw the point, at the place that it found there. Up to the anchor the track is the earlier window's, after
//! it the later one's, so it has no jump where windows meet.
//!
//! A point that is hidden throughout an overlap has no anchor: what is seen at its supposed place is
//! something else. Its track goes on from the last frame of the window as a guess, and is visible nowhere from
//! there on.

use std::ops::Range;

use kinvert_nets::cotracker::Query;

use crate::Error;
use crate::tracks::Place;

/// What was found in a window: all frames of the first track, then all of the second, and so on.
pub(super) struct Followed {
    /// Places in pixels of the clip.
    pub(super) places: Vec<Place>,
    /// Whether the point is seen.
    pub(super) visible: Vec<bool>,
}

impl Followed {
    /// Whether every point is somewhere.
    pub(super) fn is_finite(&self) -> bool {
        self.places
            .as_flattened()
            .iter()
            .all(|value| value.is_finite())
    }
}

/// The windows of a clip of `frames` frames; the last one may be shorter.
pub(super) fn windows(frames: usize, window: usize) -> impl Iterator<Item = Range<usize>> {
    let window = window.max(2); // one frame to come from, one to go to
    let overlap = (window / 4).max(1);
    let range = move |start: usize| start..(start + window).min(frames);
    // A window that holds no frame beyond the overlap with the one before is not needed.
    let last = frames.saturating_sub(overlap).max(1);
    (0..last).step_by(window - overlap).map(range)
}

/// Follows points of the first frame through all windows of a clip of `frames` frames. Gives places and
/// visibilities: all frames of the first track, then all of the second, and so on.
///
/// `follow` finds the tracks in a range of frames; its queries count frames from the start of that range.
///
/// # Errors
/// Those of `follow`.
pub(super) fn join(
    frames: usize,
    window: usize,
    starts: &[Place],
    mut follow: impl FnMut(Range<usize>, &[Query]) -> Result<Followed, Error>,
) -> Result<(Vec<Place>, Vec<bool>), Error> {
    let mut tracks: Vec<Track> = starts.iter().map(|start| Track::new(*start)).collect();
    for range in windows(frames, window) {
        let queries: Vec<Query> = tracks
            .iter_mut()
            .map(|track| track.enter(range.start))
            .collect();
        let followed = follow(range.clone(), &queries)?;
        let found = followed
            .places
            .chunks_exact(range.len())
            .zip(followed.visible.chunks_exact(range.len()));
        for ((track, query), (places, visible)) in tracks.iter_mut().zip(&queries).zip(found) {
            let after = query.frame + 1;
            track.extend(&places[after..], &visible[after..]);
        }
    }
    let places = tracks.iter().flat_map(|track| &track.places).copied();
    let visible = tracks.iter().flat_map(|track| &track.visible).copied();
    Ok((places.collect(), visible.collect()))
}

/// A track, as far as it is known.
struct Track {
    places: Vec<Place>,
    visible: Vec<bool>,
    is_lost: bool,
}

impl Track {
    /// A track of one frame.
    fn new(start: Place) -> Self {
        Self {
            places: vec![start],
            visible: vec![true],
            is_lost: false,
        }
    }

    /// Cuts the track off after its anchor in the window that begins at frame `start`, and asks for the rest.
    fn enter(&mut self, start: usize) -> Query {
        let seen = self.visible[start..].iter().rposition(|visible| *visible);
        let anchor = match seen {
            Some(seen) => start + seen,
            None => {
                self.is_lost = true;
                self.places.len() - 1
            }
        };
        self.places.truncate(anchor + 1);
        self.visible.truncate(anchor + 1);
        Query {
            frame: anchor - start,
            place: self.places[anchor],
        }
    }

    fn extend(&mut self, places: &[Place], visible: &[bool]) {
        self.places.extend(places);
        let is_lost = self.is_lost;
        self.visible
            .extend(visible.iter().map(|visible| *visible && !is_lost));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPEED: f32 = 2.0;

    /// A network that is off by one pixel more in every window, also where it was asked, and that sees a point
    /// where `is_seen` says so.
    fn drifting(
        is_seen: impl Fn(usize) -> bool,
    ) -> impl FnMut(Range<usize>, &[Query]) -> Result<Followed, Error> {
        let mut offset = 0.0;
        move |range, queries| {
            offset += 1.0;
            let place = |query: &Query, frame: usize| {
                let way = (frame as f32 - query.frame as f32) * SPEED;
                [query.place[0] + way + offset, query.place[1]]
            };
            let local = 0..range.len();
            Ok(Followed {
                places: queries
                    .iter()
                    .flat_map(|query| local.clone().map(|frame| place(query, frame)))
                    .collect(),
                visible: queries
                    .iter()
                    .flat_map(|_| range.clone().map(&is_seen))
                    .collect(),
            })
        }
    }

    #[test]
    fn windows_overlap_by_a_quarter_and_cover_the_clip() {
        let check = |frames, expected: &[(usize, usize)]| {
            let found = windows(frames, 60).map(|range| (range.start, range.end));
            assert_eq!(found.collect::<Vec<_>>(), expected);
        };
        check(1, &[(0, 1)]);
        check(16, &[(0, 16)]);
        check(60, &[(0, 60)]);
        check(61, &[(0, 60), (45, 61)]);
        check(105, &[(0, 60), (45, 105)]);
        check(106, &[(0, 60), (45, 105), (90, 106)]);
    }

    proptest! {
        #[test]
        fn every_window_adds_frames_and_shares_some(frames in 2_usize..200, window in 1_usize..70) {
            let windows: Vec<_> = windows(frames, window).collect();
            prop_assert_eq!(windows[0].start, 0);
            prop_assert_eq!(windows[windows.len() - 1].end, frames);
            for pair in windows.windows(2) {
                prop_assert!(pair[1].start < pair[0].end && pair[0].end < pair[1].end);
            }
        }
    }

    #[test]
    fn a_track_goes_on_from_where_it_was_when_windows_meet() {
        let (places, visible) = join(20, 8, &[[5.0, 7.0]], drifting(|_| true)).unwrap();
        assert_eq!(visible, [true; 20]);
        // Windows begin at 0, 6 and 12; they are joined in frames 7 and 13. A step is 2 px, and 1, 2, 3 px more
        // after each place where the network was asked.
        let steps: Vec<f32> = places
            .windows(2)
            .map(|pair| pair[1][0] - pair[0][0])
            .collect();
        let mut expected = [SPEED; 19];
        (expected[0], expected[7], expected[13]) = (SPEED + 1.0, SPEED + 2.0, SPEED + 3.0);
        assert_eq!(steps, expected);
        assert_eq!(places[0], [5.0, 7.0]);
    }

    #[test]
    fn windows_are_joined_where_the_point_was_last_seen() {
        let mut asked = Vec::new();
        let mut network = drifting(|frame| frame != 7 && frame != 15);
        let follow = |range: Range<usize>, queries: &[Query]| {
            asked.push((range.clone(), queries[0].frame));
            network(range, queries)
        };
        let (_, visible) = join(18, 8, &[[0.0, 0.0]], follow).unwrap();
        assert_eq!(asked, [(0..8, 0), (6..14, 0), (12..18, 1)]);
        let hidden: Vec<usize> = (0..18).filter(|frame| !visible[*frame]).collect();
        assert_eq!(hidden, [7, 15]);
    }

    #[test]
    fn a_point_that_is_hidden_where_windows_meet_stays_hidden() {
        let network = drifting(|frame| !(5..9).contains(&frame));
        let (places, visible) = join(18, 8, &[[0.0, 0.0]], network).unwrap();
        let seen: Vec<usize> = (0..18).filter(|frame| visible[*frame]).collect();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(places.len(), 18);
    }

    #[test]
    fn tracks_do_not_mix() {
        let starts = [[0.0, 0.0], [100.0, 50.0], [7.0, 9.0]];
        let (together, _) = join(20, 8, &starts, drifting(|_| true)).unwrap();
        for (start, track) in starts.iter().zip(together.chunks(20)) {
            let (alone, _) = join(20, 8, &[*start], drifting(|_| true)).unwrap();
            assert_eq!(track, alone);
        }
    }
}
