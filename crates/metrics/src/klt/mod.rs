//! Point tracking without a network: the tracker of Kanade, Lucas and Tomasi.
//!
//! A point is a small patch of the picture, and its way from one frame to the next is the shift that makes the
//! two patches most alike. Sources: Lucas and Kanade (1981) for the shift by Newton's method, Bouguet (1999) for
//! coarse to fine over a pyramid, Shi and Tomasi (1994) for points that can be tracked at all and for the
//! comparison with the first frame, Baker and Matthews (2004) for slopes of the patch instead of the picture,
//! Kalal, Mikolajczyk and Matas (2010) for the way back.
//!
//! What was chosen here, each by the table in this crate's README:
//!
//! - All three colour channels count, for a thing may have its background's grey.
//! - Each point has the smallest of four windows that holds on to something in both directions *and* lies amid
//!   it. A point inside a plain object is held by the outline around it; one just beside the object sees the
//!   same outline, but on one side only, and would be dragged along.
//! - Pixels that do not go with the rest of the patch, such as those of another thing behind, lose their weight
//!   while the patch settles.
//! - From frame to frame the patch of the last frame is followed, and then the place is corrected by the patch
//!   of the first frame, allowing for its growth, so that errors do not add up.
//! - A point that no window holds counts as still for as long as its surroundings are those of the first frame,
//!   and is lost as soon as they change. So a clip in which nothing moves has still tracks everywhere, one in
//!   black too, and a plain background keeps its still tracks apart from where things pass. Stripes that move
//!   along themselves look still.
//!
//! What changes in the whole frame at once, light and noise, is told from motion first.
//!
//! A point is lost where it leaves the frame, is not found, differs too much from what it was a frame before,
//! or does not come back to where it was when it is tracked back. A lost point stays lost.

mod light;
mod patch;
mod pyramid;
mod structure;

use kinvert_base::Progress;
use kinvert_video::{Clip, Size};
use rayon::prelude::*;

use crate::Error;
use crate::record::ModelStamp;
use crate::tracks::{Place, Tracker, Tracks, check_starts};
use light::Change;
use patch::{Bells, Match, Patch};
use pyramid::Pyramid;
use structure::Structure;

/// Most levels of a pyramid.
const MAX_LEVELS: usize = 8;

/// Largest radius of the smallest window, in pixels.
const MAX_RADIUS: u32 = 32;

/// The windows, in multiples of the smallest.
const WINDOWS: [f32; 4] = [1.0, 1.7, 2.7, 4.0];

/// Largest radius of a patch, in pixels: a wider window is looked at in a smaller image of the pyramid.
const MAX_PATCH_RADIUS: u32 = 14;

/// Standard deviations of the clip's noise that a still point may differ by, and the most noise that is believed:
/// where most of a frame moves, its motion looks like noise.
const STILL_NOISE: f32 = 3.0;
const MOST_NOISE: f32 = 0.01;

/// Furthest that the patch of the first frame moves a place, in pixels: what it finds further away is
/// something else.
const MAX_CORRECTION_PX: f32 = 1.5;

/// How points are tracked, and when they are given up.
///
/// The defaults are those with the smallest errors on clips whose truth is known; sizes follow the clip's.
#[derive(Clone, Debug, PartialEq)]
pub struct KltSettings {
    /// Distance from the middle of the smallest window to its sides, in pixels, 1 to 32. By default a 21st of
    /// the frame's short side, from 3 to 7: 3 for 64 pixels.
    pub radius: Option<u32>,
    /// Levels of the pyramid, 1 to 8: each doubles the motion from frame to frame that can be followed. By
    /// default as many, up to 5, as leave 8 pixels of the frame's short side: 4 for 64 pixels.
    pub levels: Option<usize>,
    /// Smallest mean squared slope along the direction with the least, brightness being 0 to 1: below it a
    /// window holds on to nothing. 10⁻⁴ by default, a hundredth of the brightness per pixel.
    pub min_eigenvalue: f64,
    /// Smallest ratio of that slope to the one along the direction with the most; edges have 0. 0.05 by default.
    pub min_isotropy: f64,
    /// How much what a window holds on to may lie on one side of the point: 0 is all around, 1 all on one side.
    /// 0.5 by default.
    pub max_one_sidedness: f64,
    /// Largest distance between a point and where it comes back to from the next frame, in pixels. 0.5 by
    /// default.
    pub max_return_px: f32,
    /// Largest root mean square difference between a patch and where it is found, brightness being 0 to 1.
    /// 0.15 by default.
    pub max_difference: f32,
    /// The same for a point that no window holds and that counts as still. 0.012 by default, three levels of
    /// 255.
    pub max_still_difference: f32,
}

