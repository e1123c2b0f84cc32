//! The image autoencoder: pictures to latents and back, frame by frame.
//!
//! Source: *High-Resolution Image Synthesis with Latent Diffusion Models* (arXiv:2112.10752), as `AutoencoderKL`
//! of diffusers, whose numbers and keys it matches. Where it differs on purpose: image sizes that the
//! encoder would silently cut are refused, and clips go through a few frames at a time, so that the memory
//! for activations does not grow with their length.
//!
//! Images are `[images, channels, height, width]` and clips `[batch, channels, frames, height, width]`, with
//! pixels in -1..1. Latents have the same axes; their height and width are those of the image divided by
//! [`AutoencoderKL::spatial_compression`]. The diffusion model works on *scaled* latents, see
//! [`AutoencoderKL::scale_latents`].
//!
//! Images and latents are f32 whatever the [`Precision`] of the weights. The published autoencoders of Stable Diffusion
//! have activations beyond the largest f16, and their configurations say so (`force_upcast`): with f16 such a network
//! is kept and computed in f32. bf16 has the range of f32, and is used as asked.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::FloatDType;
use serde::Deserialize;

use crate::error::Error;
use crate::files::ModelFiles;
use crate::kernels::NetBackend;
use crate::kernels::attention::attention_tokens;
use crate::kernels::elementwise::{add, cast};
use crate::keys::expected_tensors;
use crate::layers::apply::{
    channels_first, channels_last, conv2d, group_norm, group_norm_silu, linear,
};
use crate::layers::resample::{
    Downsample2D, Downsample2DConfig, DownsamplePadding, Upsample2D, Upsample2DConfig,
};
use crate::layers::resnet::{ResnetBlock2D, ResnetBlock2DConfig};
use crate::precision::Precision;
use crate::tiles::{TileSides, by_tiles};
use crate::weights::{KeyMap, OpenWeights, Weights};

/// Epsilon of every norm in the autoencoder.
const NORM_EPS: f64 = 1e-6;

/// Fields whose names in the checkpoint cannot be Rust's.
pub(crate) const KEY_MAP: KeyMap = &[(".to_out.", ".to_out.0.")];

/// How checkpoints of 2022 name the layers of the attention, and how later ones do.
const OLD_KEYS: [(&str, &str); 4] = [
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
];

/// The autoencoder's `config.json`. A field that the file lacks has the value that diffusers gives it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct AutoencoderKLConfig {
    /// Kind of network that the file describes.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Activation function: `silu`.
    pub act_fn: String,
    /// Channels of each level, from the image down.
    pub block_out_channels: Vec<usize>,
    /// Kind of each level of the encoder: `DownEncoderBlock2D`.
    pub down_block_types: Vec<String>,
    /// Kind of each level of the decoder: `UpDecoderBlock2D`.
    pub up_block_types: Vec<String>,
    /// Channels of the images that are encoded.
    pub in_channels: usize,
    /// Channels of the images that are decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Residual blocks in each level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of every norm.
    pub norm_num_groups: usize,
    /// Whether the middle blocks attend among positions.
    pub mid_block_add_attention: bool,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// What latents are multiplied with for the diffusion model.
    pub scaling_factor: f64,
    /// What is taken from latents before scaling: nothing is supported.
    pub shift_factor: Option<f64>,
    /// Mean of each latent channel: not supported.
    pub latents_mean: Option<Vec<f64>>,
    /// Standard deviation of each latent channel: not supported.
    pub latents_std: Option<Vec<f64>>,
    /// Height and width of the images that it was trained on; it is not bound to that size.
    pub sample_size: usize,
    /// Whether activations leave the range of f16: the network is then never computed in that format.
    pub force_upcast: bool,
    /// Whatever else the file says.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

