//! Integration tests: networks against recordings, loading against damaged files.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod check;
mod clip;
mod cost;
mod cotracker;
mod inception;
mod published;
mod pytorch;
mod pytorch_clip;
mod tokenizer;
mod unet3d;
mod vae;
