//! What learning a motion and generating a clip will take, from configurations alone: memory and floating-point
//! operations, before weights are read and hours are spent.

use kinvert_nets::autoencoder_kl::AutoencoderKLConfig;
use kinvert_nets::clip::CLIPTextConfig;
use kinvert_nets::cost::{Flops, PassCost, PassSize};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_nets::video_unet::Stage;
use kinvert_nets::{Device, OnDevice, Precision, TemporalSite, VideoUNetConfig, parameters};
use serde::Serialize;

use crate::error::Error;
use crate::gradient::Activations;
use crate::pipeline::vae_slices;
use crate::settings::{GenerationSettings, InversionSettings};
use crate::source::{LoadOptions, ModelSource};

/// File in the folder of each part that describes it.
const CONFIG: &str = "config.json";

/// Bytes of an f32, in which latents, embeddings and their optimiser are kept.
const F32_BYTES: u64 = 4;

/// What there is of every embedding at the same time: its value, two moments of AdamW, and its gradient.
const COPIES_OF_EMBEDDINGS: u64 = 4;

/// Share of a device's free memory that is planned with; the rest is for what is not counted.
const USABLE: f64 = 0.9;

/// The configurations of a base model that decide what it costs.
#[derive(Debug, Clone)]
pub struct ModelCost {
    unet: VideoUNetConfig,
    vae: AutoencoderKLConfig,
    text_encoder: CLIPTextConfig,
    parameters: PartSizes,
    precision: Precision,
    low_memory: bool,
}

/// What is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClipShape {
    /// Frames.
    pub frames: usize,
    /// Width and height in pixels.
    pub size: [usize; 2],
}

/// What a model takes for a clip of some shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkPlan {
    /// The clip.
    #[serde(flatten)]
    pub clip: ClipShape,
    /// The number format of the weights and of what is computed with them.
    pub precision: Precision,
    /// Numbers that the denoising network, the autoencoder and the text encoder hold.
    pub parameters: PartSizes,
    /// What loading takes at most: all weights.
    pub loading_bytes: u64,
    /// Learning the motion.
    pub learning: LearningPlan,
    /// Generating one clip.
    pub generating: GeneratingPlan,
}

/// One number for each part of a base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartSizes {
    /// The denoising network.
    pub unet: u64,
    /// The autoencoder.
    pub vae: u64,
    /// The text encoder.
    pub text_encoder: u64,
}

impl PartSizes {
    /// All together.
    pub fn total(&self) -> u64 {
        self.unet + self.vae + self.text_encoder
    }
}

/// What learning takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearningPlan {
    /// Optimiser steps.
    pub steps: usize,
    /// Numbers that are learned.
    pub embeddings: u64,
    /// Most memory if activations are kept.
    pub bytes_if_kept: u64,
    /// Most memory if they are computed again.
    pub bytes_if_recomputed: u64,
    /// Operations of one step if activations are kept.
    pub step_flops_if_kept: Flops,
    /// Operations of one step if they are computed again.
    pub step_flops_if_recomputed: Flops,
    /// Operations of preparing the clip: encoding it and its DDIM inversion.
    pub preparation_flops: Flops,
}

/// What generating takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneratingPlan {
    /// Denoising steps.
    pub steps: usize,
    /// Most memory while the clip is denoised.
    pub denoising_bytes: u64,
    /// Most memory while it is decoded.
    pub decoding_bytes: u64,
    /// Operations of one denoising step, with guidance.
    pub step_flops: Flops,
    /// Operations of decoding the clip.
    pub decoding_flops: Flops,
}

impl WorkPlan {
    /// Most memory of all the work, if learning does with activations as is said.
    pub fn bytes(&self, activations: Activations) -> u64 {
        self.learning_bytes(activations)
            .max(self.generating_bytes())
    }

    /// Most memory of learning alone.
    pub fn learning_bytes(&self, activations: Activations) -> u64 {
        let learning = match activations {
            Activations::Keep => self.learning.bytes_if_kept,
            Activations::Recompute => self.learning.bytes_if_recomputed,
        };
        learning.max(self.loading_bytes)
    }

    /// Most memory of generating alone.
    pub fn generating_bytes(&self) -> u64 {
        let generating = &self.generating;
        let most = generating.denoising_bytes.max(generating.decoding_bytes);
        most.max(self.loading_bytes)
    }

