//! Two linear layers with a GELU between them. Keys: `{fc1,fc2}`.

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;

use crate::kernels::elementwise::{ElementwiseKernels, silu};

/// The layers; see the [module docs](self).
#[derive(Module, Debug)]
pub(super) struct Mlp<B: Backend> {
    fc1: Linear<B>,
    fc2: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    /// Layers from the first to the second to the third number of channels.
    pub(super) fn new([input, hidden, output]: [usize; 3], device: &B::Device) -> Self {
        Self {
            fc1: LinearConfig::new(input, hidden).init(device),
            fc2: LinearConfig::new(hidden, output).init(device),
        }
    }

    /// `[.., channels]` to `[.., channels]`.
    pub(super) fn forward<const D: usize>(
        &self,
        x: Tensor<B, D>,
        activation: fn(Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> Tensor<B, D> {
        let mut dims = x.dims();
        // One large product is several times faster than one small product per sequence.
        let rows = x.reshape([-1, dims[D - 1] as i64]);
        let y = self.fc2.forward(activation(self.fc1.forward(rows)));
        dims[D - 1] = y.dims()[1];
        y.reshape(dims)
    }
}

/// GELU in the approximation by tanh.
///
/// `0.5 x (1 + tanh(u))` is `x sigmoid(2 u)`, and with `2 u = s x`, where `s >= 1.59`, it is `silu(s x) / s`: the
/// kernel of SiLU does the expensive part.
pub(super) fn gelu_tanh<B: ElementwiseKernels>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    const SLOPE: f64 = 1.595_769_121_605_731; // 2 sqrt(2 / pi)
    let s = (x.clone() * x.clone()) * (SLOPE * 0.044_715) + SLOPE;
    silu(x * s.clone()) / s
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;
    use kinvert_testkit::{Tolerance, assert_close, values};

    use super::*;

    #[test]
    fn gelu_by_silu_is_gelu_by_tanh() {
        let inputs: Vec<f32> = (-2000..=2000).map(|step| step as f32 / 100.0).collect();
        let expected: Vec<f32> = inputs
            .iter()
            .map(|&x| {
                let x = f64::from(x);
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                (0.5 * x * (1.0 + inner.tanh())) as f32
            })
            .collect();
        let x = Tensor::<Flex, 1>::from_floats(inputs.as_slice(), &Default::default());
        let found = values(gelu_tanh(x.unsqueeze::<2>()));
        // A few roundings of values up to 20.
        assert_close("gelu", &found, &expected, Tolerance::Absolute(5e-6));
    }
}
