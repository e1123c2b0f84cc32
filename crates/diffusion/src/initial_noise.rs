//! What a generation starts from: fresh noise that keeps something of the inverted reference clip.
//!
//! Inverting the reference's latents gives the noise `z` that the model turns back into the reference. Its
//! coarse structure already holds the motion, so the method starts from a mix of `z` and fresh noise `e`.
//! The blend is the paper's (*Motion Inversion for Video Customization*, arXiv:2403.20193v2); the three that
//! mix low frequencies of `z` with high ones of `e` come with its published code, and numbers agree with it.
//! That code knows one of them for 24 frames only; all of them take any length here.
//!
//! Both low-pass filters are separable and linear, so each is a matrix per axis. Filtering is a few small
//! matrix products on the tensors' own device, and gradients flow through it.

use std::{f64::consts::TAU, fmt, str::FromStr};

use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::{Error, sampler::by_name};

/// How fresh noise and inverted latents become the start of a generation; named `none`, `blend`, `freq`,
/// `blend-freq` and `fft` in files and on the command line.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use kinvert_diffusion::{InitialNoise, NoiseSource};
///
/// let (source, device) = (NoiseSource::new(7), Default::default());
/// let fresh: Tensor<Flex, 5> = source.gaussian("fresh", 0, [1, 4, 6, 8, 8], &device);
/// let inverted = source.gaussian("inverted", 0, [1, 4, 6, 8, 8], &device); // from DDIM inversion
///
/// let kind: InitialNoise = "blend".parse()?;
/// let inverted = kind.needs_inverted().then_some(inverted);
/// let start = kind.compose(fresh, inverted, InitialNoise::DEFAULT_STRENGTH)?;
/// assert_eq!(start.dims(), [1, 4, 6, 8, 8]);
/// # Ok::<(), kinvert_diffusion::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitialNoise {
    /// Fresh noise alone.
    #[serde(rename = "none")]
    None,
    /// `sqrt(p) z + sqrt(1-p) e`, the method's choice.
    #[default]
    #[serde(rename = "blend")]
    Blend,
    /// The low spatial frequencies of `z`, the high ones of `e`.
    #[serde(rename = "freq")]
    Frequency,
    /// The low spatial frequencies of `z`, a blend of the high ones of both.
    #[serde(rename = "blend-freq")]
    BlendFrequency,
    /// The low frequencies in space and time of `z`, the high ones of `e`, split by a Gaussian.
    #[serde(rename = "fft")]
    Fft,
}

