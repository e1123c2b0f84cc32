//! Parity and bad input.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod cotracker;
mod frechet;
mod motion_fidelity;
mod statistics;
mod votes;
