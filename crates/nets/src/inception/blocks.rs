//! The blocks of Inception-v3, as the network of FID has them.
//!
//! Each runs several branches over the same input and joins their channels. Averages over a window do not count
//! the pixels outside the image, and the last block takes a maximum where all others take an average.

use burn::module::{Initializer, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};

use crate::kernels::NetBackend;
use crate::layers::apply::{channels_first, channels_last, conv2d};

/// Added to the variance by every batch norm.
const BATCH_NORM_EPSILON: f64 = 1e-3;

/// A convolution, batch normalisation by the recorded statistics, and ReLU.
#[derive(Module, Debug)]
pub(super) struct BasicConv2d<B: Backend> {
    conv: Conv2d<B>,
    bn: BatchNorm2d<B>,
}

impl<B: NetBackend> BasicConv2d<B> {
    /// A kernel of odd height and width that keeps the size of the image.
    pub fn same(channels: [usize; 2], kernel: [usize; 2], device: &B::Device) -> Self {
        let [rows, columns] = kernel.map(|size| size / 2);
        let padding = PaddingConfig2d::Explicit(rows, columns, rows, columns);
        let conv = Conv2dConfig::new(channels, kernel).with_padding(padding);
        Self::from_conv(&conv, device)
    }

    /// A 3×3 kernel that stays within the image.
    pub fn valid(channels: [usize; 2], stride: usize, device: &B::Device) -> Self {
        let conv = Conv2dConfig::new(channels, [3, 3])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Valid);
        Self::from_conv(&conv, device)
    }

    fn from_conv(conv: &Conv2dConfig, device: &B::Device) -> Self {
        Self {
            conv: conv.clone().with_bias(false).init(device),
            bn: BatchNorm2d::new(conv.channels[1], device),
        }
    }

    /// `[images, in channels, height, width]` to `[images, out channels, ..]`.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        relu(self.normalised(hidden_states))
    }

    /// [`forward`](Self::forward) of the average of each pixel's 3×3 neighbours, those within the image, for a
    /// kernel of one pixel.
    ///
    /// Such a kernel mixes channels and the average mixes pixels, so either may come first; after the kernel
    /// there are four to eight times fewer channels to average, which saves a sixth of the network's time.
    pub fn forward_averaged(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let normalised = self.normalised(hidden_states);
        relu(avg_pool2d(normalised, [3, 3], [1, 1], [1, 1], false, false))
    }

    /// What the ReLU takes. The normalisation is a factor and an addend per channel, so the kernel and its bias
    /// take it in: that saves two passes over the images for one over the weights.
    fn normalised(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        let (scale, shift) = self.bn.scale_and_shift();
        let weight = self.conv.weight.val() * scale.unsqueeze_dims(&[1, 2, 3]);
        let conv = Conv2d {
            weight: Param::from_tensor(weight),
            bias: Some(Param::from_tensor(shift)),
            ..self.conv.clone()
        };
        channels_first(conv2d(&conv, channels_last(hidden_states)))
    }
}

/// Batch normalisation by recorded statistics. Burn's layer would learn new ones on a tracking device.
#[derive(Module, Debug)]
struct BatchNorm2d<B: Backend> {
    weight: Param<Tensor<B, 1>>,
    bias: Param<Tensor<B, 1>>,
    running_mean: Param<Tensor<B, 1>>,
    running_var: Param<Tensor<B, 1>>,
}

impl<B: Backend> BatchNorm2d<B> {
    fn new(channels: usize, device: &B::Device) -> Self {
        let filled = |initializer: Initializer| initializer.init([channels], device);
        Self {
            weight: filled(Initializer::Ones),
            bias: filled(Initializer::Zeros),
            running_mean: filled(Initializer::Zeros),
            running_var: filled(Initializer::Ones),
        }
    }

    /// What every channel is multiplied by, and what is then added.
    fn scale_and_shift(&self) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let deviation = (self.running_var.val() + BATCH_NORM_EPSILON).sqrt();
        let scale = self.weight.val() / deviation;
        let shift = self.bias.val() - self.running_mean.val() * scale.clone();
        (scale, shift)
    }
}

/// The maximum of 3×3 pixels at every second place.
pub(super) fn halve<B: Backend>(hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
    max_pool2d(hidden_states, [3, 3], [2, 2], [0, 0], [1, 1], false)
}

/// What the last branch of an [`InceptionE`] takes of the 3×3 neighbours of a pixel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pool {
    /// Their average, of those within the image.
    Average,
    /// Their maximum.
    Maximum,
}

/// `Mixed_5b` to `Mixed_5d`.
#[derive(Module, Debug)]
pub(super) struct InceptionA<B: Backend> {
    branch1x1: BasicConv2d<B>,
    branch5x5_1: BasicConv2d<B>,
    branch5x5_2: BasicConv2d<B>,
    branch3x3dbl_1: BasicConv2d<B>,
    branch3x3dbl_2: BasicConv2d<B>,
    branch3x3dbl_3: BasicConv2d<B>,
    branch_pool: BasicConv2d<B>,
}

