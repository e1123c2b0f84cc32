//! A forward pass in stages, so that it can be cut between any two of them.
//!
//! Every denoising network here is a U-Net with the same skeleton; what lives from one stage to the next are the
//! [`Features`]. A gradient can therefore be computed stage by stage from the end, with each stage's activations
//! computed again when they are needed (*Training Deep Nets with Sublinear Memory Cost*, arXiv:1604.06174).

use burn::prelude::*;

use crate::kernels::NetBackend;
use crate::layers::adapter::{LinearAdapter, Place};
use crate::layers::apply::channels_first;
use crate::layers::temporal::TemporalModulation;

/// A step of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Everything before the first block.
    Input,
    /// A layer of a block on the way down; its output is also a skip connection.
    Down {
        /// The block.
        block: usize,
        /// The layer in it.
        layer: usize,
    },
    /// The downsampler of a block; its output is also a skip connection.
    Downsample {
        /// The block.
        block: usize,
    },
    /// The middle block.
    Mid,
    /// A layer of a block on the way up; it reads the last skip connection.
    Up {
        /// The block.
        block: usize,
        /// The layer in it.
        layer: usize,
    },
    /// The upsampler of a block.
    Upsample {
        /// The block.
        block: usize,
    },
    /// Everything after the last block.
    Output,
}

impl Stage {
    /// The stages of a network with `levels` resolutions and `layers` layers in each block on the way down, in
    /// order.
    pub(crate) fn of(levels: usize, layers: usize) -> Vec<Self> {
        let mut stages = vec![Self::Input];
        for block in 0..levels {
            stages.extend((0..layers).map(|layer| Self::Down { block, layer }));
            if block + 1 < levels {
                stages.push(Self::Downsample { block });
            }
        }
        stages.push(Self::Mid);
        for block in 0..levels {
            stages.extend((0..=layers).map(|layer| Self::Up { block, layer }));
            if block + 1 < levels {
                stages.push(Self::Upsample { block });
            }
        }
        stages.push(Self::Output);
        stages
    }
}

impl Stage {
    /// The stage in which the layer at a path of a published checkpoint is run, for example
    /// `down_blocks.2.temp_attentions.0.transformer_blocks.0`; none for a path of another form.
    pub fn containing(path: &str) -> Option<Self> {
        let mut parts = path.split('.');
        let part = parts.next()?;
        match part {
            "mid_block" => return Some(Self::Mid),
            "down_blocks" | "up_blocks" => {}
            "conv_norm_out" | "conv_out" => return Some(Self::Output),
            _ => return Some(Self::Input),
        }
        let block = parts.next()?.parse().ok()?;
        let kind = parts.next()?;
        let layer = parts.next()?.parse().ok()?;
        Some(match (part, kind) {
            (_, "downsamplers") => Self::Downsample { block },
            (_, "upsamplers") => Self::Upsample { block },
            ("down_blocks", _) => Self::Down { block, layer },
            _ => Self::Up { block, layer },
        })
    }
}

/// What one stage hands to the next, each tensor `[batch * frames, height, width, channels]`.
#[derive(Debug, Clone)]
pub struct Features<B: Backend> {
    /// What the next stage works on.
    pub hidden_states: Tensor<B, 4>,
    /// What stages on the way up will read, the last first.
    pub skips: Vec<Tensor<B, 4>>,
}

/// What a caller may change inside a network. The default changes nothing.
pub struct Hooks<'a, B: Backend> {
    /// What the temporal attentions read.
    pub temporal: Option<&'a dyn TemporalModulation<B>>,
    /// What linear layers of the spatial transformers give.
    pub spatial: Option<&'a dyn LinearAdapter<B>>,
}

impl<'a, B: Backend> Hooks<'a, B> {
    /// Changes what the temporal attentions read, if anything, and nothing else.
    pub fn temporal(modulation: Option<&'a dyn TemporalModulation<B>>) -> Self {
        Self {
            temporal: modulation,
            spatial: None,
        }
    }
}

