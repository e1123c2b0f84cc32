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
//! A point is lost where it leaves the frame, is not found, differs too much from what it was a frame before,
//! or does not come back to where it was when it is tracked back. A lost point stays lost.

mod patch;
mod pyramid;
mod structure;

use kinvert_base::Progress;
use kinvert_video::{Clip, Size};
use rayon::prelude::*;

use crate::Error;
use crate::record::ModelStamp;
use crate::tracks::{Place, Tracker, Tracks};
use patch::{Bells, Match, Patch};
use pyramid::Pyramid;
use structure::Structure;

/// Most levels of a pyramid.
const MAX_LEVELS: usize = 8;

/// Largest radius of the smallest window, in pixels.
const MAX_RADIUS: u32 = 32;

/// The windows, in multiples of the smallest.
const WINDOWS: [f32; 4] = [1.0, 1.7, 2.7, 4.0];

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
    /// The same for a point that no window holds and that counts as still. 0.006 by default, one and a half of
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
            max_still_difference: 0.006,
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
/// use kinvert_sprites::{Motion, Scene};
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
        check_starts(starts, clip.size())?;
        let frames = clip.frames();
        let levels = self.settings.levels_for(clip.size());
        let pyramid = |frame| Pyramid::new(frame, levels);
        let first = pyramid(&frames[0]);
        let work = Work::new(&self.settings, clip.size(), levels);
        let mut points = work.points(&first, starts);
        let mut history = vec![points.clone()]; // [frames, tracks]

        progress.start("tracking", frames.len() - 1);
        let mut previous = pyramid(&frames[0]);
        for (done, frame) in (1..).zip(&frames[1..]) {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let next = pyramid(frame);
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

fn check_starts(starts: &[Place], size: Size) -> Result<(), Error> {
    let outside = |[x, y]: &Place| {
        let within = |at: f32, length: u32| (-0.5..=length as f32).contains(&at);
        !within(*x, size.width) || !within(*y, size.height)
    };
    match starts.iter().position(outside) {
        Some(index) => Err(Error::argument(
            "starts",
            format!("{:?} for point {index}", starts[index]),
            format!("places within a frame of {size} pixels"),
        )),
        None => Ok(()),
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
        let patch = Patch::cut(first.level(0), point.start, radius, &self.bells);
        let difference = if patch.is_empty() {
            0.0
        } else {
            patch.difference(next.level(0), point.start)?
        };
        let still = Match {
            place: point.place,
            scale: 1.0,
            difference,
        };
        (difference <= self.settings.max_still_difference).then_some(still)
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
        let corrected = Patch::cut(first.level(0), point.start, radius, &self.bells)
            .find_grown(
                next.level(0),
                found.place,
                point.scale,
                limits.min_eigenvalue,
            )
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
        let min_eigenvalue = self.settings.min_eigenvalue;
        let mut shift = [0.0; 2];
        for level in (1..self.levels).rev() {
            let at = place.map(|coordinate| coordinate / (1u32 << level) as f32);
            let radius = (radius >> level).max(self.coarse_radius);
            let patch = Patch::cut(from.level(level), at, radius, &self.bells);
            let guess = [at[0] + shift[0], at[1] + shift[1]];
            // A level that shows nothing leaves it to the finer ones.
            if let Some(found) = patch.find(to.level(level), guess, min_eigenvalue) {
                shift = [found.place[0] - at[0], found.place[1] - at[1]];
            }
            shift = shift.map(|coordinate| 2.0 * coordinate);
        }
        let patch = Patch::cut(from.level(0), place, radius, &self.bells);
        let guess = [place[0] + shift[0], place[1] + shift[1]];
        patch.find(to.level(0), guess, min_eigenvalue)
    }

    fn is_in_frame(&self, [x, y]: Place) -> bool {
        let within = |at: f32, length: u32| (-0.5..=length as f32).contains(&at);
        within(x, self.size.width) && within(y, self.size.height)
    }
}

fn distance_px(a: Place, b: Place) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}
