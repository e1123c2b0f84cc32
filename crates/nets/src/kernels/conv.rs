//! Convolutions over images and over frames, as operations with their own gradients.
//!
//! Images are `[images, height, width, channels]`: what a position holds lies together, as products of matrices want
//! it, on CPUs and on GPUs alike. Weights keep the order of checkpoints, `[out channels, in channels, rows, columns]`.
//!
//! Only what the networks use: one group, no dilation. Gradients are computed for tracked nodes alone, and what
//! only the weights' gradient needs, the input, is kept only if the weights are tracked: a frozen network keeps
//! nothing of its features here.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::prelude::*;
use burn::tensor::ops::{ConvOptions, FloatTensor};
use burn::tensor::{TensorMetadata, TensorPrimitive};

/// How a kernel moves over an image, rows first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Pixels from one place of the kernel to the next.
    pub stride: [usize; 2],
    /// Pixels of zeros on either side of the image.
    pub padding: [usize; 2],
}

impl ConvGeometry {
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new(self.stride, self.padding, [1, 1], 1)
    }

    /// How the convolution moves that turns gradients of the output of this one into gradients of the input, if the
    /// stride is one.
    pub(super) fn reversed(self, kernel: [usize; 2]) -> Option<Self> {
        let padding = [0, 1].map(|axis| (kernel[axis] - 1).checked_sub(self.padding[axis]));
        match (self.stride, padding) {
            ([1, 1], [Some(rows), Some(columns)]) => Some(Self {
                stride: [1, 1],
                padding: [rows, columns],
            }),
            _ => None,
        }
    }

    /// The places of a kernel over `image` pixels, along one axis; `None` if the kernel is larger than the
    /// padded image or the stride is zero.
    fn places(self, axis: usize, image: usize, kernel: usize) -> Option<usize> {
        let room = (image + 2 * self.padding[axis]).checked_sub(kernel)?;
        Some(room.checked_div(self.stride[axis])? + 1)
    }
}

/// The convolution of `[images, height, width, in channels]` with `[out channels, in channels, rows, columns]`;
/// `bias` is `[out channels]`.
///
/// # Panics
/// If the shapes do not fit together, the kernel is larger than the padded image, or a stride is zero.
pub fn conv2d<B: ConvKernels>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    bias: Option<Tensor<B, 1>>,
    geometry: ConvGeometry,
) -> Tensor<B, 4> {
    let [_, height, width, in_channels] = x.dims();
    let [out_channels, weight_channels, rows, columns] = weight.dims();
    assert_eq!(in_channels, weight_channels, "channels of a convolution");
    for (axis, image, kernel) in [(0, height, rows), (1, width, columns)] {
        assert!(
            kernel > 0 && geometry.places(axis, image, kernel).is_some(),
            "a kernel of {kernel} does not fit {image} pixels with {geometry:?}"
        );
    }
    let bias = bias.map(|bias| {
        assert_eq!(bias.dims(), [out_channels], "bias of a convolution");
        bias.into_primitive().tensor()
    });
    wrapped(B::convolve(
        x.into_primitive().tensor(),
        weight.into_primitive().tensor(),
        bias,
        geometry,
    ))
}

/// The convolution over three neighbouring frames, with one frame of zeros before the first and after the last:
/// `[batch, frames, positions, in channels]` with `[out channels, in channels, 3]` to
/// `[batch, frames, positions, out channels]`. It is a convolution of kernel (3, 1, 1) over a clip whose pixels
/// are listed along one axis.
///
/// # Panics
/// If the shapes do not fit together.
pub fn temporal_conv<B: ConvKernels>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 3>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, 4> {
    assert_eq!(weight.dims()[2], 3, "frames of a temporal convolution");
    let geometry = ConvGeometry {
        stride: [1, 1],
        padding: [1, 0],
    };
    conv2d(x, weight.unsqueeze_dim(3), bias, geometry)
}

/// A backend that convolves images.
///
/// The default bodies are the backend's own operations, so an empty implementation is a correct one.
pub trait ConvKernels: Backend {
    /// See [`conv2d`], which checks the shapes.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        plain_convolution::<Self>(x, weight, bias, geometry)
    }

    /// The gradient of the input, which has the shape `x_shape`, given the gradient of the result.
    fn convolve_x_backward(
        x_shape: [usize; 4],
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        plain_x_backward::<Self>(x_shape, weight, output_grad, geometry)
    }

    /// The gradient of `weight`, given the gradient of the result.
    fn convolve_weight_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        plain_weight_backward::<Self>(x, weight, output_grad, geometry)
    }
}

/// The convolution by the backend's own operation, to which images are shown channels first; nothing is moved for it.
pub(super) fn plain_convolution<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    geometry: ConvGeometry,
) -> FloatTensor<B> {
    let output = B::conv2d(channels_first::<B>(x), weight, bias, geometry.options());
    channels_last::<B>(output)
}

