//! What can go wrong with papers, language models and benchmarks.

use std::path::{Path, PathBuf};

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
    Answer {
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
    /// A prompt could not be made from its template.
    #[error("a prompt could not be made")]
    Prompt {
        /// What was in the way, and in which template.
        #[source]
        source: Box<minijinja::Error>,
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
            Self::Study(error) => error.hint(),
            Self::Context { .. } => {
                Some("use a model with a longer context, and say so with --context".into())
            }
            Self::Answer { .. } => Some(
                "try again, or use another model: small ones often do not keep to the form".into(),
            ),
            Self::NothingOpen => Some(
                "ask a language model with --model, or look at the paper in author mode".into(),
            ),
            Self::Setting { .. } | Self::Prompt { .. } | Self::Cancelled => None,
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
