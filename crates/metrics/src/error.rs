//! What can go wrong while measuring.

use std::path::{Path, PathBuf};

use crate::votes::Faults;

/// What faulty rows were read as, if not as pairs.
const VOTES: &str = "votes";

/// Everything that this crate reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network could not be loaded.
    #[error("cannot load a network of the measures")]
    Model(#[from] kinvert_nets::Error),
    /// A clip could not be read or written.
    #[error(transparent)]
    Video(#[from] kinvert_video::Error),
    /// An argument that no value of its type should have.
    #[error("`{name}` is {found}, expected {expected}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Where in it, what was found, and what was expected.
        reason: String,
    },
    /// Rows of a file or list of pairs or votes are not what they should be.
    #[error("{} faulty {what}:{faults}", .faults.count())]
    Rows {
        /// `pairs` or `votes`.
        what: &'static str,
        /// The rows.
        faults: Faults,
    },
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
    /// A network gave something that is no number.
    #[error("{what} is not finite")]
    NotFinite {
        /// What was computed, and by what.
        what: String,
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
            Self::Video(source) => source.hint(),
            Self::Io { .. } => {
                Some("check the path, its permissions and the space left on the disk".into())
            }
            Self::NotFinite { .. } => Some("the weights may be damaged, or need f32".into()),
            Self::Rows { what: VOTES, .. } => {
                Some("correct these rows, or leave them out with --skip-faulty".into())
            }
            Self::Rows { .. } => Some("correct these rows".into()),
            Self::Argument { .. } | Self::File { .. } | Self::Cancelled => None,
        }
    }

    pub(crate) fn argument(
        name: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Argument {
            name,
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn pair_rows(faults: Faults) -> Self {
        let what = "pairs";
        Self::Rows { what, faults }
    }

    pub(crate) fn vote_rows(faults: Faults) -> Self {
        let what = VOTES;
        Self::Rows { what, faults }
    }

    pub(crate) fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(path, "reading")
    }

    pub(crate) fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(path, "writing")
    }

    fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }
}
