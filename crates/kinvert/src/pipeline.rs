//! A base model, loaded: from words and pixels to latents and back, and the two things the method does with
//! it, learning a motion and replaying one.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use kinvert_diffusion::{DdimInversion, Guidance, NoiseSchedule, NoiseSource, Sampler};
use kinvert_nets::autoencoder_kl::Slices;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::{AutoencoderKL, Hooks, TemporalSite, VideoUNet, VideoUNetConfig};
use kinvert_video::Clip;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::embedding::{Debias, Embedding, SiteEmbeddings};
use crate::error::Error;
use crate::gradient::Activations;
use crate::import::read_published_embeddings;
use crate::inversion::{Learner, Reference, to_floats};
use crate::lora::{LoraAdapter, LoraId, SpatialLora};
use crate::modulation::MotionModulation;
use crate::motion::{Array, ModelId, Motion, MotionMetadata};
use crate::pixels;
use crate::plan::{ClipShape, ModelCost, usable};
use crate::projection::Projection;
use crate::published::PublishedClip;
use crate::settings::{
    Contribution, GenerationSettings, InversionSettings, MotionKind, Recommendations,
};
use crate::source::{LoadOptions, ModelSource};
use crate::text::TextEncoder;
use crate::workspace::{INVERTED_LATENTS, LATENTS, Workspace};
use kinvert_base::Progress;

/// Frames that the autoencoder works on at a time, so that its memory does not grow with the clip. With more, features of
/// small frames leave the processor's cache; with one, there is little for several threads.
const VAE_FRAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Sides of the tiles of large frames, in latents, where memory is short: 512 pixels, as the reference library has it.
const VAE_TILE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Latents of a frame beyond which it is large: as many as two tiles have.
const LARGE_FRAME: usize = 2 * 64 * 64;

/// How much of a clip whose latents are `[height, width]` the autoencoder works on at a time.
pub(crate) fn vae_slices(low_memory: bool, [height, width]: [usize; 2]) -> Slices {
    if !low_memory {
        return Slices::of(VAE_FRAMES);
    }
    Slices {
        tile: (height * width > LARGE_FRAME).then_some(VAE_TILE),
        ..Slices::of(NonZeroUsize::MIN)
    }
}

/// Label of the noise that generation starts from.
const START_NOISE: &str = "generation.noise";

type Inner<B> = <B as AutodiffBackend>::InnerBackend;

/// A base model on one device.
///
/// The network exists twice over the same weights: plain, for everything that needs no gradients, and on the
/// tracking backend, for learning.
pub struct Pipeline<B: TrackingBackend> {
    id: ModelId,
    recommendations: Recommendations,
    text: TextEncoder<Inner<B>>,
    vae: AutoencoderKL<Inner<B>>,
    unet_config: VideoUNetConfig,
    unet: VideoUNet<Inner<B>>,
    tracked_unet: VideoUNet<B>,
    schedule: NoiseSchedule,
    lora: Option<(LoraId, SpatialLora)>,
    cost: ModelCost,
    options: LoadOptions,
    device: B::Device,
}

impl<B: TrackingBackend> Pipeline<B> {
    /// Loads every part of a base model onto a device.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the parts do not belong to each other.
    pub fn load(
        source: &ModelSource,
        options: &LoadOptions,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let files = &source.pipeline;
        let unet_config = source.unet_config()?;
        let recommendations = source.recommendations()?;
        let id = ModelId {
            name: recommendations
                .name
                .clone()
                .unwrap_or_else(|| source.name()),
            sha256: source.sha256()?,
        };
        let scheduler = source.scheduler(&unet_config)?;
        let cost = ModelCost::read_on::<B>(source, options, device)?;
        let adapter = source.motion_adapter()?;
        let (_, tracked_unet) =
            VideoUNet::<B>::load_with(&source.unet(), adapter.as_ref(), device, options.precision)?;
        let pipeline = Self {
            id,
            recommendations,
            text: TextEncoder::load(
                &source.tokenizer()?,
                files.part("text_encoder"),
                options.precision,
                device,
            )?,
            vae: AutoencoderKL::load(&files.part("vae"), device, options.precision)?,
            unet_config,
            unet: tracked_unet.valid(),
            tracked_unet,
            schedule: NoiseSchedule::new(&scheduler)?,
            lora: None,
            cost,
            options: *options,
            device: device.clone(),
        };
        pipeline.check_parts(source)?;
        Ok(pipeline)
    }