impl Default for AutoencoderKLConfig {
    /// What diffusers assumes for absent fields.
    fn default() -> Self {
        Self {
            class_name: "AutoencoderKL".into(),
            act_fn: "silu".into(),
            block_out_channels: vec![64],
            down_block_types: vec!["DownEncoderBlock2D".into()],
            up_block_types: vec!["UpDecoderBlock2D".into()],
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            layers_per_block: 1,
            norm_num_groups: 32,
            mid_block_add_attention: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            sample_size: 32,
            force_upcast: true,
            others: BTreeMap::new(),
        }
    }
}

impl AutoencoderKLConfig {
    /// Checks that this is a network that can be built: every kind of block known, every size within reason.
    ///
    /// # Errors
    /// [`Error::Config`] with `path` and the first field that is not supported.
    pub fn validate(&self, path: &str) -> Result<(), Error> {
        let refuse = |field: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(Error::config(path, field, found, expected))
        };
        let within = |field: &str, found: usize, range: RangeInclusive<usize>| {
            if range.contains(&found) {
                return Ok(());
            }
            let expected = format!("{} to {}", range.start(), range.end());
            Err(Error::config(path, field, found, expected))
        };

        if self.class_name != "AutoencoderKL" {
            return refuse("_class_name", &self.class_name, "\"AutoencoderKL\"");
        }
        if self.act_fn != "silu" {
            return refuse("act_fn", &self.act_fn, "\"silu\"");
        }
        within("in_channels", self.in_channels, 1..=64)?;
        within("out_channels", self.out_channels, 1..=64)?;
        within("latent_channels", self.latent_channels, 1..=512)?;
        within("layers_per_block", self.layers_per_block, 1..=16)?;
        within("norm_num_groups", self.norm_num_groups, 1..=4096)?;
        let levels = self.block_out_channels.len();
        within("block_out_channels.length", levels, 1..=8)?;
        for &channels in &self.block_out_channels {
            within("block_out_channels", channels, 1..=4096)?;
            if channels % self.norm_num_groups != 0 {
                let expected = format!("a divisor of every level's channels ({channels})");
                return refuse("norm_num_groups", &self.norm_num_groups, &expected);
            }
        }
        let block_types = [
            (
                "down_block_types",
                &self.down_block_types,
                "DownEncoderBlock2D",
            ),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ];
        for (field, types, supported) in block_types {
            if types.len() != levels || types.iter().any(|name| name != supported) {
                let expected = format!("{levels} times \"{supported}\"");
                return refuse(field, types, &expected);
            }
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.0) {
            return refuse("scaling_factor", &self.scaling_factor, "a positive number");
        }
        if let Some(shift) = self.shift_factor {
            return refuse("shift_factor", &shift, "null");
        }
        if let Some(mean) = &self.latents_mean {
            return refuse("latents_mean", mean, "null");
        }
        if let Some(std) = &self.latents_std {
            return refuse("latents_std", std, "null");
        }
        // Names with an underscore tell who wrote the file; anything else may change what the network does.
        let unknown = |(name, value): &(&String, &serde_json::Value)| {
            !name.starts_with('_') && !value.is_null()
        };
        match self.others.iter().find(unknown) {
            Some((name, value)) => refuse(name, value, "a field that is known"),
            None => Ok(()),
        }
    }

    /// Builds the network. Weights are drawn when first read, so one that is about to be loaded costs
    /// nothing.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the configuration.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> AutoencoderKL<B> {
        if let Err(error) = self.validate("the autoencoder's configuration") {
            panic!("{error}");
        }
        let moments = 2 * self.latent_channels;
        let conv1x1 =
            |channels: usize| Conv2dConfig::new([channels, channels], [1, 1]).init(device);
        AutoencoderKL {
            encoder: Encoder::new(self, device),
            decoder: Decoder::new(self, device),
            quant_conv: self.use_quant_conv.then(|| conv1x1(moments)),
            post_quant_conv: self
                .use_post_quant_conv
                .then(|| conv1x1(self.latent_channels)),
            latent_channels: self.latent_channels,
            spatial_compression: 1 << (self.block_out_channels.len() - 1),
            scaling_factor: self.scaling_factor,
        }
    }
}

