//! The 3-D U-Net of ModelScope, ZeroScope and VideoCrafter: a 2-D U-Net over frames whose every layer is
//! followed by one that mixes frames.
//!
//! Source: `UNet3DConditionModel` of the diffusers library, whose field names, keys and configuration are kept.
//! It predicts noise (or velocity) from noisy latents `[batch, channels, frames, height, width]`, a timestep
//! and text states. Like that library, and unlike the published code of the method, it runs the temporal
//! layers on a single frame too.

mod blocks;
mod config;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;

pub use blocks::Observer;
use blocks::{DownBlock3D, MidBlock3D, Pass, UpBlock3D};
pub use config::{SampleSize, SitePart, TemporalSite, UNet3DConditionConfig};

use crate::kernels::NetBackend;
use crate::kernels::elementwise::silu;
use crate::layers::apply::{conv2d, group_norm_silu};
use crate::layers::temporal::{TemporalModulation, TransformerTemporal, TransformerTemporalConfig};
use crate::layers::{attention, temporal};
use crate::weights::OpenWeights;
use crate::{Error, KeyMap, ModelFiles, Weights};

/// Heads of the temporal transformer before the first block; the published class fixes them.
const TRANSFORMER_IN_HEADS: usize = 8;

/// Keys that are no Rust field names.
const KEY_MAPS: [KeyMap<'static>; 3] =
    [&[(".layers.", ".")], attention::KEY_MAP, temporal::KEY_MAP];

/// Channels of the time embedding.
fn time_embed_dim(config: &UNet3DConditionConfig) -> usize {
    4 * config.block_out_channels[0]
}

/// The network; see the [module docs](self).
#[derive(Module, Debug)]
pub struct UNet3DCondition<B: Backend> {
    conv_in: Conv2d<B>,
    time_embedding: TimestepEmbedding<B>,
    transformer_in: TransformerTemporal<B>,
    down_blocks: Vec<DownBlock3D<B>>,
    mid_block: MidBlock3D<B>,
    up_blocks: Vec<UpBlock3D<B>>,
    conv_norm_out: GroupNorm<B>,
    conv_out: Conv2d<B>,
    time_channels: usize,
}

impl UNet3DConditionConfig {
    /// Builds the network with random weights, which are drawn only when first read.
    ///
    /// # Panics
    /// If [`check`](Self::check) would refuse the configuration.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> UNet3DCondition<B> {
        let channels = self.block_out_channels[0];
        let conv3x3 = |from, to| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        let transformer_in = TransformerTemporalConfig {
            in_channels: channels,
            heads: TRANSFORMER_IN_HEADS,
            head_dim: self.attention_head_dim,
            norm_num_groups: self.norm_num_groups,
        };
        let levels = self.block_out_channels.len();
        UNet3DCondition {
            conv_in: conv3x3(self.in_channels, channels),
            time_embedding: TimestepEmbedding::new(channels, time_embed_dim(self), device),
            transformer_in: transformer_in.init(device),
            down_blocks: (0..levels)
                .map(|level| DownBlock3D::new(self, level, device))
                .collect(),
            mid_block: MidBlock3D::new(self, device),
            up_blocks: (0..levels)
                .map(|index| UpBlock3D::new(self, index, device))
                .collect(),
            conv_norm_out: GroupNormConfig::new(self.norm_num_groups, channels)
                .with_epsilon(self.norm_eps)
                .init(device),
            conv_out: conv3x3(channels, self.out_channels),
            time_channels: channels,
        }
    }
}

impl<B: NetBackend> UNet3DCondition<B> {
    /// Reads `config.json` and the weights (`diffusion_pytorch_model.safetensors`, whole or in shards) of a
    /// `unet/` folder. The weights are frozen.
    ///
    /// # Errors
    /// If a file is missing or damaged, the configuration is not supported, or the weights do not fit it.
    pub fn load(
        files: &ModelFiles,
        device: &B::Device,
    ) -> Result<(UNet3DConditionConfig, Self), Error> {
        Self::filled(files, device, Weights::open)
    }

