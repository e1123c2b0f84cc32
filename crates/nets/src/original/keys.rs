//! What tensors are called in original files, and what in published folders.
//!
//! Source: the names in the files themselves, and `single_file_utils.py` of the diffusers library, whose conversion
//! these tables agree with name for name.

use super::Part;

/// Levels, and layers at each of them on the way down, of Stable Diffusion's U-Net and autoencoder.
const LEVELS: usize = 4;
const LAYERS: usize = 2;

/// Parts of the name of a layer and what they are published as; what is not listed keeps its name.
type Inner = &'static [(&'static str, &'static str)];

const SAME: Inner = &[];

/// A residual block of the U-Net, which is two lists there.
const RESNET: Inner = &[
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
];

/// A residual block of the autoencoder.
const VAE_RESNET: Inner = &[("nin_shortcut", "conv_shortcut")];

/// The attention in the middle of the autoencoder.
const VAE_ATTENTION: Inner = &[
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
];

/// A block of AnimateDiff's motion modules, anywhere in a name.
const MOTION_MODULE: [(&str, &str); 6] = [
    (".temporal_transformer.", "."),
    (".attention_blocks.0.", ".attn1."),
    (".attention_blocks.1.", ".attn2."),
    (".norms.0.", ".norm1."),
    (".norms.1.", ".norm2."),
    (".ff_norm.", ".norm3."),
];

/// Tensors of a file of Stable Diffusion that no network reads: the noise schedule, which its configuration states,
/// a second set of weights that were averaged in training, and what else training left behind.
const UNREAD: [&str; 16] = [
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "betas",
    "cond_stage_model.logit_scale",
    "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_variance",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
];

/// Beginnings of names of such.
const UNREAD_PREFIXES: [&str; 3] = [
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "model_ema.",
];