/// The autoencoder; see the [module docs](self).
#[derive(Module, Debug)]
pub struct AutoencoderKL<B: Backend> {
    encoder: Encoder<B>,
    decoder: Decoder<B>,
    quant_conv: Option<Conv2d<B>>,
    post_quant_conv: Option<Conv2d<B>>,
    latent_channels: usize,
    spatial_compression: usize,
    scaling_factor: f64,
}

impl<B: NetBackend> AutoencoderKL<B> {
    /// Reads `config.json` and `diffusion_pytorch_model.safetensors` of a published model's `vae` folder. With f16,
    /// a network that is not [safe in it](AutoencoderKLConfig::force_upcast) is loaded in f32.
    ///
    /// # Errors
    /// If a file is missing or damaged, the configuration describes a network that is not supported, or the
    /// weights do not fit it.
    pub fn load(
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::filled(files, device, precision, Weights::open)
    }

    /// Checks that the weights of a `vae` folder fit the network by name and shape, without reading their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(files: &ModelFiles, device: &B::Device) -> Result<(), Error> {
        Self::filled(files, device, Precision::F32, Weights::open_shapes).map(drop)
    }

    fn filled(
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
        open: OpenWeights,
    ) -> Result<Self, Error> {
        let config: AutoencoderKLConfig = files.json("config.json")?;
        config.validate(&files.label("config.json"))?;
        let weights = open(files, "diffusion_pytorch_model")?;
        let precision = match precision {
            Precision::F16 if config.force_upcast => Precision::F32,
            precision => precision,
        };
        with_current_keys(weights).fill_as(precision, config.init(device), KEY_MAP)
    }

    /// The number format of the weights, and of everything inside.
    pub fn precision(&self) -> Precision {
        Precision::of(self.decoder.conv_in.weight.val().dtype())
    }

    /// Names and shapes of the tensors that [`load`](Self::load) reads; no weight is drawn for it.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        expected_tensors(self, KEY_MAP)
    }

    /// How many pixels a latent position covers along the height and along the width: 8 for four levels.
    pub fn spatial_compression(&self) -> usize {
        self.spatial_compression
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// What [`scale_latents`](Self::scale_latents) multiplies with.
    pub fn scaling_factor(&self) -> f64 {
        self.scaling_factor
    }

    /// Height and width of the latents of an image of `[height, width]` pixels, or `None` if they are not
    /// positive multiples of [`spatial_compression`](Self::spatial_compression). Sizes from outside are
    /// checked with this before [`encode`](Self::encode).
    pub fn latent_size(&self, image_size: [usize; 2]) -> Option<[usize; 2]> {
        let step = self.spatial_compression;
        let fits = image_size.iter().all(|size| *size > 0 && size % step == 0);
        fits.then(|| image_size.map(|size| size / step))
    }

    /// The distribution of the latents of images `[images, channels, height, width]` with values in -1..1.
    ///
    /// # Panics
    /// If [`latent_size`](Self::latent_size) refuses the size or the number of channels is not the
    /// network's.
    pub fn encode(&self, images: Tensor<B, 4>) -> Posterior<B, 4> {
        Posterior::from_moments(self.moments(images))
    }

    /// Mean and log-variance, one after the other along axis 1.
    fn moments(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, height, width] = images.dims();
        assert!(
            self.latent_size([height, width]).is_some(),
            "images of {height}×{width} pixels cannot be encoded, expected positive multiples of {}",
            self.spatial_compression,
        );
        let images = cast(images, self.precision().dtype());
        let hidden_states = self.encoder.forward(channels_last(images));
        let moments = match &self.quant_conv {
            Some(conv) => conv2d(conv, hidden_states),
            None => hidden_states,
        }; // [images, height / step, width / step, 2 * latent_channels]
        channels_first(cast(moments, FloatDType::F32))
    }

    /// Images `[images, channels, height, width]` from unscaled latents, in about -1..1 but not clamped.
    ///
    /// # Panics
    /// If the number of channels is not the latents'.
    pub fn decode(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let latents = channels_last(cast(latents, self.precision().dtype()));
        let images = self.decoder.forward(match &self.post_quant_conv {
            Some(conv) => conv2d(conv, latents),
            None => latents,
        });
        channels_first(cast(images, FloatDType::F32))
    }

    /// Unscaled to scaled latents: the diffusion model was trained on latents times the scaling factor,
    /// which have about unit variance.
    pub fn scale_latents<const D: usize>(&self, latents: Tensor<B, D>) -> Tensor<B, D> {
        latents.mul_scalar(self.scaling_factor)
    }

    /// Scaled to unscaled latents: the inverse of [`scale_latents`](Self::scale_latents).
    pub fn unscale_latents<const D: usize>(&self, latents: Tensor<B, D>) -> Tensor<B, D> {
        latents.div_scalar(self.scaling_factor)
    }

    /// The distribution of the unscaled latents of a clip `[batch, channels, frames, height, width]` with
    /// values in -1..1, working on a few frames at a time. After each slice `progress` is told how
    /// many frames are done, of how many.
    ///
    /// # Panics
    /// As [`encode`](Self::encode), or if there is no frame.
    pub fn encode_frames(
        &self,
        clip: Tensor<B, 5>,
        slices: Slices,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Posterior<B, 5> {
        let sides = |tile| TileSides {
            input: tile * self.spatial_compression,
            output: tile,
        };
        let moments = by_slices(clip, slices, progress, |images| match slices.tile {
            None => self.moments(images),
            Some(tile) => by_tiles(images, sides(tile.get()), |tile| self.moments(tile)),
        });
        Posterior::from_moments(moments)
    }

    /// A clip `[batch, channels, frames, height, width]` from unscaled latents, a few frames at a
    /// time, with `progress` as for [`encode_frames`](Self::encode_frames).
    ///
    /// # Panics
    /// As [`decode`](Self::decode), or if there is no frame.
    pub fn decode_frames(
        &self,
        latents: Tensor<B, 5>,
        slices: Slices,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Tensor<B, 5> {
        let sides = |tile| TileSides {
            input: tile,
            output: tile * self.spatial_compression,
        };
        by_slices(latents, slices, progress, |latents| match slices.tile {
            None => self.decode(latents),
            Some(tile) => by_tiles(latents, sides(tile.get()), |tile| self.decode(tile)),
        })
    }

    /// Pixels to what the diffusion model works on: the mean of [`encode_frames`](Self::encode_frames),
    /// scaled.
    ///
    /// # Panics
    /// As [`encode_frames`](Self::encode_frames).
    pub fn encode_clip(
        &self,
        clip: Tensor<B, 5>,
        slices: Slices,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Tensor<B, 5> {
        self.scale_latents(self.encode_frames(clip, slices, progress).mean)
    }

    /// What the diffusion model works on to pixels: [`decode_frames`](Self::decode_frames) of the unscaled
    /// latents.
    ///
    /// # Panics
    /// As [`decode_frames`](Self::decode_frames).
    pub fn decode_clip(
        &self,
        latents: Tensor<B, 5>,
        slices: Slices,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Tensor<B, 5> {
        self.decode_frames(self.unscale_latents(latents), slices, progress)
    }
}

/// How much of a clip goes through the autoencoder at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Frames.
    pub frames: NonZeroUsize,
    /// Rows and columns of latents, at least four, of which [tiles](crate::tiles) are as large; whole frames without.
    pub tile: Option<NonZeroUsize>,
}

impl Slices {
    /// So many whole frames.
    pub const fn of(frames: NonZeroUsize) -> Self {
        Self { frames, tile: None }
    }
}

/// A normal distribution for every element of the latents, with channels on axis 1.
#[derive(Clone, Debug)]
pub struct Posterior<B: Backend, const D: usize> {
    /// Mean.
    pub mean: Tensor<B, D>,
    /// Logarithm of the variance, within -30..20.
    pub logvar: Tensor<B, D>,
}

impl<B: Backend, const D: usize> Posterior<B, D> {
    /// Mean and log-variance lie one after the other along axis 1.
    fn from_moments(moments: Tensor<B, D>) -> Self {
        let mut halves = moments.chunk(2, 1).into_iter();
        let (Some(mean), Some(logvar)) = (halves.next(), halves.next()) else {
            unreachable!("an even number of channels has two halves")
        };
        let logvar = logvar.clamp(-30.0, 20.0);
        Self { mean, logvar }
    }

    /// One draw: `mean + exp(logvar / 2) * noise`, with standard normal `noise` of the same shape.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn sample(&self, noise: Tensor<B, D>) -> Tensor<B, D> {
        self.mean.clone() + self.logvar.clone().mul_scalar(0.5).exp() * noise
    }
}

/// Runs `network` over the frames of a clip `[batch, channels, frames, height, width]`, a few of them
/// at a time, and puts the results together along the same axes.
fn by_slices<B: NetBackend>(
    clip: Tensor<B, 5>,
    slices: Slices,
    progress: &mut dyn FnMut(usize, usize),
    network: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>,
) -> Tensor<B, 5> {
    let [batch, channels, frames, height, width] = clip.dims();
    let total = batch * frames;
    assert!(total > 0, "a clip without frames");
    let images = clip
        .swap_dims(1, 2)
        .reshape([total, channels, height, width]); // frame runs fastest
    let slices = images.split(slices.frames.get(), 0).into_iter();
    let mut done = 0;
    let results: Vec<_> = slices
        .map(|slice| {
            done += slice.dims()[0];
            let result = network(slice);
            progress(done, total);
            result
        })
        .collect();
    let results = Tensor::cat(results, 0);
    let [_, channels, height, width] = results.dims();
    let results = results.reshape([batch, frames, channels, height, width]);
    results.swap_dims(1, 2)
}

/// Renames what checkpoints of 2022 call otherwise. A file with both kinds of names keeps them, so that the
/// old ones are reported as unused.
fn with_current_keys(weights: Weights) -> Weights {
    if weights.names().any(|name| name.contains(".to_q.")) {
        return weights;
    }
    weights.renamed(|name| {
        let rename = |name: String, (old, new): &(&str, &str)| name.replace(old, new);
        OLD_KEYS.iter().fold(name.to_string(), rename)
    })
}

/// Images to moments.
#[derive(Module, Debug)]
struct Encoder<B: Backend> {
    conv_in: Conv2d<B>,
    down_blocks: Vec<DownEncoderBlock2D<B>>,
    mid_block: UNetMidBlock2D<B>,
    conv_norm_out: GroupNorm<B>,
    conv_out: Conv2d<B>,
}

impl<B: NetBackend> Encoder<B> {
    fn new(config: &AutoencoderKLConfig, device: &B::Device) -> Self {
        let widths = &config.block_out_channels;
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let down_block = |level: usize| {
            let in_channels = widths[level.saturating_sub(1)];
            let is_last = level + 1 == widths.len();
            DownEncoderBlock2D {
                resnets: resnets(
                    config,
                    config.layers_per_block,
                    in_channels,
                    widths[level],
                    device,
                ),
                downsamplers: (!is_last)
                    .then(|| Downsample2DConfig {
                        channels: widths[level],
                        padding: DownsamplePadding::BottomRight,
                    })
                    .map(|downsampler| downsampler.init(device))
                    .into_iter()
                    .collect(),
            }
        };
        Self {
            conv_in: conv3x3(config.in_channels, first, device),
            down_blocks: (0..widths.len()).map(down_block).collect(),
            mid_block: UNetMidBlock2D::new(config, device),
            conv_norm_out: norm(config, last, device),
            conv_out: conv3x3(last, 2 * config.latent_channels, device),
        }
    }

    /// `[images, H, W, in_channels]` to `[images, H / step, W / step, 2 * latent_channels]`.
    fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden_states = conv2d(&self.conv_in, images);
        let down = |x, block: &DownEncoderBlock2D<B>| block.forward(x);
        let hidden_states = self.down_blocks.iter().fold(hidden_states, down);
        let hidden_states = self.mid_block.forward(hidden_states);
        let hidden_states = group_norm_silu(&self.conv_norm_out, hidden_states);
        conv2d(&self.conv_out, hidden_states)
    }
}

