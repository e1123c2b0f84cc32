//! From frames to the pixel values that the image tower of CLIP takes.
//!
//! Source: the `CLIPImageProcessor` of the transformers library over Pillow: the shorter side is resized with
//! Pillow's antialiased bicubic filter (a = -0.5, rounded to 8 bits after each pass, horizontal first), the
//! middle is cut out, and colours are scaled to 0..1 and normalised per channel. Only the pixels of the cut-out
//! are computed; they are exactly those of the whole image.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use burn::prelude::*;
use serde::Deserialize;

use super::{CLIPVisionConfig, Section};
use crate::{Error, ModelFiles};

/// Pillow's code for the bicubic filter.
const BICUBIC: u32 = 3;

/// Fraction bits of Pillow's filter weights: 32, less 8 for the pixel and 2 for overshoot.
const WEIGHT_BITS: u32 = 22;

/// Prepares frames as `preprocessor_config.json` says; see the [module docs](self).
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePreprocessor {
    path: String,
    /// What the shorter side is resized to, in pixels.
    shortest_edge: usize,
    /// Height and width of the result, at most `shortest_edge`.
    crop_size: usize,
    mean: [f32; 3],
    std: [f32; 3],
}

/// The file, with the transformers library's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct PreprocessorConfig {
    do_resize: bool,
    size: EdgeSize,
    resample: u32,
    do_center_crop: bool,
    crop_size: CropSize,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f32; 3],
    image_std: [f32; 3],
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: EdgeSize::Plain(224),
            resample: BICUBIC,
            do_center_crop: true,
            crop_size: CropSize::Plain(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.2613026, 0.2757771],
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EdgeSize {
    Plain(usize),
    Named { shortest_edge: usize },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CropSize {
    Plain(usize),
    Named { height: usize, width: usize },
}

impl fmt::Display for ImagePreprocessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shortest_edge,
            crop_size,
            mean,
            std,
            ..
        } = self;
        write!(
            f,
            "shorter side to {shortest_edge} px (antialiased bicubic), centre {crop_size}x{crop_size}, mean {mean:?}, \
             std {std:?}"
        )
    }
}

impl ImagePreprocessor {
    /// Reads `preprocessor_config.json` from a CLIP folder.
    ///
    /// # Errors
    /// If the file is missing or asks for something that is not supported.
    pub fn load(files: &ModelFiles) -> Result<Self, Error> {
        let name = "preprocessor_config.json";
        let config: PreprocessorConfig = files.json(name)?;
        let path = files.label(name);
        let section = Section {
            path: &path,
            name: "",
        };
        let steps = [
            ("do_resize", config.do_resize),
            ("do_center_crop", config.do_center_crop),
            ("do_rescale", config.do_rescale),
            ("do_normalize", config.do_normalize),
        ];
        if let Some((step, _)) = steps.iter().find(|(_, is_on)| !is_on) {
            return Err(section.refuse(step, false, "true"));
        }
        if config.resample != BICUBIC {
            return Err(section.refuse("resample", config.resample, "3 (bicubic)"));
        }
        if (config.rescale_factor * 255.0 - 1.0).abs() > 1e-6 {
            return Err(section.refuse("rescale_factor", config.rescale_factor, "1/255"));
        }
        let shortest_edge = match config.size {
            EdgeSize::Plain(edge)
            | EdgeSize::Named {
                shortest_edge: edge,
            } => edge,
        };
        section.expect_size("size", shortest_edge, 1 << 12)?;
        let crop_size = match config.crop_size {
            CropSize::Plain(edge) => edge,
            CropSize::Named { height, width } if height == width => height,
            CropSize::Named { height, width } => {
                return Err(section.refuse("crop_size", (height, width), "a square"));
            }
        };
        section.expect_size("crop_size", crop_size, shortest_edge)?;
        if !config.image_mean.iter().all(|mean| mean.is_finite()) {
            return Err(section.refuse("image_mean", config.image_mean, "finite numbers"));
        }
        if !config
            .image_std
            .iter()
            .all(|std| std.is_finite() && *std > 0.0)
        {
            return Err(section.refuse("image_std", config.image_std, "positive numbers"));
        }
        Ok(Self {
            path,
            shortest_edge,
            crop_size,
            mean: config.image_mean,
            std: config.image_std,
        })
    }

    /// Checks that the image tower takes what this prepares.
    ///
    /// # Errors
    /// If `image_size` differs from the size of the cut-out.
    pub fn check_fits(&self, config: &CLIPVisionConfig) -> Result<(), Error> {
        if self.crop_size == config.image_size {
            return Ok(());
        }
        let expected = format!("{}, the network's `image_size`", config.image_size);
        Err(Error::config(
            &self.path,
            "crop_size",
            self.crop_size,
            expected,
        ))
    }