impl Default for KltSettings {
    fn default() -> Self {
        Self {
            radius: None,
            levels: None,
            min_eigenvalue: 1e-4,
            min_isotropy: 0.05,
            max_one_sidedness: 0.5,
            max_return_px: 0.5,
            max_difference: 0.15,
            max_still_difference: 0.012,
        }
    }
}

impl KltSettings {
    fn check(&self) -> Result<(), Error> {
        if let Some(radius) = self
            .radius
            .filter(|radius| !(1..=MAX_RADIUS).contains(radius))
        {
            return Err(Error::argument("radius", radius, "1 to 32 pixels"));
        }
        if let Some(levels) = self
            .levels
            .filter(|levels| !(1..=MAX_LEVELS).contains(levels))
        {
            return Err(Error::argument("levels", levels, "1 to 8"));
        }
        for (name, limit) in [
            ("min_eigenvalue", self.min_eigenvalue),
            ("min_isotropy", self.min_isotropy),
            ("max_one_sidedness", self.max_one_sidedness),
            ("max_return_px", self.max_return_px.into()),
            ("max_difference", self.max_difference.into()),
            ("max_still_difference", self.max_still_difference.into()),
        ] {
            if !(limit >= 0.0 && limit.is_finite()) {
                return Err(Error::argument(name, limit, "a finite number from 0 on"));
            }
        }
        Ok(())
    }

    fn radius_for(&self, size: Size) -> u32 {
        let short_side = size.width.min(size.height);
        self.radius.unwrap_or((short_side / 21).clamp(3, 7))
    }

    fn levels_for(&self, size: Size) -> usize {
        let short_side = size.width.min(size.height);
        let fitting = (0..5).take_while(|level| short_side >> level >= 8).count();
        self.levels.unwrap_or(fitting.max(1))
    }
}

/// The tracker of Kanade, Lucas and Tomasi; see the [module docs](self).
///
/// ```
/// use kinvert_base::Quiet;
/// use kinvert_metrics::klt::Klt;
/// use kinvert_metrics::{Tracker, tracks::grid};
/// use kinvert_world::{Motion, Scene};
/// use kinvert_video::Clip;
///
/// let clip = Clip::new(Scene::random_with_motion(Motion::Bounce, 7).render(), 8.0)?;
/// let tracks = Klt::default().track(&clip, &grid(clip.size(), 32), &mut Quiet)?;
/// assert_eq!((tracks.len(), tracks.frames()), (32 * 32, 16));
/// println!("{} points survive", tracks.whole().len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Klt {
    stamp: ModelStamp,
    settings: KltSettings,
}

impl Klt {
    /// A tracker with settings of one's own.
    ///
    /// # Errors
    /// [`Error::Argument`] if one of them is outside its range.
    pub fn new(settings: KltSettings) -> Result<Self, Error> {
        settings.check()?;
        let stamp = ModelStamp {
            name: "klt".into(),
            sha256: None,
        };
        Ok(Self { stamp, settings })
    }
}

impl Default for Klt {
    fn default() -> Self {
        Self {
            stamp: ModelStamp {
                name: "klt".into(),
                sha256: None,
            },
            settings: KltSettings::default(),
        }
    }
}

impl Tracker for Klt {
    fn stamp(&self) -> &ModelStamp {
        &self.stamp
    }

    fn settings(&self, size: Size) -> String {
        let radius = self.settings.radius_for(size);
        let levels = self.settings.levels_for(size);
        format!("{:?}, radius {radius}, levels {levels}", self.settings)
    }