    /// Operations of all the work: learning, and generating one clip.
    pub fn flops(&self, activations: Activations) -> Flops {
        let step = match activations {
            Activations::Keep => self.learning.step_flops_if_kept,
            Activations::Recompute => self.learning.step_flops_if_recomputed,
        };
        self.learning.preparation_flops
            + step * self.learning.steps as u64
            + self.generating.step_flops * self.generating.steps as u64
            + self.generating.decoding_flops
    }

    /// What to do with activations on a device with so many free bytes; if nothing is known of it, they are kept.
    pub fn activations(&self, free_bytes: Option<u64>) -> Activations {
        match free_bytes {
            Some(free) if self.learning.bytes_if_kept > usable(free) => Activations::Recompute,
            _ => Activations::Keep,
        }
    }
}

/// Bytes that a plan may take of those that are free.
pub fn usable(free_bytes: u64) -> u64 {
    (free_bytes as f64 * USABLE) as u64
}

impl ModelCost {
    /// Reads the configurations of a base model that is to be loaded as the options say.
    ///
    /// # Errors
    /// If one is missing, damaged or not supported.
    pub fn read(
        source: &ModelSource,
        options: &LoadOptions,
        device: Device,
    ) -> Result<Self, Error> {
        struct Read<'a>(&'a ModelSource, &'a LoadOptions);

        impl OnDevice for Read<'_> {
            type Output = Result<ModelCost, Error>;

            fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output {
                ModelCost::read_on::<B>(self.0, self.1, device)
            }
        }

