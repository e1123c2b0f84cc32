//! What can go wrong in this crate.

use std::path::PathBuf;

/// An error of making or measuring a model of the sprite world. The text says where, what was found and what was expected;
/// [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model could not be loaded or used.
    #[error(transparent)]
    Method(Box<kinvert::Error>),
    /// A network could not be loaded.
    #[error(transparent)]
    Nets(Box<kinvert_nets::Error>),
    /// Something could not be measured.
    #[error(transparent)]
    Metrics(Box<kinvert_metrics::Error>),
    /// Frames make no clip.
    #[error(transparent)]
    Video(Box<kinvert_video::Error>),
    /// A model without the CLIP that judges its clips.
    #[error("{path}: no such file, and without a CLIP nobody can say what the model's clips show")]
    NoJudge {
        /// The configuration that was looked for.
        path: String,
    },
    /// A model of other clips than those of the sprite world.
    #[error("`{model}` makes clips of {found}, expected {expected}")]
    OtherClips {
        /// The model.
        model: String,
        /// Frames and size of its clips.
        found: String,
        /// Frames and size of clips of the sprite world.
        expected: String,
    },
    /// A tokenizer that cuts captions.
    #[error("{path}: cuts {cut} token(s) off `{caption}`, expected room for every caption")]
    CaptionCut {
        /// The tokenizer's folder.
        path: String,
        /// The first caption that is cut.
        caption: String,
        /// Tokens that do not fit.
        cut: usize,
    },
    /// A recipe that leaves nothing to learn.
    #[error("nothing is left to learn in stage {stage}")]
    NothingToLearn {
        /// What is trained.
        stage: &'static str,
    },
    /// A configuration that cannot be read.
    #[error("{path}: is no configuration of a network")]
    Configuration {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A checkpoint that is damaged.
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
        difference: &'static str,
    },
    /// A training that went wrong.
    #[error("step {step}: {what} is not finite")]
    Diverged {
        /// The step, counted from 1.
        step: usize,
        /// What is not finite.
        what: &'static str,
    },
    /// A network gave something that is no number.
    #[error("{what} is not finite")]
    NotFinite {
        /// What was computed.
        what: &'static str,
    },
    /// A setting that cannot work.
    #[error("`{name}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A file could not be read or written.
    #[error("{}: {action} failed", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `reading` or `writing`.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Method(source) => source.hint(),
            Self::Nets(source) => source.hint(),
            Self::Metrics(source) => source.hint(),
            Self::Video(source) => source.hint(),
            Self::NoJudge { .. } => Some(
                "pass a model with a folder clip/ in the layout of the transformers library, as the built-in model has"
                    .into(),
            ),
            Self::OtherClips { .. } => Some(
                "pass a model of the sprite world, whose kinvert.json says the size and frames of its clips".into(),
            ),
            Self::CaptionCut { .. } => {
                Some("the text towers of a model of the sprite world need about 16 positions".into())
            }
            Self::NothingToLearn { .. } => Some("keep fewer parameters with --keep".into()),
            Self::Checkpoint { .. } => Some("start again with --restart".into()),
            Self::OtherTraining { .. } => Some(
                "give the same settings to go on with it, or start again with --restart".into(),
            ),
            Self::Diverged { .. } => Some("start again with a smaller --learning-rate".into()),
            Self::NotFinite { .. } => Some("the weights may be damaged; train or fetch them again".into()),
            Self::Io { .. } => Some("check the path, its permissions and the space left on the disk".into()),
            Self::Configuration { .. } | Self::Setting { .. } | Self::Cancelled => None,
        }
    }

    /// Whether the user asked to stop, and nothing went wrong.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Method(error) => matches!(**error, kinvert::Error::Cancelled),
            Self::Metrics(error) => matches!(**error, kinvert_metrics::Error::Cancelled),
            _ => false,
        }
    }

    /// Whether an argument is at fault, and not a file or the machine.
    pub fn is_usage(&self) -> bool {
        use kinvert::Error as Method;
        use kinvert_diffusion::Error as Diffusion;
        let is_setting = |error: &Method| {
            matches!(
                error,
                Method::Setting { .. }
                    | Method::NoSuchSite { .. }
                    | Method::Diffusion(
                        Diffusion::Steps { .. }
                            | Diffusion::OutOfRange { .. }
                            | Diffusion::GridTooSmall { .. }
                    )
            )
        };
        match self {
            Self::Setting { .. } | Self::NothingToLearn { .. } => true,
            Self::Method(error) => is_setting(error),
            _ => false,
        }
    }

    pub(crate) fn setting(
        name: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Setting {
            name,
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

impl From<kinvert::Error> for Error {
    fn from(error: kinvert::Error) -> Self {
        Self::Method(Box::new(error))
    }
}

impl From<kinvert_nets::Error> for Error {
    fn from(error: kinvert_nets::Error) -> Self {
        Self::Nets(Box::new(error))
    }
}

impl From<kinvert_diffusion::Error> for Error {
    fn from(error: kinvert_diffusion::Error) -> Self {
        Self::Method(Box::new(error.into()))
    }
}

impl From<kinvert_video::Error> for Error {
    fn from(error: kinvert_video::Error) -> Self {
        Self::Video(Box::new(error))
    }
}

impl From<kinvert_metrics::Error> for Error {
    fn from(error: kinvert_metrics::Error) -> Self {
        Self::Metrics(Box::new(error))
    }
}