    fn check_parts(&self, source: &ModelSource) -> Result<(), Error> {
        let unet = || source.unet().label("config.json");
        let (wanted, found) = (
            self.text.config().hidden_size,
            self.unet_config.cross_attention_dim(),
        );
        if wanted != found {
            return Err(Error::PartsDoNotFit {
                path: unet(),
                field: "cross_attention_dim",
                found: found.to_string(),
                expected: format!("{wanted}, the width of the text encoder"),
            });
        }
        let channels = self.vae.latent_channels();
        let [in_channels, out_channels] = self.unet_config.latent_channels();
        for (field, found) in [("in_channels", in_channels), ("out_channels", out_channels)] {
            if found != channels {
                return Err(Error::PartsDoNotFit {
                    path: unet(),
                    field,
                    found: found.to_string(),
                    expected: format!("{channels}, the latent channels of the autoencoder"),
                });
            }
        }
        Ok(())
    }

    /// What identifies the model.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// What the model's folder recommends; the published settings if it says nothing.
    pub fn recommendations(&self) -> &Recommendations {
        &self.recommendations
    }

    /// Every temporal transformer block of the network, in the order of a forward pass.
    pub fn sites(&self) -> Vec<TemporalSite> {
        self.unet_config.sites()
    }

    /// The noise schedule.
    pub fn schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// The network on the plain backend.
    pub fn unet(&self) -> &VideoUNet<Inner<B>> {
        &self.unet
    }

    /// The network on the tracking backend, over the same weights.
    pub fn tracked_unet(&self) -> &VideoUNet<B> {
        &self.tracked_unet
    }

    /// The device.
    pub fn device(&self) -> &B::Device {
        &self.device
    }

    /// Frames per second that clips of this model have.
    pub fn fps(&self) -> f64 {
        self.recommendations.fps.unwrap_or(self.published().fps)
    }

    /// Frames that clips of this model have at most, unless asked otherwise.
    pub fn frames(&self) -> usize {
        self.recommendations
            .frames
            .unwrap_or(self.published().frames)
    }

    /// Width and height for a clip of the given width and height: what the model recommends, else the size of
    /// the same shape whose area is the published one, in steps that the network can halve without rounding.
    pub fn size_for(&self, [width, height]: [usize; 2]) -> [usize; 2] {
        if let Some(size) = self.recommendations.size {
            return size;
        }
        let step = self.vae.spatial_compression() << (self.unet_config.levels() - 1);
        let aspect = width as f64 / height as f64;
        let area = self.published().area();
        let ideal = [(area * aspect).sqrt(), (area / aspect).sqrt()];
        ideal.map(|side| ((side / step as f64).round() as usize).max(1) * step)
    }

    /// What clips are like where the model's folder does not say.
    fn published(&self) -> PublishedClip {
        PublishedClip::of(&self.unet_config)
    }

    /// Refuses more frames than the network knows the positions of.
    fn check_frames(&self, frames: usize) -> Result<(), Error> {
        match self.unet_config.max_frames() {
            Some(most) if frames > most => {
                let expected = format!("at most {most}, which the motion modules were trained for");
                Err(Error::setting("frames", frames, expected))
            }
            _ => Ok(()),
        }
    }

    /// Height and width of the latents of a clip of `[width, height]` pixels.
    ///
    /// # Errors
    /// If the autoencoder cannot halve the size often enough.
    pub fn latent_size(&self, [width, height]: [usize; 2]) -> Result<[usize; 2], Error> {
        self.vae.latent_size([height, width]).ok_or_else(|| {
            let step = self.vae.spatial_compression();
            Error::setting(
                "size",
                format!("{width}x{height}"),
                format!("multiples of {step}"),
            )
        })
    }

