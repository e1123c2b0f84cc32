//! How well a tracker follows points of sprite clips, whose true paths are known.

use kinvert_base::Quiet;
use kinvert_metrics::Tracker;
use kinvert_metrics::tracks::Place;
use kinvert_video::Clip;
use kinvert_world::{Background, FPS, FRAMES, Motion, SIZE, Scene};

/// What one kind of points came to.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Points that could be followed for at least one frame.
    pub started: usize,
    /// Points that were followed for as long as they could be.
    pub kept: usize,
    /// Distances from the truth in pixels, of every point in every frame in which it counts as seen.
    pub errors_px: Vec<f64>,
}

impl Score {
    pub fn kept_share(&self) -> f64 {
        self.kept as f64 / self.started as f64
    }

    pub fn mean_px(&self) -> f64 {
        self.errors_px.iter().sum::<f64>() / self.errors_px.len() as f64
    }

    /// Takes in a point that can be seen in the frames before `end`, given its error in each.
    fn count(&mut self, end: usize, visible: &[bool], error_px: impl Fn(usize) -> f64) {
        if end > 1 {
            self.started += 1;
            self.kept += usize::from(visible[end - 1]);
            let seen = (1..end).filter(|&frame| visible[frame]);
            self.errors_px.extend(seen.map(error_px));
        }
    }

    fn add(&mut self, other: Self) {
        self.started += other.started;
        self.kept += other.kept;
        self.errors_px.extend(other.errors_px);
    }
}

/// Scores of one clip or of many.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Points on the sprite.
    pub sprite: Score,
    /// Points on a background at rest, until the sprite comes near.
    pub resting: Score,
    /// Points on a pattern that pans, until the sprite or the frame's border comes near.
    pub panning: Score,
    /// Points of the background that the sprite covers.
    pub covered: usize,
    /// Those of them that are given up.
    pub given_up: usize,
}

impl Scores {
    pub fn add(&mut self, other: Self) {
        self.sprite.add(other.sprite);
        self.resting.add(other.resting);
        self.panning.add(other.panning);
        self.covered += other.covered;
        self.given_up += other.given_up;
    }
}

/// The scene of a seed with a motion and a background. Patterns pan for even seeds.
pub fn scene(motion: Motion, background: Background, seed: u64) -> Scene {
    let mut scene = Scene::random_with_motion(motion, seed);
    scene.look.background = background;
    scene.pan_px = [0.0; 2];
    if background.is_patterned() && seed.is_multiple_of(2) {
        let (sin, cos) = (2.4 * seed as f64).sin_cos();
        let speed = 0.6 + 0.28 * (seed % 6) as f64; // 0.6 to 2 in the world
        scene.pan_px = [speed * cos, speed * sin];
    }
    scene
}

/// Tracks a point in the middle of every square of two by two pixels.
pub fn score(tracker: &dyn Tracker, scene: &Scene) -> Scores {
    let clip = Clip::new(scene.render(), f64::from(FPS)).unwrap();
    let starts: Vec<Place> = (0..SIZE / 2)
        .flat_map(|row| (0..SIZE / 2).map(move |column| [column, row]))
        .map(|place| place.map(|index| 2.0 * index as f32 + 0.5))
        .collect();
    let tracks = tracker.track(&clip, &starts, &mut Quiet).unwrap();
    let mut scores = Scores::default();
    for (track, &start) in starts.iter().enumerate() {
        let start = from_corner(start);
        let (found, visible) = (tracks.places(track), tracks.visible(track));
        let error_px = |frame: usize, truth: [f64; 2]| {
            let [x, y] = from_corner(found[frame]);
            (x - truth[0]).hypot(y - truth[1])
        };
        let outside_px = outside_px(scene, 0, start);
        if outside_px < -0.5 {
            scores.sprite.count(FRAMES, visible, |frame| {
                error_px(frame, with_sprite(scene, start, frame))
            });
        } else if outside_px > 2.0 {
            let end = end_behind(scene, start);
            let score = match scene.pan_px {
                [0.0, 0.0] => &mut scores.resting,
                _ => &mut scores.panning,
            };
            score.count(end, visible, |frame| {
                error_px(frame, with_pattern(scene, start, frame))
            });
            if let Some(frame) = (1..FRAMES).find(|&frame| is_covered(scene, start, frame)) {
                scores.covered += 1;
                scores.given_up += usize::from(visible[frame..].contains(&false));
            }
        }
    }
    scores
}

/// Scenes are measured from the frame's corner, tracks from the centre of the first pixel.
fn from_corner(place: Place) -> [f64; 2] {
    place.map(|coordinate| f64::from(coordinate) + 0.5)
}

/// The first frame in which a point of the background is no longer seen well, or the number of frames.
fn end_behind(scene: &Scene, start: [f64; 2]) -> usize {
    let hidden = |frame: &usize| {
        let place = with_pattern(scene, start, *frame);
        let inside = 1.0..f64::from(SIZE) - 1.0;
        outside_px(scene, *frame, place) < 1.5 || !place.iter().all(|x| inside.contains(x))
    };
    (1..FRAMES).find(hidden).unwrap_or(FRAMES)
}

fn is_covered(scene: &Scene, start: [f64; 2], frame: usize) -> bool {
    outside_px(scene, frame, with_pattern(scene, start, frame)) < -1.0
}

/// Distance of a place from the sprite's outline; negative on the sprite.
fn outside_px(scene: &Scene, frame: usize, [x, y]: [f64; 2]) -> f64 {
    let [centre_x, centre_y] = scene.centre_px(frame);
    let radius = scene.radius_at(time_of(frame));
    let shape = scene.look.shape;
    shape.signed_distance(x - centre_x, y - centre_y, radius)
}

/// Where a point of the sprite is: it moves with the centre, and away from it as the sprite grows.
fn with_sprite(scene: &Scene, start: [f64; 2], frame: usize) -> [f64; 2] {
    let growth = scene.radius_at(time_of(frame)) / scene.radius_at(0.0);
    let (first, now) = (scene.centre_px(0), scene.centre_px(frame));
    [0, 1].map(|axis| now[axis] + growth * (start[axis] - first[axis]))
}

/// Where a point of the background is.
fn with_pattern(scene: &Scene, start: [f64; 2], frame: usize) -> [f64; 2] {
    [0, 1].map(|axis| start[axis] + scene.pan_px[axis] * frame as f64)
}

fn time_of(frame: usize) -> f64 {
    frame as f64 / (FRAMES - 1) as f64
}
