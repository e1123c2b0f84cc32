//! The full CLIP: both towers, projected into the space where images and sentences are compared.

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use serde::Deserialize;

use super::text::{CLIPTextConfig, CLIPTextOutput, CLIPTextTransformer};
use super::vision::{CLIPVisionConfig, CLIPVisionOutput, CLIPVisionTransformer};
use super::{Section, is_position_ids};
use crate::kernels::NetBackend;
use crate::weights::OpenWeights;
use crate::{Error, ModelFiles, NamedTensor, Weights};

/// Key of the logarithm of the factor between cosines and logits.
const LOGIT_SCALE: &str = "logit_scale";

/// What that logarithm starts from in training: ln(1 / 0.07).
const INITIAL_LOGIT_SCALE: f32 = 2.6592;

/// Sizes of a [`CLIPModel`], as in its `config.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct CLIPConfig {
    /// The text tower.
    pub text_config: CLIPTextConfig,
    /// The image tower.
    pub vision_config: CLIPVisionConfig,
    /// Channels of an embedding.
    pub projection_dim: usize,
}

impl Default for CLIPConfig {
    fn default() -> Self {
        Self {
            text_config: CLIPTextConfig::default(),
            vision_config: CLIPVisionConfig::default(),
            projection_dim: 512,
        }
    }
}

impl CLIPConfig {
    /// Builds the network. Weights are drawn when first read, so a network that is about to be loaded costs
    /// nothing. `path` names the configuration in messages.
    ///
    /// # Errors
    /// [`Error::Config`] for a field with a value that is not supported.
    pub fn init<B: NetBackend>(
        &self,
        path: &str,
        device: &B::Device,
    ) -> Result<CLIPModel<B>, Error> {
        let section = |name| Section { path, name };
        section("").expect_size("projection_dim", self.projection_dim, 1 << 14)?;
        let projection = |from| {
            LinearConfig::new(from, self.projection_dim)
                .with_bias(false)
                .init(device)
        };
        Ok(CLIPModel {
            text_model: self
                .text_config
                .init_transformer(section("text_config"), device)?,
            vision_model: self
                .vision_config
                .init_transformer(section("vision_config"), device)?,
            text_projection: projection(self.text_config.hidden_size),
            visual_projection: projection(self.vision_config.hidden_size),
            logit_scale: INITIAL_LOGIT_SCALE,
        })
    }
}

/// CLIP with both towers; see the [module docs](self).
#[derive(Module, Debug)]
pub struct CLIPModel<B: Backend> {
    text_model: CLIPTextTransformer<B>,
    vision_model: CLIPVisionTransformer<B>,
    text_projection: Linear<B>,
    visual_projection: Linear<B>,
    /// Logarithm of the factor between cosines and logits. A tensor without axes in the file, which Burn does
    /// not have, hence a plain number.
    logit_scale: f32,
}

impl<B: Backend> CLIPModel<B> {
    /// The learned scale as its checkpoint holds it.
    pub(crate) fn logit_scale(&self) -> NamedTensor {
        NamedTensor {
            name: LOGIT_SCALE.into(),
            shape: Vec::new(),
            values: vec![self.logit_scale],
        }
    }
}

impl<B: NetBackend> CLIPModel<B> {
    /// Reads `config.json` and the weights ([`crate::weight_files`] of `model`) from a folder.
    ///
    /// # Errors
    /// If a file is missing or damaged, the configuration asks for something that is not supported, or the
    /// weights do not fit it.
    pub fn load(files: &ModelFiles, device: &B::Device) -> Result<Self, Error> {
        Self::filled(files, device, Weights::open)
    }

    /// Checks that the weights of a folder fit the network by name and shape, without reading their values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(files: &ModelFiles, device: &B::Device) -> Result<(), Error> {
        Self::filled(files, device, Weights::open_shapes).map(drop)
    }

    fn filled(files: &ModelFiles, device: &B::Device, open: OpenWeights) -> Result<Self, Error> {
        let config: CLIPConfig = files.json("config.json")?;
        let network: Self = config.init(&files.label("config.json"), device)?;
        let mut weights = open(files, "model")?.without(is_position_ids);
        let logit_scale = weights.take_number(LOGIT_SCALE)?;
        Ok(Self {
            logit_scale,
            ..weights.fill(network, &[])?
        })
    }

    /// The configuration of the text tower.
    pub fn text_config(&self) -> &CLIPTextConfig {
        &self.text_model.config
    }

    /// The configuration of the image tower.
    pub fn vision_config(&self) -> &CLIPVisionConfig {
        &self.vision_model.config
    }

    /// Embeddings of unit length, `[batch, projection_dim]`, of images `[batch, 3, image_size, image_size]` as
    /// [`super::ImagePreprocessor`] prepares them.
    ///
    /// # Panics
    /// If the images have another shape.
    pub fn image_embeds(&self, pixel_values: Tensor<B, 4>) -> Tensor<B, 2> {
        let pooled = self.vision_output(pixel_values).pooler_output;
        unit_length(self.visual_projection.forward(pooled))
    }

    /// Embeddings of unit length, `[batch, projection_dim]`, of token ids `[batch, tokens]`.
    ///
    /// # Panics
    /// As [`super::CLIPTextModel::forward`].
    pub fn text_embeds(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        self.text_embeds_of(self.text_output(input_ids).pooler_output)
    }

    /// [`text_embeds`](Self::text_embeds) of what the [text tower](Self::text_output) made of token ids,
    /// `[batch, hidden_size]`.
    ///
    /// # Panics
    /// If the states have another width.
    pub fn text_embeds_of(&self, pooler_output: Tensor<B, 2>) -> Tensor<B, 2> {
        unit_length(self.text_projection.forward(pooler_output))
    }

    /// The image tower alone, before the projection.
    ///
    /// # Panics
    /// As [`CLIPModel::image_embeds`].
    pub fn vision_output(&self, pixel_values: Tensor<B, 4>) -> CLIPVisionOutput<B> {
        self.vision_model.forward(pixel_values)
    }

    /// The text tower alone, before the projection.
    ///
    /// # Panics
    /// As [`CLIPModel::text_embeds`].
    pub fn text_output(&self, input_ids: Tensor<B, 2, Int>) -> CLIPTextOutput<B> {
        self.text_model.forward(input_ids, |_, _| {})
    }

    /// Logits `[images, texts]` of unit embeddings: their cosines times the learned scale. A softmax over the
    /// texts gives the probability that the model assigns to each.
    ///
    /// # Panics
    /// If the embeddings differ in width.
    pub fn logits_per_image(
        &self,
        image_embeds: Tensor<B, 2>,
        text_embeds: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        cosine_similarities(image_embeds, text_embeds) * self.logit_scale.exp()
    }
}

/// Cosines `[rows of a, rows of b]` of embeddings of unit length.
///
/// # Panics
/// If the embeddings differ in width.
pub fn cosine_similarities<B: Backend>(a: Tensor<B, 2>, b: Tensor<B, 2>) -> Tensor<B, 2> {
    a.matmul(b.transpose())
}

/// Divides every row by its Euclidean norm.
fn unit_length<B: Backend>(embeds: Tensor<B, 2>) -> Tensor<B, 2> {
    let norm = embeds.clone().square().sum_dim(1).sqrt(); // [B, 1]
    embeds / norm
}
