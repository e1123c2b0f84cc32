//! What can go wrong with papers, language models and benchmarks.

use std::path::{Path, PathBuf};

use crate::benchmark::RowFaults;
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
    /// A paper is not what it should be.
    #[error("{path}: {found}, expected {expected}")]
    Paper {
        /// The file or the folder.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
        /// What to do about it.
        advice: String,
    },
    /// A plan or a study cannot be read.
    #[error(transparent)]
    Study(#[from] Box<kinvert_study::Error>),
    /// A paper of which nothing would fit beside the question and the answer.
    #[error(
        "a context of {context} tokens leaves no room for the paper: question and answer take {taken}"
    )]
    Context {
        /// Tokens that the model can read and write.
        context: usize,
        /// Tokens of question and answer.
        taken: usize,
    },
    /// A model did not keep to the form, not even when it was told what was wrong.
    #[error("{model}: the answer could not be read, nor the second one:{}", listed(.faults))]
    Malformed {
        /// The model, as the user named it.
        model: String,
        /// What is wrong with the second answer.
        faults: Vec<String>,
    },
    /// Nothing is left to plan.
    #[error(
        "the template has nothing left to propose: all it knows is in the paper or was run already"
    )]
    NothingOpen,
    /// A setting of planning that is not possible.
    #[error("{field}: {reason}")]
    Setting {
        /// What is set.
        field: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// A file that holds no table, or one that is too large.
    #[error("{path}: {reason}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A table with rows that make no sense.
    #[error("{path}: {} in the table:{faults}", .faults.summary())]
    FaultyTable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which rows.
        faults: RowFaults,
    },
    /// A folder that holds something else than it should, or lies elsewhere than it should.
    #[error("{path}: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A judge gave no valid answer, even after it was told what was wrong with its first.
    #[error("judge `{judge}` gave no valid answer: {reason}")]
    NoJudgement {
        /// The judge.
        judge: String,
        /// What is wrong with its last answer.
        reason: String,
    },
    /// A prompt could not be made from its template.
    #[error("a prompt could not be made")]
    Prompt {
        /// What was in the way, and in which template.
        #[source]
        source: Box<minijinja::Error>,
    },
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
    /// A statistic could not be computed.
    #[error(transparent)]
    Metrics(#[from] Box<kinvert_metrics::Error>),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<kinvert_study::Error> for Error {
    fn from(error: kinvert_study::Error) -> Self {
        Self::Study(Box::new(error)) // large beside the others
    }
}

impl From<kinvert_metrics::Error> for Error {
    fn from(error: kinvert_metrics::Error) -> Self {
        Self::Metrics(Box::new(error)) // likewise
    }
}

impl From<minijinja::Error> for Error {
    fn from(error: minijinja::Error) -> Self {
        let source = Box::new(error);
        Self::Prompt { source }
    }
}

/// A line each.
fn listed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

impl Error {
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => {
                Some("check the path, its permissions and the space left on the disk".into())
            }
            Self::Paper { advice, .. } => Some(advice.clone()),
            Self::Study(error) => error.hint(),
            Self::Context { .. } => {
                Some("use a model with a longer context, and say so with --context".into())
            }
            Self::Malformed { .. } => Some(
                "try again, or use another model: small ones often do not keep to the form".into(),
            ),
            Self::NothingOpen => Some(
                "ask a language model with --model, or look at the paper in author mode".into(),
            ),
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
            Self::Metrics(error) => error.hint(),
            Self::Table { .. } => {
                Some("give a table as JSON Lines, a JSON array or Parquet".into())
            }
            Self::Folder { .. } => Some("choose another folder".into()),
            Self::NoJudgement { .. } => Some(
                "run it again to ask once more, or choose a judge that follows a form of answer"
                    .into(),
            ),
            Self::FaultyTable { .. }
            | Self::Setting { .. }
            | Self::Prompt { .. }
            | Self::Cancelled => None,
        }
    }

    pub(crate) fn table(path: &Path, reason: impl Into<String>) -> Self {
        Self::Table {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    /// An error if there are faults.
    pub(crate) fn of_faults(path: &Path, faults: RowFaults) -> Result<(), Self> {
        if faults.count() == 0 {
            return Ok(());
        }
        let path = path.to_owned();
        Err(Self::FaultyTable { path, faults })
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
