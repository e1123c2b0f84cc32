//! Where values lie: operations that move values and compute none.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::prelude::*;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{TensorData, TensorMetadata};

use super::elementwise::{from_primitive, into_primitive};

/// `[batch, rows, columns, channels]` to `[batch, columns, rows, channels]`, in that order in memory as far as the
/// backend has a say in it.
pub fn exchanged<B: LayoutKernels>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    from_primitive(B::exchange(into_primitive(x)))
}

/// `[images, height, width, channels]` of two with the channels of the first before those of the second.
///
/// # Panics
/// If they differ in more than channels.
pub fn joined<B: LayoutKernels>(first: Tensor<B, 4>, second: Tensor<B, 4>) -> Tensor<B, 4> {
    let ([.., a], [.., b]) = (first.dims(), second.dims());
    assert_eq!(
        first.dims()[..3],
        second.dims()[..3],
        "images that are joined"
    );
    from_primitive(B::join(
        into_primitive(first),
        into_primitive(second),
        [a, b],
    ))
}

/// Resizes `[images, height, width, channels]` to `size`: output row `y` is input row
/// `floor(y * height_in / height_out)`, and so for columns, as PyTorch's `interpolate(mode="nearest")`.
///
/// # Panics
/// If a size is zero.
pub fn resized_to_nearest<B: LayoutKernels>(
    images: Tensor<B, 4>,
    size: [usize; 2],
) -> Tensor<B, 4> {
    assert!(!size.contains(&0), "images cannot be resized to {size:?}");
    from_primitive(B::resize(into_primitive(images), size))
}

/// A backend that moves values. The default bodies are the backend's own operations.
pub trait LayoutKernels: Backend {
    /// See [`exchanged`].
    fn exchange(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_swap_dims(x, 1, 2)
    }

    /// See [`joined`]; `channels` are those of the two.
    fn join(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        _channels: [usize; 2],
    ) -> FloatTensor<Self> {
        Self::float_cat(vec![first, second], 3)
    }

    /// `count` channels from channel `first` on, in memory of their own: the gradient of one of those that were joined.
    fn channels(joined: FloatTensor<Self>, first: usize, count: usize) -> FloatTensor<Self> {
        let joined: Tensor<Self, 4> = from_primitive(joined);
        into_primitive(joined.narrow(3, first, count))
    }

    /// See [`resized_to_nearest`].
    fn resize(images: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        plain_resize::<Self>(images, size)
    }

    /// The gradient of images `[height, width]` large, given that of the result.
    fn resize_backward(output_grad: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        plain_resize_backward::<Self>(output_grad, size)
    }
}

/// For each of `size_out` positions the one of `size_in` that is nearest.
pub(super) fn nearest(size_in: usize, size_out: usize) -> impl Iterator<Item = usize> {
    (0..size_out).map(move |at| at * size_in / size_out)
}

/// Picks columns, then rows.
///
/// Burn's own `interpolate` has a gradient kernel for GPUs (0.21) that, by its source, indexes vectors of channels as if
/// they were single elements, which goes wrong where channels lie innermost in memory.
pub(super) fn plain_resize<B: Backend>(
    images: FloatTensor<B>,
    [height, width]: [usize; 2],
) -> FloatTensor<B> {
    let images: Tensor<B, 4> = from_primitive(images);
    let ([_, rows, columns, _], device) = (images.dims(), images.device());
    let columns = indices(columns, width, &device);
    let rows = indices(rows, height, &device);
    into_primitive(images.select(2, columns).select(1, rows))
}

/// Adds every pixel to the one it was picked from.
pub(super) fn plain_resize_backward<B: Backend>(
    output_grad: FloatTensor<B>,
    [height, width]: [usize; 2],
) -> FloatTensor<B> {
    let grad: Tensor<B, 4> = from_primitive(output_grad);
    let ([images, rows, columns, channels], device) = (grad.dims(), grad.device());
    let zeros = |shape| Tensor::<B, 4>::zeros(shape, (&device, grad.dtype()));
    let sums = zeros([images, height, columns, channels]);
    let of_rows = indices(height, rows, &device);
    let sums = sums.select_assign(
        1,
        of_rows,
        grad.clone(),
        burn::tensor::IndexingUpdateOp::Add,
    );
    let of_columns = indices(width, columns, &device);
    let all = zeros([images, height, width, channels]);
    into_primitive(all.select_assign(2, of_columns, sums, burn::tensor::IndexingUpdateOp::Add))
}

fn indices<B: Backend>(size_in: usize, size_out: usize, device: &B::Device) -> Tensor<B, 1, Int> {
    let indices: Vec<i64> = nearest(size_in, size_out).map(|at| at as i64).collect();
    Tensor::from_data(TensorData::new(indices, [size_out]), device)
}

impl<B: LayoutKernels, C: CheckpointStrategy> LayoutKernels for Autodiff<B, C> {
    fn exchange(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let output = B::exchange(x.primitive.clone());
        moved::<B, C, 1>([x], Move::Exchanged, output)
    }

    fn join(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        channels: [usize; 2],
    ) -> FloatTensor<Self> {
        let output = B::join(first.primitive.clone(), second.primitive.clone(), channels);
        moved::<B, C, 2>([first, second], Move::Joined(channels), output)
    }

    fn resize(images: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self> {
        let [_, height, width, _] = images.primitive.shape().dims();
        let output = B::resize(images.primitive.clone(), size);
        moved::<B, C, 1>([images], Move::Resized([height, width]), output)
    }
}

/// What was done to values, and what its gradients need to know.
#[derive(Debug, Clone, Copy)]
enum Move {
    Exchanged,
    /// Channels of each part.
    Joined([usize; 2]),
    /// Height and width before.
    Resized([usize; 2]),
}

/// The node of a move in a graph.
#[derive(Debug)]
struct MoveStep;

fn moved<B: LayoutKernels, C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    what: Move,
    output: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = inputs.map(|input| input.node);
    match MoveStep.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(what, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

impl<B: LayoutKernels, const N: usize> Backward<B, N> for MoveStep {
    type State = Move;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        for (index, parent) in ops.parents.into_iter().enumerate() {
            let Some(parent) = parent else { continue };
            let grad = grad.clone();
            let grad = match ops.state {
                Move::Exchanged => B::exchange(grad),
                Move::Joined(channels) => {
                    let first = channels[..index].iter().sum();
                    B::channels(grad, first, channels[index])
                }
                Move::Resized(size) => B::resize_backward(grad, size),
            };
            grads.register::<B>(parent.id, grad);
        }
    }
}
