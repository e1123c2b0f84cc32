//! Convolutions by one product, or by one for each place of the kernel.

use super::super::matrix::{
    Existing, Matrix, MatrixMut, for_each, multiply, rows_of, with_scratch,
};
use super::Sizes;

/// Values of patches that a task copies out at once: 512 KiB of f32, so that they stay in the second-level cache.
const VALUES_AT_ONCE: usize = 128 * 1024;
/// Channels whose weights a task of [`weight_backward`] takes.
const CHANNELS_AT_ONCE: usize = 64;

/// The convolution with a kernel of one column: for each of its places, rows of the input times a matrix are added to
/// the rows of the output that see them. `places` holds `[in channels, out channels]` for each place, as everywhere here.
pub(super) fn shifted(sizes: Sizes, x: &[f32], places: &[f32], bias: &[f32]) -> Vec<f32> {
    let sizes = match (sizes.kernel_pixels(), sizes.geometry.padding) {
        (1, [0, 0]) => sizes.as_one_image(), // nothing is seen across the borders of images
        _ => sizes,
    };
    let (from, to, width) = (sizes.in_channels, sizes.out_channels, sizes.output[1]);
    let padding = sizes.geometry.padding[0];
    let work = sizes.work_per_pixel();
    rows_of(sizes.output_rows(), bias, work, 1, |first, output| {
        let end = first + output.len() / to;
        for image in first / sizes.output_pixels()..=(end - 1) / sizes.output_pixels() {
            let (image_start, x_start) =
                (image * sizes.output_pixels(), image * sizes.image_pixels());
            let image_end = image_start + sizes.output_pixels();
            for (place, matrix) in places.chunks_exact(from * to).enumerate() {
                // Row `r` of the output's pixels sees row `r + place - padding` of the image.
                let first_row = padding.saturating_sub(place);
                let end_row = (sizes.image[0] + padding).saturating_sub(place);
                let end_row = end_row.min(sizes.output[0]);
                let start = (image_start + first_row * width).max(first);
                let stop = (image_start + end_row * width).min(end).min(image_end);
                if start >= stop {
                    continue;
                }
                let seen = x_start + (start - image_start) + place * width - padding * width;
                multiply(
                    MatrixMut::new(&mut output[(start - first) * to..], [stop - start, to], to),
                    Existing::AddedTo,
                    1.0,
                    Matrix::new(&x[seen * from..], [stop - start, from], from),
                    Matrix::new(matrix, [from, to], to),
                );
            }
        }
    })
}

/// The convolution of any geometry: what the kernel sees from a pixel of the output is copied into a row, and the rows
/// are multiplied.
pub(super) fn patches(sizes: Sizes, x: &[f32], places: &[f32], bias: &[f32]) -> Vec<f32> {
    let (to, patch) = (sizes.out_channels, sizes.patch());
    let work = sizes.work_per_pixel();
    rows_of(sizes.output_rows(), bias, work, 1, |first, output| {
        let at_once = (VALUES_AT_ONCE / patch).max(1);
        for (index, output) in output.chunks_mut(at_once * to).enumerate() {
            let rows = output.len() / to;
            with_scratch(rows * patch, |scratch| {
                for (row, patch) in scratch.chunks_exact_mut(patch).enumerate() {
                    copy_patch(sizes, x, first + index * at_once + row, patch);
                }
                multiply(
                    MatrixMut::new(output, [rows, to], to),
                    Existing::AddedTo,
                    1.0,
                    Matrix::new(scratch, [rows, patch], patch),
                    Matrix::new(places, [patch, to], to),
                );
            });
        }
    })
}

/// Image and `[row, column]` of a pixel, counted through all outputs.
fn pixel(sizes: Sizes, index: usize) -> (usize, [usize; 2]) {
    let (image, pixel) = (index / sizes.output_pixels(), index % sizes.output_pixels());
    (image, [pixel / sizes.output[1], pixel % sizes.output[1]])
}

/// What the kernel sees from a pixel of the output, place by place.
fn copy_patch(sizes: Sizes, x: &[f32], index: usize, patch: &mut [f32]) {
    let (image, at) = pixel(sizes, index);
    for (place, to) in patch.chunks_exact_mut(sizes.in_channels).enumerate() {
        match sizes.seen_from(at, place) {
            Some(seen) => {
                let start = (image * sizes.image_pixels() + seen) * sizes.in_channels;
                to.copy_from_slice(&x[start..start + to.len()]);
            }
            None => to.fill(0.0),
        }
    }
}