impl<B: NetBackend> InceptionA<B> {
    /// A block that gives `224 + pool_features` channels.
    pub fn new(in_channels: usize, pool_features: usize, device: &B::Device) -> Self {
        let conv = |from, to, size| BasicConv2d::same([from, to], [size; 2], device);
        Self {
            branch1x1: conv(in_channels, 64, 1),
            branch5x5_1: conv(in_channels, 48, 1),
            branch5x5_2: conv(48, 64, 5),
            branch3x3dbl_1: conv(in_channels, 64, 1),
            branch3x3dbl_2: conv(64, 96, 3),
            branch3x3dbl_3: conv(96, 96, 3),
            branch_pool: conv(in_channels, pool_features, 1),
        }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let branch1x1 = self.branch1x1.forward(x.clone());
        let branch5x5 = self.branch5x5_1.forward(x.clone());
        let branch5x5 = self.branch5x5_2.forward(branch5x5);
        let branch3x3dbl = self.branch3x3dbl_1.forward(x.clone());
        let branch3x3dbl = self.branch3x3dbl_2.forward(branch3x3dbl);
        let branch3x3dbl = self.branch3x3dbl_3.forward(branch3x3dbl);
        let branch_pool = self.branch_pool.forward_averaged(x);
        Tensor::cat(vec![branch1x1, branch5x5, branch3x3dbl, branch_pool], 1)
    }
}

/// `Mixed_6a`: halves the size of the image and adds 480 channels.
#[derive(Module, Debug)]
pub(super) struct InceptionB<B: Backend> {
    branch3x3: BasicConv2d<B>,
    branch3x3dbl_1: BasicConv2d<B>,
    branch3x3dbl_2: BasicConv2d<B>,
    branch3x3dbl_3: BasicConv2d<B>,
}

impl<B: NetBackend> InceptionB<B> {
    pub fn new(in_channels: usize, device: &B::Device) -> Self {
        Self {
            branch3x3: BasicConv2d::valid([in_channels, 384], 2, device),
            branch3x3dbl_1: BasicConv2d::same([in_channels, 64], [1, 1], device),
            branch3x3dbl_2: BasicConv2d::same([64, 96], [3, 3], device),
            branch3x3dbl_3: BasicConv2d::valid([96, 96], 2, device),
        }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let branch3x3 = self.branch3x3.forward(x.clone());
        let branch3x3dbl = self.branch3x3dbl_1.forward(x.clone());
        let branch3x3dbl = self.branch3x3dbl_2.forward(branch3x3dbl);
        let branch3x3dbl = self.branch3x3dbl_3.forward(branch3x3dbl);
        Tensor::cat(vec![branch3x3, branch3x3dbl, halve(x)], 1)
    }
}

/// `Mixed_6b` to `Mixed_6e`: 7×7 kernels as a row after a column, or the other way round.
#[derive(Module, Debug)]
pub(super) struct InceptionC<B: Backend> {
    branch1x1: BasicConv2d<B>,
    branch7x7_1: BasicConv2d<B>,
    branch7x7_2: BasicConv2d<B>,
    branch7x7_3: BasicConv2d<B>,
    branch7x7dbl_1: BasicConv2d<B>,
    branch7x7dbl_2: BasicConv2d<B>,
    branch7x7dbl_3: BasicConv2d<B>,
    branch7x7dbl_4: BasicConv2d<B>,
    branch7x7dbl_5: BasicConv2d<B>,
    branch_pool: BasicConv2d<B>,
}

impl<B: NetBackend> InceptionC<B> {
    /// A block that gives 768 channels and has `channels_7x7` between its long kernels.
    pub fn new(in_channels: usize, channels_7x7: usize, device: &B::Device) -> Self {
        let conv = |from, to, kernel| BasicConv2d::same([from, to], kernel, device);
        let (row, column) = ([1, 7], [7, 1]);
        Self {
            branch1x1: conv(in_channels, 192, [1, 1]),
            branch7x7_1: conv(in_channels, channels_7x7, [1, 1]),
            branch7x7_2: conv(channels_7x7, channels_7x7, row),
            branch7x7_3: conv(channels_7x7, 192, column),
            branch7x7dbl_1: conv(in_channels, channels_7x7, [1, 1]),
            branch7x7dbl_2: conv(channels_7x7, channels_7x7, column),
            branch7x7dbl_3: conv(channels_7x7, channels_7x7, row),
            branch7x7dbl_4: conv(channels_7x7, channels_7x7, column),
            branch7x7dbl_5: conv(channels_7x7, 192, row),
            branch_pool: conv(in_channels, 192, [1, 1]),
        }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let branch1x1 = self.branch1x1.forward(x.clone());
        let branch7x7 = self.branch7x7_1.forward(x.clone());
        let branch7x7 = self.branch7x7_2.forward(branch7x7);
        let branch7x7 = self.branch7x7_3.forward(branch7x7);
        let branch7x7dbl = self.branch7x7dbl_1.forward(x.clone());
        let branch7x7dbl = self.branch7x7dbl_2.forward(branch7x7dbl);
        let branch7x7dbl = self.branch7x7dbl_3.forward(branch7x7dbl);
        let branch7x7dbl = self.branch7x7dbl_4.forward(branch7x7dbl);
        let branch7x7dbl = self.branch7x7dbl_5.forward(branch7x7dbl);
        let branch_pool = self.branch_pool.forward_averaged(x);
        Tensor::cat(vec![branch1x1, branch7x7, branch7x7dbl, branch_pool], 1)
    }
}

