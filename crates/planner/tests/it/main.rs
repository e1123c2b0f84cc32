//! Papers, language models and benchmarks, through what this crate shows of them.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod benchmark;
mod chat;
mod judging;
mod papers;
mod planning;
