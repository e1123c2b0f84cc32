//! The transformer that corrects tracks: attention over the frames of each track, and over the tracks of each
//! frame.
//!
//! Source: `EfficientUpdateFormer`, `AttnBlock` and `CrossAttnBlock` of the published code. Tracks do not attend to
//! each other directly: a fixed number of learned *virtual* tracks gathers from them, attends to itself and gives
//! back, so the cost grows with the number of tracks and not with its square. It also means that the result for
//! one track depends on all of them, so all tracks have to be given at once. What happens inside one track or
//! one frame is done for a few of them at a time, with the same result.
//!
//! Norms have an epsilon of 1e-6 and no weights, but for that of a context: 1e-5 and weights. Keys:
//! `input_transform`, `virual_tracks` (spelled as published), `time_blocks.N`, `space_virtual_blocks.N` with
//! `{attn,mlp}`, `space_point2virtual_blocks.N`, `space_virtual2point_blocks.N` with `{norm_context,cross_attn,mlp}`,
//! `{flow,vis_conf}_head`.

use std::ops::{ControlFlow, Range};

use burn::module::{Initializer, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;

use super::config::CoTracker3Config;
use super::mlp::{Mlp, gelu_tanh};
use super::steps::{Steps, chunks};
use crate::kernels::NetBackend;
use crate::kernels::attention::attention_tokens;
use crate::kernels::elementwise;
use crate::layers::apply::{layer_norm, linear};

/// Tokens that one step of work takes, unless one track or one frame has more: the widest layer then holds a few
/// tens of megabytes.
const TOKENS_PER_CHUNK: usize = 2048;

/// What [`EfficientUpdateFormer`] adds to a track: a step in x and in y, in cells of the feature maps, and what the
/// logits of visibility and confidence grow by.
pub(super) const DELTAS: usize = 4;

/// The transformer; see the [module docs](self).
#[derive(Module, Debug)]
pub struct EfficientUpdateFormer<B: Backend> {
    input_transform: Linear<B>,
    virual_tracks: Param<Tensor<B, 4>>,
    time_blocks: Vec<AttnBlock<B>>,
    space_virtual_blocks: Vec<AttnBlock<B>>,
    space_point2virtual_blocks: Vec<CrossAttnBlock<B>>,
    space_virtual2point_blocks: Vec<CrossAttnBlock<B>>,
    flow_head: Linear<B>,
    vis_conf_head: Linear<B>,
}

impl<B: NetBackend> EfficientUpdateFormer<B> {
    pub(super) fn new(config: &CoTracker3Config, device: &B::Device) -> Self {
        let width = config.hidden_size;
        let attn_blocks = || {
            (0..config.depth)
                .map(|_| AttnBlock::new(config, device))
                .collect()
        };
        let cross_blocks = || {
            (0..config.depth)
                .map(|_| CrossAttnBlock::new(config, device))
                .collect()
        };
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            input_transform: linear(config.input_dim(), width),
            virual_tracks: Initializer::Zeros
                .init([1, config.num_virtual_tracks, 1, width], device),
            time_blocks: attn_blocks(),
            space_virtual_blocks: attn_blocks(),
            space_point2virtual_blocks: cross_blocks(),
            space_virtual2point_blocks: cross_blocks(),
            flow_head: linear(width, 2),
            vis_conf_head: linear(width, DELTAS - 2),
        }
    }

    /// Makes tokens of what is known of some tracks: `[tracks, frames, channels]` to
    /// `[tracks, frames, hidden_size]`.
    pub(super) fn embed(&self, input: Tensor<B, 3>) -> Tensor<B, 3> {
        linear(&self.input_transform, input)
    }

    /// Steps that [`update`](Self::update) reports.
    pub(super) fn steps(&self, tracks: usize, frames: usize) -> usize {
        let per_block = tracks.div_ceil(per_chunk(frames)) + frames.div_ceil(per_chunk(tracks));
        self.time_blocks.len() * per_block
    }

    /// What to add to the tracks, `[tracks, frames, 4]`, given the tokens of all of them,
    /// `[tracks, frames, hidden_size]`.
    pub(super) fn update(
        &self,
        tokens: Tensor<B, 3>,
        steps: &mut Steps<'_>,
    ) -> ControlFlow<(), Tensor<B, 3>> {
        let [_, frames, width] = tokens.dims();
        let mut points = tokens;
        let virtual_tracks = self.virual_tracks.val();
        let count = virtual_tracks.dims()[1];
        let mut virtuals = virtual_tracks
            .expand([1, count, frames, width])
            .squeeze_dim(0);
        let blocks = self
            .time_blocks
            .iter()
            .zip(&self.space_virtual2point_blocks)
            .zip(&self.space_virtual_blocks)
            .zip(&self.space_point2virtual_blocks);
        for (((time, gather), exchange), give_back) in blocks {
            points = over_tracks(points, time, steps)?;
            virtuals = time.forward(virtuals);
            let attend = |points: Tensor<B, 3>, virtuals: Tensor<B, 3>| {
                let virtuals = exchange.forward(gather.forward(virtuals, points.clone()));
                (give_back.forward(points, virtuals.clone()), virtuals)
            };
            (points, virtuals) = over_frames(points, virtuals, attend, steps)?;
        }
        let flow = linear(&self.flow_head, points.clone());
        let vis_conf = linear(&self.vis_conf_head, points);
        ControlFlow::Continue(Tensor::cat(vec![flow, vis_conf], 2))
    }
}

