//! The configuration of a motion adapter, from its `config.json` or from the tensors of AnimateDiff's own file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::unet2d::{PerLevel, check_others};
use crate::error::Error;
use crate::original;
use crate::{ModelFiles, Weights};

/// `config.json` of a `MotionAdapter`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MotionAdapterConfig {
    /// Class of the network; `MotionAdapter`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Motion modules of each block on the way down; blocks on the way up have one more.
    #[serde(default = "two")]
    pub motion_layers_per_block: PerLevel,
    /// Motion modules of the middle block, if it has any; 1.
    #[serde(default = "one")]
    pub motion_mid_block_layers_per_block: usize,
    /// Attention heads.
    #[serde(default = "eight")]
    pub motion_num_attention_heads: PerLevel,
    /// Groups of every group norm.
    #[serde(default = "thirty_two")]
    pub motion_norm_num_groups: usize,
    /// Frames at most.
    #[serde(default = "thirty_two")]
    pub motion_max_seq_length: usize,
    /// Whether the middle block has a motion module.
    #[serde(default = "yes")]
    pub use_motion_mid_block: bool,
    /// Channels of a first layer of its own; none.
    #[serde(default)]
    pub conv_in_channels: Option<usize>,
    /// Whatever else the file says.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

fn one() -> usize {
    1
}
fn two() -> PerLevel {
    PerLevel::Same(2)
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

/// Fields that the library knows besides, or knew, with the values that make the modules that are built here.
const SUPPORTED: [(&str, &[&str]); 5] = [
    ("motion_activation_fn", &["geglu"]),
    ("motion_attention_bias", &["false"]),
    ("motion_cross_attention_dim", &["null"]),
    ("motion_transformer_layers_per_block", &["1"]),
    ("motion_transformer_layers_per_mid_block", &["1"]),
];

/// The first motion module of a block on the way down, which every level has.
const FIRST_NORM: &str = "motion_modules.0.norm.weight";

impl MotionAdapterConfig {
    /// Reads `config.json` of a motion adapter's folder. AnimateDiff's own files have none: what can differ between
    /// them is seen in the shapes of their tensors, and heads and groups are those that all of them have.
    ///
    /// # Errors
    /// If the files are missing, damaged, of something else, or describe modules that are not supported.
    pub fn read(files: &ModelFiles) -> Result<Self, Error> {
        const FILE: &str = "config.json";
        if let Some(path) = files.original_path() {
            let max_frames = original::max_frames(&Weights::open_file(path)?);
            let weights = Weights::open(files, "diffusion_pytorch_model")?;
            return Ok(Self::of_weights(&weights, max_frames.unwrap_or(32)));
        }
        let config: Self = files.json(FILE)?;
        config.check(&files.label(FILE))?;
        Ok(config)
    }

    fn of_weights(weights: &Weights, max_frames: usize) -> Self {
        let channels = |level: usize| {
            let shape = weights.shape(&format!("down_blocks.{level}.{FIRST_NORM}"))?;
            shape.first().copied()
        };
        let layer = |index: usize| format!("down_blocks.0.motion_modules.{index}.norm.weight");
        let layers = (0..).take_while(|index| weights.shape(&layer(*index)).is_some());
        Self {
            class_name: "MotionAdapter".into(),
            block_out_channels: (0..).map_while(channels).collect(),
            motion_layers_per_block: PerLevel::Same(layers.count()),
            motion_mid_block_layers_per_block: 1,
            motion_num_attention_heads: eight(),
            motion_norm_num_groups: 32,
            motion_max_seq_length: max_frames,
            use_motion_mid_block: weights.shape(&format!("mid_block.{FIRST_NORM}")).is_some(),
            conv_in_channels: None,
            others: BTreeMap::new(),
        }
    }

    fn check(&self, path: &str) -> Result<(), Error> {
        if self.class_name != "MotionAdapter" {
            let expected = "MotionAdapter";
            return Err(Error::config(
                path,
                "_class_name",
                &self.class_name,
                expected,
            ));
        }
        let layers = self.motion_mid_block_layers_per_block;
        if layers != 1 {
            let field = "motion_mid_block_layers_per_block";
            return Err(Error::config(path, field, layers, "1"));
        }
        if let Some(channels) = self.conv_in_channels {
            return Err(Error::config(path, "conv_in_channels", channels, "null"));
        }
        check_others(&self.others, &SUPPORTED, path)
    }
}