/// Latents to images.
#[derive(Module, Debug)]
struct Decoder<B: Backend> {
    conv_in: Conv2d<B>,
    mid_block: UNetMidBlock2D<B>,
    up_blocks: Vec<UpDecoderBlock2D<B>>,
    conv_norm_out: GroupNorm<B>,
    conv_out: Conv2d<B>,
}

impl<B: NetBackend> Decoder<B> {
    fn new(config: &AutoencoderKLConfig, device: &B::Device) -> Self {
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let up_block = |level: usize| {
            let in_channels = widths[level.saturating_sub(1)];
            let is_last = level + 1 == widths.len();
            UpDecoderBlock2D {
                resnets: resnets(
                    config,
                    config.layers_per_block + 1,
                    in_channels,
                    widths[level],
                    device,
                ),
                upsamplers: (!is_last)
                    .then(|| Upsample2DConfig::new(widths[level]).init(device))
                    .into_iter()
                    .collect(),
            }
        };
        Self {
            conv_in: conv3x3(config.latent_channels, first, device),
            mid_block: UNetMidBlock2D::new(config, device),
            up_blocks: (0..widths.len()).map(up_block).collect(),
            conv_norm_out: norm(config, last, device),
            conv_out: conv3x3(last, config.out_channels, device),
        }
    }

