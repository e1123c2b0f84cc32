//! The crate against recorded numbers of the reference library, and against the laws of its own mathematics.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod config;
mod initial_noise;
mod laws;
mod published;
mod samplers;

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::Flex;
use kinvert_diffusion::{NoiseSchedule, SchedulerConfig};
use kinvert_testkit::fixtures_dir;

/// Latents on the CPU.
type Latents = Tensor<Flex, 5>;

/// The configuration in `tests/fixtures/parity/schedulers/{folder}`.
fn recorded_config(folder: &str) -> SchedulerConfig {
    let path = fixtures_dir()
        .join("parity/schedulers")
        .join(folder)
        .join("scheduler_config.json");
    let bytes = std::fs::read(&path).unwrap();
    SchedulerConfig::from_json(&bytes, &path.to_string_lossy()).unwrap()
}

/// The schedule that most published latent models share: scaled linear, leading spacing, offset 1.
fn published_schedule() -> NoiseSchedule {
    NoiseSchedule::new(&recorded_config("ddim_epsilon_leading")).unwrap()
}

/// The largest absolute difference between two tensors.
fn largest_difference<B: Backend, const D: usize>(left: Tensor<B, D>, right: Tensor<B, D>) -> f64 {
    let difference = kinvert_testkit::values((left - right).abs().max());
    f64::from(difference[0])
}
