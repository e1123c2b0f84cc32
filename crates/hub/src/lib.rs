//! Published models: fetched from the [Hugging Face hub](https://huggingface.co), kept in the cache that its own tools
//! use, and checked.
//!
//! * [`Hub::pull`] fetches the files of a model that this program reads, and no others: [`needed`] says which.
//! * [`Hub::find`] finds a model by the path of its folder or by its name, and pulls it if it is not there.
//! * [`list()`] tells what is in the cache, [`verify`](verify()) hashes it again.
//!
//! # The cache
//!
//! The layout is that of the hub's Python library, so that a model is on the disk once, whoever fetched it:
//!
//! ```text
//! models--organisation--model/
//!     blobs/<hash>                  contents; SHA-256 of large files, Git's SHA-1 of small ones
//!     blobs/<hash>.incomplete       what was fetched of one so far; the next pull goes on from there
//!     snapshots/<commit>/<path>     the files of a commit: links to blobs, or copies where there are no links
//!     refs/<branch or tag>          the commit that it stood for when it was fetched
//! .locks/models--organisation--model/<hash>.lock
//! ```
//!
//! A blob gets its name when it is whole and its hash is right, so what has that name can be used. A branch is pointed
//! at a commit when all files of the commit are there, so a pull that is stopped leaves the last one usable.
//!
//! # Why a client of our own
//!
//! The crate `hf-hub` was looked at first. Its version 1 brings an asynchronous runtime, a second HTTP stack and the
//! client of another storage. Its versions 0.3 to 0.5, which can use `ureq`, check no hash, append to a file what a server
//! sends that ignores the range asked for, keep unfinished files under other names than Python's tools do, and cannot
//! be stopped while a server is silent. What is needed beyond `ureq`, which the workspace has already, is little: this
//! crate.
//!
//! # What is trusted
//!
//! The hub is asked over TLS and says the hashes; everything else is checked against them. Names of files that it lists
//! are data: paths are written only for the fixed names of [`needed`] and for shards in the same folder. A token goes to
//! the hub's own host and port alone, never to where a download is redirected, and is never shown.

mod cache;
mod download;
mod environment;
mod error;
mod hash;
mod http;
mod listing;
mod locate;
pub mod needed;
mod pull;
mod verify;

pub use cache::{CachedModel, list};
pub use environment::{HubOptions, Token};
pub use error::Error;
pub use hash::Hash;
pub use kinvert_nets::{ModelKind, ModelName};
pub use pull::{Hub, Pulled};
pub use verify::{Verified, verify};
