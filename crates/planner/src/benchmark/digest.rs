//! SHA-256 of texts.

use sha2::{Digest, Sha256};

/// Hash of several texts, each with its length, so that no two lists of texts are taken for the same.
pub(super) fn sha256<'a>(texts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.finalize().into()
}

/// A hash in hexadecimal digits.
pub(super) fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