    /// States of a prompt, `[1, text tokens, channels]`. A prompt that is too long is cut short with a note.
    ///
    /// # Errors
    /// If the text encoder was let go meanwhile and its files are no longer there.
    pub fn text_states(
        &self,
        prompt: &str,
        progress: &mut dyn Progress,
    ) -> Result<Tensor<Inner<B>, 3>, Error> {
        self.text.states(prompt, progress)
    }

    /// Latents of a clip, `[1, channels, frames, height, width]`, scaled for the network. The mean of the
    /// autoencoder's distribution is taken, so nothing here is random.
    ///
    /// # Errors
    /// If the autoencoder cannot halve the clip's size often enough.
    pub fn encode_clip(
        &self,
        clip: &Clip,
        progress: &mut dyn Progress,
    ) -> Result<Tensor<Inner<B>, 5>, Error> {
        let latent_size = self.latent_size([clip.width() as usize, clip.height() as usize])?;
        let slices = vae_slices(self.options.low_memory, latent_size);
        progress.start("encoding the clip", clip.len());
        let frames = pixels::to_tensor(clip, &self.device);
        let latents = self
            .vae
            .encode_clip(frames, slices, &mut |done, _| progress.advance(done, ""));
        progress.finish();
        Ok(latents)
    }

    /// The clip of latents `[1, channels, frames, height, width]`.
    ///
    /// # Errors
    /// If the network's result is not finite.
    pub fn decode_latents(
        &self,
        latents: Tensor<Inner<B>, 5>,
        fps: f64,
        progress: &mut dyn Progress,
    ) -> Result<Clip, Error> {
        progress.start("decoding the clip", latents.dims()[2]);
        let [_, _, _, height, width] = latents.dims();
        let slices = vae_slices(self.options.low_memory, [height, width]);
        let decoded = self
            .vae
            .decode_clip(latents, slices, &mut |done, _| progress.advance(done, ""));
        let clip = pixels::to_clip(decoded, fps)?;
        progress.finish();
        Ok(clip)
    }

    /// Runs the sampler backwards from clean latents with an empty prompt and without guidance: the noise
    /// from which they would come.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the user asked to stop; if the schedule has no such number of steps.
    pub fn ddim_inversion(
        &self,
        latents: Tensor<Inner<B>, 5>,
        steps: usize,
        progress: &mut dyn Progress,
    ) -> Result<Tensor<Inner<B>, 5>, Error> {
        let mut inversion = DdimInversion::new(&self.schedule, steps)?;
        let text = self.text_states("", progress)?;
        self.walk(
            &mut inversion,
            "inverting the clip",
            latents,
            progress,
            |latents, timestep| {
                let hooks = Hooks::default();
                self.unet.forward(latents, &[timestep], text.clone(), hooks)
            },
        )
    }

    /// Denoises latents `[1, channels, frames, height, width]` from the start of a sampler to its end.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the user asked to stop; if the schedule has no such number of steps.
    pub fn sample(
        &self,
        start: Tensor<Inner<B>, 5>,
        prompt: &str,
        settings: &GenerationSettings,
        hooks: Hooks<'_, Inner<B>>,
        progress: &mut dyn Progress,
    ) -> Result<Tensor<Inner<B>, 5>, Error> {
        let guidance = Guidance::new(settings.guidance)?;
        let mut sampler = settings.sampler.build(&self.schedule, settings.steps)?;
        let mut text = self.text_states(prompt, progress)?;
        if guidance.needs_unconditional() {
            text = Tensor::cat(
                vec![self.text_states(&settings.negative_prompt, progress)?, text],
                0,
            );
        }
        self.walk(
            sampler.as_mut(),
            "generating",
            start,
            progress,
            |latents, timestep| {
                let predict = |latents, text| self.unet.forward(latents, &[timestep], text, hooks);
                if !guidance.needs_unconditional() {
                    predict(latents, text.clone())
                } else if self.options.low_memory {
                    let half = |index| predict(latents.clone(), text.clone().narrow(0, index, 1));
                    guidance.combine(half(0), half(1))
                } else {
                    guidance.combine_halves(predict(latents, text.clone()))
                }
            },
        )
    }

