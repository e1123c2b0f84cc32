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
    /// A clip that no source has.
    #[error("clip `{name}`: no such scene, expected a motion and a seed such as `sprites:arc:3`")]
    Source {
        /// As the study names it.
        name: String,
    },
    /// A clip is not what it was when the study was begun.
    #[error(
        "{path}: the clip has changed since the study was begun: its frames are {found}, they were {known}"
    )]
    ClipChanged {
        /// As the study names it.
        path: String,
        /// SHA-256 of the frames before.
        known: String,
        /// SHA-256 of the frames now.
        found: String,
    },
    /// A study is to go on with something else than it was begun with.
    #[error(
        "the {what} of the study have changed since it was begun: found `{now}`, expected `{begun}`"
    )]
    OtherRun {
        /// `model` or `measures`.
        what: &'static str,
        /// What it was begun with.
        begun: String,
        /// What it would go on with.
        now: String,
    },
    /// A study that cannot be run as it stands.
    #[error("{name}: {reason}")]
    Unrunnable {
        /// Its file or folder.
        name: String,
        /// What is missing or impossible.
        reason: String,
    },
    /// A folder that is none of a study, or of another one.
    #[error("{path}: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A store of a later version.
    #[error("{path}: a store of version {found}, expected at most {known}")]
    NewerStore {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The latest that is known.
        known: i32,
    },
    /// A store that holds something that makes no sense.
    #[error("{path}: the store is damaged: {reason}")]
    DamagedStore {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A store could not be read or written.
    #[error("{path}: the store cannot be used")]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
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
            Self::ClipChanged { .. } => {
                Some("bring the clip back as it was, or begin a new study in another folder".into())
            }
            Self::OtherRun { .. } => Some(
                "go on as it was begun, or begin a new study in another folder: numbers of the two do not compare"
                    .into(),
            ),
            Self::NewerStore { .. } => Some("use the version of the program that wrote it, or a later one".into()),
            Self::DamagedStore { .. } => Some("take the file from a backup, or begin the study anew".into()),
            Self::Store { .. } => {
                Some("check the path, its permissions and the space left on the disk".into())
            }
            Self::Source { .. } => Some(format!("motions: {}", motions())),
            Self::Unrunnable { .. } | Self::Folder { .. } | Self::Cancelled => None,
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

    pub(crate) fn store(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::not_a_store(&path),
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => Self::DamagedStore {
                path,
                reason: source.to_string(),
            },
            _ => Self::Store { path, source },
        }
    }

    pub(crate) fn never_run(path: &Path) -> Self {
        Self::Folder {
            path: path.to_owned(),
            reason: "the study was never run".into(),
        }
    }

    pub(crate) fn not_a_store(path: &Path) -> Self {
        Self::DamagedStore {
            path: path.to_owned(),
            reason: "no store of a study".into(),
        }
    }

    pub(crate) fn setting(field: &str, reason: impl Into<String>) -> Self {
        Self::Setting {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// The motions of the sprite world, in a sentence.
fn motions() -> String {
    let names: Vec<String> = kinvert_world::Motion::ALL
        .iter()
        .map(ToString::to_string)
        .collect();
    names.join(", ")
}
