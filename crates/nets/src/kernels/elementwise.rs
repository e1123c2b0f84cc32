//! Activations and norms: SiLU, gated GELU, group norm (with SiLU after it), layer norm; and sums and changes of
//! type, which a network of 16-bit floats has at every residual and at its edges.
//!
//! Sources: *Gaussian Error Linear Units* (arXiv:1606.08415), *GLU Variants Improve Transformer*
//! (arXiv:2002.05202), *Group Normalization* (arXiv:1803.08494), *Layer Normalization* (arXiv:1607.06450).
//! GELU is the exact one. Everything here computes in f32 or wider whatever the tensor's type: squares overflow
//! in f16 at the sizes of published models, and the tails of activations lose their digits.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::prelude::*;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, FloatDType, Shape, TensorMetadata, TensorPrimitive};

/// The sum of two tensors of one type, of which one may be repeated along axes of length one.
///
/// # Panics
/// If the types differ or the shapes do not fit together.
pub fn add<B: ElementwiseKernels, const D: usize>(
    left: Tensor<B, D>,
    right: Tensor<B, D>,
) -> Tensor<B, D> {
    assert_eq!(left.dtype(), right.dtype(), "types of the terms of a sum");
    for (axis, (left, right)) in left.dims().into_iter().zip(right.dims()).enumerate() {
        let fits = left == right || left == 1 || right == 1;
        assert!(fits, "axis {axis} of a sum: {left} and {right}");
    }
    from_primitive(<B as ElementwiseKernels>::add(
        into_primitive(left),
        into_primitive(right),
    ))
}

/// The tensor in another number format.
pub fn cast<B: ElementwiseKernels, const D: usize>(
    x: Tensor<B, D>,
    dtype: FloatDType,
) -> Tensor<B, D> {
    if x.dtype() == DType::from(dtype) {
        return x;
    }
    from_primitive(<B as ElementwiseKernels>::cast(into_primitive(x), dtype))
}

/// `x * sigmoid(x)`.
pub fn silu<B: ElementwiseKernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    from_primitive(B::silu(into_primitive(x)))
}

/// `x * Φ(x)`.
pub fn gelu<B: ElementwiseKernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    from_primitive(<B as ElementwiseKernels>::gelu(into_primitive(x)))
}

/// `[.., 2 * channels]` to `[.., channels]`: the first half times GELU of the second.
///
/// # Panics
/// If the last axis is of odd length.
pub fn geglu<B: ElementwiseKernels, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    assert_eq!(
        x.dims()[D - 1] % 2,
        0,
        "length of the axis that geglu halves"
    );
    from_primitive(B::geglu(into_primitive(x)))
}

/// Normalises `[images, .., channels]` in groups of channels, each over all axes but the first, then multiplies every
/// channel by `gamma` and adds `beta`, both `[channels]`.
///
/// # Panics
/// If `gamma` or `beta` is not as long as there are channels, or channels cannot be split into the groups.
pub fn group_norm<B: ElementwiseKernels, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    options: GroupNormOptions,
) -> Tensor<B, D> {
    let channels = x.dims()[D - 1];
    assert_eq!(channels % options.groups, 0, "channels left over by groups");
    let arguments = norm_arguments(x, gamma, beta, channels);
    from_primitive(<B as ElementwiseKernels>::group_norm(arguments, options))
}

/// Normalises over the last axis of `[.., channels]`, then multiplies every channel by `gamma` and adds `beta`, both
/// `[channels]`.
///
/// # Panics
/// If `gamma` or `beta` is not as long as there are channels.
pub fn layer_norm<B: ElementwiseKernels, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    let channels = x.dims()[D - 1];
    let arguments = norm_arguments(x, gamma, beta, channels);
    from_primitive(<B as ElementwiseKernels>::layer_norm(arguments, epsilon))
}

