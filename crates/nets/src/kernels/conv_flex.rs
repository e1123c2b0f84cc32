//! Convolutions on the CPU, as matrix products.
//!
//! The patches under the kernel become the columns of a matrix (`im2col`), a tile of output rows at a time:
//! the columns of a tile stay in the second-level cache, tiles are what threads share, and a tile spans several
//! small images, so that the weights are not packed for a product of sixteen columns. With a 1×1 kernel the image
//! is that matrix already. Tiles do not depend on the number of threads, so neither do results. Floats of 32 bits, and of 16
//! bits [by way of them](super::half_flex); other types take the library's own form.

use std::cell::Cell;
use std::ops::Range;

use burn::tensor::ops::{ConvOptions, FloatTensor, ModuleOps};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};

use super::conv::{ConvGeometry, ConvKernels, plain_x_backward};
use super::half_flex::{are_f32_or_half, narrowed, widened};
use super::matrix::{Existing, Matrix, MatrixMut, for_each, multiply};

/// Columns of a tile, at most about: with fewer, packing the weights weighs in.
const COLUMNS_PER_TILE: usize = 128;
/// Tiles come in multiples of this, so that few of them are shared evenly among two or four threads.
const TILES_AT_ONCE: usize = 4;
/// Tasks that gradients are split for where images are fewer: enough to keep usual processors busy.
const TASKS: usize = 16;
/// Values of a column matrix: 512 KiB of f32. Kernels over more channels take them in several products.
const VALUES_PER_TILE: usize = 128 * 1024;

