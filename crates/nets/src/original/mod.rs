//! Checkpoints as the original programs save them: one file, with other names for the same tensors.
//!
//! Models that were fine-tuned from Stable Diffusion 1.5 are published as a single file with all networks in it, named
//! as in *High-Resolution Image Synthesis with Latent Diffusion Models* (arXiv:2112.10752), and AnimateDiff's motion
//! modules as a single file of their own. [`ModelFiles::original`](crate::ModelFiles::original) shows such a file as
//! the folder that it would be in the diffusers layout: configurations are those of Stable Diffusion 1.5, for a file
//! holds none, and tensors are read under their published names. A file of motion modules is seen as the folder of a
//! motion adapter without `config.json`.
//!
//! What is no tensor of the networks but known to be in such files is passed over, by name; anything else is a fault.

mod keys;

use crate::error::Error;
use crate::weights::Weights;

/// The configurations of Stable Diffusion 1.5 (stable-diffusion-v1-5/stable-diffusion-v1-5, as published), by their
/// paths in its folder.
const STABLE_DIFFUSION: [(&str, &[u8]); 4] = [
    (
        "unet/config.json",
        include_bytes!("stable-diffusion-v1-5/unet.json"),
    ),
    (
        "vae/config.json",
        include_bytes!("stable-diffusion-v1-5/vae.json"),
    ),
    (
        "text_encoder/config.json",
        include_bytes!("stable-diffusion-v1-5/text_encoder.json"),
    ),
    (
        "scheduler/scheduler_config.json",
        include_bytes!("stable-diffusion-v1-5/scheduler.json"),
    ),
];

/// Where weights would lie in the folder that a file stands for.
const WEIGHTS: [(&str, Part); 4] = [
    ("unet/diffusion_pytorch_model.safetensors", Part::UNet),
    ("vae/diffusion_pytorch_model.safetensors", Part::Vae),
    ("text_encoder/model.safetensors", Part::TextEncoder),
    ("diffusion_pytorch_model.safetensors", Part::MotionAdapter),
];

/// A network in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The U-Net of Stable Diffusion.
    UNet,
    /// Its autoencoder.
    Vae,
    /// Its text encoder.
    TextEncoder,
    /// AnimateDiff's motion modules, alone in their file.
    MotionAdapter,
}

impl Part {
    /// The networks of a file of Stable Diffusion, and what the names of their tensors begin with there.
    const STABLE_DIFFUSION: [(Self, &'static str); 3] = [
        (Self::UNet, "model.diffusion_model."),
        (Self::Vae, "first_stage_model."),
        (Self::TextEncoder, "cond_stage_model.transformer."),
    ];
}

/// The configuration at a path of the folder that a file stands for.
pub(crate) fn configuration(path: &str) -> Option<&'static [u8]> {
    let found = STABLE_DIFFUSION.iter().find(|(name, _)| *name == path);
    found.map(|(_, bytes)| *bytes)
}

/// The network whose weights are at a path of the folder that a file stands for.
pub(crate) fn weights_at(path: &str) -> Option<Part> {
    let found = WEIGHTS.iter().find(|(name, _)| *name == path);
    found.map(|(_, part)| *part)
}

/// The tensors of one network under their published names. What belongs to no network stays as it is, so that it is
/// found to be unexpected.
///
/// # Errors
/// [`Error::NotOriginal`] if the file is something else.
pub(crate) fn to_published(weights: Weights, part: Part) -> Result<Weights, Error> {
    match part {
        Part::MotionAdapter => motion_adapter(weights),
        _ => stable_diffusion(weights, part),
    }
}

fn stable_diffusion(weights: Weights, part: Part) -> Result<Weights, Error> {
    let mut of_part = "";
    for (other, prefix) in Part::STABLE_DIFFUSION {
        if !weights.names().any(|name| name.starts_with(prefix)) {
            return Err(Error::NotOriginal {
                path: weights.origin().into(),
                what: "a checkpoint of Stable Diffusion 1.5",
                prefix,
            });
        }
        if other == part {
            of_part = prefix;
        }
    }
    let is_other = |name: &str| {
        let mut prefixes = Part::STABLE_DIFFUSION.iter();
        prefixes.any(|(other, prefix)| *other != part && name.starts_with(prefix))
    };
    let names = keys::Names::of(part);
    let published = |name: &str| {
        let inner = name.strip_prefix(of_part);
        let published = inner.and_then(|inner| names.published(inner));
        published.unwrap_or_else(|| name.into())
    };
    Ok(weights
        .without(|name| is_other(name) || keys::is_unread(name))
        .renamed(published))
}

fn motion_adapter(weights: Weights) -> Result<Weights, Error> {
    let is_module = |name: &str| name.contains("motion_modules.");
    if !weights.names().any(is_module) {
        return Err(Error::NotOriginal {
            path: weights.origin().into(),
            what: "a file of AnimateDiff's motion modules",
            prefix: "down_blocks.0.motion_modules.",
        });
    }
    Ok(weights
        .without(keys::is_unread_in_motion_modules)
        .renamed(keys::published_motion_module))
}

/// The frames that AnimateDiff's motion modules know the positions of, from the tensors as they are named in the file.
pub(crate) fn max_frames(weights: &Weights) -> Option<usize> {
    let mut names = weights.names();
    let positions = names.find(|name| name.ends_with(".pe"))?;
    match weights.shape(positions)? {
        [1, frames, _] => Some(*frames),
        _ => None,
    }
}
