//! From images to the pixels that the Inception network takes.
//!
//! Published Fréchet distances rest on one of two resizes, and they differ visibly in the result. Both are
//! bilinear and read four pixels however much the image shrinks, so they alias; neither is Pillow's.

use std::fmt;

use burn::prelude::*;

/// Height and width of what the network takes, in pixels.
pub(super) const IMAGE_SIZE: usize = 299;

/// How images become the 299×299 pixels that the network takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InceptionResize {
    /// As pytorch-fid: `interpolate(mode="bilinear", align_corners=False)` of PyTorch, whose pixel centres lie
    /// at half-integers, then 0..1 is stretched to -1..1.
    #[default]
    PytorchFid,
    /// As torch-fidelity, and as TensorFlow 1 in the first implementation of FID: colours are rounded to 8
    /// bits, pixel `i` is sampled at `i * scale` without regard to centres, which moves the image by up to half
    /// a pixel, and level 128 becomes 0.
    Tensorflow,
}

impl fmt::Display for InceptionResize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PytorchFid => "pytorch-fid",
            Self::Tensorflow => "tensorflow",
        })
    }
}

impl InceptionResize {
    /// `[batch, 3, height, width]` with colours from 0 to 1, to `[batch, 3, 299, 299]` from -1 to 1.
    pub(super) fn pixel_values<B: Backend>(self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let size = [IMAGE_SIZE; 2];
        match self {
            Self::PytorchFid => self.resize(images, size) * 2.0 - 1.0,
            Self::Tensorflow => {
                let levels = (images * 255.0).round().clamp(0.0, 255.0);
                (self.resize(levels, size) - 128.0) / 128.0
            }
        }
    }

    /// `[batch, channels, height, width]` to `size`, which is height and width.
    fn resize<B: Backend>(self, images: Tensor<B, 4>, size: [usize; 2]) -> Tensor<B, 4> {
        let [_, _, height, width] = images.dims();
        let narrowed = self.samples(width, size[1]).along(3, images);
        self.samples(height, size[0]).along(2, narrowed)
    }

    /// Where the `to` samples of an axis of `from` pixels lie. Computed in f32, as both libraries do: at some
    /// sizes a sample falls on the other side of a pixel in f64.
    fn samples(self, from: usize, to: usize) -> Samples {
        let scale = from as f32 / to as f32;
        let position = |sample: usize| match self {
            Self::PytorchFid => (scale * (sample as f32 + 0.5) - 0.5).max(0.0),
            Self::Tensorflow => scale * sample as f32,
        };
        let mut samples = Samples::default();
        for position in (0..to).map(position) {
            let before = (position as usize).min(from - 1);
            samples.before.push(before as i64);
            samples.after.push((before + 1).min(from - 1) as i64);
            samples.fraction.push(position - before as f32);
        }
        samples
    }
}

/// Samples along one axis.
#[derive(Default)]
struct Samples {
    /// The pixel at or before each sample.
    before: Vec<i64>,
    /// The pixel after each sample; at the end of the axis, the last.
    after: Vec<i64>,
    /// How far each sample lies from the one to the other.
    fraction: Vec<f32>,
}

impl Samples {
    /// Samples one axis of images.
    fn along<B: Backend>(self, axis: usize, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let device = images.device();
        let count = self.fraction.len();
        let pixels = |indices: Vec<i64>| {
            let indices = Tensor::from_data(TensorData::new(indices, [count]), &device);
            images.clone().select(axis, indices)
        };
        let mut shape = [1; 4];
        shape[axis] = count;
        let fraction = Tensor::from_data(TensorData::new(self.fraction, shape), &device);
        let before = pixels(self.before);
        before.clone() + (pixels(self.after) - before) * fraction
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;
    use kinvert_testkit::{Recording, Tolerance, values};

    use super::*;

    type B = Flex;

    /// A row of pixels, resized to `width`.
    fn row(resize: InceptionResize, pixels: &[f32], width: usize) -> Vec<f32> {
        let data = TensorData::new(pixels.to_vec(), [1, 1, 1, pixels.len()]);
        let image: Tensor<B, 4> = Tensor::from_data(data, &Default::default());
        values(resize.resize(image, [1, width]))
    }

    #[test]
    fn agrees_with_pytorch() {
        let recording = Recording::open("parity/image_resize/io.safetensors");
        let image: Tensor<B, 3> = recording.tensor("image_120x91", &Default::default());
        let image = image.permute([2, 0, 1]).unsqueeze::<4>(); // [1, C, H, W]
        let resized = InceptionResize::PytorchFid.resize(image, [33, 41]);
        let resized = resized.squeeze_dim::<3>(0).permute([1, 2, 0]);
        // As the fixture's README says. What is found, 2.5e-4, is the step between neighbouring f32 positions: a
        // machine that fuses the product and the sum of `samples` rounds them once, this one twice.
        let name = "torch_bilinear_noaa_120x91_to_33x41";
        recording.expect(name, resized, Tolerance::Absolute(2e-3));
    }

    #[test]
    fn the_two_conventions_lie_half_a_pixel_apart() {
        let pixels = [0.0, 1.0];
        let centred = row(InceptionResize::PytorchFid, &pixels, 4);
        assert_eq!(centred, [0.0, 0.25, 0.75, 1.0]);
        let cornered = row(InceptionResize::Tensorflow, &pixels, 4);
        assert_eq!(cornered, [0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn nothing_changes_at_the_same_size_and_a_flat_image_stays_flat() {
        let pixels: Vec<f32> = (0..299).map(|x| (x * x % 256) as f32).collect();
        for resize in [InceptionResize::PytorchFid, InceptionResize::Tensorflow] {
            assert_eq!(row(resize, &pixels, pixels.len()), pixels);
            for width in [1, 2, 298, 300, 4000] {
                assert_eq!(row(resize, &vec![7.0; width], 299), [7.0; 299]);
            }
        }
    }

    #[test]
    fn colours_fill_the_range_that_the_network_takes() {
        let image = |level: f32| Tensor::<B, 4>::full([1, 3, 2, 2], level, &Default::default());
        for (resize, level, expected) in [
            (InceptionResize::PytorchFid, 0.0, -1.0),
            (InceptionResize::PytorchFid, 1.0, 1.0),
            (InceptionResize::Tensorflow, 0.0, -1.0),
            (InceptionResize::Tensorflow, 128.0 / 255.0, 0.0),
            (InceptionResize::Tensorflow, 1.0, 127.0 / 128.0),
        ] {
            let pixels = resize.pixel_values(image(level));
            assert_eq!(pixels.dims(), [1, 3, 299, 299]);
            assert!(values(pixels).iter().all(|value| *value == expected));
        }
    }
}
