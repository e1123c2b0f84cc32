//! What every crate of Kinvert needs: files that are written whole ([`write_file`]), where to keep what can be made
//! again ([`cache_folder`]), and how long work tells what it is doing and hears that it should stop ([`Progress`]).

mod atomic;
mod caches;
mod progress;

pub use atomic::{UNFINISHED, write_file};
pub use caches::{CACHE_VARIABLE, cache_folder};
pub use progress::{Progress, Quiet, Within};
