//! The blocks of the 3-D U-Net. A block on the way down and one on the way up exist in two kinds, with and
//! without attention; here the kind without simply has no attention layers.
//!
//! Source: `unet_3d_blocks.py` of the diffusers library.

use burn::prelude::*;

use crate::kernels::NetBackend;
use crate::layers::adapter::LinearLayer;
use crate::layers::resample::{
    Downsample2D, Downsample2DConfig, DownsamplePadding, Upsample2D, Upsample2DConfig,
};
use crate::layers::resnet::{ResnetBlock2D, ResnetBlock2DConfig};
use crate::layers::temporal::{TemporalConvLayer, TransformerTemporal, TransformerTemporalConfig};
use crate::layers::transformer_2d::{Transformer2D, Transformer2DConfig};
use crate::video_unet::Pass;

use super::UNet3DConditionConfig;

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
            let path = format!("{path}.attentions.{index}");
            let text = pass.encoder_hidden_states.clone();
            hidden_states = attention.forward(hidden_states, text, &pass.place(&path));
            pass.show(&path, &hidden_states);
        }
        if let Some(temp_attention) = self.temp_attentions.get(index) {
            let path = format!("{path}.temp_attentions.{index}");
            hidden_states =
                temp_attention.forward(hidden_states, pass.frames, &path, pass.hooks.temporal);
            pass.show(&path, &hidden_states);
        }
        hidden_states
    }
}

/// The linear layers of the spatial transformers of the block at `path`.
fn spatial_linears<B: NetBackend>(attentions: &[Transformer2D<B>], path: &str) -> Vec<LinearLayer> {
    let attentions = attentions.iter().enumerate();
    attentions
        .flat_map(|(index, attention)| attention.linears(&format!("{path}.attentions.{index}")))
        .collect()
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

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers.resnets.len()
    }

    /// Runs one layer.
    pub fn run_layer(
        &self,
        index: usize,
        hidden_states: Tensor<B, 4>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        let hidden_states = self.layers.forward(index, hidden_states, pass, path);
        if self.downsamplers.is_empty() && index + 1 == self.layers() {
            pass.show(path, &hidden_states);
        }
        hidden_states
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    pub fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        spatial_linears(&self.layers.attentions, path)
    }

    /// Halves height and width, unless this is the last block.
    pub fn downsample(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let downsamplers = self.downsamplers.iter();
        downsamplers.fold(hidden_states, |x, downsampler| downsampler.forward(x))
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
        let attention = format!("{path}.attentions.0");
        hidden_states = self.attentions[0].forward(hidden_states, text, &pass.place(&attention));
        let site = format!("{path}.temp_attentions.0");
        hidden_states =
            self.temp_attentions[0].forward(hidden_states, pass.frames, &site, pass.hooks.temporal);
        hidden_states = self.resnets[1].forward(hidden_states, temb());
        hidden_states = self.temp_convs[1].forward(hidden_states, pass.frames);
        pass.show(path, &hidden_states);
        hidden_states
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    pub fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        spatial_linears(&self.attentions, path)
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

    /// Runs one layer on features with a skip connection appended to their channels.
    pub fn run_layer(
        &self,
        index: usize,
        hidden_states: Tensor<B, 4>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        let hidden_states = self.layers.forward(index, hidden_states, pass, path);
        if self.upsamplers.is_empty() && index + 1 == self.layers.resnets.len() {
            pass.show(path, &hidden_states);
        }
        hidden_states
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    pub fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        spatial_linears(&self.layers.attentions, path)
    }

    /// Enlarges to `size` (height and width), or to twice the size, unless this is the last block.
    pub fn upsample(&self, hidden_states: Tensor<B, 4>, size: Option<[usize; 2]>) -> Tensor<B, 4> {
        let upsamplers = self.upsamplers.iter();
        upsamplers.fold(hidden_states, |x, upsampler| upsampler.forward(x, size))
    }
}
