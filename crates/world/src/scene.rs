//! A whole clip as numbers, and its frames.
//!
//! A scene is a function of place and time, so it can be rendered with any number of frames and at any size;
//! lengths in it are pixels of a 64-pixel frame. Pixel (column i, row j) is sampled at (i + ½, j + ½); position
//! [−1, 1]² is mapped to the frame by `(position + 1) · size / 2`, which puts −1 at the outer edge of the first
//! pixel; values are rounded to the nearest of 256 levels. The recorded clip of the fixtures agrees to one level.

use image::{Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::look::mix;
use crate::path::Point;
use crate::{Background, Colour, Error, Look, Motion, Path, Shape};

/// Frames of a clip.
pub const FRAMES: usize = 16;
/// Width and height of a frame, in pixels.
pub const SIZE: u32 = 64;
/// Frames per second.
pub const FPS: u32 = 8;

/// Most frames [`Scene::render_at`] makes.
pub const MAX_FRAMES: usize = 256;
/// Largest width and height [`Scene::render_at`] makes, in pixels.
pub const MAX_SIZE: u32 = 1024;

/// One clip of the sprite world: what it shows and how that moves.
///
/// ```
/// use kinvert_world::{Motion, Scene};
///
/// let scene = Scene::random_with_motion(Motion::Bounce, 7);
/// let frames = scene.render();
/// assert_eq!(frames.len(), 16);
/// assert_eq!(frames[0].dimensions(), (64, 64));
///
/// let [x, y] = scene.centre_px(0);
/// assert!((8.0..56.0).contains(&x) && y == 48.0); // a bounce starts on the floor
/// println!("{}", scene.look.caption());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// What the caption says.
    pub look: Look,
    /// Where the sprite's centre goes.
    pub path: Path,
    /// Size of the sprite in the first and in the last frame, in pixels; linear in between.
    pub radius_px: [f64; 2],
    /// How far the background's pattern moves from one of the 16 frames to the next, in pixels.
    pub pan_px: Point,
}