    /// Follows points through a clip. The result is the same for any number of threads.
    ///
    /// # Errors
    /// [`Error::Argument`] if a start lies outside the frame, which reaches from −½ to the width and the height:
    /// to half a pixel beyond the last one, since regular grids do. [`Error::Cancelled`] if the user asked to
    /// stop.
    fn track(
        &self,
        clip: &Clip,
        starts: &[Place],
        progress: &mut dyn Progress,
    ) -> Result<Tracks, Error> {
        check_starts(clip.size(), starts)?;
        let frames = clip.frames();
        let levels = self.settings.levels_for(clip.size());
        let first = Pyramid::new(&frames[0], levels, [0.0; 3]);
        let mut work = Work::new(&self.settings, clip.size(), levels);
        let mut points = work.points(&first, starts);
        let mut history = vec![points.clone()]; // [frames, tracks]

        progress.start("tracking", frames.len() - 1);
        let mut previous = Pyramid::new(&frames[0], levels, [0.0; 3]);
        let mut light = [0.0; 3]; // of the first frame less that of the present one
        for (done, pair) in (1..).zip(frames.windows(2)) {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let change = Change::between(&pair[0], &pair[1]);
            for (light, brighter) in light.iter_mut().zip(change.brighter) {
                *light -= brighter;
            }
            work.noise = work.noise.max(change.noise.min(MOST_NOISE));
            let next = Pyramid::new(&pair[1], levels, light);
            points.par_iter_mut().for_each(|point| {
                if point.visible {
                    work.advance(point, &first, &previous, &next);
                }
            });
            history.push(points.clone());
            previous = next;
            progress.advance(done, "");
        }
        progress.finish();

        let in_turn = (0..starts.len()).flat_map(|track| history.iter().map(move |now| now[track]));
        let (places, visible) = in_turn.map(|point| (point.place, point.visible)).unzip();
        Tracks::new(frames.len(), clip.size(), places, visible)
    }
}

/// A point that is being tracked.
#[derive(Clone, Copy)]
struct Point {
    start: Place,
    place: Place,
    /// Size of its patch, in multiples of that in the first frame.
    scale: f32,
    visible: bool,
    /// The window that holds it, if one does.
    radius: Option<u32>,
}

/// What the tracking of one clip needs.
struct Work<'a> {
    settings: &'a KltSettings,
    size: Size,
    levels: usize,
    radii: [u32; 4],
    /// Of the windows in the smaller images of a pyramid.
    coarse_radius: u32,
    bells: Bells,
    /// The most noise between two frames so far, brightness being 0 to 1.
    noise: f32,
}

impl<'a> Work<'a> {
    fn new(settings: &'a KltSettings, size: Size, levels: usize) -> Self {
        let radius = settings.radius_for(size);
        let radii = WINDOWS.map(|factor| (factor * radius as f32).round() as u32);
        Self {
            settings,
            size,
            levels,
            radii,
            coarse_radius: radius + 1,
            bells: Bells::up_to(radii[3].max(radius + 1)),
            noise: 0.0,
        }
    }

    fn points(&self, first: &Pyramid, starts: &[Place]) -> Vec<Point> {
        let structure = Structure::of(first.level(0));
        let point = |&start: &Place| Point {
            start,
            place: start,
            scale: 1.0,
            visible: true,
            radius: self.holding(&structure, start),
        };
        starts.par_iter().map(point).collect()
    }

    /// The smallest window that holds a point.
    fn holding(&self, structure: &Structure, place: Place) -> Option<u32> {
        let limits = self.settings;
        self.radii.into_iter().find(|&radius| {
            let hold = structure.hold(place, radius);
            let [least, most] = hold.tensor.eigenvalues();
            least >= limits.min_eigenvalue
                && least >= limits.min_isotropy * most
                && hold.one_sidedness <= limits.max_one_sidedness
        })
    }

    /// Takes a point to the next frame; a lost one stays where it was.
    fn advance(&self, point: &mut Point, first: &Pyramid, previous: &Pyramid, next: &Pyramid) {
        let found = match point.radius {
            Some(radius) => self.follow(point, radius, first, previous, next),
            None => self.rest(point, first, next),
        };
        match found.filter(|found| self.is_in_frame(found.place)) {
            Some(Match { place, scale, .. }) => {
                point.place = place;
                point.scale = scale;
            }
            None => point.visible = false,
        }
    }

    /// Where a point is that no window holds: where it was, if nothing has changed there.
    fn rest(&self, point: &Point, first: &Pyramid, next: &Pyramid) -> Option<Match> {
        let [radius, ..] = self.radii;
        let difference = first
            .level(0)
            .difference(next.level(0), point.start, radius);
        let still = Match {
            place: point.place,
            scale: 1.0,
            difference,
        };
        let limit = self
            .settings
            .max_still_difference
            .max(STILL_NOISE * self.noise);
        (difference <= limit).then_some(still)
    }

