//! Clips in and out, through the public interface.

#![allow(
    clippy::unwrap_used,
    reason = "the helpers beside the tests panic as tests do"
)]

mod bad_input;
mod ffmpeg;
mod images;
mod mp4;
mod support;