    /// Takes every step of a sampler.
    fn walk(
        &self,
        sampler: &mut dyn Sampler<Inner<B>, 5>,
        stage: &str,
        mut latents: Tensor<Inner<B>, 5>,
        progress: &mut dyn Progress,
        model: impl Fn(Tensor<Inner<B>, 5>, f64) -> Tensor<Inner<B>, 5>,
    ) -> Result<Tensor<Inner<B>, 5>, Error> {
        self.text.let_go();
        progress.start(stage, sampler.steps());
        for index in 0..sampler.steps() {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let output = model(latents.clone(), sampler.timesteps()[index] as f64);
            latents = sampler.step(output, index, latents);
            progress.advance(index + 1, "");
        }
        progress.finish();
        Ok(latents)
    }

    /// Learns the motion of a clip, which must have the size the network is to see. With a workspace, latents
    /// are kept there and learning goes on where an earlier run of the same clip, caption and settings was
    /// stopped.
    ///
    /// # Errors
    /// If the clip has fewer than two frames or more than the network takes, a setting is impossible, the user asked to stop, or the loss is
    /// no number.
    pub fn invert(
        &self,
        clip: &Clip,
        caption: &str,
        settings: &InversionSettings,
        workspace: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Motion, Error> {
        settings.check()?;
        settings
            .timesteps
            .within(self.schedule.num_train_timesteps())?;
        if clip.len() < 2 {
            return Err(Error::TooFewFrames { found: clip.len() });
        }
        self.check_frames(clip.len())?;
        let sites = settings.sites.select(&self.sites())?;
        let size = [clip.width() as usize, clip.height() as usize];
        let [height, width] = self.latent_size(size)?;
        for site in &sites {
            settings.check_site(&site.name, site.grid([height, width]))?;
        }
        let shape = ClipShape {
            frames: clip.len(),
            size,
        };
        let activations = self.activations(shape, settings)?;
        let reference_sha256 = pixels::sha256(clip);
        let workspace = workspace.map(Workspace::open).transpose()?;

        let precision = self.unet.precision();
        let latents_key = fingerprint(&(&self.id.sha256, &reference_sha256, precision));
        let shape = [1, self.vae.latent_channels(), clip.len(), height, width];
        let latents = cached(
            workspace.as_ref(),
            (LATENTS, &latents_key),
            shape,
            &self.device,
            || self.encode_clip(clip, progress),
        )?;
        let inverted_key = fingerprint(&(&latents_key, settings.ddim_inversion_steps));
        let inverted = cached(
            workspace.as_ref(),
            (INVERTED_LATENTS, &inverted_key),
            shape,
            &self.device,
            || self.ddim_inversion(latents.clone(), settings.ddim_inversion_steps, progress),
        )?;

        let reference = Reference {
            latents: Tensor::from_inner(latents),
            caption_states: Tensor::from_inner(self.text_states(caption, progress)?),
        };
        let learner = Learner::new(
            &self.tracked_unet,
            &self.schedule,
            settings,
            &sites,
            [clip.len(), height, width],
            &self.device,
        );
        let mut learner = learner.with_activations(activations);
        self.text.let_go();
        let run = fingerprint(&(&latents_key, caption, settings));
        let saved = workspace
            .as_ref()
            .and_then(|w| Checkpoint::load(&w.checkpoint(), &run));
        if let Some(checkpoint) = saved
            && learner.resume(checkpoint, &self.device)
        {
            progress.note(&format!(
                "going on after step {} of an earlier run",
                learner.losses().len()
            ));
        }
        let save = |checkpoint: Checkpoint| match &workspace {
            Some(workspace) => checkpoint.save(&workspace.checkpoint(), &run),
            None => Ok(()),
        };
        learner.run(&reference, save, progress)?;

        let embeddings = learner.embeddings();
        let lora = match settings.keep_lora {
            true => learner.lora(),
            false => None,
        };
        if settings.keep_lora && lora.is_none() {
            progress
                .note("there is no LoRA to keep: only the objective debiased-hybrid learns one");
        }
        for (what, is_finite) in [
            (
                "an embedding",
                embeddings.iter().all(SiteEmbeddings::is_finite),
            ),
            ("the LoRA", lora.as_ref().is_none_or(SpatialLora::is_finite)),
        ] {
            if !is_finite {
                return Err(Error::NotFinite { what, step: None });
            }
        }
        Ok(Motion {
            metadata: MotionMetadata {
                format_version: MotionMetadata::format(),
                kinvert_version: env!("CARGO_PKG_VERSION").into(),
                model: self.id.clone(),
                frames: clip.len(),
                size,
                fps: clip.fps(),
                caption: caption.into(),
                reference_sha256,
                settings: settings.clone(),
                losses: learner.losses().to_vec(),
                lora_losses: learner.lora_losses().to_vec(),
                grids: embeddings
                    .iter()
                    .map(|site| (site.site.clone(), site.grid))
                    .collect::<BTreeMap<_, _>>(),
            },
            sites: embeddings,
            inverted_latents: Some(Array {
                shape: inverted.dims().to_vec(),
                values: to_floats(inverted),
            }),
            preview: Some(pixels::preview(clip)),
            lora,
        })
    }

    /// A motion from a file of the method's published code (`motion_embed.pt`), which must have been learned on
    /// this model at `[width, height]` pixels. The file says nothing of the clip, so the caption is empty, and
    /// there is no inverted noise.
    ///
    /// # Errors
    /// As [`read_published_embeddings`].
    pub fn import_published(
        &self,
        path: &Path,
        size: [usize; 2],
        frames: Option<usize>,
    ) -> Result<Motion, Error> {
        let latent_size = self.latent_size(size)?;
        let sites = read_published_embeddings(path, &self.sites(), latent_size, frames)?;
        let embeddings = sites.iter().flat_map(SiteEmbeddings::embeddings);
        let frames = embeddings.flatten().next().map_or(0, Embedding::frames);
        let names = sites
            .iter()
            .map(|site| site.site.clone())
            .collect::<Vec<_>>()
            .join(",");
        Ok(Motion {
            metadata: MotionMetadata {
                format_version: MotionMetadata::format(),
                kinvert_version: env!("CARGO_PKG_VERSION").into(),
                model: self.id.clone(),
                frames,
                size,
                fps: self.fps(),
                caption: String::new(),
                reference_sha256: String::new(),
                settings: InversionSettings {
                    sites: names.parse()?,
                    ..Default::default()
                },
                losses: Vec::new(),
                lora_losses: Vec::new(),
                grids: sites
                    .iter()
                    .map(|site| (site.site.clone(), site.grid))
                    .collect(),
            },
            sites,
            inverted_latents: None,
            preview: None,
            lora: None,
        })
    }

    /// Generates one clip for a prompt, moving as `motion` does, or freely without one.
    ///
    /// # Errors
    /// If the motion belongs to another model or does not fit this one, a setting is impossible, there are more
    /// frames than the network takes, the user asked to stop, or the result is no number.
    pub fn generate(
        &self,
        motion: Option<&Motion>,
        prompt: &str,
        seed: u64,
        settings: &GenerationSettings,
        progress: &mut dyn Progress,
    ) -> Result<Clip, Error> {
        settings.check()?;
        let wanted = |own: Option<usize>| settings.frames.or(own).unwrap_or_else(|| self.frames());
        let frames = wanted(motion.map(|motion| motion.metadata.frames));
        let size = settings.size.or(motion.map(|motion| motion.metadata.size));
        let size = size.unwrap_or_else(|| self.size_for(self.published().size));
        pixels::check_size(size, frames)?;
        self.check_frames(frames)?;
        let latent_size = self.latent_size(size)?;
        let learned = motion.map(|motion| &motion.metadata.settings);
        self.check_generating(ClipShape { frames, size }, learned, settings)?;
        let modulation = match motion {
            Some(motion) => self.modulation(motion, settings, frames, latent_size)?,
            None => None,
        };
        let start = self.start(motion, seed, settings, frames, latent_size, progress)?;
        let lora = self.lora_adapter(motion, settings)?;
        let hooks = Hooks {
            temporal: modulation.as_ref().map(|modulation| modulation as _),
            spatial: lora.as_ref().map(|lora| lora as _),
        };
        let latents = self.sample(start, prompt, settings, hooks, progress)?;
        let fps = motion.map_or(self.fps(), |motion| motion.metadata.fps);
        self.decode_latents(latents, fps, progress)
    }

    /// Reads a LoRA, which everything that is generated from now on has at the strength that settings say, instead of
    /// one that a motion may hold. Nothing is learned with it.
    ///
    /// # Errors
    /// As [`SpatialLora::load`].
    pub fn load_lora(&mut self, path: &Path) -> Result<(), Error> {
        let lora = SpatialLora::load(path, &self.unet.spatial_linears())?;
        let id = LoraId {
            name: path.display().to_string(),
            sha256: lora.sha256(),
        };
        self.lora = Some((id, lora));
        Ok(())
    }

    /// What identifies the LoRA that was loaded.
    pub fn lora(&self) -> Option<&LoraId> {
        self.lora.as_ref().map(|(id, _)| id)
    }

    /// The LoRA that a clip is generated with: the one that was loaded, else that of the motion; `None` if it would
    /// change nothing.
    ///
    /// # Errors
    /// [`Error::Setting`] if settings want one and there is none, [`Error::MotionDoesNotFit`] if that of the motion is
    /// for other layers.
    fn lora_adapter(
        &self,
        motion: Option<&Motion>,
        settings: &GenerationSettings,
    ) -> Result<Option<LoraAdapter<Inner<B>>>, Error> {
        let of_motion = motion.and_then(|motion| motion.lora.as_ref());
        let (lora, default) = match &self.lora {
            Some((_, lora)) => (Some(lora), 1.0),
            None => (of_motion, 0.0),
        };
        let strength = settings.lora_strength.unwrap_or(default);
        match lora {
            _ if strength == 0.0 => Ok(None),
            None => {
                let expected = "0, for neither was a LoRA loaded nor does the motion hold one";
                Err(Error::setting("lora strength", strength, expected))
            }
            Some(lora) => {
                let fits = lora.check_fits(&self.unet.spatial_linears());
                fits.map_err(|reason| Error::MotionDoesNotFit { reason })?;
                Ok(Some(LoraAdapter::new(lora, strength, &self.device)))
            }
        }
    }

    /// Refuses a motion that was learned on another model.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    pub fn check_origin(&self, motion: &Motion) -> Result<(), Error> {
        let origin = &motion.metadata.model;
        if origin.sha256 == self.id.sha256 {
            return Ok(());
        }
        Err(Error::OtherModel {
            motion_model: origin.name.clone(),
            motion_sha256: origin.short_hash().into(),
            model: self.id.name.clone(),
            sha256: self.id.short_hash().into(),
        })
    }