/// Tracks, or frames, of `tokens` tokens each that are handled together.
fn per_chunk(tokens: usize) -> usize {
    (TOKENS_PER_CHUNK / tokens).max(1)
}

/// Applies a block to the frames of each track.
fn over_tracks<B: NetBackend>(
    points: Tensor<B, 3>,
    block: &AttnBlock<B>,
    steps: &mut Steps<'_>,
) -> ControlFlow<(), Tensor<B, 3>> {
    let [tracks, frames, _] = points.dims();
    let mut done = Vec::new();
    for Range { start, end } in chunks(tracks, per_chunk(frames)) {
        done.push(block.forward(points.clone().narrow(0, start, end - start)));
        steps.advance()?;
    }
    ControlFlow::Continue(Tensor::cat(done, 0))
}

/// Applies `attend` to the tracks and the virtual tracks of each frame, `[frames, tracks, channels]`.
fn over_frames<B: NetBackend>(
    points: Tensor<B, 3>,
    virtuals: Tensor<B, 3>,
    attend: impl Fn(Tensor<B, 3>, Tensor<B, 3>) -> (Tensor<B, 3>, Tensor<B, 3>),
    steps: &mut Steps<'_>,
) -> ControlFlow<(), (Tensor<B, 3>, Tensor<B, 3>)> {
    let [tracks, frames, _] = points.dims();
    let mut done = (Vec::new(), Vec::new());
    for Range { start, end } in chunks(frames, per_chunk(tracks)) {
        let of_frames =
            |tokens: &Tensor<B, 3>| tokens.clone().narrow(1, start, end - start).swap_dims(0, 1);
        let (points, virtuals) = attend(of_frames(&points), of_frames(&virtuals));
        done.0.push(points.swap_dims(0, 1));
        done.1.push(virtuals.swap_dims(0, 1));
        steps.advance()?;
    }
    ControlFlow::Continue((Tensor::cat(done.0, 1), Tensor::cat(done.1, 1)))
}

/// Self-attention and an MLP, each before a residual.
#[derive(Module, Debug)]
struct AttnBlock<B: Backend> {
    attn: Attention<B>,
    mlp: Mlp<B>,
}

impl<B: NetBackend> AttnBlock<B> {
    fn new(config: &CoTracker3Config, device: &B::Device) -> Self {
        Self {
            attn: Attention::new(config, device),
            mlp: transformer_mlp(config, device),
        }
    }

    /// `[sequences, tokens, channels]` to the same shape.
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let normed = plain_norm(x.clone());
        let x = x + self.attn.forward(normed.clone(), normed);
        x.clone() + self.mlp.forward(plain_norm(x), gelu_tanh)
    }
}

/// Attention to a context and an MLP, each before a residual.
#[derive(Module, Debug)]
struct CrossAttnBlock<B: Backend> {
    norm_context: LayerNorm<B>,
    cross_attn: Attention<B>,
    mlp: Mlp<B>,
}

impl<B: NetBackend> CrossAttnBlock<B> {
    fn new(config: &CoTracker3Config, device: &B::Device) -> Self {
        Self {
            norm_context: LayerNormConfig::new(config.hidden_size).init(device),
            cross_attn: Attention::new(config, device),
            mlp: transformer_mlp(config, device),
        }
    }

    /// `x` is `[sequences, tokens, channels]`, as is the result; `context` is
    /// `[sequences, context tokens, channels]`.
    fn forward(&self, x: Tensor<B, 3>, context: Tensor<B, 3>) -> Tensor<B, 3> {
        let context = layer_norm(&self.norm_context, context);
        let x = x.clone() + self.cross_attn.forward(plain_norm(x), context);
        x.clone() + self.mlp.forward(plain_norm(x), gelu_tanh)
    }
}

/// Multi-head attention; keys and values are one projection.
#[derive(Module, Debug)]
struct Attention<B: Backend> {
    to_q: Linear<B>,
    to_kv: Linear<B>,
    to_out: Linear<B>,
    num_heads: usize,
}

impl<B: NetBackend> Attention<B> {
    fn new(config: &CoTracker3Config, device: &B::Device) -> Self {
        let width = config.hidden_size;
        Self {
            to_q: LinearConfig::new(width, width).init(device),
            to_kv: LinearConfig::new(width, 2 * width).init(device),
            to_out: LinearConfig::new(width, width).init(device),
            num_heads: config.num_heads,
        }
    }

    fn forward(&self, x: Tensor<B, 3>, context: Tensor<B, 3>) -> Tensor<B, 3> {
        let query = linear(&self.to_q, x);
        let width = query.dims()[2];
        let key_value = linear(&self.to_kv, context);
        let key = key_value.clone().narrow(2, 0, width);
        let value = key_value.narrow(2, width, width);
        linear(
            &self.to_out,
            attention_tokens(query, key, value, self.num_heads),
        )
    }
}

fn transformer_mlp<B: NetBackend>(config: &CoTracker3Config, device: &B::Device) -> Mlp<B> {
    Mlp::new(
        [config.hidden_size, config.mlp_dim, config.hidden_size],
        device,
    )
}

/// Layer norm without weights.
fn plain_norm<B: NetBackend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let device = x.device();
    let channels = x.dims()[2];
    let (gamma, beta) = (
        Tensor::ones([channels], &device),
        Tensor::zeros([channels], &device),
    );
    elementwise::layer_norm(x, gamma, beta, 1e-6)
}