/// Whether a tensor of a file of Stable Diffusion is known and of no use.
pub(super) fn is_unread(name: &str) -> bool {
    UNREAD.contains(&name)
        || UNREAD_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Whether a tensor of AnimateDiff's motion modules is known and of no use: each attention has the positions of
/// frames, which are the same for all.
pub(super) fn is_unread_in_motion_modules(name: &str) -> bool {
    name.ends_with(".pos_encoder.pe")
}

/// The published name of a tensor of AnimateDiff's motion modules. Training may have put `module.` before all names.
pub(super) fn published_motion_module(name: &str) -> String {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let replace = |name: String, (from, to): &(&str, &str)| name.replace(from, to);
    MOTION_MODULE.iter().fold(name.to_string(), replace)
}

/// The names of one network's layers, without what all begin with.
pub(super) struct Names(Vec<Layer>);

/// A layer, or a row of layers whose names differ in the beginning alone.
struct Layer {
    original: String,
    published: String,
    inner: Inner,
}

impl Names {
    /// Those of a network of Stable Diffusion 1.5.
    pub(super) fn of(part: Part) -> Self {
        match part {
            Part::UNet => Self::unet(),
            Part::Vae => Self::vae(),
            Part::TextEncoder | Part::MotionAdapter => {
                let same = |name: &str| layer(name, name, SAME);
                Self(
                    ["text_model", "embeddings", "encoder", "final_layer_norm"]
                        .map(same)
                        .into(),
                )
            }
        }
    }

    /// Blocks on the way down and on the way up are one list each, with changes of size as entries of their own or
    /// at the end of one.
    fn unet() -> Self {
        let mut layers = vec![
            layer("time_embed.0", "time_embedding.linear_1", SAME),
            layer("time_embed.2", "time_embedding.linear_2", SAME),
            layer("input_blocks.0.0", "conv_in", SAME),
            layer("middle_block.0", "mid_block.resnets.0", RESNET),
            layer("middle_block.1", "mid_block.attentions.0", SAME),
            layer("middle_block.2", "mid_block.resnets.1", RESNET),
            layer("out.0", "conv_norm_out", SAME),
            layer("out.2", "conv_out", SAME),
        ];
        for block in 0..LEVELS {
            let down = format!("down_blocks.{block}");
            let first = 1 + block * (LAYERS + 1);
            for index in 0..LAYERS {
                let entry = format!("input_blocks.{}", first + index);
                layers.push(layer(
                    format!("{entry}.0"),
                    format!("{down}.resnets.{index}"),
                    RESNET,
                ));
                layers.push(layer(
                    format!("{entry}.1"),
                    format!("{down}.attentions.{index}"),
                    SAME,
                ));
            }
            layers.push(layer(
                format!("input_blocks.{}.0.op", first + LAYERS),
                format!("{down}.downsamplers.0.conv"),
                SAME,
            ));

            let up = format!("up_blocks.{block}");
            let first = block * (LAYERS + 1);
            for index in 0..=LAYERS {
                let entry = format!("output_blocks.{}", first + index);
                // The coarsest block does not attend, so that its upsampler takes the attention's place.
                for upsampler in ["1.conv", "2.conv"] {
                    layers.push(layer(
                        format!("{entry}.{upsampler}"),
                        format!("{up}.upsamplers.0.conv"),
                        SAME,
                    ));
                }
                layers.push(layer(
                    format!("{entry}.0"),
                    format!("{up}.resnets.{index}"),
                    RESNET,
                ));
                layers.push(layer(
                    format!("{entry}.1"),
                    format!("{up}.attentions.{index}"),
                    SAME,
                ));
            }
        }
        Self(layers)
    }

    /// The decoder's levels are counted from the image down, but published from the latents up.
    fn vae() -> Self {
        let mut layers = vec![
            layer("quant_conv", "quant_conv", SAME),
            layer("post_quant_conv", "post_quant_conv", SAME),
        ];
        for half in ["encoder", "decoder"] {
            for (original, published, inner) in [
                ("conv_in", "conv_in", SAME),
                ("mid.block_1", "mid_block.resnets.0", VAE_RESNET),
                ("mid.attn_1", "mid_block.attentions.0", VAE_ATTENTION),
                ("mid.block_2", "mid_block.resnets.1", VAE_RESNET),
                ("norm_out", "conv_norm_out", SAME),
                ("conv_out", "conv_out", SAME),
            ] {
                layers.push(layer(
                    format!("{half}.{original}"),
                    format!("{half}.{published}"),
                    inner,
                ));
            }
        }
        for level in 0..LEVELS {
            for (original, published, sampler, samplers) in [
                (
                    format!("encoder.down.{level}"),
                    format!("encoder.down_blocks.{level}"),
                    "downsample",
                    "downsamplers.0",
                ),
                (
                    format!("decoder.up.{}", LEVELS - 1 - level),
                    format!("decoder.up_blocks.{level}"),
                    "upsample",
                    "upsamplers.0",
                ),
            ] {
                for index in 0..=LAYERS {
                    layers.push(layer(
                        format!("{original}.block.{index}"),
                        format!("{published}.resnets.{index}"),
                        VAE_RESNET,
                    ));
                }
                layers.push(layer(
                    format!("{original}.{sampler}"),
                    format!("{published}.{samplers}"),
                    SAME,
                ));
            }
        }
        Self(layers)
    }

    /// The published name of a tensor, if there is a layer that it is part of.
    pub(super) fn published(&self, name: &str) -> Option<String> {
        let after = |prefix: &str| name.strip_prefix(prefix)?.strip_prefix('.');
        let mut layers = self.0.iter();
        let (layer, rest) = layers.find_map(|layer| Some((layer, after(&layer.original)?)))?;
        let inner = layer.inner.iter().find_map(|(from, to)| {
            let parameter = rest.strip_prefix(from)?.strip_prefix('.')?;
            Some(format!("{to}.{parameter}"))
        });
        let inner = inner.unwrap_or_else(|| rest.into());
        Some(format!("{}.{inner}", layer.published))
    }
}

fn layer(original: impl Into<String>, published: impl Into<String>, inner: Inner) -> Layer {
    Layer {
        original: original.into(),
        published: published.into(),
        inner,
    }
}
