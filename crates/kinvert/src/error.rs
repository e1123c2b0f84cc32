//! What can go wrong while a motion is learned, stored or replayed.

use std::path::PathBuf;

use crate::plan::ClipShape;

/// An error of this crate. The text says where, what was found and what was expected; [`Error::hint`] says
/// what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model's files.
    #[error("cannot load the base model")]
    Model(#[from] kinvert_nets::Error),
    /// A schedule or sampler.
    #[error("cannot set up the diffusion process")]
    Diffusion(#[from] kinvert_diffusion::Error),
    /// A clip that is read or written.
    #[error("cannot process a clip")]
    Video(#[from] kinvert_video::Error),
    /// A setting outside what is possible.
    #[error("`{name}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A pattern that names no site of the network.
    #[error("`{pattern}` names no site of this network; it has {}", sites.join(", "))]
    NoSuchSite {
        /// The pattern.
        pattern: String,
        /// Every site of the network.
        sites: Vec<String>,
    },
    /// A device without enough memory for what is asked.
    #[error(
        "{work} {} frames of {}x{} takes about {:.1} GiB, the device has {:.1} GiB free",
        clip.frames, clip.size[0], clip.size[1], gibibytes(*needed_bytes), gibibytes(*free_bytes)
    )]
    NotEnoughMemory {
        /// What was to be done, such as `learning from`.
        work: &'static str,
        /// The clip.
        clip: ClipShape,
        /// What it would take.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
        /// Clips that would fit.
        smaller: Vec<ClipShape>,
    },
    /// A clip with too little in it.
    #[error("the clip has {found} usable frame(s), expected at least 2 to learn a motion from")]
    TooFewFrames {
        /// Frames that were left after choosing.
        found: usize,
    },
    /// A part of a model folder that does not belong to the rest.
    #[error("{path}: `{field}` is {found}, expected {expected}")]
    PartsDoNotFit {
        /// The file.
        path: String,
        /// The field in it.
        field: &'static str,
        /// Its value.
        found: String,
        /// What the other parts need.
        expected: String,
    },
    /// A file that should hold a motion and does not.
    #[error("{}: not a usable motion file: {reason}", path.display())]
    MotionFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that should hold a LoRA and does not, or not one for this network.
    #[error("{}: not a usable LoRA file: {reason}", path.display())]
    LoraFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A motion that was learned on another model.
    #[error(
        "the motion was learned on the model `{motion_model}` ({motion_sha256}), this is `{model}` ({sha256})"
    )]
    OtherModel {
        /// Model of the motion.
        motion_model: String,
        /// Its hash, shortened.
        motion_sha256: String,
        /// Model that was loaded.
        model: String,
        /// Its hash, shortened.
        sha256: String,
    },
    /// A motion whose embeddings do not fit the network.
    #[error("the motion does not fit this model: {reason}")]
    MotionDoesNotFit {
        /// The first thing that differs.
        reason: String,
    },
    /// A loss or a result that is not a number.
    #[error("{what} is not finite{}", step.map_or(String::new(), |step| format!(" at step {step}")))]
    NotFinite {
        /// What was computed.
        what: &'static str,
        /// Step at which it happened.
        step: Option<usize>,
    },
    /// A file that cannot be read or written.
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
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(source) => source.hint(),
            Self::Diffusion(source) => source.hint(),
            Self::Video(source) => source.hint(),
            Self::NotEnoughMemory { smaller, .. } => {
                let clips = smaller.iter().map(|clip| {
                    let [width, height] = clip.size;
                    format!("{} frames of {width}x{height}", clip.frames)
                });
                let clips = clips.collect::<Vec<_>>().join(", or ");
                let would = match smaller.is_empty() {
                    true => "no clip of this model would fit".to_string(),
                    false => format!("{clips} would fit"),
                };
                Some(format!("{would}; --dtype bf16 or f16 and --low-memory take less, `kinvert plan` says how much"))
            }
            Self::TooFewFrames { .. } => {
                Some("choose a longer clip, or keep more of its frames (--start, --stride, --fps)".into())
            }
            Self::PartsDoNotFit { .. } => Some("pass the folder of one published model".into()),
            Self::MotionFile { .. } => {
                Some("pass a .motion.safetensors file that this program wrote, or import a motion_embed.pt".into())
            }
            Self::LoraFile { .. } => Some(
                "pass a safetensors file with a LoRA of this model's spatial transformers and of nothing else, as the \
                 diffusers library or `kinvert export --lora` writes it"
                    .into(),
            ),
            Self::OtherModel { .. } => Some(
                "pass the model it was learned on with --model, or --force to try anyway if the shapes fit".into(),
            ),
            Self::MotionDoesNotFit { .. } => Some("learn the motion again on this model".into()),
            Self::NotFinite { .. } => Some("try a smaller learning rate or strength, or f32".into()),
            Self::Io { .. } => Some("check the path, its permissions and the space left on the disk".into()),
            Self::Setting { .. } | Self::NoSuchSite { .. } | Self::Cancelled => None,
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

    pub(crate) fn reading(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            path,
            action: "reading",
            source,
        }
    }

    pub(crate) fn writing(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            path,
            action: "writing",
            source,
        }
    }
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}