impl<B: Backend> Default for Hooks<'_, B> {
    fn default() -> Self {
        Self {
            temporal: None,
            spatial: None,
        }
    }
}

impl<B: Backend> Clone for Hooks<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Hooks<'_, B> {}

/// Receives outputs `[batch * frames, channels, height, width]` by the path of the layer they come from.
pub type Observer<'a, B> = dyn FnMut(&str, Tensor<B, 4>) + 'a;

/// What every stage of one forward pass shares.
pub struct Pass<'a, B: Backend> {
    /// Frames per clip.
    pub(crate) frames: usize,
    /// Time embedding, `[batch * frames, channels]`, or `[1, channels]` where it is the same for all.
    pub(crate) temb: Tensor<B, 2>,
    /// Text states, `[texts, text tokens, channels]`: as many as there are clips, or several for a single one.
    pub(crate) encoder_hidden_states: Tensor<B, 3>,
    /// What the caller changes.
    pub(crate) hooks: Hooks<'a, B>,
    /// Receives the output of every layer by its path.
    pub(crate) observe: Option<&'a mut Observer<'a, B>>,
}

impl<'a, B: NetBackend> Pass<'a, B> {
    /// The same pass with other hooks, and nobody who watches.
    pub fn with_hooks<'h>(&self, hooks: Hooks<'h, B>) -> Pass<'h, B> {
        Pass {
            frames: self.frames,
            temb: self.temb.clone(),
            encoder_hidden_states: self.encoder_hidden_states.clone(),
            hooks,
            observe: None,
        }
    }

    /// Features `[batch * frames, height, width, channels]` of a single clip, once for every text; of several clips, or
    /// after a layer that has read the texts, as they are.
    pub(crate) fn for_every_text(&self, features: Tensor<B, 4>) -> Tensor<B, 4> {
        let texts = self.encoder_hidden_states.dims()[0];
        match features.dims()[0] == texts * self.frames {
            true => features,
            false => features.repeat_dim(0, texts),
        }
    }

    /// Shows `[batch * frames, height, width, channels]` to whoever watches.
    pub(crate) fn show(&mut self, path: &str, output: &Tensor<B, 4>) {
        if let Some(observe) = &mut self.observe {
            observe(path, channels_first(output.clone()));
        }
    }

    /// The place at `path` for whoever changes spatial layers.
    pub(crate) fn place<'p>(&self, path: &'p str) -> Place<'p, B>
    where
        'a: 'p,
    {
        Place::new(path, self.hooks.spatial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_their_stage() {
        for (path, stage) in [
            ("transformer_in.transformer_blocks.0", Some(Stage::Input)),
            (
                "down_blocks.2.temp_attentions.1.a.0",
                Some(Stage::Down { block: 2, layer: 1 }),
            ),
            (
                "down_blocks.0.downsamplers.0.conv",
                Some(Stage::Downsample { block: 0 }),
            ),
            ("mid_block.attentions.0", Some(Stage::Mid)),
            (
                "up_blocks.1.motion_modules.2.a",
                Some(Stage::Up { block: 1, layer: 2 }),
            ),
            (
                "up_blocks.1.upsamplers.0.conv",
                Some(Stage::Upsample { block: 1 }),
            ),
            ("conv_out", Some(Stage::Output)),
            ("up_blocks.x.attentions.0", None),
            ("down_blocks", None),
        ] {
            assert_eq!(Stage::containing(path), stage, "{path}");
        }
    }

    #[test]
    fn as_many_skips_are_read_as_written() {
        for (levels, layers) in [(1, 1), (3, 1), (4, 2)] {
            let mut skips = 0_i32;
            for stage in Stage::of(levels, layers) {
                skips += match stage {
                    Stage::Input | Stage::Down { .. } | Stage::Downsample { .. } => 1,
                    Stage::Up { .. } => -1,
                    Stage::Mid | Stage::Upsample { .. } | Stage::Output => 0,
                };
                assert!(skips >= 0, "{levels} levels, {layers} layers: {stage:?}");
            }
            assert_eq!(skips, 0);
        }
    }
}
