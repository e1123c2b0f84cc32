//! Learning a motion: the embeddings of a frozen network are fitted to one clip.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), Sec. 3 and Eq. 4. Each step draws
//! a timestep and noise, lets the network predict with the clip's own caption, and moves the embeddings by
//! AdamW. Only the path from the loss back to the earliest site is tracked; no weight has a gradient.
//!
//! What a step draws depends on the seed and its number alone, so a run that was stopped and resumed ends
//! with the same numbers as one that was not (on the CPU bit for bit).

use std::collections::BTreeMap;

use burn::optim::{AdamWConfig, SimpleOptimizer};
use burn::optim::{AdamWState, AdaptiveMomentumState};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use kinvert_diffusion::{NoiseSchedule, NoiseSource};
use kinvert_nets::UNet3DCondition;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::unet3d::TemporalSite;

use crate::checkpoint::{Checkpoint, SavedTensor};
use crate::embedding::{Embedding, SiteEmbeddings};
use crate::error::Error;
use crate::modulation::{MotionModulation, SiteTensors, to_tensor};
use crate::settings::InversionSettings;
use kinvert_base::Progress;

/// Betas and epsilon of AdamW: those of PyTorch, with which the method was published.
const BETAS: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Steps between two checkpoints.
const CHECKPOINT_EVERY: usize = 10;

/// Labels of the random draws of a step.
const NOISE: &str = "inversion.noise";
const TIMESTEP: &str = "inversion.timestep";
const FRAME: &str = "inversion.frame";

/// The clip that a motion is learned from, as the network sees it.
#[derive(Debug, Clone)]
pub struct Reference<B: AutodiffBackend> {
    /// Latents, `[1, channels, frames, height, width]`.
    pub latents: Tensor<B, 5>,
    /// Text states of the caption, `[1, text tokens, channels]`.
    pub caption_states: Tensor<B, 3>,
}

/// One random draw of a step.
#[derive(Debug, Clone)]
pub struct Draw<B: AutodiffBackend> {
    /// The timestep.
    pub timestep: usize,
    /// The noise, of the latents' shape.
    pub noise: Tensor<B, 5>,
    /// The frame that the debiased objective subtracts.
    pub frame: usize,
}

/// Embeddings that are being learned, and the optimiser's memory of them.
///
/// The three embeddings of every site stand in one list, so that each has one place in the optimiser and in
/// a checkpoint.
pub struct Learner<'a, B: TrackingBackend> {
    unet: &'a UNet3DCondition<B>,
    schedule: &'a NoiseSchedule,
    settings: &'a InversionSettings,
    sites: Vec<LearnedSite>,
    parameters: Vec<Parameter<B>>,
    losses: Vec<f32>,
}

struct LearnedSite {
    name: String,
    grid: [usize; 2],
}

/// One embedding under optimisation.
struct Parameter<B: AutodiffBackend> {
    value: Tensor<B::InnerBackend, 3>,
    state: Option<AdamWState<B::InnerBackend, 3>>,
}

/// Embeddings per site: query-key, value of `attn1`, value of `attn2`.
const PER_SITE: usize = 3;

impl<'a, B: TrackingBackend> Learner<'a, B> {
    /// Starts from embeddings of zero at the chosen sites, for latents of the given frames, height and width.
    pub fn new(
        unet: &'a UNet3DCondition<B>,
        schedule: &'a NoiseSchedule,
        settings: &'a InversionSettings,
        sites: &[TemporalSite],
        [frames, height, width]: [usize; 3],
        device: &B::Device,
    ) -> Self {
        let zeros = |positions, channels| Parameter {
            value: Tensor::zeros([positions, frames, channels], device),
            state: None,
        };
        let grid = |site: &TemporalSite| site.grid([height, width]);
        Self {
            unet,
            schedule,
            settings,
            sites: sites
                .iter()
                .map(|s| LearnedSite {
                    name: s.name.clone(),
                    grid: grid(s),
                })
                .collect(),
            parameters: sites
                .iter()
                .flat_map(|site| {
                    let [rows, columns] = grid(site);
                    [1, rows * columns, rows * columns]
                        .map(|positions| zeros(positions, site.channels))
                })
                .collect(),
            losses: Vec::new(),
        }
    }