    /// Checks that the weights of a `unet/` folder fit the network by name and shape, without reading their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(files: &ModelFiles, device: &B::Device) -> Result<(), Error> {
        Self::filled(files, device, Weights::open_shapes).map(drop)
    }

    fn filled(
        files: &ModelFiles,
        device: &B::Device,
        open: OpenWeights,
    ) -> Result<(UNet3DConditionConfig, Self), Error> {
        let config: UNet3DConditionConfig = files.json("config.json")?;
        config.check(&files.label("config.json"))?;
        let weights = open(files, "diffusion_pytorch_model")?;
        let network = weights.fill(config.init(device), &KEY_MAPS.concat())?;
        Ok((config, network))
    }

    /// Predicts noise, or velocity for a `v_prediction` model.
    ///
    /// `sample` is `[batch, channels, frames, height, width]`, as is the result with the output channels;
    /// `timesteps` has one entry per clip or one for all; `encoder_hidden_states` is
    /// `[batch, text tokens, cross_attention_dim]`. `modulation` changes what the temporal attentions read.
    ///
    /// # Panics
    /// If the batch sizes or channels do not fit each other.
    pub fn forward(
        &self,
        sample: Tensor<B, 5>,
        timesteps: &[f64],
        encoder_hidden_states: Tensor<B, 3>,
        modulation: Option<&dyn TemporalModulation<B>>,
    ) -> Tensor<B, 5> {
        self.run(sample, timesteps, encoder_hidden_states, modulation, None)
    }

    /// As [`forward`](Self::forward), and hands the output of every block and of every layer inside the
    /// blocks to `observe` as it is computed, `[batch * frames, channels, height, width]`, by its path.
    pub fn forward_observed<'a>(
        &self,
        sample: Tensor<B, 5>,
        timesteps: &[f64],
        encoder_hidden_states: Tensor<B, 3>,
        observe: &'a mut Observer<'a, B>,
    ) -> Tensor<B, 5> {
        self.run(
            sample,
            timesteps,
            encoder_hidden_states,
            None,
            Some(observe),
        )
    }

    fn run<'a>(
        &self,
        sample: Tensor<B, 5>,
        timesteps: &[f64],
        encoder_hidden_states: Tensor<B, 3>,
        modulation: Option<&'a dyn TemporalModulation<B>>,
        observe: Option<&'a mut Observer<'a, B>>,
    ) -> Tensor<B, 5> {
        let [batch, channels, frames, height, width] = sample.dims();
        assert!(
            timesteps.len() == batch || timesteps.len() == 1,
            "{} timesteps for a batch of {batch}",
            timesteps.len()
        );
        assert_eq!(
            encoder_hidden_states.dims()[0],
            batch,
            "rows of text states"
        );
        let temb = self.time_embedding.forward(timestep_features(
            timesteps,
            self.time_channels,
            &sample.device(),
        )); // [batch or 1, channels]
        let temb_channels = temb.dims()[1];
        let temb = temb
            .unsqueeze_dim::<3>(1)
            .expand([batch, frames, temb_channels])
            .reshape([batch * frames, temb_channels]);
        let mut pass = Pass {
            frames,
            temb,
            encoder_hidden_states,
            modulation,
            observe,
        };

        let images = sample
            .swap_dims(1, 2)
            .reshape([batch * frames, channels, height, width]);
        let mut hidden_states = conv2d(&self.conv_in, images);
        pass.show("conv_in", &hidden_states);
        hidden_states =
            self.transformer_in
                .forward(hidden_states, frames, "transformer_in", pass.modulation);
        pass.show("transformer_in", &hidden_states);

        let mut skips = vec![hidden_states.clone()];
        for (level, block) in self.down_blocks.iter().enumerate() {
            hidden_states = block.forward(
                hidden_states,
                &mut skips,
                &mut pass,
                &format!("down_blocks.{level}"),
            );
        }
        hidden_states = self
            .mid_block
            .forward(hidden_states, &mut pass, "mid_block");
        for (index, block) in self.up_blocks.iter().enumerate() {
            hidden_states = block.forward(
                hidden_states,
                &mut skips,
                &mut pass,
                &format!("up_blocks.{index}"),
            );
        }

        let output = conv2d(
            &self.conv_out,
            group_norm_silu(&self.conv_norm_out, hidden_states),
        );
        let out_channels = output.dims()[1];
        output
            .reshape([batch, frames, out_channels, height, width])
            .swap_dims(1, 2)
    }
}

/// Two linear layers with a SiLU between them.
#[derive(Module, Debug)]
struct TimestepEmbedding<B: Backend> {
    linear_1: Linear<B>,
    linear_2: Linear<B>,
}

impl<B: NetBackend> TimestepEmbedding<B> {
    fn new(in_channels: usize, channels: usize, device: &B::Device) -> Self {
        Self {
            linear_1: LinearConfig::new(in_channels, channels).init(device),
            linear_2: LinearConfig::new(channels, channels).init(device),
        }
    }

    fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.linear_2.forward(silu(self.linear_1.forward(features)))
    }
}

/// Sinusoidal features of timesteps, `[timesteps, channels]`: cosines first, then sines, at wavelengths from
/// 2π to 20000π (`flip_sin_to_cos`, no frequency shift).
fn timestep_features<B: NetBackend>(
    timesteps: &[f64],
    channels: usize,
    device: &B::Device,
) -> Tensor<B, 2> {
    let half = channels / 2;
    let angle = |t: f64, i: usize| t * (-(10_000f64.ln()) * i as f64 / half as f64).exp();
    let features: Vec<f32> = timesteps
        .iter()
        .flat_map(|&t| {
            let cosines = (0..half).map(move |i| angle(t, i).cos() as f32);
            let sines = (0..half).map(move |i| angle(t, i).sin() as f32);
            cosines.chain(sines)
        })
        .collect();
    Tensor::from_data(
        TensorData::new(features, [timesteps.len(), channels]),
        device,
    )
}
