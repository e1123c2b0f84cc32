//! The blocks of the 3-D U-Net. A block on the way down and one on the way up exist in two kinds, with and
//! without attention; here the kind without simply has no attention layers.
//!
//! Source: `unet_3d_blocks.py` of the diffusers library.

use burn::prelude::*;

use crate::kernels::NetBackend;
use crate::layers::resample::{
    Downsample2D, Downsample2DConfig, DownsamplePadding, Upsample2D, Upsample2DConfig,
};
use crate::layers::resnet::{ResnetBlock2D, ResnetBlock2DConfig};
use crate::layers::temporal::{
    TemporalConvLayer, TemporalModulation, TransformerTemporal, TransformerTemporalConfig,
};
use crate::layers::transformer_2d::{Transformer2D, Transformer2DConfig};

use super::UNet3DConditionConfig;

/// What every layer of one forward pass shares.
pub(super) struct Pass<'a, B: Backend> {
    /// Frames per clip.
    pub frames: usize,
    /// Time embedding, `[batch * frames, channels]`.
    pub temb: Tensor<B, 2>,
    /// Text states, `[batch, text tokens, channels]`.
    pub encoder_hidden_states: Tensor<B, 3>,
    /// What the caller changes inside the temporal attentions.
    pub modulation: Option<&'a dyn TemporalModulation<B>>,
    /// Receives the output of every layer by its path.
    pub observe: Option<&'a mut Observer<'a, B>>,
}

/// Receives outputs `[batch * frames, channels, height, width]` by the path of the layer they come from.
pub type Observer<'a, B> = dyn FnMut(&str, Tensor<B, 4>) + 'a;

impl<B: NetBackend> Pass<'_, B> {
    pub(super) fn show(&mut self, path: &str, output: &Tensor<B, 4>) {
        if let Some(observe) = &mut self.observe {
            observe(path, output.clone());
        }
    }
}

/// Layers at one level: each a residual block, a temporal convolution and, in blocks with attention, a
/// spatial and a temporal transformer.
#[derive(Module, Debug)]
struct Layers<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    temp_convs: Vec<TemporalConvLayer<B>>,
    attentions: Vec<Transformer2D<B>>,
    temp_attentions: Vec<TransformerTemporal<B>>,
}

/// What a block of the U-Net is built from.
struct LayerPlan {
    /// Channels into and out of each layer.
    channels: Vec<(usize, usize)>,
    /// Whether the layers attend.
    attends: bool,
}

impl<B: NetBackend> Layers<B> {
    fn new(config: &UNet3DConditionConfig, plan: &LayerPlan, device: &B::Device) -> Self {
        let out = |&(_, out): &(usize, usize)| out;
        let attending = || plan.channels.iter().map(out).filter(|_| plan.attends);
        Self {
            resnets: plan
                .channels
                .iter()
                .map(|&(from, to)| resnet(config, from, to, device))
                .collect(),
            temp_convs: plan
                .channels
                .iter()
                .map(|c| temp_conv(config, out(c), device))
                .collect(),
            attentions: attending()
                .map(|channels| attention(config, channels, device))
                .collect(),
            temp_attentions: attending()
                .map(|channels| temp_attention(config, channels, device))
                .collect(),
        }
    }

    /// Runs layer `index`.
    fn forward(
        &self,
        index: usize,
        hidden_states: Tensor<B, 4>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        let mut hidden_states = self.resnets[index].forward(hidden_states, Some(pass.temb.clone()));
        pass.show(&format!("{path}.resnets.{index}"), &hidden_states);
        hidden_states = self.temp_convs[index].forward(hidden_states, pass.frames);
        pass.show(&format!("{path}.temp_convs.{index}"), &hidden_states);
        if let Some(attention) = self.attentions.get(index) {
            hidden_states = attention.forward(hidden_states, pass.encoder_hidden_states.clone());
            pass.show(&format!("{path}.attentions.{index}"), &hidden_states);
        }
        if let Some(temp_attention) = self.temp_attentions.get(index) {
            let path = format!("{path}.temp_attentions.{index}");
            hidden_states =
                temp_attention.forward(hidden_states, pass.frames, &path, pass.modulation);
            pass.show(&path, &hidden_states);
        }
        hidden_states
    }
}