    /// `[images, h, w, latent_channels]` to `[images, h * step, w * step, out_channels]`.
    fn forward(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden_states = conv2d(&self.conv_in, latents);
        let hidden_states = self.mid_block.forward(hidden_states);
        let up = |x, block: &UpDecoderBlock2D<B>| block.forward(x);
        let hidden_states = self.up_blocks.iter().fold(hidden_states, up);
        let hidden_states = group_norm_silu(&self.conv_norm_out, hidden_states);
        conv2d(&self.conv_out, hidden_states)
    }
}

/// A level of the encoder; the last one has no downsampler.
#[derive(Module, Debug)]
struct DownEncoderBlock2D<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    downsamplers: Vec<Downsample2D<B>>,
}

impl<B: NetBackend> DownEncoderBlock2D<B> {
    fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let resnet = |x, resnet: &ResnetBlock2D<B>| resnet.forward(x, None);
        let hidden_states = self.resnets.iter().fold(hidden_states, resnet);
        let downsample = |x, layer: &Downsample2D<B>| layer.forward(x);
        self.downsamplers.iter().fold(hidden_states, downsample)
    }
}

/// A level of the decoder; the last one has no upsampler.
#[derive(Module, Debug)]
struct UpDecoderBlock2D<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    upsamplers: Vec<Upsample2D<B>>,
}

