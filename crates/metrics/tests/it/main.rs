//! Parity and bad input.

#![allow(clippy::unwrap_used)] // helpers of tests are not `#[test]` functions themselves

mod motion_fidelity;