/// `Mixed_7a`: halves the size of the image and adds 512 channels.
#[derive(Module, Debug)]
pub(super) struct InceptionD<B: Backend> {
    branch3x3_1: BasicConv2d<B>,
    branch3x3_2: BasicConv2d<B>,
    branch7x7x3_1: BasicConv2d<B>,
    branch7x7x3_2: BasicConv2d<B>,
    branch7x7x3_3: BasicConv2d<B>,
    branch7x7x3_4: BasicConv2d<B>,
}

impl<B: NetBackend> InceptionD<B> {
    pub fn new(in_channels: usize, device: &B::Device) -> Self {
        let conv = |from, to, kernel| BasicConv2d::same([from, to], kernel, device);
        Self {
            branch3x3_1: conv(in_channels, 192, [1, 1]),
            branch3x3_2: BasicConv2d::valid([192, 320], 2, device),
            branch7x7x3_1: conv(in_channels, 192, [1, 1]),
            branch7x7x3_2: conv(192, 192, [1, 7]),
            branch7x7x3_3: conv(192, 192, [7, 1]),
            branch7x7x3_4: BasicConv2d::valid([192, 192], 2, device),
        }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let branch3x3 = self.branch3x3_1.forward(x.clone());
        let branch3x3 = self.branch3x3_2.forward(branch3x3);
        let branch7x7x3 = self.branch7x7x3_1.forward(x.clone());
        let branch7x7x3 = self.branch7x7x3_2.forward(branch7x7x3);
        let branch7x7x3 = self.branch7x7x3_3.forward(branch7x7x3);
        let branch7x7x3 = self.branch7x7x3_4.forward(branch7x7x3);
        Tensor::cat(vec![branch3x3, branch7x7x3, halve(x)], 1)
    }
}

/// `Mixed_7b` and `Mixed_7c`: 2048 channels. Two branches end in a row and a column side by side.
#[derive(Module, Debug)]
pub(super) struct InceptionE<B: Backend> {
    branch1x1: BasicConv2d<B>,
    branch3x3_1: BasicConv2d<B>,
    branch3x3_2a: BasicConv2d<B>,
    branch3x3_2b: BasicConv2d<B>,
    branch3x3dbl_1: BasicConv2d<B>,
    branch3x3dbl_2: BasicConv2d<B>,
    branch3x3dbl_3a: BasicConv2d<B>,
    branch3x3dbl_3b: BasicConv2d<B>,
    branch_pool: BasicConv2d<B>,
    pool: Pool,
}

impl<B: NetBackend> InceptionE<B> {
    pub fn new(in_channels: usize, pool: Pool, device: &B::Device) -> Self {
        let conv = |from, to, kernel| BasicConv2d::same([from, to], kernel, device);
        let (row, column) = ([1, 3], [3, 1]);
        Self {
            branch1x1: conv(in_channels, 320, [1, 1]),
            branch3x3_1: conv(in_channels, 384, [1, 1]),
            branch3x3_2a: conv(384, 384, row),
            branch3x3_2b: conv(384, 384, column),
            branch3x3dbl_1: conv(in_channels, 448, [1, 1]),
            branch3x3dbl_2: conv(448, 384, [3, 3]),
            branch3x3dbl_3a: conv(384, 384, row),
            branch3x3dbl_3b: conv(384, 384, column),
            branch_pool: conv(in_channels, 192, [1, 1]),
            pool,
        }
    }

    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let branch1x1 = self.branch1x1.forward(x.clone());
        let branch3x3 = self.branch3x3_1.forward(x.clone());
        let branch3x3_a = self.branch3x3_2a.forward(branch3x3.clone());
        let branch3x3_b = self.branch3x3_2b.forward(branch3x3);
        let branch3x3dbl = self.branch3x3dbl_1.forward(x.clone());
        let branch3x3dbl = self.branch3x3dbl_2.forward(branch3x3dbl);
        let branch3x3dbl_a = self.branch3x3dbl_3a.forward(branch3x3dbl.clone());
        let branch3x3dbl_b = self.branch3x3dbl_3b.forward(branch3x3dbl);
        let branch_pool = match self.pool {
            Pool::Average => self.branch_pool.forward_averaged(x),
            Pool::Maximum => {
                let largest = max_pool2d(x, [3, 3], [1, 1], [1, 1], [1, 1], false);
                self.branch_pool.forward(largest)
            }
        };
        let branches = vec![
            branch1x1,
            branch3x3_a,
            branch3x3_b,
            branch3x3dbl_a,
            branch3x3dbl_b,
            branch_pool,
        ];
        Tensor::cat(branches, 1)
    }
}