impl<B: NetBackend> UpDecoderBlock2D<B> {
    fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let resnet = |x, resnet: &ResnetBlock2D<B>| resnet.forward(x, None);
        let hidden_states = self.resnets.iter().fold(hidden_states, resnet);
        let upsample = |x, layer: &Upsample2D<B>| layer.forward(x, None);
        self.upsamplers.iter().fold(hidden_states, upsample)
    }
}

/// Two residual blocks with attention between them.
#[derive(Module, Debug)]
struct UNetMidBlock2D<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    attentions: Vec<SpatialAttention<B>>,
}

impl<B: NetBackend> UNetMidBlock2D<B> {
    fn new(config: &AutoencoderKLConfig, device: &B::Device) -> Self {
        let channels = config.block_out_channels[config.block_out_channels.len() - 1];
        let attention = || SpatialAttention::new(config, channels, device);
        Self {
            resnets: resnets(config, 2, channels, channels, device),
            attentions: config
                .mid_block_add_attention
                .then(attention)
                .into_iter()
                .collect(),
        }
    }

    fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let hidden_states = self.resnets[0].forward(hidden_states, None);
        let attend = |x, attention: &SpatialAttention<B>| attention.forward(x);
        let hidden_states = self.attentions.iter().fold(hidden_states, attend);
        self.resnets[1].forward(hidden_states, None)
    }
}

