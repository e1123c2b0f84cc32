//! The cost of the autoencoder.

use super::{ForwardCost, LayerCost, attention, convolution, linear, resnet};
use crate::autoencoder_kl::AutoencoderKLConfig;

impl AutoencoderKLConfig {
    /// The cost of encoding `images` images of `[height, width]` pixels at once.
    pub fn encode_cost(&self, images: usize, size: [usize; 2]) -> ForwardCost {
        let walk = Walk::new(self, images, size);
        let mut cost = walk.conv(self.in_channels as u64, walk.width(0), 9, 0);
        for level in 0..walk.levels() {
            let from = walk.width(level.saturating_sub(1));
            for layer in 0..self.layers_per_block {
                let from = if layer == 0 { from } else { walk.width(level) };
                cost = cost.then(walk.resnet(from, walk.width(level), level));
            }
            if level + 1 < walk.levels() {
                let channels = walk.width(level);
                cost = cost.then(walk.conv(channels, channels, 9, level + 1));
            }
        }
        let (last, moments) = (walk.levels() - 1, 2 * self.latent_channels as u64);
        cost = cost.then(walk.middle());
        cost = cost.then(walk.conv(walk.width(last), moments, 9, last));
        if self.use_quant_conv {
            cost = cost.then(walk.conv(moments, moments, 1, last));
        }
        cost.into()
    }

    /// The cost of decoding `images` images of `[height, width]` pixels at once.
    pub fn decode_cost(&self, images: usize, size: [usize; 2]) -> ForwardCost {
        let walk = Walk::new(self, images, size);
        let (last, latents) = (walk.levels() - 1, self.latent_channels as u64);
        let mut cost = walk.conv(latents, walk.width(last), 9, last);
        if self.use_post_quant_conv {
            cost = cost.then(walk.conv(latents, latents, 1, last));
        }
        cost = cost.then(walk.middle());
        for level in (0..=last).rev() {
            let from = walk.width((level + 1).min(last));
            for layer in 0..=self.layers_per_block {
                let from = if layer == 0 { from } else { walk.width(level) };
                cost = cost.then(walk.resnet(from, walk.width(level), level));
            }
            if level > 0 {
                let channels = walk.width(level);
                cost = cost.then(walk.conv(channels, channels, 9, level - 1));
            }
        }
        cost.then(walk.conv(walk.width(0), self.out_channels as u64, 9, 0))
            .into()
    }
}

impl From<LayerCost> for ForwardCost {
    fn from(cost: LayerCost) -> Self {
        Self {
            flops: cost.flops,
            peak: cost.forward,
        }
    }
}

/// Sizes of an autoencoder at work.
struct Walk<'a> {
    config: &'a AutoencoderKLConfig,
    images: u64,
    size: [usize; 2],
}

impl<'a> Walk<'a> {
    fn new(config: &'a AutoencoderKLConfig, images: usize, size: [usize; 2]) -> Self {
        Self {
            config,
            images: images as u64,
            size,
        }
    }

    fn levels(&self) -> usize {
        self.config.block_out_channels.len()
    }

    fn width(&self, level: usize) -> u64 {
        self.config.block_out_channels[level] as u64
    }

    /// Pixels of one image after `level` halvings.
    fn pixels(&self, level: usize) -> u64 {
        (self.size[0] >> level) as u64 * (self.size[1] >> level) as u64
    }

    fn resnet(&self, from: u64, to: u64, level: usize) -> LayerCost {
        resnet(
            from,
            to,
            None,
            self.images,
            self.images * self.pixels(level),
        )
    }

    /// A convolution whose result has the pixels of `level`.
    fn conv(&self, from: u64, to: u64, kernel: u64, level: usize) -> LayerCost {
        let places = self.images * self.pixels(level);
        LayerCost {
            flops: convolution(from, to, kernel, places),
            forward: 2 * (from + to) * places,
            ..LayerCost::default()
        }
    }

    /// Two residual blocks, and between them a self-attention of one head over all positions.
    fn middle(&self) -> LayerCost {
        let level = self.levels() - 1;
        let (channels, pixels) = (self.width(level), self.pixels(level));
        let tokens = self.images * pixels;
        let block = || self.resnet(channels, channels, level);
        let mut cost = block().then(block());
        if self.config.mid_block_add_attention {
            cost.flops += linear(channels, channels, 4 * tokens);
            cost.flops += attention(channels, pixels, pixels, self.images);
            cost.forward = cost.forward.max(7 * channels * tokens);
        }
        cost
    }
}
