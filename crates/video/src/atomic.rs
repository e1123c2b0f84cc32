//! Files that are either whole or not there.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::Error;

/// Writes `bytes` to `path` under a temporary name in the same folder, syncs, and renames, so that an
/// existing file is never lost to a crash or a full disk.
///
/// What is no regular file (a pipe, `/dev/stdout`) is written to as it is, and a symbolic link keeps
/// pointing to the file that is replaced.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fault = || Error::io("write", path);
    let target = match fs::canonicalize(path) {
        Ok(target) if target.is_dir() => {
            return Err(fault()(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(target) if !target.is_file() => return write_through(&target, bytes).map_err(fault()),
        Ok(target) => target,
        Err(_) => path.to_owned(), // it does not exist yet, or cannot be written either
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = new_file(folder).map_err(fault())?;
    file.write_all(bytes).map_err(fault())?;
    file.as_file().sync_all().map_err(fault())?;
    file.persist(&target).map_err(|e| fault()(e.error))?;
    sync_folder(folder);
    Ok(())
}

fn write_through(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(target)?;
    file.write_all(bytes)?;
    file.flush()
}

/// A new temporary file with the permissions of an ordinary new file, not the private ones of a
/// temporary file.
fn new_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kinvert-");
    #[cfg(unix)]
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666); // less the umask
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(folder)
}

/// Makes the new name itself durable. Not every file system can; the content is safe either way.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Err(error) = fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!(folder = %folder.display(), %error, "The folder could not be synced.");
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_keeps_pointing_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"two");
    }

    #[test]
    fn a_missing_folder_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            folder.path().join("missing/clip.mp4"),
            folder.path().to_owned(),
        ] {
            let error = write(&path, b"x").unwrap_err();
            assert!(
                error.to_string().contains(&*path.to_string_lossy()),
                "{error}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_and_leaves_the_device_alone() {
        let error = write(Path::new("/dev/full"), b"x").unwrap_err();
        let Error::Io { source, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert!(error.hint().unwrap().contains("disk space"));
        assert!(!Path::new("/dev/full").is_file());
    }
}