fn resnet<B: NetBackend>(
    config: &UNet3DConditionConfig,
    in_channels: usize,
    out_channels: usize,
    device: &B::Device,
) -> ResnetBlock2D<B> {
    ResnetBlock2DConfig {
        in_channels,
        out_channels,
        temb_channels: Some(super::time_embed_dim(config)),
        groups: config.norm_num_groups,
        eps: config.norm_eps,
    }
    .init(device)
}

fn temp_conv<B: NetBackend>(
    config: &UNet3DConditionConfig,
    channels: usize,
    device: &B::Device,
) -> TemporalConvLayer<B> {
    TemporalConvLayer::new(channels, config.norm_num_groups, device)
}

fn attention<B: NetBackend>(
    config: &UNet3DConditionConfig,
    in_channels: usize,
    device: &B::Device,
) -> Transformer2D<B> {
    Transformer2DConfig {
        in_channels,
        heads: in_channels / config.attention_head_dim,
        head_dim: config.attention_head_dim,
        cross_attention_dim: config.cross_attention_dim,
        norm_num_groups: config.norm_num_groups,
    }
    .init(device)
}

fn temp_attention<B: NetBackend>(
    config: &UNet3DConditionConfig,
    in_channels: usize,
    device: &B::Device,
) -> TransformerTemporal<B> {
    TransformerTemporalConfig {
        in_channels,
        heads: in_channels / config.attention_head_dim,
        head_dim: config.attention_head_dim,
        norm_num_groups: config.norm_num_groups,
    }
    .init(device)
}

/// A block on the way down (`CrossAttnDownBlock3D` or `DownBlock3D`).
#[derive(Module, Debug)]
pub(super) struct DownBlock3D<B: Backend> {
    layers: Layers<B>,
    downsamplers: Vec<Downsample2D<B>>,
}

impl<B: NetBackend> DownBlock3D<B> {
    /// Builds the block at `level`, counted from the finest.
    pub fn new(config: &UNet3DConditionConfig, level: usize, device: &B::Device) -> Self {
        let channels = config.block_out_channels[level];
        let in_channels = config.block_out_channels[level.saturating_sub(1)];
        let layer_input = |index| if index == 0 { in_channels } else { channels };
        let plan = LayerPlan {
            channels: (0..config.layers_per_block)
                .map(|index| (layer_input(index), channels))
                .collect(),
            attends: config.down_block_types[level].starts_with("CrossAttn"),
        };
        let is_last = level + 1 == config.block_out_channels.len();
        let downsample = Downsample2DConfig::new(channels, DownsamplePadding::Symmetric);
        Self {
            layers: Layers::new(config, &plan, device),
            downsamplers: (0..usize::from(!is_last))
                .map(|_| downsample.init(device))
                .collect(),
        }
    }

    /// Appends the output of every layer and of the downsampler to `skips`, and returns the last.
    pub fn forward(
        &self,
        mut hidden_states: Tensor<B, 4>,
        skips: &mut Vec<Tensor<B, 4>>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        for index in 0..self.layers.resnets.len() {
            hidden_states = self.layers.forward(index, hidden_states, pass, path);
            skips.push(hidden_states.clone());
        }
        for downsampler in &self.downsamplers {
            hidden_states = downsampler.forward(hidden_states);
            skips.push(hidden_states.clone());
        }
        pass.show(path, &hidden_states);
        hidden_states
    }
}

