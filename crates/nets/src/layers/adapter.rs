//! The seam through which a caller changes what linear layers of the spatial transformers give: low-rank
//! adaptations (LoRA) and the like.

use std::borrow::Cow;

use burn::nn::Linear;
use burn::prelude::*;

use super::apply::linear;
use crate::kernels::NetBackend;

/// Changes the outputs of linear layers by their paths in the published checkpoint, for example
/// `down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q`.
pub trait LinearAdapter<B: Backend> {
    /// What the layer at `path` is to give, from its input `[batch, tokens, channels]` and what it gives by
    /// itself, `[batch, tokens, out channels]`.
    fn adapt(&self, path: &str, input: Tensor<B, 3>, output: Tensor<B, 3>) -> Tensor<B, 3>;
}

/// A linear layer that an adapter may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearLayer {
    /// Its path in the published checkpoint.
    pub path: String,
    /// Channels that go in.
    pub in_channels: usize,
    /// Channels that come out.
    pub out_channels: usize,
}

impl LinearLayer {
    /// The layer at `path`.
    pub(crate) fn of<B: Backend>(path: String, layer: &Linear<B>) -> Self {
        let [in_channels, out_channels] = layer.weight.val().dims();
        Self {
            path,
            in_channels,
            out_channels,
        }
    }
}

/// A place in a network, and who changes what linear layers give there. Paths are put together only where
/// somebody asks for them.
pub struct Place<'a, B: Backend> {
    adapter: Option<&'a dyn LinearAdapter<B>>,
    path: Cow<'a, str>,
}

impl<'a, B: NetBackend> Place<'a, B> {
    /// The place at `path`.
    pub fn new(path: &'a str, adapter: Option<&'a dyn LinearAdapter<B>>) -> Self {
        Self {
            adapter,
            path: path.into(),
        }
    }

    /// A part of this place, by its name below it.
    pub fn part(&self, name: &str) -> Place<'a, B> {
        Place {
            adapter: self.adapter,
            path: match self.adapter {
                Some(_) => format!("{}.{name}", self.path).into(),
                None => Cow::Borrowed(""),
            },
        }
    }

    /// Applies the linear layer `name` of this place to `[batch, tokens, channels]`.
    pub fn linear(&self, name: &str, layer: &Linear<B>, input: Tensor<B, 3>) -> Tensor<B, 3> {
        match self.adapter {
            None => linear(layer, input),
            Some(adapter) => {
                let output = linear(layer, input.clone());
                adapter.adapt(&format!("{}.{name}", self.path), input, output)
            }
        }
    }
}
