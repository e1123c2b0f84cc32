//! The text tower of CLIP: token ids to one vector per token and one for the sentence.
//!
//! Attention is causal and nothing else is masked: padding tokens take part, as in the published models.
//! Keys: `text_model.{embeddings.{token,position}_embedding,encoder.layers.N,final_layer_norm}`. Some
//! libraries leave out the `text_model.` prefix; both forms load.

use burn::nn::{Embedding, EmbeddingConfig, LayerNorm};
use burn::prelude::*;
use burn::tensor::FloatDType;
use serde::Deserialize;

use super::encoder::{CLIPEncoder, EncoderFields};
use super::{Section, is_position_ids};
use crate::kernels::NetBackend;
use crate::kernels::elementwise::{add, cast};
use crate::layers::apply::layer_norm_with;
use crate::weights::OpenWeights;
use crate::{Error, ModelFiles, Precision, Weights, expected_tensors};

/// The `eos_token_id` of configurations written before transformers 4.31. It names no end token; the sentence's
/// state is then taken at the first occurrence of the highest id, which is the end token in OpenAI's vocabulary.
const LEGACY_EOS_TOKEN_ID: i64 = 2;

/// Sizes of the text tower, as in `text_encoder/config.json`; a field that is absent there has the default of
/// the transformers library.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct CLIPTextConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Channels of a token.
    pub hidden_size: usize,
    /// Channels inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer.
    pub num_attention_heads: usize,
    /// Most tokens of a text, start and end included.
    pub max_position_embeddings: usize,
    /// `quick_gelu` or `gelu`.
    pub hidden_act: String,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f64,
    /// The token whose state stands for the sentence; 2 means the token with the highest id.
    pub eos_token_id: i64,
}

impl Default for CLIPTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
        }
    }
}

impl CLIPTextConfig {
    /// Builds the network. Weights are drawn when first read, so a network that is about to be loaded costs
    /// nothing. `path` names the configuration in messages.
    ///
    /// # Errors
    /// [`Error::Config`] for a field with a value that is not supported.
    pub fn init<B: NetBackend>(
        &self,
        path: &str,
        device: &B::Device,
    ) -> Result<CLIPTextModel<B>, Error> {
        let section = Section { path, name: "" };
        Ok(CLIPTextModel {
            text_model: self.init_transformer(section, device)?,
        })
    }

    pub(super) fn init_transformer<B: NetBackend>(
        &self,
        section: Section<'_>,
        device: &B::Device,
    ) -> Result<CLIPTextTransformer<B>, Error> {
        section.expect_size("vocab_size", self.vocab_size, 1 << 20)?;
        let positions = self.max_position_embeddings;
        section.expect_size("max_position_embeddings", positions, 1 << 16)?;
        let fields = EncoderFields {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            hidden_act: &self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
        };
        let encoder = fields.init(section, device)?;
        let embedding = |rows| EmbeddingConfig::new(rows, self.hidden_size).init(device);
        Ok(CLIPTextTransformer {
            embeddings: CLIPTextEmbeddings {
                token_embedding: embedding(self.vocab_size),
                position_embedding: embedding(positions),
            },
            encoder,
            final_layer_norm: fields.init_norm(device),
            config: self.clone(),
        })
    }
}

/// The text encoder of a diffusion model; see the [module docs](self).
#[derive(Module, Debug)]
pub struct CLIPTextModel<B: Backend> {
    text_model: CLIPTextTransformer<B>,
}

/// What the text tower makes of token ids: f32, whatever the number format of the weights.
#[derive(Clone, Debug)]
pub struct CLIPTextOutput<B: Backend> {
    /// State of every token after the final layer norm, `[batch, tokens, hidden_size]`: what diffusion networks
    /// are conditioned on.
    pub last_hidden_state: Tensor<B, 3>,
    /// That state at the first end token, `[batch, hidden_size]`.
    pub pooler_output: Tensor<B, 2>,
}

impl<B: NetBackend> CLIPTextModel<B> {
    /// Reads `config.json` and `model.safetensors` (or its shards) from the `text_encoder` folder of a model.
    ///
    /// # Errors
    /// If a file is missing or damaged, the configuration asks for something that is not supported, or the
    /// weights do not fit it.
    pub fn load(
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::filled(files, device, precision, Weights::open)
    }

