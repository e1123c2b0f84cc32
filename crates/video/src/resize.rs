//! Changing the size of frames.

use std::borrow::Cow;

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use rayon::prelude::*;

use crate::clip::{Size, check_size};
use crate::{Clip, Error};

/// How frames meet a size of another aspect ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Fill the size and cut off what stands out, on both sides alike.
    Crop,
    /// Show all of the frame, with black bars on both sides.
    Pad,
    /// Ignore the aspect ratio.
    Stretch,
}

impl Clip {
    /// The clip with frames of `width`×`height` pixels; a copy if they have that size already.
    ///
    /// Scales with the Catmull-Rom cubic, widened when shrinking so that it does not alias; pixel centres lie
    /// at half-integers, as in Pillow's `BICUBIC` (whose cubic has the same parameter, -0.5).
    ///
    /// # Errors
    /// If a side is 0 or above 32768.
    pub fn resized(&self, width: u32, height: u32, fit: Fit) -> Result<Self, Error> {
        let size = Size { width, height };
        check_size(size)?;
        if size == self.size() {
            return Ok(self.clone());
        }
        let frames = self
            .frames()
            .par_iter()
            .map(|frame| resize(frame, size, fit))
            .collect();
        Self::new(frames, self.fps())
    }
}

/// One frame of another size.
pub(crate) fn resize(frame: &RgbImage, size: Size, fit: Fit) -> RgbImage {
    let scaled = |frame: &RgbImage, size: Size| {
        imageops::resize(frame, size.width, size.height, FilterType::CatmullRom)
    };
    let from = Size::of(frame);
    // The part of the one that has the aspect ratio of the other.
    let part = |whole: Size, shape: Size| {
        let scale = (f64::from(whole.width) / f64::from(shape.width))
            .min(f64::from(whole.height) / f64::from(shape.height));
        let side =
            |shape: u32, whole: u32| ((f64::from(shape) * scale).round() as u32).clamp(1, whole);
        Size {
            width: side(shape.width, whole.width),
            height: side(shape.height, whole.height),
        }
    };
    let margin = |whole: Size, part: Size| {
        (
            (whole.width - part.width) / 2,
            (whole.height - part.height) / 2,
        )
    };
    match fit {
        Fit::Stretch => scaled(frame, size),
        Fit::Crop => {
            let kept = part(from, size);
            let (x, y) = margin(from, kept);
            let cut = if kept == from {
                Cow::Borrowed(frame)
            } else {
                Cow::Owned(imageops::crop_imm(frame, x, y, kept.width, kept.height).to_image())
            };
            scaled(&cut, size)
        }
        Fit::Pad => {
            let shown = part(size, from);
            let (x, y) = margin(size, shown);
            let mut padded = RgbImage::from_pixel(size.width, size.height, Rgb([0; 3]));
            imageops::replace(&mut padded, &scaled(frame, shown), x.into(), y.into());
            padded
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RED: Rgb<u8> = Rgb([200, 0, 0]);
    const BLUE: Rgb<u8> = Rgb([0, 0, 200]);

    /// A frame of twice the width of its height, red but for blue ends.
    fn wide() -> RgbImage {
        RgbImage::from_fn(
            64,
            32,
            |x, _| if (16..48).contains(&x) { RED } else { BLUE },
        )
    }

    #[test]
    fn cropping_keeps_the_middle() {
        let cropped = resize(
            &wide(),
            Size {
                width: 16,
                height: 16,
            },
            Fit::Crop,
        );
        assert!(cropped.pixels().all(|&pixel| pixel == RED));
    }

    #[test]
    fn padding_adds_bars_and_loses_nothing() {
        let padded = resize(
            &wide(),
            Size {
                width: 64,
                height: 64,
            },
            Fit::Pad,
        );
        assert_eq!(*padded.get_pixel(32, 15), Rgb([0; 3]));
        assert_eq!(*padded.get_pixel(32, 48), Rgb([0; 3]));
        let middle = imageops::crop_imm(&padded, 0, 16, 64, 32).to_image();
        assert_eq!(middle, wide());
    }

    #[test]
    fn shrinking_does_not_alias() {
        let stripes =
            RgbImage::from_fn(128, 128, |x, _| Rgb([if x % 2 == 0 { 255 } else { 0 }; 3]));
        let small = resize(
            &stripes,
            Size {
                width: 32,
                height: 32,
            },
            Fit::Stretch,
        );
        let inside = imageops::crop_imm(&small, 2, 2, 28, 28).to_image();
        assert!(
            inside.pixels().all(|p| p.0[0].abs_diff(128) <= 2),
            "{:?}",
            inside.get_pixel(0, 0)
        );
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let clip = Clip::new(vec![wide()], 8.0).unwrap();
        for (width, height) in [(0, 8), (8, 0), (u32::MAX, u32::MAX)] {
            let error = clip.resized(width, height, Fit::Crop).unwrap_err();
            assert!(
                matches!(error, Error::InvalidArgument { field: "size", .. }),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_size_asked_for_comes_out(
            from in (1_u32..50, 1_u32..50), to in (1_u32..50, 1_u32..50), fit in 0_usize..3,
        ) {
            let fit = [Fit::Crop, Fit::Pad, Fit::Stretch][fit];
            let clip = Clip::new(vec![RgbImage::from_pixel(from.0, from.1, RED); 2], 8.0).unwrap();
            let resized = clip.resized(to.0, to.1, fit).unwrap();
            prop_assert_eq!((resized.width(), resized.height(), resized.len()), (to.0, to.1, 2));
            if from == to {
                prop_assert_eq!(&resized, &clip);
            }
            if fit != Fit::Pad {
                prop_assert!(resized.frames()[0].pixels().all(|&pixel| pixel == RED), "a flat colour stays");
            }
        }
    }
}
