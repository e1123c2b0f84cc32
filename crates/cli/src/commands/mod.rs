//! One file per command: resolve arguments, call the library, print the result.

pub mod devices;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod import;
pub mod inspect;
pub mod invert;
pub mod models;
pub mod plan;
pub mod planner;
pub mod sprites;
pub mod study;
pub mod tracks;
pub mod transfer;
pub mod votes;

/// `64x64`.
fn size_text([width, height]: [usize; 2]) -> String {
    format!("{width}x{height}")
}

/// The first digits of a hash.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
