//! The cache of the hub's tools on this machine; the [crate's page](crate) shows its layout.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kinvert_base::{Progress, write_file};
use kinvert_nets::published::is_commit;
use kinvert_nets::{ModelFiles, ModelKind, ModelName};
use serde::Serialize;

use crate::http::wait;
use crate::listing::RemoteFile;
use crate::{Error, Hash, needed};

/// Time between two looks at a lock that another process holds.
const LOCK_EVERY: Duration = Duration::from_millis(100);

/// Folders of a snapshot inside each other, at most; models have one.
const MAX_DEPTH: usize = 8;

/// The cached files of one model.
pub(crate) struct ModelCache {
    folder: PathBuf,
    locks: PathBuf,
}

impl ModelCache {
    pub(crate) fn new(cache: &Path, name: &ModelName) -> Self {
        let folder = name.cache_folder(cache);
        let locks = cache.join(".locks");
        Self {
            locks: folder
                .file_name()
                .map_or(locks.clone(), |name| locks.join(name)),
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub(crate) fn blob(&self, hash: &Hash) -> PathBuf {
        self.folder.join("blobs").join(hash.digits())
    }

    /// Where a blob lies until it is whole.
    pub(crate) fn incomplete(&self, hash: &Hash) -> PathBuf {
        self.folder.join("blobs").join(format!("{hash}.incomplete"))
    }

    /// Whether a file is there, in whichever way.
    pub(crate) fn has(&self, commit: &str, file: &RemoteFile) -> bool {
        let is_whole = |path: &Path| {
            path.metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size)
        };
        let pointer = self.snapshot(commit).join(&file.path);
        // Where there are no links, some tools move the contents into the snapshot.
        is_whole(&self.blob(&file.hash)) || (!pointer.is_symlink() && is_whole(&pointer))
    }

    /// Keeps other processes from writing the same blob, for as long as what is returned lives. Waits for one that
    /// does.
    pub(crate) fn lock(&self, hash: &Hash, progress: &mut dyn Progress) -> Result<File, Error> {
        let path = self.locks.join(format!("{hash}.lock"));
        let unwritable = |source| Error::unwritable(&path, source);
        fs::create_dir_all(&self.locks).map_err(unwritable)?;
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(unwritable)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {
                    progress.note("another process is fetching the same file: waiting for it");
                    wait(LOCK_EVERY, progress)?;
                }
                // Not every file system has locks. What is written is hashed before it is used, with or without one.
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(path = %path.display(), %error, "The file cannot be locked.");
                    return Ok(lock);
                }
            }
        }
    }

    /// Puts a blob that is there into the snapshot of a commit.
    pub(crate) fn link(&self, commit: &str, file: &RemoteFile) -> Result<(), Error> {
        let pointer = self.snapshot(commit).join(&file.path);
        let blob = self.blob(&file.hash);
        let levels = file.path.split('/').count() + 1;
        let target = Path::new(&"../".repeat(levels))
            .join("blobs")
            .join(file.hash.digits());
        let unwritable = |source| Error::unwritable(&pointer, source);
        match fs::symlink_metadata(&pointer) {
            Ok(_) if !blob.exists() => return Ok(()), // the contents themselves
            Ok(_) if fs::read_link(&pointer).is_ok_and(|found| found == target) => return Ok(()),
            Ok(_) => fs::remove_file(&pointer).map_err(unwritable)?,
            Err(_) => {}
        }
        if let Some(parent) = pointer.parent() {
            fs::create_dir_all(parent).map_err(unwritable)?;
        }
        match link_or_copy(&target, &blob, &pointer) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(unwritable(error)),
            _ => Ok(()), // another process was faster
        }
    }

    /// Makes a branch or tag stand for a commit.
    pub(crate) fn point(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if revision == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        if fs::read_to_string(&path).is_ok_and(|found| found == commit) {
            return Ok(());
        }
        let unwritable = |source| Error::unwritable(&path, source);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(unwritable)?;
        }
        write_file(&path, commit.as_bytes()).map_err(unwritable)
    }
}

#[cfg(unix)]
fn link_or_copy(target: &Path, _blob: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(windows)]
fn link_or_copy(target: &Path, blob: &Path, pointer: &Path) -> io::Result<()> {
    // Links need a privilege there that users seldom have.
    std::os::windows::fs::symlink_file(target, pointer).or_else(|_| copy(blob, pointer))
}

#[cfg(not(any(unix, windows)))]
fn link_or_copy(_target: &Path, blob: &Path, pointer: &Path) -> io::Result<()> {
    copy(blob, pointer)
}

#[cfg(not(unix))]
fn copy(blob: &Path, pointer: &Path) -> io::Result<()> {
    let mut name = pointer.file_name().unwrap_or_default().to_owned();
    name.push(".incomplete");
    let unfinished = pointer.with_file_name(name);
    fs::copy(blob, &unfinished)?;
    fs::rename(unfinished, pointer)
}

/// A model in the cache, at one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachedModel {
    /// `organisation/model`.
    pub name: String,
    /// The branches and tags that stood for the commit when they were fetched; none if a pull was not finished, or a
    /// branch has moved on.
    pub revisions: Vec<String>,
    /// The commit.
    pub commit: String,
    /// The folder of its files.
    pub path: PathBuf,
    /// Bytes of its files. Commits may share them.
    pub bytes: u64,
    /// Files that would be needed and are not there.
    pub missing: Vec<String>,
    /// What it is.
    #[serde(skip)]
    pub kind: ModelKind,
}

/// The models in a hub's cache that this program may use, by their names. A cache that does not exist is empty.
///
/// # Errors
/// If a folder cannot be read.
pub fn list(cache: &Path) -> Result<Vec<CachedModel>, Error> {
    let mut found = Vec::new();
    for model in folders(cache)? {
        let revisions = refs(&model.join("refs"));
        for snapshot in folders(&model.join("snapshots"))? {
            let Some(name) = ModelName::of_snapshot(&snapshot) else {
                continue;
            };
            let files = ModelFiles::folder(&snapshot);
            let Some(kind) = needed::kind_of(&files) else {
                continue;
            };
            let commit = name.revision().to_owned();
            found.push(CachedModel {
                name: name.repository().into(),
                revisions: revisions.get(&commit).cloned().unwrap_or_default(),
                bytes: paths(&snapshot)?.iter().map(|path| size(path)).sum(),
                missing: needed::missing(&files),
                path: snapshot,
                commit,
                kind,
            });
        }
    }
    Ok(found)
}

/// The files of a snapshot or another folder, those in its folders included.
pub(crate) fn paths(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut waiting = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for entry in entries(&folder)? {
            // Links to folders are not followed, so that there is an end.
            if entry.is_dir() && !entry.is_symlink() {
                if depth < MAX_DEPTH {
                    waiting.push((entry, depth + 1));
                }
            } else {
                found.push(entry);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes of a file; none of one that is not there.
pub(crate) fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Branches and tags by the commits that they stand for.
fn refs(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for path in paths(folder).unwrap_or_default() {
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let commit = fs::read_to_string(&path).unwrap_or_default();
        if let (Some(name), true) = (name, is_commit(commit.trim())) {
            found
                .entry(commit.trim().into())
                .or_default()
                .push(name.replace('\\', "/"));
        }
    }
    found
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

/// What lies in a folder, by name; nothing in one that does not exist.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    match read() {
        Ok(mut entries) => {
            entries.sort();
            Ok(entries)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::unreadable(folder, error)),
    }
}
