//! Between clips of 8-bit RGB frames and tensors of pixels.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use image::{RgbImage, imageops};
use kinvert_video::Clip;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::motion::Array;

/// Height of the preview in a motion file, and how many frames it shows.
const PREVIEW_HEIGHT: u32 = 64;
const PREVIEW_FRAMES: usize = 4;

/// Most pixels of all frames of a clip together: 24 frames of 2880x1920. More is a mistyped number, and
/// is refused before memory is asked for.
const MAX_CLIP_PIXELS: usize = 1 << 27;

/// Refuses a clip that is beyond all measure.
///
/// # Errors
/// [`Error::Setting`].
pub fn check_size([width, height]: [usize; 2], frames: usize) -> Result<(), Error> {
    let pixels = [height, frames]
        .iter()
        .fold(width, |pixels, side| pixels.saturating_mul(*side));
    if (1..=MAX_CLIP_PIXELS).contains(&pixels) {
        return Ok(());
    }
    let found = format!("{width}x{height} for {frames} frames");
    Err(Error::setting(
        "size",
        found,
        format!("between 1 and {MAX_CLIP_PIXELS} pixels in all"),
    ))
}

/// The frames of a clip as `[1, 3, frames, height, width]` in -1..1.
pub fn to_tensor<B: Backend>(clip: &Clip, device: &B::Device) -> Tensor<B, 5> {
    let (frames, height, width) = (clip.len(), clip.height() as usize, clip.width() as usize);
    let plane = height * width;
    let mut values = vec![0.0_f32; 3 * frames * plane];
    for (index, frame) in clip.frames().iter().enumerate() {
        for (position, pixel) in frame.pixels().enumerate() {
            for channel in 0..3 {
                values[(channel * frames + index) * plane + position] =
                    f32::from(pixel.0[channel]) / 127.5 - 1.0;
            }
        }
    }
    Tensor::from_data(
        TensorData::new(values, [1, 3, frames, height, width]),
        device,
    )
}

/// A clip from `[1, 3, frames, height, width]` in -1..1; values beyond are cut off.
///
/// # Errors
/// [`Error::NotFinite`] if a value is no number.
pub fn to_clip<B: Backend>(pixels: Tensor<B, 5>, fps: f64) -> Result<Clip, Error> {
    let [_, _, frames, height, width] = pixels.dims();
    let values = crate::inversion::to_floats(pixels);
    if !values.iter().all(|value| value.is_finite()) {
        return Err(Error::NotFinite {
            what: "the generated clip",
            step: None,
        });
    }
    let plane = height * width;
    let byte = |value: f32| ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    let frame = |index: usize| {
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let position = y as usize * width + x as usize;
            image::Rgb(
                [0, 1, 2]
                    .map(|channel| byte(values[(channel * frames + index) * plane + position])),
            )
        })
    };
    Ok(Clip::new((0..frames).map(frame).collect(), fps)?)
}

/// SHA-256 over width, height and the bytes of all frames, hexadecimal.
pub fn sha256(clip: &Clip) -> String {
    let mut hasher = Sha256::new();
    hasher.update(clip.width().to_le_bytes());
    hasher.update(clip.height().to_le_bytes());
    for frame in clip.frames() {
        hasher.update(frame.as_raw());
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A few frames side by side, `[height, width, 3]`.
pub fn preview(clip: &Clip) -> Array<u8> {
    let count = clip.len().min(PREVIEW_FRAMES);
    let height = clip.height().min(PREVIEW_HEIGHT);
    let width = (clip.width() * height / clip.height()).max(1);
    let mut strip = RgbImage::new(width * count as u32, height);
    for slot in 0..count {
        let index = slot * (clip.len() - 1) / (count - 1).max(1);
        let small = imageops::thumbnail(&clip.frames()[index], width, height);
        imageops::replace(&mut strip, &small, i64::from(width) * slot as i64, 0);
    }
    Array {
        shape: vec![height as usize, strip.width() as usize, 3],
        values: strip.into_raw(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_memory_are_refused() {
        check_size([64, 48], 16).unwrap();
        for size in [[0, 64], [64, 0], [usize::MAX, usize::MAX], [32768, 32768]] {
            let message = check_size(size, 16).unwrap_err().to_string();
            assert!(message.starts_with("`size` is "), "{message}");
        }
    }
}