/// Self-attention with one head among the positions of an image, and the residual.
#[derive(Module, Debug)]
struct SpatialAttention<B: Backend> {
    group_norm: GroupNorm<B>,
    to_q: Linear<B>,
    to_k: Linear<B>,
    to_v: Linear<B>,
    to_out: Linear<B>,
}

impl<B: NetBackend> SpatialAttention<B> {
    fn new(config: &AutoencoderKLConfig, channels: usize, device: &B::Device) -> Self {
        let linear = || LinearConfig::new(channels, channels).init(device);
        Self {
            group_norm: norm(config, channels, device),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            to_out: linear(),
        }
    }

    /// In and out `[images, height, width, channels]`. Images are attended to one after the other: the
    /// scores of all at once would be the largest tensor of the whole network.
    fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let [count, height, width, channels] = images.dims();
        let hidden_states = group_norm(&self.group_norm, images.clone());
        let hidden_states = hidden_states.reshape([count, height * width, channels]);
        let query = linear(&self.to_q, hidden_states.clone());
        let key = linear(&self.to_k, hidden_states.clone());
        let value = linear(&self.to_v, hidden_states);
        let attended = (0..count)
            .map(|image| {
                let one = |x: &Tensor<B, 3>| x.clone().narrow(0, image, 1); // [1, P, C]
                attention_tokens(one(&query), one(&key), one(&value), 1)
            })
            .collect();
        let attended = linear(&self.to_out, Tensor::cat(attended, 0));
        add(images, attended.reshape([count, height, width, channels]))
    }
}

fn norm<B: NetBackend>(
    config: &AutoencoderKLConfig,
    channels: usize,
    device: &B::Device,
) -> GroupNorm<B> {
    GroupNormConfig::new(config.norm_num_groups, channels)
        .with_epsilon(NORM_EPS)
        .init(device)
}

fn conv3x3<B: NetBackend>(
    in_channels: usize,
    out_channels: usize,
    device: &B::Device,
) -> Conv2d<B> {
    Conv2dConfig::new([in_channels, out_channels], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .init(device)
}

/// `count` residual blocks, the first of which changes the number of channels.
fn resnets<B: NetBackend>(
    config: &AutoencoderKLConfig,
    count: usize,
    in_channels: usize,
    out_channels: usize,
    device: &B::Device,
) -> Vec<ResnetBlock2D<B>> {
    let block = |index| ResnetBlock2DConfig {
        in_channels: if index == 0 {
            in_channels
        } else {
            out_channels
        },
        out_channels,
        temb_channels: None,
        groups: config.norm_num_groups,
        eps: NORM_EPS,
    };
    (0..count).map(|index| block(index).init(device)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinvert_testkit::{Recording, Tolerance, fixtures_dir};

    /// The rest of the recording is compared in `tests/it/vae.rs`; this output is not public.
    #[test]
    fn the_encoder_agrees_with_the_reference_before_its_last_convolution() {
        let recording = Recording::open("parity/autoencoder_kl/io.safetensors");
        let device = Default::default();
        let files = ModelFiles::folder(fixtures_dir().join("parity/autoencoder_kl"));
        let vae = AutoencoderKL::<burn_flex::Flex>::load(&files, &device, Precision::F32).unwrap();
        let image = channels_last(recording.tensor("image", &device));
        let encoder_out = channels_first(vae.encoder.forward(image));
        recording.expect("encoder_out", encoder_out, Tolerance::Absolute(2e-5));
    }
}
