//! The residual block of two convolutions over single images, as the autoencoder and the U-Net use it.
//!
//! Source: `ResnetBlock2D` of diffusers with `time_embedding_norm = "default"` and `output_scale_factor = 1`.
//! Keys: `….{norm1,conv1,time_emb_proj,norm2,conv2,conv_shortcut}`.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;

use crate::kernels::NetBackend;
use crate::kernels::elementwise::{add, silu};
use crate::layers::apply::{conv2d, group_norm_silu, linear_rows};

/// Sizes of a [`ResnetBlock2D`].
#[derive(Config, Debug)]
pub struct ResnetBlock2DConfig {
    /// Channels that come in.
    pub in_channels: usize,
    /// Channels that go out; where they differ from `in_channels`, the residual passes a 1×1 convolution.
    pub out_channels: usize,
    /// Channels of the time embedding; `None` for a block that takes none.
    pub temb_channels: Option<usize>,
    /// Groups of both norms.
    pub groups: usize,
    /// Epsilon of both norms: 1e-5 in the U-Net, 1e-6 in the autoencoder.
    pub eps: f64,
}

impl ResnetBlock2DConfig {
    /// Builds the block. Weights are drawn when first read, so a block that is about to be loaded costs
    /// nothing.
    ///
    /// # Panics
    /// If `groups` is zero or does not divide both numbers of channels.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> ResnetBlock2D<B> {
        let norm = |channels| {
            GroupNormConfig::new(self.groups, channels)
                .with_epsilon(self.eps)
                .init(device)
        };
        let conv3x3 = |channels| {
            Conv2dConfig::new(channels, [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        let shortcut = || Conv2dConfig::new([self.in_channels, self.out_channels], [1, 1]);
        ResnetBlock2D {
            norm1: norm(self.in_channels),
            conv1: conv3x3([self.in_channels, self.out_channels]),
            time_emb_proj: self
                .temb_channels
                .map(|channels| LinearConfig::new(channels, self.out_channels).init(device)),
            norm2: norm(self.out_channels),
            conv2: conv3x3([self.out_channels, self.out_channels]),
            conv_shortcut: (self.in_channels != self.out_channels).then(|| shortcut().init(device)),
        }
    }
}

/// Two convolutions and a residual; see the [module docs](self).
#[derive(Module, Debug)]
pub struct ResnetBlock2D<B: Backend> {
    norm1: GroupNorm<B>,
    conv1: Conv2d<B>,
    time_emb_proj: Option<Linear<B>>,
    norm2: GroupNorm<B>,
    conv2: Conv2d<B>,
    conv_shortcut: Option<Conv2d<B>>,
}

impl<B: NetBackend> ResnetBlock2D<B> {
    /// `hidden_states` is `[images, height, width, in_channels]` and `temb` the time embedding before its
    /// SiLU, `[images, temb_channels]` or `[1, temb_channels]` for all; the result is `[images, height, width, out_channels]`.
    ///
    /// # Panics
    /// If `temb` is given to a block without `temb_channels` or withheld from one with them, or if a shape
    /// does not fit.
    pub fn forward(&self, hidden_states: Tensor<B, 4>, temb: Option<Tensor<B, 2>>) -> Tensor<B, 4> {
        let residual = match &self.conv_shortcut {
            Some(conv) => conv2d(conv, hidden_states.clone()),
            None => hidden_states.clone(),
        }; // [images, height, width, out_channels]
        let hidden_states = conv2d(&self.conv1, group_norm_silu(&self.norm1, hidden_states));
        let hidden_states = match (&self.time_emb_proj, temb) {
            (Some(proj), Some(temb)) => {
                let temb = linear_rows(proj, silu(temb)); // [images or 1, out_channels]
                add(hidden_states, temb.unsqueeze_dims(&[1, 2]))
            }
            (None, None) => hidden_states,
            (Some(_), None) => panic!("this residual block needs a time embedding"),
            (None, Some(_)) => panic!("this residual block takes no time embedding"),
        };
        let hidden_states = conv2d(&self.conv2, group_norm_silu(&self.norm2, hidden_states));
        add(residual, hidden_states)
    }
}
