//! What all samplers share: a list of timesteps and a step from each to the next.

use std::{fmt, str::FromStr};

use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::{Ddim, DpmSolverPp2M, Error, NoiseSchedule, TimestepSpacing};

/// A walk along the noise schedule, one model call per step.
///
/// Steps are taken by index, because timesteps may repeat (Karras sigmas on a long walk). A sampler is bound to
/// a backend and a rank because multistep methods remember earlier predictions.
///
/// Keep the sample itself in f32 even when the network runs in half precision: a step changes it by less
/// than half precision can hold. Cast the network's output before it is handed over.
pub trait Sampler<B: Backend, const D: usize> {
    /// The timestep at which the model is called, for each step.
    fn timesteps(&self) -> &[usize];

    /// Number of steps, at least one.
    fn steps(&self) -> usize {
        self.timesteps().len()
    }

    /// The sample after step `index`, from the sample before it and what the model (after guidance) returned
    /// for that sample at `timesteps()[index]`. All tensors have one shape.
    ///
    /// # Panics
    /// If `index` is not below [`steps`](Self::steps), or the shapes differ.
    fn step(
        &mut self,
        model_output: Tensor<B, D>,
        index: usize,
        sample: Tensor<B, D>,
    ) -> Tensor<B, D>;
}

/// The samplers there are; named `ddim`, `dpmpp-2m` and `dpmpp-2m-karras` in files and on the command line.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_flex::Flex;
/// use kinvert_diffusion::{NoiseSchedule, NoiseSource, SamplerKind, SchedulerConfig};
///
/// let schedule = NoiseSchedule::new(&SchedulerConfig::default())?;
/// let kind: SamplerKind = "dpmpp-2m".parse()?;
/// let mut sampler = kind.build(&schedule, 10)?;
/// let model = |sample: Tensor<Flex, 5>, _timestep| sample * 0.5;
///
/// let device = Default::default();
/// let mut latents = NoiseSource::new(7).gaussian("example", 0, [1, 4, 2, 8, 8], &device);
/// for index in 0..sampler.steps() {
///     let output = model(latents.clone(), sampler.timesteps()[index]);
///     latents = sampler.step(output, index, latents);
/// }
/// # Ok::<(), kinvert_diffusion::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SamplerKind {
    /// [`Ddim`] without fresh noise, the method's choice.
    #[default]
    #[serde(rename = "ddim")]
    Ddim,
    /// [`DpmSolverPp2M`] on the spaced timesteps.
    #[serde(rename = "dpmpp-2m")]
    DpmSolverPp2M,
    /// [`DpmSolverPp2M`] on Karras sigmas.
    #[serde(rename = "dpmpp-2m-karras")]
    DpmSolverPp2MKarras,
}

impl SamplerKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ddim, Self::DpmSolverPp2M, Self::DpmSolverPp2MKarras];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::DpmSolverPp2M => "dpmpp-2m",
            Self::DpmSolverPp2MKarras => "dpmpp-2m-karras",
        }
    }

    /// A sampler that goes from noise to a clean sample in `steps` steps.
    ///
    /// # Errors
    /// [`Error::Steps`] if the schedule has no such number of steps.
    pub fn build<B: Backend, const D: usize>(
        self,
        schedule: &NoiseSchedule,
        steps: usize,
    ) -> Result<Box<dyn Sampler<B, D>>, Error> {
        Ok(match self {
            Self::Ddim => Box::new(Ddim::new(schedule, steps)?),
            Self::DpmSolverPp2M => Box::new(DpmSolverPp2M::new(schedule, steps)?),
            Self::DpmSolverPp2MKarras => Box::new(DpmSolverPp2M::karras(schedule, steps)?),
        })
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SamplerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        by_name("sampler", name, &Self::ALL, Self::name)
    }
}

