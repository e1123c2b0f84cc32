//! Writing files so that a reader, or the next run, never sees half of one.

use std::path::Path;

use crate::error::Error;

/// Writes `contents` whole or not at all; see [`kinvert_base::write_file`].
///
/// # Errors
/// [`Error::Io`] with the path; what was at `path` before is then still there.
pub fn write_file(path: &Path, contents: &[u8]) -> Result<(), Error> {
    kinvert_base::write_file(path, contents).map_err(Error::writing(path))
}
