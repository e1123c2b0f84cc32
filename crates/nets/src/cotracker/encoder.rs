//! The convolutional network that makes feature maps of frames.
//!
//! Source: `BasicEncoder` and `ResidualBlock` of the published code, with instance norm. Every norm is over the
//! pixels of one channel of one image (epsilon 1e-5) and has no weights, so frames may be encoded in any batches
//! with the same result. Keys: `{conv1,conv2,conv3}`, `layerN.M.{conv1,conv2,downsample.0}`.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use super::config::STRIDE;
use crate::kernels::NetBackend;
use crate::kernels::elementwise::{self, GroupNormOptions};
use crate::layers::apply::{channels_first, channels_last, conv2d};

/// The encoder; see the [module docs](self).
#[derive(Module, Debug)]
pub struct BasicEncoder<B: Backend> {
    conv1: Conv2d<B>,
    layer1: Vec<ResidualBlock<B>>,
    layer2: Vec<ResidualBlock<B>>,
    layer3: Vec<ResidualBlock<B>>,
    layer4: Vec<ResidualBlock<B>>,
    conv2: Conv2d<B>,
    conv3: Conv2d<B>,
}

impl<B: NetBackend> BasicEncoder<B> {
    /// An encoder that gives `latent_dim` channels, a multiple of 4.
    pub(super) fn new(latent_dim: usize, device: &B::Device) -> Self {
        let widths = [latent_dim / 2, latent_dim / 4 * 3, latent_dim, latent_dim];
        let layer = |from, to, stride| {
            vec![
                ResidualBlock::new(from, to, stride, device),
                ResidualBlock::new(to, to, 1, device),
            ]
        };
        Self {
            conv1: conv(3, widths[0], 7, 2, device),
            layer1: layer(widths[0], widths[0], 1),
            layer2: layer(widths[0], widths[1], 2),
            layer3: layer(widths[1], widths[2], 2),
            layer4: layer(widths[2], widths[3], 2),
            conv2: conv(widths.iter().sum(), 2 * latent_dim, 3, 1, device),
            conv3: conv(2 * latent_dim, latent_dim, 1, 1, device),
        }
    }

    /// `[frames, 3, height, width]` in -1..1 to `[frames, latent_dim, height / 4, width / 4]`.
    pub fn forward(&self, frames: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, _, height, width] = frames.dims();
        let size = [height / STRIDE, width / STRIDE];
        let frames = channels_last(frames);
        let mut hidden_states = relu(instance_norm(conv2d(&self.conv1, frames))); // half the size
        let mut scales = Vec::new();
        for layer in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            for block in layer {
                hidden_states = block.forward(hidden_states);
            }
            scales.push(resize(channels_first(hidden_states.clone()), size));
        }
        let scales = channels_last(Tensor::cat(scales, 1));
        let hidden_states = conv2d(&self.conv2, scales);
        channels_first(conv2d(&self.conv3, relu(instance_norm(hidden_states))))
    }
}

/// Two convolutions and a residual.
#[derive(Module, Debug)]
struct ResidualBlock<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
    downsample: Option<Conv2d<B>>,
}

impl<B: NetBackend> ResidualBlock<B> {
    fn new(from: usize, to: usize, stride: usize, device: &B::Device) -> Self {
        Self {
            conv1: conv(from, to, 3, stride, device),
            conv2: conv(to, to, 3, 1, device),
            downsample: (stride != 1).then(|| conv(from, to, 1, stride, device)),
        }
    }

    fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let y = relu(instance_norm(conv2d(&self.conv1, x.clone())));
        let y = relu(instance_norm(conv2d(&self.conv2, y)));
        let x = match &self.downsample {
            Some(downsample) => instance_norm(conv2d(downsample, x)),
            None => x,
        };
        relu(x + y)
    }
}

/// A convolution with zeros around the image, so that only the stride changes the size.
fn conv<B: NetBackend>(
    from: usize,
    to: usize,
    kernel: usize,
    stride: usize,
    device: &B::Device,
) -> Conv2d<B> {
    let zeros = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(zeros, zeros, zeros, zeros))
        .init(device)
}

/// Normalises every channel of every image of `[images, height, width, channels]`.
fn instance_norm<B: NetBackend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    let device = images.device();
    let channels = images.dims()[3];
    let options = GroupNormOptions {
        groups: channels,
        epsilon: 1e-5,
        silu: false,
    };
    let (gamma, beta) = (
        Tensor::ones([channels], &device),
        Tensor::zeros([channels], &device),
    );
    elementwise::group_norm(images, gamma, beta, options)
}

/// Resizes `[images, channels, height, width]` to `size` (height, width): bilinear between pixel centres, with
/// the corner pixels of both sizes in the same places and without antialiasing. That is how the published code
/// brings frames to the network's size and feature maps to a common one.
pub fn resize<B: Backend>(images: Tensor<B, 4>, size: [usize; 2]) -> Tensor<B, 4> {
    let [_, _, height, width] = images.dims();
    if [height, width] == size {
        return images;
    }
    let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(true);
    interpolate(images, size, options)
}
