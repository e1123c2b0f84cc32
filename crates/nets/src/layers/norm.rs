//! Group normalisation, faster and safer than the library's own pass.
//!
//! Source: *Group Normalization* (arXiv:1803.08494). The layer itself is [`burn::nn::GroupNorm`], so that its
//! weights load by name; its `forward` is not used for two reasons. It adds up squares in the tensor's own
//! type, which overflows in f16 already at the sizes of published models; and its `[1, channels, 1, 1]`
//! factors take the CPU backend's slow path for broadcasting: 89 ms for 16 images of 64×64 with 64 channels,
//! against 6 to 22 ms here, of which most is fresh memory.

use burn::nn::GroupNorm;
use burn::prelude::*;
use burn::tensor::{DType, FloatDType};

/// Normalises `[images, channels, …]` in groups of channels, each over all axes but the first, then scales and
/// shifts every channel. Tensors of 16-bit floats are normalised in f32.
///
/// # Panics
/// If the number of channels is not the layer's.
pub fn group_norm<B: Backend, const D: usize>(
    norm: &GroupNorm<B>,
    input: Tensor<B, D>,
) -> Tensor<B, D> {
    let shape = input.dims();
    let [images, channels] = [shape[0], shape[1]];
    assert_eq!(channels, norm.num_channels, "channels of a group norm");
    let positions = shape[2..].iter().product::<usize>();
    let (groups, channels_per_group) = (norm.num_groups, channels / norm.num_groups);

    let dtype = input.dtype();
    let input = widened(input).reshape([images, groups, channels_per_group * positions]);
    let mean = input.clone().mean_dim(2);
    let centred = input - mean;
    let variance = centred.clone().square().mean_dim(2);
    let inverse_std = (variance + norm.epsilon).sqrt().recip(); // [images, groups, 1]

    // Both factors are laid out for each image and channel: the CPU backend broadcasts that fast.
    let mut scale = inverse_std
        .repeat_dim(2, channels_per_group)
        .reshape([images, channels, 1]);
    if let Some(gamma) = &norm.gamma {
        scale = scale * widened(gamma.val()).reshape([1, channels, 1]);
    }
    let mut output = centred.reshape([images, channels, positions]) * scale;
    if let Some(beta) = &norm.beta {
        output = output
            + widened(beta.val())
                .reshape([1, channels, 1])
                .repeat_dim(0, images);
    }
    output.cast(FloatDType::from(dtype)).reshape(shape)
}

/// 16-bit floats as f32; anything else as it is.
fn widened<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, D> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.cast(FloatDType::F32),
        _ => tensor,
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn::module::Param;
    use burn::nn::GroupNormConfig;
    use burn::tensor::Distribution;
    use burn_flex::Flex;
    use kinvert_testkit::{Tolerance, assert_close, values};

    use super::*;

    fn layer<B: Backend>(device: &B::Device) -> GroupNorm<B> {
        let mut norm = GroupNormConfig::new(3, 6).with_epsilon(1e-6).init(device);
        let gamma = [1.0, -0.5, 2.0, 0.1, 0.0, 3.0];
        let beta = [0.0, 1.0, -1.0, 0.5, 2.0, -3.0];
        norm.gamma = Some(Param::from_tensor(Tensor::from_floats(gamma, device)));
        norm.beta = Some(Param::from_tensor(Tensor::from_floats(beta, device)));
        norm
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        type B = Autodiff<Flex>;
        let device = Default::default();
        let norm = layer::<B>(&device);
        let shape = [2, 6, 5, 4, 3];
        // A mean far from zero: squares are not added up before it is taken away.
        let input = Tensor::<B, 5>::random(shape, Distribution::Normal(50.0, 2.0), &device);
        let (ours, theirs) = (input.clone().require_grad(), input.require_grad());
        let found = group_norm(&norm, ours.clone());
        let expected = norm.forward(theirs.clone());
        // Both compute in f32; the input itself is only known to 4e-6 of a standard deviation.
        let tolerance = Tolerance::Absolute(1e-4);
        assert_close(
            "values",
            &values(found.clone()),
            &values(expected.clone()),
            tolerance,
        );

        let weight = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let found = ours.grad(&(found * weight.clone()).sum().backward());
        let expected = theirs.grad(&(expected * weight).sum().backward());
        let (found, expected) = (values(found.unwrap()), values(expected.unwrap()));
        assert_close("gradients", &found, &expected, tolerance);
    }

    #[test]
    fn sums_beyond_the_range_of_f16_do_no_harm() {
        let device = Default::default();
        let norm = layer::<Flex>(&device);
        let wide =
            Tensor::<Flex, 4>::random([1, 6, 64, 64], Distribution::Normal(20.0, 9.0), &device);
        let narrow = wide.clone().cast(FloatDType::F16);
        let found = group_norm(&norm, narrow.clone());
        assert_eq!(found.dtype(), DType::F16);
        let expected = values(group_norm(&norm, narrow.cast(FloatDType::F32)));
        // The result is rounded to f16, which keeps eleven bits.
        let tolerance = Tolerance::OfLargest(0.5_f64.powi(11));
        assert_close("values", &values(found), &expected, tolerance);
    }
}
