//! The blocks of a U-Net: rows of layers, with a change of size at their end. What a layer consists of depends on
//! the network and the block; a list of layers that a network lacks is empty here.
//!
//! Source: `unet_2d_blocks.py`, `unet_3d_blocks.py` and `unet_motion_model.py` of the diffusers library.

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

use super::{FrameMixing, UNetPlan};

/// Layers at one level: each a residual block, and then, as far as the network has them, a temporal convolution, a
/// spatial transformer, and a temporal transformer or a motion module.
#[derive(Module, Debug)]
struct Layers<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    temp_convs: Vec<TemporalConvLayer<B>>,
    attentions: Vec<Transformer2D<B>>,
    temp_attentions: Vec<TransformerTemporal<B>>,
    motion_modules: Vec<TransformerTemporal<B>>,
}

/// What the layers of a block are built from.
struct LayerPlan {
    level: usize,
    /// Channels into each layer.
    from: Vec<usize>,
    /// How many of them attend, counted from the first.
    attending: usize,
    /// How many of them have a motion module, if the network has such.
    moving: usize,
}

impl<B: NetBackend> Layers<B> {
    fn new(unet: &UNetPlan, plan: &LayerPlan, device: &B::Device) -> Self {
        let channels = unet.block_out_channels[plan.level];
        let resnet = |from: &usize| ResnetBlock2DConfig {
            in_channels: *from,
            out_channels: channels,
            temb_channels: Some(unet.time_embed_dim()),
            groups: unet.norm_num_groups,
            eps: unet.norm_eps,
        };
        let heads = unet.heads[plan.level];
        let attention = Transformer2DConfig {
            in_channels: channels,
            heads,
            head_dim: channels / heads,
            cross_attention_dim: unet.cross_attention_dim,
            norm_num_groups: unet.norm_num_groups,
        };
        let temporal = |heads: usize, max_positions| TransformerTemporalConfig {
            in_channels: channels,
            heads,
            head_dim: channels / heads,
            norm_num_groups: unet.norm_num_groups,
            max_positions,
        };
        let mut layers = Self {
            resnets: plan
                .from
                .iter()
                .map(|from| resnet(from).init(device))
                .collect(),
            temp_convs: Vec::new(),
            attentions: (0..plan.attending)
                .map(|_| attention.init(device))
                .collect(),
            temp_attentions: Vec::new(),
            motion_modules: Vec::new(),
        };
        match &unet.mixing {
            FrameMixing::Interleaved => {
                let temp_conv = |_| TemporalConvLayer::new(channels, unet.norm_num_groups, device);
                layers.temp_convs = plan.from.iter().map(temp_conv).collect();
                let temp_attention = |_| temporal(heads, None).init(device);
                layers.temp_attentions = (0..plan.attending).map(temp_attention).collect();
            }
            FrameMixing::MotionModules {
                heads, max_frames, ..
            } => {
                let heads = heads[plan.level];
                let motion_module = |_| temporal(heads, Some(*max_frames)).init(device);
                layers.motion_modules = (0..plan.moving).map(motion_module).collect();
            }
        }
        layers
    }

    fn len(&self) -> usize {
        self.resnets.len()
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        let attentions = self.attentions.iter().enumerate();
        attentions
            .flat_map(|(index, layer)| layer.linears(&format!("{path}.attentions.{index}")))
            .collect()
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
        if let Some(temp_conv) = self.temp_convs.get(index) {
            hidden_states = temp_conv.forward(hidden_states, pass.frames);
            pass.show(&format!("{path}.temp_convs.{index}"), &hidden_states);
        }
        if let Some(attention) = self.attentions.get(index) {
            let path = format!("{path}.attentions.{index}");
            let text = pass.encoder_hidden_states.clone();
            hidden_states = pass.for_every_text(hidden_states);
            hidden_states = attention.forward(hidden_states, text, &pass.place(&path));
            pass.show(&path, &hidden_states);
        }
        for (list, layers) in [
            ("temp_attentions", &self.temp_attentions),
            ("motion_modules", &self.motion_modules),
        ] {
            if let Some(transformer) = layers.get(index) {
                let path = format!("{path}.{list}.{index}");
                hidden_states =
                    transformer.forward(hidden_states, pass.frames, &path, pass.hooks.temporal);
                pass.show(&path, &hidden_states);
            }
        }
        hidden_states
    }
}

/// A block on the way down.
#[derive(Module, Debug)]
pub(super) struct DownBlock<B: Backend> {
    layers: Layers<B>,
    downsamplers: Vec<Downsample2D<B>>,
}

