//! The denoising network, on single frames or on clips.
//!
//! Sources: *Denoising Diffusion Probabilistic Models* (arXiv:2006.11239) for the objective, *Classifier-Free Diffusion
//! Guidance* (arXiv:2207.12598) for captions that are left out, *Efficient Diffusion Training via Min-SNR Weighting
//! Strategy* (arXiv:2303.09556) for the weights of timesteps.

use std::num::NonZeroUsize;

use burn::tensor::{Tensor, TensorData};
use image::RgbImage;
use kinvert_diffusion::{
    Guidance, NoiseSchedule, NoiseSource, PredictionType, SamplerKind, SchedulerConfig,
};
use kinvert_nets::autoencoder_kl::Slices;
use kinvert_nets::clip::{CLIPTextModel, CLIPTokenizer};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{AutoencoderKL, Hooks, ModelFiles, Precision, VideoUNet, state};
use kinvert_video::{Clip, contact_sheet};
use kinvert_world::{FPS, FRAMES, Look, Scene};
use rayon::prelude::*;

use super::captions::{number_of, token_ids};
use super::data::{Draws, SceneFrame, pictures, pixels, rendered};
use super::lesson::{Examination, Lesson, PartFile, Plain};
use crate::{Error, held_out_scene};

/// Share of draws whose caption is left out.
const DROPPED_CAPTIONS: f64 = 0.1;

/// Ratio of signal to noise above which a timestep weighs no more.
const MAX_SNR: f64 = 5.0;

/// Frames that go through the autoencoder at once.
const SLICES: Slices = Slices::of(NonZeroUsize::new(16).unwrap());

/// Clips, each at [`EXAMINED_TIMESTEPS`], of an examination.
const EXAMINED: usize = 8;

/// Timesteps of an examination.
const EXAMINED_TIMESTEPS: [usize; 4] = [150, 400, 650, 900];

/// Captions, by number, that a sample sheet shows, and how. Single frames are sooner made, so they are more.
const SAMPLED: [usize; 3] = [5, 107, 236];
const SAMPLED_FRAMES: usize = 40;
const SAMPLING_STEPS: usize = 15;
const GUIDANCE: f64 = 5.0;

/// The lesson; see the [module docs](self).
pub struct UNetLesson<B: TrackingBackend> {
    draws: Draws,
    /// Whether a draw is one frame, not a clip.
    single_frames: bool,
    vae: AutoencoderKL<B::InnerBackend>,
    schedule: NoiseSchedule,
    /// Text states of all captions and, last, of the empty one: `[241, tokens, channels]`.
    texts: Tensor<B::InnerBackend, 3>,
    device: B::Device,
}

impl<B: TrackingBackend> UNetLesson<B> {
    /// What `unet/` of a model is trained with: its other parts.
    ///
    /// # Errors
    /// If one of them cannot be loaded.
    pub fn new(
        model: &ModelFiles,
        draws: Draws,
        single_frames: bool,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let tokenizer = CLIPTokenizer::load(&model.part("tokenizer"))?;
        let text_encoder =
            CLIPTextModel::load(&model.part("text_encoder"), device, Precision::F32)?;
        tokenizer.check_fits(text_encoder.config())?;
        let captions = Look::all().map(|look| look.caption());
        let ids = token_ids(&tokenizer, captions.chain([String::new()]), device);
        let scheduler = model.part("scheduler");
        const SCHEDULER: &str = "scheduler_config.json";
        let config =
            SchedulerConfig::from_json(&scheduler.read(SCHEDULER)?, &scheduler.label(SCHEDULER))?;
        Ok(Self {
            draws,
            single_frames,
            vae: AutoencoderKL::load(&model.part("vae"), device, Precision::F32)?,
            schedule: NoiseSchedule::new(&config)?,
            texts: text_encoder.forward(ids).last_hidden_state,
            device: device.clone(),
        })
    }

    /// What is shown in a step: pictures, scene after scene, and how many of each.
    fn pictures(&self, step: usize) -> (Vec<Look>, Vec<RgbImage>, usize) {
        match self.single_frames {
            true => {
                let frames = self.draws.frames(step);
                let looks = frames.iter().map(|frame| frame.scene.look).collect();
                (looks, rendered(&frames), 1)
            }
            false => {
                let scenes = self.draws.scenes(step);
                let looks = scenes.iter().map(|scene| scene.look).collect();
                (looks, clips(&scenes), FRAMES)
            }
        }
    }

