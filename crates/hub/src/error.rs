//! What can go wrong while a model is fetched or checked.

use std::path::{Path, PathBuf};

/// An error of this crate. The text says where, what was found and what was expected; [`Error::hint`] says
/// what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no folder in which fetched models could be kept.
    #[error("there is no folder for fetched models: the user has no home")]
    NoCache,
    /// What should be a token is none. It is not shown.
    #[error("{origin}: not a token, expected one word of visible characters")]
    Token {
        /// The variable or the file.
        origin: String,
    },
    /// The address of the hub cannot be used.
    #[error("`{found}` is no address of a hub: {reason}")]
    Endpoint {
        /// The address, without credentials.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A model is not on this machine, and the hub may not be asked.
    #[error("{name} is not on this machine, and the hub is not to be asked (HF_HUB_OFFLINE)")]
    Offline {
        /// The model.
        name: String,
    },
    /// A model on this machine lacks files, and the hub may not be asked.
    #[error("{name} lacks {}, and the hub is not to be asked (HF_HUB_OFFLINE)", missing.join(", "))]
    OfflineIncomplete {
        /// The model.
        name: String,
        /// The files that are not there.
        missing: Vec<String>,
    },
    /// The hub cannot be reached, or the connection breaks again and again.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host that was asked.
        host: String,
        /// What went wrong the last time.
        reason: String,
    },
    /// The hub refuses to give a model.
    #[error("{host} refuses {name} (status {status}{})", said(message))]
    Refused {
        /// The hub.
        host: String,
        /// The model.
        name: String,
        /// 401 or 403.
        status: u16,
        /// What the hub says, if anything.
        message: String,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// The hub has no such model, revision or file.
    #[error("{host} has no {what} (status 404{})", said(message))]
    NotFound {
        /// The hub.
        host: String,
        /// The model and its revision, or a file of it.
        what: String,
        /// What the hub says, if anything.
        message: String,
    },
    /// An answer with a status that nothing can be done about.
    #[error("{host} answers with status {status}{}", said(message))]
    Status {
        /// The host that was asked.
        host: String,
        /// The status.
        status: u16,
        /// What it says, if anything.
        message: String,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects to `{location}`: {reason}")]
    Redirect {
        /// The host that was asked.
        host: String,
        /// Where to, without a query.
        location: String,
        /// Why it is not followed.
        reason: &'static str,
    },
    /// The hub's list of a model's files cannot be used.
    #[error("the list of the files of {name} cannot be used: {reason}")]
    Listing {
        /// The model.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A published model is none that this program can use.
    #[error("{name} is no model that can be used: it has no {}", missing.join(" and no "))]
    NotUsable {
        /// The model.
        name: String,
        /// The files that it would need.
        missing: Vec<String>,
    },
    /// A variant of the weights was asked for that is not published.
    #[error("{name} is not published as {variant}")]
    NoVariant {
        /// The model.
        name: String,
        /// What was asked for.
        variant: String,
    },
    /// A file that was fetched is not the published one.
    #[error("{file}: what was fetched is damaged: its {kind} is {found}, expected {expected}")]
    Damaged {
        /// The file's path in the repository.
        file: String,
        /// Length or hash.
        kind: &'static str,
        /// What it is.
        found: String,
        /// What the hub says that it is.
        expected: String,
    },
    /// The disk has too little room for a model.
    #[error("{}: {needed_mb} MB are needed, and {free_mb} MB are free", path.display())]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// What is still to be fetched.
        needed_mb: u64,
        /// What the disk has.
        free_mb: u64,
    },
    /// A file in the cache cannot be written.
    #[error("{}: cannot be written", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file in the cache cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that was fetched cannot be understood, or a name is none.
    #[error(transparent)]
    Model(#[from] kinvert_nets::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoCache => "set HF_HOME to a folder that may be written to".into(),
            Self::Token { .. } => {
                "put the token there as the hub shows it under Settings, Access Tokens, or remove it".into()
            }
            Self::Endpoint { .. } => "set HF_ENDPOINT to an address such as https://huggingface.co".into(),
            Self::Offline { name } | Self::OfflineIncomplete { name, .. } => format!(
                "run `kinvert models pull {name}` where there is a network, and copy the folder of the cache here \
                 (HF_HOME names it); or unset HF_HUB_OFFLINE"
            ),
            Self::Unreachable { .. } => {
                "check the network (and HTTPS_PROXY, if there is a proxy) and run the same command again: it goes on \
                 where it was; or pass the folder of a model that is on this machine"
                    .into()
            }
            Self::Refused { name, had_token, .. } => {
                let token = match had_token {
                    true => "check that the token may read it",
                    false => "set HF_TOKEN to a token of yours",
                };
                format!(
                    "check the name; if it is right, accept the licence on the model's page, \
                     https://huggingface.co/{name}, and {token}. (The hub answers like this for models that do not \
                     exist, too.)"
                )
            }
            Self::NotFound { .. } => "check the name and the revision on the hub's page of the model".into(),
            Self::Status { status: 429, .. } => "the hub is asked too much: try again later, or set HF_TOKEN".into(),
            Self::Status { status: 500.., .. } => "the hub has trouble: try again later".into(),
            Self::Redirect { .. } | Self::Listing { .. } => "check HF_ENDPOINT: it may not be a hub".into(),
            Self::NotUsable { .. } => {
                "models are text-to-video pipelines in the diffusers layout, motion adapters, or CLIP".into()
            }
            Self::NoVariant { .. } => "leave --variant out to fetch the plain weights".into(),
            Self::Damaged { .. } => {
                "something between here and the hub changes what is sent: try another network, or without a proxy".into()
            }
            Self::NoRoom { .. } => "free some space, or set HF_HOME to a folder on another disk".into(),
            Self::Unwritable { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "free some space and run the same command again: it goes on where it was".into()
            }
            Self::Unwritable { .. } => {
                "check the folder's permissions, or set HF_HOME to a folder that may be written to".into()
            }
            Self::Unreadable { .. } => "check the file's permissions".into(),
            Self::Model(source) => return source.hint(),
            Self::Status { .. } | Self::Cancelled => return None,
        };
        Some(hint)
    }

    pub(crate) fn unwritable(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Unwritable { path, source }
    }

    pub(crate) fn unreadable(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Unreadable { path, source }
    }
}

/// What a server says, as the end of a sentence.
fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {message}"),
    }
}
