//! Parity and bad input.

#![allow(clippy::unwrap_used)] // a failed expectation ends a test, in helpers too

mod klt;
mod sprite_truth;