    /// What becomes of activations while a motion is learned from a clip.
    ///
    /// # Errors
    /// [`Error::NotEnoughMemory`] if the device has too little for either way.
    fn activations(
        &self,
        clip: ClipShape,
        settings: &InversionSettings,
    ) -> Result<Activations, Error> {
        let generation = &self.recommendations.generation;
        let plan = |clip| self.cost.plan(clip, settings, generation);
        let activations = match self.options.low_memory {
            true => Activations::Recompute,
            false => plan(clip)?.activations(self.options.free_bytes),
        };
        let least = |clip| Ok(plan(clip)?.learning_bytes(Activations::Recompute));
        self.check_memory("learning from", clip, least)?;
        Ok(activations)
    }

    /// Refuses a clip for which the device has too little memory.
    fn check_generating(
        &self,
        clip: ClipShape,
        learned: Option<&InversionSettings>,
        settings: &GenerationSettings,
    ) -> Result<(), Error> {
        let inversion = learned.unwrap_or(&self.recommendations.inversion);
        let least = |clip| {
            Ok(self
                .cost
                .plan(clip, inversion, settings)?
                .generating_bytes())
        };
        self.check_memory("generating", clip, least)
    }

    fn check_memory(
        &self,
        work: &'static str,
        clip: ClipShape,
        needed: impl Fn(ClipShape) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let needed_bytes = needed(clip)?;
        match self.options.free_bytes {
            Some(free_bytes) if needed_bytes > free_bytes => Err(Error::NotEnoughMemory {
                work,
                clip,
                needed_bytes,
                free_bytes,
                smaller: self.cost.smaller(clip, |clip| {
                    needed(clip).is_ok_and(|bytes| bytes <= usable(free_bytes))
                }),
            }),
            _ => Ok(()),
        }
    }