impl InitialNoise {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Blend,
        Self::Frequency,
        Self::BlendFrequency,
        Self::Fft,
    ];

    /// The published strength `p` of the inverted latents.
    pub const DEFAULT_STRENGTH: f64 = 0.5;

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Blend => "blend",
            Self::Frequency => "freq",
            Self::BlendFrequency => "blend-freq",
            Self::Fft => "fft",
        }
    }

    /// Whether inverted latents take part; if not, the inversion can be saved.
    pub fn needs_inverted(self) -> bool {
        self != Self::None
    }

    /// The start of a generation from fresh noise and inverted latents, both `[batch, channels, frames, height,
    /// width]`. `strength` is the `p` of the two blends, from 0 (fresh) to 1 (inverted); the others do not
    /// depend on it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the strength is not between 0 and 1; [`Error::GridTooSmall`] if latents of
    /// fewer than 4 rows or columns shall be split by spatial frequency.
    ///
    /// # Panics
    /// If the shapes differ, or there are no inverted latents although [`needs_inverted`](Self::needs_inverted).
    pub fn compose<B: Backend>(
        self,
        noise: Tensor<B, 5>,
        inverted: Option<Tensor<B, 5>>,
        strength: f64,
    ) -> Result<Tensor<B, 5>, Error> {
        if !(0.0..=1.0).contains(&strength) {
            return Err(Error::OutOfRange {
                name: "strength of the inverted latents",
                found: strength,
                expected: "0 to 1",
            });
        }
        if !self.needs_inverted() {
            return Ok(noise);
        }
        let Some(inverted) = inverted else {
            panic!("initial noise `{self}` needs inverted latents");
        };
        assert_eq!(
            inverted.dims(),
            noise.dims(),
            "shapes of inverted latents and noise"
        );
        let blend = |inverted: Tensor<B, 5>, noise: Tensor<B, 5>| {
            inverted * strength.sqrt() + noise * (1.0 - strength).sqrt()
        };
        Ok(match self {
            Self::None => noise,
            Self::Blend => blend(inverted, noise),
            // Filters are linear, so low(z) + e - low(e) needs one of them only.
            Self::Frequency => noise.clone() + self.low_resolution(inverted - noise)?,
            Self::BlendFrequency => {
                let low = self.low_resolution(inverted.clone())?;
                let noise_low = self.low_resolution(noise.clone())?;
                low.clone() + blend(inverted - low, noise - noise_low)
            }
            Self::Fft => noise.clone() + gaussian_low_pass(inverted - noise),
        })
    }

    /// What is left of each frame after it was shrunk to a quarter of its sides and enlarged again.
    fn low_resolution<B: Backend>(self, x: Tensor<B, 5>) -> Result<Tensor<B, 5>, Error> {
        let [_, _, _, height, width] = x.dims();
        let (low_height, low_width) = (height / 4, width / 4);
        if low_height == 0 || low_width == 0 {
            return Err(Error::GridTooSmall {
                initial_noise: self.name(),
                height,
                width,
            });
        }
        let there_and_back = |side, low_side| resize(low_side, side).after(&resize(side, low_side));
        let x = there_and_back(height, low_height).apply(x, HEIGHT);
        Ok(there_and_back(width, low_width).apply(x, WIDTH))
    }
}

impl fmt::Display for InitialNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for InitialNoise {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("initial noise", name, &Self::ALL, Self::name)
    }
}

/// Axes of latents.
const FRAMES: usize = 2;
const HEIGHT: usize = 3;
const WIDTH: usize = 4;

/// Width of the Gaussian that splits frequencies, where 1 is the highest frequency of an axis.
const FFT_DEVIATION: f64 = 0.25;

/// The real part of a 3-D Fourier transform over frames, height and width, damped by
/// `exp(-d^2 / (2 * 0.25^2))` and transformed back.
///
/// The damping is a product over the axes, so the whole is a circular convolution along each, and only the
/// last result's real part is kept. On an axis of odd length the published filter's centre lies half a
/// frequency beside zero, which makes its convolution complex.
fn gaussian_low_pass<B: Backend>(x: Tensor<B, 5>) -> Tensor<B, 5> {
    let filters = [FRAMES, HEIGHT, WIDTH].map(|axis| (axis, gaussian_convolution(x.dims()[axis])));
    let mut real = x.clone();
    let mut imaginary = x.zeros_like();
    for (axis, (re, im)) in filters {
        let next_real = re.apply(real.clone(), axis) - im.apply(imaginary.clone(), axis);
        imaginary = re.apply(imaginary, axis) + im.apply(real, axis);
        real = next_real;
    }
    real
}

/// Real and imaginary part of the circular convolution that damps frequency `k` of an axis by
/// `exp(-d^2 / (2 * 0.25^2))`, `d = 2 j / length - 1`, where `j = k + floor(length / 2)` is its place in a
/// centred spectrum.
fn gaussian_convolution(length: usize) -> (AxisMap, AxisMap) {
    let size = length as f64;
    let damping = |j: usize| {
        let distance = 2.0 * j as f64 / size - 1.0;
        (-distance * distance / (2.0 * FFT_DEVIATION * FFT_DEVIATION)).exp()
    };
    // The inverse transform of the damping, at every shift along the axis.
    let (mut re, mut im) = (vec![0.0; length], vec![0.0; length]);
    for shift in 0..length {
        for j in 0..length {
            let frequency = j as f64 - (length / 2) as f64;
            let (sin, cos) = (TAU * frequency * shift as f64 / size).sin_cos();
            re[shift] += damping(j) * cos / size;
            im[shift] += damping(j) * sin / size;
        }
    }
    let circulant = |kernel: Vec<f64>| {
        AxisMap::from_fn(length, length, |to, from| {
            kernel[(to + length - from) % length]
        })
    };
    (circulant(re), circulant(im))
}

