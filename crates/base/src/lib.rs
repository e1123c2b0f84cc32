//! What every crate of Kinvert needs: files that are written whole ([`write_file`]), and how long work tells
//! what it is doing and hears that it should stop ([`Progress`]).

mod atomic;
mod progress;

pub use atomic::{UNFINISHED, write_file};
pub use progress::{Progress, Quiet};
