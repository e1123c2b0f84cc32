//! DDIM (arXiv:2010.02502) down the noise schedule, and its inversion up.
//!
//! A step takes the model's output apart into a clean sample and noise at the level it starts from (Eq. 9)
//! and puts them together again at the level it leads to (Eq. 12). Levels lie a whole stride of
//! `num_train_timesteps / steps` apart, whatever the spacing; that is how diffusers 0.42.1 counts, and numbers
//! agree with its `DDIMScheduler` and `DDIMInverseScheduler`.

use burn::tensor::{Tensor, backend::Backend};

use crate::{
    Error, NoiseSchedule, PredictionType, TimestepSpacing,
    sampler::{Sampler, spaced_timesteps},
    schedule::Levels,
};

/// From noise to a clean sample; without fresh noise as a [`Sampler`], with it through
/// [`step_stochastic`](Self::step_stochastic).
#[derive(Clone, Debug)]
pub struct Ddim(Walk);

impl Ddim {
    /// Prepares `steps` steps, spaced as the schedule's configuration says (leading if it does not).
    ///
    /// # Errors
    /// [`Error::Steps`] if the schedule has no such number of steps.
    pub fn new(schedule: &NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let timesteps = ddim_timesteps(schedule, steps)?;
        let stride = schedule.num_train_timesteps() / steps;
        let moves = timesteps.iter().map(|&timestep| Move {
            from: schedule.alphas_cumprod()[timestep],
            to: schedule.alpha_cumprod_or_final(timestep.checked_sub(stride)),
        });
        Ok(Self(Walk {
            prediction_type: schedule.prediction_type(),
            moves: moves.collect(),
            timesteps,
        }))
    }

    /// A step that replaces a part of the predicted noise by fresh `variance_noise` (Eq. 16): none of it with
    /// `eta` 0, as much as DDPM does with 1. All tensors have one shape.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `eta` is not between 0 and 1.
    ///
    /// # Panics
    /// If `index` is not below the number of steps, or the shapes differ.
    pub fn step_stochastic<B: Backend, const D: usize>(
        &self,
        model_output: Tensor<B, D>,
        index: usize,
        sample: Tensor<B, D>,
        eta: f64,
        variance_noise: Tensor<B, D>,
    ) -> Result<Tensor<B, D>, Error> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::OutOfRange {
                name: "eta",
                found: eta,
                expected: "0 to 1",
            });
        }
        let Move { from, to } = self.0.moves[index];
        let deviation = eta * ((1.0 - to) / (1.0 - from) * (1.0 - from / to)).sqrt();
        let kept = (1.0 - to - deviation * deviation).max(0.0).sqrt();
        let (x0, epsilon) = self.0.take_apart(model_output, index, sample);
        Ok(x0 * to.sqrt() + epsilon * kept + variance_noise * deviation)
    }
}

impl<B: Backend, const D: usize> Sampler<B, D> for Ddim {
    fn timesteps(&self) -> &[usize] {
        &self.0.timesteps
    }

    fn step(
        &mut self,
        model_output: Tensor<B, D>,
        index: usize,
        sample: Tensor<B, D>,
    ) -> Tensor<B, D> {
        self.0.step(model_output, index, sample)
    }
}

/// From a clean sample to the noise that [`Ddim`] turns into it.
///
/// Step `index` leads from a stride below `timesteps()[index]` up to it, and the model is called with the
/// sample *before* the step and the timestep *after* it. Below timestep 0 the level is that of the last
/// DDIM step (timestep 0's own, or no noise with `set_alpha_to_one`). Where the method's published code
/// reads every output as noise, velocities are converted here.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use kinvert_diffusion::{Ddim, DdimInversion, NoiseSchedule, Sampler, SchedulerConfig};
///
/// fn walk(sampler: &mut impl Sampler<Flex, 5>, mut latents: Tensor<Flex, 5>) -> Tensor<Flex, 5> {
///     for index in 0..sampler.steps() {
///         let timestep = sampler.timesteps()[index];
///         let output = latents.clone().full_like(timestep as f64 / 1000.0); // a model
///         latents = sampler.step(output, index, latents);
///     }
///     latents
/// }
///
/// let schedule = NoiseSchedule::new(&SchedulerConfig::default())?;
/// let latents = Tensor::ones([1, 4, 2, 8, 8], &Default::default());
/// let inverted = walk(&mut DdimInversion::new(&schedule, 50)?, latents.clone());
/// let restored = walk(&mut Ddim::new(&schedule, 50)?, inverted);
/// assert!((restored - latents).abs().max().into_scalar() < 1e-3);
/// # Ok::<(), kinvert_diffusion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DdimInversion(Walk);

impl DdimInversion {
    /// Prepares `steps` steps, those of [`Ddim::new`] in reverse.
    ///
    /// # Errors
    /// [`Error::Steps`] if the schedule has no such number of steps.
    pub fn new(schedule: &NoiseSchedule, steps: usize) -> Result<Self, Error> {
        let Ddim(mut walk) = Ddim::new(schedule, steps)?;
        walk.timesteps.reverse();
        walk.moves.reverse();
        for Move { from, to } in &mut walk.moves {
            std::mem::swap(from, to);
        }
        Ok(Self(walk))
    }
}

impl<B: Backend, const D: usize> Sampler<B, D> for DdimInversion {
    fn timesteps(&self) -> &[usize] {
        &self.0.timesteps
    }

    fn step(
        &mut self,
        model_output: Tensor<B, D>,
        index: usize,
        sample: Tensor<B, D>,
    ) -> Tensor<B, D> {
        self.0.step(model_output, index, sample)
    }
}

/// Deterministic steps between noise levels, in either direction.
#[derive(Clone, Debug)]
struct Walk {
    prediction_type: PredictionType,
    timesteps: Vec<usize>,
    /// One for each timestep.
    moves: Vec<Move>,
}

/// The `alphas_cumprod` between which a step leads.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: f64,
    to: f64,
}

impl Walk {
    fn step<B: Backend, const D: usize>(
        &self,
        model_output: Tensor<B, D>,
        index: usize,
        sample: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let (x0, epsilon) = self.take_apart(model_output, index, sample);
        Levels::one(self.moves[index].to).mix(x0, epsilon)
    }

    /// The clean sample and the noise in `sample`.
    fn take_apart<B: Backend, const D: usize>(
        &self,
        model_output: Tensor<B, D>,
        index: usize,
        sample: Tensor<B, D>,
    ) -> (Tensor<B, D>, Tensor<B, D>) {
        let level = Levels::one(self.moves[index].from);
        let x0 = level.x0(self.prediction_type, model_output.clone(), sample.clone());
        let epsilon = level.epsilon(self.prediction_type, model_output, sample);
        (x0, epsilon)
    }
}

fn ddim_timesteps(schedule: &NoiseSchedule, steps: usize) -> Result<Vec<usize>, Error> {
    let spacing = schedule.config().timestep_spacing;
    let spacing = spacing.unwrap_or(TimestepSpacing::Leading);
    spaced_timesteps(schedule, spacing, steps, false)
}