    /// Loss of every step so far.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// What step `step` draws.
    ///
    /// # Errors
    /// If the range of timesteps does not fit the schedule.
    pub fn draw(
        &self,
        step: usize,
        shape: [usize; 5],
        device: &B::Device,
    ) -> Result<Draw<B>, Error> {
        let source = NoiseSource::new(self.settings.seed);
        let timesteps = self
            .settings
            .timesteps
            .within(self.schedule.num_train_timesteps())?;
        Ok(Draw {
            timestep: source.uniform_int(TIMESTEP, step as u64, timesteps),
            noise: source.gaussian(NOISE, step as u64, shape, device),
            frame: source.uniform_int(FRAME, step as u64, 0..shape[2]),
        })
    }

    /// The loss for the current embeddings and its gradient for each of them, in the order query-key, value
    /// of `attn1`, value of `attn2`, site by site.
    pub fn gradients(
        &self,
        reference: &Reference<B>,
        draw: Draw<B>,
    ) -> (f32, Vec<Tensor<B::InnerBackend, 3>>) {
        let tracked: Vec<Tensor<B, 3>> = self
            .parameters
            .iter()
            .map(|parameter| Tensor::from_inner(parameter.value.clone()).require_grad())
            .collect();
        let modulation = self.modulation(&tracked);
        let timesteps = [draw.timestep];
        let latents = reference.latents.clone();
        let noisy = self
            .schedule
            .add_noise(latents.clone(), draw.noise.clone(), &timesteps);
        let target = self.schedule.target(latents, draw.noise, &timesteps);
        let predicted = self.unet.forward(
            noisy,
            &[draw.timestep as f64],
            reference.caption_states.clone(),
            Some(&modulation),
        );
        let loss = self.settings.objective.loss(predicted, target, draw.frame);
        let value = scalar(loss.clone());
        let mut gradients = loss.backward();
        let gradient = |tensor: &Tensor<B, 3>| match tensor.grad_remove(&mut gradients) {
            Some(gradient) => gradient,
            None => tensor.clone().inner().zeros_like(),
        };
        (value, tracked.iter().map(gradient).collect())
    }