    fn follow(
        &self,
        point: &Point,
        radius: u32,
        first: &Pyramid,
        previous: &Pyramid,
        next: &Pyramid,
    ) -> Option<Match> {
        let limits = self.settings;
        let found = self.seek(previous, next, point.place, radius)?;
        if found.difference > limits.max_difference {
            return None;
        }
        let back = self.seek(next, previous, found.place, radius)?;
        if distance_px(back.place, point.place) > limits.max_return_px {
            return None;
        }
        let corrected = self
            .correct(point, found.place, radius, first, next)
            .filter(|corrected| {
                corrected.difference <= limits.max_difference
                    && distance_px(corrected.place, found.place) <= MAX_CORRECTION_PX
            });
        Some(corrected.unwrap_or(Match {
            scale: point.scale,
            ..found
        }))
    }

    /// Where the patch around a place of one frame is in another, from coarse to fine.
    fn seek(&self, from: &Pyramid, to: &Pyramid, place: Place, radius: u32) -> Option<Match> {
        let finest = self.finest_level(radius);
        let mut shift = [0.0; 2];
        for level in (finest + 1..self.levels).rev() {
            let at = to_level(level, place);
            let radius = (radius >> level).max(self.coarse_radius);
            let patch = Patch::cut(from.level(level), at, radius, &self.bells);
            let guess = [at[0] + shift[0], at[1] + shift[1]];
            // A level that shows nothing leaves it to the finer ones.
            if let Some(found) = patch.find(to.level(level), guess, self.settings.min_eigenvalue) {
                shift = [found.place[0] - at[0], found.place[1] - at[1]];
            }
            shift = shift.map(|coordinate| 2.0 * coordinate);
        }
        let at = to_level(finest, place);
        let patch = Patch::cut(from.level(finest), at, radius >> finest, &self.bells);
        let guess = [at[0] + shift[0], at[1] + shift[1]];
        let found = patch.find(to.level(finest), guess, self.settings.min_eigenvalue)?;
        Some(from_level(finest, found))
    }

    /// Where the patch of the first frame is near a place.
    fn correct(
        &self,
        point: &Point,
        place: Place,
        radius: u32,
        first: &Pyramid,
        next: &Pyramid,
    ) -> Option<Match> {
        let level = self.finest_level(radius);
        let (start, guess) = (to_level(level, point.start), to_level(level, place));
        let patch = Patch::cut(first.level(level), start, radius >> level, &self.bells);
        let min_eigenvalue = self.settings.min_eigenvalue;
        let found = patch.find_grown(next.level(level), guess, point.scale, min_eigenvalue)?;
        Some(from_level(level, found))
    }

    /// The level in which a window is looked at.
    fn finest_level(&self, radius: u32) -> usize {
        (0..self.levels - 1)
            .find(|level| radius >> level <= MAX_PATCH_RADIUS)
            .unwrap_or(self.levels - 1)
    }

    fn is_in_frame(&self, [x, y]: Place) -> bool {
        let within = |at: f32, length: u32| (-0.5..=length as f32).contains(&at);
        within(x, self.size.width) && within(y, self.size.height)
    }
}

fn to_level(level: usize, place: Place) -> Place {
    place.map(|coordinate| coordinate / (1u32 << level) as f32)
}

fn from_level(level: usize, found: Match) -> Match {
    let place = found
        .place
        .map(|coordinate| coordinate * (1u32 << level) as f32);
    Match { place, ..found }
}

