//! Moving values on the CPU: whole runs of channels at a time, by all threads.

use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{DType, Shape, TensorMetadata};
use burn_flex::Flex;

use super::elementwise_flex::{contiguous, from_values};
use super::layout::{LayoutKernels, nearest, plain_resize, plain_resize_backward};
use super::matrix::rows_written;

impl LayoutKernels for Flex {
    fn exchange(x: FloatTensor<Self>) -> FloatTensor<Self> {
        if x.dtype() != DType::F32 {
            return x.transpose(1, 2);
        }
        let [batch, rows, columns, channels] = x.shape().dims();
        let x = contiguous(x);
        // Row `i` of the result, where rows of all batch entries are counted.
        let from = |i: usize| {
            let (entry, place) = (i / (rows * columns), i % (rows * columns));
            (entry * rows + place % rows) * columns + place / rows
        };
        let values = x.storage::<f32>();
        let values = rows_written(batch * rows * columns, channels, |row, to| {
            to.copy_from_slice(&values[from(row) * channels..][..channels]);
        });
        from_values(values, Shape::new([batch, columns, rows, channels]))
    }

    fn join(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        [a, b]: [usize; 2],
    ) -> FloatTensor<Self> {
        let mut shape = first.shape();
        shape[3] = a + b;
        if first.dtype() != DType::F32 || second.dtype() != DType::F32 || a + b == 0 {
            return Self::float_cat(vec![first, second], 3);
        }
        let [first, second] = [first, second].map(contiguous);
        let (left, right) = (first.storage::<f32>(), second.storage::<f32>());
        let rows = shape.num_elements() / (a + b);
        let values = rows_written(rows, a + b, |row, to| {
            let (to_left, to_right) = to.split_at_mut(a);
            to_left.copy_from_slice(&left[row * a..(row + 1) * a]);
            to_right.copy_from_slice(&right[row * b..(row + 1) * b]);
        });
        from_values(values, shape)
    }

    fn channels(joined: FloatTensor<Self>, first: usize, count: usize) -> FloatTensor<Self> {
        let mut shape = joined.shape();
        let width = shape[3];
        if joined.dtype() != DType::F32 || shape.num_elements() == 0 {
            return joined.narrow(3, first, count);
        }
        let joined = contiguous(joined);
        let values = joined.storage::<f32>();
        shape[3] = count;
        let rows = values.len() / width;
        let values = rows_written(rows, count, |row, to| {
            to.copy_from_slice(&values[row * width + first..][..count]);
        });
        from_values(values, shape)
    }

    fn resize(images: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        if images.dtype() != DType::F32 {
            return plain_resize::<Self>(images, size);
        }
        let [count, height, width, channels] = images.shape().dims();
        let images = contiguous(images);
        let columns: Vec<usize> = nearest(width, size[1]).collect();
        let from = |i: usize| {
            let (row, column) = (i / size[1], i % size[1]);
            let (image, row) = (row / size[0], row % size[0]);
            (image * height + row * height / size[0]) * width + columns[column]
        };
        let values = images.storage::<f32>();
        let values = rows_written(count * size[0] * size[1], channels, |row, to| {
            to.copy_from_slice(&values[from(row) * channels..][..channels]);
        });
        from_values(values, Shape::new([count, size[0], size[1], channels]))
    }

