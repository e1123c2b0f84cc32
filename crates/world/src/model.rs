//! The built-in model, compiled into the program.
//!
//! A text-to-video model in the published layout, small enough to ship: 16 frames of 64x64 pixels, trained on
//! the sprite world. `clip/` holds a CLIP whose text tower is the model's text encoder.

use kinvert_nets::{EmbeddedFiles, ModelFiles};

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../assets/model/", $path)))),*]
    };
}

const FILES: EmbeddedFiles = embedded![
    "kinvert.json",
    "model_index.json",
    "clip/config.json",
    "clip/merges.txt",
    "clip/model.safetensors",
    "clip/preprocessor_config.json",
    "clip/special_tokens_map.json",
    "clip/tokenizer_config.json",
    "clip/vocab.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];

/// Names of the files of the built-in model, and of every model of this world.
pub fn model_file_names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The files of the built-in model.
pub fn model_files() -> ModelFiles {
    ModelFiles::embedded("sprites", FILES)
}
