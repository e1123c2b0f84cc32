//! Sizes of the network, and how they are read off a checkpoint.
//!
//! A published checkpoint is a bare list of tensors without a `config.json`, so the sizes come from the shapes of
//! its tensors. Where a tensor is absent or has another number of axes, the published size stands in, and filling
//! the network then reports the tensor. The number of heads leaves no trace in any shape: it is 8, as published.

use crate::{Error, Weights};

/// Pixels per cell of the feature maps, in both directions.
pub const STRIDE: usize = 4;

/// Values that describe a movement from and to the neighbouring frames: 2 + 2 numbers, and the sine and cosine of
/// each at 10 scales.
pub(super) const MOVEMENT_CHANNELS: usize = 4 + 2 * 4 * super::embedding::SCALES;

/// Sizes of a [`CoTracker3`](super::CoTracker3). The default is the published `scaled_offline` network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoTracker3Config {
    /// Channels of the feature maps; a multiple of 4.
    pub latent_dim: usize,
    /// Levels of the feature pyramid, each half as high and wide as the one before.
    pub corr_levels: usize,
    /// Cells on each side of a point in which features are compared.
    pub corr_radius: usize,
    /// Channels inside the MLP that sums up the comparisons.
    pub corr_hidden_dim: usize,
    /// Channels that this MLP gives for each level.
    pub corr_dim: usize,
    /// Channels of a token in the update transformer.
    pub hidden_size: usize,
    /// Attention heads per layer.
    pub num_heads: usize,
    /// Channels inside the MLPs of the update transformer.
    pub mlp_dim: usize,
    /// Pairs of a block over frames and blocks over tracks.
    pub depth: usize,
    /// Learned tracks through which the others exchange what they know.
    pub num_virtual_tracks: usize,
    /// Frames of the stored time embedding: the longest clips that the network was trained on.
    pub window_len: usize,
    /// Height and width in pixels of the frames that the network was trained on.
    pub model_resolution: [usize; 2],
}

impl Default for CoTracker3Config {
    fn default() -> Self {
        Self {
            latent_dim: 128,
            corr_levels: 4,
            corr_radius: 3,
            corr_hidden_dim: 384,
            corr_dim: 256,
            hidden_size: 384,
            num_heads: 8,
            mlp_dim: 4 * 384,
            depth: 3,
            num_virtual_tracks: 64,
            window_len: 60,
            model_resolution: [384, 512],
        }
    }
}

impl CoTracker3Config {
    /// The sizes that the tensors of a checkpoint have; see the [module docs](self). `path` names the checkpoint
    /// in messages.
    ///
    /// # Errors
    /// [`Error::Config`] if a shape belongs to no network of this kind, or to an absurdly large one.
    pub fn of_weights(weights: &Weights, path: &str) -> Result<Self, Error> {
        let published = Self::default();
        let size = |name: &str, axes: usize, axis: usize| {
            let shape = weights.shape(name)?;
            (shape.len() == axes).then(|| shape[axis])
        };
        let corr_dim = size("corr_mlp.fc2.weight", 2, 0).unwrap_or(published.corr_dim);
        let depth = (0..=MOST_BLOCKS)
            .find(|index| {
                let block = format!("updateformer.time_blocks.{index}.");
                !weights.names().any(|name| name.starts_with(&block))
            })
            .unwrap_or(MOST_BLOCKS + 1);
        let config = Self {
            latent_dim: size("fnet.conv3.weight", 4, 0).unwrap_or(published.latent_dim),
            corr_levels: match size("updateformer.input_transform.weight", 2, 1) {
                Some(input_dim) => levels_of(input_dim, corr_dim, path)?,
                None => published.corr_levels,
            },
            corr_radius: match size("corr_mlp.fc1.weight", 2, 1) {
                Some(pairs) => radius_of(pairs, path)?,
                None => published.corr_radius,
            },
            corr_hidden_dim: size("corr_mlp.fc1.weight", 2, 0).unwrap_or(published.corr_hidden_dim),
            corr_dim,
            hidden_size: size("updateformer.input_transform.weight", 2, 0)
                .unwrap_or(published.hidden_size),
            mlp_dim: size("updateformer.time_blocks.0.mlp.fc1.weight", 2, 0)
                .unwrap_or(published.mlp_dim),
            depth: if depth == 0 { published.depth } else { depth },
            num_virtual_tracks: size("updateformer.virual_tracks", 4, 1)
                .unwrap_or(published.num_virtual_tracks),
            window_len: size("time_emb", 3, 1).unwrap_or(published.window_len),
            ..published
        };
        config.check(path)?;
        Ok(config)
    }

