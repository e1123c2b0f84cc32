//! The layers that mix frames: the temporal transformer and the temporal convolutions.
//!
//! Source: `TransformerTemporalModel` (with double self-attention) and `TemporalConvLayer` of the diffusers
//! library. A temporal transformer turns its features into one sequence of frames for every spatial position
//! and applies `proj_in -> block -> proj_out`; the block is
//!
//! ```text
//! x = x + attn1(norm1(x));   x = x + attn2(norm2(x));   x = x + ff(norm3(x))
//! ```
//!
//! with self-attention over the frames in both places. Such a block is called a *site*. A caller may change
//! what its attentions read through a [`TemporalModulation`]; without one this is the published layer.
//!
//! The motion modules of AnimateDiff (*AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models
//! without Specific Tuning*, arXiv:2307.04725) are the same layer, except that they add the frames'
//! [positions](super::positions) after `norm1` and `norm2`. A modulation is given the sum: what the projections
//! would read.

use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::nn::{
    GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig3d,
};
use burn::prelude::*;

use super::adapter::Place;
use super::apply::{group_norm, group_norm_silu, layer_norm, linear, temporal_conv};
use super::attention::{Attention, AttentionConfig, FeedForward, Projections};
use super::positions::SinusoidalPositions;
use crate::KeyMap;
use crate::kernels::NetBackend;
use crate::kernels::elementwise::add;
use crate::kernels::layout::exchanged;

/// Keys of [`TemporalConvLayer`] that are no Rust field names: the published layer is a list of norm,
/// activation, dropout (not in the first) and convolution.
pub(crate) const KEY_MAP: KeyMap<'static> = &[
    (".conv1.norm.", ".conv1.0."),
    (".conv1.conv.", ".conv1.2."),
    (".conv2.norm.", ".conv2.0."),
    (".conv2.conv.", ".conv2.3."),
    (".conv3.norm.", ".conv3.0."),
    (".conv3.conv.", ".conv3.3."),
    (".conv4.norm.", ".conv4.0."),
    (".conv4.conv.", ".conv4.3."),
];

/// One of the two attentions of a site, and the shape of what passes through it.
#[derive(Debug, Clone, Copy)]
pub struct AttentionAt<'a> {
    /// The site: the block's path in the published checkpoint, for example
    /// `down_blocks.2.temp_attentions.0.transformer_blocks.0`.
    pub site: &'a str,
    /// 0 for `attn1`, 1 for `attn2`.
    pub attention: usize,
    /// Clips in the batch.
    pub batch: usize,
    /// Rows of the spatial grid.
    pub height: usize,
    /// Columns of the spatial grid.
    pub width: usize,
}

/// What a caller changes inside the temporal attentions. Positions are ordered batch first, then row, then
/// column: position = `(batch * height + row) * width + column`.
pub trait TemporalModulation<B: Backend> {
    /// What queries and keys, and what values are projected from, given the normalised features
    /// `[positions, frames, channels]`, with the positions of the frames added where the layer has such. The
    /// published layer reads the same features for both.
    fn inputs(&self, at: AttentionAt<'_>, features: Tensor<B, 3>) -> AttentionInputs<B>;

    /// Changes the projections, each `[positions, frames, inner channels]`; as they are, unless overridden.
    fn projections(&self, _at: AttentionAt<'_>, projections: Projections<B>) -> Projections<B> {
        projections
    }
}

/// Inputs of a temporal attention, each `[positions, frames, channels]`.
#[derive(Debug, Clone)]
pub struct AttentionInputs<B: Backend> {
    /// What queries and keys are projected from.
    pub query_key: Tensor<B, 3>,
    /// What values are projected from.
    pub value: Tensor<B, 3>,
}

/// Sizes of a [`TransformerTemporal`].
#[derive(Config, Debug)]
pub struct TransformerTemporalConfig {
    /// Channels of the features.
    pub in_channels: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels per head; the block is `heads * head_dim` wide.
    pub head_dim: usize,
    /// Groups of the first norm.
    pub norm_num_groups: usize,
    /// Frames whose positions are added to what the attentions read; `None` for a layer that knows none.
    pub max_positions: Option<usize>,
}

impl TransformerTemporalConfig {
    /// Builds the transformer with random weights, which are drawn only when first read.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> TransformerTemporal<B> {
        let inner_dim = self.heads * self.head_dim;
        let attention = AttentionConfig::new(inner_dim, inner_dim, self.heads, self.head_dim);
        let norm = || {
            LayerNormConfig::new(inner_dim)
                .with_epsilon(1e-5)
                .init(device)
        };
        let positions = |count| SinusoidalPositions::new(count, inner_dim, device);
        let block = TemporalBlock {
            pos_embed: self.max_positions.map(positions),
            norm1: norm(),
            attn1: attention.init(device),
            norm2: norm(),
            attn2: attention.init(device),
            norm3: norm(),
            ff: FeedForward::new(inner_dim, device),
        };
        TransformerTemporal {
            norm: GroupNormConfig::new(self.norm_num_groups, self.in_channels)
                .with_epsilon(1e-6)
                .init(device),
            proj_in: LinearConfig::new(self.in_channels, inner_dim).init(device),
            transformer_blocks: vec![block],
            proj_out: LinearConfig::new(inner_dim, self.in_channels).init(device),
        }
    }
}

