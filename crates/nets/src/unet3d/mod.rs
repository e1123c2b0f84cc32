//! The 3-D U-Net of ModelScope, ZeroScope and VideoCrafter: a 2-D U-Net over frames whose every layer is
//! followed by one that mixes frames.
//!
//! Source: `UNet3DConditionModel` of the diffusers library, whose field names, keys and configuration are kept.
//! Like that library, and unlike the published code of the method, it runs the temporal layers on a single
//! frame too. Like the published code of the method, it leaves out the embedding of the frame rate that
//! VideoCrafter2 adds to that of the timestep. It is run as a [`VideoUNet`](crate::VideoUNet).

mod config;

use burn::prelude::*;

pub(crate) use config::VIDEOCRAFTER_CLASS;
pub use config::{SampleSize, UNet3DConditionConfig};

use crate::kernels::NetBackend;
use crate::layers::temporal::{TransformerTemporal, TransformerTemporalConfig};
use crate::precision::Precision;
use crate::unet::{KEY_MAPS, UNetBody};
use crate::video_unet::{Features, Pass, Stage};
use crate::weights::OpenWeights;
use crate::{Error, ModelFiles, Weights, expected_tensors};

/// Path of the temporal transformer before the first block.
const TRANSFORMER_IN: &str = "transformer_in";

/// Heads of the temporal transformer before the first block; the published class fixes them.
pub(crate) const TRANSFORMER_IN_HEADS: usize = 8;

/// The network; see the [module docs](self).
#[derive(Module, Debug)]
pub struct UNet3DCondition<B: Backend> {
    transformer_in: TransformerTemporal<B>,
    body: UNetBody<B>,
}

impl UNet3DConditionConfig {
    /// Builds the network with random weights, which are drawn only when first read.
    ///
    /// # Panics
    /// If [`check`](Self::check) would refuse the configuration.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> UNet3DCondition<B> {
        let transformer_in = TransformerTemporalConfig {
            in_channels: self.block_out_channels[0],
            heads: TRANSFORMER_IN_HEADS,
            head_dim: self.attention_head_dim,
            norm_num_groups: self.norm_num_groups,
            max_positions: None,
        };
        UNet3DCondition {
            transformer_in: transformer_in.init(device),
            body: UNetBody::new(&self.plan(), device),
        }
    }
}

impl<B: NetBackend> UNet3DCondition<B> {
    /// Reads the weights (`diffusion_pytorch_model.safetensors`, whole or in shards) of a `unet/` folder, which
    /// are frozen.
    ///
    /// # Errors
    /// If a file is missing or damaged, or the weights do not fit the configuration.
    pub(crate) fn load(
        config: &UNet3DConditionConfig,
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::filled(config, files, device, precision, Weights::open)
    }

    /// Checks that the weights of a `unet/` folder fit the network by name and shape, without reading their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn check(
        config: &UNet3DConditionConfig,
        files: &ModelFiles,
        device: &B::Device,
    ) -> Result<(), Error> {
        let open = Weights::open_shapes;
        Self::filled(config, files, device, Precision::F32, open).map(drop)
    }

    fn filled(
        config: &UNet3DConditionConfig,
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
        open: OpenWeights,
    ) -> Result<Self, Error> {
        let weights = open(files, "diffusion_pytorch_model")?
            .without(|name| config.is_videocrafter() && name.starts_with("fps_embedding."));
        weights.fill_as(precision, config.init(device), &KEY_MAPS.concat())
    }

    /// Names and shapes of the tensors that a checkpoint holds; no weight is drawn for it.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        expected_tensors(self, &KEY_MAPS.concat())
    }

    pub(crate) fn body(&self) -> &UNetBody<B> {
        &self.body
    }

    pub(crate) fn run_stage(
        &self,
        stage: Stage,
        features: Features<B>,
        pass: &mut Pass<'_, B>,
    ) -> Features<B> {
        self.body
            .run_stage(stage, features, pass, |hidden_states, pass| {
                let (frames, temporal) = (pass.frames, pass.hooks.temporal);
                let hidden_states =
                    self.transformer_in
                        .forward(hidden_states, frames, TRANSFORMER_IN, temporal);
                pass.show(TRANSFORMER_IN, &hidden_states);
                hidden_states
            })
    }
}
