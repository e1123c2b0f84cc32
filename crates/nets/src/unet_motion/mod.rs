//! AnimateDiff: the U-Net of Stable Diffusion 1.5, which knows single images, with a motion module after every layer.
//!
//! Source: *AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without Specific Tuning*
//! (arXiv:2307.04725), as `UNetMotionModel` of the diffusers library, whose names and keys are kept. Any U-Net that was
//! fine-tuned from Stable Diffusion 1.5 takes the same motion modules, which are published apart from it as a *motion
//! adapter*. A motion module is a [temporal transformer](crate::layers::temporal) that knows the positions of frames.
//! It is run as a [`VideoUNet`](crate::VideoUNet).

mod adapter;
mod config;
mod unet2d;

use burn::prelude::*;

pub use adapter::MotionAdapterConfig;
pub use config::UNetMotionConfig;
pub use unet2d::{PerLevel, UNet2DConditionConfig};

use crate::error::KeyFaults;
use crate::kernels::NetBackend;
use crate::layers::positions::sinusoids;
use crate::precision::Precision;
use crate::unet::{KEY_MAPS, UNetBody};
use crate::weights::OpenWeights;
use crate::{Error, ModelFiles, Weights, expected_tensors};

/// What the name of every tensor of a motion adapter has in it, and no tensor of a U-Net of images.
const MOTION_MODULES: &str = ".motion_modules.";

/// The network; see the [module docs](self).
#[derive(Module, Debug)]
pub struct UNetMotion<B: Backend> {
    body: UNetBody<B>,
}

impl UNetMotionConfig {
    /// Builds the network with random weights, which are drawn only when first read.
    ///
    /// # Panics
    /// If [`check`](Self::check) would refuse the configuration.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> UNetMotion<B> {
        UNetMotion {
            body: UNetBody::new(&self.plan(), device),
        }
    }
}

impl<B: NetBackend> UNetMotion<B> {
    /// Reads the weights of a `unet/` folder and those of a motion adapter, if they are apart. All are frozen.
    ///
    /// # Errors
    /// If a file is missing or damaged, the weights do not fit the configuration, or the two belong to each other the
    /// wrong way round.
    pub(crate) fn load(
        config: &UNetMotionConfig,
        unet: &ModelFiles,
        motion_adapter: Option<&ModelFiles>,
        device: &B::Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::filled(
            config,
            (unet, motion_adapter),
            device,
            precision,
            Weights::open,
        )
    }

    /// Checks that the weights of a `unet/` folder with motion modules fit the network by name and shape, without
    /// reading their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn check(
        config: &UNetMotionConfig,
        unet: &ModelFiles,
        device: &B::Device,
    ) -> Result<(), Error> {
        let open = Weights::open_shapes;
        Self::filled(config, (unet, None), device, Precision::F32, open).map(drop)
    }

    fn filled(
        config: &UNetMotionConfig,
        (unet, motion_adapter): (&ModelFiles, Option<&ModelFiles>),
        device: &B::Device,
        precision: Precision,
        open: OpenWeights,
    ) -> Result<Self, Error> {
        let mut weights = open(unet, "diffusion_pytorch_model")?;
        if let Some(files) = motion_adapter {
            let adapter = open(files, "diffusion_pytorch_model")?;
            let others = |name: &&str| !name.contains(MOTION_MODULES);
            let unused: Vec<String> = adapter.names().filter(others).map(String::from).collect();
            if !unused.is_empty() {
                let faults = KeyFaults {
                    unused,
                    ..KeyFaults::default()
                };
                return Err(adapter.faulty(faults));
            }
            weights = weights.joined(adapter)?;
        }
        // They are the same in every checkpoint; AnimateDiff's own files have them under other names, twice.
        if !weights.names().any(|name| name.ends_with(".pos_embed.pe")) {
            for site in config.sites() {
                let shape = [1, config.motion_max_seq_length, site.channels];
                let name = format!("{}.pos_embed.pe", site.name);
                weights.insert(&name, &shape, sinusoids(shape[1], shape[2]));
            }
        }
        weights.fill_as(precision, config.init(device), &KEY_MAPS.concat())
    }

    /// Names and shapes of the tensors that a checkpoint holds, 1×1 convolutions as the matrices that they are;
    /// no weight is drawn for it.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        expected_tensors(self, &KEY_MAPS.concat())
    }

    pub(crate) fn body(&self) -> &UNetBody<B> {
        &self.body
    }
}
