//! Fetching from a hub that plays along, and from one that does not.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod broken;
mod cached;
mod hostile;
mod pulling;
mod support;
