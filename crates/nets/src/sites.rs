//! Where motion can be written into a network: its temporal transformer blocks, by name.

/// The part of the network in which a site lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SitePart {
    /// `transformer_in`, before the first block.
    In,
    /// The blocks on the way down.
    Down,
    /// The middle block.
    Mid,
    /// The blocks on the way up.
    Up,
}

/// A block with two temporal attentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporalSite {
    /// Path in the published checkpoint, for example `down_blocks.2.temp_attentions.0.transformer_blocks.0`.
    pub name: String,
    /// Part of the network.
    pub part: SitePart,
    /// Channels of the features its attentions read.
    pub channels: usize,
    /// How many times the latents were halved before.
    pub level: usize,
}

impl TemporalSite {
    /// Rows and columns of the site's grid for latents of the given height and width. Every downsampler
    /// rounds up.
    pub fn grid(&self, latent_size: [usize; 2]) -> [usize; 2] {
        latent_size.map(|side| (0..self.level).fold(side, |side, _| side.div_ceil(2)))
    }
}
