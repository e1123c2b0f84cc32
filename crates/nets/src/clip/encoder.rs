//! The transformer that both towers of CLIP are made of.
//!
//! Norms, attention and activations are computed in f32 whatever the weights' type; there are few tokens, so that
//! costs nothing.
//!
//! Keys: `encoder.layers.N.{layer_norm1,self_attn.{q,k,v,out}_proj,layer_norm2,mlp.{fc1,fc2}}`.

use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::FloatDType;
use burn::tensor::activation::sigmoid;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;

use super::Section;
use crate::Error;
use crate::kernels::NetBackend;
use crate::kernels::attention::attention_tokens;
use crate::kernels::elementwise::{add, cast, gelu};
use crate::layers::apply::{cast_like, layer_norm_with, linear};

/// The non-linearity of the feed-forward layers, `hidden_act` in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, named `quick_gelu`: OpenAI's models.
    QuickGelu,
    /// The exact `x * Φ(x)`, named `gelu`: OpenCLIP's models, among them Stable Diffusion 2 and ZeroScope.
    Gelu,
}

impl Activation {
    fn forward<B: NetBackend>(self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let wide = cast(x.clone(), FloatDType::F32);
        let activated = match self {
            Self::QuickGelu => wide.clone() * sigmoid(wide * 1.702),
            Self::Gelu => gelu(wide),
        };
        cast_like(activated, &x)
    }
}

/// The sizes of one tower's [`CLIPEncoder`], as its section of `config.json` gives them.
pub(super) struct EncoderFields<'a> {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub hidden_act: &'a str,
    pub layer_norm_eps: f64,
}

impl EncoderFields<'_> {
    /// Builds the encoder. Weights are drawn when first read, so one that is about to be loaded costs nothing.
    pub(super) fn init<B: NetBackend>(
        &self,
        section: Section<'_>,
        device: &B::Device,
    ) -> Result<CLIPEncoder<B>, Error> {
        section.expect_size("hidden_size", self.hidden_size, 1 << 14)?;
        section.expect_size("intermediate_size", self.intermediate_size, 1 << 16)?;
        section.expect_size("num_hidden_layers", self.num_hidden_layers, 128)?;
        section.expect_size("num_attention_heads", self.num_attention_heads, 1 << 14)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let expected = format!("a divisor of `hidden_size`, which is {}", self.hidden_size);
            return Err(section.refuse("num_attention_heads", self.num_attention_heads, expected));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            let expected = "a number between 0 and 1";
            return Err(section.refuse("layer_norm_eps", self.layer_norm_eps, expected));
        }
        let activation = match self.hidden_act {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            other => {
                return Err(section.refuse("hidden_act", other, "\"quick_gelu\" or \"gelu\""));
            }
        };
        let layer = |_| self.init_layer(activation, device);
        Ok(CLIPEncoder {
            layers: (0..self.num_hidden_layers).map(layer).collect(),
        })
    }

    fn init_layer<B: NetBackend>(
        &self,
        activation: Activation,
        device: &B::Device,
    ) -> CLIPEncoderLayer<B> {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let (hidden, intermediate) = (self.hidden_size, self.intermediate_size);
        CLIPEncoderLayer {
            layer_norm1: self.init_norm(device),
            self_attn: CLIPAttention {
                q_proj: linear(hidden, hidden),
                k_proj: linear(hidden, hidden),
                v_proj: linear(hidden, hidden),
                out_proj: linear(hidden, hidden),
                num_heads: self.num_attention_heads,
            },
            layer_norm2: self.init_norm(device),
            layer_norm_eps: self.layer_norm_eps,
            mlp: CLIPMlp {
                fc1: linear(hidden, intermediate),
                fc2: linear(intermediate, hidden),
                activation,
            },
        }
    }

    /// A layer norm over the tower's channels.
    pub(super) fn init_norm<B: Backend>(&self, device: &B::Device) -> LayerNorm<B> {
        LayerNormConfig::new(self.hidden_size)
            .with_epsilon(self.layer_norm_eps)
            .init(device)
    }
}

