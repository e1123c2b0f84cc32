//! The networks of published text-to-video models, exactly as published, and loading them.
//!
//! Nothing here knows of motion embeddings: a temporal transformer takes an optional modulation for its
//! site, and whoever wants one supplies it.

pub mod autoencoder_kl;
pub mod check;
pub mod clip;
pub mod cost;
pub mod cotracker;
pub mod device;
pub mod error;
pub mod files;
pub mod inception;
pub mod kernels;
mod keys;
pub mod layers;
mod original;
pub mod parameters;
pub mod precision;
pub mod published;
mod pytorch;
pub mod sites;
pub mod tiles;
mod unet;
pub mod unet3d;
pub mod unet_motion;
pub mod video_unet;
pub mod weight_names;
pub mod weights;

pub use autoencoder_kl::{AutoencoderKL, AutoencoderKLConfig, Posterior};
pub use clip::{
    CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, ImagePreprocessor,
};
pub use cotracker::{CoTracker3, CoTracker3Config};
pub use device::{Device, DeviceInfo, DeviceKind, DeviceMemory, OnDevice};
pub use error::{Error, KeyFaults};
pub use files::{EmbeddedFiles, ModelFiles};
pub use inception::{InceptionResize, InceptionV3};
pub use keys::{expected_tensors, parameters};
pub use layers::adapter::{LinearAdapter, LinearLayer};
pub use parameters::{NamedTensor, Published, state};
pub use precision::Precision;
pub use published::{ModelKind, ModelName, find_weights};
pub use sites::{SitePart, TemporalSite};
pub use unet_motion::UNetMotionConfig;
pub use unet3d::UNet3DConditionConfig;
pub use video_unet::{Hooks, VideoUNet, VideoUNetConfig};
pub use weights::{KeyMap, Weights, weight_files};
