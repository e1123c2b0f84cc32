//! The cost of denoising networks, stage by stage.

use super::{
    Flops, LayerCost, attention, convolution, linear, resnet, self_attention, transformer,
};
use crate::unet::{FrameMixing, UNetPlan};
use crate::unet3d::TRANSFORMER_IN_HEADS;
use crate::video_unet::{Stage, VideoUNetConfig};

/// Sizes of what a denoising network is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSize {
    /// Clips in the batch.
    pub batch: usize,
    /// Frames of each.
    pub frames: usize,
    /// Height and width of the latents.
    pub latent_size: [usize; 2],
    /// Tokens of the text states.
    pub text_tokens: usize,
}

/// What one stage of a forward pass costs. Memory is counted in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageCost {
    /// The stage.
    pub stage: Stage,
    /// Operations of the forward pass.
    pub flops: Flops,
    /// What is kept for a backward pass.
    pub kept: u64,
    /// Those of them that are kept if the stage's input is not tracked, but what comes from its site on is.
    pub kept_from_site: u64,
    /// Most that is alive at once on the way forward, the stage's input included, earlier skip connections not.
    pub forward: u64,
    /// Most that is alive at once on the way back, beside what is kept.
    pub backward: u64,
    /// What the stage hands on.
    pub output: u64,
}

/// What a pass costs, stage by stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassCost(pub Vec<StageCost>);

impl VideoUNetConfig {
    /// What each stage of a pass costs, in order.
    pub fn cost(&self, size: PassSize) -> PassCost {
        let sizes = Sizes::new(size);
        PassCost(match self {
            Self::Condition3D(config) => {
                let transformer_in = TRANSFORMER_IN_HEADS * config.attention_head_dim;
                unet(&config.plan(), Some(transformer_in as u64), &sizes)
            }
            Self::Motion(config) => unet(&config.plan(), None, &sizes),
        })
    }
}

impl PassCost {
    /// Operations of a forward pass.
    pub fn flops(&self) -> Flops {
        self.0.iter().map(|stage| stage.flops).sum()
    }

    /// Operations of the way back from the end to the stage `first`. The gradient of an input takes one product,
    /// as the forward pass did; that of an attention takes five, for scores are computed again, instead of two.
    pub fn backward_flops(&self, first: Stage) -> Flops {
        let stages = self.from(first).iter();
        stages
            .map(|stage| Flops {
                attention: (stage.flops.attention / 2).saturating_mul(5),
                ..stage.flops
            })
            .sum()
    }

    /// Operations of computing stages from `first` on again.
    pub fn recomputed_flops(&self, first: Stage) -> Flops {
        self.from(first).iter().map(|stage| stage.flops).sum()
    }

    /// Most numbers alive at once in a forward pass of which nothing is kept.
    pub fn forward_peak(&self) -> u64 {
        let alive = |(skips, stage): (u64, &StageCost)| skips + stage.forward;
        self.with_skips().map(alive).max().unwrap_or(0)
    }

    /// Most numbers alive at once if everything from the stage `first` on is kept for the way back.
    pub fn peak_if_kept(&self, first: Stage) -> u64 {
        let stages = self.from(first);
        let kept: u64 = stages.iter().skip(1).map(|stage| stage.kept).sum();
        let of_first = stages.first().map_or(0, |stage| stage.kept_from_site);
        of_first + kept + stages.iter().map(|stage| stage.backward).max().unwrap_or(0)
    }

    /// Most numbers alive at once if only what passes from stage to stage is kept, and stages from `first` on are
    /// computed again on the way back.
    pub fn peak_if_recomputed(&self, first: Stage) -> u64 {
        let start = self.0.len() - self.from(first).len();
        let before = start.saturating_sub(1);
        let mut inputs: u64 = self.0[..before].iter().map(skip_of).sum();
        let mut peak = 0;
        for index in start..self.0.len() {
            let stage = &self.0[index];
            inputs += index
                .checked_sub(1)
                .map_or(0, |before| self.0[before].output);
            peak = peak.max(inputs + stage.kept + stage.backward + stage.output);
        }
        peak.max(self.forward_peak())
    }

