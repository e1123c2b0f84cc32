//! Attention without a mask, `softmax(Q Kᵀ / √D) V`, as one operation with its own gradient.
//!
//! Source: *Attention Is All You Need* (arXiv:1706.03762), Eq. 1. All tensors keep the order in which linear
//! layers write and read them, `[batch, tokens, heads * head channels]`: heads are found by stride and nothing
//! is transposed. What is kept for the gradient are the three inputs; scores are computed again, as in
//! *FlashAttention* (arXiv:2205.14135), because the matrices of all heads together are by far the largest
//! tensors of a network. The softmax is taken in f32 whatever the type of the tensors.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::prelude::*;
use burn::tensor::TensorPrimitive;
use burn::tensor::activation::softmax;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, FloatTensor};

use super::elementwise::plain;
use crate::precision::Precision;

/// Scores that the plain form holds at once, unless a single batch entry has more: 256 MiB of f32.
const MOST_SCORES: usize = 1 << 26;

/// Attends from every query to all keys: `softmax(query keyᵀ / √head channels) value` for each head.
///
/// `query` and the result are `[batch, queries, heads * head channels]`, `key` and `value` are
/// `[batch, keys, heads * head channels]`.
///
/// # Panics
/// If the shapes do not fit together or `heads` does not divide the channels.
pub fn attention_tokens<B: AttentionKernels>(
    query: Tensor<B, 3>,
    key: Tensor<B, 3>,
    value: Tensor<B, 3>,
    heads: usize,
) -> Tensor<B, 3> {
    let [batch, _, channels] = query.dims();
    let keys = key.dims()[1];
    assert!(
        heads > 0 && channels.is_multiple_of(heads),
        "{channels} channels cannot be split into {heads} heads"
    );
    assert_eq!(key.dims(), [batch, keys, channels], "shape of the keys");
    assert_eq!(value.dims(), [batch, keys, channels], "shape of the values");
    let [query, key, value] = [query, key, value].map(|x| x.into_primitive().tensor());
    wrapped(B::attention_tokens(query, key, value, heads))
}

/// A backend that computes attention as one operation.
///
/// The default bodies are the plain tensor form, so an empty implementation is a correct one. On
/// [`Autodiff`] the gradient is [`attention_tokens_backward`](Self::attention_tokens_backward) of the inner
/// backend.
pub trait AttentionKernels: Backend {
    /// See [`attention_tokens`](fn@attention_tokens), which checks the shapes.
    fn attention_tokens(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        plain_attention::<Self>(query, key, value, heads)
    }

    /// The gradients of query, key and value, each if `wanted`, given the gradient of the result.
    fn attention_tokens_backward(
        inputs: [FloatTensor<Self>; 3],
        output_grad: FloatTensor<Self>,
        heads: usize,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<Self>>; 3] {
        plain_attention_backward::<Self>(inputs, output_grad, heads, wanted)
    }
}

/// Attention in plain tensor operations.
pub(super) fn plain_attention<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    heads: usize,
) -> FloatTensor<B> {
    let [query, key, value] = [query, key, value].map(|x| split_heads::<B>(x, heads));
    if Precision::of(query.dtype()) == Precision::F32 {
        let options = AttentionModuleOptions::default();
        return merge_heads(attention(query, key, value, None, None, options));
    }
    // The engine's own attention may take the softmax in 16 bits. Scores in f32 are large, so they are those of a few
    // batch entries at a time.
    let per_slice = batches_per_slice(&query, &key);
    let slices = slices(query, per_slice)
        .into_iter()
        .zip(slices(key, per_slice))
        .zip(slices(value, per_slice));
    let mixed = slices.map(|((query, key), value)| {
        let scale = (query.dims()[3] as f64).powf(-0.5);
        let weights = attention_weights(query * scale, key); // [B, h, S, T]
        weights.cast(value.dtype()).matmul(value)
    });
    merge_heads(Tensor::cat(mixed.collect(), 0))
}

/// The gradients of attention in plain tensor operations.
pub(super) fn plain_attention_backward<B: Backend>(
    inputs: [FloatTensor<B>; 3],
    output_grad: FloatTensor<B>,
    heads: usize,
    wanted: [bool; 3],
) -> [Option<FloatTensor<B>>; 3] {
    let [query, key, value] = inputs.map(|x| split_heads::<B>(x, heads));
    let output_grad = split_heads::<B>(output_grad, heads); // [B, h, S, D]
    let per_slice = batches_per_slice(&query, &key);
    let mut parts: [Vec<Tensor<B, 4>>; 3] = Default::default();
    let inputs = slices(query, per_slice)
        .into_iter()
        .zip(slices(key, per_slice))
        .zip(slices(value, per_slice))
        .zip(slices(output_grad, per_slice));
    for (((query, key), value), output_grad) in inputs {
        let found = slice_backward([query, key, value], output_grad, wanted);
        for (parts, found) in parts.iter_mut().zip(found) {
            parts.extend(found);
        }
    }
    parts.map(|parts| (!parts.is_empty()).then(|| merge_heads(Tensor::cat(parts, 0))))
}