    /// Scaled latents `[clips, channels, frames, height, width]` of pictures, `frames` of each clip.
    fn latents(&self, pictures: &[RgbImage], frames: usize) -> Tensor<B::InnerBackend, 5> {
        let images = pixels::<B::InnerBackend>(pictures, &self.device);
        let [count, channels, height, width] = images.dims();
        let clips = images
            .reshape([count / frames, frames, channels, height, width])
            .swap_dims(1, 2);
        self.vae.encode_clip(clips, SLICES, &mut |_, _| {})
    }

    /// Text states `[captions, tokens, channels]` of captions by number.
    fn states(&self, numbers: &[usize]) -> Tensor<B::InnerBackend, 3> {
        let numbers: Vec<i64> = numbers.iter().map(|number| *number as i64).collect();
        let length = numbers.len();
        let numbers = Tensor::from_data(TensorData::new(numbers, [length]), &self.device);
        self.texts.clone().select(0, numbers)
    }

    /// The number of the caption that says nothing.
    fn no_caption(&self) -> usize {
        self.texts.dims()[0] - 1
    }

    /// The factor of a timestep's squared error.
    fn weight(&self, timestep: usize) -> f32 {
        let signal = self.schedule.alphas_cumprod()[timestep];
        let snr = signal / (1.0 - signal);
        let weight = match self.schedule.prediction_type() {
            PredictionType::Epsilon => snr.min(MAX_SNR) / snr,
            PredictionType::VPrediction => snr.min(MAX_SNR) / (snr + 1.0),
        };
        weight as f32
    }

    /// Clips for captions by number, `[clips, channels, frames, height, width]`, scaled latents.
    fn sample(
        &self,
        network: &VideoUNet<B::InnerBackend>,
        captions: &[usize],
        frames: usize,
    ) -> Result<Tensor<B::InnerBackend, 5>, Error> {
        let guidance = Guidance::new(GUIDANCE)?;
        let mut sampler = SamplerKind::Ddim.build(&self.schedule, SAMPLING_STEPS)?;
        let [height, width] = self.latent_size();
        let shape = [
            captions.len(),
            self.vae.latent_channels(),
            frames,
            height,
            width,
        ];
        let mut latents = NoiseSource::new(0).gaussian("sheet", 0, shape, &self.device);
        let nothing = vec![self.no_caption(); captions.len()];
        let states = Tensor::cat(vec![self.states(&nothing), self.states(captions)], 0);
        for index in 0..sampler.steps() {
            let timestep = sampler.timesteps()[index] as f64;
            let both = latents.clone().repeat_dim(0, 2);
            let output = network.forward(both, &[timestep], states.clone(), Hooks::default());
            latents = sampler.step(guidance.combine_halves(output), index, latents);
        }
        Ok(latents)
    }

    /// Clips of some captions, one below the other.
    fn sheet_of_clips(&self, network: &VideoUNet<B::InnerBackend>) -> Result<RgbImage, Error> {
        let captions: Vec<String> = Look::all().map(|look| look.caption()).collect();
        let decoded = self.decoded(self.sample(network, &SAMPLED, FRAMES)?);
        let clips = decoded
            .chunks(FRAMES)
            .map(|frames| Clip::new(frames.to_vec(), f64::from(FPS)))
            .collect::<Result<Vec<_>, _>>()?;
        let labels = SAMPLED.iter().map(|number| captions[*number].as_str());
        let rows: Vec<(&str, &Clip)> = labels.zip(&clips).collect();
        Ok(contact_sheet(&rows, 8)?)
    }

    /// Single frames of captions from all over the list, eight in a row.
    fn sheet_of_frames(&self, network: &VideoUNet<B::InnerBackend>) -> Result<RgbImage, Error> {
        let captions: Vec<usize> = (0..SAMPLED_FRAMES)
            .map(|index| index * self.no_caption() / SAMPLED_FRAMES)
            .collect();
        let decoded = self.decoded(self.sample(network, &captions, 1)?);
        let rows = decoded
            .chunks(8)
            .map(|frames| Clip::new(frames.to_vec(), f64::from(FPS)))
            .collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<(&str, &Clip)> = rows.iter().map(|row| ("", row)).collect();
        Ok(contact_sheet(&rows, 8)?)
    }

    fn latent_size(&self) -> [usize; 2] {
        [kinvert_world::SIZE as usize / self.vae.spatial_compression(); 2]
    }