impl ConvKernels for Flex {
    fn convolve(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Option<FlexTensor>,
        geometry: ConvGeometry,
    ) -> FlexTensor {
        if !fits(&[&x, &weight]) || !bias.iter().all(|bias| fits(&[bias])) {
            let options = ConvOptions::new(geometry.stride, geometry.padding, [1, 1], 1);
            return Flex::conv2d(x, weight, bias, options);
        }
        let sizes = Sizes::new(dims(&x), dims(&weight), geometry);
        let dtype = x.dtype();
        let [x, weight] = [x, weight].map(|x| widened(x).to_contiguous());
        let bias = bias.map(|bias| widened(bias).to_contiguous());
        let bias = bias.as_ref().map(|bias| bias.storage());
        let values = forward(sizes, x.storage(), weight.storage(), bias);
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
        let [weight, output_grad] = [weight, output_grad].map(|x| widened(x).to_contiguous());
        let (weight, output_grad) = (weight.storage(), output_grad.storage());
        let values = match sizes.reversed() {
            Some(reversed) => {
                let weight = sizes.reversed_weight(weight);
                forward(reversed, output_grad, &weight, None)
            }
            None => scattered(sizes, weight, output_grad),
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
            let options = ConvOptions::new(geometry.stride, geometry.padding, [1, 1], 1);
            return Flex::conv2d_weight_backward(x, weight, output_grad, options);
        }
        let sizes = Sizes::new(dims(&x), dims(&weight), geometry);
        let [x, output_grad] = [x, output_grad].map(|x| widened(x).to_contiguous());
        let values = weight_backward(sizes, x.storage(), output_grad.storage());
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
        [images, in_channels, height, width]: [usize; 4],
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
        [
            self.images,
            self.out_channels,
            self.output[0],
            self.output[1],
        ]
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

    /// Rows of the whole column matrix.
    fn patch(self) -> usize {
        self.in_channels * self.kernel_pixels()
    }

    /// Multiply-adds for one pixel of the output.
    fn work_per_pixel(self) -> usize {
        self.patch() * self.out_channels
    }

    /// Whether every kernel leaves an image's columns as they are.
    fn is_pointwise(self) -> bool {
        self.kernel == [1, 1] && self.geometry.stride == [1, 1] && self.geometry.padding == [0, 0]
    }

    /// Channels whose columns a tile of `columns` holds at once.
    fn channels_per_product(self, columns: usize) -> usize {
        (VALUES_PER_TILE / (columns * self.kernel_pixels()).max(1)).clamp(1, self.in_channels)
    }

    /// The convolution that turns a gradient of the output into one of the input: with stride one, that of the
    /// weights turned by half a circle and with channels exchanged.
    fn reversed(self) -> Option<Self> {
        let [rows, columns] = self.kernel;
        let [top, left] = self.geometry.padding;
        if self.geometry.stride != [1, 1] || top >= rows || left >= columns {
            return None;
        }
        Some(Self {
            images: self.images,
            in_channels: self.out_channels,
            image: self.output,
            out_channels: self.in_channels,
            kernel: self.kernel,
            output: self.image,
            geometry: ConvGeometry {
                stride: [1, 1],
                padding: [rows - 1 - top, columns - 1 - left],
            },
        })
    }

    /// The weights of [`reversed`](Self::reversed).
    fn reversed_weight(self, weight: &[f32]) -> Vec<f32> {
        let kernel_pixels = self.kernel_pixels();
        let mut reversed = vec![0.0; weight.len()];
        for (out_channel, weight) in weight.chunks_exact(self.patch()).enumerate() {
            for (in_channel, kernel) in weight.chunks_exact(kernel_pixels).enumerate() {
                let start = (in_channel * self.out_channels + out_channel) * kernel_pixels;
                let reversed = &mut reversed[start..start + kernel_pixels];
                for (to, from) in reversed.iter_mut().zip(kernel.iter().rev()) {
                    *to = *from;
                }
            }
        }
        reversed
    }

    /// Rows of output that a tile spans; the rows of all images are counted on.
    fn rows_per_tile(self) -> usize {
        let rows = self.images * self.output[0];
        let tiles = (rows * self.output[1]).div_ceil(COLUMNS_PER_TILE);
        rows.div_ceil(tiles.next_multiple_of(TILES_AT_ONCE).min(rows))
    }

    /// The stretches of single images that make up a tile, given its rows.
    fn stretches(self, tile: Range<usize>) -> Vec<Stretch> {
        let [height, width] = self.output;
        let mut stretches = Vec::new();
        let mut row = tile.start;
        while row < tile.end {
            let (image, first) = (row / height, row % height);
            let count = (height - first).min(tile.end - row);
            stretches.push(Stretch {
                image,
                rows: first..first + count,
                columns: (row - tile.start) * width..(row - tile.start + count) * width,
            });
            row += count;
        }
        stretches
    }
}

/// Rows of the output of one image.
struct Stretch {
    image: usize,
    rows: Range<usize>,
    /// Their columns in the tile's matrices.
    columns: Range<usize>,
}

/// Memory that a thread keeps from tile to tile.
#[derive(Default)]
struct Scratch {
    columns: Vec<f32>,
    output: Vec<f32>,
}

/// Lends the calling thread's memory; values are whatever they are.
fn with_scratch<R>(task: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<Scratch> = const {
            Cell::new(Scratch { columns: Vec::new(), output: Vec::new() })
        };
    }
    let mut scratch = SCRATCH.take();
    let result = task(&mut scratch);
    SCRATCH.set(scratch);
    result
}

/// The first `length` values of a vector that grows as needed.
fn at_least(values: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if values.len() < length {
        values.resize(length, 0.0);
    }
    &mut values[..length]
}

fn forward(sizes: Sizes, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let mut output = vec![0.0; sizes.images * sizes.out_channels * sizes.output_pixels()];
    let rows_per_tile = sizes.rows_per_tile();
    let tiles = tiles(sizes, rows_per_tile, &mut output);
    let work = rows_per_tile * sizes.output[1] * sizes.work_per_pixel();
    for_each(tiles, work, |tile| {
        forward_tile(sizes, x, weight, bias, tile)
    });
    output
}

/// Rows of the output that one task computes.
struct Tile<'a> {
    rows: Range<usize>,
    /// Where they go: for every stretch, one slice per channel.
    output: Vec<&'a mut [f32]>,
}

/// Cuts the output into tiles.
fn tiles(sizes: Sizes, rows_per_tile: usize, output: &mut [f32]) -> Vec<Tile<'_>> {
    let [height, width] = sizes.output;
    let rows = sizes.images * height;
    let mut tiles: Vec<Tile<'_>> = (0..rows)
        .step_by(rows_per_tile)
        .map(|first| Tile {
            rows: first..rows.min(first + rows_per_tile),
            output: Vec::with_capacity(sizes.out_channels),
        })
        .collect();
    for (plane, mut values) in output.chunks_mut(sizes.output_pixels()).enumerate() {
        let mut row = plane / sizes.out_channels * height;
        while !values.is_empty() {
            let tile = &mut tiles[row / rows_per_tile];
            let count = (tile.rows.end - row).min(values.len() / width);
            let (here, rest) = values.split_at_mut(count * width);
            tile.output.push(here);
            (values, row) = (rest, row + count);
        }
    }
    tiles
}

