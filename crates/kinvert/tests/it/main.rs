//! The method against recordings of its published code, on the CPU backend.

#![allow(clippy::unwrap_used)] // helpers of tests are not `#[test]` functions themselves

mod animate_diff;
mod axes;
mod import;
mod lora;
mod memory;
mod official_motion;
mod precision;
mod sprites;
mod support;
