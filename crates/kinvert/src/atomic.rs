//! Writing files so that a reader, or the next run, never sees half of one.

use std::io::Write;
use std::path::Path;

use crate::error::Error;

/// Writes `contents` to a temporary file beside `path`, makes sure they are on the disk, and puts it in
/// place.
///
/// # Errors
/// [`Error::Io`] if any of that fails; what was at `path` before is then still there.
pub fn write_file(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        let taken = std::io::Error::other("a folder or device of this name is in the way");
        return Err(Error::writing(path)(taken));
    }
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(contents)?;
        file.as_file().sync_all()?;
        set_default_permissions(file.as_file())?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(Error::writing(path))
}

/// Temporary files are private to their owner; what takes a place of its own is as readable as other files.
#[cfg(unix)]
fn set_default_permissions(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_default_permissions(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}
