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
            Self::Paper { advice, .. } => Some(advice.clone()),
            Self::Study(error) => error.hint(),
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
