//! Low-rank adaptation (LoRA) of the spatial transformers: what a frame looks like, apart from how it moves.
//!
//! Source: *LoRA: Low-Rank Adaptation of Large Language Models* (arXiv:2106.09685). A linear layer `W x + b` becomes
//! `W x + b + strength * alpha / rank * B A x` with `A` `[rank, in]` and `B` `[out, rank]`; the published names of the
//! two matrices are *down* and *up*. The debiased hybrid objective of *Motion Inversion for Video Customization* learns
//! one beside the motion, so that the embeddings need not hold appearance ([`LoraDraw`] says how), and throws it
//! away. It may be kept in the motion file, and LoRAs of others are read and written as the diffusers library does.

mod adapter;
mod file;
mod learning;

use std::collections::BTreeMap;

use kinvert_nets::LinearLayer;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use adapter::{Dropout, LoraAdapter, LoraTensors};
pub(crate) use file::{ADAPTER_METADATA, PREFIX};
pub(crate) use learning::LearnedLora;
pub use learning::LoraDraw;

/// Most columns of `B`; more would be a layer of its own, and a file must not ask for any amount of memory.
pub const MAX_RANK: usize = 1024;

/// A LoRA as plain numbers: what a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpatialLora {
    /// By the path of the layer in the published checkpoint, for example
    /// `down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q`.
    pub layers: BTreeMap<String, LowRank>,
}

/// What is added to one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    rank: usize,
    alpha: f32,
    down: Vec<f32>,
    up: Vec<f32>,
}

impl LowRank {
    /// From `A` `[rank, in]` and `B` `[out, rank]`, row-major. Their product is multiplied by `alpha / rank`.
    ///
    /// # Panics
    /// If the numbers are not as many as there should be.
    pub fn new(rank: usize, alpha: f32, down: Vec<f32>, up: Vec<f32>) -> Self {
        assert!(rank > 0, "a rank of 0");
        assert!(down.len().is_multiple_of(rank) && !down.is_empty(), "A");
        assert!(up.len().is_multiple_of(rank) && !up.is_empty(), "B");
        Self {
            rank,
            alpha,
            down,
            up,
        }
    }

    /// Rows of `A` and columns of `B`.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The factor on the product, times the rank.
    pub fn alpha(&self) -> f32 {
        self.alpha
    }

    /// The factor on the product.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Channels that go in.
    pub fn in_channels(&self) -> usize {
        self.down.len() / self.rank
    }

    /// Channels that come out.
    pub fn out_channels(&self) -> usize {
        self.up.len() / self.rank
    }

    /// `A`, `[rank, in]`.
    pub fn down(&self) -> &[f32] {
        &self.down
    }

    /// `B`, `[out, rank]`.
    pub fn up(&self) -> &[f32] {
        &self.up
    }
}

/// A LoRA: its name for people, and the hash that identifies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoraId {
    /// The file.
    pub name: String,
    /// SHA-256 over its layers, hexadecimal.
    pub sha256: String,
}

impl SpatialLora {
    /// Refuses what a network has no place for, with the reason.
    pub(crate) fn check_fits(&self, linears: &[LinearLayer]) -> Result<(), String> {
        let shapes: BTreeMap<&str, [usize; 2]> = linears
            .iter()
            .map(|layer| (layer.path.as_str(), [layer.in_channels, layer.out_channels]))
            .collect();
        for (path, layer) in &self.layers {
            let Some(expected) = shapes.get(path.as_str()) else {
                return Err(format!(
                    "`{path}` is no linear layer of a spatial transformer of this network"
                ));
            };
            let found = [layer.in_channels(), layer.out_channels()];
            if found != *expected {
                return Err(format!(
                    "the LoRA of `{path}` is for {} channels in and {} out, the layer has {} and {}",
                    found[0], found[1], expected[0], expected[1]
                ));
            }
        }
        Ok(())
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        let mut layers = self.layers.values();
        layers.all(|layer| {
            let mut values = layer.down.iter().chain(&layer.up).chain([&layer.alpha]);
            values.all(|value| value.is_finite())
        })
    }

    /// SHA-256 over the layers: each one's path, rank, alpha, `A` and `B`, hexadecimal.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for (path, layer) in &self.layers {
            hasher.update((path.len() as u64).to_le_bytes());
            hasher.update(path);
            for length in [layer.rank, layer.down.len(), layer.up.len()] {
                hasher.update((length as u64).to_le_bytes());
            }
            for value in [layer.alpha].iter().chain(&layer.down).chain(&layer.up) {
                hasher.update(value.to_le_bytes());
            }
        }
        let digest = hasher.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A LoRA of made-up numbers for layers of the given path, channels in, channels out, rank and alpha.
    pub(crate) fn made_up(layers: &[(&str, usize, usize, usize, f32)]) -> SpatialLora {
        let fill = |count: usize, start: f32| {
            (0..count)
                .map(move |i| (start + i as f32 * 0.7).sin())
                .collect()
        };
        let layer = |&(path, inputs, outputs, rank, alpha): &(&str, usize, usize, usize, f32)| {
            let layer = LowRank::new(
                rank,
                alpha,
                fill(rank * inputs, 0.1),
                fill(outputs * rank, 0.5),
            );
            (path.to_string(), layer)
        };
        SpatialLora {
            layers: layers.iter().map(layer).collect(),
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let linears = [LinearLayer {
            path: "mid_block.attentions.0.proj_in".into(),
            in_channels: 6,
            out_channels: 8,
        }];
        let check = |path, inputs, outputs| {
            made_up(&[(path, inputs, outputs, 2, 2.0)]).check_fits(&linears)
        };
        check("mid_block.attentions.0.proj_in", 6, 8).unwrap();
        assert_eq!(
            check("conv_in", 6, 8).unwrap_err(),
            "`conv_in` is no linear layer of a spatial transformer of this network"
        );
        assert_eq!(
            check("mid_block.attentions.0.proj_in", 8, 6).unwrap_err(),
            "the LoRA of `mid_block.attentions.0.proj_in` is for 8 channels in and 6 out, the layer has 6 and 8"
        );
    }

    #[test]
    fn every_number_changes_the_hash() {
        let lora = made_up(&[("a", 3, 2, 2, 2.0)]);
        let mut others = vec![lora.clone(); 5];
        let layer = |lora: &mut SpatialLora| lora.layers.remove("a").unwrap();
        let changed: Vec<LowRank> = others.iter_mut().map(layer).collect();
        let [mut down, mut up, mut alpha, same, moved] = <[LowRank; 5]>::try_from(changed).unwrap();
        down.down[1] += 1.0;
        up.up[3] += 1.0;
        alpha.alpha = 1.0;
        let hash = |path: &str, layer: LowRank| {
            let layers = BTreeMap::from([(path.to_string(), layer)]);
            SpatialLora { layers }.sha256()
        };
        assert_eq!(hash("a", same), lora.sha256());
        let found = [
            hash("a", down),
            hash("a", up),
            hash("a", alpha),
            hash("b", moved),
        ];
        assert!(
            found.iter().all(|found| *found != lora.sha256()),
            "{found:?}"
        );
    }
}
