//! A LoRA inside a forward pass, on any backend and in the number format of what it reads.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData, backend::Backend};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::LinearAdapter;
use kinvert_nets::kernels::NetBackend;
use kinvert_nets::layers::apply::cast_like;

use super::{LowRank, SpatialLora};

/// Adds what a LoRA says to the layers that it has.
#[derive(Debug, Clone)]
pub struct LoraAdapter<B: Backend> {
    /// By the path of the layer.
    pub layers: BTreeMap<String, LoraTensors<B>>,
    /// What is left out while the LoRA is learned.
    pub dropout: Option<Dropout>,
}

/// The two matrices of a layer; what is added is `up * down * x`.
#[derive(Debug, Clone)]
pub struct LoraTensors<B: Backend> {
    /// `A`, `[rank, in]`.
    pub down: Tensor<B, 2>,
    /// `B`, `[out, rank]`, with all factors in it.
    pub up: Tensor<B, 2>,
}

/// Leaves random elements of the input of every `A` out and enlarges the others, so that the mean stays. What is left
/// out depends on the seed, the step and the layer alone: a step that is computed twice is the same.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Share of the elements that is left out, below 1.
    pub rate: f64,
    /// Where the draws come from.
    pub source: NoiseSource,
    /// The step of learning.
    pub step: u64,
}

/// Label of the draws of a layer, before its path.
const DROPOUT: &str = "inversion.lora.dropout.";

impl Dropout {
    fn apply<B: NetBackend>(&self, path: &str, input: Tensor<B, 2>) -> Tensor<B, 2> {
        if self.rate == 0.0 {
            return input;
        }
        let (label, shape, device) = (format!("{DROPOUT}{path}"), input.dims(), input.device());
        let source = self.source;
        let mask: Tensor<B, 2> = source.mask(&label, self.step, self.rate, shape, &device);
        let mask = cast_like(mask, &input);
        input * mask / (1.0 - self.rate)
    }
}

impl<B: Backend> LoraAdapter<B> {
    /// Moves a LoRA to a device, with `strength` as a factor on all of it.
    pub fn new(lora: &SpatialLora, strength: f64, device: &B::Device) -> Self {
        let tensors = |(path, layer): (&String, &LowRank)| {
            let (rank, factor) = (layer.rank(), f64::from(layer.scale()) * strength);
            let matrix = |values: &[f32], shape: [usize; 2]| -> Tensor<B, 2> {
                Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
            };
            let down = matrix(layer.down(), [rank, layer.in_channels()]);
            let up = matrix(layer.up(), [layer.out_channels(), rank]) * factor;
            (path.clone(), LoraTensors { down, up })
        };
        Self {
            layers: lora.layers.iter().map(tensors).collect(),
            dropout: None,
        }
    }
}

impl<B: NetBackend> LinearAdapter<B> for LoraAdapter<B> {
    fn adapt(&self, path: &str, input: Tensor<B, 3>, output: Tensor<B, 3>) -> Tensor<B, 3> {
        let Some(layer) = self.layers.get(path) else {
            return output;
        };
        // All tokens are one matrix, as for the layer itself.
        let ([batch, tokens, channels], shape) = (input.dims(), output.dims());
        let mut input = input.reshape([batch * tokens, channels]);
        if let Some(dropout) = &self.dropout {
            input = dropout.apply(path, input);
        }
        let down = cast_like(layer.down.clone(), &input).transpose();
        let up = cast_like(layer.up.clone(), &input).transpose();
        output + input.matmul(down).matmul(up).reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::super::tests::made_up;
    use super::*;

    const LAYER: &str = "mid_block.attentions.0.proj_in";

    fn tensor(shape: [usize; 3], start: f32) -> Tensor<Flex, 3> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (start + i as f32 * 0.3).cos()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Default::default())
    }

    fn values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    fn change(adapter: &LoraAdapter<Flex>, input: &Tensor<Flex, 3>) -> Vec<f32> {
        let zeros = Tensor::zeros([input.dims()[0], input.dims()[1], 5], &Default::default());
        values(adapter.adapt(LAYER, input.clone(), zeros))
    }

    #[test]
    fn a_layer_with_a_lora_is_the_layer_with_merged_weights() {
        let lora = made_up(&[(LAYER, 4, 5, 2, 3.0)]);
        let layer = &lora.layers[LAYER];
        let (input, plain) = (tensor([2, 3, 4], 0.2), tensor([2, 3, 5], 1.0));
        for strength in [1.0, 0.5, -2.0] {
            let adapter = LoraAdapter::<Flex>::new(&lora, strength, &Default::default());
            let found = values(adapter.adapt(LAYER, input.clone(), plain.clone()));

            // strength * alpha / rank * B A, by hand
            let merged = |out: usize, inner: usize| {
                let sum: f32 = (0..2)
                    .map(|r| layer.up()[out * 2 + r] * layer.down()[r * 4 + inner])
                    .sum();
                sum * strength as f32 * 3.0 / 2.0
            };
            let (rows, plain) = (values(input.clone()), values(plain.clone()));
            for (row, x) in rows.chunks(4).enumerate() {
                for out in 0..5 {
                    let added: f32 = (0..4).map(|inner| merged(out, inner) * x[inner]).sum();
                    let expected = plain[row * 5 + out] + added;
                    assert!((found[row * 5 + out] - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn other_layers_and_a_strength_of_zero_change_nothing() {
        let lora = made_up(&[(LAYER, 4, 5, 2, 3.0)]);
        let adapter = LoraAdapter::<Flex>::new(&lora, 0.0, &Default::default());
        let (input, plain) = (tensor([2, 3, 4], 0.2), tensor([2, 3, 5], 1.0));
        let output = adapter.adapt(LAYER, input.clone(), plain.clone());
        assert_eq!(values(output), values(plain.clone()));
        let adapter = LoraAdapter::<Flex>::new(&lora, 1.0, &Default::default());
        let output = adapter.adapt("mid_block.attentions.0.proj_out", input, plain.clone());
        assert_eq!(values(output), values(plain));
    }

    #[test]
    fn dropout_is_a_function_of_step_and_layer_and_keeps_the_mean() {
        let lora = made_up(&[(LAYER, 4, 5, 2, 3.0)]);
        let with = |rate, step| LoraAdapter::<Flex> {
            dropout: Some(Dropout {
                rate,
                source: NoiseSource::new(5),
                step,
            }),
            ..LoraAdapter::new(&lora, 1.0, &Default::default())
        };
        let input = tensor([2, 3, 4], 0.2);
        let plain = LoraAdapter::new(&lora, 1.0, &Default::default());
        assert_eq!(change(&with(0.0, 1), &input), change(&plain, &input));
        assert_eq!(change(&with(0.4, 1), &input), change(&with(0.4, 1), &input));
        assert_ne!(change(&with(0.4, 1), &input), change(&with(0.4, 2), &input));

        let mut mean = vec![0.0_f32; 30];
        for step in 0..4000 {
            let found = change(&with(0.4, step), &input);
            mean.iter_mut()
                .zip(found)
                .for_each(|(sum, value)| *sum += value / 4000.0);
        }
        // A sum over four elements of about one deviates by about 2, its mean over 4000 by 0.03.
        for (mean, expected) in mean.iter().zip(change(&plain, &input)) {
            assert!((mean - expected).abs() < 0.2, "{mean} and {expected}");
        }
    }
}
