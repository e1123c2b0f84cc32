//! What can go wrong while a network is read from files.

use std::fmt;

use crate::precision::Precision;
use crate::published::ModelName;

/// An error of this crate. The text says where, what was found and what was expected; [`Error::hint`] says
/// what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that the model needs is not there.
    #[error("{path}: no such file")]
    Missing {
        /// The file that was looked for.
        path: String,
    },
    /// A file is there but cannot be read.
    #[error("{path}: cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than anything of its kind.
    #[error("{path}: has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        found: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A file is not the JSON that was expected.
    #[error("{path}: not the expected JSON")]
    Json {
        /// The file.
        path: String,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// A field of a configuration has a value that this program does not support.
    #[error("{path}: `{field}` is {found}, expected {expected}")]
    Config {
        /// The file.
        path: String,
        /// The field in it.
        field: String,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A weight file is not valid safetensors.
    #[error("{path}: not a valid safetensors file")]
    Safetensors {
        /// The file.
        path: String,
        /// What the format's reader said.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// A weight file is not a dictionary of tensors that PyTorch saved.
    #[error("{path}: not a state dictionary of PyTorch: {reason}")]
    PyTorch {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The file of the CoTracker3 network is missing, damaged or of another network.
    #[error("cannot load CoTracker3")]
    CoTracker {
        /// What is wrong with the file.
        #[source]
        source: Box<Error>,
    },
    /// The file of the Inception-v3 network of FID is missing, damaged or of another network.
    #[error("cannot load the Inception-v3 network of FID")]
    Inception {
        /// What is wrong with the file.
        #[source]
        source: Box<Error>,
    },
    /// Weights do not fit the network that the configuration describes.
    #[error("{path}: the weights do not fit the network: {faults}")]
    Weights {
        /// The file, or the first of its shards.
        path: String,
        /// Every tensor that is missing, unused, misshapen or unusable.
        faults: KeyFaults,
    },
    /// A U-Net that knows single images alone.
    #[error("{path}: a U-Net of single images, expected a motion adapter with it")]
    NoMotionAdapter {
        /// Its configuration.
        path: String,
    },
    /// A single file that is not what it is used as.
    #[error("{path}: not {what}: it has no tensor whose name begins with `{prefix}`")]
    NotOriginal {
        /// The file.
        path: String,
        /// What it should have been.
        what: &'static str,
        /// What the names of some of its tensors should have begun with.
        prefix: &'static str,
    },
    /// A tokenizer's files contradict each other or the format.
    #[error("{path}: not a usable tokenizer: {reason}")]
    Tokenizer {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A text is no name of a published model.
    #[error("`{found}` is no name of a published model: {reason}")]
    ModelName {
        /// The text.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A published model is not on this machine.
    #[error("there is no {what} for `{name}`; looked at {}", tried.join(", "))]
    NoSuchModel {
        /// What was asked for.
        name: String,
        /// What it should have been.
        what: &'static str,
        /// The paths that were looked at.
        tried: Vec<String>,
    },
    /// A device that this build or machine does not have.
    #[error("there is no device `{found}`; there is {}", listed(available))]
    NoSuchDevice {
        /// What was asked for.
        found: String,
        /// What there is.
        available: Vec<String>,
    },
    /// A number format that a device does not compute in.
    #[error("{device} does not compute in {found}; it has {}", listed(available))]
    NoSuchPrecision {
        /// The device.
        device: String,
        /// What was asked for.
        found: Precision,
        /// What it has.
        available: Vec<Precision>,
    },
}

/// `a, b`, or `none`.
fn listed<T: fmt::Display>(things: &[T]) -> String {
    let texts: Vec<String> = things.iter().map(T::to_string).collect();
    match texts[..] {
        [] => "none".into(),
        _ => texts.join(", "),
    }
}

/// What [`Error::NoSuchModel`] says of a tokenizer.
pub(crate) const TOKENIZER: &str = "tokenizer";

impl Error {
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(
                "pass the folder of a text-to-video model in the diffusers layout: model_index.json, unet/, vae/, \
                 text_encoder/, tokenizer/, scheduler/"
                    .into(),
            ),
            Self::Unreadable { .. } => Some("check the file's permissions".into()),
            Self::TooLarge { .. } | Self::Json { .. } | Self::Tokenizer { .. } => {
                Some("the file may be damaged or belong to something else; fetch the model again".into())
            }
            Self::Config { .. } => Some("this kind of network is not supported".into()),
            Self::Safetensors { .. } => Some("the file may be cut short; fetch it again".into()),
            Self::CoTracker { .. } => Some(
                "pass scaled_offline.pth as co-tracker publishes it, or the same tensors as safetensors".into(),
            ),
            Self::PyTorch { .. } => Some(
                "the file may be damaged, or hold more than weights: save the network's state_dict() alone".into(),
            ),
            Self::Inception { .. } => Some(
                "pass pt_inception-2015-12-05-6726825d.pth as pytorch-fid publishes it, or the same tensors as \
                 safetensors; the features of any other Inception-v3 give another distance"
                    .into(),
            ),
            Self::Weights { .. } => {
                Some("config.json and the weights must come from one and the same published model".into())
            }
            Self::ModelName { .. } => Some(
                "names are written as on the hub, such as cerspense/zeroscope_v2_576w or \
                 cerspense/zeroscope_v2_576w@main"
                    .into(),
            ),
            Self::NoSuchModel { name, .. } if name.parse::<ModelName>().is_ok() => Some(format!(
                "`kinvert models pull {name}` fetches it; or pass its path, or put it into the folder that \
                 KINVERT_MODELS names"
            )),
            Self::NoMotionAdapter { .. } => Some(
                "pass --motion-adapter with one that was trained for Stable Diffusion 1.5: the folder of \
                 guoyww/animatediff-motion-adapter-v1-5-2 or -v1-5-3, or AnimateDiff's file mm_sd_v15_v2.ckpt or \
                 v3_sd15_mm.ckpt"
                    .into(),
            ),
            Self::NotOriginal { .. } => Some(
                "single files are read of Stable Diffusion 1.5 and what was fine-tuned from it, and of AnimateDiff's \
                 motion modules; of anything else pass the folder in the diffusers layout"
                    .into(),
            ),
            Self::NoSuchModel { what: TOKENIZER, .. } => Some(
                "a single file holds no tokenizer: pass --tokenizer with the tokenizer/ folder of Stable Diffusion 1.5"
                    .into(),
            ),
            Self::NoSuchModel { .. } => Some(
                "fetch it, and pass its path or put it into the folder that KINVERT_MODELS names".into(),
            ),
            Self::NoSuchDevice { .. } => Some(
                "`kinvert devices` tells what this build can compute on here; other builds have other backends".into(),
            ),
            Self::NoSuchPrecision { .. } => Some("pass --dtype auto for the best that the device has".into()),
        }
    }

    pub(crate) fn no_such_model(
        name: &str,
        what: &'static str,
        tried: &[std::path::PathBuf],
    ) -> Self {
        Self::NoSuchModel {
            name: name.into(),
            what,
            tried: tried
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        }
    }

    /// A file that is missing or cannot be opened.
    pub(crate) fn unreadable(path: &std::path::Path, source: std::io::Error) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Unreadable { path, source },
        }
    }

    /// A configuration field that this program does not support.
    pub fn config(
        path: &str,
        field: &str,
        found: impl fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config {
            path: path.into(),
            field: field.into(),
            found: format!("{found:?}"),
            expected: expected.into(),
        }
    }
}

/// Every way in which a set of weights differs from what a network needs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KeyFaults {
    /// Tensors that the network needs and the file lacks.
    pub missing: Vec<String>,
    /// Tensors in the file that the network has no place for.
    pub unused: Vec<String>,
    /// Tensors of another shape: name, shape found, shape expected.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors that cannot be used: name and reason (a dtype that is no float, a value that is not finite).
    pub unusable: Vec<(String, String)>,
}

impl KeyFaults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.misshapen.is_empty()
            && self.unusable.is_empty()
    }
}

impl fmt::Display for KeyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |what: &str, list: Vec<String>| {
            if list.is_empty() {
                return Ok(());
            }
            write!(f, "{separator}{} {what} ({})", list.len(), list.join(", "))?;
            separator = "; ";
            Ok(())
        };
        part("missing", self.missing.clone())?;
        part("not expected", self.unused.clone())?;
        let shape = |(name, found, expected): &(String, Vec<usize>, Vec<usize>)| {
            format!("{name} is {found:?}, expected {expected:?}")
        };
        part(
            "of another shape",
            self.misshapen.iter().map(shape).collect(),
        )?;
        let unusable = |(name, reason): &(String, String)| format!("{name} {reason}");
        part("unusable", self.unusable.iter().map(unusable).collect())
    }
}