/// The input's gradient for any stride: the gradient of every output pixel, times the weights, is added to the pixels of
/// the patch that it came from.
pub(super) fn scattered(sizes: Sizes, places: &[f32], output_grad: &[f32]) -> Vec<f32> {
    let (from, to, patch) = (sizes.in_channels, sizes.out_channels, sizes.patch());
    let mut x_grad = vec![0.0; sizes.images * sizes.image_pixels() * from];
    let images = x_grad.chunks_mut(sizes.image_pixels() * from);
    let images: Vec<(usize, &mut [f32])> = images.enumerate().collect();
    let work = sizes.output_pixels() * sizes.work_per_pixel();
    for_each(images, work, |(image, x_grad)| {
        let at_once = (VALUES_AT_ONCE / patch).max(1);
        let grads = &output_grad[image * sizes.output_pixels() * to..];
        let grads = &grads[..sizes.output_pixels() * to];
        for (index, grads) in grads.chunks(at_once * to).enumerate() {
            let rows = grads.len() / to;
            with_scratch(rows * patch, |scratch| {
                multiply(
                    MatrixMut::new(scratch, [rows, patch], patch),
                    Existing::Overwritten,
                    1.0,
                    Matrix::new(grads, [rows, to], to),
                    Matrix::new(places, [patch, to], to).transposed(),
                );
                for (row, patch) in scratch.chunks_exact(patch).enumerate() {
                    let (_, at) = pixel(sizes, index * at_once + row);
                    for (place, values) in patch.chunks_exact(from).enumerate() {
                        let Some(seen) = sizes.seen_from(at, place) else {
                            continue;
                        };
                        let sums = &mut x_grad[seen * from..(seen + 1) * from];
                        sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
                    }
                }
            });
        }
    });
    x_grad
}

/// The weights' gradient, `[out channels, in channels, rows, columns]`: every task takes a place of the kernel and some
/// input channels through all images.
pub(super) fn weight_backward(sizes: Sizes, x: &[f32], output_grad: &[f32]) -> Vec<f32> {
    let (from, to, pixels) = (sizes.in_channels, sizes.out_channels, sizes.output_pixels());
    let mut places = vec![0.0; sizes.patch() * to]; // for each place [in channels, out channels]
    let tasks = places
        .chunks_mut(from * to)
        .enumerate()
        .flat_map(|(place, grads)| {
            let blocks = grads.chunks_mut(CHANNELS_AT_ONCE * to).enumerate();
            blocks.map(move |(block, grads)| (place, block * CHANNELS_AT_ONCE, grads))
        })
        .collect();
    let work = sizes.output_rows() * CHANNELS_AT_ONCE.min(from) * to;
    for_each(
        tasks,
        work,
        |(place, first, grads): (usize, usize, &mut [f32])| {
            let channels = grads.len() / to;
            let at_once = (VALUES_AT_ONCE / channels).clamp(1, pixels);
            for start in (0..sizes.output_rows()).step_by(at_once) {
                let rows = at_once.min(sizes.output_rows() - start);
                with_scratch(rows * channels, |scratch| {
                    for (row, values) in scratch.chunks_exact_mut(channels).enumerate() {
                        let (image, at) = pixel(sizes, start + row);
                        match sizes.seen_from(at, place) {
                            Some(seen) => {
                                let seen = image * sizes.image_pixels() + seen;
                                values.copy_from_slice(&x[seen * from + first..][..channels]);
                            }
                            None => values.fill(0.0),
                        }
                    }
                    multiply(
                        MatrixMut::new(grads, [channels, to], to),
                        Existing::AddedTo,
                        1.0,
                        Matrix::new(scratch, [rows, channels], channels).transposed(),
                        Matrix::new(&output_grad[start * to..], [rows, to], to),
                    );
                });
            }
        },
    );
    let mut weights = vec![0.0; places.len()];
    for (place, grads) in places.chunks_exact(from * to).enumerate() {
        for (index, grad) in grads.iter().enumerate() {
            let (in_channel, out_channel) = (index / to, index % to);
            weights[(out_channel * from + in_channel) * sizes.kernel_pixels() + place] = *grad;
        }
    }
    weights
}
