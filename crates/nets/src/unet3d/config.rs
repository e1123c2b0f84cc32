//! The configuration of a 3-D U-Net, as its `config.json` states it, and where its sites are.

use serde::Deserialize;

use crate::error::Error;
use crate::sites::{SitePart, TemporalSite};
use crate::unet::{FrameMixing, MAX_CHANNELS, UNetPlan};

/// `config.json` of a `UNet3DConditionModel`. Fields that later versions of the library add are passed over;
/// a value that would change the network in a way this program does not build is refused by
/// [`UNet3DConditionConfig::check`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UNet3DConditionConfig {
    /// Class of the network; `UNet3DConditionModel`, or `UNet3DVideoCrafterConditionModel`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Latent size in latent pixels that the model was trained at.
    #[serde(default)]
    pub sample_size: Option<SampleSize>,
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of the prediction that comes out.
    pub out_channels: usize,
    /// Kinds of the blocks on the way down.
    pub down_block_types: Vec<String>,
    /// Kinds of the blocks on the way up.
    pub up_block_types: Vec<String>,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Layers of each block on the way down; blocks on the way up have one more.
    pub layers_per_block: usize,
    /// Channels of the text states.
    pub cross_attention_dim: usize,
    /// Channels per attention head (the published name and meaning of this field differ between networks).
    pub attention_head_dim: usize,
    /// Groups of every group norm.
    #[serde(default = "default_groups")]
    pub norm_num_groups: usize,
    /// Epsilon of the group norms of residual blocks and of the last norm.
    #[serde(default = "default_eps")]
    pub norm_eps: f64,
    /// Activation; `silu`.
    #[serde(default = "default_act")]
    pub act_fn: String,
    /// Padding of the downsamplers; 1.
    #[serde(default = "one")]
    pub downsample_padding: usize,
    /// Scale of the residual blocks in the middle; 1.
    #[serde(default = "one_f64")]
    pub mid_block_scale_factor: f64,
    /// Not supported by the reference library either.
    #[serde(default)]
    pub num_attention_heads: Option<serde_json::Value>,
    /// Conditioning of the timestep; absent in text-to-video models.
    #[serde(default)]
    pub time_cond_proj_dim: Option<usize>,
}

/// A square or rectangular latent size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SampleSize {
    /// Side of a square.
    Square(usize),
    /// Height and width.
    Rectangle([usize; 2]),
}

impl SampleSize {
    /// Height and width.
    pub fn height_and_width(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Rectangle(size) => size,
        }
    }
}

fn default_groups() -> usize {
    32
}
fn default_eps() -> f64 {
    1e-5
}
fn default_act() -> String {
    "silu".into()
}
fn one() -> usize {
    1
}
fn one_f64() -> f64 {
    1.0
}

/// Class that VideoCrafter2's conversion to the library's format names: the same network with an embedding of the
/// frame rate beside that of the timestep.
pub(crate) const VIDEOCRAFTER_CLASS: &str = "UNet3DVideoCrafterConditionModel";

