//! Convolutions on the CPU, as matrix products.
//!
//! What lies at a position of a tensor is a row of a matrix. A kernel that reaches along one axis only is a
//! [product for each of its places](columns::shifted), of rows that are there already; one of 3×3 pixels goes the way
//! of [Winograd](winograd), with less than half of the products; of what is left, patches are
//! [copied into rows](columns::patches). Rows are what threads share, in tasks that do not depend on their number, so
//! neither do results. Floats of 32 bits, and of 16 bits [by way of them](super::half_flex); other types take the
//! library's own form.

mod columns;
mod winograd;

use std::borrow::Cow;
use std::sync::Arc;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};

use super::conv::{
    ConvGeometry, ConvKernels, plain_convolution, plain_weight_backward, plain_x_backward,
};
use super::elementwise_flex::contiguous;
use super::half_flex::{are_f32_or_half, narrowed, widened};
use super::prepared_flex::{Form, LayerWeights};

impl ConvKernels for Flex {
    fn convolve(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Option<FlexTensor>,
        geometry: ConvGeometry,
    ) -> FlexTensor {
        if !fits(&[&x, &weight]) || !bias.iter().all(|bias| fits(&[bias])) {
            return plain_convolution::<Flex>(x, weight, bias, geometry);
        }
        let sizes = Sizes::new(dims(&x), dims(&weight), geometry);
        let dtype = x.dtype();
        let x = contiguous(widened(x));
        let bias = bias.map(|bias| widened(bias).to_contiguous());
        let bias = match &bias {
            Some(bias) => Cow::Borrowed(bias.storage()),
            None => Cow::Owned(vec![0.0; sizes.out_channels]),
        };
        let weights = Kernel {
            weights: LayerWeights::of(weight),
            is_reversed: false,
        };
        let values = convolved(sizes, x.storage(), &weights, &bias);
        narrowed(tensor(sizes.output_shape(), values), dtype)
    }

    fn convolve_x_backward(
        x_shape: [usize; 4],
        weight: FlexTensor,
        output_grad: FlexTensor,
        geometry: ConvGeometry,
    ) -> FlexTensor {
        if !fits(&[&weight, &output_grad]) || x_shape.contains(&0) {
            return plain_x_backward::<Flex>(x_shape, weight, output_grad, geometry);
        }
        let sizes = Sizes::new(x_shape, dims(&weight), geometry);
        let dtype = output_grad.dtype();
        let output_grad = contiguous(widened(output_grad));
        let output_grad = output_grad.storage();
        let weights = |is_reversed| Kernel {
            weights: LayerWeights::of(weight),
            is_reversed,
        };
        let values = match sizes.reversed() {
            Some(reversed) => {
                let nothing = vec![0.0; reversed.out_channels];
                convolved(reversed, output_grad, &weights(true), &nothing)
            }
            None => columns::scattered(sizes, &weights(false).places(sizes), output_grad),
        };
        narrowed(tensor(x_shape, values), dtype)
    }

    fn convolve_weight_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        if !fits(&[&x, &weight, &output_grad]) {
            return plain_weight_backward::<Flex>(x, weight, output_grad, geometry);
        }
        let sizes = Sizes::new(dims(&x), dims(&weight), geometry);
        let [x, output_grad] = [x, output_grad].map(|x| contiguous(widened(x)));
        let values = columns::weight_backward(sizes, x.storage(), output_grad.storage());
        narrowed(tensor(dims(&weight), values), weight.dtype())
    }
}

/// Whether all tensors can be computed here and none is empty.
fn fits(tensors: &[&FlexTensor]) -> bool {
    let is_empty = |x: &&FlexTensor| x.layout().num_elements() == 0;
    are_f32_or_half(tensors.iter().copied()) && !tensors.iter().any(is_empty)
}

