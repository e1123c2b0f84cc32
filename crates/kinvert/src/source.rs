//! What a base model is put together from, and how it is loaded.

use kinvert_diffusion::{BetaSchedule, SchedulerConfig};
use kinvert_nets::published::find_tokenizer;
use kinvert_nets::{ModelFiles, Precision, VideoUNetConfig, weight_files};
use serde::Deserialize;

use crate::error::Error;
use crate::plan::ClipShape;
use crate::published::{self, PublishedClip};
use crate::settings::Recommendations;

/// File in `scheduler/` that describes the noise schedule.
const SCHEDULER: &str = "scheduler_config.json";

/// File of a pipeline that names its class.
const MODEL_INDEX: &str = "model_index.json";

/// The files of a base model.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// A pipeline in the diffusers layout: `unet/`, `vae/`, `text_encoder/`, `tokenizer/` and `scheduler/`; or a
    /// [single file](ModelFiles::original) of Stable Diffusion 1.5 or of what was fine-tuned from it.
    pub pipeline: ModelFiles,
    /// A `unet/` folder whose network takes the place of the pipeline's: VideoCrafter2, for example, is published
    /// as a network alone, for the other parts of ModelScope.
    pub unet: Option<ModelFiles>,
    /// AnimateDiff's motion modules, which make a network of single images one of video: a folder in the diffusers
    /// layout, or [AnimateDiff's own file](ModelFiles::original). A pipeline of AnimateDiff may hold them already.
    pub motion_adapter: Option<ModelFiles>,
    /// A `tokenizer/` folder in place of the pipeline's; a single file has none.
    pub tokenizer: Option<ModelFiles>,
}

impl ModelSource {
    /// The folder of the denoising network.
    pub fn unet(&self) -> ModelFiles {
        let own = || self.pipeline.part("unet");
        self.unet.clone().unwrap_or_else(own)
    }

    /// The motion adapter: the one that is given, or, for a network of single images, the pipeline's own.
    ///
    /// # Errors
    /// If the network's configuration is missing or damaged.
    pub fn motion_adapter(&self) -> Result<Option<ModelFiles>, Error> {
        if self.motion_adapter.is_some() {
            return Ok(self.motion_adapter.clone());
        }
        let own = self.pipeline.part("motion_adapter");
        let is_there = own.contains("config.json");
        let is_needed = is_there && VideoUNetConfig::needs_motion_adapter(&self.unet())?;
        Ok(is_needed.then_some(own))
    }

    /// The folder of the tokenizer: the one that is given, or the pipeline's; for a single file that of Stable
    /// Diffusion 1.5, if it is beside the file or among the models of this machine.
    ///
    /// # Errors
    /// If there is none for a single file.
    pub fn tokenizer(&self) -> Result<ModelFiles, Error> {
        match (&self.tokenizer, self.pipeline.original_path()) {
            (Some(tokenizer), _) => Ok(tokenizer.clone()),
            (None, Some(path)) => Ok(find_tokenizer(path)?),
            (None, None) => Ok(self.pipeline.part("tokenizer")),
        }
    }

    /// The configuration of the denoising network, checked.
    ///
    /// # Errors
    /// If a configuration is missing, damaged or not supported, or the motion adapter is missing or another's.
    pub fn unet_config(&self) -> Result<VideoUNetConfig, Error> {
        let adapter = self.motion_adapter()?;
        Ok(VideoUNetConfig::read_with(&self.unet(), adapter.as_ref())?)
    }

    /// What the model's folder recommends; where it says nothing, what its kind was published with.
    ///
    /// # Errors
    /// If a configuration is missing, damaged or not supported.
    pub fn recommendations(&self) -> Result<Recommendations, Error> {
        let published = published::recommendations(&self.unet_config()?);
        Recommendations::load(&self.pipeline, published)
    }

    /// The clips that the model makes, unless asked otherwise.
    ///
    /// # Errors
    /// As [`recommendations`](Self::recommendations).
    pub fn usual_clip(&self) -> Result<ClipShape, Error> {
        let recommended = self.recommendations()?;
        let published = PublishedClip::of(&self.unet_config()?);
        Ok(ClipShape {
            frames: recommended.frames.unwrap_or(published.frames),
            size: recommended.size.unwrap_or(published.size),
        })
    }

