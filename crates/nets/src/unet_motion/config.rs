//! The configuration of a U-Net with motion modules: what those of its two parts come to.

use serde::Deserialize;

use super::adapter::MotionAdapterConfig;
use super::unet2d::{PerLevel, UNet2DConditionConfig};
use crate::ModelFiles;
use crate::error::Error;
use crate::sites::TemporalSite;
use crate::unet::{FrameMixing, UNetPlan};
use crate::unet3d::SampleSize;

/// More frames than any motion module was trained for.
const MAX_FRAMES: usize = 1024;

/// A U-Net of images and its motion modules. Where it was saved as one, this is `config.json` of a `UNetMotionModel`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UNetMotionConfig {
    /// The U-Net of images.
    #[serde(flatten)]
    pub unet: UNet2DConditionConfig,
    /// Attention heads of the motion modules.
    #[serde(default = "eight")]
    pub motion_num_attention_heads: PerLevel,
    /// Frames at most: more have no positions.
    #[serde(default = "thirty_two")]
    pub motion_max_seq_length: usize,
    /// Whether the middle block has a motion module.
    #[serde(default = "yes")]
    pub use_motion_mid_block: bool,
}

fn eight() -> PerLevel {
    PerLevel::Same(8)
}
fn thirty_two() -> usize {
    32
}
fn yes() -> bool {
    true
}

impl UNetMotionConfig {
    /// Reads and checks `config.json` of a saved `UNetMotionModel`.
    ///
    /// # Errors
    /// If the file is missing or damaged, or describes a network that is not supported.
    pub fn read(files: &ModelFiles) -> Result<Self, Error> {
        const FILE: &str = "config.json";
        let config: Self = files.json(FILE)?;
        config.check(&files.label(FILE))?;
        Ok(config)
    }

    /// Puts a U-Net of images and a motion adapter together.
    ///
    /// # Errors
    /// If a configuration is missing, damaged or not supported, or the two do not belong together.
    pub fn join(unet: &ModelFiles, motion_adapter: &ModelFiles) -> Result<Self, Error> {
        const FILE: &str = "config.json";
        let path = unet.label(FILE);
        let unet: UNet2DConditionConfig = unet.json(FILE)?;
        let adapter = MotionAdapterConfig::read(motion_adapter)?;
        let adapter_path = motion_adapter.label(FILE);
        let misfit = |field: &str, found: &dyn std::fmt::Debug, expected: String| {
            let expected = format!("{expected}, as the U-Net has");
            Err(Error::config(&adapter_path, field, found, expected))
        };
        let levels = unet.block_out_channels.len();
        if adapter.block_out_channels != unet.block_out_channels {
            let expected = format!("{:?}", unet.block_out_channels);
            return misfit("block_out_channels", &adapter.block_out_channels, expected);
        }
        let layers = &adapter.motion_layers_per_block;
        if layers.spread(levels) != unet.layers_per_block.spread(levels) {
            let expected = format!("{:?}", unet.layers_per_block);
            return misfit("motion_layers_per_block", layers, expected);
        }
        let groups = adapter.motion_norm_num_groups;
        if groups != unet.norm_num_groups {
            let expected = unet.norm_num_groups.to_string();
            return misfit("motion_norm_num_groups", &groups, expected);
        }
        let config = Self {
            unet,
            motion_num_attention_heads: adapter.motion_num_attention_heads,
            motion_max_seq_length: adapter.motion_max_seq_length,
            use_motion_mid_block: adapter.use_motion_mid_block,
        };
        config.check(&path)?;
        Ok(config)
    }

    /// Refuses what this program does not build; `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is not supported.
    pub fn check(&self, path: &str) -> Result<(), Error> {
        let unet = &self.unet;
        unet.check(path)?;
        let levels = unet.block_out_channels.len();
        if unet.layers_per_block.same(levels).is_none() {
            let expected = "one number for all levels";
            let found = &unet.layers_per_block;
            return Err(Error::config(path, "layers_per_block", found, expected));
        }
        let heads = match unet.num_attention_heads {
            Some(_) => "num_attention_heads",
            None => "attention_head_dim",
        };
        for (field, found) in [
            (heads, &unet.heads()),
            (
                "motion_num_attention_heads",
                &self.motion_num_attention_heads,
            ),
        ] {
            let divides =
                |(heads, channels): (usize, &usize)| heads > 0 && channels.is_multiple_of(heads);
            let fits = found.spread(levels).is_some_and(|heads| {
                let mut levels = heads.into_iter().zip(&unet.block_out_channels);
                levels.all(divides)
            });
            if !fits {
                let expected = "divisors of `block_out_channels`";
                return Err(Error::config(path, field, found, expected));
            }
        }
        if !(1..=MAX_FRAMES).contains(&self.motion_max_seq_length) {
            let expected = "between 1 and 1024";
            let found = self.motion_max_seq_length;
            return Err(Error::config(
                path,
                "motion_max_seq_length",
                found,
                expected,
            ));
        }
        self.plan().check(path)
    }

    /// Height and width of the latents that the model was trained at, if the configuration says so.
    pub fn latent_size(&self) -> Option<[usize; 2]> {
        self.unet.sample_size.map(SampleSize::height_and_width)
    }

    /// Every site of the network, in the order in which a forward pass reaches them.
    pub fn sites(&self) -> Vec<TemporalSite> {
        self.plan().sites()
    }

    /// What the network is built from. What is not a number for each level is left empty, which
    /// [`check`](Self::check) refuses before anything is built.
    pub(crate) fn plan(&self) -> UNetPlan {
        let unet = &self.unet;
        let levels = unet.block_out_channels.len();
        let attends = |kind: &String| kind.starts_with("CrossAttn");
        UNetPlan {
            in_channels: unet.in_channels,
            out_channels: unet.out_channels,
            block_out_channels: unet.block_out_channels.clone(),
            layers_per_block: unet.layers_per_block.same(levels).unwrap_or(0),
            cross_attention_dim: unet.cross_attention_dim,
            norm_num_groups: unet.norm_num_groups,
            norm_eps: unet.norm_eps,
            heads: unet.heads().spread(levels).unwrap_or_default(),
            down_attends: unet.down_block_types.iter().map(attends).collect(),
            up_attends: unet.up_block_types.iter().map(attends).collect(),
            mixing: FrameMixing::MotionModules {
                heads: self
                    .motion_num_attention_heads
                    .spread(levels)
                    .unwrap_or_default(),
                max_frames: self.motion_max_seq_length,
                in_mid_block: self.use_motion_mid_block,
            },
        }
    }
}
