//! A linear layer applied to every token of every sequence.

use burn::nn::Linear;
use burn::prelude::*;

/// Applies `layer` to `[batch, tokens, channels]`.
///
/// All tokens are one matrix: the weights are the same for the whole batch, and one large product is several
/// times faster than one small product per sequence (a temporal transformer has a sequence for every spatial
/// position).
pub fn linear<B: Backend>(layer: &Linear<B>, input: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, tokens, channels] = input.dims();
    let output = layer.forward(input.reshape([batch * tokens, channels]));
    let out_channels = output.dims()[1];
    output.reshape([batch, tokens, out_channels])
}
