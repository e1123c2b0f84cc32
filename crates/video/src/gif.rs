//! Writing GIF.

use std::collections::HashMap;
use std::path::Path;

use gif::{Encoder, Frame, Repeat};
use image::RgbImage;
use rayon::prelude::*;

use crate::clip::Size;
use crate::{Clip, Error};

/// The shortest time that browsers honour is two hundredths of a second.
const MAX_GIF_FPS: f64 = 50.0;

/// How thoroughly the colours of a frame are sampled where it has more than 256: 1 is every pixel, 30 the
/// fastest. Large frames have pixels to spare.
fn sampling(size: Size) -> i32 {
    if size.pixels() <= 1 << 17 { 1 } else { 10 }
}

/// Writes a clip as a GIF that plays forever.
///
/// A clip of up to 256 colours is stored exactly; otherwise each frame has a palette of its own, exact for
/// up to 256 colours and chosen by a neural quantiser for more. Times are whole hundredths of a second, spread such that
/// the clip keeps its duration; above 50 frames per second, frames are left out.
///
/// # Errors
/// If a side is above 65535, or the file cannot be written.
pub fn write_gif(clip: &Clip, path: &Path) -> Result<(), Error> {
    let (size, limit) = (
        clip.size(),
        Size {
            width: u16::MAX.into(),
            height: u16::MAX.into(),
        },
    );
    let (Ok(width), Ok(height)) = (u16::try_from(size.width), u16::try_from(size.height)) else {
        return Err(Error::TooLargeToWrite {
            path: path.to_owned(),
            format: "GIF",
            size,
            limit,
        });
    };
    let fps = clip.fps().min(MAX_GIF_FPS);
    let count = ((clip.duration_s() * fps).round() as usize).max(1);
    let shown: Vec<&RgbImage> = (0..count)
        .map(|i| &clip.frames()[clip.index_at(i as f64 / fps)])
        .collect();

    let shared = Palette::of(&shown);
    let mut frames: Vec<Frame<'_>> = shown
        .par_iter()
        .map(|image| match &shared {
            Some(palette) => {
                Frame::from_indexed_pixels(width, height, palette.indices(image), None)
            }
            None => Frame::from_rgb_speed(width, height, image.as_raw(), sampling(size)),
        })
        .collect();
    for (i, frame) in frames.iter_mut().enumerate() {
        let hundredths = |i: usize| (i as f64 * 100.0 / fps).round();
        frame.delay = (hundredths(i + 1) - hundredths(i)) as u16; // saturates at eleven minutes
    }

    let mut bytes = Vec::new();
    let fault = |frame| {
        move |source: gif::EncodingError| Error::Encoding {
            path: path.to_owned(),
            format: "GIF",
            frame,
            source: Box::new(source),
        }
    };
    let palette = shared.as_ref().map_or(&[][..], |palette| &palette.rgb);
    let mut encoder = Encoder::new(&mut bytes, width, height, palette).map_err(fault(0))?;
    encoder.set_repeat(Repeat::Infinite).map_err(fault(0))?;
    for (i, frame) in frames.iter().enumerate() {
        encoder.write_frame(frame).map_err(fault(i))?;
    }
    drop(encoder); // writes the end of the file
    kinvert_base::write_file(path, &bytes).map_err(Error::io("write", path))
}

/// All colours of a clip.
struct Palette {
    rgb: Vec<u8>,
    index: HashMap<[u8; 3], u8>,
}

impl Palette {
    /// `None` if there are more than 256.
    fn of(frames: &[&RgbImage]) -> Option<Self> {
        let mut palette = Self {
            rgb: Vec::new(),
            index: HashMap::new(),
        };
        for pixel in frames.iter().flat_map(|frame| frame.pixels()) {
            if !palette.index.contains_key(&pixel.0) {
                let index = u8::try_from(palette.index.len()).ok()?;
                palette.index.insert(pixel.0, index);
                palette.rgb.extend_from_slice(&pixel.0);
            }
        }
        Some(palette)
    }

    fn indices(&self, image: &RgbImage) -> Vec<u8> {
        image.pixels().map(|pixel| self.index[&pixel.0]).collect()
    }
}