        device.run(Read(source, options))
    }

    pub(crate) fn read_on<B: TrackingBackend>(
        source: &ModelSource,
        options: &LoadOptions,
        device: &B::Device,
    ) -> Result<Self, Error> {
        let part = |name| source.pipeline.part(name);
        let vae: AutoencoderKLConfig = part("vae").json(CONFIG)?;
        vae.validate(&part("vae").label(CONFIG))?;
        let unet = source.unet_config()?;
        let text_encoder: CLIPTextConfig = part("text_encoder").json(CONFIG)?;
        let path = part("text_encoder").label(CONFIG);
        // Networks are built without weights, so that nothing is taken for counting them.
        let parameters = PartSizes {
            unet: parameters(&unet.init::<B>(device)),
            vae: parameters(&vae.init::<B>(device)),
            text_encoder: parameters(&text_encoder.init::<B>(&path, device)?),
        };
        Ok(Self {
            unet,
            vae,
            text_encoder,
            parameters,
            precision: options.precision,
            low_memory: options.low_memory,
        })
    }

    /// What the model takes for a clip.
    ///
    /// # Errors
    /// If a setting, the number of frames or the size is impossible, the sites that are to be learned are not there, or
    /// the size is not one that the autoencoder can halve often enough.
    pub fn plan(
        &self,
        clip: ClipShape,
        inversion: &InversionSettings,
        generation: &GenerationSettings,
    ) -> Result<WorkPlan, Error> {
        inversion.check()?;
        let asked = GenerationSettings {
            frames: Some(clip.frames),
            size: Some(clip.size),
            ..generation.clone()
        };
        asked.check()?;
        let sites = inversion.sites.select(&self.unet.sites())?;
        let latent_size = self.latent_size(clip.size)?;
        let bytes = |numbers: u64| numbers * self.precision.bytes() as u64;
        let resident = bytes(self.parameters.unet + self.parameters.vae);
        let pass = |batch| self.pass(batch, clip.frames, latent_size);

        let is_guided = generation.guidance != 1.0;
        let (single, guided) = match is_guided && !self.low_memory {
            true => (pass(1), pass(2)),
            false => (pass(1), pass(1)),
        };
        let first = first_stage(&single, &sites);
        let embeddings = embeddings(&sites, inversion, clip.frames, latent_size);
        let learned = embeddings * F32_BYTES * COPIES_OF_EMBEDDINGS;
        let [width, height] = clip.size;
        let slices = vae_slices(self.low_memory, latent_size);
        let frames = slices.frames.get().min(clip.frames);
        let area = match slices.tile {
            Some(tile) => latent_size.map(|side| side.min(tile.get()) * self.compression()),
            None => [height, width],
        };
        let (encode, decode) = (
            self.vae.encode_cost(frames, area),
            self.vae.decode_cost(frames, area),
        );
        // Tiles overlap, which is left out: operations by area.
        let slices = (clip.frames * width * height).div_ceil(frames * area[0] * area[1]) as u64;
        let pixels = (3 * clip.frames * width * height) as u64 * F32_BYTES;
        let forward = |cost: &PassCost| resident + bytes(cost.forward_peak());
        let with_embeddings = |numbers| resident + learned + bytes(numbers);
        let back = single.flops() + single.backward_flops(first);
        let preparing = forward(&single).max(resident + pixels + bytes(encode.peak));
        Ok(WorkPlan {
            clip,
            precision: self.precision,
            parameters: self.parameters,
            loading_bytes: bytes(self.parameters.total()),
            learning: LearningPlan {
                steps: inversion.steps,
                embeddings,
                bytes_if_kept: with_embeddings(single.peak_if_kept(first)).max(preparing),
                bytes_if_recomputed: with_embeddings(single.peak_if_recomputed(first))
                    .max(preparing),
                step_flops_if_kept: back,
                step_flops_if_recomputed: back + single.recomputed_flops(first),
                preparation_flops: encode.flops * slices
                    + single.flops() * inversion.ddim_inversion_steps as u64,
            },
            generating: GeneratingPlan {
                steps: generation.steps,
                denoising_bytes: forward(&guided) + embeddings * F32_BYTES,
                decoding_bytes: resident + pixels + bytes(decode.peak),
                step_flops: match is_guided && self.low_memory {
                    true => guided.flops() * 2,
                    false => guided.flops(),
                },
                decoding_flops: decode.flops * slices,
            },
        })
    }

    /// The largest clips of about the same kind for which `fits` is true: fewer frames of the same size, and as many
    /// frames of a smaller size. What does not fit however small is left out.
    pub fn smaller(&self, clip: ClipShape, fits: impl Fn(ClipShape) -> bool) -> Vec<ClipShape> {
        let fewer = (2..clip.frames).rev();
        let fewer = fewer.map(|frames| ClipShape { frames, ..clip });
        let step = self.size_step();
        let smaller = (1..20).rev().map(|part| ClipShape {
            size: clip
                .size
                .map(|side| (side * part / 20 / step).max(1) * step),
            ..clip
        });
        [
            fewer.into_iter().find(|c| fits(*c)),
            smaller.into_iter().find(|c| fits(*c)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn pass(&self, batch: usize, frames: usize, latent_size: [usize; 2]) -> PassCost {
        self.unet.cost(PassSize {
            batch,
            frames,
            latent_size,
            text_tokens: self.text_encoder.max_position_embeddings,
        })
    }

    /// Pixels of which both sides are multiples, so that the network halves without rounding.
    fn size_step(&self) -> usize {
        1 << (self.vae.block_out_channels.len() - 1 + self.unet.levels() - 1)
    }

    /// Pixels along each side that a latent position covers.
    fn compression(&self) -> usize {
        1 << (self.vae.block_out_channels.len() - 1)
    }

    fn latent_size(&self, [width, height]: [usize; 2]) -> Result<[usize; 2], Error> {
        let step = self.compression();
        if width == 0 || height == 0 || width % step > 0 || height % step > 0 {
            let found = format!("{width}x{height}");
            return Err(Error::setting(
                "size",
                found,
                format!("multiples of {step}"),
            ));
        }
        Ok([height / step, width / step])
    }
}

/// The stage in which the first of the sites is reached; the last of all without sites, for nothing is tracked.
fn first_stage(cost: &PassCost, sites: &[TemporalSite]) -> Stage {
    let stages = sites
        .iter()
        .filter_map(|site| Stage::containing(&site.name));
    let place = |stage: &Stage| cost.0.iter().position(|cost| cost.stage == *stage);
    stages.min_by_key(place).unwrap_or(Stage::Output)
}

/// Numbers of the embeddings of all sites.
fn embeddings(
    sites: &[TemporalSite],
    settings: &InversionSettings,
    frames: usize,
    latent_size: [usize; 2],
) -> u64 {
    let of_site = |site: &TemporalSite| {
        let shapes = [settings.query_key, settings.values, settings.values];
        let grids = shapes
            .iter()
            .filter_map(|shape| shape.grid(site.grid(latent_size)));
        let positions: usize = grids.map(|[rows, columns]| rows * columns).sum();
        (positions * frames * site.channels) as u64
    };
    sites.iter().map(of_site).sum()
}
