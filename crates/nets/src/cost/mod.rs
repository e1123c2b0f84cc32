//! What a forward pass costs, from configurations and sizes alone: floating-point operations, and the memory of what
//! is alive at once.
//!
//! Operations are those of linear layers, convolutions and attentions, counted as `FlopCounterMode` of PyTorch does
//! (a multiply-add is two); norms and activations are left out. Memory is counted in numbers of the network's
//! [`Precision`](crate::Precision): what the layers of this crate keep for a backward pass when weights are frozen,
//! and what they hold at the same time on the way.

mod autoencoder;
mod text;
mod unet;

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

pub use unet::{PassCost, PassSize, StageCost};

/// Floating-point operations by kind of layer; as many as can be counted, if there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Flops {
    /// Products with weight matrices.
    pub linear: u64,
    /// Convolutions over images and frames.
    pub convolution: u64,
    /// Products of queries with keys and of their weights with values.
    pub attention: u64,
}

impl Flops {
    /// All of them.
    pub fn total(self) -> u64 {
        let linear = self.linear.saturating_add(self.convolution);
        linear.saturating_add(self.attention)
    }
}

impl Add for Flops {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            linear: self.linear.saturating_add(other.linear),
            convolution: self.convolution.saturating_add(other.convolution),
            attention: self.attention.saturating_add(other.attention),
        }
    }
}

impl AddAssign for Flops {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Flops {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            linear: self.linear.saturating_mul(times),
            convolution: self.convolution.saturating_mul(times),
            attention: self.attention.saturating_mul(times),
        }
    }
}

impl Sum for Flops {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Self::add)
    }
}

/// What running an autoencoder's half or a text encoder costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ForwardCost {
    /// Operations.
    pub flops: Flops,
    /// Most numbers alive at once beside the weights.
    pub peak: u64,
}

/// A layer's cost for some number of places (pixels of all images, or tokens).
#[derive(Debug, Clone, Copy, Default)]
struct LayerCost {
    flops: Flops,
    /// Numbers that are kept for a backward pass.
    kept: u64,
    /// Those of them that are kept if only what comes from the site on is tracked; none if there is no site.
    kept_from_site: Option<u64>,
    /// Most numbers alive at once on the way forward, the layer's input and what is kept included.
    forward: u64,
    /// Most numbers alive at once on the way back, beside what is kept.
    backward: u64,
}

impl LayerCost {
    /// One layer after the other.
    fn then(self, next: Self) -> Self {
        Self {
            flops: self.flops + next.flops,
            kept: self.kept + next.kept,
            kept_from_site: match self.kept_from_site {
                Some(kept) => Some(kept + next.kept),
                None => next.kept_from_site,
            },
            forward: self.forward.max(next.forward),
            backward: self.backward.max(next.backward),
        }
    }
}

fn linear(from: u64, to: u64, rows: u64) -> Flops {
    Flops {
        linear: 2 * from * to * rows,
        ..Flops::default()
    }
}

fn convolution(from: u64, to: u64, kernel: u64, places: u64) -> Flops {
    Flops {
        convolution: 2 * from * to * kernel * places,
        ..Flops::default()
    }
}

/// `sequences` sequences of `queries` that attend to `keys`, `channels` of all heads together.
fn attention(channels: u64, queries: u64, keys: u64, sequences: u64) -> Flops {
    Flops {
        attention: (4 * channels * queries)
            .saturating_mul(keys)
            .saturating_mul(sequences),
        ..Flops::default()
    }
}

/// A [`ResnetBlock2D`](crate::layers::resnet::ResnetBlock2D) over `places` pixels of `images` images.
fn resnet(from: u64, to: u64, temb: Option<u64>, images: u64, places: u64) -> LayerCost {
    let is_same = from == to;
    let shortcut = if is_same { 0 } else { to };
    let input_again = if is_same { 0 } else { from };
    let mut flops = convolution(from, to, 9, places) + convolution(to, to, 9, places);
    flops += convolution(from, shortcut, 1, places);
    flops += linear(temb.unwrap_or(0), to, images);
    LayerCost {
        flops,
        // What the two norms read.
        kept: (from + to) * places,
        kept_from_site: None,
        // The residual, and around the norms and convolutions what goes in and what comes out.
        forward: (to + (from + input_again.max(to)).max(2 * to)) * places,
        backward: (from + 2 * to) * places,
    }
}

/// How many times its width a transformer block has at the same time around its gated layer, whose input is eight and
/// whose output four times as wide: on the way forward those two and the residual, which is what is measured on the CPU. No
/// GPU has been measured; what the engine does not fuse there takes more.
const FORWARD_WIDTH: u64 = 13;
const BACKWARD_WIDTH: u64 = 14;

/// Norms, projections and feed-forward of a transformer with one block, without its attentions: `kept` counts what
/// the group norm, the norm before the gated layer, and the gate read.
fn transformer(channels: u64, inner: u64, tokens: u64) -> LayerCost {
    let flops = linear(channels, inner, tokens)
        + linear(inner, channels, tokens)
        + linear(inner, 8 * inner, tokens)
        + linear(4 * inner, inner, tokens);
    LayerCost {
        flops,
        kept: (channels + 9 * inner) * tokens,
        kept_from_site: None,
        forward: (channels + FORWARD_WIDTH * inner) * tokens,
        backward: BACKWARD_WIDTH * inner.max(channels) * tokens,
    }
}

/// A self-attention and its norm; `length` tokens attend to each other.
fn self_attention(inner: u64, tokens: u64, length: u64) -> LayerCost {
    LayerCost {
        flops: linear(inner, inner, 4 * tokens)
            + attention(inner, length, length, tokens / length.max(1)),
        kept: 4 * inner * tokens,
        ..LayerCost::default()
    }
}