    fn from(&self, first: Stage) -> &[StageCost] {
        let start = self.0.iter().position(|stage| stage.stage == first);
        &self.0[start.unwrap_or(0)..]
    }

    /// Every stage with the skip connections that are alive beside its input.
    fn with_skips(&self) -> impl Iterator<Item = (u64, &StageCost)> {
        let mut skips = Vec::new();
        self.0.iter().map(move |stage| {
            let is_down = matches!(stage.stage, Stage::Down { .. } | Stage::Downsample { .. });
            if let Stage::Up { .. } = stage.stage {
                skips.pop();
            }
            let alive: u64 = skips.iter().sum();
            // On the way down the stage's input is the last skip connection itself.
            let shared = if is_down {
                skips.last().copied().unwrap_or(0)
            } else {
                0
            };
            skips.extend(Some(skip_of(stage)).filter(|skip| *skip > 0));
            (alive - shared, stage)
        })
    }
}

/// Numbers of the skip connection that a stage leaves.
fn skip_of(stage: &StageCost) -> u64 {
    match stage.stage {
        Stage::Input | Stage::Down { .. } | Stage::Downsample { .. } => stage.output,
        _ => 0,
    }
}

/// Numbers of things at each level.
struct Sizes {
    batch: u64,
    frames: u64,
    images: u64,
    text_tokens: u64,
    latent_size: [usize; 2],
}

impl Sizes {
    fn new(size: PassSize) -> Self {
        let (batch, frames) = (size.batch as u64, size.frames as u64);
        Self {
            batch,
            frames,
            images: batch * frames,
            text_tokens: size.text_tokens as u64,
            latent_size: size.latent_size,
        }
    }

    /// Pixels of one image after `level` halvings, each of which rounds up.
    fn pixels(&self, level: usize) -> u64 {
        let side = |side: usize| (0..level).fold(side, |side, _| side.div_ceil(2)) as u64;
        side(self.latent_size[0]) * side(self.latent_size[1])
    }

    /// Pixels of all images.
    fn places(&self, level: usize) -> u64 {
        self.images * self.pixels(level)
    }
}

/// A U-Net, and the width of the temporal transformer before its first block, if it has one.
fn unet(plan: &UNetPlan, transformer_in: Option<u64>, sizes: &Sizes) -> Vec<StageCost> {
    let widths: Vec<u64> = plan.block_out_channels.iter().map(|c| *c as u64).collect();
    let temb = 4 * widths[0];
    let last = widths.len() - 1;
    let network = Network {
        sizes,
        cross_attention_dim: plan.cross_attention_dim as u64,
    };
    let layer = |from: u64, to: u64, level: usize, attends: bool, moves: bool| {
        let places = sizes.places(level);
        let mut cost = resnet(from, to, Some(temb), sizes.images, places);
        // What mixes frames: convolutions, and attention.
        let (convolves, mixes) = match plan.mixing {
            FrameMixing::Interleaved => (true, attends),
            FrameMixing::MotionModules { .. } => (false, moves),
        };
        if convolves {
            cost = cost.then(temporal_conv(to, places));
        }
        if attends {
            cost = cost.then(network.spatial(to, to, level));
        }
        if mixes {
            cost = cost.then(network.temporal(to, to, level));
        }
        cost
    };
    let stages = Stage::of(widths.len(), plan.layers_per_block);
    let cost = |stage: Stage| {
        let (cost, out_channels, out_level) = match stage {
            Stage::Input => {
                let time = linear(widths[0], temb, 1) + linear(temb, temb, 1);
                let conv = convolution(plan.in_channels as u64, widths[0], 9, sizes.places(0));
                let mut cost = match transformer_in {
                    Some(inner) => network.temporal(widths[0], inner, 0),
                    None => LayerCost {
                        forward: (plan.in_channels as u64 + widths[0]) * sizes.places(0),
                        ..LayerCost::default()
                    },
                };
                cost.flops += time + conv;
                (cost, widths[0], 0)
            }
            Stage::Down {
                block,
                layer: index,
            } => {
                let from = match index {
                    0 => widths[block.saturating_sub(1)],
                    _ => widths[block],
                };
                let attends = plan.down_attends[block];
                let cost = layer(from, widths[block], block, attends, true);
                (cost, widths[block], block)
            }
            Stage::Downsample { block } => {
                let (channels, to) = (widths[block], sizes.places(block + 1));
                let cost = resampling(channels, sizes.places(block), to);
                (cost, channels, block + 1)
            }
            Stage::Mid => {
                let channels = widths[last];
                let moves = match plan.mixing {
                    FrameMixing::Interleaved => true,
                    FrameMixing::MotionModules { in_mid_block, .. } => in_mid_block,
                };
                let first = layer(channels, channels, last, true, moves);
                let cost = first.then(layer(channels, channels, last, false, false));
                (cost, channels, last)
            }
            Stage::Up {
                block,
                layer: index,
            } => {
                let level = last - block;
                let below = widths[(level + 1).min(last)];
                let above = widths[level.saturating_sub(1)];
                let hidden = if index == 0 { below } else { widths[level] };
                let is_last = index == plan.layers_per_block;
                let skip = if is_last { above } else { widths[level] };
                let attends = plan.up_attends[block];
                let cost = layer(hidden + skip, widths[level], level, attends, true);
                (cost, widths[level], level)
            }
            Stage::Upsample { block } => {
                let level = last - block;
                let (from, to) = (sizes.places(level), sizes.places(level - 1));
                (
                    resampling(widths[level], from, to),
                    widths[level],
                    level - 1,
                )
            }
            Stage::Output => {
                let places = sizes.places(0);
                let out = plan.out_channels as u64;
                let cost = LayerCost {
                    flops: convolution(widths[0], out, 9, places),
                    kept: widths[0] * places,
                    kept_from_site: None,
                    forward: (2 * widths[0] + out) * places,
                    backward: (widths[0] + out) * places,
                };
                (cost, out, 0)
            }
        };
        StageCost {
            stage,
            flops: cost.flops,
            kept: cost.kept,
            kept_from_site: cost.kept_from_site.unwrap_or(cost.kept),
            forward: cost.forward,
            backward: cost.backward,
            output: out_channels * sizes.places(out_level),
        }
    };
    stages.into_iter().map(cost).collect()
}