fn distance_px(a: Place, b: Place) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};
    use kinvert_base::Quiet;
    use proptest::prelude::*;

    use super::*;
    use crate::tracks::grid;

    /// A texture without end, coarse and fine, in colours of one brightness: its grey says nothing.
    fn texture(x: f32, y: f32) -> Rgb<u8> {
        let wave = |a: f32, b: f32| (a * x + 0.4 * (b * y).sin()).sin() * (b * y).cos();
        let red = 40.0 * wave(0.31, 0.23) + 60.0 * wave(0.061, 0.047);
        let blue = 40.0 * wave(0.19, 0.37) + 60.0 * wave(0.043, 0.053);
        let green = -(0.299 * red + 0.114 * blue) / 0.587;
        Rgb([red, green, blue].map(|value| (128.0 + value).round() as u8))
    }

    /// A clip of the texture that moves by `step` from frame to frame.
    fn moving(width: u32, height: u32, frames: usize, step: Place) -> Clip {
        let frame = |index: usize| {
            let shift = step.map(|value| value * index as f32);
            RgbImage::from_fn(width, height, |x, y| {
                texture(x as f32 - shift[0], y as f32 - shift[1])
            })
        };
        clip((0..frames).map(frame).collect())
    }

    fn clip(frames: Vec<RgbImage>) -> Clip {
        Clip::new(frames, 8.0).unwrap()
    }

    fn track(clip: &Clip, starts: &[Place]) -> Tracks {
        Klt::default().track(clip, starts, &mut Quiet).unwrap()
    }

    #[test]
    fn a_motion_by_parts_of_a_pixel_is_followed() {
        let starts: Vec<Place> = grid(
            Size {
                width: 40,
                height: 40,
            },
            5,
        )
        .into_iter()
        .map(|place| place.map(|coordinate| coordinate + 12.0))
        .collect();
        for step in [[0.25, 0.0], [-0.4, 0.7], [1.3, -0.9], [0.05, 0.02]] {
            let tracks = track(&moving(64, 64, 6, step), &starts);
            for (number, places) in tracks.iter().enumerate() {
                assert!(tracks.visible(number)[5], "{step:?}: {number}");
                for (index, place) in places.iter().enumerate() {
                    let shift = step.map(|value| value * index as f32);
                    let [x, y] = starts[number];
                    let off = (place[0] - x - shift[0]).hypot(place[1] - y - shift[1]);
                    assert!(off < 0.05, "{step:?}: {number} in frame {index} by {off}");
                }
            }
        }
    }

    #[test]
    fn a_large_motion_needs_the_pyramid() {
        let clip = moving(128, 128, 2, [16.0, -9.0]);
        let starts: Vec<Place> = (0..16)
            .map(|index| [index % 4, index / 4].map(|index| 40.0 + 12.0 * index as f32))
            .collect();
        let followed = |settings| {
            let klt = Klt::new(settings).unwrap();
            let tracks = klt.track(&clip, &starts, &mut Quiet).unwrap();
            let right = |number: &usize| {
                let ([x, y], [start_x, start_y]) = (tracks.places(*number)[1], starts[*number]);
                (x - start_x - 16.0).hypot(y - start_y + 9.0) < 0.1
            };
            (0..starts.len()).filter(right).count()
        };
        let levels = |levels| KltSettings {
            levels,
            ..KltSettings::default()
        };
        let (all, one) = (followed(levels(None)), followed(levels(Some(1))));
        assert!(all >= 14 && one <= 2, "{all} and {one} of 16");
    }

    #[test]
    fn a_point_that_is_covered_is_lost_and_stays_where_it_was() {
        let mut frames = moving(64, 64, 4, [0.5, 0.0]).into_frames();
        for frame in &mut frames[2..] {
            for y in 20..44 {
                for x in 20..44 {
                    frame.put_pixel(x, y, texture(50.0 - y as f32, 3.0 * x as f32));
                }
            }
        }
        let tracks = track(&clip(frames), &[[32.0, 32.0], [54.0, 54.0]]);
        assert_eq!(tracks.visible(0), [true, true, false, false]);
        let places = tracks.places(0);
        assert!((places[1][0] - 32.5).abs() < 0.05 && places[1] == places[2]);
        assert_eq!(places[2], places[3]);
        assert_eq!(tracks.visible(1), [true; 4]);
    }

    #[test]
    fn a_point_is_lost_where_it_leaves_the_frame() {
        let tracks = track(&moving(64, 64, 8, [3.0, 0.0]), &[[50.0, 30.0]]);
        assert!(tracks.visible(0)[2] && !tracks.visible(0)[7]);
        assert!(tracks.places(0).iter().all(|place| place[0] <= 64.0));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (clip, starts) = (
            moving(48, 40, 4, [0.8, 0.3]),
            grid(
                Size {
                    width: 48,
                    height: 40,
                },
                7,
            ),
        );
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| track(&clip, &starts))
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn in_a_clip_without_motion_every_track_is_still() {
        let black = clip(vec![RgbImage::new(64, 48); 4]);
        for still in [
            moving(64, 48, 4, [0.0; 2]),
            black,
            moving(5, 4, 3, [0.0; 2]),
        ] {
            let starts = grid(still.size(), 6);
            let starts: Vec<Place> = starts
                .into_iter()
                .chain([[0.0, 0.0], [-0.5, still.height() as f32]])
                .collect();
            let tracks = track(&still, &starts);
            assert_eq!(tracks.motion_magnitude(), Some(0.0));
            let whole = tracks.whole().len();
            // A window that the border cuts to a corner holds nothing where there is texture.
            assert!(
                whole * 10 >= starts.len() * 7,
                "{whole} of {}",
                starts.len()
            );
        }
    }

    #[test]
    fn a_flat_point_is_still_until_something_comes() {
        let mut frames = vec![RgbImage::from_pixel(64, 64, Rgb([90, 90, 100])); 5];
        for (index, frame) in frames.iter_mut().enumerate() {
            let left = 4 * index as u32 + 4; // its right side comes to x = 32 in the last frame
            for y in 24..40 {
                for x in left..left + 12 {
                    frame.put_pixel(x, y, Rgb([200, 60, 30]));
                }
            }
        }
        let tracks = track(&clip(frames), &[[34.0, 32.0], [55.0, 32.0]]);
        assert_eq!(tracks.visible(0), [true, true, true, true, false]);
        assert_eq!(tracks.places(0), [[34.0, 32.0]; 5]);
        assert_eq!(tracks.visible(1), [true; 5]);
    }

    #[test]
    fn one_frame_gives_the_starts() {
        let tracks = track(&moving(64, 64, 1, [0.0; 2]), &[[3.0, 4.0]]);
        assert_eq!((tracks.frames(), tracks.places(0)), (1, &[[3.0, 4.0]][..]));
        assert!(tracks.whole().len() == 1);
    }

    #[test]
    fn starts_outside_the_frame_are_refused() {
        let clip = moving(16, 8, 2, [0.0; 2]);
        for start in [[-1.0, 4.0], [4.0, 8.5], [16.1, 4.0], [f32::NAN, 4.0]] {
            let error = Klt::default().track(&clip, &[[1.0, 1.0], start], &mut Quiet);
            let message = error.unwrap_err().to_string();
            assert!(message.contains("for point 1"), "{message}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let default = KltSettings::default;
        for settings in [
            KltSettings {
                radius: Some(0),
                ..default()
            },
            KltSettings {
                radius: Some(33),
                ..default()
            },
            KltSettings {
                levels: Some(0),
                ..default()
            },
            KltSettings {
                levels: Some(9),
                ..default()
            },
            KltSettings {
                min_isotropy: f64::NAN,
                ..default()
            },
            KltSettings {
                max_return_px: -1.0,
                ..default()
            },
        ] {
            assert!(Klt::new(settings.clone()).is_err(), "{settings:?}");
        }
    }

    #[test]
    fn work_stops_when_the_user_asks() {
        struct Impatient(usize);
        impl Progress for Impatient {
            fn start(&mut self, stage: &str, total: usize) {
                assert_eq!((stage, total), ("tracking", 3));
            }
            fn advance(&mut self, done: usize, _detail: &str) {
                self.0 = done;
            }
            fn finish(&mut self) {}
            fn note(&mut self, _message: &str) {}
            fn is_cancelled(&self) -> bool {
                self.0 == 2
            }
        }
        let clip = moving(16, 16, 4, [0.0; 2]);
        let stopped = Klt::default().track(&clip, &[[8.0; 2]], &mut Impatient(0));
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn noise_of_any_size_gives_tracks(
            width in 1_u32..40,
            height in 1_u32..40,
            seed in any::<u32>(),
            radius in 1_u32..=32,
            levels in 1_usize..=8,
        ) {
            let mut state = seed;
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let mut frame = || RgbImage::from_fn(width, height, |_, _| Rgb([noise(), noise(), noise()]));
            let clip = clip(vec![frame(), frame(), frame()]);
            let starts = [[0.0, 0.0], [width as f32, height as f32], [width as f32 / 3.0, height as f32 / 2.0]];
            let settings = KltSettings { radius: Some(radius), levels: Some(levels), ..KltSettings::default() };
            let tracks = Klt::new(settings).unwrap().track(&clip, &starts, &mut Quiet).unwrap();
            for (number, start) in starts.iter().enumerate() {
                prop_assert_eq!(&tracks.places(number)[0], start);
                let visible = tracks.visible(number);
                prop_assert!(visible[0] && (visible[1] || !visible[2]), "a lost point stays lost");
            }
        }
    }
}
