//! Measures of motion customization, and their statistics.
//!
//! Five things are measured: whether a clip shows what its prompt says, whether it holds together from frame to
//! frame, whether it moves as its reference does, whether its frames look like those of real clips, and which of
//! two clips people prefer. Every result is a [`Record`] that names its model, its preprocessing and its sample
//! size, so that a number can be compared or refused.

pub mod draw;
pub mod error;
pub mod klt;
pub mod record;
pub mod tracks;

pub use error::Error;
pub use record::Record;
pub use tracks::{Tracker, Tracks};