/// Attention among the frames of every spatial position; see the [module docs](self).
#[derive(Module, Debug)]
pub struct TransformerTemporal<B: Backend> {
    norm: GroupNorm<B>,
    proj_in: Linear<B>,
    transformer_blocks: Vec<TemporalBlock<B>>,
    proj_out: Linear<B>,
}

impl<B: NetBackend> TransformerTemporal<B> {
    /// `hidden_states` and the result are `[batch * frames, height, width, channels]`. `path` is this layer's
    /// path in the network, from which its site gets its name.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 4>,
        frames: usize,
        path: &str,
        modulation: Option<&dyn TemporalModulation<B>>,
    ) -> Tensor<B, 4> {
        let [images, height, width, channels] = hidden_states.dims();
        let (batch, positions) = (images / frames, height * width);
        let clips = hidden_states
            .clone()
            .reshape([batch, frames, positions, channels]);
        let normed = group_norm(&self.norm, clips);
        let sequences = exchanged(normed) // [B, H*W, N, C]
            .reshape([batch * positions, frames, channels]);
        let mut features = linear(&self.proj_in, sequences); // [P, N, inner]
        for (index, block) in self.transformer_blocks.iter().enumerate() {
            let site = format!("{path}.transformer_blocks.{index}");
            let at = AttentionAt {
                site: &site,
                attention: 0,
                batch,
                height,
                width,
            };
            features = block.forward(features, at, modulation);
        }
        let output = linear(&self.proj_out, features).reshape([batch, positions, frames, channels]);
        let output = exchanged(output) // [B, N, H*W, C]
            .reshape([images, height, width, channels]);
        add(output, hidden_states)
    }
}

/// A transformer block with two self-attentions: a site.
#[derive(Module, Debug)]
pub struct TemporalBlock<B: Backend> {
    pos_embed: Option<SinusoidalPositions<B>>,
    norm1: LayerNorm<B>,
    attn1: Attention<B>,
    norm2: LayerNorm<B>,
    attn2: Attention<B>,
    norm3: LayerNorm<B>,
    ff: FeedForward<B>,
}

impl<B: NetBackend> TemporalBlock<B> {
    /// `[positions, frames, channels]` to the same shape.
    fn forward(
        &self,
        mut features: Tensor<B, 3>,
        at: AttentionAt<'_>,
        modulation: Option<&dyn TemporalModulation<B>>,
    ) -> Tensor<B, 3> {
        for (index, (norm, attention)) in [(&self.norm1, &self.attn1), (&self.norm2, &self.attn2)]
            .into_iter()
            .enumerate()
        {
            let normed = layer_norm(norm, features.clone());
            let normed = match &self.pos_embed {
                Some(positions) => positions.add(normed),
                None => normed,
            };
            let attended = match modulation {
                None => attention.attend(attention.project(normed.clone(), normed)),
                Some(modulation) => {
                    let at = AttentionAt {
                        attention: index,
                        ..at
                    };
                    let inputs = modulation.inputs(at, normed);
                    let projections = attention.project(inputs.query_key, inputs.value);
                    attention.attend(modulation.projections(at, projections))
                }
            };
            features = add(features, attended);
        }
        let normed = layer_norm(&self.norm3, features.clone());
        add(features, self.ff.forward(normed, &Place::new("", None)))
    }
}

/// Four convolutions over neighbouring frames, with a residual.
#[derive(Module, Debug)]
pub struct TemporalConvLayer<B: Backend> {
    conv1: NormedConv3d<B>,
    conv2: NormedConv3d<B>,
    conv3: NormedConv3d<B>,
    conv4: NormedConv3d<B>,
}

/// Group norm, SiLU and a convolution over three frames.
#[derive(Module, Debug)]
struct NormedConv3d<B: Backend> {
    norm: GroupNorm<B>,
    conv: Conv3d<B>,
}

impl<B: NetBackend> TemporalConvLayer<B> {
    /// Builds the layer for `channels` channels. The published layer has dropout between its convolutions
    /// while it is trained; here the network is frozen and dropout is left out.
    pub fn new(channels: usize, norm_num_groups: usize, device: &B::Device) -> Self {
        let normed_conv = || NormedConv3d {
            norm: GroupNormConfig::new(norm_num_groups, channels)
                .with_epsilon(1e-5)
                .init(device),
            conv: Conv3dConfig::new([channels, channels], [3, 1, 1])
                .with_padding(PaddingConfig3d::Explicit(1, 0, 0))
                .init(device),
        };
        Self {
            conv1: normed_conv(),
            conv2: normed_conv(),
            conv3: normed_conv(),
            conv4: normed_conv(),
        }
    }

    /// `[batch * frames, height, width, channels]` to the same shape.
    pub fn forward(&self, hidden_states: Tensor<B, 4>, frames: usize) -> Tensor<B, 4> {
        let shape @ [images, height, width, channels] = hidden_states.dims();
        let clips = [images / frames, frames, height * width, channels];
        let mut features = hidden_states.clone().reshape(clips);
        for layer in [&self.conv1, &self.conv2, &self.conv3, &self.conv4] {
            features = temporal_conv(&layer.conv, group_norm_silu(&layer.norm, features));
        }
        add(hidden_states, features.reshape(shape))
    }
}
