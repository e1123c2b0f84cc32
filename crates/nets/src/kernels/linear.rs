//! Linear layers as an operation with its own gradient.
//!
//! What only the weights' gradient needs, the input, is kept only if the weights are tracked.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::prelude::*;
use burn::tensor::TensorPrimitive;
use burn::tensor::ops::FloatTensor;

/// `x weight + bias`, with `x` `[rows, in]`, `weight` `[in, out]` and `bias` `[out]`, all of one type.
///
/// # Panics
/// If the shapes do not fit together.
pub fn linear<B: LinearKernels>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, 2> {
    let [in_channels, out_channels] = weight.dims();
    assert_eq!(x.dims()[1], in_channels, "channels of a linear layer");
    let bias = bias.map(|bias| {
        assert_eq!(bias.dims(), [out_channels], "bias of a linear layer");
        bias.into_primitive().tensor()
    });
    let output = B::project(
        x.into_primitive().tensor(),
        weight.into_primitive().tensor(),
        bias,
    );
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

/// A backend that applies linear layers.
///
/// The default bodies are the backend's own operations, so an empty implementation is a correct one.
pub trait LinearKernels: Backend {
    /// See [`linear`], which checks the shapes.
    fn project(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        Self::linear(x, weight, bias)
    }

    /// The gradient of the input, given the gradient of the result.
    fn project_x_backward(
        weight: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::linear_x_backward(weight, output_grad)
    }

    /// The gradient of the weights, given the gradient of the result.
    fn project_weight_backward(
        x: FloatTensor<Self>,
        output_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::linear_weight_backward(x, output_grad)
    }
}

impl<B: LinearKernels, C: CheckpointStrategy> LinearKernels for Autodiff<B, C> {
    fn project(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        match bias {
            Some(bias) => {
                let nodes = [x.node.clone(), weight.node.clone(), bias.node.clone()];
                let kind = Linear.prepare::<C>(nodes).compute_bound().stateful();
                project_on_tape(kind, x, weight, Some(bias.primitive))
            }
            None => {
                let nodes = [x.node.clone(), weight.node.clone()];
                let kind = Linear.prepare::<C>(nodes).compute_bound().stateful();
                project_on_tape(kind, x, weight, None)
            }
        }
    }
}

/// The node of a linear layer in a graph. Its parents are the input, the weights and, if there is one, the bias.
#[derive(Debug)]
struct Linear;

/// What a [`Linear`] keeps for its gradients.
#[derive(Debug, Clone)]
struct Kept {
    /// The input, if the weights are tracked.
    x: Option<NodeId>,
    weight: NodeId,
}

fn project_on_tape<B: LinearKernels, C: CheckpointStrategy, const N: usize>(
    kind: OpsKind<Linear, B, Kept, C, N>,
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<Autodiff<B, C>>
where
    Linear: Backward<B, N, State = Kept>,
{
    match kind {
        OpsKind::Tracked(mut prep) => {
            let kept = Kept {
                x: weight.is_tracked().then(|| prep.checkpoint(&x)),
                weight: prep.checkpoint(&weight),
            };
            prep.finish(kept, B::project(x.primitive, weight.primitive, bias))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::project(x.primitive, weight.primitive, bias)),
    }
}

impl<B: LinearKernels, const N: usize> Backward<B, N> for Linear {
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
            let grad = B::project_x_backward(weight, output_grad.clone());
            grads.register::<B>(node.id, grad);
        }
        if let (Some(node), Some(x)) = (next_parent(), x) {
            let grad = B::project_weight_backward(x, output_grad.clone());
            grads.register::<B>(node.id, grad);
        }
        if let Some(node) = next_parent() {
            grads.register::<B>(node.id, B::linear_bias_backward(output_grad));
        }
    }
}