/// The gradients of some batch entries, `[B, h, S, D]`.
fn slice_backward<B: Backend>(
    [query, key, value]: [Tensor<B, 4>; 3],
    output_grad: Tensor<B, 4>,
    [wants_query, wants_key, wants_value]: [bool; 3],
) -> [Option<Tensor<B, 4>>; 3] {
    let dtype = query.dtype();
    let scale = (query.dims()[3] as f64).powf(-0.5);
    let query = query * scale;
    let weights = attention_weights(query.clone(), key.clone()); // [B, h, S, T], f32 or wider

    let value_grad = wants_value.then(|| {
        let weights = weights.clone().cast(dtype);
        weights.transpose().matmul(output_grad.clone())
    });
    if !wants_query && !wants_key {
        return [None, None, value_grad];
    }
    let weights_grad = plain::widened(output_grad.matmul(value.transpose()));
    let mean_grad = (weights.clone() * weights_grad.clone()).sum_dim(3);
    let scores_grad = (weights * (weights_grad - mean_grad)).cast(dtype); // [B, h, S, T]
    let key_grad = wants_key.then(|| scores_grad.clone().transpose().matmul(query));
    let query_grad = wants_query.then(|| scores_grad.matmul(key) * scale);
    [query_grad, key_grad, value_grad]
}

/// The softmax of products of queries, scaled already, and keys, `[B, h, S, T]`, in f32 or wider.
fn attention_weights<B: Backend>(query: Tensor<B, 4>, key: Tensor<B, 4>) -> Tensor<B, 4> {
    softmax(plain::widened(query.matmul(key.transpose())), 3)
}

/// Batch entries whose scores are held at once, at least one.
fn batches_per_slice<B: Backend>(query: &Tensor<B, 4>, key: &Tensor<B, 4>) -> usize {
    let [_, heads, queries, _] = query.dims();
    let scores = heads * queries * key.dims()[2];
    (MOST_SCORES / scores.max(1)).max(1)
}

/// Runs of batch entries.
fn slices<B: Backend>(x: Tensor<B, 4>, per_slice: usize) -> Vec<Tensor<B, 4>> {
    match x.dims()[0] <= per_slice {
        true => vec![x],
        false => x.split(per_slice, 0),
    }
}

/// `[B, S, h * D]` to `[B, h, S, D]`.
fn split_heads<B: Backend>(x: FloatTensor<B>, heads: usize) -> Tensor<B, 4> {
    let x: Tensor<B, 3> = wrapped(x);
    let [batch, tokens, channels] = x.dims();
    x.reshape([batch, tokens, heads, channels / heads])
        .swap_dims(1, 2)
}

/// `[B, h, S, D]` to `[B, S, h * D]`.
fn merge_heads<B: Backend>(x: Tensor<B, 4>) -> FloatTensor<B> {
    let [batch, heads, tokens, head_dim] = x.dims();
    x.swap_dims(1, 2)
        .reshape([batch, tokens, heads * head_dim])
        .into_primitive()
        .tensor()
}

fn wrapped<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

impl<B: AttentionKernels, C: CheckpointStrategy> AttentionKernels for Autodiff<B, C> {
    fn attention_tokens(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        let nodes = [&query, &key, &value].map(|x| x.node.clone());
        match AttentionTokens
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let inputs = [&query, &key, &value].map(|x| prep.checkpoint(x));
                let output =
                    B::attention_tokens(query.primitive, key.primitive, value.primitive, heads);
                prep.finish((inputs, heads), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::attention_tokens(
                query.primitive,
                key.primitive,
                value.primitive,
                heads,
            )),
        }
    }
}

/// The node of attention in a graph; its state are the three inputs and the number of heads.
#[derive(Debug)]
struct AttentionTokens;

impl<B: AttentionKernels> Backward<B, 3> for AttentionTokens {
    type State = ([NodeId; 3], usize);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let output_grad = grads.consume::<B>(&ops.node);
        let (inputs, heads) = ops.state;
        let inputs = inputs.map(|node| checkpointer.retrieve_node_output(node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let input_grads = B::attention_tokens_backward(inputs, output_grad, heads, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(input_grads) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}
