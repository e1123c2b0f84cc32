//! The path of the sprite in a result against that in its reference.
//!
//! In clips of the sprite world one object moves, and where it is can be told from the pixels without a tracker. That
//! gives two numbers on an absolute scale: the correlation of the two paths, and their distance in pixels. They
//! mean nothing for other clips, so both clips are first held against what the world looks like.

use kinvert_video::{Clip, Fit};
use kinvert_world::track::{
    Palette, centroid_path, end_point_error_px, path_correlation, recognise,
};
use kinvert_world::{Point, SIZE};

use super::pair::{between, moments};
use crate::record::ModelStamp;
use crate::{Error, Record};

/// A pixel is explained if it is this near, in RGB values of 0..1, to a mixture of the recognised colours.
const NEAR: f64 = 0.12;

/// Share of pixels that must be explained. Of fifteen clips that the built-in model made of five looks the worst has
/// 0.94; a street scene has 0.88.
const LEAST_EXPLAINED: f64 = 0.9;

/// Share of all that looks like the sprite's colour that must lie around the sprite's place: a clip that
/// happens to have the palette's colours, such as one without saturation, has them all over the frame. The worst
/// of the clips above has 0.92, the street scene 0.36.
const LEAST_GATHERED: f64 = 0.75;

/// How far from its place a sprite reaches at most, in pixels of a 64-pixel frame.
const REACH_PX: f64 = 18.0;

/// How a result's sprite follows its reference's. Places are in pixels of a 64-pixel frame, whatever the clips'
/// sizes are.
#[derive(Clone, Debug, PartialEq)]
pub struct SpriteTruth {
    /// See [`path_correlation`]: 1 for the same path up to its place and scale, 0 where the result's sprite is not
    /// found in half of the frames. Absent if a clip is not of the sprite world.
    pub path_correlation: Option<f64>,
    /// Mean distance of the two sprites over the frames in which both are found. Absent if there is none, or a clip
    /// is not of the sprite world.
    pub end_point_error_px: Option<f64>,
    /// The sprite's place in each frame that was compared; empty if a clip is not of the sprite world.
    pub reference_path: Vec<Option<Point>>,
    /// The same of the result.
    pub result_path: Vec<Option<Point>>,
    /// What makes the values doubtful, or why they are absent.
    pub warnings: Vec<String>,
}

impl SpriteTruth {
    /// Compares two clips. As for tracks, the path of the longer clip is resampled linearly in time to the frames of
    /// the shorter.
    ///
    /// Both clips must [look like the sprite world](looks_like_sprites); only the sprite may be missing from
    /// the result: that is a result which does not follow its reference, and leaving such results out would
    /// flatter the rest.
    ///
    /// # Errors
    /// If frames cannot be scaled to 64 pixels.
    pub fn between(reference: &Clip, result: &Clip) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let of_reference = Sighting::of(reference)?;
        let of_result = Sighting::of(result)?;
        if let Some(reason) = of_reference.not_sprites(true) {
            warnings.push(format!(
                "the reference is no clip of the sprite world: {reason}"
            ));
        }
        if let Some(reason) = of_result.not_sprites(false) {
            warnings.push(format!(
                "the result is no clip of the sprite world: {reason}"
            ));
        }
        if !warnings.is_empty() {
            return Ok(Self {
                path_correlation: None,
                end_point_error_px: None,
                reference_path: Vec::new(),
                result_path: Vec::new(),
                warnings,
            });
        }

