//! Positions of frames, as sines and cosines that are added to features.
//!
//! Source: *Attention Is All You Need* (arXiv:1706.03762), Sec. 3.5, as `SinusoidalPositionalEmbedding` of the
//! diffusers library lays it out: sines in the even channels, cosines in the odd ones. Key: `….pe`.

use burn::module::{Param, ParamId};
use burn::prelude::*;

/// A row of features for every position; see the [module docs](self).
#[derive(Module, Debug)]
pub struct SinusoidalPositions<B: Backend> {
    pe: Param<Tensor<B, 3>>,
}

impl<B: Backend> SinusoidalPositions<B> {
    /// Computes `positions` rows of `channels` channels, when they are first read.
    pub fn new(positions: usize, channels: usize, device: &B::Device) -> Self {
        let shape = [1, positions, channels];
        let rows = move |device: &B::Device, _: bool| {
            let values = sinusoids(positions, channels);
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        Self {
            pe: Param::uninitialized(ParamId::new(), rows, device.clone(), false, shape.into()),
        }
    }

    /// Adds the positions to `[sequences, frames, channels]`.
    ///
    /// # Panics
    /// If there are more frames than positions.
    pub fn add(&self, features: Tensor<B, 3>) -> Tensor<B, 3> {
        let [_, frames, _] = features.dims();
        let pe = self.pe.val();
        let positions = pe.dims()[1];
        assert!(
            frames <= positions,
            "{frames} frames, {positions} positions"
        );
        features + pe.narrow(1, 0, frames)
    }
}

/// The values of all rows, one after the other: with wavelengths from 2π to 20000π.
pub(crate) fn sinusoids(positions: usize, channels: usize) -> Vec<f32> {
    let value = |position: usize, channel: usize| {
        let even = channel - channel % 2;
        let angle = position as f64 * (-(10_000f64.ln()) * even as f64 / channels as f64).exp();
        let value = match channel % 2 {
            0 => angle.sin(),
            _ => angle.cos(),
        };
        value as f32
    };
    (0..positions)
        .flat_map(|position| (0..channels).map(move |channel| value(position, channel)))
        .collect()
}
