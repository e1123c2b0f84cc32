//! How much of a clip the autoencoder keeps.

use image::RgbImage;
use kinvert::Clip;
use kinvert::Quiet;
use kinvert_base::Progress;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_world::{FPS, SIZE, Scene};
use serde::Serialize;

use super::{Mean, Settings, Subject, stop_if_asked};
use crate::{Error, held_out_scene};

/// How far the pixels that belong to the sprite reach beyond what it covers: its edge is where an autoencoder errs.
const MARGIN_PX: i64 = 2;

/// Peak signal-to-noise ratios of what comes out of the autoencoder against what went in, in decibels: frames of 8 bits, the
/// mean of the posterior, one value for each clip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Vae {
    /// Of all pixels.
    pub psnr_db: Mean,
    /// Of the pixels that the sprite covers, and those up to 2 pixels from them.
    pub sprite_psnr_db: Mean,
}

pub(super) fn measure<B: TrackingBackend>(
    subject: &Subject<B>,
    settings: &Settings,
    progress: &mut dyn Progress,
) -> Result<Vae, Error> {
    let (mut whole, mut sprite) = (Vec::new(), Vec::new());
    progress.start("vae", settings.clips);
    for index in 0..settings.clips {
        stop_if_asked(progress)?;
        let scene = held_out_scene(index as u64);
        let frames = scene.render();
        let kept = through_vae(subject, &frames)?;
        let everything = vec![vec![true; (SIZE * SIZE) as usize]; frames.len()];
        whole.push(psnr_db(&frames, &kept, &everything));
        sprite.push(psnr_db(&frames, &kept, &sprite_region(&scene)));
        progress.advance(index + 1, "");
    }
    progress.finish();
    Ok(Vae {
        psnr_db: Mean::of(whole)?,
        sprite_psnr_db: Mean::of(sprite)?,
    })
}

/// Frames as they come out of the autoencoder.
pub(super) fn through_vae<B: TrackingBackend>(
    subject: &Subject<B>,
    frames: &[RgbImage],
) -> Result<Vec<RgbImage>, Error> {
    let fps = f64::from(FPS);
    let clip = Clip::new(frames.to_vec(), fps)?;
    let latents = subject.pipeline.encode_clip(&clip, &mut Quiet)?;
    let kept = subject.pipeline.decode_latents(latents, fps, &mut Quiet)?;
    Ok(kept.frames().to_vec())
}

/// For each frame and pixel, row by row, whether the sprite covers some of it or of a pixel near by.
fn sprite_region(scene: &Scene) -> Vec<Vec<bool>> {
    let offsets =
        || (-MARGIN_PX..=MARGIN_PX).flat_map(|dy| (-MARGIN_PX..=MARGIN_PX).map(move |dx| (dx, dy)));
    let near: Vec<(i64, i64)> = offsets()
        .filter(|(dx, dy)| dx * dx + dy * dy <= MARGIN_PX * MARGIN_PX)
        .collect();
    let side = i64::from(SIZE);
    let frames = 0..kinvert_world::FRAMES;
    frames
        .map(|frame| {
            let coverage = scene.coverage(frame);
            let is_covered = |x: i64, y: i64| {
                let is_inside = (0..side).contains(&x) && (0..side).contains(&y);
                is_inside && coverage[(y * side + x) as usize] > 0.0
            };
            let pixels = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
            pixels
                .map(|(x, y)| near.iter().any(|(dx, dy)| is_covered(x + dx, y + dy)))
                .collect()
        })
        .collect()
}

/// `10 log10 (255² / mean squared error)` over the chosen pixels of all frames. An error smaller than one level in one
/// value counts as that, so that the result is finite.
fn psnr_db(expected: &[RgbImage], found: &[RgbImage], chosen: &[Vec<bool>]) -> f64 {
    let (mut squares, mut values) = (0.0, 0.0);
    for ((expected, found), chosen) in expected.iter().zip(found).zip(chosen) {
        let pixels = expected.pixels().zip(found.pixels()).zip(chosen);
        for ((expected, found), _) in pixels.filter(|(_, is_chosen)| **is_chosen) {
            for (a, b) in expected.0.iter().zip(found.0) {
                squares += f64::from(a.abs_diff(b)).powi(2);
                values += 1.0;
            }
        }
    }
    10.0 * (255.0_f64.powi(2) * values / f64::max(squares, 1.0)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn an_error_of_one_level_everywhere_has_the_psnr_of_the_formula() {
        let frames = [10, 11].map(|level| vec![RgbImage::from_pixel(4, 4, Rgb([level; 3])); 3]);
        let all = vec![vec![true; 16]; 3];
        let found = psnr_db(&frames[0], &frames[1], &all);
        assert!((found - 20.0 * 255.0_f64.log10()).abs() < 1e-12, "{found}");
        assert!(psnr_db(&frames[0], &frames[0], &all).is_finite());
    }

    #[test]
    fn only_the_chosen_pixels_count() {
        let expected = vec![RgbImage::from_pixel(2, 1, Rgb([0; 3]))];
        let mut found = expected.clone();
        found[0].put_pixel(1, 0, Rgb([255; 3]));
        let psnr = |chosen| psnr_db(&expected, &found, &[chosen]);
        assert!((psnr(vec![false, true])).abs() < 1e-12);
        assert!((psnr(vec![true, true]) - 10.0 * 2.0_f64.log10()).abs() < 1e-12);
        assert!(psnr(vec![true, false]) > 50.0);
    }

    #[test]
    fn the_region_of_a_sprite_is_a_little_larger_than_the_sprite() {
        for index in 0..10 {
            let scene = held_out_scene(index);
            let region = sprite_region(&scene);
            for (frame, region) in region.iter().enumerate() {
                let coverage = scene.coverage(frame);
                let covered = coverage.iter().filter(|share| **share > 0.0).count();
                let inside = region.iter().filter(|is_inside| **is_inside).count();
                assert!(covered < inside && inside < 4 * covered, "{index}, {frame}");
                let misses = |(share, is_inside): (&f64, &bool)| *share > 0.0 && !is_inside;
                assert!(!coverage.iter().zip(region).any(misses));
            }
        }
    }
}