fn forward_tile(sizes: Sizes, x: &[f32], weight: &[f32], bias: Option<&[f32]>, tile: Tile<'_>) {
    let count = tile.rows.len() * sizes.output[1];
    let stretches = sizes.stretches(tile.rows);
    with_scratch(|Scratch { columns, output }| {
        let output = at_least(output, sizes.out_channels * count);
        let step = sizes.channels_per_product(count);
        for first in (0..sizes.in_channels).step_by(step) {
            let channels = first..sizes.in_channels.min(first + step);
            let taken = channels.len() * sizes.kernel_pixels();
            multiply(
                MatrixMut::new(output, [sizes.out_channels, count], count),
                match first {
                    0 => Existing::Overwritten,
                    _ => Existing::AddedTo,
                },
                1.0,
                Matrix::new(
                    &weight[first * sizes.kernel_pixels()..],
                    [sizes.out_channels, taken],
                    sizes.patch(),
                ),
                patches(sizes, x, channels, &stretches, columns),
            );
        }
        let mut targets = tile.output.into_iter();
        for stretch in &stretches {
            for (channel, target) in (0..sizes.out_channels).zip(targets.by_ref()) {
                let values = &output[channel * count..][stretch.columns.clone()];
                let bias = bias.map_or(0.0, |bias| bias[channel]);
                for (to, from) in target.iter_mut().zip(values) {
                    *to = from + bias;
                }
            }
        }
    });
}

/// The input's gradient for any stride: every gradient of an output pixel, times the weights, is added to the pixels
/// of the patch that it came from.
fn scattered(sizes: Sizes, weight: &[f32], output_grad: &[f32]) -> Vec<f32> {
    let [height, width] = sizes.output;
    let kernel_pixels = sizes.kernel_pixels();
    let blocks = TASKS.div_ceil(sizes.images).min(sizes.in_channels);
    let channels_per_task = sizes.in_channels.div_ceil(blocks);
    let mut x_grad = vec![0.0; sizes.images * sizes.in_channels * sizes.image_pixels()];
    let tasks = x_grad
        .chunks_mut(sizes.in_channels * sizes.image_pixels())
        .enumerate()
        .flat_map(|(image, x_grad)| {
            x_grad
                .chunks_mut(channels_per_task * sizes.image_pixels())
                .enumerate()
                .map(move |(index, x_grad)| (image, index * channels_per_task, x_grad))
        })
        .collect();
    let work = sizes.output_pixels() * channels_per_task * kernel_pixels * sizes.out_channels;
    for_each(
        tasks,
        work,
        |(image, first_channel, x_grad): (usize, usize, &mut [f32])| {
            let taken = x_grad.len() / sizes.image_pixels() * kernel_pixels;
            let step = (VALUES_PER_TILE / (taken * width)).clamp(1, height);
            with_scratch(|Scratch { columns, .. }| {
                for first_row in (0..height).step_by(step) {
                    let rows = first_row..height.min(first_row + step);
                    let count = rows.len() * width;
                    let columns = at_least(columns, taken * count);
                    let start =
                        image * sizes.out_channels * sizes.output_pixels() + first_row * width;
                    multiply(
                        MatrixMut::new(columns, [taken, count], count),
                        Existing::Overwritten,
                        1.0,
                        Matrix::new(
                            &weight[first_channel * kernel_pixels..],
                            [sizes.out_channels, taken],
                            sizes.patch(),
                        )
                        .transposed(),
                        Matrix::new(
                            &output_grad[start..],
                            [sizes.out_channels, count],
                            sizes.output_pixels(),
                        ),
                    );
                    let planes = x_grad.chunks_exact_mut(sizes.image_pixels());
                    for (plane, columns) in planes.zip(columns.chunks_exact(kernel_pixels * count))
                    {
                        for (place, values) in columns.chunks_exact(count).enumerate() {
                            sizes.add_shifted(place, rows.clone(), values, plane);
                        }
                    }
                }
            });
        },
    );
    x_grad
}