    /// The embeddings of a motion for a clip of the given frames and latent size, after the inference
    /// strategy (Eq. 5); `None` if they would change nothing.
    ///
    /// # Errors
    /// [`Error::MotionDoesNotFit`] if a site is not there or has other channels, [`Error::Setting`] if there are
    /// too few frames for the differences or the integration cannot replay what was learned.
    pub fn modulation(
        &self,
        motion: &Motion,
        settings: &GenerationSettings,
        frames: usize,
        latent_size: [usize; 2],
    ) -> Result<Option<MotionModulation<Inner<B>>>, Error> {
        settings.check_frames(frames)?;
        let learned = motion.metadata.settings.integration;
        let integration = settings.integration.unwrap_or(learned);
        integration.check_replays(learned)?;
        let sites = self.sites();
        let prepare = |embeddings: &SiteEmbeddings| {
            let misfit = |reason: String| Error::MotionDoesNotFit { reason };
            let site = sites.iter().find(|site| site.name == embeddings.site);
            let site = site
                .ok_or_else(|| misfit(format!("the network has no site `{}`", embeddings.site)))?;
            for embedding in embeddings.embeddings().into_iter().flatten() {
                if embedding.channels() != site.channels {
                    return Err(misfit(format!(
                        "`{}` has {} channels, the motion has {}",
                        site.name,
                        site.channels,
                        embedding.channels()
                    )));
                }
            }
            Ok(embeddings.prepared(settings, frames, site.grid(latent_size)))
        };
        let prepared = motion
            .sites
            .iter()
            .map(prepare)
            .collect::<Result<Vec<_>, Error>>()?;
        if settings.strength == 0.0 {
            return Ok(None);
        }
        let modulation = MotionModulation::new(integration, &prepared, &self.device);
        let modulation = match settings.kind {
            MotionKind::Object | MotionKind::Hybrid => modulation,
            MotionKind::Camera => modulation.without_values(),
        };
        let modulation = match settings.contribution {
            Contribution::Both => modulation,
            Contribution::QueryKey => modulation.without_values(),
            Contribution::Values => modulation.without_query_key(),
            Contribution::Neither => modulation.without_query_key().without_values(),
        };
        Ok(Some(modulation).filter(|modulation| !modulation.is_empty()))
    }

