//! Hashing again what was fetched.

use std::fs;
use std::path::Path;

use kinvert_base::Progress;
use serde::Serialize;

use crate::cache::{paths, size};
use crate::download::to_steps;
use crate::{Error, Hash};

/// What hashing a file showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Path in the model's folder.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// The hash that it should have, where that is known.
    pub expected: Option<String>,
    /// What is wrong, if anything is.
    pub fault: Option<String>,
}

/// Hashes all files in a model's folder whose hash is known: the links to blobs of a snapshot in a hub's cache, whose
/// names are their hashes. Nothing is known of other files.
///
/// # Errors
/// If a file cannot be read; [`Error::Cancelled`].
pub fn verify(folder: &Path, progress: &mut dyn Progress) -> Result<Vec<Verified>, Error> {
    let found = paths(folder)?;
    progress.start_bytes("hashing", found.iter().map(|path| size(path)).sum());
    let mut done = 0;
    let mut verified = Vec::new();
    for path in found {
        let name = path.strip_prefix(folder).unwrap_or(&path);
        let name = name.display().to_string();
        let bytes = size(&path);
        let expected = blob_name(&path);
        let fault = match &expected {
            _ if !path.exists() => Some("its contents are gone".into()),
            None => None,
            Some(expected) => {
                let hash = expected.of_file(&path, progress, &mut |progress, read| {
                    progress.advance(to_steps(done + read), &name);
                })?;
                (hash != *expected).then(|| format!("its hash is {hash}, expected {expected}"))
            }
        };
        done += bytes;
        verified.push(Verified {
            file: name,
            bytes,
            expected: expected.map(|hash| hash.to_string()),
            fault,
        });
    }
    progress.finish();
    Ok(verified)
}

/// The hash by which a link's blob is named.
fn blob_name(path: &Path) -> Option<Hash> {
    let target = fs::read_link(path).ok()?;
    let folder = target.parent()?.file_name()?;
    let hash = Hash::parse(target.file_name()?.to_str()?)?;
    (folder == "blobs").then_some(hash)
}