/// What the transformers of one network share.
struct Network<'a> {
    sizes: &'a Sizes,
    cross_attention_dim: u64,
}

impl Network<'_> {
    /// A spatial transformer.
    fn spatial(&self, channels: u64, inner: u64, level: usize) -> LayerCost {
        let (tokens, length) = (self.sizes.places(level), self.sizes.pixels(level));
        let text = self.sizes.text_tokens;
        // Text is projected once for every clip; frames of a clip read it together.
        let cross = LayerCost {
            flops: linear(inner, inner, 2 * tokens)
                + linear(self.cross_attention_dim, inner, 2 * text * self.sizes.batch)
                + attention(inner, tokens, text, 1),
            kept: 2 * inner * tokens,
            ..LayerCost::default()
        };
        transformer(channels, inner, tokens)
            .then(self_attention(inner, tokens, length))
            .then(cross)
    }

    /// A temporal transformer with double self-attention.
    fn temporal(&self, channels: u64, inner: u64, level: usize) -> LayerCost {
        let (tokens, length) = (self.sizes.places(level), self.sizes.frames);
        let cost = transformer(channels, inner, tokens)
            .then(self_attention(inner, tokens, length))
            .then(self_attention(inner, tokens, length));
        LayerCost {
            kept_from_site: Some(cost.kept),
            ..cost
        }
    }
}

/// Four convolutions over three frames.
fn temporal_conv(channels: u64, places: u64) -> LayerCost {
    LayerCost {
        flops: convolution(channels, channels, 3, places) * 4,
        kept: 4 * channels * places,
        kept_from_site: None,
        forward: 4 * channels * places,
        backward: 3 * channels * places,
    }
}

/// A 3×3 convolution that gives `to` places; an enlargement makes as many of its input first.
fn resampling(channels: u64, from: u64, to: u64) -> LayerCost {
    let enlarged = if to > from { to } else { 0 };
    LayerCost {
        flops: convolution(channels, channels, 9, to),
        kept: 0,
        kept_from_site: None,
        forward: channels * (from + enlarged + to),
        backward: channels * (from + enlarged + to),
    }
}