fn dims(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

fn tensor(shape: [usize; 4], values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// `[images, height, width, out channels]`, given `[images, height, width, in channels]`.
fn convolved(sizes: Sizes, x: &[f32], kernel: &Kernel, bias: &[f32]) -> Vec<f32> {
    if sizes.is_along_rows() {
        columns::shifted(sizes, x, &kernel.places(sizes), bias)
    } else if winograd::suits(sizes) {
        winograd::convolved(sizes, x, &kernel.winograd(sizes), bias)
    } else {
        columns::patches(sizes, x, &kernel.places(sizes), bias)
    }
}

/// The weights of a convolution, or of the one that turns its gradients back: turned by half a circle, with channels
/// exchanged.
struct Kernel {
    /// `[out channels, in channels, rows, columns]`, before anything is turned.
    weights: LayerWeights,
    is_reversed: bool,
}

impl Kernel {
    /// For each place of the kernel `[in channels, out channels]`.
    fn places(&self, sizes: Sizes) -> Arc<Vec<f32>> {
        let form = match self.is_reversed {
            false => Form::Places,
            true => Form::PlacesReversed,
        };
        self.weights.prepared(form, |weights| {
            let mut places = Vec::with_capacity(weights.len());
            for place in 0..sizes.kernel_pixels() {
                for in_channel in 0..sizes.in_channels {
                    let at = |out_channel| self.index(sizes, in_channel, out_channel, place);
                    places.extend((0..sizes.out_channels).map(|out| weights[at(out)]));
                }
            }
            places
        })
    }

    fn winograd(&self, sizes: Sizes) -> Arc<Vec<f32>> {
        let form = match self.is_reversed {
            false => Form::Winograd,
            true => Form::WinogradReversed,
        };
        self.weights.prepared(form, |weights| {
            winograd::weights(sizes, |in_channel, out_channel, place| {
                weights[self.index(sizes, in_channel, out_channel, place)]
            })
        })
    }

    /// Where a weight lies; `sizes` are those of the convolution, turned back or not.
    fn index(&self, sizes: Sizes, in_channel: usize, out_channel: usize, place: usize) -> usize {
        let places = sizes.kernel_pixels();
        match self.is_reversed {
            false => (out_channel * sizes.in_channels + in_channel) * places + place,
            true => (in_channel * sizes.out_channels + out_channel) * places + places - 1 - place,
        }
    }
}

/// Sizes of one convolution; pairs are rows and columns.
#[derive(Clone, Copy)]
struct Sizes {
    images: usize,
    in_channels: usize,
    image: [usize; 2],
    out_channels: usize,
    kernel: [usize; 2],
    output: [usize; 2],
    geometry: ConvGeometry,
}

impl Sizes {
    /// The kernel fits the padded image, which [`conv2d`](super::conv::conv2d) checks.
    fn new(
        [images, height, width, in_channels]: [usize; 4],
        [out_channels, _, rows, columns]: [usize; 4],
        geometry: ConvGeometry,
    ) -> Self {
        let (image, kernel) = ([height, width], [rows, columns]);
        let output = [0, 1].map(|axis| {
            (image[axis] + 2 * geometry.padding[axis] - kernel[axis]) / geometry.stride[axis] + 1
        });
        Self {
            images,
            in_channels,
            image,
            out_channels,
            kernel,
            output,
            geometry,
        }
    }

    fn output_shape(self) -> [usize; 4] {
        let [height, width] = self.output;
        [self.images, height, width, self.out_channels]
    }

    fn image_pixels(self) -> usize {
        self.image[0] * self.image[1]
    }

    fn output_pixels(self) -> usize {
        self.output[0] * self.output[1]
    }

    fn kernel_pixels(self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Rows of all images' output.
    fn output_rows(self) -> usize {
        self.images * self.output_pixels()
    }

    /// Values that an output pixel sees.
    fn patch(self) -> usize {
        self.kernel_pixels() * self.in_channels
    }

    /// Multiply-adds for one pixel of the output.
    fn work_per_pixel(self) -> usize {
        self.patch() * self.out_channels
    }

    /// Images one below the other.
    fn as_one_image(self) -> Self {
        Self {
            images: 1,
            image: [self.images * self.image[0], self.image[1]],
            output: [self.images * self.output[0], self.output[1]],
            ..self
        }
    }

    /// Whether the kernel is one column wide, so that each of its places reads whole rows of pixels.
    fn is_along_rows(self) -> bool {
        self.kernel[1] == 1 && self.geometry.stride == [1, 1] && self.geometry.padding[1] == 0
    }

    /// The convolution that turns a gradient of the output into one of the input, if there is one.
    fn reversed(self) -> Option<Self> {
        Some(Self {
            images: self.images,
            in_channels: self.out_channels,
            image: self.output,
            out_channels: self.in_channels,
            kernel: self.kernel,
            output: self.image,
            geometry: self.geometry.reversed(self.kernel)?,
        })
    }

    /// The pixel of the image that a place of the kernel sees from a pixel of the output, if it is no padding.
    #[inline(always)]
    fn seen_from(self, [row, column]: [usize; 2], place: usize) -> Option<usize> {
        let offset = [place / self.kernel[1], place % self.kernel[1]];
        let seen = |axis: usize, at: usize| {
            let seen = at * self.geometry.stride[axis] + offset[axis];
            let seen = seen.checked_sub(self.geometry.padding[axis])?;
            (seen < self.image[axis]).then_some(seen)
        };
        Some(seen(0, row)? * self.image[1] + seen(1, column)?)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::prelude::*;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Distribution, FloatDType, module};
    use kinvert_testkit::{Tolerance, assert_close, values};

    use super::*;
    use crate::kernels::conv::{self, temporal_conv};
    use crate::layers::apply::{channels_first, channels_last};

    type Tracked = Autodiff<Flex>;

    /// Images, channels in and out, height, width, kernel, stride and padding.
    type Case = ([usize; 3], [usize; 2], [usize; 2], [usize; 2], [usize; 2]);

    /// Those of the networks, and odd ones: single pixels, kernels as large as the image, tasks that begin and end
    /// inside an image, odd sizes, channels that are no whole vectors, strides that leave pixels out, padding as wide as
    /// the kernel.
    const CASES: [Case; 22] = [
        ([2, 3, 4], [1, 5], [5, 1], [1, 1], [2, 0]),
        ([2, 3, 5], [4, 5], [3, 3], [1, 1], [2, 2]),
        ([2, 20, 17], [3, 7], [3, 3], [1, 1], [0, 1]),
        ([3, 5, 4], [6, 5], [3, 1], [1, 1], [1, 0]),
        ([2, 5, 4], [6, 5], [1, 3], [1, 1], [0, 1]),
        ([1, 1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
        ([2, 3, 5], [1, 1], [3, 3], [1, 1], [1, 1]),
        ([3, 4, 2], [1, 1], [3, 3], [2, 2], [1, 1]),
        ([16, 64, 64], [8, 8], [3, 3], [1, 1], [1, 1]),
        ([16, 24, 16], [4, 4], [3, 3], [1, 1], [1, 1]),
        ([5, 7, 6], [9, 11], [3, 3], [1, 1], [1, 1]),
        ([3, 7, 9], [10, 13], [3, 3], [2, 2], [1, 1]),
        ([3, 7, 9], [9, 12], [3, 3], [2, 2], [0, 0]),
        ([1, 5, 8], [37, 41], [3, 3], [1, 1], [1, 1]),
        ([2, 9, 4], [30, 7], [1, 1], [1, 1], [0, 0]),
        ([5, 9, 4], [3, 2], [1, 1], [1, 1], [0, 0]),
        ([4, 9, 4], [7, 6], [1, 1], [2, 2], [0, 0]),
        ([2, 6, 5], [7, 9], [5, 3], [2, 1], [1, 2]),
        ([2, 3, 4], [6, 5], [6, 5], [1, 1], [0, 0]),
        ([1, 2, 3], [6, 5], [2, 1], [1, 3], [2, 1]),
        ([1, 2, 3], [4, 4], [2, 2], [1, 1], [0, 1]),
        ([1, 400, 3], [8, 16], [3, 3], [1, 1], [1, 1]),
    ];

    fn random<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
        let distribution = Distribution::Normal(0.0, 1.0);
        Tensor::random(shape, distribution, &Default::default())
    }

    /// The kernel, of images whose channels come first as the library wants them.
    fn conv2d<B: ConvKernels>(
        x: Tensor<B, 4>,
        weight: Tensor<B, 4>,
        bias: Option<Tensor<B, 1>>,
        geometry: ConvGeometry,
    ) -> Tensor<B, 4> {
        channels_first(conv::conv2d(channels_last(x), weight, bias, geometry))
    }

    /// The library's convolution.
    fn plain<B: Backend>(
        x: Tensor<B, 4>,
        weight: Tensor<B, 4>,
        bias: Option<Tensor<B, 1>>,
        geometry: ConvGeometry,
    ) -> Tensor<B, 4> {
        let options = ConvOptions::new(geometry.stride, geometry.padding, [1, 1], 1);
        module::conv2d(x, weight, bias, options)
    }

    fn exact(
        x: Tensor<Flex, 4>,
        weight: Tensor<Flex, 4>,
        bias: Option<Tensor<Flex, 1>>,
        geometry: ConvGeometry,
    ) -> Vec<f32> {
        let wide = FloatDType::F64;
        let bias = bias.map(|bias| bias.cast(wide));
        values(plain(x.cast(wide), weight.cast(wide), bias, geometry))
    }

    /// Sums of `count` products of normal draws are of size `√count`, and an index that is wrong shows at that size.
    /// Largest difference seen, over six runs: 3e-6 `√count` from the exact value, 5.3e-6 `√count` between the
    /// gradients of library and kernel, which both round, and in different orders.
    fn tolerance(count: usize) -> Tolerance {
        Tolerance::Absolute(2e-5 * (count as f64).sqrt())
    }

    #[test]
    fn values_are_those_of_the_library() {
        for case in CASES {
            let ([images, from, to], image, kernel, stride, padding) = case;
            let geometry = ConvGeometry { stride, padding };
            let x = random([images, from, image[0], image[1]]);
            let weight = random([to, from, kernel[0], kernel[1]]);
            for bias in [None, Some(random([to]))] {
                let expected = exact(x.clone(), weight.clone(), bias.clone(), geometry);
                let found = conv2d(x.clone(), weight.clone(), bias, geometry);
                let tolerance = tolerance(from * kernel[0] * kernel[1]);
                assert_close(&format!("{case:?}"), &values(found), &expected, tolerance);
            }
        }
    }

    #[test]
    fn tensors_need_not_be_contiguous() {
        let geometry = ConvGeometry {
            stride: [1, 1],
            padding: [1, 1],
        };
        let x = random::<Flex, 4>([6, 9, 4, 3])
            .permute([3, 2, 1, 0])
            .narrow(2, 1, 7);
        let weight = random::<Flex, 4>([3, 5, 4, 3]).permute([1, 2, 3, 0]);
        let bias = random::<Flex, 1>([9]).narrow(0, 3, 5);
        let expected = exact(x.clone(), weight.clone(), Some(bias.clone()), geometry);
        let found = conv2d(x, weight, Some(bias), geometry);
        assert_close("values", &values(found), &expected, tolerance(36));
    }

    #[test]
    fn other_types_take_the_form_of_the_library() {
        let geometry = ConvGeometry {
            stride: [1, 1],
            padding: [1, 1],
        };
        let (x, weight) = (random([2, 3, 5, 4]), random([4, 3, 3, 3]));
        let expected = exact(x.clone(), weight.clone(), None, geometry);
        let found = conv2d(x.cast(DType::F16), weight.cast(DType::F16), None, geometry);
        assert_eq!(found.dtype(), DType::F16);
        // Inputs and result are rounded to eleven bits; 1.5e-3 of the largest value seen.
        let tolerance = Tolerance::OfLargest(1e-2);
        assert_close("values", &values(found), &expected, tolerance);
    }

    type Inputs<B> = (Tensor<B, 4>, Tensor<B, 4>, Tensor<B, 1>);

    /// Gradients of `Σ factor * convolution` for input, weights and bias.
    fn gradients(
        inputs: &Inputs<Flex>,
        tracked: [bool; 3],
        convolve: impl Fn(Inputs<Tracked>) -> Tensor<Tracked, 4>,
        factor: &Tensor<Flex, 4>,
    ) -> [Option<Vec<f32>>; 3] {
        fn leaf<const D: usize>(tensor: &Tensor<Flex, D>, tracked: bool) -> Tensor<Tracked, D> {
            Tensor::from_inner(tensor.clone()).set_require_grad(tracked)
        }
        let x = leaf(&inputs.0, tracked[0]);
        let weight = leaf(&inputs.1, tracked[1]);
        let bias = leaf(&inputs.2, tracked[2]);
        let output = convolve((x.clone(), weight.clone(), bias.clone()));
        let grads = (output * Tensor::from_inner(factor.clone()))
            .sum()
            .backward();
        [
            x.grad(&grads).map(values),
            weight.grad(&grads).map(values),
            bias.grad(&grads).map(values),
        ]
    }

    #[test]
    fn gradients_are_those_of_the_library() {
        for case in CASES {
            let ([images, from, to], image, kernel, stride, padding) = case;
            let geometry = ConvGeometry { stride, padding };
            let inputs = (
                random([images, from, image[0], image[1]]),
                random([to, from, kernel[0], kernel[1]]),
                random([to]),
            );
            let output = plain(inputs.0.clone(), inputs.1.clone(), None, geometry);
            let [_, _, height, width] = output.dims();
            let factor = random(output.dims());
            let theirs = |(x, weight, bias)| plain(x, weight, Some(bias), geometry);
            let ours = |(x, weight, bias)| conv2d(x, weight, Some(bias), geometry);
            let expected = gradients(&inputs, [true; 3], theirs, &factor);
            // Products that each gradient is a sum of.
            let pixels = images * height * width;
            let counts = [to * kernel[0] * kernel[1], pixels, pixels];
            for tracked in [
                [true; 3],
                [true, false, false],
                [false, true, false],
                [false, false, true],
            ] {
                let found = gradients(&inputs, tracked, ours, &factor);
                for (index, found) in found.into_iter().enumerate() {
                    assert_eq!(found.is_some(), tracked[index]);
                    let Some(found) = found else { continue };
                    let name = format!("gradient {index} of {case:?}");
                    let expected = expected[index].as_ref().unwrap();
                    assert_close(&name, &found, expected, tolerance(counts[index]));
                }
            }
            let ours = |(x, weight, _)| conv2d(x, weight, None, geometry);
            let [x, weight, bias] = gradients(&inputs, [true, true, false], ours, &factor);
            assert_eq!(bias, None);
            for (index, found) in [x, weight].into_iter().enumerate() {
                let expected = expected[index].as_ref().unwrap();
                assert_close(
                    "without bias",
                    &found.unwrap(),
                    expected,
                    tolerance(counts[index]),
                );
            }
        }
    }

    #[test]
    fn the_plain_forms_are_those_of_the_kernel() {
        for case in CASES {
            let ([images, from, to], image, kernel, stride, padding) = case;
            let geometry = ConvGeometry { stride, padding };
            let shape = [images, image[0], image[1], from];
            let primitive = |x: Tensor<Flex, 4>| x.into_primitive().tensor();
            let x = primitive(random(shape));
            let weight = primitive(random([to, from, kernel[0], kernel[1]]));
            let compare = |name: &str, count: usize, [found, expected]: [FlexTensor; 2]| {
                let [found, expected] = [found, expected].map(|x| x.to_contiguous());
                let name = format!("{name} of {case:?}");
                let (found, expected) = (found.storage(), expected.storage());
                assert_close(&name, found, expected, tolerance(count));
            };
            let (of_kernel, of_patch) = (kernel[0] * kernel[1], from * kernel[0] * kernel[1]);
            let output = Flex::convolve(x.clone(), weight.clone(), None, geometry);
            let plain = plain_convolution::<Flex>(x.clone(), weight.clone(), None, geometry);
            let grad = primitive(random(dims(&output)));
            let pixels = dims(&output)[..3].iter().product();
            compare("value", of_patch, [output, plain]);
            let (w, g) = (weight.clone(), grad.clone());
            let found = Flex::convolve_x_backward(shape, w.clone(), g.clone(), geometry);
            let plain = plain_x_backward::<Flex>(shape, w, g, geometry);
            compare("gradient of the input", to * of_kernel, [found, plain]);
            let (w, g) = (weight.clone(), grad.clone());
            let found = Flex::convolve_weight_backward(x.clone(), w.clone(), g.clone(), geometry);
            let plain = plain_weight_backward::<Flex>(x, w, g, geometry);
            compare("gradient of the weights", pixels, [found, plain]);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for stride in [[1, 1], [2, 2]] {
            let geometry = ConvGeometry {
                stride,
                padding: [1, 1],
            };
            let x = random::<Flex, 4>([2, 3, 5, 4]);
            let weight = random::<Flex, 4>([4, 3, 3, 3]);
            let inputs = (x.clone(), weight.clone(), random([4]));
            let factor = random(plain(x.clone(), weight.clone(), None, geometry).dims());
            let ours = |(x, weight, bias)| conv2d(x, weight, Some(bias), geometry);
            let [x_grad, weight_grad, _] = gradients(&inputs, [true; 3], ours, &factor);
            let loss = |x: Tensor<Flex, 4>, weight: Tensor<Flex, 4>| -> f64 {
                dot(&exact(x, weight, None, geometry), &values(factor.clone()))
            };
            // The loss is linear in each input, so the difference is exact up to rounding.
            let direction = random::<Flex, 4>(x.dims());
            let difference = loss(x.clone() + direction.clone(), weight.clone())
                - loss(x.clone(), weight.clone());
            let slope = dot(&x_grad.unwrap(), &values(direction));
            assert!((difference - slope).abs() < 1e-3, "{difference}, {slope}");

            let direction = random::<Flex, 4>(weight.dims());
            let difference = loss(x.clone(), weight.clone() + direction.clone()) - loss(x, weight);
            let slope = dot(&weight_grad.unwrap(), &values(direction));
            assert!((difference - slope).abs() < 1e-3, "{difference}, {slope}");
        }
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    }

    #[test]
    fn the_temporal_convolution_is_that_of_a_clip() {
        for (frames, [height, width]) in [(1, [1, 1]), (1, [3, 2]), (2, [1, 5]), (16, [8, 8])] {
            let (batch, from, to) = (2, 7, 5);
            let clip = random::<Flex, 5>([batch, from, frames, height, width]);
            let (weight, bias) = (random::<Flex, 3>([to, from, 3]), random::<Flex, 1>([to]));
            let options = ConvOptions::new([1, 1, 1], [1, 0, 0], [1, 1, 1], 1);
            let wide = FloatDType::F64;
            let expected = module::conv3d(
                clip.clone().cast(wide),
                weight.clone().reshape([to, from, 3, 1, 1]).cast(wide),
                Some(bias.clone().cast(wide)),
                options,
            );
            let x = channels_last(clip.reshape([batch, from, frames, height * width]));
            let found = temporal_conv(x, weight, Some(bias));
            assert_eq!(found.dims(), [batch, frames, height * width, to]);
            let name = format!("{frames} frames of {height} by {width}");
            assert_close(
                &name,
                &values(channels_first(found)),
                &values(expected),
                tolerance(3 * from),
            );
        }
    }

    const SAME: ConvGeometry = ConvGeometry {
        stride: [1, 1],
        padding: [1, 1],
    };

    #[test]
    #[should_panic(expected = "channels of a convolution")]
    fn channels_must_agree() {
        let weight = random::<Flex, 4>([3, 4, 3, 3]);
        conv2d(random([1, 3, 5, 5]), weight, None, SAME);
    }

    #[test]
    #[should_panic(expected = "does not fit 5 pixels")]
    fn the_kernel_must_fit_the_image() {
        let weight = random::<Flex, 4>([3, 3, 8, 3]);
        conv2d(random([1, 3, 5, 5]), weight, None, SAME);
    }

    #[test]
    #[should_panic(expected = "does not fit 5 pixels")]
    fn strides_must_not_be_zero() {
        let geometry = ConvGeometry {
            stride: [0, 1],
            ..SAME
        };
        let weight = random::<Flex, 4>([3, 3, 3, 3]);
        conv2d(random([1, 3, 5, 5]), weight, None, geometry);
    }
}
