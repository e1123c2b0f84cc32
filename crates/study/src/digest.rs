//! SHA-256 as names of content.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The hash of bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
        text
    })
}

/// The hash of several texts in order; no two lists have the same by the way they are divided.
pub(crate) fn of_parts(parts: &[&str]) -> String {
    #[derive(Serialize)]
    struct Parts<'a>(&'a [&'a str]);
    let json = serde_json::to_vec(&Parts(parts));
    sha256(&json.unwrap_or_default()) // strings can always be written as JSON
}