        let frames = reference.len().min(result.len());
        if reference.len() != result.len() {
            warnings.push(format!(
                "the reference has {} frames and the result {}: the path of the longer was resampled in time to that \
                 of the shorter",
                reference.len(),
                result.len()
            ));
        }
        if (reference.fps() - result.fps()).abs() > 1e-3 * reference.fps() {
            warnings.push(format!(
                "the reference plays at {} frames per second and the result at {}; they are compared frame by frame",
                reference.fps(),
                result.fps()
            ));
        }
        let reference_path = resampled(&of_reference.path, frames);
        let result_path = resampled(&of_result.path, frames);
        let found = result_path.iter().flatten().count();
        if found < frames {
            warnings.push(format!(
                "the result's sprite is found in {found} of {frames} frames"
            ));
        }
        Ok(Self {
            path_correlation: Some(path_correlation(&reference_path, &result_path)),
            end_point_error_px: end_point_error_px(&reference_path, &result_path),
            reference_path,
            result_path,
            warnings,
        })
    }

    /// The records `path_correlation` and `end_point_error`, the latter in pixels of a 64-pixel frame.
    pub fn into_records(self) -> [Record; 2] {
        let found = |path: &[Option<Point>]| path.iter().flatten().count();
        let record = |measure: &str, value: Option<f64>| {
            let stamp = ModelStamp {
                name: "sprite_centroid".into(),
                sha256: None,
            };
            let mut record = Record::new(
                measure,
                value,
                stamp,
                "centroid of the sprite in frames of 64x64 pixels",
            )
            .with_samples("frames", self.reference_path.len())
            .with_samples("reference_frames_with_sprite", found(&self.reference_path))
            .with_samples("result_frames_with_sprite", found(&self.result_path));
            record.warnings.clone_from(&self.warnings);
            record
        };
        [
            record("path_correlation", self.path_correlation),
            record("end_point_error", self.end_point_error_px),
        ]
    }
}

/// Whether a clip is one of the sprite world, rendered or generated: square frames in which nearly every pixel is a
/// mixture of one background's and one sprite's colours, with a sprite in at least half of them and its colour
/// nowhere else.
///
/// # Errors
/// If frames cannot be scaled to 64 pixels.
pub fn looks_like_sprites(clip: &Clip) -> Result<bool, Error> {
    Ok(Sighting::of(clip)?.not_sprites(true).is_none())
}

/// What a clip has of the sprite world.
struct Sighting {
    square: bool,
    /// Share of pixels that the recognised colours explain.
    explained: f64,
    /// Share of the sprite's colour around its place; 1 where there is none.
    gathered: f64,
    path: Vec<Option<Point>>,
}

impl Sighting {
    fn of(clip: &Clip) -> Result<Self, Error> {
        let square = clip.width() == clip.height();
        if !square {
            return Ok(Self {
                square,
                explained: 0.0,
                gathered: 0.0,
                path: Vec::new(),
            });
        }
        let clip = clip.resized(SIZE, SIZE, Fit::Stretch)?;
        let look = recognise(clip.frames());
        let palette = Palette::new(look.colour, look.background).adapted(clip.frames());
        let path = centroid_path(clip.frames(), Some(look));

        let (mut explained, mut around, mut all) = (0, 0.0, 0.0);
        for (frame, place) in clip.frames().iter().zip(&path) {
            let near = |pixel: &&image::Rgb<u8>| distance(&palette, pixel.0) <= NEAR;
            explained += frame.pixels().filter(near).count();
            for (index, weight) in palette.foreground(frame).into_iter().enumerate() {
                let (row, column) = (index / SIZE as usize, index % SIZE as usize);
                let within = |[x, y]: Point| {
                    let (x, y) = (column as f64 + 0.5 - x, row as f64 + 0.5 - y);
                    x.abs().max(y.abs()) <= REACH_PX
                };
                all += weight;
                around += if place.is_some_and(within) {
                    weight
                } else {
                    0.0
                };
            }
        }
        let pixels = clip.len() * (SIZE * SIZE) as usize;
        Ok(Self {
            square,
            explained: explained as f64 / pixels as f64,
            gathered: if all > 0.0 { around / all } else { 1.0 },
            path,
        })
    }

    /// Why the clip is not of the sprite world, if so.
    fn not_sprites(&self, with_sprite: bool) -> Option<String> {
        if !self.square {
            return Some("its frames are not square".into());
        }
        if self.explained < LEAST_EXPLAINED {
            return Some(format!(
                "its colours explain {:.0} % of the pixels, expected {:.0} %",
                100.0 * self.explained,
                100.0 * LEAST_EXPLAINED
            ));
        }
        let found = self.path.iter().flatten().count();
        let enough = 2 * found >= self.path.len();
        if with_sprite && !enough {
            return Some(format!(
                "a sprite is found in {found} of {} frames",
                self.path.len()
            ));
        }
        if enough && self.gathered < LEAST_GATHERED {
            return Some(format!(
                "{:.0} % of the sprite's colour is around its place, expected {:.0} %",
                100.0 * self.gathered,
                100.0 * LEAST_GATHERED
            ));
        }
        None
    }
}