/// The input's gradient.
///
/// With stride one it is a convolution, that of the weights turned by half a circle with channels exchanged: engines
/// have many kernels for convolutions and few for their gradients.
pub(super) fn plain_x_backward<B: Backend>(
    x_shape: [usize; 4],
    weight: FloatTensor<B>,
    output_grad: FloatTensor<B>,
    geometry: ConvGeometry,
) -> FloatTensor<B> {
    let [_, _, rows, columns] = weight.shape().dims();
    if let Some(reversed) = geometry.reversed([rows, columns]) {
        // Turned with channels last, so that they lie together in what is made of it.
        let turned = B::float_flip(B::float_permute(weight, &[1, 2, 3, 0]), &[1, 2]);
        return plain_convolution::<B>(output_grad, channels_first::<B>(turned), None, reversed);
    }
    // The operation asks for the input, of which it reads the shape only.
    let [images, height, width, channels] = x_shape;
    let device = B::float_device(&output_grad);
    let shape = Shape::from([images, channels, height, width]);
    let x = B::float_empty(shape, &device, output_grad.dtype().into());
    let output_grad = channels_first::<B>(output_grad);
    channels_last::<B>(B::conv2d_x_backward(
        x,
        weight,
        output_grad,
        geometry.options(),
    ))
}

/// The weights' gradient by the backend's own operation.
pub(super) fn plain_weight_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    output_grad: FloatTensor<B>,
    geometry: ConvGeometry,
) -> FloatTensor<B> {
    let [x, output_grad] = [x, output_grad].map(channels_first::<B>);
    B::conv2d_weight_backward(x, weight, output_grad, geometry.options())
}

/// `[images, height, width, channels]` seen as `[images, channels, height, width]`.
fn channels_first<B: Backend>(images: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(images, &[0, 3, 1, 2])
}

/// `[images, channels, height, width]` seen as `[images, height, width, channels]`.
fn channels_last<B: Backend>(images: FloatTensor<B>) -> FloatTensor<B> {
    B::float_permute(images, &[0, 2, 3, 1])
}

fn wrapped<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

impl<B: ConvKernels, C: CheckpointStrategy> ConvKernels for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        match bias {
            Some(bias) => {
                let nodes = [x.node.clone(), weight.node.clone(), bias.node.clone()];
                let kind = Convolution.prepare::<C>(nodes).compute_bound().stateful();
                convolve_on_tape(kind, x, weight, Some(bias.primitive), geometry)
            }
            None => {
                let nodes = [x.node.clone(), weight.node.clone()];
                let kind = Convolution.prepare::<C>(nodes).compute_bound().stateful();
                convolve_on_tape(kind, x, weight, None, geometry)
            }
        }
    }
}

/// The node of a convolution in a graph. Its parents are the input, the weights and, if there is one, the bias.
#[derive(Debug)]
struct Convolution;

/// What a [`Convolution`] keeps for its gradients.
#[derive(Debug, Clone)]
struct Kept {
    x_shape: [usize; 4],
    /// The input, if the weights are tracked.
    x: Option<NodeId>,
    weight: NodeId,
    geometry: ConvGeometry,
}

fn convolve_on_tape<B: ConvKernels, C: CheckpointStrategy, const N: usize>(
    kind: OpsKind<Convolution, B, Kept, C, N>,
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<B>>,
    geometry: ConvGeometry,
) -> FloatTensor<Autodiff<B, C>>
where
    Convolution: Backward<B, N, State = Kept>,
{
    match kind {
        OpsKind::Tracked(mut prep) => {
            let kept = Kept {
                x_shape: x.primitive.shape().dims(),
                x: weight.is_tracked().then(|| prep.checkpoint(&x)),
                weight: prep.checkpoint(&weight),
                geometry,
            };
            let output = B::convolve(x.primitive, weight.primitive, bias, geometry);
            prep.finish(kept, output)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::convolve(x.primitive, weight.primitive, bias, geometry))
        }
    }
}

impl<B: ConvKernels, const N: usize> Backward<B, N> for Convolution {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let output_grad = grads.consume::<B>(&ops.node);
        let kept = ops.state;
        let x = kept
            .x
            .map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(kept.weight);

        let mut parents = ops.parents.into_iter();
        let mut next_parent = || parents.next().flatten();
        if let Some(node) = next_parent() {
            let (weight, output_grad) = (weight.clone(), output_grad.clone());
            let grad = B::convolve_x_backward(kept.x_shape, weight, output_grad, kept.geometry);
            grads.register::<B>(node.id, grad);
        }
        if let (Some(node), Some(x)) = (next_parent(), x) {
            let output_grad = output_grad.clone();
            let grad = B::convolve_weight_backward(x, weight, output_grad, kept.geometry);
            grads.register::<B>(node.id, grad);
        }
        if let Some(node) = next_parent() {
            grads.register::<B>(node.id, bias_backward::<B>(output_grad));
        }
    }
}

/// The sum over everything but channels.
fn bias_backward<B: Backend>(output_grad: FloatTensor<B>) -> FloatTensor<B> {
    let output_grad: Tensor<B, 4> = wrapped(output_grad);
    let [images, height, width, channels] = output_grad.dims();
    output_grad
        .reshape([images * height * width, channels])
        .sum_dim(0)
        .reshape([channels])
        .into_primitive()
        .tensor()
}
