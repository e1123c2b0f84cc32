//! What a base model is put together from, and how it is loaded.

use kinvert_nets::{ModelFiles, Precision};

/// The files of a base model.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// A text-to-video pipeline in the diffusers layout: `unet/`, `vae/`, `text_encoder/`, `tokenizer/` and
    /// `scheduler/`.
    pub pipeline: ModelFiles,
    /// A `unet/` folder whose network takes the place of the pipeline's: VideoCrafter2, for example, is published
    /// as a network alone, for the other parts of ModelScope.
    pub unet: Option<ModelFiles>,
}

impl ModelSource {
    /// The folder of the denoising network.
    pub fn unet(&self) -> ModelFiles {
        let own = || self.pipeline.part("unet");
        self.unet.clone().unwrap_or_else(own)
    }
}

impl From<ModelFiles> for ModelSource {
    fn from(pipeline: ModelFiles) -> Self {
        Self {
            pipeline,
            unet: None,
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
}