impl UNet3DConditionConfig {
    /// Refuses what this program does not build; `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is not supported.
    pub fn check(&self, path: &str) -> Result<(), Error> {
        let refuse = |field: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(Error::config(path, field, found, expected))
        };
        if self.class_name != "UNet3DConditionModel" && !self.is_videocrafter() {
            return refuse("_class_name", &self.class_name, "UNet3DConditionModel");
        }
        if self.attention_head_dim == 0 || self.attention_head_dim > MAX_CHANNELS {
            let expected = "between 1 and 8192";
            return refuse("attention_head_dim", &self.attention_head_dim, expected);
        }
        self.plan().check(path)?;
        let is_multiple = |channels: &usize| channels.is_multiple_of(self.attention_head_dim);
        if !self.block_out_channels.iter().all(is_multiple) {
            let expected = "multiples of `attention_head_dim`";
            return refuse("block_out_channels", &self.block_out_channels, expected);
        }
        let levels = self.block_out_channels.len();
        let down = |kind: &str| matches!(kind, "CrossAttnDownBlock3D" | "DownBlock3D");
        if self.down_block_types.len() != levels
            || !self.down_block_types.iter().all(|kind| down(kind))
        {
            let expected = "CrossAttnDownBlock3D or DownBlock3D for each of `block_out_channels`";
            return refuse("down_block_types", &self.down_block_types, expected);
        }
        let up = |kind: &str| matches!(kind, "CrossAttnUpBlock3D" | "UpBlock3D");
        if self.up_block_types.len() != levels || !self.up_block_types.iter().all(|kind| up(kind)) {
            let expected = "CrossAttnUpBlock3D or UpBlock3D for each of `block_out_channels`";
            return refuse("up_block_types", &self.up_block_types, expected);
        }
        if self.act_fn != "silu" && self.act_fn != "swish" {
            return refuse("act_fn", &self.act_fn, "silu");
        }
        if self.downsample_padding != 1 {
            return refuse("downsample_padding", &self.downsample_padding, "1");
        }
        if self.mid_block_scale_factor != 1.0 {
            return refuse("mid_block_scale_factor", &self.mid_block_scale_factor, "1");
        }
        if self.num_attention_heads.is_some() {
            return refuse("num_attention_heads", &self.num_attention_heads, "null");
        }
        if self.time_cond_proj_dim.is_some() {
            return refuse("time_cond_proj_dim", &self.time_cond_proj_dim, "null");
        }
        Ok(())
    }

    /// Whether this is VideoCrafter2, whose files hold an embedding of the frame rate too.
    pub(crate) fn is_videocrafter(&self) -> bool {
        self.class_name == VIDEOCRAFTER_CLASS
    }

    /// Height and width of the latents that the model was trained at, if the configuration says so.
    pub fn latent_size(&self) -> Option<[usize; 2]> {
        self.sample_size.map(SampleSize::height_and_width)
    }

    /// Every site of the network, in the order in which a forward pass reaches them.
    pub fn sites(&self) -> Vec<TemporalSite> {
        let transformer_in = TemporalSite {
            name: "transformer_in.transformer_blocks.0".into(),
            part: SitePart::In,
            channels: super::TRANSFORMER_IN_HEADS * self.attention_head_dim,
            level: 0,
        };
        let mut sites = self.plan().sites();
        sites.insert(0, transformer_in);
        sites
    }

    /// What the network is built from, but for the temporal transformer before the first block.
    pub(crate) fn plan(&self) -> UNetPlan {
        let attends = |kind: &String| kind.starts_with("CrossAttn");
        let heads = |channels: &usize| channels / self.attention_head_dim;
        UNetPlan {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            block_out_channels: self.block_out_channels.clone(),
            layers_per_block: self.layers_per_block,
            cross_attention_dim: self.cross_attention_dim,
            norm_num_groups: self.norm_num_groups,
            norm_eps: self.norm_eps,
            heads: self.block_out_channels.iter().map(heads).collect(),
            down_attends: self.down_block_types.iter().map(attends).collect(),
            up_attends: self.up_block_types.iter().map(attends).collect(),
            mixing: FrameMixing::Interleaved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeroscope() -> UNet3DConditionConfig {
        serde_json::from_value(serde_json::json!({
            "_class_name": "UNet3DConditionModel",
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types":
                ["CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"],
            "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"],
            "block_out_channels": [320, 640, 1280, 1280],
            "layers_per_block": 2,
            "cross_attention_dim": 1024,
            "attention_head_dim": 64,
        }))
        .unwrap()
    }

    #[test]
    fn published_default_sites_of_zeroscope() {
        let config = zeroscope();
        config.check("unet/config.json").unwrap();
        let wide: Vec<_> = config
            .sites()
            .into_iter()
            .filter(|site| {
                site.channels == 1280 && matches!(site.part, SitePart::Down | SitePart::Up)
            })
            .map(|site| (site.name.clone(), site.grid([40, 72])))
            .collect();
        let name =
            |block: &str, index| format!("{block}.temp_attentions.{index}.transformer_blocks.0");
        assert_eq!(
            wide,
            [
                (name("down_blocks.2", 0), [10, 18]),
                (name("down_blocks.2", 1), [10, 18]),
                (name("up_blocks.1", 0), [10, 18]),
                (name("up_blocks.1", 1), [10, 18]),
                (name("up_blocks.1", 2), [10, 18]),
            ]
        );
    }

    #[test]
    fn unsupported_values_are_refused_by_field() {
        type Change = fn(&mut UNet3DConditionConfig);
        let changes: [(&str, Change); 10] = [
            ("_class_name", |c| {
                c.class_name = "UNet2DConditionModel".into()
            }),
            ("block_out_channels", |c| {
                c.block_out_channels = vec![1 << 40, 640, 1280, 1280]
            }),
            ("block_out_channels", |c| c.block_out_channels = vec![]),
            ("down_block_types", |c| {
                c.down_block_types[1] = "AttnDownBlock3D".into()
            }),
            ("up_block_types", |c| {
                c.up_block_types.pop();
            }),
            ("norm_num_groups", |c| c.norm_num_groups = 0),
            ("attention_head_dim", |c| c.attention_head_dim = 0),
            ("act_fn", |c| c.act_fn = "gelu".into()),
            ("mid_block_scale_factor", |c| c.mid_block_scale_factor = 1.4),
            ("layers_per_block", |c| c.layers_per_block = 1 << 60),
        ];
        for (field, change) in changes {
            let mut config = zeroscope();
            change(&mut config);
            let message = config.check("unet/config.json").unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("unet/config.json: `{field}` is ")),
                "{message}"
            );
        }
    }
}
