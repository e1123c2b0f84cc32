//! Measures of motion customization, and their statistics.
//!
//! Five things are measured: whether a clip shows what its prompt says, whether it holds together from frame to
//! frame, whether it moves as its reference does, whether its frames look like those of real clips, and which of
//! two clips people prefer. Every result is a [`Record`] that names its model, its preprocessing and its sample
//! size, so that a number can be compared or refused.

pub mod average;
pub mod cache;
pub mod clip_encoder;
pub mod cotracker;
pub mod draw;
pub mod error;
pub mod evaluate;
pub mod frames;
pub mod frechet;
pub mod inception;
pub mod klt;
pub mod manifest;
pub mod measure;
pub mod motion_fidelity;
pub mod record;
pub mod sets;
pub mod similarity;
pub mod statistics;
pub mod tracks;
pub mod votes;

pub use cotracker::CoTracker;
pub use error::Error;
pub use record::Record;
pub use tracks::{Tracker, Tracks};
