//! Motion customization of video: learn the motion of one clip, replay it with any prompt.
//!
//! The method is that of *Motion Inversion for Video Customization* (arXiv:2403.20193v2): small *motion
//! embeddings* inside the temporal attention of a frozen text-to-video diffusion model are fitted to one
//! reference clip ([`MotionModel::invert`]) and replayed with another prompt ([`MotionModel::generate`]).
//!
//! ```
//! use kinvert::{Clip, Device, GenerationSettings, InversionSettings, LoadOptions, Quiet, load_model};
//! use kinvert_world::{Motion, Scene, model::model_files};
//!
//! let model = load_model(&model_files().into(), &LoadOptions::default(), Device::Cpu)?;
//! let reference = Clip::new(Scene::random_with_motion(Motion::Arc, 1).render(), model.fps())?;
//!
//! // A few steps show how it goes; the recommended settings learn something.
//! let recommended = model.recommendations();
//! let inversion =
//!     InversionSettings { steps: 2, ddim_inversion_steps: 2, ..recommended.inversion.clone() };
//! let motion = model.invert(&reference, "a red circle", &inversion, None, &mut Quiet)?;
//!
//! let generation = GenerationSettings { steps: 2, ..recommended.generation.clone() };
//! let clip = model.generate(Some(&motion), "a yellow star", 0, &generation, &mut Quiet)?;
//! assert_eq!((clip.len(), clip.width()), (16, 64));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Tensors are `[batch, channels, frames, height, width]` unless a function says otherwise.

pub mod atomic;
pub mod checkpoint;
pub mod embedding;
pub mod error;
pub mod gradient;
pub mod import;
pub mod inversion;
pub mod lora;
pub mod model;
pub mod modulation;
pub mod motion;
pub mod objective;
mod optimiser;
pub mod pipeline;
pub mod pixels;
pub mod plan;
pub mod projection;
mod published;
pub mod settings;
pub mod shape;
pub mod sites;
pub mod source;
pub mod summary;
mod text;
pub mod transfer;
pub mod variant;
pub mod workspace;

pub use embedding::Debias;
pub use error::Error;
pub use kinvert_base::{Progress, Quiet};
pub use kinvert_diffusion::{InitialNoise, SamplerKind};
pub use kinvert_nets::device::prepare_process;
pub use kinvert_nets::{Device, DeviceInfo, DeviceKind, DeviceMemory, ModelFiles, Precision};
pub use kinvert_video::Clip;
pub use lora::{LoraId, SpatialLora};
pub use model::{MotionModel, load_model};
pub use modulation::Integration;
pub use motion::{ModelId, Motion, MotionMetadata};
pub use objective::{Objective, TimestepRange};
pub use pipeline::Pipeline;
pub use settings::{
    Contribution, GenerationSettings, InversionSettings, MotionKind, Recommendations,
};
pub use shape::EmbeddingShape;
pub use sites::SiteSelection;
pub use source::{LoadOptions, ModelSource};
pub use summary::ModelSummary;
pub use transfer::{
    ClipOptions, Destination, FrameRate, GenerationRequest, TransferReport, TransferRequest,
    prepare_clip, run_transfer, write_clip,
};
pub use variant::Variant;

/// The examples of the README, so that they are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