    /// The latents from which generation starts.
    fn start(
        &self,
        motion: Option<&Motion>,
        seed: u64,
        settings: &GenerationSettings,
        frames: usize,
        [height, width]: [usize; 2],
        progress: &mut dyn Progress,
    ) -> Result<Tensor<Inner<B>, 5>, Error> {
        let shape = [1, self.vae.latent_channels(), frames, height, width];
        let noise = NoiseSource::new(seed).gaussian(START_NOISE, 0, shape, &self.device);
        let inverted = motion.and_then(|motion| motion.inverted_latents.as_ref());
        let inverted = match inverted {
            Some(latents) if settings.noise.needs_inverted() => {
                let latents = from_array(latents, &self.device);
                if latents.dims()[1] != shape[1] {
                    let reason = format!(
                        "its latents have {} channels, expected {}",
                        latents.dims()[1],
                        shape[1]
                    );
                    return Err(Error::MotionDoesNotFit { reason });
                }
                if latents.dims() != shape {
                    progress.note("the inverted noise was resampled to the new length or size");
                }
                resample_nearest(latents, shape)
            }
            _ if settings.noise.needs_inverted() => {
                if motion.is_some() {
                    progress.note(
                        "the motion holds no inverted noise: starting from fresh noise alone",
                    );
                }
                return Ok(noise);
            }
            _ => return Ok(noise),
        };
        Ok(settings
            .noise
            .compose(noise, Some(inverted), settings.noise_prior)?)
    }
}

