//! What can go wrong with papers, language models and benchmarks.

use std::path::{Path, PathBuf};

use crate::benchmark::RowFaults;

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

impl Error {
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => {
                Some("check the path, its permissions and the space left on the disk".into())
            }
            Self::Study(error) => error.hint(),
            Self::Metrics(error) => error.hint(),
            Self::Table { .. } => {
                Some("give a table as JSON Lines, a JSON array or Parquet".into())
            }
            Self::Folder { .. } => Some("choose another folder".into()),
            Self::NoJudgement { .. } => Some(
                "run it again to ask once more, or choose a judge that follows a form of answer"
                    .into(),
            ),
            Self::FaultyTable { .. } | Self::Prompt { .. } | Self::Cancelled => None,
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
