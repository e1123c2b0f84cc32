//! Tensors under AdamW.

use burn::optim::{AdamWConfig, AdamWState, AdaptiveMomentumState, SimpleOptimizer};
use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::checkpoint::SavedTensor;
use crate::inversion::to_floats;

/// Betas and epsilon: those of PyTorch, with which the method was published.
const BETAS: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// What is learned by one optimiser: a list of tensors, and what it remembers of each.
pub(crate) struct Optimised<B: Backend> {
    parameters: Vec<Parameter<B>>,
    learning_rate: f64,
    weight_decay: f64,
}

struct Parameter<B: Backend> {
    value: Tensor<B, 3>,
    state: Option<AdamWState<B, 3>>,
}

impl<B: Backend> Optimised<B> {
    /// Starts from values.
    pub fn new(values: Vec<Tensor<B, 3>>, learning_rate: f64, weight_decay: f64) -> Self {
        let mut optimised = Self {
            parameters: Vec::new(),
            learning_rate,
            weight_decay,
        };
        optimised.start_from(values);
        optimised
    }

    /// Replaces the values, and forgets what the optimiser remembers.
    pub fn start_from(&mut self, values: Vec<Tensor<B, 3>>) {
        let values = values.into_iter();
        self.parameters = values
            .map(|value| Parameter { value, state: None })
            .collect();
    }

    /// The values as they are now.
    pub fn values(&self) -> impl Iterator<Item = &Tensor<B, 3>> {
        self.parameters.iter().map(|parameter| &parameter.value)
    }

    /// Whether there is nothing to learn.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// One step, given the gradient of every value.
    pub fn step(&mut self, gradients: Vec<Tensor<B, 3>>) {
        let adamw = AdamWConfig::new()
            .with_beta_1(BETAS.0)
            .with_beta_2(BETAS.1)
            .with_epsilon(EPSILON)
            .with_weight_decay(self.weight_decay as f32)
            .build();
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            let (value, state) = SimpleOptimizer::<B>::step(
                &adamw,
                self.learning_rate,
                parameter.value.clone(),
                gradient,
                parameter.state.take(),
            );
            *parameter = Parameter { value, state };
        }
    }

    /// Everything that is needed to go on later.
    pub fn saved(&self) -> Vec<SavedTensor> {
        let saved = |parameter: &Parameter<B>| {
            let moments = parameter.state.as_ref().map(|state| &state.momentum);
            SavedTensor {
                shape: parameter.value.dims(),
                value: to_floats(parameter.value.clone()),
                moments: moments
                    .map(|m| [to_floats(m.moment_1.clone()), to_floats(m.moment_2.clone())]),
            }
        };
        self.parameters.iter().map(saved).collect()
    }

    /// Whether what was saved after `steps` steps is of these tensors.
    pub fn fits(&self, saved: &[SavedTensor], steps: usize) -> bool {
        let mut pairs = saved.iter().zip(&self.parameters);
        saved.len() == self.parameters.len()
            && pairs.all(|(saved, parameter)| {
                saved.shape == parameter.value.dims() && saved.moments.is_some() == (steps > 0)
            })
    }

    /// Goes on from what was saved after `steps` steps, which must [fit](Self::fits).
    pub fn restore(&mut self, saved: Vec<SavedTensor>, steps: usize, device: &B::Device) {
        let restore = |saved: SavedTensor| {
            let tensor = |values| Tensor::from_data(TensorData::new(values, saved.shape), device);
            let state = saved.moments.map(|[moment_1, moment_2]| {
                AdamWState::new(AdaptiveMomentumState::new(
                    steps,
                    tensor(moment_1),
                    tensor(moment_2),
                ))
            });
            Parameter {
                value: tensor(saved.value),
                state,
            }
        };
        self.parameters = saved.into_iter().map(restore).collect();
    }
}