/// Resizing an axis as PyTorch does with `bilinear`, `antialias` and `align_corners` all on: output `i` sits
/// at input `scale (i + 1/2)` and reads a triangle of half-width `max(1, scale)` around it. With aligned
/// corners the scale is `(from - 1) / (to - 1)`, so outputs are not quite centred; those are the numbers.
fn resize(from: usize, to: usize) -> AxisMap {
    let scale = match to {
        1 => 0.0,
        _ => (from - 1) as f64 / (to - 1) as f64,
    };
    let support = scale.max(1.0);
    let mut weights = AxisMap::from_fn(to, from, |i, j| {
        let centre = scale * (i as f64 + 0.5);
        // Casts to integers cut off the fraction, and what is negative becomes 0.
        let first = (centre - support + 0.5) as usize;
        let end = (centre + support + 0.5) as usize;
        let distance = (j as f64 - centre + 0.5).abs();
        match (first..end).contains(&j) {
            true => (1.0 - distance / support).max(0.0),
            false => 0.0,
        }
    });
    weights.normalise_rows();
    weights
}

/// A linear map from an axis of one length to an axis of another.
struct AxisMap {
    to: usize,
    from: usize,
    /// `[to, from]`, row-major.
    weights: Vec<f64>,
}

impl AxisMap {
    fn from_fn(to: usize, from: usize, weight: impl Fn(usize, usize) -> f64) -> Self {
        let rows = (0..to).flat_map(|i| (0..from).map(move |j| (i, j)));
        Self {
            to,
            from,
            weights: rows.map(|(i, j)| weight(i, j)).collect(),
        }
    }

    fn normalise_rows(&mut self) {
        for row in self.weights.chunks_exact_mut(self.from) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
    }

    /// The map that applies `first` and then this one.
    fn after(&self, first: &Self) -> Self {
        Self::from_fn(self.to, first.from, |i, j| {
            let through = 0..self.from;
            through
                .map(|k| self.weights[i * self.from + k] * first.weights[k * first.from + j])
                .sum()
        })
    }

    /// Maps one axis of a tensor.
    fn apply<B: Backend>(&self, x: Tensor<B, 5>, axis: usize) -> Tensor<B, 5> {
        let data = TensorData::new(self.weights.clone(), [self.to, self.from]);
        let weights = Tensor::<B, 2>::from_data(data, (&x.device(), x.dtype()));
        let x = x.swap_dims(axis, 4);
        let mut dims = x.dims();
        let rows: usize = dims[..4].iter().product();
        dims[4] = self.to;
        let mapped = x.reshape([rows, self.from]).matmul(weights.transpose());
        mapped.reshape(dims).swap_dims(axis, 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizing_to_the_same_length_is_the_identity() {
        let map = resize(5, 5);
        let identity = AxisMap::from_fn(5, 5, |i, j| f64::from(i == j));
        assert_eq!(map.weights, identity.weights);
    }

    #[test]
    fn both_filters_keep_a_constant() {
        let (re, im) = gaussian_convolution(6);
        for row in re.weights.chunks(6) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        assert!(im.weights.iter().all(|weight| weight.abs() < 1e-12));
        for row in resize(3, 14).after(&resize(14, 3)).weights.chunks(14) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn names_are_the_same_in_files_and_on_the_command_line() {
        for kind in InitialNoise::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(kind.name().parse::<InitialNoise>().unwrap(), kind);
        }
        let error = "white".parse::<InitialNoise>().unwrap_err();
        let message =
            "initial noise is `white`, expected one of none, blend, freq, blend-freq, fft";
        assert_eq!(error.to_string(), message);
    }
}