impl Scene {
    /// Draws a scene. The same seed gives the same scene.
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let motion = Motion::random(&mut rng);
        Self::draw(motion, &mut rng)
    }

    /// Draws a scene with a given motion. Scenes of one seed differ in their path only, whatever the motion; if
    /// it is the one of [`Scene::random`], they are the same.
    pub fn random_with_motion(motion: Motion, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Motion::random(&mut rng); // as `random` does, so that what follows is drawn alike
        Self::draw(motion, &mut rng)
    }

    /// The path is drawn last: motions take different numbers of draws.
    fn draw(motion: Motion, rng: &mut impl Rng) -> Self {
        let look = Look {
            colour: Colour::ALL[rng.random_range(0..Colour::ALL.len())],
            shape: Shape::ALL[rng.random_range(0..Shape::ALL.len())],
            background: Background::ALL[rng.random_range(0..Background::ALL.len())],
        };
        let radius = rng.random_range(7.5..=11.5);
        let growth = if rng.random_bool(0.3) {
            rng.random_range(0.65..=1.5)
        } else {
            1.0
        };
        let pans = rng.random_bool(0.5);
        let speed = rng.random_range(0.6..=2.0);
        let (sin, cos) = rng.random_range(0.0..std::f64::consts::TAU).sin_cos();
        Self {
            look,
            radius_px: [radius, (radius * growth).min(14.0)],
            pan_px: if pans && look.background.is_patterned() {
                [speed * cos, speed * sin]
            } else {
                [0.0; 2]
            },
            path: Path::random(motion, rng),
        }
    }

    /// The same scene with another look. A pan that a plain background would not show is dropped.
    pub fn with_look(self, look: Look) -> Self {
        Self {
            look,
            pan_px: match look.background.is_patterned() {
                true => self.pan_px,
                false => [0.0; 2],
            },
            ..self
        }
    }

    /// The true centre of the sprite in one of the 16 frames, in pixels from the frame's upper left corner. A frame
    /// after the last has the time at which it would come.
    pub fn centre_px(&self, frame: usize) -> Point {
        self.centre_at(time_of(frame, FRAMES), SIZE)
    }

    /// The true centre in each of the 16 frames; see [`centre_px`](Self::centre_px).
    pub fn centre_path(&self) -> Vec<Point> {
        (0..FRAMES).map(|frame| self.centre_px(frame)).collect()
    }

    /// The true centre at time `t` in 0..1, in pixels of a frame of `size` pixels a side.
    pub fn centre_at(&self, t: f64, size: u32) -> Point {
        let half = f64::from(size) / 2.0;
        self.path
            .position(t)
            .map(|coordinate| (coordinate + 1.0) * half)
    }

    /// Size of the sprite at time `t` in 0..1, in pixels of a 64-pixel frame.
    pub fn radius_at(&self, t: f64) -> f64 {
        let [first, last] = self.radius_px;
        first + t * (last - first)
    }

    /// How much of each pixel of one of the 16 frames the sprite covers, in 0..1, row by row: 64×64 values.
    pub fn coverage(&self, frame: usize) -> Vec<f64> {
        let coverage = self.coverage_at(time_of(frame, FRAMES), SIZE);
        let centre_of = |pixel| f64::from(pixel) + 0.5;
        let row = |y| (0..SIZE).map(move |x| [centre_of(x), centre_of(y)]);
        let pixels = (0..SIZE).flat_map(row);
        pixels.map(|[x, y]| coverage(x, y)).collect()
    }

    /// The share of the pixel centred at (x, y) that the sprite covers at time `t`, in a frame of `size` pixels a side.
    fn coverage_at(&self, t: f64, size: u32) -> impl Fn(f64, f64) -> f64 + use<> {
        let shape = self.look.shape;
        let radius = self.radius_at(t) * f64::from(size) / f64::from(SIZE);
        let [centre_x, centre_y] = self.centre_at(t, size);
        move |x, y| shape.coverage(x - centre_x, y - centre_y, radius)
    }

    /// The clip as the model sees it: 16 frames of 64×64 pixels.
    pub fn render(&self) -> Vec<RgbImage> {
        self.render_frames(FRAMES, SIZE)
    }

    /// One of the 16 frames of [`render`](Self::render).
    pub fn render_frame_of(&self, frame: usize) -> RgbImage {
        self.render_frame(time_of(frame, FRAMES), SIZE)
    }

    /// The same two seconds in `frames` frames of `size` pixels a side.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless there are 1 to [`MAX_FRAMES`] frames of 1 to [`MAX_SIZE`] pixels a side.
    pub fn render_at(&self, frames: usize, size: u32) -> Result<Vec<RgbImage>, Error> {
        check_range("frames", frames, MAX_FRAMES)?;
        check_range("pixels a side", size as usize, MAX_SIZE as usize)?;
        Ok(self.render_frames(frames, size))
    }

    fn render_frames(&self, frames: usize, size: u32) -> Vec<RgbImage> {
        (0..frames)
            .map(|frame| self.render_frame(time_of(frame, frames), size))
            .collect()
    }

    /// The picture at time `t` in 0..1. Edges are one pixel wide at any size.
    fn render_frame(&self, t: f64, size: u32) -> RgbImage {
        let Look {
            colour, background, ..
        } = self.look;
        let scale = f64::from(size) / f64::from(SIZE);
        let coverage = self.coverage_at(t, size);
        let [pan_x, pan_y] = self.pan_px.map(|pan| pan * t * (FRAMES - 1) as f64);
        RgbImage::from_fn(size, size, |column, row| {
            let (x, y) = (f64::from(column) + 0.5, f64::from(row) + 0.5);
            let behind = background.rgb_at(x / scale - pan_x, y / scale - pan_y);
            Rgb(mix(behind, colour.rgb(), coverage(x, y))
                .map(|value| (value * 255.0).round() as u8))
        })
    }
}

/// Time of a frame, 0 at the first and 1 at the last.
fn time_of(frame: usize, frames: usize) -> f64 {
    frame as f64 / (frames - 1).max(1) as f64
}

