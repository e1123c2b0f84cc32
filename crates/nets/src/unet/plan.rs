//! The sizes that a U-Net is built from, whichever configuration they come from, and where its sites are.

use crate::error::Error;
use crate::sites::{SitePart, TemporalSite};

/// Sizes of a U-Net. Fields that configurations have too are named as there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UNetPlan {
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of the prediction that comes out.
    pub out_channels: usize,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Layers of each block on the way down; blocks on the way up have one more.
    pub layers_per_block: usize,
    /// Channels of the text states.
    pub cross_attention_dim: usize,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Epsilon of the group norms of residual blocks and of the last norm.
    pub norm_eps: f64,
    /// Attention heads of the spatial transformers at each level.
    pub heads: Vec<usize>,
    /// Whether the block on the way down at each level has spatial transformers, the finest level first.
    pub down_attends: Vec<bool>,
    /// Whether each block on the way up has, the coarsest level first.
    pub up_attends: Vec<bool>,
    /// What mixes frames.
    pub mixing: FrameMixing,
}

/// What mixes frames in the layers of a U-Net.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FrameMixing {
    /// A temporal convolution in every layer, and a temporal transformer after every spatial one, with its heads.
    Interleaved,
    /// A motion module after every layer, whether it attends or not.
    MotionModules {
        /// Attention heads at each level.
        heads: Vec<usize>,
        /// Frames at most.
        max_frames: usize,
        /// Whether the middle block has one.
        in_mid_block: bool,
    },
}

/// Bounds on sizes that a file may ask for, well above every published network.
pub(crate) const MAX_CHANNELS: usize = 8192;
const MAX_LEVELS: usize = 8;
const MAX_LAYERS: usize = 16;

impl UNetPlan {
    /// Refuses sizes that fit no network, or that are beyond reason; `path` names the configuration in errors.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is wrong.
    pub fn check(&self, path: &str) -> Result<(), Error> {
        let refuse = |field: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(Error::config(path, field, found, expected))
        };
        let channels = &self.block_out_channels;
        if channels.is_empty() || channels.len() > MAX_LEVELS {
            return refuse("block_out_channels", channels, "one to eight levels");
        }
        for (field, found) in [
            ("norm_num_groups", self.norm_num_groups),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("cross_attention_dim", self.cross_attention_dim),
        ] {
            if found == 0 || found > MAX_CHANNELS {
                return refuse(field, &found, "between 1 and 8192");
            }
        }
        let fits = |channels: &usize| {
            (1..=MAX_CHANNELS).contains(channels) && channels.is_multiple_of(self.norm_num_groups)
        };
        if !channels.iter().all(fits) {
            let expected = "multiples of `norm_num_groups`, at most 8192";
            return refuse("block_out_channels", channels, expected);
        }
        if !channels[0].is_multiple_of(2) {
            let expected = "an even number of channels first";
            return refuse("block_out_channels", channels, expected);
        }
        if self.layers_per_block == 0 || self.layers_per_block > MAX_LAYERS {
            let expected = "between 1 and 16";
            return refuse("layers_per_block", &self.layers_per_block, expected);
        }
        if !(self.norm_eps.is_finite() && self.norm_eps > 0.0) {
            return refuse("norm_eps", &self.norm_eps, "a positive number");
        }
        Ok(())
    }

    /// Channels of the time embedding.
    pub fn time_embed_dim(&self) -> usize {
        4 * self.block_out_channels[0]
    }

    /// Every site of the blocks, in the order in which a forward pass reaches them.
    pub fn sites(&self) -> Vec<TemporalSite> {
        let levels = self.block_out_channels.len();
        let (list, in_every_layer, in_mid_block) = match self.mixing {
            FrameMixing::Interleaved => ("temp_attentions", false, true),
            FrameMixing::MotionModules { in_mid_block, .. } => {
                ("motion_modules", true, in_mid_block)
            }
        };
        let sites = |part: SitePart, block: String, count: usize, level: usize| {
            (0..count).map(move |index| TemporalSite {
                name: format!("{block}.{list}.{index}.transformer_blocks.0"),
                part,
                channels: self.block_out_channels[level],
                level,
            })
        };
        let count = |attends: bool, layers: usize| match attends || in_every_layer {
            true => layers,
            false => 0,
        };
        let down = self.down_attends.iter().enumerate();
        let down = down.flat_map(|(level, attends)| {
            let count = count(*attends, self.layers_per_block);
            sites(SitePart::Down, format!("down_blocks.{level}"), count, level)
        });
        let mid = usize::from(in_mid_block);
        let mid = sites(SitePart::Mid, "mid_block".into(), mid, levels - 1);
        let up = self.up_attends.iter().enumerate();
        let up = up.flat_map(|(index, attends)| {
            let count = count(*attends, self.layers_per_block + 1);
            let block = format!("up_blocks.{index}");
            sites(SitePart::Up, block, count, levels - 1 - index)
        });
        down.chain(mid).chain(up).collect()
    }
}
