//! Multi-head attention and the GEGLU feed-forward layer, shared by all transformer blocks.
//!
//! Source: the `Attention` and `FeedForward` modules of the diffusers library. Keys:
//! `{to_q,to_k,to_v,to_out.0}` and `{net.0.proj,net.2}`.

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;

use super::adapter::{LinearLayer, Place};
use super::apply::linear;
use crate::KeyMap;
use crate::kernels::NetBackend;
use crate::kernels::attention::attention_tokens;
use crate::kernels::elementwise::geglu;

/// Keys of [`Attention`] and [`FeedForward`] that are no Rust field names.
pub(crate) const KEY_MAP: KeyMap<'static> = &[
    (".to_out.", ".to_out.0."),
    (".ff.proj_in.", ".ff.net.0.proj."),
    (".ff.proj_out.", ".ff.net.2."),
];

/// Sizes of an [`Attention`] layer.
#[derive(Config, Debug)]
pub struct AttentionConfig {
    /// Channels of the queries' input and of the output.
    pub query_dim: usize,
    /// Channels of the keys' and values' input.
    pub context_dim: usize,
    /// Attention heads side by side.
    pub heads: usize,
    /// Channels per head.
    pub head_dim: usize,
}

impl AttentionConfig {
    /// Builds the layer with random weights, which are drawn only when first read.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> Attention<B> {
        let inner_dim = self.heads * self.head_dim;
        let linear = |from, to, bias| LinearConfig::new(from, to).with_bias(bias).init(device);
        Attention {
            to_q: linear(self.query_dim, inner_dim, false),
            to_k: linear(self.context_dim, inner_dim, false),
            to_v: linear(self.context_dim, inner_dim, false),
            to_out: linear(inner_dim, self.query_dim, true),
            heads: self.heads,
        }
    }
}

/// Multi-head attention; see the [module docs](self).
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    to_q: Linear<B>,
    to_k: Linear<B>,
    to_v: Linear<B>,
    to_out: Linear<B>,
    heads: usize,
}

/// Queries, keys and values, each `[batch, tokens, inner channels]`, before they are split into heads.
#[derive(Debug, Clone)]
pub struct Projections<B: Backend> {
    /// What asks.
    pub query: Tensor<B, 3>,
    /// What is compared with.
    pub key: Tensor<B, 3>,
    /// What is mixed.
    pub value: Tensor<B, 3>,
}

impl<B: NetBackend> Attention<B> {
    /// Attends from `hidden_states` `[batch, tokens, channels]` to `context` `[batch, context tokens, context
    /// channels]`; `place` is where this layer is.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 3>,
        context: Tensor<B, 3>,
        place: &Place<'_, B>,
    ) -> Tensor<B, 3> {
        let query = place.linear("to_q", &self.to_q, hidden_states);
        let key = place.linear("to_k", &self.to_k, context.clone());
        let value = place.linear("to_v", &self.to_v, context);
        let mixed = attention_tokens(query, key, value, self.heads);
        place.linear("to_out.0", &self.to_out, mixed)
    }

    /// The linear layers of the attention at `path`, in the order of a forward pass.
    pub(super) fn linears(&self, path: &str) -> Vec<LinearLayer> {
        [
            ("to_q", &self.to_q),
            ("to_k", &self.to_k),
            ("to_v", &self.to_v),
            ("to_out.0", &self.to_out),
        ]
        .map(|(name, layer)| LinearLayer::of(format!("{path}.{name}"), layer))
        .into()
    }

    /// The three projections of self-attention, where values may read another input than queries and keys do.
    /// Both are `[batch, tokens, channels]`.
    pub fn project(
        &self,
        query_key_input: Tensor<B, 3>,
        value_input: Tensor<B, 3>,
    ) -> Projections<B> {
        Projections {
            query: linear(&self.to_q, query_key_input.clone()),
            key: linear(&self.to_k, query_key_input),
            value: linear(&self.to_v, value_input),
        }
    }

    /// Mixes the values and projects the result: `[batch, tokens, channels]`.
    pub fn attend(&self, projections: Projections<B>) -> Tensor<B, 3> {
        let Projections { query, key, value } = projections;
        linear(
            &self.to_out,
            attention_tokens(query, key, value, self.heads),
        )
    }
}

/// Two linear layers with a gated GELU between them (GEGLU); the middle is four times as wide.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    proj_in: Linear<B>,
    proj_out: Linear<B>,
}

impl<B: NetBackend> FeedForward<B> {
    /// Builds the layer for `channels` channels.
    pub fn new(channels: usize, device: &B::Device) -> Self {
        let inner_dim = 4 * channels;
        Self {
            proj_in: LinearConfig::new(channels, 2 * inner_dim).init(device),
            proj_out: LinearConfig::new(inner_dim, channels).init(device),
        }
    }

    /// `[batch, tokens, channels]` to the same shape; `place` is where this layer is.
    pub fn forward(&self, hidden_states: Tensor<B, 3>, place: &Place<'_, B>) -> Tensor<B, 3> {
        let gated = geglu(place.linear("net.0.proj", &self.proj_in, hidden_states));
        place.linear("net.2", &self.proj_out, gated)
    }

    /// The linear layers of the feed-forward at `path`, in the order of a forward pass.
    pub(super) fn linears(&self, path: &str) -> Vec<LinearLayer> {
        [("net.0.proj", &self.proj_in), ("net.2", &self.proj_out)]
            .map(|(name, layer)| LinearLayer::of(format!("{path}.{name}"), layer))
            .into()
    }
}