    fn resize_backward(output_grad: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        if output_grad.dtype() != DType::F32 {
            return plain_resize_backward::<Self>(output_grad, size);
        }
        let [images, height, width, channels] = output_grad.shape().dims();
        let grad = contiguous(output_grad);
        let mut sums = vec![0.0; images * size[0] * size[1] * channels];
        let rows = grad.storage::<f32>().chunks_exact(width * channels);
        let to_rows = (0..images)
            .flat_map(|image| nearest(size[0], height).map(move |row| image * size[0] + row));
        for (row, to) in rows.zip(to_rows) {
            let to = &mut sums[to * size[1] * channels..][..size[1] * channels];
            for (pixel, column) in row.chunks_exact(channels).zip(nearest(size[1], width)) {
                let to = &mut to[column * channels..][..channels];
                to.iter_mut().zip(pixel).for_each(|(sum, x)| *sum += x);
            }
        }
        from_values(sums, Shape::new([images, size[0], size[1], channels]))
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::prelude::*;
    use burn::tensor::TensorData;
    use kinvert_testkit::values;

    use super::*;
    use crate::kernels::elementwise::{from_primitive, into_primitive};
    use crate::kernels::layout::{exchanged, joined, resized_to_nearest};

    type Tracked = Autodiff<Flex>;

    /// Values that tell where they are.
    fn numbered<B: Backend>(shape: [usize; 4]) -> Tensor<B, 4> {
        let numbers = (0..shape.iter().product()).map(|index: usize| index as f32);
        let numbers: Vec<f32> = numbers.collect();
        Tensor::from_data(TensorData::new(numbers, shape), &Default::default())
    }

    #[test]
    fn values_are_exchanged_and_come_back() {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 4], [1, 16, 64, 64], [3, 64, 16, 33]] {
            let x = numbered::<Flex>(shape);
            let found = exchanged(x.clone());
            assert_eq!(values(found.clone()), values(x.clone().swap_dims(1, 2)));
            assert_eq!(values(exchanged(found)), values(x));
        }
    }

    #[test]
    fn joined_channels_come_apart_again() {
        let (left, right) = (
            numbered::<Tracked>([2, 3, 4, 5]),
            numbered::<Tracked>([2, 3, 4, 9]),
        );
        let (left, right) = (left.require_grad(), right.require_grad());
        let found = joined(left.clone(), right.clone());
        let expected = Tensor::cat(vec![left.clone(), right.clone()], 3);
        assert_eq!(values(found.clone()), values(expected));
        let weight = numbered::<Tracked>([2, 3, 4, 14]);
        let grads = (found * weight.clone()).sum().backward();
        let part = |start, count| values(weight.clone().narrow(3, start, count));
        assert_eq!(values(left.grad(&grads).unwrap()), part(0, 5));
        assert_eq!(values(right.grad(&grads).unwrap()), part(5, 9));
    }

    #[test]
    fn the_gradient_of_an_exchange_is_exchanged() {
        let x = numbered::<Tracked>([2, 3, 4, 5]).require_grad();
        let weight = numbered::<Tracked>([2, 4, 3, 5]);
        let grads = (exchanged(x.clone()) * weight.clone()).sum().backward();
        let expected = values(weight.swap_dims(1, 2));
        assert_eq!(values(x.grad(&grads).unwrap()), expected);
    }

    /// `nearest_neighbor_compute_source_index` of PyTorch, which computes in f32.
    fn pytorch_index(at: usize, size_in: usize, size_out: usize) -> usize {
        let scale = size_in as f32 / size_out as f32;
        ((at as f32 * scale).floor() as usize).min(size_in - 1)
    }

    fn check_resize<B: LayoutKernels>(from: [usize; 2], to: [usize; 2]) {
        let found = resized_to_nearest(numbered::<B>([2, from[0], from[1], 3]), to);
        assert_eq!(found.dims(), [2, to[0], to[1], 3]);
        let mut expected = Vec::new();
        for (image, y, x) in (0..2)
            .flat_map(|image| (0..to[0]).flat_map(move |y| (0..to[1]).map(move |x| (image, y, x))))
        {
            let y = pytorch_index(y, from[0], to[0]);
            let x = pytorch_index(x, from[1], to[1]);
            let first = ((image * from[0] + y) * from[1] + x) * 3;
            expected.extend([0, 1, 2].map(|channel| (first + channel) as f32));
        }
        assert_eq!(values(found), expected, "{from:?} to {to:?}");
    }

    #[test]
    fn every_size_that_a_skip_connection_can_ask_for_is_met_as_pytorch_does() {
        for size in 1..=36 {
            let odd = (2 * size - 1).max(1);
            for to in [[2 * size, odd], [odd, 2 * size]] {
                check_resize::<Flex>([size, size], to);
                check_resize::<Tracked>([size, size], to);
            }
        }
        check_resize::<Flex>([3, 5], [11, 7]);
    }

    #[test]
    fn the_plain_forms_of_resizing_are_those_of_the_kernel() {
        for (from, to) in [([3, 2], [5, 4]), ([4, 7], [8, 13]), ([5, 5], [2, 3])] {
            let images = numbered::<Flex>([2, from[0], from[1], 3]);
            let plain = from_primitive(plain_resize::<Flex>(into_primitive(images.clone()), to));
            assert_eq!(
                values(resized_to_nearest(images, to)),
                values::<Flex, 4>(plain)
            );
            let grad = into_primitive(numbered::<Flex>([2, to[0], to[1], 3]));
            let plain = plain_resize_backward::<Flex>(grad.clone(), from);
            let kernel = Flex::resize_backward(grad, from);
            assert_eq!(
                kernel.storage::<f32>(),
                plain.to_contiguous().storage::<f32>()
            );
        }
    }

    #[test]
    fn the_gradient_of_a_pixel_sums_over_its_copies() {
        let images = numbered::<Tracked>([1, 3, 2, 1]).require_grad();
        // 100 * row + column
        let weight: Vec<f32> = (0..20).map(|at| (100 * (at / 4) + at % 4) as f32).collect();
        let weight = TensorData::new(weight, [1, 5, 4, 1]);
        let weight = Tensor::<Tracked, 4>::from_data(weight, &Default::default());
        let loss = (resized_to_nearest(images.clone(), [5, 4]) * weight).sum();
        let gradient = images.grad(&loss.backward()).unwrap();
        // Rows 0 1 | 2 3 | 4 of the output are copies of rows 0, 1 and 2; columns of two each.
        assert_eq!(
            values(gradient),
            [202.0, 210.0, 1002.0, 1010.0, 801.0, 805.0]
        );
    }
}