impl<B: NetBackend> DownBlock<B> {
    /// Builds the block at `level`, counted from the finest.
    pub fn new(unet: &UNetPlan, level: usize, device: &B::Device) -> Self {
        let channels = unet.block_out_channels[level];
        let in_channels = unet.block_out_channels[level.saturating_sub(1)];
        let layers = unet.layers_per_block;
        let layer_input = |index| if index == 0 { in_channels } else { channels };
        let plan = LayerPlan {
            level,
            from: (0..layers).map(layer_input).collect(),
            attending: if unet.down_attends[level] { layers } else { 0 },
            moving: layers,
        };
        let is_last = level + 1 == unet.block_out_channels.len();
        let downsample = Downsample2DConfig::new(channels, DownsamplePadding::Symmetric);
        Self {
            layers: Layers::new(unet, &plan, device),
            downsamplers: (0..usize::from(!is_last))
                .map(|_| downsample.init(device))
                .collect(),
        }
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    pub fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        self.layers.spatial_linears(path)
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers.len()
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

    /// Halves height and width, unless this is the last block.
    pub fn downsample(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let downsamplers = self.downsamplers.iter();
        downsamplers.fold(hidden_states, |x, downsampler| downsampler.forward(x))
    }
}

/// The block in the middle: two layers, of which only the first attends and mixes frames by attention.
#[derive(Module, Debug)]
pub(super) struct MidBlock<B: Backend> {
    layers: Layers<B>,
}

impl<B: NetBackend> MidBlock<B> {
    /// Builds the block.
    pub fn new(unet: &UNetPlan, device: &B::Device) -> Self {
        let level = unet.block_out_channels.len() - 1;
        let has_motion_module = match unet.mixing {
            FrameMixing::Interleaved => false,
            FrameMixing::MotionModules { in_mid_block, .. } => in_mid_block,
        };
        let plan = LayerPlan {
            level,
            from: vec![unet.block_out_channels[level]; 2],
            attending: 1,
            moving: usize::from(has_motion_module),
        };
        Self {
            layers: Layers::new(unet, &plan, device),
        }
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    pub fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        self.layers.spatial_linears(path)
    }

    /// `[batch * frames, height, width, channels]` to the same shape.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 4>,
        pass: &mut Pass<'_, B>,
        path: &str,
    ) -> Tensor<B, 4> {
        let layers = 0..self.layers.len();
        let hidden_states = layers.fold(hidden_states, |hidden_states, index| {
            self.layers.forward(index, hidden_states, pass, path)
        });
        pass.show(path, &hidden_states);
        hidden_states
    }
}

/// A block on the way up.
#[derive(Module, Debug)]
pub(super) struct UpBlock<B: Backend> {
    layers: Layers<B>,
    upsamplers: Vec<Upsample2D<B>>,
}

impl<B: NetBackend> UpBlock<B> {
    /// Builds block `index`, counted from the coarsest level.
    pub fn new(unet: &UNetPlan, index: usize, device: &B::Device) -> Self {
        let levels = unet.block_out_channels.len();
        let level = levels - 1 - index;
        let channels = unet.block_out_channels[level];
        let from_below = unet.block_out_channels[(level + 1).min(levels - 1)];
        let from_above = unet.block_out_channels[level.saturating_sub(1)];
        let last = unet.layers_per_block;
        let layer_input = |layer| {
            let hidden = if layer == 0 { from_below } else { channels };
            let skip = if layer == last { from_above } else { channels };
            hidden + skip
        };
        let plan = LayerPlan {
            level,
            from: (0..=last).map(layer_input).collect(),
            attending: if unet.up_attends[index] { last + 1 } else { 0 },
            moving: last + 1,
        };
        let upsample = Upsample2DConfig::new(channels);
        Self {
            layers: Layers::new(unet, &plan, device),
            upsamplers: (0..usize::from(level > 0))
                .map(|_| upsample.init(device))
                .collect(),
        }
    }

    /// The linear layers of the spatial transformers of the block at `path`.
    pub fn spatial_linears(&self, path: &str) -> Vec<LinearLayer> {
        self.layers.spatial_linears(path)
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
        if self.upsamplers.is_empty() && index + 1 == self.layers.len() {
            pass.show(path, &hidden_states);
        }
        hidden_states
    }

    /// Enlarges to `size` (height and width), or to twice the size, unless this is the last block.
    pub fn upsample(&self, hidden_states: Tensor<B, 4>, size: Option<[usize; 2]>) -> Tensor<B, 4> {
        let upsamplers = self.upsamplers.iter();
        upsamplers.fold(hidden_states, |x, upsampler| upsampler.forward(x, size))
    }
}