fn check_range(what: &'static str, found: usize, max: usize) -> Result<(), Error> {
    if (1..=max).contains(&found) {
        Ok(())
    } else {
        Err(Error::OutOfRange {
            what,
            found,
            min: 1,
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_look_with_any_motion() {
        for seed in 0..50 {
            let scene = Scene::random(seed);
            assert_eq!(scene, Scene::random_with_motion(scene.path.motion(), seed));
            for motion in Motion::ALL {
                let other = Scene::random_with_motion(motion, seed);
                assert_eq!(other.path.motion(), motion);
                assert_eq!(
                    Scene {
                        path: scene.path,
                        ..other
                    },
                    scene
                );
            }
        }
    }

    #[test]
    fn sizes_and_pans_are_as_frequent_as_the_world_says() {
        let scenes: Vec<Scene> = (0..4000).map(Scene::random).collect();
        let resized = |scene: &&Scene| scene.radius_px[0] != scene.radius_px[1];
        let share = scenes.iter().filter(resized).count() as f64 / scenes.len() as f64;
        assert!((share - 0.3).abs() < 0.03, "{share} change size");

        let (patterned, plain): (Vec<&Scene>, Vec<&Scene>) = scenes
            .iter()
            .partition(|scene| scene.look.background.is_patterned());
        assert!(plain.iter().all(|scene| scene.pan_px == [0.0; 2]));
        let speeds: Vec<f64> = patterned
            .iter()
            .map(|scene| scene.pan_px[0].hypot(scene.pan_px[1]))
            .filter(|speed| *speed > 0.0)
            .collect();
        let share = speeds.len() as f64 / patterned.len() as f64;
        assert!((share - 0.5).abs() < 0.05, "{share} pan");
        assert!(speeds.iter().all(|speed| (0.599..2.001).contains(speed)));
    }

    #[test]
    fn other_sizes_and_frame_counts_show_the_same_scene() {
        let scene = Scene::random_with_motion(Motion::Arc, 3);
        let small = scene.render();
        let large = scene.render_at(31, 128).unwrap(); // every other frame is one of the 16
        for (frame, image) in small.iter().enumerate() {
            let reduced = image::imageops::thumbnail(&large[2 * frame], SIZE, SIZE);
            let difference: f64 = image
                .as_raw()
                .iter()
                .zip(reduced.as_raw())
                .map(|(a, b)| f64::from(a.abs_diff(*b)))
                .sum::<f64>()
                / image.as_raw().len() as f64;
            assert!(
                difference < 1.5,
                "frame {frame}: mean difference {difference}"
            );
        }
        assert_eq!(scene.render_at(1, 64).unwrap()[0], small[0]);
    }

    #[test]
    fn coverage_is_what_is_painted() {
        for seed in 0..20 {
            let scene = Scene {
                look: Look {
                    colour: Colour::White,
                    background: Background::Black,
                    ..Scene::random(seed).look
                },
                ..Scene::random(seed)
            };
            let [black, white] = [Background::Black.colours()[0][0], Colour::White.rgb()[0]];
            for (frame, picture) in scene.render().iter().enumerate() {
                let coverage = scene.coverage(frame);
                assert_eq!(coverage.len(), picture.pixels().len());
                for (share, pixel) in coverage.iter().zip(picture.pixels()) {
                    let expected = (black + share * (white - black)) * 255.0;
                    let found = f64::from(pixel.0[0]);
                    assert!((found - expected).abs() <= 0.5 + 1e-9, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn clips_without_frames_or_beyond_bounds_are_refused() {
        let scene = Scene::random(0);
        for (frames, size) in [(0, 64), (MAX_FRAMES + 1, 64), (16, 0), (16, MAX_SIZE + 1)] {
            let error = scene.render_at(frames, size).unwrap_err();
            assert!(matches!(error, Error::OutOfRange { .. }), "{frames} {size}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_scene_survives_json() {
        for seed in 0..20 {
            let scene = Scene::random(seed);
            let json = serde_json::to_string(&scene).unwrap();
            let read: Scene = serde_json::from_str(&json).unwrap();
            assert_eq!(read.look, scene.look);
            assert_eq!(read.render(), scene.render());
        }
        assert!(serde_json::from_str::<Scene>(r#"{"look":1}"#).is_err());
    }
}