/// What a [`group_norm`] does beside scale and shift.
#[derive(Clone, Copy, Debug)]
pub struct GroupNormOptions {
    /// Groups that the channels are split into.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl GroupNormOptions {
    /// `[images, positions, groups, channels of a group]` of an input of that shape.
    pub(super) fn group_view(&self, shape: &Shape) -> [usize; 4] {
        let last = shape.num_dims() - 1;
        let positions = (1..last).map(|axis| shape[axis]).product();
        [shape[0], positions, self.groups, shape[last] / self.groups]
    }
}

/// One thing for each argument of a norm: the tensors, whether a gradient is wanted, or the gradients.
#[derive(Clone, Copy, Debug)]
pub struct NormArguments<T> {
    /// What is normalised.
    pub input: T,
    /// A factor for each channel.
    pub gamma: T,
    /// An addend for each channel.
    pub beta: T,
}

/// A backend's form of this file's functions and their gradients. The default bodies are plain tensor operations.
///
/// A `backward` takes what the forward took and the gradient of its result. None may be differentiated further
/// except through the default bodies.
pub trait ElementwiseKernels: Backend {
    /// See [`add`].
    fn add(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(left, right)
    }

    /// Gradient of [`add`] by a term of the given shape that was repeated: sums over what was repeated.
    fn add_backward(grad: FloatTensor<Self>, shape: Shape) -> FloatTensor<Self> {
        plain::add_backward::<Self>(grad, shape)
    }

    /// See [`cast`].
    fn cast(x: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        Self::float_cast(x, dtype)
    }

    /// See [`silu`].
    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::silu::<Self>(x)
    }

    /// Gradient of [`silu`] by its input.
    fn silu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::silu_backward::<Self>(x, grad)
    }

    /// See [`gelu`].
    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gelu_of::<Self>(x)
    }

    /// Gradient of [`gelu`] by its input.
    fn gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::gelu_backward::<Self>(x, grad)
    }

    /// See [`geglu`].
    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::geglu::<Self>(x)
    }

    /// Gradient of [`geglu`] by its input.
    fn geglu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::geglu_backward::<Self>(x, grad)
    }

    /// See [`group_norm`].
    fn group_norm(
        arguments: NormArguments<FloatTensor<Self>>,
        options: GroupNormOptions,
    ) -> FloatTensor<Self> {
        plain::group_norm::<Self>(arguments, options)
    }

    /// Gradients of [`group_norm`], those that are wanted.
    fn group_norm_backward(
        arguments: NormArguments<FloatTensor<Self>>,
        options: GroupNormOptions,
        grad: FloatTensor<Self>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<Self>>> {
        plain::group_norm_backward::<Self>(arguments, options, grad, wanted)
    }

    /// See [`layer_norm`].
    fn layer_norm(arguments: NormArguments<FloatTensor<Self>>, epsilon: f64) -> FloatTensor<Self> {
        plain::layer_norm::<Self>(arguments, epsilon)
    }

    /// Gradients of [`layer_norm`], those that are wanted.
    fn layer_norm_backward(
        arguments: NormArguments<FloatTensor<Self>>,
        epsilon: f64,
        grad: FloatTensor<Self>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<Self>>> {
        plain::layer_norm_backward::<Self>(arguments, epsilon, grad, wanted)
    }
}

/// Keeps the inputs for the backward pass and nothing else.
impl<B: ElementwiseKernels, C: CheckpointStrategy> ElementwiseKernels for Autodiff<B, C> {
    fn add(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Add;

        impl<B: ElementwiseKernels> Backward<B, 2> for Add {
            /// Shapes of the terms.
            type State = [Shape; 2];

            fn backward(
                self,
                ops: Ops<Self::State, 2>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let grad = grads.consume::<B>(&ops.node);
                for (parent, shape) in ops.parents.into_iter().zip(ops.state) {
                    if let Some(parent) = parent {
                        let grad = match grad.shape() == shape {
                            true => grad.clone(),
                            false => B::add_backward(grad.clone(), shape),
                        };
                        grads.register::<B>(parent.id, grad);
                    }
                }
            }
        }

        let nodes = [left.node.clone(), right.node.clone()];
        let shapes = [left.primitive.shape(), right.primitive.shape()];
        let sum = B::add(left.primitive, right.primitive);
        match Add.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(shapes, sum),
            OpsKind::UnTracked(prep) => prep.finish(sum),
        }
    }

    fn cast(x: FloatTensor<Self>, dtype: FloatDType) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Cast;

        impl<B: ElementwiseKernels> Backward<B, 1> for Cast {
            type State = FloatDType;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let grad = grads.consume::<B>(&ops.node);
                if let [Some(x)] = ops.parents {
                    grads.register::<B>(x.id, B::cast(grad, ops.state));
                }
            }
        }

        let node = [x.node.clone()];
        let from = FloatDType::from(x.primitive.dtype());
        let output = B::cast(x.primitive, dtype);
        match Cast.prepare::<C>(node).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(from, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tracked_activation::<B, C, Silu>(x)
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tracked_activation::<B, C, Gelu>(x)
    }

    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tracked_activation::<B, C, Geglu>(x)
    }

    fn group_norm(
        arguments: NormArguments<FloatTensor<Self>>,
        options: GroupNormOptions,
    ) -> FloatTensor<Self> {
        tracked_norm::<B, C, _>(arguments, options)
    }

    fn layer_norm(arguments: NormArguments<FloatTensor<Self>>, epsilon: f64) -> FloatTensor<Self> {
        tracked_norm::<B, C, _>(arguments, LayerNormOptions { epsilon })
    }
}

