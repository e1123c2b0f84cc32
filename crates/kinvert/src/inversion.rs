//! Learning a motion: the embeddings of a frozen network are fitted to one clip.
//!
//! Source: *Motion Inversion for Video Customization* (arXiv:2403.20193v2), Sec. 3 and Eq. 4. Each step draws
//! a timestep and noise, lets the network predict with the clip's own caption, and moves the embeddings by
//! AdamW. Only the path from the loss back to the earliest site is tracked; no weight has a gradient. The debiased
//! hybrid objective learns a [LoRA](crate::lora) beside them, by an optimiser of its own.
//!
//! What a step draws depends on the seed and its number alone, so a run that was stopped and resumed ends
//! with the same numbers as one that was not (on the CPU bit for bit).

use std::collections::BTreeMap;

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use kinvert_diffusion::{NoiseSchedule, NoiseSource};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{TemporalSite, VideoUNet};

use crate::checkpoint::Checkpoint;
use crate::embedding::{Embedding, SiteEmbeddings, grid_weights};
use crate::error::Error;
use crate::gradient::{
    Activations, LossAndGradients, OwnedHooks, Parameters, Question, loss_and_gradients,
};
use crate::lora::{LearnedLora, LoraDraw, SpatialLora};
use crate::modulation::{
    InputTensors, Integration, MotionModulation, SiteTensors, to_matrix, to_tensor,
};
use crate::objective::Objective;
use crate::optimiser::Optimised;
use crate::projection::Projection;
use crate::settings::InversionSettings;
use kinvert_base::Progress;

/// Steps between two checkpoints.
const CHECKPOINT_EVERY: usize = 10;

/// Label of the random start of embeddings that are concatenated.
const EMBEDDING: &str = "inversion.embedding";

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
    /// The frame that the debiased objectives subtract.
    pub frame: usize,
    /// What the LoRA of the debiased hybrid objective learns from; none in a step that has it off.
    pub lora: Option<LoraDraw>,
}

/// Embeddings that are being learned, and the optimiser's memory of them.
///
/// The embeddings of all sites stand in one list, each followed by its projection if it has one, as
/// `[1, 2 * channels, channels]`, so that each has one place in the optimiser and in a checkpoint.
pub struct Learner<'a, B: TrackingBackend> {
    unet: &'a VideoUNet<B>,
    schedule: &'a NoiseSchedule,
    settings: &'a InversionSettings,
    sites: Vec<LearnedSite<B>>,
    embeddings: Optimised<B::InnerBackend>,
    lora: Option<LearnedLora<B>>,
    losses: Vec<f32>,
    activations: Activations,
}

/// A site and which embeddings it has: query-key, value of `attn1`, value of `attn2`.
struct LearnedSite<B: AutodiffBackend> {
    name: String,
    grid: [usize; 2],
    inputs: [Option<LearnedInput<B>>; 3],
}

/// Where an embedding has its entries.
struct LearnedInput<B: AutodiffBackend> {
    grid: [usize; 2],
    /// Interpolates a coarse grid, `[positions of the site, positions of the embedding]`.
    to_site: Option<Tensor<B, 2>>,
}

impl<B: AutodiffBackend> LearnedInput<B> {
    fn new(grid: [usize; 2], site: [usize; 2], device: &B::Device) -> Self {
        let is_coarse = grid != [1, 1] && grid != site;
        let to_site = is_coarse.then(|| {
            let shape = [site[0] * site[1], grid[0] * grid[1]];
            Tensor::from_data(TensorData::new(grid_weights(grid, site), shape), device)
        });
        Self { grid, to_site }
    }

    /// The embedding at every position of the site, or at the single one that stands for all. The product with
    /// a constant matrix lets gradients through to the coarse entries.
    fn at_site(&self, embedding: Tensor<B, 3>) -> Tensor<B, 3> {
        let Some(to_site) = &self.to_site else {
            return embedding;
        };
        let ([cells, frames, channels], [positions, _]) = (embedding.dims(), to_site.dims());
        let cells = embedding.reshape([cells, frames * channels]);
        to_site
            .clone()
            .matmul(cells)
            .reshape([positions, frames, channels])
    }
}

impl<'a, B: TrackingBackend> Learner<'a, B> {
    /// Starts at the chosen sites, for latents of the given frames, height and width, from embeddings of zero;
    /// from [random ones and projections of zero](crate::projection) if they are concatenated.
    pub fn new(
        unet: &'a VideoUNet<B>,
        schedule: &'a NoiseSchedule,
        settings: &'a InversionSettings,
        sites: &[TemporalSite],
        [frames, height, width]: [usize; 3],
        device: &B::Device,
    ) -> Self {
        let shapes = [settings.query_key, settings.values, settings.values];
        let mut values = Vec::new();
        let mut learned = |site: &TemporalSite| {
            let site_grid = site.grid([height, width]);
            let inputs = shapes.map(|shape| {
                let grid = shape.grid(site_grid)?;
                let shape = [grid[0] * grid[1], frames, site.channels];
                if settings.integration == Integration::Concat {
                    let index = values.len() as u64;
                    let start = NoiseSource::new(settings.seed);
                    let start = start.gaussian(EMBEDDING, index, shape, device);
                    let projection = Tensor::zeros([1, 2 * site.channels, site.channels], device);
                    values.extend([start, projection]);
                } else {
                    values.push(Tensor::zeros(shape, device));
                }
                Some(LearnedInput::new(grid, site_grid, device))
            });
            LearnedSite {
                name: site.name.clone(),
                grid: site_grid,
                inputs,
            }
        };
        let sites = sites.iter().map(&mut learned).collect();
        let is_hybrid = settings.objective == Objective::DebiasedHybrid;
        Self {
            unet,
            schedule,
            settings,
            sites,
            embeddings: Optimised::new(values, settings.learning_rate, settings.weight_decay),
            lora: is_hybrid.then(|| LearnedLora::new(unet, settings, device)),
            losses: Vec::new(),
            activations: Activations::default(),
        }
    }

