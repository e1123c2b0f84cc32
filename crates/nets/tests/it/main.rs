//! Integration tests: networks against recordings, loading against damaged files.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod clip;
mod inception;
mod pytorch;
mod tokenizer;
mod unet3d;
mod vae;