/// The weights' gradient: every thread takes some input channels through all images.
fn weight_backward(sizes: Sizes, x: &[f32], output_grad: &[f32]) -> Vec<f32> {
    let (patch, out_channels) = (sizes.patch(), sizes.out_channels);
    let kernel_pixels = sizes.kernel_pixels();
    let channels_per_task = sizes.in_channels.div_ceil(TASKS);
    let mut transposed = vec![0.0; patch * out_channels];
    let tasks = transposed
        .chunks_mut(channels_per_task * kernel_pixels * out_channels)
        .enumerate()
        .collect();
    let (rows, rows_per_tile) = (sizes.images * sizes.output[0], sizes.rows_per_tile());
    let work = rows * sizes.output[1] * channels_per_task * kernel_pixels * out_channels;
    for_each(tasks, work, |(index, grad): (usize, &mut [f32])| {
        let taken = grad.len() / out_channels;
        let first = index * channels_per_task;
        let channels = first..first + taken / kernel_pixels;
        for first_row in (0..rows).step_by(rows_per_tile) {
            let tile = first_row..rows.min(first_row + rows_per_tile);
            let count = tile.len() * sizes.output[1];
            let stretches = sizes.stretches(tile);
            with_scratch(|Scratch { columns, output }| {
                let output = at_least(output, out_channels * count);
                for stretch in &stretches {
                    for channel in 0..out_channels {
                        let plane = stretch.image * out_channels + channel;
                        let start =
                            plane * sizes.output_pixels() + stretch.rows.start * sizes.output[1];
                        output[channel * count..][stretch.columns.clone()]
                            .copy_from_slice(&output_grad[start..][..stretch.columns.len()]);
                    }
                }
                multiply(
                    MatrixMut::new(grad, [taken, out_channels], out_channels),
                    Existing::AddedTo,
                    1.0,
                    patches(sizes, x, channels.clone(), &stretches, columns),
                    Matrix::new(output, [out_channels, count], count).transposed(),
                );
            });
        }
    });

    let mut grad = vec![0.0; patch * out_channels];
    for (out_channel, grad) in grad.chunks_exact_mut(patch).enumerate() {
        let column = transposed[out_channel..].iter().step_by(out_channels);
        for (to, from) in grad.iter_mut().zip(column) {
            *to = *from;
        }
    }
    grad
}

/// The patches of a tile as columns, for some channels: `[channels * kernel pixels, columns of the tile]`.
fn patches<'a>(
    sizes: Sizes,
    x: &'a [f32],
    channels: Range<usize>,
    stretches: &[Stretch],
    columns: &'a mut Vec<f32>,
) -> Matrix<'a> {
    let plane = |image: usize, channel: usize| {
        let index = image * sizes.in_channels + channel;
        &x[index * sizes.image_pixels()..]
    };
    if let ([stretch], true) = (stretches, sizes.is_pointwise()) {
        let first = stretch.rows.start * sizes.image[1];
        return Matrix::new(
            &plane(stretch.image, channels.start)[first..],
            [channels.len(), stretch.columns.len()],
            sizes.image_pixels(),
        );
    }
    let count: usize = stretches.iter().map(|stretch| stretch.columns.len()).sum();
    let shape = [channels.len() * sizes.kernel_pixels(), count];
    let columns = at_least(columns, shape[0] * count);
    for (row, values) in columns.chunks_exact_mut(count).enumerate() {
        let channel = channels.start + row / sizes.kernel_pixels();
        let place = row % sizes.kernel_pixels();
        for stretch in stretches {
            let plane = &plane(stretch.image, channel)[..sizes.image_pixels()];
            let values = &mut values[stretch.columns.clone()];
            sizes.copy_shifted(place, stretch.rows.clone(), plane, values);
        }
    }
    Matrix::new(columns, shape, count)
}

impl Sizes {
    /// Where a pixel of the kernel meets the image, along one axis: the output pixels for which it lies inside,
    /// and the image pixel that belongs to the first of them.
    fn overlap(self, axis: usize, offset: usize) -> (Range<usize>, usize) {
        let (stride, padding) = (self.geometry.stride[axis], self.geometry.padding[axis]);
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let inside = (self.image[axis] + padding).saturating_sub(offset);
        let end = inside.div_ceil(stride).min(self.output[axis]);
        let outputs = first.min(end)..end;
        let pixel = (outputs.start * stride + offset).saturating_sub(padding);
        (outputs, pixel)
    }

