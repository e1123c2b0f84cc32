//! The image tower of CLIP: a vision transformer with a class token.
//!
//! Keys: `vision_model.{embeddings.{class_embedding,patch_embedding,position_embedding},pre_layrnorm,
//! encoder.layers.N,post_layernorm}`; `pre_layrnorm` is spelled as published.

use burn::module::{Initializer, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm};
use burn::prelude::*;
use serde::Deserialize;

use super::Section;
use super::encoder::{CLIPEncoder, EncoderFields};
use crate::Error;
use crate::kernels::NetBackend;

/// Sizes of the image tower, as in the `vision_config` of `config.json`; a field that is absent there has the
/// default of the transformers library.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct CLIPVisionConfig {
    /// Channels of a token.
    pub hidden_size: usize,
    /// Channels inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer.
    pub num_attention_heads: usize,
    /// Colour channels; only 3 is supported.
    pub num_channels: usize,
    /// Height and width of an image in pixels.
    pub image_size: usize,
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// `quick_gelu` or `gelu`.
    pub hidden_act: String,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
}

impl Default for CLIPVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

impl CLIPVisionConfig {
    pub(super) fn init_transformer<B: NetBackend>(
        &self,
        section: Section<'_>,
        device: &B::Device,
    ) -> Result<CLIPVisionTransformer<B>, Error> {
        if self.num_channels != 3 {
            return Err(section.refuse("num_channels", self.num_channels, "3"));
        }
        section.expect_size("image_size", self.image_size, 1 << 12)?;
        section.expect_size("patch_size", self.patch_size, self.image_size)?;
        let fields = EncoderFields {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            hidden_act: &self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
        };
        let encoder = fields.init(section, device)?;
        let patches = (self.image_size / self.patch_size).pow(2);
        Ok(CLIPVisionTransformer {
            embeddings: CLIPVisionEmbeddings {
                class_embedding: Initializer::Zeros.init([self.hidden_size], device),
                patch_embedding: Conv2dConfig::new(
                    [self.num_channels, self.hidden_size],
                    [self.patch_size; 2],
                )
                .with_stride([self.patch_size; 2])
                .with_bias(false)
                .init(device),
                position_embedding: EmbeddingConfig::new(patches + 1, self.hidden_size)
                    .init(device),
            },
            pre_layrnorm: fields.init_norm(device),
            encoder,
            post_layernorm: fields.init_norm(device),
            config: self.clone(),
        })
    }
}

/// What the image tower makes of pixels.
#[derive(Clone, Debug)]
pub struct CLIPVisionOutput<B: Backend> {
    /// State of the class token and of every patch, `[batch, 1 + patches, hidden_size]`.
    pub last_hidden_state: Tensor<B, 3>,
    /// The class token's state after the last layer norm, `[batch, hidden_size]`.
    pub pooler_output: Tensor<B, 2>,
}

/// The image tower; see the [module docs](self).
#[derive(Module, Debug)]
pub(super) struct CLIPVisionTransformer<B: Backend> {
    embeddings: CLIPVisionEmbeddings<B>,
    pre_layrnorm: LayerNorm<B>,
    encoder: CLIPEncoder<B>,
    post_layernorm: LayerNorm<B>,
    pub(super) config: CLIPVisionConfig,
}

#[derive(Module, Debug)]
struct CLIPVisionEmbeddings<B: Backend> {
    class_embedding: Param<Tensor<B, 1>>,
    patch_embedding: Conv2d<B>,
    position_embedding: Embedding<B>,
}

impl<B: NetBackend> CLIPVisionTransformer<B> {
    pub(super) fn forward(&self, pixel_values: Tensor<B, 4>) -> CLIPVisionOutput<B> {
        let [batch, channels, height, width] = pixel_values.dims();
        let size = self.config.image_size;
        assert_eq!(
            [channels, height, width],
            [self.config.num_channels, size, size],
            "shape of an image given to the image tower"
        );
        let hidden_states = self.embeddings.forward(pixel_values);
        let hidden_states = self.pre_layrnorm.forward(hidden_states);
        let last_hidden_state = self.encoder.forward(hidden_states, false, |_, _| {});
        let class_state = last_hidden_state.clone().narrow(1, 0, 1); // [B, 1, C]
        let pooler_output = self.post_layernorm.forward(class_state);
        CLIPVisionOutput {
            last_hidden_state,
            pooler_output: pooler_output.reshape([batch, self.config.hidden_size]),
        }
    }
}

impl<B: Backend> CLIPVisionEmbeddings<B> {
    /// `[B, 3, H, W]` to `[B, 1 + patches, C]`.
    fn forward(&self, pixel_values: Tensor<B, 4>) -> Tensor<B, 3> {
        let patches = self
            .patch_embedding
            .forward(pixel_values) // [B, C, rows, columns]
            .flatten::<3>(2, 3)
            .swap_dims(1, 2); // [B, patches, C]
        let [batch, _, hidden_size] = patches.dims();
        let class_token = self.class_embedding.val().unsqueeze::<3>(); // [1, 1, C]
        let tokens = Tensor::cat(
            vec![class_token.expand([batch, 1, hidden_size]), patches],
            1,
        );
        tokens + self.position_embedding.weight.val().unsqueeze()
    }
}