    /// Checks that the weights of a `text_encoder` folder fit the network by name and shape, without reading their
    /// values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(files: &ModelFiles, device: &B::Device) -> Result<(), Error> {
        Self::filled(files, device, Precision::F32, Weights::open_shapes).map(drop)
    }

    fn filled(
        files: &ModelFiles,
        device: &B::Device,
        precision: Precision,
        open: OpenWeights,
    ) -> Result<Self, Error> {
        let config: CLIPTextConfig = files.json("config.json")?;
        let network: Self = config.init(&files.label("config.json"), device)?;
        let weights = open(files, "model")?.without(is_position_ids);
        let has_prefix = weights.names().any(|name| name.starts_with("text_model."));
        if has_prefix {
            weights.fill_as(precision, network, &[])
        } else {
            let text_model = weights.fill_as(precision, network.text_model, &[])?;
            Ok(Self { text_model })
        }
    }

    /// Names and shapes of the tensors that [`load`](Self::load) reads; no weight is drawn for it.
    pub fn expected_tensors(&self) -> Vec<(String, Vec<usize>)> {
        expected_tensors(self, &[])
    }

    /// The configuration that the network was built from.
    pub fn config(&self) -> &CLIPTextConfig {
        &self.text_model.config
    }

    /// Encodes token ids `[batch, tokens]`.
    ///
    /// # Panics
    /// If there are more tokens than `max_position_embeddings`; ids outside the vocabulary are the caller's
    /// mistake too and may panic, depending on the backend. [`super::CLIPTokenizer::check_fits`] tells
    /// beforehand whether a tokenizer can produce either.
    pub fn forward(&self, input_ids: Tensor<B, 2, Int>) -> CLIPTextOutput<B> {
        self.forward_observed(input_ids, |_, _| {})
    }

    /// As [`CLIPTextModel::forward`]; `observe` sees the embedded tokens as number 0 and the output of layer
    /// `i`, before the final layer norm, as number `i + 1`.
    ///
    /// # Panics
    /// As [`CLIPTextModel::forward`].
    pub fn forward_observed(
        &self,
        input_ids: Tensor<B, 2, Int>,
        observe: impl FnMut(usize, &Tensor<B, 3>),
    ) -> CLIPTextOutput<B> {
        self.text_model.forward(input_ids, observe)
    }
}

/// The text tower without a prefix of its own, so that [`super::CLIPModel`] can hold it as well.
#[derive(Module, Debug)]
pub(super) struct CLIPTextTransformer<B: Backend> {
    embeddings: CLIPTextEmbeddings<B>,
    encoder: CLIPEncoder<B>,
    final_layer_norm: LayerNorm<B>,
    pub(super) config: CLIPTextConfig,
}

#[derive(Module, Debug)]
struct CLIPTextEmbeddings<B: Backend> {
    token_embedding: Embedding<B>,
    position_embedding: Embedding<B>,
}

impl<B: NetBackend> CLIPTextTransformer<B> {
    pub(super) fn forward(
        &self,
        input_ids: Tensor<B, 2, Int>,
        observe: impl FnMut(usize, &Tensor<B, 3>),
    ) -> CLIPTextOutput<B> {
        let [batch, tokens] = input_ids.dims();
        let positions = self.config.max_position_embeddings;
        assert!(
            tokens <= positions,
            "{tokens} tokens given to a text encoder of {positions} positions"
        );
        let position_embeds = self.embeddings.position_embedding.weight.val();
        let hidden_states = add(
            self.embeddings.token_embedding.forward(input_ids.clone()),
            position_embeds.narrow(0, 0, tokens).unsqueeze(),
        ); // [B, S, C]
        let hidden_states = self.encoder.forward(hidden_states, true, observe);
        let epsilon = self.config.layer_norm_eps;
        let normed = layer_norm_with(&self.final_layer_norm, epsilon, hidden_states);
        let last_hidden_state = cast(normed, FloatDType::F32);

        let hidden_size = self.config.hidden_size;
        let end = self
            .end_positions(input_ids)
            .unsqueeze_dim::<3>(2) // [B, 1, 1]
            .expand([batch, 1, hidden_size]);
        let pooler_output = last_hidden_state.clone().gather(1, end);
        CLIPTextOutput {
            last_hidden_state,
            pooler_output: pooler_output.reshape([batch, hidden_size]),
        }
    }

    /// Position of the first end token in each row, or 0 where there is none: `[batch, 1]`.
    fn end_positions(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 2, Int> {
        let [batch, tokens] = input_ids.dims();
        let is_end = if self.config.eos_token_id == LEGACY_EOS_TOKEN_ID {
            input_ids
                .clone()
                .equal(input_ids.max_dim(1).expand([batch, tokens]))
        } else {
            input_ids.clone().equal_elem(self.config.eos_token_id)
        };
        // The smallest marked position, not an argmax: which of several equal values an argmax picks differs
        // from backend to backend.
        let positions = Tensor::arange(0..tokens as i64, &is_end.device()).unsqueeze::<2>();
        positions
            .expand([batch, tokens])
            .mask_fill(is_end.bool_not(), tokens as i64)
            .min_dim(1)
            .remainder_scalar(tokens as i64)
    }
}