/// The block in the middle (`UNetMidBlock3DCrossAttn`): attention between two residual blocks.
#[derive(Module, Debug)]
pub(super) struct MidBlock3D<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    temp_convs: Vec<TemporalConvLayer<B>>,
    attentions: Vec<Transformer2D<B>>,
    temp_attentions: Vec<TransformerTemporal<B>>,
}

impl<B: NetBackend> MidBlock3D<B> {
    /// Builds the block.
    pub fn new(config: &UNet3DConditionConfig, device: &B::Device) -> Self {
        let channels = config.block_out_channels[config.block_out_channels.len() - 1];
        Self {
            resnets: (0..2)
                .map(|_| resnet(config, channels, channels, device))
                .collect(),
            temp_convs: (0..2)
                .map(|_| temp_conv(config, channels, device))
                .collect(),
            attentions: vec![attention(config, channels, device)],
            temp_attentions: vec![temp_attention(config, channels, device)],
        }
    }

    /// `[batch * frames, channels, height, width]` to the same shape.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 4>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        let temb = || Some(pass.temb.clone());
        let text = pass.encoder_hidden_states.clone();
        let mut hidden_states = self.resnets[0].forward(hidden_states, temb());
        hidden_states = self.temp_convs[0].forward(hidden_states, pass.frames);
        hidden_states = self.attentions[0].forward(hidden_states, text);
        let site = format!("{path}.temp_attentions.0");
        hidden_states =
            self.temp_attentions[0].forward(hidden_states, pass.frames, &site, pass.modulation);
        hidden_states = self.resnets[1].forward(hidden_states, temb());
        hidden_states = self.temp_convs[1].forward(hidden_states, pass.frames);
        pass.show(path, &hidden_states);
        hidden_states
    }
}

/// A block on the way up (`CrossAttnUpBlock3D` or `UpBlock3D`).
#[derive(Module, Debug)]
pub(super) struct UpBlock3D<B: Backend> {
    layers: Layers<B>,
    upsamplers: Vec<Upsample2D<B>>,
}

impl<B: NetBackend> UpBlock3D<B> {
    /// Builds block `index`, counted from the coarsest level.
    pub fn new(config: &UNet3DConditionConfig, index: usize, device: &B::Device) -> Self {
        let levels = config.block_out_channels.len();
        let level = levels - 1 - index;
        let channels = config.block_out_channels[level];
        let from_below = config.block_out_channels[(level + 1).min(levels - 1)];
        let from_above = config.block_out_channels[level.saturating_sub(1)];
        let last = config.layers_per_block;
        let layer_input = |layer| {
            let hidden = if layer == 0 { from_below } else { channels };
            let skip = if layer == last { from_above } else { channels };
            hidden + skip
        };
        let plan = LayerPlan {
            channels: (0..=last)
                .map(|layer| (layer_input(layer), channels))
                .collect(),
            attends: config.up_block_types[index].starts_with("CrossAttn"),
        };
        let upsample = Upsample2DConfig::new(channels);
        Self {
            layers: Layers::new(config, &plan, device),
            upsamplers: (0..usize::from(level > 0))
                .map(|_| upsample.init(device))
                .collect(),
        }
    }

    /// Takes one skip connection per layer off the end of `skips`.
    pub fn forward(
        &self,
        mut hidden_states: Tensor<B, 4>,
        skips: &mut Vec<Tensor<B, 4>>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        let first = skips.len() - self.layers.resnets.len();
        for (index, skip) in skips.split_off(first).into_iter().rev().enumerate() {
            hidden_states = Tensor::cat(vec![hidden_states, skip], 1);
            hidden_states = self.layers.forward(index, hidden_states, pass, path);
        }
        for upsampler in &self.upsamplers {
            // An odd size was halved upwards on the way down; the next skip connection knows what it was.
            let size = skips.last().map(|skip| [skip.dims()[2], skip.dims()[3]]);
            hidden_states = upsampler.forward(hidden_states, size);
        }
        pass.show(path, &hidden_states);
        hidden_states
    }
}