    /// Pictures of clips of scaled latents, clip after clip.
    fn decoded(&self, latents: Tensor<B::InnerBackend, 5>) -> Vec<RgbImage> {
        let latents = self.vae.unscale_latents(latents);
        let clips = self.vae.decode_frames(latents, SLICES, &mut |_, _| {});
        let [batch, channels, frames, height, width] = clips.dims();
        pictures(
            clips
                .swap_dims(1, 2)
                .reshape([batch * frames, channels, height, width]),
        )
    }

    /// The mean squared error on held-out clips, weighted as in training.
    fn held_out_loss(&self, network: &VideoUNet<B::InnerBackend>) -> f64 {
        let mut sum = 0.0;
        for index in 0..EXAMINED as u64 {
            let scene = held_out_scene(index);
            let (pictures, frames) = match self.single_frames {
                true => (rendered(&[SceneFrame { scene, frame: 7 }]), 1),
                false => (clips(&[scene]), FRAMES),
            };
            let latents = self.latents(&pictures, frames);
            let states = self.states(&[number_of(scene.look)]);
            for timestep in EXAMINED_TIMESTEPS {
                let noise = NoiseSource::new(1).gaussian(
                    "held out",
                    index * 1000 + timestep as u64,
                    latents.dims(),
                    &self.device,
                );
                let noisy = self
                    .schedule
                    .add_noise(latents.clone(), noise.clone(), &[timestep]);
                let target = self.schedule.target(latents.clone(), noise, &[timestep]);
                let output =
                    network.forward(noisy, &[timestep as f64], states.clone(), Hooks::default());
                let error = (output - target).square().mean().into_data();
                let error = error.iter::<f64>().next().unwrap_or(f64::NAN);
                sum += error * f64::from(self.weight(timestep));
            }
        }
        sum / (EXAMINED * EXAMINED_TIMESTEPS.len()) as f64
    }
}

/// The pictures of scenes, scene after scene.
fn clips(scenes: &[Scene]) -> Vec<RgbImage> {
    scenes
        .par_iter()
        .flat_map_iter(|scene| scene.render())
        .collect()
}

impl<B: TrackingBackend> Lesson<B> for UNetLesson<B> {
    type Network = VideoUNet<B>;

    fn loss(&self, network: &Self::Network, step: usize) -> Tensor<B, 1> {
        let (looks, pictures, frames) = self.pictures(step);
        let latents = self.latents(&pictures, frames);
        let source = self.draws.source();
        let indices: Vec<u64> = self.draws.indices(step).collect();
        let captions: Vec<usize> = looks
            .into_iter()
            .zip(&indices)
            .map(|(look, index)| match source.uniform("caption", *index) {
                draw if draw < DROPPED_CAPTIONS => self.no_caption(),
                _ => number_of(look),
            })
            .collect();
        let range = 0..self.schedule.num_train_timesteps();
        let timesteps: Vec<usize> = indices
            .iter()
            .map(|index| source.uniform_int("timestep", *index, range.clone()))
            .collect();
        let noise = source.gaussian("noise", step as u64, latents.dims(), &self.device);
        let noisy = self
            .schedule
            .add_noise(latents.clone(), noise.clone(), &timesteps);
        let target = self.schedule.target(latents, noise, &timesteps);
        let weights: Vec<f32> = timesteps
            .iter()
            .map(|timestep| self.weight(*timestep))
            .collect();
        let times: Vec<f64> = timesteps.iter().map(|timestep| *timestep as f64).collect();

        let output = network.forward(
            Tensor::from_inner(noisy),
            &times,
            Tensor::from_inner(self.states(&captions)),
            Hooks::default(),
        );
        let batch = weights.len();
        let weights = Tensor::<B, 2>::from_data(TensorData::new(weights, [batch, 1]), &self.device);
        let squares = (output - Tensor::from_inner(target)).square();
        let errors = squares.flatten::<2>(1, 4).mean_dim(1); // [batch, 1]
        (errors * weights).mean()
    }

    fn examine(&self, network: &Plain<B, Self>) -> Result<Examination, Error> {
        Ok(Examination {
            measure: "held-out loss",
            value: self.held_out_loss(network),
            sheet: Some(match self.single_frames {
                true => self.sheet_of_frames(network)?,
                false => self.sheet_of_clips(network)?,
            }),
        })
    }

    fn files(&self, network: &Plain<B, Self>) -> Result<Vec<PartFile>, Error> {
        Ok(vec![PartFile::Weights(
            "unet/diffusion_pytorch_model.safetensors",
            state(network),
        )])
    }
}