    /// The noise schedule.
    ///
    /// Motion modules were trained with betas in equal steps (`noise_scheduler_kwargs` of AnimateDiff's published
    /// configurations), unlike Stable Diffusion, in whose folder the schedule lies. So with them the schedule becomes
    /// linear, unless the pipeline is one of AnimateDiff, whose schedule is made for it.
    ///
    /// # Errors
    /// If the file is missing, damaged or not supported.
    pub fn scheduler(&self, unet: &VideoUNetConfig) -> Result<SchedulerConfig, Error> {
        let files = self.pipeline.part("scheduler");
        let mut config =
            SchedulerConfig::from_json(&files.read(SCHEDULER)?, &files.label(SCHEDULER))?;
        if matches!(unet, VideoUNetConfig::Motion(_)) && !self.is_of_animate_diff()? {
            config.beta_schedule = BetaSchedule::Linear;
            config.trained_betas = None;
        }
        Ok(config)
    }

    fn is_of_animate_diff(&self) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Index {
            #[serde(rename = "_class_name")]
            class_name: String,
        }
        if !self.pipeline.contains(MODEL_INDEX) {
            return Ok(false);
        }
        let index: Index = self.pipeline.json(MODEL_INDEX)?;
        Ok(index.class_name.starts_with("AnimateDiff"))
    }

    /// Where the model comes from, in a few words: the names of its folders or files.
    pub fn name(&self) -> String {
        let parts = [&self.unet, &self.motion_adapter].into_iter().flatten();
        let all = std::iter::once(&self.pipeline).chain(parts);
        all.map(ModelFiles::name).collect::<Vec<_>>().join(" + ")
    }

    /// Hash over everything that decides what the model makes.
    ///
    /// # Errors
    /// If a file that is there cannot be read.
    pub(crate) fn sha256(&self) -> Result<String, Error> {
        const TOKENIZER: [&str; 5] = [
            "vocab.json",
            "merges.txt",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        ];
        let mut hashed = vec![(
            format!("scheduler/{SCHEDULER}"),
            self.pipeline.part("scheduler"),
            SCHEDULER.to_string(),
        )];
        let tokenizer = self.tokenizer()?;
        hashed.extend(TOKENIZER.map(|name| {
            let label = format!("tokenizer/{name}");
            (label, tokenizer.clone(), name.to_string())
        }));
        let mut networks = vec![
            ("unet", self.unet(), "diffusion_pytorch_model"),
            ("vae", self.pipeline.part("vae"), "diffusion_pytorch_model"),
            ("text_encoder", self.pipeline.part("text_encoder"), "model"),
        ];
        let adapter = self.motion_adapter()?;
        networks.extend(adapter.map(|files| ("motion_adapter", files, "diffusion_pytorch_model")));
        let mut single_files = Vec::new();
        for (part, folder, stem) in networks {
            let config = "config.json".to_string();
            hashed.push((format!("{part}/{config}"), folder.clone(), config));
            if let Some(path) = folder.original_path() {
                // The networks of a single file are one and the same file, gigabytes that are read once.
                if single_files.contains(&path.to_path_buf()) {
                    continue;
                }
                single_files.push(path.to_path_buf());
            }
            let weights = weight_files(&folder, stem)?.into_iter();
            hashed.extend(weights.map(|name| (format!("{part}/{name}"), folder.clone(), name)));
        }
        Ok(ModelFiles::sha256_of(&hashed)?)
    }
}

impl From<ModelFiles> for ModelSource {
    fn from(pipeline: ModelFiles) -> Self {
        Self {
            pipeline,
            unet: None,
            motion_adapter: None,
            tokenizer: None,
        }
    }
}

/// How a base model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// The number format of the denoising network, the text encoder and the autoencoder; an autoencoder that cannot
    /// be computed in f16 is [loaded in f32](kinvert_nets::AutoencoderKL::load) all the same. Latents, embeddings, their
    /// optimiser and the noise schedule are f32.
    pub precision: Precision,
    /// Take less memory where that costs time: activations are computed again while learning, both halves of the
    /// guidance one after the other, and the autoencoder works frame by frame and, on large frames, tile by tile.
    pub low_memory: bool,
    /// Memory that the device has free, in bytes, if it is known: learning keeps its activations if they fit, and what
    /// cannot fit at all is refused before it is begun.
    pub free_bytes: Option<u64>,
}
