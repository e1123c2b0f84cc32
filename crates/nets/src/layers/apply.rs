//! Burn's layers, applied through this crate's kernels.
//!
//! Networks are built from [`burn::nn`] layers so that weights load by name; what computes is chosen here, once
//! for all networks.

use burn::nn::conv::{Conv2d, Conv3d};
use burn::nn::{GroupNorm, LayerNorm, Linear, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::FloatDType;

use crate::kernels::NetBackend;
use crate::kernels::conv::{self, ConvGeometry};
use crate::kernels::elementwise::{self, GroupNormOptions, cast};
use crate::kernels::linear;

/// Applies a linear layer to `[batch, tokens, channels]`.
///
/// All tokens are one matrix: the weights are the same for the whole batch, and one large product is several
/// times faster than one small product per sequence (a temporal transformer has a sequence for every spatial
/// position).
pub fn linear<B: NetBackend>(layer: &Linear<B>, input: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, tokens, channels] = input.dims();
    let output = linear_rows(layer, input.reshape([batch * tokens, channels]));
    let out_channels = output.dims()[1];
    output.reshape([batch, tokens, out_channels])
}

/// Applies a linear layer to `[rows, channels]`.
pub fn linear_rows<B: NetBackend>(layer: &Linear<B>, input: Tensor<B, 2>) -> Tensor<B, 2> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    linear::linear(input, layer.weight.val(), bias)
}

/// Applies a convolution of one group without dilation to `[images, height, width, channels]`.
///
/// # Panics
/// If the layer pads to keep the size (`Same`); the networks name their padding.
pub fn conv2d<B: NetBackend>(layer: &Conv2d<B>, images: Tensor<B, 4>) -> Tensor<B, 4> {
    let (images, padding) = match layer.padding {
        PaddingConfig2d::Valid => (images, [0, 0]),
        PaddingConfig2d::Explicit(top, left, bottom, right) if top == bottom && left == right => {
            (images, [top, left])
        }
        PaddingConfig2d::Explicit(top, left, bottom, right) => {
            (padded(images, [top, bottom], [left, right]), [0, 0])
        }
        PaddingConfig2d::Same => panic!("a convolution that names its padding was expected"),
    };
    let geometry = ConvGeometry {
        stride: layer.stride,
        padding,
    };
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    conv::conv2d(images, layer.weight.val(), bias, geometry)
}

/// Images with zeros around them. Burn's own `pad` fills a tensor of the backend's default type, whatever the images'.
fn padded<B: Backend>(images: Tensor<B, 4>, rows: [usize; 2], columns: [usize; 2]) -> Tensor<B, 4> {
    let [count, height, width, channels] = images.dims();
    let size = [
        count,
        rows[0] + height + rows[1],
        columns[0] + width + columns[1],
        channels,
    ];
    let place = [
        0..count,
        rows[0]..rows[0] + height,
        columns[0]..columns[0] + width,
        0..channels,
    ];
    Tensor::zeros(size, (&images.device(), images.dtype())).slice_assign(place, images)
}

/// Applies a convolution of kernel (3, 1, 1) with one frame of padding to `[batch, frames, positions, channels]`.
pub fn temporal_conv<B: NetBackend>(layer: &Conv3d<B>, clip: Tensor<B, 4>) -> Tensor<B, 4> {
    let weight = layer.weight.val();
    let [out_channels, in_channels, ..] = weight.dims();
    let weight = weight.reshape([out_channels, in_channels, 3]);
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    conv::temporal_conv(clip, weight, bias)
}

/// `[images, channels, height, width]`, as models take and give them, as `[images, height, width, channels]`, as layers
/// take and give them.
pub fn channels_last<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    images.permute([0, 2, 3, 1])
}

/// The inverse of [`channels_last`].
pub fn channels_first<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    images.permute([0, 3, 1, 2])
}

/// Normalises groups of channels of `[images, .., channels]`.
pub fn group_norm<B: NetBackend, const D: usize>(
    layer: &GroupNorm<B>,
    input: Tensor<B, D>,
) -> Tensor<B, D> {
    run_group_norm(layer, input, false)
}

/// [`group_norm`], then SiLU.
pub fn group_norm_silu<B: NetBackend, const D: usize>(
    layer: &GroupNorm<B>,
    input: Tensor<B, D>,
) -> Tensor<B, D> {
    run_group_norm(layer, input, true)
}

fn run_group_norm<B: NetBackend, const D: usize>(
    layer: &GroupNorm<B>,
    input: Tensor<B, D>,
    silu: bool,
) -> Tensor<B, D> {
    let (Some(gamma), Some(beta)) = (&layer.gamma, &layer.beta) else {
        panic!("a group norm with factors and addends was expected")
    };
    let options = GroupNormOptions {
        groups: layer.num_groups,
        epsilon: layer.epsilon,
        silu,
    };
    elementwise::group_norm(input, gamma.val(), beta.val(), options)
}

/// Normalises over the last axis, with [`LAYER_NORM_EPSILON`].
pub fn layer_norm<B: NetBackend, const D: usize>(
    layer: &LayerNorm<B>,
    input: Tensor<B, D>,
) -> Tensor<B, D> {
    layer_norm_with(layer, LAYER_NORM_EPSILON, input)
}

/// Normalises over the last axis, with an epsilon of the network's own; Burn's layer keeps its to itself.
pub fn layer_norm_with<B: NetBackend, const D: usize>(
    layer: &LayerNorm<B>,
    epsilon: f64,
    input: Tensor<B, D>,
) -> Tensor<B, D> {
    let Some(beta) = &layer.beta else {
        panic!("a layer norm with addends was expected")
    };
    elementwise::layer_norm(input, layer.gamma.val(), beta.val(), epsilon)
}

/// Epsilon of the layer norms of denoising networks.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;

/// The tensor in the number format of another.
pub fn cast_like<B: NetBackend, const D: usize, const E: usize>(
    tensor: Tensor<B, D>,
    like: &Tensor<B, E>,
) -> Tensor<B, D> {
    cast(tensor, FloatDType::from(like.dtype()))
}
