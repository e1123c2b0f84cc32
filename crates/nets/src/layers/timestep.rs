//! How a network is told the timestep: sinusoidal features, then two linear layers.
//!
//! Source: `Timesteps` (`flip_sin_to_cos`, no frequency shift) and `TimestepEmbedding` of the diffusers library.
//! Keys: `time_embedding.{linear_1,linear_2}`.

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;

use super::apply::{cast_like, linear_rows};
use crate::kernels::NetBackend;
use crate::kernels::elementwise::silu;

/// Two linear layers with a SiLU between them, over sinusoidal features.
#[derive(Module, Debug)]
pub struct TimestepEmbedding<B: Backend> {
    linear_1: Linear<B>,
    linear_2: Linear<B>,
    in_channels: usize,
}

impl<B: NetBackend> TimestepEmbedding<B> {
    /// Builds the layers, from features of `in_channels`, an even number, to `channels`.
    pub fn new(in_channels: usize, channels: usize, device: &B::Device) -> Self {
        Self {
            linear_1: LinearConfig::new(in_channels, channels).init(device),
            linear_2: LinearConfig::new(channels, channels).init(device),
            in_channels,
        }
    }

    /// The embedding of every timestep, `[timesteps, channels]`.
    pub fn forward(&self, timesteps: &[f64], device: &B::Device) -> Tensor<B, 2> {
        let features = timestep_features(timesteps, self.in_channels, device);
        let features = cast_like(features, &self.linear_1.weight.val());
        linear_rows(&self.linear_2, silu(linear_rows(&self.linear_1, features)))
    }
}

/// Sinusoidal features of timesteps, `[timesteps, channels]`: cosines first, then sines, at wavelengths from
/// 2π to 20000π.
fn timestep_features<B: NetBackend>(
    timesteps: &[f64],
    channels: usize,
    device: &B::Device,
) -> Tensor<B, 2> {
    let half = channels / 2;
    let angle = |t: f64, i: usize| t * (-(10_000f64.ln()) * i as f64 / half as f64).exp();
    let features: Vec<f32> = timesteps
        .iter()
        .flat_map(|&t| {
            let cosines = (0..half).map(move |i| angle(t, i).cos() as f32);
            let sines = (0..half).map(move |i| angle(t, i).sin() as f32);
            cosines.chain(sines)
        })
        .collect();
    Tensor::from_data(
        TensorData::new(features, [timesteps.len(), channels]),
        device,
    )
}
