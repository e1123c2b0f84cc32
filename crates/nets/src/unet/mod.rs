//! What the denoising U-Nets share: a network over images whose layers may be followed by ones that mix frames.
//!
//! Source: `UNet2DConditionModel`, `UNet3DConditionModel` and `UNetMotionModel` of the diffusers library, which have
//! one skeleton, and in whose checkpoints the same layers have the same names.

mod blocks;
mod plan;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::DType;

use blocks::{DownBlock, MidBlock, UpBlock};
pub(crate) use plan::{FrameMixing, MAX_CHANNELS, UNetPlan};

use crate::KeyMap;
use crate::kernels::NetBackend;
use crate::kernels::layout::joined;
use crate::layers::adapter::LinearLayer;
use crate::layers::apply::{conv2d, group_norm_silu};
use crate::layers::timestep::TimestepEmbedding;
use crate::layers::{attention, temporal};
use crate::video_unet::{Features, Pass, Stage};

/// Keys that are no Rust field names, and fields that are no part of a key.
pub(crate) const KEY_MAPS: [KeyMap<'static>; 3] = [
    &[(".body.", "."), (".layers.", ".")],
    attention::KEY_MAP,
    temporal::KEY_MAP,
];

/// The skeleton of a U-Net with its blocks; see the [module docs](self).
#[derive(Module, Debug)]
pub struct UNetBody<B: Backend> {
    conv_in: Conv2d<B>,
    time_embedding: TimestepEmbedding<B>,
    down_blocks: Vec<DownBlock<B>>,
    mid_block: MidBlock<B>,
    up_blocks: Vec<UpBlock<B>>,
    conv_norm_out: GroupNorm<B>,
    conv_out: Conv2d<B>,
}

impl<B: NetBackend> UNetBody<B> {
    /// Builds the network with random weights, which are drawn only when first read.
    ///
    /// # Panics
    /// If [`UNetPlan::check`] would refuse the plan.
    pub(crate) fn new(plan: &UNetPlan, device: &B::Device) -> Self {
        let channels = plan.block_out_channels[0];
        let conv3x3 = |from, to| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        let levels = plan.block_out_channels.len();
        Self {
            conv_in: conv3x3(plan.in_channels, channels),
            time_embedding: TimestepEmbedding::new(channels, plan.time_embed_dim(), device),
            down_blocks: (0..levels)
                .map(|level| DownBlock::new(plan, level, device))
                .collect(),
            mid_block: MidBlock::new(plan, device),
            up_blocks: (0..levels)
                .map(|index| UpBlock::new(plan, index, device))
                .collect(),
            conv_norm_out: GroupNormConfig::new(plan.norm_num_groups, channels)
                .with_epsilon(plan.norm_eps)
                .init(device),
            conv_out: conv3x3(channels, plan.out_channels),
        }
    }

    pub(crate) fn time_embedding(&self) -> &TimestepEmbedding<B> {
        &self.time_embedding
    }

    pub(crate) fn dtype(&self) -> DType {
        self.conv_in.weight.val().dtype()
    }

    pub(crate) fn stages(&self) -> Vec<Stage> {
        let layers = self.down_blocks.first().map_or(0, DownBlock::layers);
        Stage::of(self.down_blocks.len(), layers)
    }

    /// The linear layers of the spatial transformers, in the order of a forward pass.
    pub(crate) fn spatial_linears(&self) -> Vec<LinearLayer> {
        let down = self.down_blocks.iter().enumerate();
        let down = down.flat_map(|(i, block)| block.spatial_linears(&format!("down_blocks.{i}")));
        let mid = self.mid_block.spatial_linears("mid_block");
        let up = self.up_blocks.iter().enumerate();
        let up = up.flat_map(|(i, block)| block.spatial_linears(&format!("up_blocks.{i}")));
        down.chain(mid).chain(up).collect()
    }

    /// Runs one stage; `after_conv_in` is what the first one does besides, to
    /// `[batch * frames, height, width, channels]`.
    pub(crate) fn run_stage(
        &self,
        stage: Stage,
        features: Features<B>,
        pass: &mut Pass<'_, B>,
        after_conv_in: impl FnOnce(Tensor<B, 4>, &mut Pass<'_, B>) -> Tensor<B, 4>,
    ) -> Features<B> {
        let Features {
            mut hidden_states,
            mut skips,
        } = features;
        match stage {
            Stage::Input => {
                hidden_states = conv2d(&self.conv_in, hidden_states);
                pass.show("conv_in", &hidden_states);
                hidden_states = after_conv_in(hidden_states, pass);
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
                let [below, skip] = [hidden_states, skip].map(|x| pass.for_every_text(x));
                let both = joined(below, skip);
                hidden_states = self.up_blocks[block].run_layer(layer, both, pass, &path);
            }
            Stage::Upsample { block } => {
                // An odd size was halved upwards on the way down; the next skip connection knows what it was.
                let size = skips.last().map(|skip| [skip.dims()[1], skip.dims()[2]]);
                hidden_states = self.up_blocks[block].upsample(hidden_states, size);
                pass.show(&format!("up_blocks.{block}"), &hidden_states);
            }
            Stage::Output => {
                hidden_states = pass.for_every_text(hidden_states);
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
