//! The configuration of a U-Net of images, as its `config.json` states it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::unet3d::SampleSize;

/// `config.json` of a `UNet2DConditionModel`, and what that of a `UNetMotionModel` shares with it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UNet2DConditionConfig {
    /// Class of the network.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Latent size in latent pixels that the model was trained at.
    #[serde(default)]
    pub sample_size: Option<SampleSize>,
    /// Channels of the latents that go in.
    #[serde(default = "four")]
    pub in_channels: usize,
    /// Channels of the prediction that comes out.
    #[serde(default = "four")]
    pub out_channels: usize,
    /// Kinds of the blocks on the way down.
    pub down_block_types: Vec<String>,
    /// Kinds of the blocks on the way up.
    pub up_block_types: Vec<String>,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Layers of each block on the way down; blocks on the way up have one more.
    #[serde(default = "two_layers")]
    pub layers_per_block: PerLevel,
    /// Channels of the text states.
    pub cross_attention_dim: usize,
    /// Attention heads, in spite of the field's name, which the library keeps for the sake of published files.
    #[serde(default)]
    pub attention_head_dim: Option<PerLevel>,
    /// Attention heads in the configuration of a `UNetMotionModel`.
    #[serde(default)]
    pub num_attention_heads: Option<PerLevel>,
    /// Groups of every group norm.
    #[serde(default = "default_groups")]
    pub norm_num_groups: usize,
    /// Epsilon of the group norms of residual blocks and of the last norm.
    #[serde(default = "default_eps")]
    pub norm_eps: f64,
    /// Whatever else the file says.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A number for all levels, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same everywhere.
    Same(usize),
    /// From the finest level to the coarsest.
    Each(Vec<usize>),
}

impl PerLevel {
    /// One number for each of `levels` levels; `None` if there are as many as do not fit.
    pub fn spread(&self, levels: usize) -> Option<Vec<usize>> {
        match self {
            Self::Same(number) => Some(vec![*number; levels]),
            Self::Each(numbers) => (numbers.len() == levels).then(|| numbers.clone()),
        }
    }

    /// The number, if it is the same for each of `levels` levels.
    pub fn same(&self, levels: usize) -> Option<usize> {
        let numbers = self.spread(levels)?;
        let first = *numbers.first()?;
        numbers
            .iter()
            .all(|number| *number == first)
            .then_some(first)
    }
}

fn four() -> usize {
    4
}
fn two_layers() -> PerLevel {
    PerLevel::Same(2)
}
fn default_groups() -> usize {
    32
}
fn default_eps() -> f64 {
    1e-5
}

/// Fields that the library knows besides, and the values that make the network that is built here: any, where
/// none is listed. An absent field and `null` stand for the library's default, which is among them.
const SUPPORTED: [(&str, &[&str]); 42] = [
    ("act_fn", &["silu", "swish"]),
    ("addition_embed_type", &[NONE]),
    ("addition_embed_type_num_heads", &[]),
    ("addition_time_embed_dim", &[NONE]),
    ("attention_type", &["default"]),
    ("center_input_sample", &["false"]),
    ("class_embed_type", &[NONE]),
    ("class_embeddings_concat", &["false"]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("cross_attention_norm", &[NONE]),
    ("downsample_padding", &["1"]),
    ("dropout", &[]),
    ("dual_cross_attention", &["false"]),
    ("encoder_hid_dim", &[NONE]),
    ("encoder_hid_dim_type", &[NONE]),
    ("flip_sin_to_cos", &["true"]),
    ("freq_shift", &["0"]),
    ("mid_block_layers", &["1"]),
    ("mid_block_only_cross_attention", &["false"]),
    ("mid_block_scale_factor", &["1", "1.0"]),
    ("mid_block_type", &["UNetMidBlock2DCrossAttn"]),
    ("num_class_embeds", &[NONE]),
    ("only_cross_attention", &["false"]),
    ("projection_class_embeddings_input_dim", &[NONE]),
    ("resnet_out_scale_factor", &["1", "1.0"]),
    ("resnet_skip_time_act", &["false"]),
    ("resnet_time_scale_shift", &["default"]),
    ("reverse_motion_num_attention_heads", &[NONE]),
    ("reverse_temporal_transformer_layers_per_block", &[NONE]),
    ("reverse_transformer_layers_per_block", &[NONE]),
    ("temporal_transformer_layers_per_block", &["1"]),
    ("temporal_transformer_layers_per_mid_block", &["1"]),
    ("time_cond_proj_dim", &[NONE]),
    ("time_embedding_act_fn", &[NONE]),
    ("time_embedding_dim", &[NONE]),
    ("time_embedding_type", &["positional"]),
    ("timestep_post_act", &[NONE]),
    ("transformer_layers_per_block", &["1"]),
    ("transformer_layers_per_mid_block", &["1"]),
    ("upcast_attention", &[]),
    // Whether weights around the spatial transformers are matrices or 1×1 convolutions: both fill the same layer.
    ("use_linear_projection", &[]),
];

const NONE: &str = "null";

/// Refuses fields of a configuration that would make another network than the one that is built; `path` names the
/// file in errors.
///
/// # Errors
/// [`Error::Config`] with the first such field.
pub(super) fn check_others(
    others: &BTreeMap<String, Value>,
    supported: &[(&str, &[&str])],
    path: &str,
) -> Result<(), Error> {
    for (field, value) in others {
        // Names with an underscore tell who wrote the file.
        if field.starts_with('_') || value.is_null() {
            continue;
        }
        let Some((_, values)) = supported.iter().find(|(name, _)| name == field) else {
            return Err(Error::config(path, field, value, "a field that is known"));
        };
        let found = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if !values.is_empty() && !values.contains(&found.as_str()) {
            return Err(Error::config(path, field, value, values.join(" or ")));
        }
    }
    Ok(())
}

impl UNet2DConditionConfig {
    /// Refuses what this program does not build, but for sizes; `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is not supported.
    pub(super) fn check(&self, path: &str) -> Result<(), Error> {
        let levels = self.block_out_channels.len();
        let suffix = match self.class_name.as_str() {
            "UNet2DConditionModel" => "2D",
            _ => "Motion",
        };
        for (field, kinds, block) in [
            ("down_block_types", &self.down_block_types, "DownBlock"),
            ("up_block_types", &self.up_block_types, "UpBlock"),
        ] {
            let plain = format!("{block}{suffix}");
            let attending = format!("CrossAttn{plain}");
            let is_known = |kind: &String| *kind == plain || *kind == attending;
            if kinds.len() != levels || !kinds.iter().all(is_known) {
                let expected = format!("{attending} or {plain} for each of `block_out_channels`");
                return Err(Error::config(path, field, kinds, expected));
            }
        }
        if suffix == "2D"
            && let Some(heads) = &self.num_attention_heads
        {
            let expected = "null, for `attention_head_dim` says how many there are";
            return Err(Error::config(path, "num_attention_heads", heads, expected));
        }
        check_others(&self.others, &SUPPORTED, path)
    }

    /// Attention heads at each level: what the library calls heads, where it calls them so.
    pub(super) fn heads(&self) -> PerLevel {
        let given = self.num_attention_heads.as_ref();
        let given = given.or(self.attention_head_dim.as_ref());
        given.cloned().unwrap_or(PerLevel::Same(8))
    }
}
