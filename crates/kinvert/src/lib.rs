//! Motion customization of video: learn the motion of one clip, replay it with any prompt.
//!
//! The method is that of *Motion Inversion for Video Customization* (arXiv:2403.20193v2): small *motion
//! embeddings* inside the temporal attention of a frozen text-to-video diffusion model are fitted to one
//! reference clip ([`MotionModel::invert`]) and replayed with another prompt ([`MotionModel::generate`]).
//!
//! Tensors are `[batch, channels, frames, height, width]` unless a function says otherwise.

pub mod atomic;
pub mod checkpoint;
pub mod device;
pub mod embedding;
pub mod error;
pub mod import;
pub mod inversion;
pub mod model;
pub mod modulation;
pub mod motion;
pub mod objective;
pub mod pipeline;
pub mod pixels;
pub mod progress;
pub mod settings;
pub mod sites;
pub mod summary;
pub mod transfer;
pub mod workspace;

pub use device::Device;
pub use embedding::Debias;
pub use error::Error;
pub use kinvert_diffusion::{InitialNoise, SamplerKind};
pub use kinvert_nets::ModelFiles;
pub use kinvert_video::Clip;
pub use model::{MotionModel, load_model};
pub use modulation::Integration;
pub use motion::{ModelId, Motion, MotionMetadata};
pub use objective::{Objective, TimestepRange};
pub use pipeline::Pipeline;
pub use progress::{Progress, Quiet};
pub use settings::{GenerationSettings, InversionSettings, MotionKind, Recommendations};
pub use sites::SiteSelection;
pub use summary::ModelSummary;
pub use transfer::{
    ClipOptions, Destination, FrameRate, GenerationRequest, TransferReport, TransferRequest,
    run_transfer,
};
