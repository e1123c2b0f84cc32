//! Parity and bad input.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod cotracker;
mod frechet;
mod klt;
mod motion_fidelity;
mod sprite_truth;
mod statistics;
mod votes;