    /// Prepares RGB frames `[frames, height, width, 3]`, 8 bits per channel, as pixel values `[frames, 3, size,
    /// size]`.
    ///
    /// # Panics
    /// If a side is zero, there is no frame, or `frames` does not hold whole frames.
    pub fn pixel_values<B: Backend>(
        &self,
        frames: &[u8],
        height: usize,
        width: usize,
        device: &B::Device,
    ) -> Tensor<B, 4> {
        let frame_bytes = height * width * 3;
        assert!(
            frame_bytes > 0 && !frames.is_empty() && frames.len().is_multiple_of(frame_bytes),
            "{} bytes are no frames of {width}x{height} pixels",
            frames.len()
        );
        let size = self.crop_size;
        let num_frames = frames.len() / frame_bytes;
        let mut values = Vec::with_capacity(num_frames * 3 * size * size);
        for frame in frames.chunks_exact(frame_bytes) {
            let pixels = self.resize_and_crop(frame, height, width);
            for channel in 0..3 {
                let (mean, std) = (self.mean[channel], self.std[channel]);
                let levels = pixels.iter().skip(channel).step_by(3);
                values.extend(levels.map(|level| (f32::from(*level) / 255.0 - mean) / std));
            }
        }
        Tensor::from_data(TensorData::new(values, [num_frames, 3, size, size]), device)
    }

    /// Pixel values of images `[images, 3, size, size]` in 0..1 that have the network's size already: mean and deviation
    /// are taken off, and nothing is rounded to levels.
    ///
    /// # Panics
    /// If the images have another shape.
    pub fn normalize<B: Backend>(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, channels, height, width] = images.dims();
        assert_eq!(
            [channels, height, width],
            [3, self.crop_size, self.crop_size],
            "channels, height and width of the images"
        );
        let of_channels = |values: [f32; 3]| {
            Tensor::<B, 1>::from_floats(values, &images.device()).reshape([1, 3, 1, 1])
        };
        let (mean, std) = (of_channels(self.mean), of_channels(self.std));
        (images - mean) / std
    }

    /// The middle `[crop_size, crop_size, 3]` of the resized frame.
    fn resize_and_crop<'a>(&self, frame: &'a [u8], height: usize, width: usize) -> Cow<'a, [u8]> {
        let size = self.crop_size;
        if [height, width] == [size; 2] && self.shortest_edge == size {
            return Cow::Borrowed(frame);
        }
        let shorter = height.min(width);
        let resized = |side: usize| side * self.shortest_edge / shorter; // rounded down, as published
        let crop = |side: usize| {
            let start = (resized(side) - size) / 2;
            filter_taps(side, resized(side), start..start + size)
        };
        let narrowed = resample_columns(frame, width, &crop(width)); // [height, size, 3]
        Cow::Owned(resample_rows(&narrowed, size, &crop(height))) // [size, size, 3]
    }
}

/// What one output pixel is made of: the first input pixel, and a weight for it and each of its successors, in
/// units of 2^-22.
struct Taps {
    first: usize,
    weights: Vec<i64>,
}

/// The taps of the output pixels `outputs` when `from` pixels become `to`.
fn filter_taps(from: usize, to: usize, outputs: Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0); // the filter widens when the image shrinks: antialiasing
    let support = 2.0 * stretch;
    let taps = |output| {
        let centre = (output as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weight = |input: usize| bicubic((input as f64 - centre + 0.5) / stretch);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: &f64| (weight / sum * f64::from(1 << WEIGHT_BITS)).round() as i64;
        Taps {
            first,
            weights: weights.iter().map(fixed).collect(),
        }
    };
    outputs.map(taps).collect()
}

/// The cubic convolution kernel with a = -0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Weighted sum of levels, rounded to the nearest level.
fn blend(weights: &[i64], levels: impl Iterator<Item = u8>) -> u8 {
    let half = 1 << (WEIGHT_BITS - 1);
    let products = weights
        .iter()
        .zip(levels)
        .map(|(w, level)| w * i64::from(level));
    ((half + products.sum::<i64>()) >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// `[rows, width, 3]` to `[rows, columns.len(), 3]`.
fn resample_columns(pixels: &[u8], width: usize, columns: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / width * columns.len());
    for row in pixels.chunks_exact(width * 3) {
        for taps in columns {
            for channel in 0..3 {
                let levels = row[taps.first * 3 + channel..].iter().step_by(3).copied();
                out.push(blend(&taps.weights, levels));
            }
        }
    }
    out
}

/// `[height, width, 3]` to `[rows.len(), width, 3]`.
fn resample_rows(pixels: &[u8], width: usize, rows: &[Taps]) -> Vec<u8> {
    let row_bytes = width * 3;
    let mut out = Vec::with_capacity(rows.len() * row_bytes);
    for taps in rows {
        for column in 0..row_bytes {
            let levels = pixels[taps.first * row_bytes + column..]
                .iter()
                .step_by(row_bytes);
            out.push(blend(&taps.weights, levels.copied()));
        }
    }
    out
}
