//! What can go wrong.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model could not be trained or measured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A stage that there is not.
    #[error("`{found}` is not a stage, expected clip, vae, unet-image or unet-video")]
    UnknownStage {
        /// What was asked for.
        found: String,
    },
    /// A number of a recipe that is out of range.
    #[error("the {field} is {found}, expected {expected}")]
    Recipe {
        /// Which number.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A recipe that names parameters in vain, or leaves none to learn.
    #[error("nothing is left to learn of {stage}")]
    NothingToLearn {
        /// What is trained.
        stage: &'static str,
    },
    /// A model that is not of the sprite world's shape.
    #[error("{path}: {found}, expected {expected}")]
    Model {
        /// The model.
        path: String,
        /// What was found.
        found: String,
        /// What the recipe needs.
        expected: String,
    },
    /// A checkpoint that cannot be used.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint of another training.
    #[error("{}: is of another training: {difference}", path.display())]
    OtherTraining {
        /// The file.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// A training that went wrong.
    #[error("step {step}: {what} is no finite number")]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// What is not finite.
        what: &'static str,
    },
    /// The user asked to stop.
    #[error("stopped after step {step}")]
    Cancelled {
        /// Steps that are done and kept.
        step: usize,
    },
    /// A file that cannot be read.
    #[error("{} cannot be read", path.display())]
    Reading {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("{} cannot be written", path.display())]
    Writing {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A network that cannot be loaded.
    #[error(transparent)]
    Nets(#[from] kinvert_nets::Error),
    /// A noise schedule that cannot be used.
    #[error(transparent)]
    Diffusion(#[from] kinvert_diffusion::Error),
    /// A picture that cannot be made.
    #[error(transparent)]
    Video(#[from] kinvert_video::Error),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NothingToLearn { .. } => "name fewer parameters with --keep".into(),
            Self::Model { .. } => {
                "the recipe trains models of the sprite world: 64x64 pixels, captions of its words"
                    .into()
            }
            Self::Checkpoint { .. } => "start again with --restart".into(),
            Self::OtherTraining { .. } => {
                "train with the same settings to go on, or start again with --restart".into()
            }
            Self::Diverged { .. } => "start again with a smaller --learning-rate".into(),
            Self::Cancelled { .. } => "the same command goes on from there".into(),
            Self::Nets(error) => return error.hint(),
            Self::Video(error) => return error.hint(),
            Self::UnknownStage { .. }
            | Self::Recipe { .. }
            | Self::Reading { .. }
            | Self::Writing { .. }
            | Self::Diffusion(_) => return None,
        })
    }
}