/// A stack of pre-norm transformer layers.
#[derive(Module, Debug)]
pub struct CLIPEncoder<B: Backend> {
    layers: Vec<CLIPEncoderLayer<B>>,
}

impl<B: NetBackend> CLIPEncoder<B> {
    /// Runs the layers on `[batch, tokens, channels]`. `observe` sees the input as number 0 and the output of
    /// layer `i` as number `i + 1`.
    pub(super) fn forward(
        &self,
        mut hidden_states: Tensor<B, 3>,
        is_causal: bool,
        mut observe: impl FnMut(usize, &Tensor<B, 3>),
    ) -> Tensor<B, 3> {
        observe(0, &hidden_states);
        for (index, layer) in self.layers.iter().enumerate() {
            hidden_states = layer.forward(hidden_states, is_causal);
            observe(index + 1, &hidden_states);
        }
        hidden_states
    }
}

#[derive(Module, Debug)]
struct CLIPEncoderLayer<B: Backend> {
    layer_norm1: LayerNorm<B>,
    self_attn: CLIPAttention<B>,
    layer_norm2: LayerNorm<B>,
    mlp: CLIPMlp<B>,
    layer_norm_eps: f64,
}

impl<B: NetBackend> CLIPEncoderLayer<B> {
    fn forward(&self, hidden_states: Tensor<B, 3>, is_causal: bool) -> Tensor<B, 3> {
        let norm = |layer, input| layer_norm_with(layer, self.layer_norm_eps, input);
        let normed = norm(&self.layer_norm1, hidden_states.clone());
        let hidden_states = add(hidden_states, self.self_attn.forward(normed, is_causal));
        let normed = norm(&self.layer_norm2, hidden_states.clone());
        add(hidden_states, self.mlp.forward(normed))
    }
}

#[derive(Module, Debug)]
struct CLIPAttention<B: Backend> {
    q_proj: Linear<B>,
    k_proj: Linear<B>,
    v_proj: Linear<B>,
    out_proj: Linear<B>,
    num_heads: usize,
}

impl<B: NetBackend> CLIPAttention<B> {
    fn forward(&self, hidden_states: Tensor<B, 3>, is_causal: bool) -> Tensor<B, 3> {
        let [batch, tokens, channels] = hidden_states.dims();
        let [query, key, value] = [&self.q_proj, &self.k_proj, &self.v_proj]
            .map(|layer| cast(linear(layer, hidden_states.clone()), FloatDType::F32));
        if !is_causal {
            let attended = attention_tokens(query, key, value, self.num_heads);
            return linear(&self.out_proj, cast_like(attended, &hidden_states));
        }
        // The reference scales the queries, not the scores.
        let scale = ((channels / self.num_heads) as f64).powf(-0.5);
        let options = AttentionModuleOptions {
            scale: Some(1.0),
            softcap: None,
            is_causal,
        };
        let attended = attention(
            self.split_heads(query * scale), // [B, h, S, D]
            self.split_heads(key),
            self.split_heads(value),
            None,
            None,
            options,
        );
        let merged = attended.swap_dims(1, 2).reshape([batch, tokens, channels]);
        linear(&self.out_proj, cast_like(merged, &hidden_states))
    }

    /// `[B, S, C]` to `[B, h, S, D]`.
    fn split_heads(&self, x: Tensor<B, 3>) -> Tensor<B, 4> {
        let [batch, tokens, channels] = x.dims();
        x.reshape([batch, tokens, self.num_heads, channels / self.num_heads])
            .swap_dims(1, 2)
    }
}

#[derive(Module, Debug)]
struct CLIPMlp<B: Backend> {
    fc1: Linear<B>,
    fc2: Linear<B>,
    activation: Activation,
}

impl<B: NetBackend> CLIPMlp<B> {
    fn forward(&self, hidden_states: Tensor<B, 3>) -> Tensor<B, 3> {
        let expanded = linear(&self.fc1, hidden_states); // [B, S, intermediate]
        linear(&self.fc2, self.activation.forward(expanded))
    }
}
