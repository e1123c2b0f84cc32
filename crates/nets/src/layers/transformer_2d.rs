//! The spatial transformer: attention among the positions of one frame, then to the text.
//!
//! Source: `Transformer2DModel` of the diffusers library. Its `proj_in` and `proj_out` are linear layers over the
//! positions, which Stable Diffusion 1.5 stores as 1×1 convolutions; weights fill them from either. Keys:
//! `{norm,proj_in,transformer_blocks.0.{norm1,attn1,norm2,attn2,norm3,ff},proj_out}`.

use burn::nn::{GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;

use super::adapter::{LinearLayer, Place};
use super::apply::{group_norm, layer_norm};
use super::attention::{Attention, AttentionConfig, FeedForward};
use crate::kernels::NetBackend;
use crate::kernels::elementwise::add;

/// Sizes of a [`Transformer2D`].
#[derive(Config, Debug)]
pub struct Transformer2DConfig {
    /// Channels of the features.
    pub in_channels: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels per head.
    pub head_dim: usize,
    /// Channels of the text states.
    pub cross_attention_dim: usize,
    /// Groups of the first norm.
    pub norm_num_groups: usize,
}

impl Transformer2DConfig {
    /// Builds the transformer with random weights, which are drawn only when first read.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> Transformer2D<B> {
        let inner_dim = self.heads * self.head_dim;
        let norm = || {
            LayerNormConfig::new(inner_dim)
                .with_epsilon(1e-5)
                .init(device)
        };
        let attention = |context_dim| {
            AttentionConfig::new(inner_dim, context_dim, self.heads, self.head_dim).init(device)
        };
        let block = SpatialBlock {
            norm1: norm(),
            attn1: attention(inner_dim),
            norm2: norm(),
            attn2: attention(self.cross_attention_dim),
            norm3: norm(),
            ff: FeedForward::new(inner_dim, device),
        };
        Transformer2D {
            norm: GroupNormConfig::new(self.norm_num_groups, self.in_channels)
                .with_epsilon(1e-6)
                .init(device),
            proj_in: LinearConfig::new(self.in_channels, inner_dim).init(device),
            transformer_blocks: vec![block],
            proj_out: LinearConfig::new(inner_dim, self.in_channels).init(device),
        }
    }
}

/// Attention within each frame and to the text; see the [module docs](self).
#[derive(Module, Debug)]
pub struct Transformer2D<B: Backend> {
    norm: GroupNorm<B>,
    proj_in: Linear<B>,
    transformer_blocks: Vec<SpatialBlock<B>>,
    proj_out: Linear<B>,
}

impl<B: NetBackend> Transformer2D<B> {
    /// `hidden_states` and the result are `[batch * frames, height, width, channels]`;
    /// `encoder_hidden_states` is `[batch, text tokens, cross_attention_dim]`, one row per clip; `place` is where
    /// this layer is.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 4>,
        encoder_hidden_states: Tensor<B, 3>,
        place: &Place<'_, B>,
    ) -> Tensor<B, 4> {
        let [images, height, width, channels] = hidden_states.dims();
        let tokens = group_norm(&self.norm, hidden_states.clone()).reshape([
            images,
            height * width,
            channels,
        ]);
        let mut tokens = place.linear("proj_in", &self.proj_in, tokens);
        for (index, block) in self.transformer_blocks.iter().enumerate() {
            let place = place.part("transformer_blocks").part(&index.to_string());
            tokens = block.forward(tokens, encoder_hidden_states.clone(), &place);
        }
        let output = place
            .linear("proj_out", &self.proj_out, tokens)
            .reshape([images, height, width, channels]);
        add(output, hidden_states)
    }

    /// The linear layers of the transformer at `path`, in the order of a forward pass.
    pub fn linears(&self, path: &str) -> Vec<LinearLayer> {
        let mut linears = vec![LinearLayer::of(format!("{path}.proj_in"), &self.proj_in)];
        for (index, block) in self.transformer_blocks.iter().enumerate() {
            let path = format!("{path}.transformer_blocks.{index}");
            linears.extend(block.attn1.linears(&format!("{path}.attn1")));
            linears.extend(block.attn2.linears(&format!("{path}.attn2")));
            linears.extend(block.ff.linears(&format!("{path}.ff")));
        }
        linears.push(LinearLayer::of(format!("{path}.proj_out"), &self.proj_out));
        linears
    }
}

/// Self-attention, cross-attention and feed-forward, each with a norm before and a residual around it.
#[derive(Module, Debug)]
struct SpatialBlock<B: Backend> {
    norm1: LayerNorm<B>,
    attn1: Attention<B>,
    norm2: LayerNorm<B>,
    attn2: Attention<B>,
    norm3: LayerNorm<B>,
    ff: FeedForward<B>,
}

impl<B: NetBackend> SpatialBlock<B> {
    /// `tokens` is `[batch * frames, positions, channels]`, `text` is `[batch, text tokens, channels]`.
    fn forward(
        &self,
        tokens: Tensor<B, 3>,
        text: Tensor<B, 3>,
        place: &Place<'_, B>,
    ) -> Tensor<B, 3> {
        let [images, positions, channels] = tokens.dims();
        let batch = text.dims()[0];
        let normed = layer_norm(&self.norm1, tokens.clone());
        let attended = self
            .attn1
            .forward(normed.clone(), normed, &place.part("attn1"));
        let tokens = add(tokens, attended);
        // All frames of a clip read the same text, so they are one long sequence of queries and the text is
        // projected once per clip.
        let normed = layer_norm(&self.norm2, tokens.clone()).reshape([
            batch,
            images / batch * positions,
            channels,
        ]);
        let attended = self
            .attn2
            .forward(normed, text, &place.part("attn2"))
            .reshape([images, positions, channels]);
        let tokens = add(tokens, attended);
        let normed = layer_norm(&self.norm3, tokens.clone());
        add(tokens, self.ff.forward(normed, &place.part("ff")))
    }
}
