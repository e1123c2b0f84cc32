//! Tests of the crate's parts together.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod benchmark;
mod judging;