/// What differs between the activations where gradients are recorded.
trait Activation: Send + std::fmt::Debug + Default + 'static {
    fn forward<B: ElementwiseKernels>(x: FloatTensor<B>) -> FloatTensor<B>;

    fn backward<B: ElementwiseKernels>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B>;
}

macro_rules! activations {
    ($($name:ident: $forward:ident, $backward:ident;)*) => {
        $(
            #[derive(Debug, Default)]
            struct $name;

            impl Activation for $name {
                fn forward<B: ElementwiseKernels>(x: FloatTensor<B>) -> FloatTensor<B> {
                    <B as ElementwiseKernels>::$forward(x)
                }

                fn backward<B: ElementwiseKernels>(
                    x: FloatTensor<B>,
                    grad: FloatTensor<B>,
                ) -> FloatTensor<B> {
                    <B as ElementwiseKernels>::$backward(x, grad)
                }
            }
        )*
    };
}

activations! {
    Silu: silu, silu_backward;
    Gelu: gelu, gelu_backward;
    Geglu: geglu, geglu_backward;
}

/// An activation of a tracked tensor: one step of the graph.
fn tracked_activation<B: ElementwiseKernels, C: CheckpointStrategy, A: Activation>(
    x: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    #[derive(Debug)]
    struct ActivationStep<A>(A);

    impl<B: ElementwiseKernels, A: Activation> Backward<B, 1> for ActivationStep<A> {
        type State = FloatTensor<B>;

        fn backward(
            self,
            ops: Ops<Self::State, 1>,
            grads: &mut Gradients,
            _checkpointer: &mut Checkpointer,
        ) {
            let grad = grads.consume::<B>(&ops.node);
            if let [Some(x)] = ops.parents {
                grads.register::<B>(x.id, A::backward::<B>(ops.state, grad));
            }
        }
    }

    let step = ActivationStep(A::default());
    match step
        .prepare::<C>([x.node.clone()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(x.primitive.clone(), A::forward::<B>(x.primitive)),
        OpsKind::UnTracked(prep) => prep.finish(A::forward::<B>(x.primitive)),
    }
}

#[derive(Clone, Copy, Debug)]
struct LayerNormOptions {
    epsilon: f64,
}

/// What differs between the norms where gradients are recorded.
trait Norm: Copy + Send + std::fmt::Debug + 'static {
    fn forward<B: ElementwiseKernels>(
        self,
        arguments: NormArguments<FloatTensor<B>>,
    ) -> FloatTensor<B>;

    fn backward<B: ElementwiseKernels>(
        self,
        arguments: NormArguments<FloatTensor<B>>,
        grad: FloatTensor<B>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<B>>>;
}

impl Norm for GroupNormOptions {
    fn forward<B: ElementwiseKernels>(
        self,
        arguments: NormArguments<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        <B as ElementwiseKernels>::group_norm(arguments, self)
    }

    fn backward<B: ElementwiseKernels>(
        self,
        arguments: NormArguments<FloatTensor<B>>,
        grad: FloatTensor<B>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<B>>> {
        <B as ElementwiseKernels>::group_norm_backward(arguments, self, grad, wanted)
    }
}

impl Norm for LayerNormOptions {
    fn forward<B: ElementwiseKernels>(
        self,
        arguments: NormArguments<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        <B as ElementwiseKernels>::layer_norm(arguments, self.epsilon)
    }

    fn backward<B: ElementwiseKernels>(
        self,
        arguments: NormArguments<FloatTensor<B>>,
        grad: FloatTensor<B>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<B>>> {
        <B as ElementwiseKernels>::layer_norm_backward(arguments, self.epsilon, grad, wanted)
    }
}

/// A norm of tracked tensors: one step of the graph with three parents.
fn tracked_norm<B: ElementwiseKernels, C: CheckpointStrategy, N: Norm>(
    arguments: NormArguments<FloatTensor<Autodiff<B, C>>>,
    norm: N,
) -> FloatTensor<Autodiff<B, C>> {
    #[derive(Debug)]
    struct NormStep<N>(N);

    impl<B: ElementwiseKernels, N: Norm> Backward<B, 3> for NormStep<N> {
        type State = NormArguments<FloatTensor<B>>;

        fn backward(
            self,
            ops: Ops<Self::State, 3>,
            grads: &mut Gradients,
            _checkpointer: &mut Checkpointer,
        ) {
            let grad = grads.consume::<B>(&ops.node);
            let [input, gamma, beta] = ops.parents;
            let wanted = NormArguments {
                input: input.is_some(),
                gamma: gamma.is_some(),
                beta: beta.is_some(),
            };
            let found = self.0.backward::<B>(ops.state, grad, wanted);
            for (parent, grad) in [
                (input, found.input),
                (gamma, found.gamma),
                (beta, found.beta),
            ] {
                if let (Some(parent), Some(grad)) = (parent, grad) {
                    grads.register::<B>(parent.id, grad);
                }
            }
        }
    }

    let NormArguments { input, gamma, beta } = arguments;
    let nodes = [input.node.clone(), gamma.node.clone(), beta.node.clone()];
    let arguments = NormArguments {
        input: input.primitive,
        gamma: gamma.primitive,
        beta: beta.primitive,
    };
    match NormStep(norm)
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(arguments.clone(), norm.forward::<B>(arguments)),
        OpsKind::UnTracked(prep) => prep.finish(norm.forward::<B>(arguments)),
    }
}

pub(super) fn into_primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

pub(super) fn from_primitive<B: Backend, const D: usize>(
    primitive: FloatTensor<B>,
) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

pub(super) fn norm_arguments<B: Backend, const D: usize>(
    input: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    channels: usize,
) -> NormArguments<FloatTensor<B>> {
    assert_eq!(gamma.dims(), [channels], "shape of a norm's gamma");
    assert_eq!(beta.dims(), [channels], "shape of a norm's beta");
    NormArguments {
        input: into_primitive(input),
        gamma: into_primitive(gamma),
        beta: into_primitive(beta),
    }
}

/// The plain-tensor form of every kernel, for any backend and type of float.
pub(super) mod plain {
    use burn::tensor::activation::{gelu, sigmoid};

    use super::*;

    pub fn add_backward<B: Backend>(grad: FloatTensor<B>, shape: Shape) -> FloatTensor<B> {
        let axes = 0..shape.num_dims();
        let repeated = axes.filter(|axis| shape[*axis] == 1 && grad.shape()[*axis] != 1);
        repeated
            .collect::<Vec<_>>()
            .into_iter()
            .fold(grad, |grad, axis| B::float_sum_dim(grad, axis))
    }

    pub fn silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let x = widened(view::<B, 1>(x, [shape.num_elements()]));
        unview((x.clone() * sigmoid(x)).cast(dtype), shape)
    }

    pub fn silu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let [x, grad] = [x, grad].map(|x| widened(view::<B, 1>(x, [shape.num_elements()])));
        unview((grad * silu_slope(x)).cast(dtype), shape)
    }

    /// The derivative of SiLU: `s + x s (1 - s)`.
    fn silu_slope<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
        let s = sigmoid(x.clone());
        s.clone() + x * s.clone() * (-s + 1.0)
    }

    pub fn gelu_of<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let x = widened(view::<B, 1>(x, [shape.num_elements()]));
        unview(gelu(x).cast(dtype), shape)
    }

    pub fn gelu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let [x, grad] = [x, grad].map(|x| widened(view::<B, 1>(x, [shape.num_elements()])));
        let found = B::gelu_backward(into_primitive(x), into_primitive(grad));
        unview(from_primitive::<B, 1>(found).cast(dtype), shape)
    }

    pub fn geglu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let (mut shape, dtype) = (x.shape(), x.dtype());
        let [value, gate] = halves::<B>(x);
        let last = shape.num_dims() - 1;
        shape[last] /= 2;
        unview((value * gelu(gate)).cast(dtype), shape)
    }

    pub fn geglu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let [value, gate] = halves::<B>(x);
        let grad = widened(view::<B, 2>(grad, value.dims()));
        let of_value = grad.clone() * gelu(gate.clone());
        let of_gelu = into_primitive(grad * value);
        let of_gate = from_primitive(B::gelu_backward(into_primitive(gate), of_gelu));
        unview(Tensor::cat(vec![of_value, of_gate], 1).cast(dtype), shape)
    }

    /// `[.., 2 * channels]` as two of `[rows, channels]`, in f32 or wider.
    fn halves<B: Backend>(x: FloatTensor<B>) -> [Tensor<B, 2>; 2] {
        let shape = x.shape();
        let width = shape[shape.num_dims() - 1];
        let rows = shape.num_elements() / width.max(1);
        let x = widened(view::<B, 2>(x, [rows, width]));
        [
            x.clone().narrow(1, 0, width / 2),
            x.narrow(1, width / 2, width / 2),
        ]
    }

    pub fn group_norm<B: Backend>(
        arguments: NormArguments<FloatTensor<B>>,
        options: GroupNormOptions,
    ) -> FloatTensor<B> {
        let (shape, dtype) = (arguments.input.shape(), arguments.input.dtype());
        let dims = options.group_view(&shape);
        let norm = Normalised::<B>::of(arguments, dims, options.epsilon);
        let mut output = norm.output();
        if options.silu {
            output = output.clone() * sigmoid(output);
        }
        unview(output.cast(dtype), shape)
    }

    pub fn group_norm_backward<B: Backend>(
        arguments: NormArguments<FloatTensor<B>>,
        options: GroupNormOptions,
        grad: FloatTensor<B>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<B>>> {
        let shape = arguments.input.shape();
        let dims = options.group_view(&shape);
        norm_backward::<B>(arguments, dims, options, grad, wanted)
    }

    /// A group norm with a single group and a single position.
    pub fn layer_norm<B: Backend>(
        arguments: NormArguments<FloatTensor<B>>,
        epsilon: f64,
    ) -> FloatTensor<B> {
        let (shape, dtype) = (arguments.input.shape(), arguments.input.dtype());
        let norm = Normalised::<B>::of(arguments, row_view(&shape), epsilon);
        unview(norm.output().cast(dtype), shape)
    }

    pub fn layer_norm_backward<B: Backend>(
        arguments: NormArguments<FloatTensor<B>>,
        epsilon: f64,
        grad: FloatTensor<B>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<B>>> {
        let dims = row_view(&arguments.input.shape());
        let options = GroupNormOptions {
            groups: 1,
            epsilon,
            silu: false,
        };
        norm_backward::<B>(arguments, dims, options, grad, wanted)
    }

    fn row_view(shape: &Shape) -> [usize; 4] {
        let width = shape[shape.num_dims() - 1];
        [shape.num_elements() / width.max(1), 1, 1, width]
    }

    fn norm_backward<B: Backend>(
        arguments: NormArguments<FloatTensor<B>>,
        dims: [usize; 4],
        options: GroupNormOptions,
        grad: FloatTensor<B>,
        wanted: NormArguments<bool>,
    ) -> NormArguments<Option<FloatTensor<B>>> {
        let [_, _, groups, width] = dims;
        let types = NormArguments {
            input: arguments.input.dtype(),
            gamma: arguments.gamma.dtype(),
            beta: arguments.beta.dtype(),
        };
        let shape = arguments.input.shape();
        let norm = Normalised::<B>::of(arguments, dims, options.epsilon);
        let mut grad = widened(view::<B, 4>(grad, dims));
        if options.silu {
            grad = grad * silu_slope(norm.output());
        }

        let over_channels = |sums: Tensor<B, 4>, dtype: DType| {
            let sums = sums.sum_dim(1).sum_dim(0).cast(dtype);
            unview(sums, Shape::new([groups * width]))
        };
        let of_gamma = wanted
            .gamma
            .then(|| over_channels(grad.clone() * norm.standard.clone(), types.gamma));
        let of_beta = wanted.beta.then(|| over_channels(grad.clone(), types.beta));
        let of_input = wanted.input.then(|| {
            let scaled = grad * norm.gamma;
            let mean = mean_of_groups(scaled.clone());
            let mean_with_x = mean_of_groups(scaled.clone() * norm.standard.clone());
            let of_input = (scaled - mean - norm.standard * mean_with_x) * norm.inverse_std;
            unview(of_input.cast(types.input), shape)
        });
        NormArguments {
            input: of_input,
            gamma: of_gamma,
            beta: of_beta,
        }
    }

    /// `[images, positions, groups, channels]` to `[images, 1, groups, 1]`.
    fn mean_of_groups<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
        let x = x.mean_dim(3);
        match x.dims()[1] {
            1 => x,
            _ => x.mean_dim(1),
        }
    }

    /// An input of mean zero and variance one within each group, and what else the norm is made of.
    struct Normalised<B: Backend> {
        /// `[images, positions, groups, channels of a group]`.
        standard: Tensor<B, 4>,
        /// `[images, 1, groups, 1]`.
        inverse_std: Tensor<B, 4>,
        /// `[1, 1, groups, channels of a group]`.
        gamma: Tensor<B, 4>,
        /// As `gamma`.
        beta: Tensor<B, 4>,
    }

    impl<B: Backend> Normalised<B> {
        fn of(arguments: NormArguments<FloatTensor<B>>, dims: [usize; 4], epsilon: f64) -> Self {
            let [_, _, groups, width] = dims;
            let input = widened(view::<B, 4>(arguments.input, dims));
            let centred = input.clone() - mean_of_groups(input);
            let variance = mean_of_groups(centred.clone().square());
            let inverse_std = (variance + epsilon).sqrt().recip();
            let factor = |factor| widened(view::<B, 4>(factor, [1, 1, groups, width]));
            Self {
                standard: centred * inverse_std.clone(),
                inverse_std,
                gamma: factor(arguments.gamma),
                beta: factor(arguments.beta),
            }
        }

        /// Scaled and shifted.
        fn output(&self) -> Tensor<B, 4> {
            self.standard.clone() * self.gamma.clone() + self.beta.clone()
        }
    }

    /// 16-bit floats as f32; anything else as it is.
    pub fn widened<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, D> {
        match tensor.dtype() {
            DType::F16 | DType::BF16 => tensor.cast(FloatDType::F32),
            _ => tensor,
        }
    }

    fn view<B: Backend, const D: usize>(x: FloatTensor<B>, dims: [usize; D]) -> Tensor<B, D> {
        from_primitive(B::float_reshape(x, Shape::new(dims)))
    }

    fn unview<B: Backend, const D: usize>(x: Tensor<B, D>, shape: Shape) -> FloatTensor<B> {
        B::float_reshape(into_primitive(x), shape)
    }
}
