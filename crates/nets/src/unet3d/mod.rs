//! The 3-D U-Net of ModelScope, ZeroScope and VideoCrafter: a 2-D U-Net over frames whose every layer is
//! followed by one that mixes frames.
//!
//! Source: `UNet3DConditionModel` of the diffusers library, whose field names, keys and configuration are kept.
//! Like that library, and unlike the published code of the method, it runs the temporal layers on a single
//! frame too. Like the published code of the method, it leaves out the embedding of the frame rate that
//! VideoCrafter2 adds to that of the timestep. It is run as a [`VideoUNet`](crate::VideoUNet).

mod blocks;
mod config;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::DType;

use blocks::{DownBlock3D, MidBlock3D, UpBlock3D};
pub(crate) use config::VIDEOCRAFTER_CLASS;
pub use config::{SampleSize, UNet3DConditionConfig};

use crate::kernels::NetBackend;
use crate::layers::adapter::LinearLayer;
use crate::layers::apply::{conv2d, group_norm_silu};
use crate::layers::temporal::{TransformerTemporal, TransformerTemporalConfig};
use crate::layers::timestep::TimestepEmbedding;
use crate::layers::{attention, temporal};
use crate::precision::Precision;
use crate::video_unet::{Features, Pass, Stage};
use crate::weights::OpenWeights;
use crate::{Error, KeyMap, ModelFiles, Weights, expected_tensors};

/// Path of the temporal transformer before the first block.
const TRANSFORMER_IN: &str = "transformer_in";

/// Heads of the temporal transformer before the first block; the published class fixes them.
pub(crate) const TRANSFORMER_IN_HEADS: usize = 8;

/// Keys that are no Rust field names.
const KEY_MAPS: [KeyMap<'static>; 3] =
    [&[(".layers.", ".")], attention::KEY_MAP, temporal::KEY_MAP];

/// Channels of the time embedding.
fn time_embed_dim(config: &UNet3DConditionConfig) -> usize {
    4 * config.block_out_channels[0]
}

/// The network; see the [module docs](self).
#[derive(Module, Debug)]
pub struct UNet3DCondition<B: Backend> {
    conv_in: Conv2d<B>,
    time_embedding: TimestepEmbedding<B>,
    transformer_in: TransformerTemporal<B>,
    down_blocks: Vec<DownBlock3D<B>>,
    mid_block: MidBlock3D<B>,
    up_blocks: Vec<UpBlock3D<B>>,
    conv_norm_out: GroupNorm<B>,
    conv_out: Conv2d<B>,
}

impl UNet3DConditionConfig {
    /// Builds the network with random weights, which are drawn only when first read.
    ///
    /// # Panics
    /// If [`check`](Self::check) would refuse the configuration.
    pub fn init<B: NetBackend>(&self, device: &B::Device) -> UNet3DCondition<B> {
        let channels = self.block_out_channels[0];
        let conv3x3 = |from, to| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        let transformer_in = TransformerTemporalConfig {
            in_channels: channels,
            heads: TRANSFORMER_IN_HEADS,
            head_dim: self.attention_head_dim,
            norm_num_groups: self.norm_num_groups,
        };
        let levels = self.block_out_channels.len();
        UNet3DCondition {
            conv_in: conv3x3(self.in_channels, channels),
            time_embedding: TimestepEmbedding::new(channels, time_embed_dim(self), device),
            transformer_in: transformer_in.init(device),
            down_blocks: (0..levels)
                .map(|level| DownBlock3D::new(self, level, device))
                .collect(),
            mid_block: MidBlock3D::new(self, device),
            up_blocks: (0..levels)
                .map(|index| UpBlock3D::new(self, index, device))
                .collect(),
            conv_norm_out: GroupNormConfig::new(self.norm_num_groups, channels)
                .with_epsilon(self.norm_eps)
                .init(device),
            conv_out: conv3x3(channels, self.out_channels),
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

    /// Names and shapes of the tensors that [`load`](Self::load) reads; no weight is drawn for it.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        expected_tensors(self, &KEY_MAPS.concat())
    }

    pub(crate) fn time_embedding(&self) -> &TimestepEmbedding<B> {
        &self.time_embedding
    }

    pub(crate) fn dtype(&self) -> DType {
        self.conv_in.weight.val().dtype()
    }

    pub(crate) fn stages(&self) -> Vec<Stage> {
        let layers = self.down_blocks.first().map_or(0, DownBlock3D::layers);
        Stage::of(self.down_blocks.len(), layers)
    }

    pub(crate) fn spatial_linears(&self) -> Vec<LinearLayer> {
        let down = self.down_blocks.iter().enumerate();
        let down = down.flat_map(|(i, block)| block.spatial_linears(&format!("down_blocks.{i}")));
        let mid = self.mid_block.spatial_linears("mid_block");
        let up = self.up_blocks.iter().enumerate();
        let up = up.flat_map(|(i, block)| block.spatial_linears(&format!("up_blocks.{i}")));
        down.chain(mid).chain(up).collect()
    }

    pub(crate) fn run_stage(
        &self,
        stage: Stage,
        features: Features<B>,
        pass: &mut Pass<'_, B>,
    ) -> Features<B> {
        let Features {
            mut hidden_states,
            mut skips,
        } = features;
        match stage {
            Stage::Input => {
                hidden_states = conv2d(&self.conv_in, hidden_states);
                pass.show("conv_in", &hidden_states);
                let temporal = pass.hooks.temporal;
                hidden_states = self.transformer_in.forward(
                    hidden_states,
                    pass.frames,
                    TRANSFORMER_IN,
                    temporal,
                );
                pass.show(TRANSFORMER_IN, &hidden_states);
                skips.push(hidden_states.clone());
            }
            Stage::Down { block, layer } => {
                let path = format!("down_blocks.{block}");
                hidden_states =
                    self.down_blocks[block].run_layer(layer, hidden_states, pass, &path);
                skips.push(hidden_states.clone());
            }
            Stage::Downsample { block } => {
                hidden_states = self.down_blocks[block].downsample(hidden_states);
                pass.show(&format!("down_blocks.{block}"), &hidden_states);
                skips.push(hidden_states.clone());
            }
            Stage::Mid => {
                hidden_states = self.mid_block.forward(hidden_states, pass, "mid_block");
            }
            Stage::Up { block, layer } => {
                let Some(skip) = skips.pop() else {
                    panic!("no skip connection is left for {stage:?}")
                };
                let path = format!("up_blocks.{block}");
                let both = Tensor::cat(vec![hidden_states, skip], 1);
                hidden_states = self.up_blocks[block].run_layer(layer, both, pass, &path);
            }
            Stage::Upsample { block } => {
                // An odd size was halved upwards on the way down; the next skip connection knows what it was.
                let size = skips.last().map(|skip| [skip.dims()[2], skip.dims()[3]]);
                hidden_states = self.up_blocks[block].upsample(hidden_states, size);
                pass.show(&format!("up_blocks.{block}"), &hidden_states);
            }
            Stage::Output => {
                let normed = group_norm_silu(&self.conv_norm_out, hidden_states);
                hidden_states = conv2d(&self.conv_out, normed);
            }
        }
        Features {
            hidden_states,
            skips,
        }
    }
}
