//! The mathematics of diffusion models: noise schedules, samplers, DDIM inversion, guidance, initial noise
//! and seeded random numbers.
//!
//! Nothing here knows a network. A model is whatever returns a tensor for a sample and a timestep; this crate
//! says which timesteps to ask for and what to do with the answers. Everything works on tensors of any
//! backend, tracked ones included, and agrees with the numbers of diffusers 0.42.1.
//!
//! A published model brings a `scheduler_config.json` ([`SchedulerConfig`]), from which a [`NoiseSchedule`]
//! is computed. Learning uses [`NoiseSchedule::add_noise`] and [`NoiseSchedule::target`]. Generating takes a
//! start from [`InitialNoise`] down a [`Sampler`], with [`Guidance`] after each model call:
//!
//! ```
//! use burn::tensor::Tensor;
//! use burn_flex::Flex;
//! use kinvert_diffusion::{
//!     Guidance, InitialNoise, NoiseSchedule, NoiseSource, SamplerKind, SchedulerConfig,
//! };
//!
//! // `[2 * batch, ...]`: the empty prompt's half first.
//! let model = |latents: Tensor<Flex, 5>, _timestep: usize| latents * 0.3;
//!
//! let schedule = NoiseSchedule::new(&SchedulerConfig::default())?;
//! let mut sampler = SamplerKind::Ddim.build(&schedule, 30)?;
//! let guidance = Guidance::new(7.5)?;
//!
//! let source = NoiseSource::new(42);
//! let noise = source.gaussian("generate.noise", 0, [1, 4, 16, 8, 8], &Default::default());
//! let mut latents = InitialNoise::None.compose(noise, None, InitialNoise::DEFAULT_STRENGTH)?;
//! for index in 0..sampler.steps() {
//!     let both = Tensor::cat(vec![latents.clone(); 2], 0);
//!     let output = guidance.combine_halves(model(both, sampler.timesteps()[index]));
//!     latents = sampler.step(output, index, latents);
//! }
//! # Ok::<(), kinvert_diffusion::Error>(())
//! ```

mod config;
mod ddim;
mod dpm_solver;
mod error;
mod guidance;
mod initial_noise;
mod noise;
mod sampler;
mod schedule;

pub use config::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing};
pub use ddim::{Ddim, DdimInversion};
pub use dpm_solver::DpmSolverPp2M;
pub use error::Error;
pub use guidance::Guidance;
pub use initial_noise::InitialNoise;
pub use noise::NoiseSource;
pub use sampler::{Sampler, SamplerKind};
pub use schedule::NoiseSchedule;
