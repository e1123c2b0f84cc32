//! The two hashes that the hub names contents by.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kinvert_base::Progress;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::Error;

const READ_BYTES: usize = 256 << 10;

/// The hash of a file's contents, which is also the name of its blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-256, of large files.
    Sha256(String),
    /// SHA-1 as Git names blobs, over `blob <length>\0` and the contents; of small files.
    Git(String),
}

impl Hash {
    /// Reads a hash by its length: 64 or 40 digits, lower case. An `ETag` may have quotes around it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !text.bytes().all(is_digit) {
            return None;
        }
        match text.len() {
            64 => Some(Self::Sha256(text.into())),
            40 => Some(Self::Git(text.into())),
            _ => None,
        }
    }

    /// The digits, which name the blob.
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Git(digits) => digits,
        }
    }

    /// Starts hashing contents of this length in the same way.
    pub(crate) fn hasher(&self, length: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::Git(_) => {
                Hasher::Git(Sha1::new().chain_update(format!("blob {length}\0").as_bytes()))
            }
        }
    }

    /// Hashes a file in the same way. `read` is told how many bytes were read after each piece.
    pub(crate) fn of_file(
        &self,
        path: &Path,
        progress: &mut dyn Progress,
        read: &mut dyn FnMut(&mut dyn Progress, u64),
    ) -> Result<Self, Error> {
        let unreadable = |source| Error::unreadable(path, source);
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut hasher = self.hasher(length);
        hasher.update_from(&mut file, u64::MAX, path, progress, read)?;
        Ok(hasher.finish())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits())
    }
}

/// A hash under way.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    /// Takes what a file holds from where it stands, at most `limit` bytes, and says how many they were.
    pub(crate) fn update_from(
        &mut self,
        file: &mut File,
        limit: u64,
        path: &Path,
        progress: &mut dyn Progress,
        read: &mut dyn FnMut(&mut dyn Progress, u64),
    ) -> Result<u64, Error> {
        let mut file = file.take(limit);
        let mut buffer = vec![0; READ_BYTES];
        let mut total = 0;
        loop {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match file.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => {
                    self.update(&buffer[..count]);
                    total += count as u64;
                    read(progress, total);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::unreadable(path, error)),
            }
        }
    }

    pub(crate) fn finish(self) -> Hash {
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => Hash::Sha256(digits(&hasher.finalize())),
            Self::Git(hasher) => Hash::Git(digits(&hasher.finalize())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_hashed_as_git_and_sha256sum_do() {
        let hash = |of: &str, bytes: &[u8]| {
            let mut hasher = Hash::parse(of).unwrap().hasher(bytes.len() as u64);
            hasher.update(bytes);
            hasher.finish().to_string()
        };
        // `printf hello | git hash-object --stdin`, `printf hello | sha256sum`
        let git = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(hash(git, b"hello"), git);
        assert_eq!(hash(sha256, b"hello"), sha256);
    }

    #[test]
    fn only_digits_of_the_right_number_are_a_hash() {
        assert!(Hash::parse(&format!("W/\"{}\"", "a".repeat(40))).is_some());
        for text in [
            "",
            "../x",
            &"A".repeat(40),
            &"a".repeat(41),
            &"g".repeat(64),
        ] {
            assert_eq!(Hash::parse(text), None, "{text}");
        }
    }
}