    /// Copies what pixel `place` of the kernel sees of an image's plane from the output pixels in `rows`; zero
    /// outside of the image.
    fn copy_shifted(self, place: usize, rows: Range<usize>, plane: &[f32], values: &mut [f32]) {
        let width = self.output[1];
        let (row_offset, column_offset) = (place / self.kernel[1], place % self.kernel[1]);
        let (inside_rows, first_row) = self.overlap(0, row_offset);
        let (inside, first_column) = self.overlap(1, column_offset);
        let [row_stride, column_stride] = self.geometry.stride;

        let start = inside_rows.start.clamp(rows.start, rows.end);
        let end = inside_rows.end.clamp(start, rows.end);
        values[..(start - rows.start) * width].fill(0.0);
        values[(end - rows.start) * width..].fill(0.0);
        if start == end || inside.is_empty() {
            values.fill(0.0);
            return;
        }
        let values = &mut values[(start - rows.start) * width..(end - rows.start) * width];
        let first_row = first_row + (start - inside_rows.start) * row_stride;
        if row_stride == 1 && column_stride == 1 && width == self.image[1] {
            // Rows follow one another in the same way: one copy, and then zeros over what came around the edges.
            let from = first_row * width + first_column;
            let copied = values.len() - inside.start - (width - inside.end);
            values[inside.start..][..copied].copy_from_slice(&plane[from..][..copied]);
            if inside.len() < width {
                for row in values.chunks_exact_mut(width) {
                    row[..inside.start].fill(0.0);
                    row[inside.end..].fill(0.0);
                }
            }
            return;
        }
        for (index, row) in values.chunks_exact_mut(width).enumerate() {
            let from = (first_row + index * row_stride) * self.image[1] + first_column;
            row[..inside.start].fill(0.0);
            row[inside.end..].fill(0.0);
            let pixels = plane[from..].iter().step_by(column_stride);
            for (to, pixel) in row[inside.clone()].iter_mut().zip(pixels) {
                *to = *pixel;
            }
        }
    }

    /// Adds values at the output pixels in `rows` to the pixels of a plane that pixel `place` of the kernel sees
    /// from there.
    fn add_shifted(self, place: usize, rows: Range<usize>, values: &[f32], plane: &mut [f32]) {
        let (row_offset, column_offset) = (place / self.kernel[1], place % self.kernel[1]);
        let (inside_rows, first_row) = self.overlap(0, row_offset);
        let (inside, first_column) = self.overlap(1, column_offset);
        let [row_stride, column_stride] = self.geometry.stride;
        if inside.is_empty() {
            return;
        }
        for (row, values) in rows.zip(values.chunks_exact(self.output[1])) {
            if !inside_rows.contains(&row) {
                continue;
            }
            let from =
                (first_row + (row - inside_rows.start) * row_stride) * self.image[1] + first_column;
            let pixels = plane[from..].iter_mut().step_by(column_stride);
            for (pixel, value) in pixels.zip(&values[inside.clone()]) {
                *pixel += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::prelude::*;
    use burn::tensor::{Distribution, FloatDType, module};
    use kinvert_testkit::{Tolerance, assert_close, values};

    use super::*;
    use crate::kernels::conv::{conv2d, temporal_conv};

    type Tracked = Autodiff<Flex>;

    /// Images, channels in and out, height, width, kernel, stride and padding.
    type Case = ([usize; 3], [usize; 2], [usize; 2], [usize; 2], [usize; 2]);

    /// Those of the networks, and odd ones: single pixels, kernels as large as the image, tiles that begin and end
    /// inside an image, more channels than one product takes, strides that leave pixels out, padding as wide as the
    /// kernel.
    const CASES: [Case; 17] = [
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
            let x = clip.reshape([batch, from, frames, height * width]);
            let found = temporal_conv(x, weight, Some(bias));
            assert_eq!(found.dims(), [batch, to, frames, height * width]);
            let name = format!("{frames} frames of {height} by {width}");
            assert_close(
                &name,
                &values(found),
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
