//! What can go wrong with plans and studies.

use std::path::{Path, PathBuf};

use crate::fault::Faults;

/// Everything that this crate reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A plan or study has faults.
    #[error("{name}: {} in the {what}:{faults}", .faults.summary())]
    Faulty {
        /// The file, as it was named by the caller.
        name: String,
        /// `plan` or `study`.
        what: &'static str,
        /// What is wrong, and where.
        faults: Faults,
    },
    /// Words of a plan that could not be mapped onto settings, where all had to be.
    #[error("{count} of the plan's wishes cannot be run as they stand:{listed}")]
    Unresolved {
        /// How many.
        count: usize,
        /// The first of them, a line each.
        listed: String,
    },
    /// A file that is too large to be what it should be.
    #[error("{name} has more than {most} bytes, too many for a {what}")]
    TooLarge {
        /// The file, as it was named by the caller.
        name: String,
        /// `plan` or `study`.
        what: &'static str,
        /// The most that is read.
        most: u64,
    },
    /// A file that is no UTF-8 text.
    #[error("{name} is not UTF-8 text: byte {offset} (line {line}) belongs to no character")]
    NotText {
        /// The file, as it was named by the caller.
        name: String,
        /// Bytes before the first that is wrong.
        offset: usize,
        /// Its line, from 1.
        line: usize,
    },
    /// A setting that the method does not have, or a value that it cannot take.
    #[error("setting `{field}`: {reason}")]
    Setting {
        /// The dotted name of the field.
        field: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The method failed, or a model could not be loaded.
    #[error(transparent)]
    Method(#[from] Box<kinvert::Error>),
    /// A measure or a statistic failed.
    #[error(transparent)]
    Metrics(#[from] Box<kinvert_metrics::Error>),
    /// A clip could not be read or written.
    #[error(transparent)]
    Video(#[from] kinvert_video::Error),
    /// The report's page could not be made from its templates.
    #[error("the page of the report could not be made")]
    Page {
        /// What was in the way, and in which template.
        #[source]
        source: Box<minijinja::Error>,
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
}

impl From<kinvert::Error> for Error {
    fn from(error: kinvert::Error) -> Self {
        Self::Method(Box::new(error)) // large beside the others
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
        Self::Page { source }
    }
}

impl Error {
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unresolved { .. } => Some(
                "say these in other words, or write them as [[ablation.variant]] tables in a TOML plan"
                    .into(),
            ),
            Self::NotText { .. } => Some("save the file as UTF-8".into()),
            Self::TooLarge { .. } => Some("check that this is the right file".into()),
            Self::Io { .. } => {
                Some("check the path, its permissions and the space left on the disk".into())
            }
            Self::Method(error) => error.hint(),
            Self::Metrics(error) => error.hint(),
            Self::Video(error) => error.hint(),
            Self::Faulty { .. } | Self::Setting { .. } | Self::Page { .. } => None,
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

    pub(crate) fn setting(field: &str, reason: impl Into<String>) -> Self {
        Self::Setting {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