impl SiteEmbeddings {
    /// The embeddings as they enter the network: resampled to the frames and the grid, the values debiased,
    /// all times the strength. Where there is a projection it takes the strength, so that one of zero is the
    /// plain model.
    fn prepared(
        &self,
        settings: &GenerationSettings,
        frames: usize,
        grid: [usize; 2],
    ) -> SiteEmbeddings {
        let resampled = |embedding: &Embedding| embedding.with_frames(frames).with_grid(grid);
        let gain = match settings.debias {
            Debias::Difference => settings.difference_gain,
            Debias::Normalize | Debias::None => 1.0,
        };
        let is_projected = self.projections.iter().any(Option::is_some);
        let strength = if is_projected { 1.0 } else { settings.strength };
        let value = |embedding: &Embedding| {
            let debiased =
                resampled(embedding).debiased(settings.debias, settings.difference_frames);
            debiased.scaled((strength * gain) as f32)
        };
        let query_key = |embedding: &Embedding| resampled(embedding).scaled(strength as f32);
        let projection = |projection: &Projection| projection.scaled(settings.strength as f32);
        SiteEmbeddings {
            site: self.site.clone(),
            grid,
            query_key: self.query_key.as_ref().map(query_key),
            values: self
                .values
                .each_ref()
                .map(|found| found.as_ref().map(value)),
            projections: self
                .projections
                .each_ref()
                .map(|found| found.as_ref().map(projection)),
        }
    }
}

/// SHA-256 of a value's JSON.
pub(crate) fn fingerprint(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("settings and names are valid JSON");
    Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Latents of the given shape from the workspace, or computed and kept there.
fn cached<B: burn::tensor::backend::Backend>(
    workspace: Option<&Workspace>,
    (name, key): (&str, &str),
    shape: [usize; 5],
    device: &B::Device,
    compute: impl FnOnce() -> Result<Tensor<B, 5>, Error>,
) -> Result<Tensor<B, 5>, Error> {
    if let Some(array) = workspace.and_then(|workspace| workspace.load(name, key))
        && array.shape == shape
    {
        return Ok(from_array(&array, device));
    }
    let latents = compute()?;
    let array = Array {
        shape: latents.dims().to_vec(),
        values: to_floats(latents.clone()),
    };
    if !array.values.iter().all(|value| value.is_finite()) {
        return Err(Error::NotFinite {
            what: "the clip's latents",
            step: None,
        });
    }
    if let Some(workspace) = workspace {
        workspace.save(name, key, &array)?;
    }
    Ok(latents)
}

fn from_array<B: burn::tensor::backend::Backend>(
    array: &Array<f32>,
    device: &B::Device,
) -> Tensor<B, 5> {
    Tensor::from_data(
        TensorData::new(array.values.clone(), array.shape.clone()),
        device,
    )
}

/// Repeats or leaves out frames, rows and columns of `[1, channels, frames, height, width]`. Unlike
/// interpolation this keeps the variance that the sampler expects of noise.
fn resample_nearest<B: burn::tensor::backend::Backend>(
    mut latents: Tensor<B, 5>,
    shape: [usize; 5],
) -> Tensor<B, 5> {
    for (axis, to) in shape.into_iter().enumerate().skip(2) {
        let from = latents.dims()[axis];
        if from != to {
            let indices: Vec<i64> = (0..to).map(|i| (i * from / to) as i64).collect();
            let indices: Tensor<B, 1, Int> =
                Tensor::from_data(TensorData::new(indices, [to]), &latents.device());
            latents = latents.select(axis, indices);
        }
    }
    latents
}