    /// One step of AdamW.
    pub fn step(&mut self, gradients: Vec<Tensor<B::InnerBackend, 3>>) {
        let adamw = AdamWConfig::new()
            .with_beta_1(BETAS.0)
            .with_beta_2(BETAS.1)
            .with_epsilon(EPSILON)
            .with_weight_decay(self.settings.weight_decay as f32)
            .build();
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            let (value, state) = SimpleOptimizer::<B::InnerBackend>::step(
                &adamw,
                self.settings.learning_rate,
                parameter.value.clone(),
                gradient,
                parameter.state.take(),
            );
            *parameter = Parameter { value, state };
        }
    }

    /// Runs the steps that are left. `save` gets a checkpoint every few steps and when the user asks to
    /// stop.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the user asked to stop, [`Error::NotFinite`] when the loss is no number,
    /// and whatever `save` returns.
    pub fn run(
        &mut self,
        reference: &Reference<B>,
        mut save: impl FnMut(Checkpoint) -> Result<(), Error>,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let shape = reference.latents.dims();
        let device = reference.latents.device();
        progress.start("learning the motion", self.settings.steps);
        progress.advance(self.losses.len(), "");
        for step in self.losses.len()..self.settings.steps {
            if progress.is_cancelled() {
                save(self.checkpoint())?;
                return Err(Error::Cancelled);
            }
            let draw = self.draw(step, shape, &device)?;
            let (loss, gradients) = self.gradients(reference, draw);
            if !loss.is_finite() {
                return Err(Error::NotFinite {
                    what: "the loss",
                    step: Some(step),
                });
            }
            self.step(gradients);
            self.losses.push(loss);
            progress.advance(step + 1, &format!("loss {:.4}", recent_mean(&self.losses)));
            if (step + 1).is_multiple_of(CHECKPOINT_EVERY) {
                save(self.checkpoint())?;
            }
        }
        progress.finish();
        Ok(())
    }

    /// The embeddings as they are now.
    pub fn embeddings(&self) -> Vec<SiteEmbeddings> {
        let numbers = |parameter: &Parameter<B>| {
            Embedding::new(parameter.value.dims(), to_floats(parameter.value.clone()))
        };
        let per_site = self.parameters.chunks(PER_SITE);
        self.sites
            .iter()
            .zip(per_site)
            .map(|(site, parameters)| SiteEmbeddings {
                site: site.name.clone(),
                grid: site.grid,
                query_key: numbers(&parameters[0]),
                values: [numbers(&parameters[1]), numbers(&parameters[2])],
            })
            .collect()
    }

    /// Replaces the embeddings, and forgets what the optimiser remembers.
    ///
    /// # Panics
    /// If they are not those of the learner's sites.
    pub fn set_embeddings(&mut self, embeddings: &[SiteEmbeddings], device: &B::Device) {
        assert_eq!(embeddings.len(), self.sites.len(), "number of sites");
        self.parameters = embeddings
            .iter()
            .flat_map(|site| [&site.query_key, &site.values[0], &site.values[1]])
            .map(|embedding| Parameter {
                value: to_tensor(embedding, device),
                state: None,
            })
            .collect();
    }

    /// Everything that is needed to go on later.
    fn checkpoint(&self) -> Checkpoint {
        let tensors = self.parameters.iter().map(|parameter| {
            let moments = parameter.state.as_ref().map(|state| &state.momentum);
            SavedTensor {
                shape: parameter.value.dims(),
                value: to_floats(parameter.value.clone()),
                moments: moments
                    .map(|m| [to_floats(m.moment_1.clone()), to_floats(m.moment_2.clone())]),
            }
        });
        Checkpoint {
            losses: self.losses.clone(),
            tensors: tensors.collect(),
        }
    }

    /// Goes on from a checkpoint. Returns whether it fits this learner; if not, nothing changes.
    pub fn resume(&mut self, checkpoint: Checkpoint, device: &B::Device) -> bool {
        let steps = checkpoint.losses.len();
        let fits = checkpoint.tensors.len() == self.parameters.len()
            && steps <= self.settings.steps
            && checkpoint
                .tensors
                .iter()
                .zip(&self.parameters)
                .all(|(saved, parameter)| {
                    saved.shape == parameter.value.dims() && saved.moments.is_some() == (steps > 0)
                });
        if !fits {
            return false;
        }
        let restore = |saved: SavedTensor| {
            let tensor = |values| to_tensor(&Embedding::new(saved.shape, values), device);
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
        self.parameters = checkpoint.tensors.into_iter().map(restore).collect();
        self.losses = checkpoint.losses;
        true
    }

    fn modulation(&self, tensors: &[Tensor<B, 3>]) -> MotionModulation<B> {
        let sites = self
            .sites
            .iter()
            .zip(tensors.chunks(PER_SITE))
            .map(|(site, tensors)| {
                let tensors = SiteTensors {
                    query_key: Some(tensors[0].clone()),
                    values: [Some(tensors[1].clone()), Some(tensors[2].clone())],
                };
                (site.name.clone(), tensors)
            });
        MotionModulation {
            integration: self.settings.integration,
            sites: sites.collect::<BTreeMap<_, _>>(),
        }
    }
}

/// Mean of the last losses: single ones jump with the timestep that was drawn.
fn recent_mean(losses: &[f32]) -> f32 {
    let recent = &losses[losses.len().saturating_sub(20)..];
    recent.iter().sum::<f32>() / recent.len().max(1) as f32
}

fn scalar<B: AutodiffBackend>(loss: Tensor<B, 1>) -> f32 {
    loss.into_data()
        .convert::<f32>()
        .iter::<f32>()
        .next()
        .unwrap_or(f32::NAN)
}

/// The values of a tensor, row-major.
pub(crate) fn to_floats<B: burn::tensor::backend::Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
