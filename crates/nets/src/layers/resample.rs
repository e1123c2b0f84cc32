//! Halving and doubling the height and width of images between the levels of the autoencoder and the U-Net.
//!
//! Source: `Downsample2D` and `Upsample2D` of diffusers with `use_conv = true`. Keys: `….conv`.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;

use crate::kernels::NetBackend;
use crate::kernels::layout::resized_to_nearest;
use crate::layers::apply::conv2d;

/// Where a [`Downsample2D`] puts zeros around the image. Both halve an even size exactly; of an odd one the
/// U-Net's padding makes `ceil(size / 2)` and the autoencoder's `floor(size / 2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DownsamplePadding {
    /// One row or column on each side: the U-Net's.
    Symmetric,
    /// One row below and one column to the right: the autoencoder's.
    BottomRight,
}

/// Sizes of a [`Downsample2D`].
#[derive(Config, Debug)]
pub struct Downsample2DConfig {
    /// Channels in and out.
    pub channels: usize,
    /// Where zeros are added before the convolution.
    pub padding: DownsamplePadding,
}

impl Downsample2DConfig {
    /// Builds the layer; weights are drawn when first read.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> Downsample2D<B> {
        let padding = match self.padding {
            DownsamplePadding::Symmetric => PaddingConfig2d::Explicit(1, 1, 1, 1),
            DownsamplePadding::BottomRight => PaddingConfig2d::Explicit(0, 0, 1, 1),
        };
        let conv = Conv2dConfig::new([self.channels, self.channels], [3, 3])
            .with_stride([2, 2])
            .with_padding(padding)
            .init(device);
        Downsample2D { conv }
    }
}

/// A 3×3 convolution of stride 2.
#[derive(Module, Debug)]
pub struct Downsample2D<B: Backend> {
    conv: Conv2d<B>,
}

impl<B: NetBackend> Downsample2D<B> {
    /// `[images, height, width, channels]` to half the height and width; see [`DownsamplePadding`] for odd
    /// sizes.
    ///
    /// # Panics
    /// If the number of channels is not the layer's.
    pub fn forward(&self, hidden_states: Tensor<B, 4>) -> Tensor<B, 4> {
        conv2d(&self.conv, hidden_states)
    }
}

/// Sizes of an [`Upsample2D`].
#[derive(Config, Debug)]
pub struct Upsample2DConfig {
    /// Channels in and out.
    pub channels: usize,
}

impl Upsample2DConfig {
    /// Builds the layer; weights are drawn when first read.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> Upsample2D<B> {
        let conv = Conv2dConfig::new([self.channels, self.channels], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(device);
        Upsample2D { conv }
    }
}

/// Nearest-neighbour enlargement, then a 3×3 convolution.
#[derive(Module, Debug)]
pub struct Upsample2D<B: Backend> {
    conv: Conv2d<B>,
}

impl<B: NetBackend> Upsample2D<B> {
    /// `[images, height, width, channels]` to twice the height and width, or to `output_size`
    /// (`[height, width]`): a U-Net asks for the size of the skip connection, which is one less than twice
    /// for an odd size.
    ///
    /// # Panics
    /// If the number of channels is not the layer's, or a size is zero.
    pub fn forward(
        &self,
        hidden_states: Tensor<B, 4>,
        output_size: Option<[usize; 2]>,
    ) -> Tensor<B, 4> {
        let [_, height, width, _] = hidden_states.dims();
        let size = output_size.unwrap_or([2 * height, 2 * width]);
        conv2d(&self.conv, resized_to_nearest(hidden_states, size))
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn downsampling_halves_and_rounds_as_documented() {
        let device = Default::default();
        let size_of = |padding, size| {
            let layer = Downsample2DConfig::new(1, padding).init::<Flex>(&device);
            let [_, height, width, _] = layer.forward(Tensor::zeros(size, &device)).dims();
            [height, width]
        };
        assert_eq!(size_of(DownsamplePadding::Symmetric, [1, 8, 7, 1]), [4, 4]);
        assert_eq!(
            size_of(DownsamplePadding::BottomRight, [1, 8, 7, 1]),
            [4, 3]
        );
    }
}
