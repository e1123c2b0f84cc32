//! Integration tests: networks against recordings, loading against damaged files.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod check;
mod clip;
mod cost;
mod cotracker;
mod half;
mod inception;
mod original;
mod parameters;
mod published;
mod pytorch;
mod pytorch_clip;
mod support;
mod tokenizer;
mod unet3d;
mod unet_motion;
mod vae;