/// The one of `all` that is called `name`.
pub(crate) fn by_name<T: Copy>(
    what: &'static str,
    name: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, Error> {
    let found = all.iter().copied().find(|one| name_of(*one) == name);
    found.ok_or_else(|| Error::UnknownName {
        what,
        found: name.to_owned(),
        expected: all
            .iter()
            .map(|one| name_of(*one))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// The training timesteps that `steps` sampling steps visit, falling.
///
/// Multistep solvers spread the steps over one point more and leave out the lowest, from which there is nothing
/// left to do (`without_lowest`).
///
/// # Errors
/// [`Error::Steps`] if there are none, more than there are timesteps, or if `steps_offset` pushes the first
/// beyond the schedule.
pub(crate) fn spaced_timesteps(
    schedule: &NoiseSchedule,
    spacing: TimestepSpacing,
    steps: usize,
    without_lowest: bool,
) -> Result<Vec<usize>, Error> {
    let trained = schedule.num_train_timesteps();
    let offset = schedule.config().steps_offset;
    check_steps(steps, trained - usize::from(without_lowest))?;
    let points = steps + usize::from(without_lowest);
    let timesteps: Vec<usize> = match spacing {
        TimestepSpacing::Leading => {
            let stride = trained / points;
            let indices = (0..points).rev().take(steps);
            indices.map(|i| i * stride + offset).collect()
        }
        TimestepSpacing::Linspace => {
            let stride = (trained - 1) as f64 / (points - 1).max(1) as f64;
            let indices = (0..points).rev().take(steps);
            indices.map(|i| round(i as f64 * stride)).collect()
        }
        TimestepSpacing::Trailing => {
            // The difference of the first two points, not the exact stride, is what an array range of the
            // library is filled with; points half-way between two timesteps depend on it.
            let top = trained as f64;
            let stride = (top - top / steps as f64) - top;
            let points = (0..steps).map(|i| top + i as f64 * stride);
            points.map(|point| round(point).max(1) - 1).collect()
        }
    };
    match timesteps.first() {
        Some(first) if *first >= trained => Err(Error::Steps {
            found: steps,
            expected: format!(
                "a number that keeps timesteps below {trained}; `steps_offset` {offset} leads to {first}"
            ),
        }),
        _ => Ok(timesteps),
    }
}

/// Refuses no steps at all, and more than `limit`.
pub(crate) fn check_steps(steps: usize, limit: usize) -> Result<(), Error> {
    if (1..=limit).contains(&steps) {
        return Ok(());
    }
    Err(Error::Steps {
        found: steps,
        expected: format!("1 to {limit}"),
    })
}

/// Rounds half-way cases to even, as the library does.
pub(crate) fn round(value: f64) -> usize {
    value.round_ties_even() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SchedulerConfig;

    fn schedule(num_train_timesteps: usize, steps_offset: usize) -> NoiseSchedule {
        NoiseSchedule::new(&SchedulerConfig {
            num_train_timesteps,
            steps_offset,
            ..SchedulerConfig::default()
        })
        .unwrap()
    }

    #[test]
    fn every_possible_number_of_steps_gives_falling_timesteps_of_the_schedule() {
        let schedule = schedule(100, 0);
        for spacing in [
            TimestepSpacing::Leading,
            TimestepSpacing::Trailing,
            TimestepSpacing::Linspace,
        ] {
            for without_lowest in [false, true] {
                for steps in 1..=100 - usize::from(without_lowest) {
                    let timesteps =
                        spaced_timesteps(&schedule, spacing, steps, without_lowest).unwrap();
                    assert_eq!(timesteps.len(), steps);
                    assert!(timesteps[0] < 100);
                    let falls = timesteps.windows(2).all(|pair| pair[0] > pair[1]);
                    assert!(falls, "{spacing:?}, {steps} steps: {timesteps:?}");
                }
            }
        }
    }

    #[test]
    fn steps_that_do_not_fit_are_refused() {
        let leading = |schedule: &NoiseSchedule, steps| {
            spaced_timesteps(schedule, TimestepSpacing::Leading, steps, false)
                .map_err(|error| error.to_string())
        };
        let plain = schedule(1000, 0);
        let message = "number of sampling steps is 0, expected 1 to 1000";
        assert_eq!(leading(&plain, 0).unwrap_err(), message);
        assert!(leading(&plain, 1001).is_err());
        assert!(leading(&plain, usize::MAX).is_err());
        assert_eq!(leading(&plain, 1000).unwrap().len(), 1000);

        let shifted = schedule(1000, 1);
        assert_eq!(leading(&shifted, 999).unwrap()[0], 999);
        let message = leading(&shifted, 1000).unwrap_err();
        assert!(
            message.contains("`steps_offset` 1 leads to 1000"),
            "{message}"
        );
    }

    #[test]
    fn names_are_the_same_in_files_and_on_the_command_line() {
        for kind in SamplerKind::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(kind.name().parse::<SamplerKind>().unwrap(), kind);
        }
        let error = "euler".parse::<SamplerKind>().unwrap_err();
        let message = "sampler is `euler`, expected one of ddim, dpmpp-2m, dpmpp-2m-karras";
        assert_eq!(error.to_string(), message);
    }
}
