//! What can go wrong with papers, language models and benchmarks.

use std::path::{Path, PathBuf};

use crate::chat::{AnswerFault, KEY_VARIABLE, known_prefixes};

/// Everything that this crate reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {action} failed")]
    Io {
        /// The file.
        path: PathBuf,
        /// `reading` or `writing`.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A plan or a study cannot be read.
    #[error(transparent)]
    Study(#[from] Box<kinvert_study::Error>),
    /// A language model's name says no endpoint.
    #[error("model `{model}`: {reason}")]
    ModelName {
        /// The name, as the user gave it.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address of an endpoint cannot be used.
    #[error("base URL `{url}`: {reason}")]
    BaseUrl {
        /// The address, less anything that may be a credential.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key of an endpoint is absent or is none.
    #[error("model `{model}`: {variable} {reason}")]
    Key {
        /// The name, as the user gave it.
        model: String,
        /// The variable of the environment that should hold the key.
        variable: &'static str,
        /// What is wrong with it, without the key.
        reason: &'static str,
    },
    /// An endpoint could not be reached, or was silent for too long.
    #[error("{endpoint}: {reason}")]
    Connection {
        /// The model and its address.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// An endpoint refused a request.
    #[error("{endpoint}: status {status}, {message}")]
    Status {
        /// The model and its address.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What the endpoint said, shortened.
        message: String,
        /// What to do about it.
        advice: Option<String>,
    },
    /// An endpoint sends its clients elsewhere. They are not followed, so that a key stays with the host it is for.
    #[error("{endpoint}: status {status}, a redirect to `{location}`, expected an answer")]
    Redirect {
        /// The model and its address.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// An answer came that cannot be used.
    #[error("{endpoint}: {fault}")]
    Answer {
        /// The model and its address.
        endpoint: String,
        /// What is wrong with it.
        fault: AnswerFault,
    },
    /// No try gave an answer.
    #[error("{endpoint}: no answer (tries made: {attempts})")]
    GaveUp {
        /// The model and its address.
        endpoint: String,
        /// How often it was asked.
        attempts: u32,
        /// Why the last try failed.
        #[source]
        source: Box<Error>,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<kinvert_study::Error> for Error {
    fn from(error: kinvert_study::Error) -> Self {
        Self::Study(Box::new(error)) // large beside the others
    }
}

impl Error {
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => {
                Some("check the path, its permissions and the space left on the disk".into())
            }
            Self::Study(error) => error.hint(),
            Self::ModelName { .. } => Some(format!(
                "known prefixes are {}; any other endpoint that speaks the protocol of OpenAI's chat completions is \
                 named with --base-url, such as http://127.0.0.1:8000/v1",
                known_prefixes()
            )),
            Self::BaseUrl { .. } => Some(format!(
                "give the part before `/chat/completions`, such as http://127.0.0.1:8000/v1; a key belongs in the \
                 variable {KEY_VARIABLE}, and travels only over https or to a private host"
            )),
            Self::Key { variable, .. } => Some(format!(
                "set {variable} to the endpoint's key, without quotes or spaces"
            )),
            Self::Connection { .. } => {
                Some("check the address, the network and that the endpoint is running".into())
            }
            Self::Status { advice, .. } => advice.clone(),
            Self::Redirect { .. } => {
                Some("if you trust the new address, give it as --base-url".into())
            }
            Self::Answer { fault, .. } => fault.hint(),
            Self::GaveUp { source, .. } => source.hint(),
            Self::Cancelled => None,
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }
}
