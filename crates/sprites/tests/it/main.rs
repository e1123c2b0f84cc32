//! The recipe and the table, as a library and as a program.

#![allow(clippy::unwrap_used)] // a failed expectation ends a test, in helpers too

mod evaluate;
mod support;
mod training;