    /// Chooses what becomes of activations. The gradients are the same.
    pub fn with_activations(mut self, activations: Activations) -> Self {
        self.activations = activations;
        self
    }

    /// Loss of every step so far.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// Loss of the LoRA in every step so far that had it on.
    pub fn lora_losses(&self) -> &[f32] {
        self.lora.as_ref().map_or(&[], LearnedLora::losses)
    }

    /// The LoRA as it is now, if the objective has one.
    pub fn lora(&self) -> Option<SpatialLora> {
        self.lora.as_ref().map(LearnedLora::to_lora)
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
            lora: match &self.lora {
                Some(_) => LoraDraw::of(self.settings, step, shape[2]),
                None => None,
            },
        })
    }

    /// The loss for the current embeddings and its gradient for each of them, in the order query-key, value
    /// of `attn1`, value of `attn2`, site by site, those left out that do not exist. The gradient of a
    /// projection, `[1, 2 * channels, channels]`, comes after that of its embedding.
    pub fn gradients(&self, reference: &Reference<B>, draw: Draw<B>) -> LossAndGradients<B> {
        let (question, target) = self.question(reference, &draw);
        let lora = self.lora.as_ref().filter(|_| draw.lora.is_some());
        let parameters = Parameters {
            values: self.embeddings.values().cloned().collect(),
            paths: self.sites.iter().map(|site| site.name.as_str()).collect(),
            hooks: &|tensors| OwnedHooks {
                temporal: Some(Box::new(self.modulation(tensors))),
                spatial: lora.map(|lora| Box::new(lora.adapter()) as _),
            },
        };
        let objective = self.settings.objective;
        loss_and_gradients(
            self.unet,
            question,
            &parameters,
            |predicted| objective.loss(predicted, target.clone(), draw.frame),
            self.activations,
        )
    }

    /// The loss of the LoRA and its gradient for the matrices of every layer, `A` `[1, rank, in]` and `B`
    /// `[1, out, rank]`; none in a step that has it off.
    pub fn lora_gradients(
        &self,
        reference: &Reference<B>,
        draw: &Draw<B>,
    ) -> Option<LossAndGradients<B>> {
        let (lora, of_lora) = (self.lora.as_ref()?, draw.lora?);
        let (question, target) = self.question(reference, draw);
        Some(lora.gradients(self.unet, question, target, of_lora, self.activations))
    }

    /// What the network is asked in a step, and the answer that it should give.
    fn question(&self, reference: &Reference<B>, draw: &Draw<B>) -> (Question<B>, Tensor<B, 5>) {
        let timesteps = [draw.timestep];
        let (latents, noise) = (reference.latents.clone(), draw.noise.clone());
        let sample = self
            .schedule
            .add_noise(latents.clone(), noise.clone(), &timesteps);
        let question = Question {
            sample,
            timestep: draw.timestep as f64,
            text: reference.caption_states.clone(),
        };
        (question, self.schedule.target(latents, noise, &timesteps))
    }

    /// One step of AdamW for the embeddings.
    pub fn step(&mut self, gradients: Vec<Tensor<B::InnerBackend, 3>>) {
        self.embeddings.step(gradients);
    }

    /// One step of AdamW for the LoRA, if the objective has one.
    pub fn lora_step(&mut self, loss_and_gradients: LossAndGradients<B>) {
        if let Some(lora) = &mut self.lora {
            lora.step(loss_and_gradients);
        }
    }

    /// Runs the steps that are left, of which there are none if there are no embeddings. `save` gets a
    /// checkpoint every few steps and when the user asks to stop.
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
        if self.embeddings.is_empty() {
            progress.note("there are no embeddings to learn: both are off");
            return Ok(());
        }
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
            // Both before either update, so that neither learns from the other's step.
            let of_lora = self.lora_gradients(reference, &draw);
            let (loss, gradients) = self.gradients(reference, draw);
            let lora_loss = of_lora.as_ref().map_or(0.0, |(loss, _)| *loss);
            for (what, loss) in [("the loss", loss), ("the loss of the LoRA", lora_loss)] {
                if !loss.is_finite() {
                    let step = Some(step);
                    return Err(Error::NotFinite { what, step });
                }
            }
            self.step(gradients);
            self.losses.push(loss);
            if let Some(of_lora) = of_lora {
                self.lora_step(of_lora);
            }
            progress.advance(step + 1, &self.losses_text());
            if (step + 1).is_multiple_of(CHECKPOINT_EVERY) {
                save(self.checkpoint())?;
            }
        }
        progress.finish();
        Ok(())
    }

    /// The embeddings as they are now, with their projections.
    pub fn embeddings(&self) -> Vec<SiteEmbeddings> {
        let mut values = self.embeddings.values();
        let is_projected = self.settings.integration == Integration::Concat;
        let site = |site: &LearnedSite<B>| {
            let mut projections = [None, None, None];
            let mut places = projections.iter_mut();
            let [query_key, value1, value2] = site.inputs.each_ref().map(|input| {
                let place = places.next()?;
                let [rows, columns] = input.as_ref()?.grid;
                let value = values.next()?;
                let [_, frames, channels] = value.dims();
                if is_projected {
                    let values = to_floats(values.next()?.clone());
                    *place = Some(Projection::new(channels, values));
                }
                let shape = [rows, columns, frames, channels];
                Some(Embedding::new(shape, to_floats(value.clone())))
            });
            SiteEmbeddings {
                site: site.name.clone(),
                grid: site.grid,
                query_key,
                values: [value1, value2],
                projections,
            }
        };
        self.sites.iter().map(site).collect()
    }

    /// Replaces the embeddings, and forgets what the optimiser remembers.
    ///
    /// # Panics
    /// If they are not those of the learner's sites, or of other shapes.
    pub fn set_embeddings(&mut self, embeddings: &[SiteEmbeddings], device: &B::Device) {
        let mut values = Vec::new();
        for site in embeddings {
            for (embedding, projection) in site.embeddings().into_iter().zip(&site.projections) {
                let embedding = embedding.map(|embedding| to_tensor(embedding, device));
                let projection = projection
                    .as_ref()
                    .map(|projection| to_matrix(projection, device).unsqueeze());
                values.extend(embedding.into_iter().chain(projection));
            }
        }
        let shape = |value: &Tensor<B::InnerBackend, 3>| value.dims();
        let found: Vec<_> = values.iter().map(shape).collect();
        let expected: Vec<_> = self.embeddings.values().map(shape).collect();
        assert_eq!(found, expected, "shapes");
        self.embeddings.start_from(values);
    }

    /// Everything that is needed to go on later.
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            losses: self.losses.clone(),
            tensors: self.embeddings.saved(),
            lora: self.lora.as_ref().map(LearnedLora::saved),
        }
    }

    /// Goes on from a checkpoint. Returns whether it fits this learner; if not, nothing changes.
    pub fn resume(&mut self, checkpoint: Checkpoint, device: &B::Device) -> bool {
        let steps = checkpoint.losses.len();
        let lora_fits = match (&self.lora, &checkpoint.lora) {
            (Some(lora), Some(saved)) => saved.losses.len() <= steps && lora.fits(saved),
            (None, None) => true,
            _ => false,
        };
        let fits = lora_fits
            && steps <= self.settings.steps
            && self.embeddings.fits(&checkpoint.tensors, steps);
        if !fits {
            return false;
        }
        self.embeddings.restore(checkpoint.tensors, steps, device);
        if let (Some(lora), Some(saved)) = (&mut self.lora, checkpoint.lora) {
            lora.restore(saved, device);
        }
        self.losses = checkpoint.losses;
        true
    }

    /// The losses of late, for people.
    fn losses_text(&self) -> String {
        let text = format!("loss {:.4}", recent_mean(&self.losses));
        match self.lora_losses() {
            [] => text,
            losses => format!("{text}, of the LoRA {:.4}", recent_mean(losses)),
        }
    }

    fn modulation(&self, tensors: &[Tensor<B, 3>]) -> MotionModulation<B> {
        let mut tensors = tensors.iter();
        let site = |site: &LearnedSite<B>| {
            let [query_key, value1, value2] = site.inputs.each_ref().map(|input| {
                let input = input.as_ref()?;
                let embedding = input.at_site(tensors.next()?.clone());
                let projection = match self.settings.integration {
                    Integration::Concat => Some(tensors.next()?.clone().squeeze_dim(0)),
                    _ => None,
                };
                Some(InputTensors {
                    embedding,
                    projection,
                })
            });
            let tensors = SiteTensors {
                query_key,
                values: [value1, value2],
            };
            (site.name.clone(), tensors)
        };
        MotionModulation {
            integration: self.settings.integration,
            sites: self.sites.iter().map(site).collect::<BTreeMap<_, _>>(),
        }
    }
}

/// Mean of the last losses: single ones jump with the timestep that was drawn.
fn recent_mean(losses: &[f32]) -> f32 {
    let recent = &losses[losses.len().saturating_sub(20)..];
    recent.iter().sum::<f32>() / recent.len().max(1) as f32
}

/// The values of a tensor, row-major.
pub(crate) fn to_floats<B: burn::tensor::backend::Backend, const D: usize>(
    tensor: Tensor<B, D>,
) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
