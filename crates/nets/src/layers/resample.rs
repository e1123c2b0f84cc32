//! Halving and doubling the height and width of images between the levels of the autoencoder and the U-Net.
//!
//! Source: `Downsample2D` and `Upsample2D` of diffusers with `use_conv = true`. Keys: `….conv`.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use burn::tensor::TensorData;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use crate::kernels::NetBackend;
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
    /// `[images, channels, height, width]` to half the height and width; see [`DownsamplePadding`] for odd
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
    /// `[images, channels, height, width]` to twice the height and width, or to `output_size`
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
        let [_, _, height, width] = hidden_states.dims();
        let size = output_size.unwrap_or([2 * height, 2 * width]);
        conv2d(&self.conv, interpolate_nearest(hidden_states, size))
    }
}

/// Resizes `[images, channels, height, width]` to `size`: output row `y` is input row
/// `floor(y * height_in / height_out)`, and so for columns, as PyTorch's `interpolate(mode="nearest")`.
///
/// Burn's own `interpolate` does the same in a fifth of the time on the CPU. Its gradient kernel for GPUs (0.21),
/// by its source, indexes vectors of channels as if they were single elements, which goes wrong where
/// channels lie innermost in memory, as convolutions leave them. Backends that may ask for a gradient
/// therefore pick columns, then rows.
fn interpolate_nearest<B: NetBackend>(images: Tensor<B, 4>, size: [usize; 2]) -> Tensor<B, 4> {
    let device = images.device();
    if B::ad_enabled(&device) {
        let [_, _, height, width] = images.dims();
        images
            .select(3, nearest_indices(width, size[1], &device))
            .select(2, nearest_indices(height, size[0], &device))
    } else {
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_align_corners(false);
        interpolate(images, size, options)
    }
}

/// For each of `size_out` positions the one of `size_in` that is nearest.
fn nearest_indices<B: NetBackend>(
    size_in: usize,
    size_out: usize,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let indices: Vec<i64> = (0..size_out)
        .map(|at| (at * size_in / size_out) as i64)
        .collect();
    Tensor::from_data(TensorData::new(indices, [size_out]), device)
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn_flex::Flex;
    use kinvert_testkit::values;

    use super::*;

    /// `nearest_neighbor_compute_source_index` of PyTorch, which computes in f32.
    fn pytorch_index(at: usize, size_in: usize, size_out: usize) -> usize {
        let scale = size_in as f32 / size_out as f32;
        ((at as f32 * scale).floor() as usize).min(size_in - 1)
    }

    /// An image whose pixels tell where they are: `100 * row + column`.
    fn numbered<B: NetBackend>(height: usize, width: usize) -> Tensor<B, 4> {
        let pixel = |at: usize| (100 * (at / width) + at % width) as f32;
        let pixels: Vec<f32> = (0..height * width).map(pixel).collect();
        Tensor::from_data(
            TensorData::new(pixels, [1, 1, height, width]),
            &B::Device::default(),
        )
    }

    fn check<B: NetBackend>(size_in: [usize; 2], size_out: [usize; 2]) {
        let found = interpolate_nearest(numbered::<B>(size_in[0], size_in[1]), size_out);
        assert_eq!(found.dims(), [1, 1, size_out[0], size_out[1]]);
        let row = |y| pytorch_index(y, size_in[0], size_out[0]);
        let column = |x| pytorch_index(x, size_in[1], size_out[1]);
        let expected: Vec<f32> = (0..size_out[0])
            .flat_map(|y| (0..size_out[1]).map(move |x| (100 * row(y) + column(x)) as f32))
            .collect();
        assert_eq!(values(found), expected, "{size_in:?} to {size_out:?}");
    }

    #[test]
    fn every_size_that_a_skip_connection_can_ask_for_is_met_as_pytorch_does() {
        for size in 1..=72 {
            let odd = (2 * size - 1).max(1);
            for size_out in [[2 * size, odd], [odd, 2 * size]] {
                check::<Flex>([size, size], size_out);
                check::<Autodiff<Flex>>([size, size], size_out);
            }
        }
        check::<Flex>([3, 5], [11, 7]);
        check::<Autodiff<Flex>>([3, 5], [11, 7]);
    }

    #[test]
    fn the_gradient_of_a_pixel_sums_over_its_copies() {
        type B = Autodiff<Flex>;
        let images = numbered::<B>(3, 2).require_grad();
        let weight = numbered::<B>(5, 4); // 100 * row + column
        let loss = (interpolate_nearest(images.clone(), [5, 4]) * weight).sum();
        let gradient = images.grad(&loss.backward()).unwrap();
        // Rows 0 1 | 2 3 | 4 of the output are copies of rows 0, 1 and 2; columns of two each.
        assert_eq!(
            values(gradient),
            [202.0, 210.0, 1002.0, 1010.0, 801.0, 805.0]
        );
    }

    #[test]
    fn downsampling_halves_and_rounds_as_documented() {
        let device = Default::default();
        let size_of = |padding, size| {
            let layer = Downsample2DConfig::new(1, padding).init::<Flex>(&device);
            let [_, _, height, width] = layer.forward(Tensor::zeros(size, &device)).dims();
            [height, width]
        };
        assert_eq!(size_of(DownsamplePadding::Symmetric, [1, 1, 8, 7]), [4, 4]);
        assert_eq!(
            size_of(DownsamplePadding::BottomRight, [1, 1, 8, 7]),
            [4, 3]
        );
    }
}