    /// Refuses sizes that no network has. The bounds lie far above the published ones; they keep a damaged file
    /// from asking for absurd amounts of memory.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is out of bounds; `path` names the checkpoint.
    pub fn check(&self, path: &str) -> Result<(), Error> {
        let [height, width] = self.model_resolution;
        let sizes = [
            ("latent_dim", self.latent_dim, 1024),
            ("corr_levels", self.corr_levels, 6),
            ("corr_radius", self.corr_radius, MOST_RADIUS),
            ("corr_hidden_dim", self.corr_hidden_dim, 4096),
            ("corr_dim", self.corr_dim, 4096),
            ("hidden_size", self.hidden_size, 4096),
            ("num_heads", self.num_heads, self.hidden_size),
            ("mlp_dim", self.mlp_dim, 1 << 14),
            ("depth", self.depth, MOST_BLOCKS),
            ("num_virtual_tracks", self.num_virtual_tracks, 1024),
            ("window_len", self.window_len, 256),
            ("model_resolution", height, 2048),
            ("model_resolution", width, 2048),
        ];
        for (field, found, most) in sizes {
            if !(1..=most).contains(&found) {
                let expected = format!("a number from 1 to {most}");
                return Err(Error::config(path, field, found, expected));
            }
        }
        let multiples = [
            ("latent_dim", self.latent_dim, 4),
            ("hidden_size", self.hidden_size, self.num_heads),
            ("model_resolution", height, self.least_side()),
            ("model_resolution", width, self.least_side()),
        ];
        for (field, found, factor) in multiples {
            if !found.is_multiple_of(factor) {
                let expected = format!("a multiple of {factor}");
                return Err(Error::config(path, field, found, expected));
            }
        }
        Ok(())
    }

    /// Height and width in pixels of the smallest frames that every level of the pyramid has a cell for.
    pub(super) fn least_side(&self) -> usize {
        STRIDE << (self.corr_levels - 1)
    }

    /// Channels of a token before the update transformer: visibility, confidence, the comparisons of every level,
    /// and the movement.
    pub(super) fn input_dim(&self) -> usize {
        2 + self.corr_levels * self.corr_dim + MOVEMENT_CHANNELS
    }

    /// Cells along each side of the square in which features are compared.
    pub(super) fn corr_side(&self) -> usize {
        2 * self.corr_radius + 1
    }
}

const MOST_BLOCKS: usize = 24;
const MOST_RADIUS: usize = 6;

/// The number of levels for which tokens have `input_dim` channels.
fn levels_of(input_dim: usize, corr_dim: usize, path: &str) -> Result<usize, Error> {
    let comparisons = input_dim.saturating_sub(2 + MOVEMENT_CHANNELS);
    match comparisons.checked_div(corr_dim) {
        Some(levels) if levels > 0 && comparisons.is_multiple_of(corr_dim) => Ok(levels),
        _ => Err(Error::config(
            path,
            "input channels of updateformer.input_transform.weight",
            input_dim,
            format!("{} and a multiple of {corr_dim}", 2 + MOVEMENT_CHANNELS),
        )),
    }
}

/// The radius at which a square of cells around one point has `pairs` pairs with a square around another.
fn radius_of(pairs: usize, path: &str) -> Result<usize, Error> {
    (1..=MOST_RADIUS)
        .find(|radius| (2 * radius + 1).pow(4) == pairs)
        .ok_or_else(|| {
            Error::config(
                path,
                "input channels of corr_mlp.fc1.weight",
                pairs,
                format!("(2 r + 1)^4 with r from 1 to {MOST_RADIUS}"),
            )
        })
}
