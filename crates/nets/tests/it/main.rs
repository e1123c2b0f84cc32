//! Integration tests: networks against recordings, loading against damaged files.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod clip;
mod cotracker;
mod half;
mod inception;
mod pytorch;
mod pytorch_clip;
mod tokenizer;
mod unet3d;
mod vae;