/// Distance of a pixel from the nearest mixture of the palette's colours.
fn distance(palette: &Palette, pixel: [u8; 3]) -> f64 {
    let sprite = palette.coverage(pixel);
    let [first, second] = palette.background;
    // What the sprite's share leaves, and the line that the background's share runs along.
    let rest: [f64; 3] = std::array::from_fn(|i| {
        f64::from(pixel[i]) / 255.0 - sprite * palette.sprite[i] - (1.0 - sprite) * first[i]
    });
    let along: [f64; 3] = std::array::from_fn(|i| (1.0 - sprite) * (second[i] - first[i]));
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let length = dot(along, along);
    let share = if length > 0.0 {
        (dot(rest, along) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let off: [f64; 3] = std::array::from_fn(|i| rest[i] - share * along[i]);
    dot(off, off).sqrt()
}

/// The path at `frames` times spread evenly over it, unknown where either frame around is.
fn resampled(path: &[Option<Point>], frames: usize) -> Vec<Option<Point>> {
    moments(path.len(), frames)
        .into_iter()
        .map(|(before, after, share)| {
            let (a, b) = (path[before]?, path[after]?);
            Some([0, 1].map(|axis| between(a[axis], b[axis], share)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};
    use kinvert_world::Scene;

    fn clip(frames: Vec<RgbImage>) -> Clip {
        Clip::new(frames, 8.0).unwrap()
    }

    /// A picture with structure at all scales, as photographs have, that slides by.
    fn natural(saturation: f64, seed: u64) -> Clip {
        let wave = |x: f64, y: f64, channel: u64| -> f64 {
            let octave = |n: u64| {
                let (k, phase) = (
                    1.7_f64.powi(n as i32) * 0.12,
                    (seed * 7 + n * 3 + channel) as f64,
                );
                let angle = phase * 2.4;
                (k * (x * angle.cos() + y * angle.sin()) + phase).sin() / (n + 1) as f64
            };
            (0..5).map(octave).sum::<f64>() * 0.3
        };
        let frame = |t: u32| {
            RgbImage::from_fn(64, 64, |column, row| {
                let (x, y) = (f64::from(column + t), f64::from(row));
                let gray = 0.45 + wave(x, y, 0);
                Rgb([1, 2, 3].map(|channel| {
                    ((gray + saturation * wave(x, y, channel)) * 255.0).clamp(0.0, 255.0) as u8
                }))
            })
        };
        clip((0..4).map(frame).collect())
    }

    #[test]
    fn distances_from_the_palettes_mixtures() {
        let palette = Palette {
            sprite: [1.0, 0.0, 0.0],
            background: [[0.0; 3], [0.0, 0.0, 1.0]],
        };
        for (pixel, expected) in [
            ([255, 0, 0], 0.0),
            ([0, 0, 255], 0.0),
            ([51, 0, 102], 0.0),
            ([0, 255, 0], 1.0),
            ([51, 51, 51], 0.2),
        ] {
            let found = distance(&palette, pixel);
            assert!((found - expected).abs() < 1e-9, "{pixel:?}: {found}");
        }
    }

    #[test]
    fn every_rendered_scene_looks_like_sprites_at_any_size() {
        for seed in 0..30 {
            let scene = Scene::random(seed);
            let size = [64, 96, 48][seed as usize % 3];
            let clip = clip(scene.render_at(4, size).unwrap());
            assert!(looks_like_sprites(&clip).unwrap(), "{seed} {scene:?}");
        }
    }

    #[test]
    fn pictures_of_other_worlds_do_not() {
        for seed in 0..12 {
            for saturation in [0.0, 0.3, 1.0] {
                let clip = natural(saturation, seed);
                assert!(!looks_like_sprites(&clip).unwrap(), "{seed} {saturation}");
            }
        }
    }

    #[test]
    fn an_unknown_place_spreads_to_the_moments_around() {
        let path = [Some([0.0, 0.0]), None, Some([2.0, 4.0]), Some([3.0, 6.0])];
        assert_eq!(resampled(&path, 4), path);
        assert_eq!(
            resampled(&path, 3),
            [Some([0.0, 0.0]), None, Some([3.0, 6.0])]
        );
        assert_eq!(resampled(&path, 2), [Some([0.0, 0.0]), Some([3.0, 6.0])]);
    }
}
