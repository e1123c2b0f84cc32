//! One file, from the hub to its blob.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use kinvert_base::Progress;
use kinvert_nets::ModelName;

use crate::cache::ModelCache;
use crate::hash::Hasher;
use crate::http::{Answer, Ask, Client, Failure, Part, Tries};
use crate::listing::{RemoteFile, ask_for};
use crate::{Error, HubOptions};

/// What a try must bring before the ones that failed are forgotten.
const ADVANCE_BYTES: u64 = 1 << 20;

/// Fetches the files of one commit.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) options: &'a HubOptions,
    pub(crate) cache: &'a ModelCache,
    pub(crate) name: &'a ModelName,
    pub(crate) commit: &'a str,
}

/// How far the download of several files is.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes of the files that are there.
    pub(crate) done: u64,
    /// Bytes that came over the network.
    pub(crate) fetched: u64,
}

impl Download<'_> {
    /// Makes a file part of the snapshot, fetching what is not there of it.
    pub(crate) fn file(
        &self,
        file: &RemoteFile,
        tally: &mut Tally,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        if !self.cache.has(self.commit, file) {
            let _lock = self.cache.lock(&file.hash, progress)?;
            // Another process may have fetched it while this one waited.
            if !self.cache.has(self.commit, file) {
                self.blob(file, tally, progress)?;
            }
        }
        tally.done += file.size;
        progress.advance(to_steps(tally.done), &file.path);
        self.cache.link(self.commit, file)
    }

    /// Fetches a blob; once more if what came is damaged.
    fn blob(
        &self,
        file: &RemoteFile,
        tally: &mut Tally,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let path = self.cache.incomplete(&file.hash);
        let unwritable = |source| Error::unwritable(&path, source);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(unwritable)?;
        }
        let mut was_damaged = false;
        loop {
            let mut incomplete = Incomplete::open(&path, file, progress)?;
            self.fill(&mut incomplete, file, tally, progress)?;
            let found = incomplete.hasher.finish();
            if found == file.hash {
                incomplete.file.sync_all().map_err(unwritable)?;
                return fs::rename(&path, self.cache.blob(&file.hash)).map_err(unwritable);
            }
            fs::remove_file(&path).map_err(unwritable)?;
            let error = damaged(file, "hash", &found, &file.hash);
            if was_damaged {
                return Err(error);
            }
            was_damaged = true;
            progress.note(&format!("{error}; it was removed and is fetched again"));
        }
    }

    /// Fetches what is left of a blob, in as many tries as it takes.
    fn fill(
        &self,
        incomplete: &mut Incomplete<'_>,
        file: &RemoteFile,
        tally: &mut Tally,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let mut tries = Tries::new(self.options);
        progress.advance(to_steps(tally.done + incomplete.length), "");
        while incomplete.length < file.size {
            let before = incomplete.length;
            let tried = self.stream(incomplete, file, tally, progress);
            if incomplete.length >= before + ADVANCE_BYTES {
                tries.advanced();
            }
            if let Err(failure) = tried {
                tries.after(failure, progress)?;
            }
        }
        Ok(())
    }

    /// Asks for what is left of a blob, and appends what comes.
    fn stream(
        &self,
        incomplete: &mut Incomplete<'_>,
        file: &RemoteFile,
        tally: &mut Tally,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let ask = Ask {
            from: incomplete.length,
            ..ask_for(&file.path, self.commit, self.name.repository())
        };
        let mut answer = match self.client.ask(&ask, progress) {
            Err(Failure::Lasting(error)) if matches!(*error, Error::Status { status: 416, .. }) => {
                incomplete.restart(file)?; // whatever is there, the server does not know it
                return Err(Failure::passing(*error));
            }
            answer => answer?,
        };
        if !continues(&answer, incomplete.length) {
            incomplete.restart(file)?;
        }
        let expected = file.size - incomplete.length;
        if let Some(length) = answer.head.number("content-length")
            && length != expected
        {
            return Err(Failure::from(damaged(file, "length", length, expected)));
        }
        loop {
            let bytes = match self.client.next(&mut answer, progress)? {
                Part::Bytes(bytes) => bytes,
                _ if incomplete.length == file.size => return Ok(()),
                _ => {
                    let (length, size) = (incomplete.length, file.size);
                    let reason = format!("the connection ended after {length} of {size} bytes");
                    let error = self.client.unreachable(&answer.target, reason);
                    return Err(Failure::passing(error));
                }
            };
            if bytes.len() as u64 > file.size - incomplete.length {
                let found = format!("more than {}", file.size);
                return Err(Failure::from(damaged(file, "length", found, file.size)));
            }
            incomplete.append(&bytes)?;
            tally.fetched += bytes.len() as u64;
            progress.advance(to_steps(tally.done + incomplete.length), &file.path);
        }
    }
}

/// Whether an answer goes on at `from`; if not, it has all of the file.
fn continues(answer: &Answer, from: u64) -> bool {
    if answer.head.status != 206 {
        return from == 0;
    }
    let range = answer.head.header("content-range").unwrap_or_default();
    let start = range
        .strip_prefix("bytes ")
        .and_then(|range| range.split('-').next());
    start.and_then(|start| start.parse().ok()) == Some(from)
}

/// A blob that is not whole yet, and the hash of what is there.
struct Incomplete<'a> {
    path: &'a Path,
    file: File,
    length: u64,
    hasher: Hasher,
}

impl<'a> Incomplete<'a> {
    /// Opens what an earlier download left, or begins anew.
    fn open(path: &'a Path, of: &RemoteFile, progress: &mut dyn Progress) -> Result<Self, Error> {
        let unwritable = |source| Error::unwritable(path, source);
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let mut incomplete = Self {
            path,
            file: options.open(path).map_err(unwritable)?,
            length: 0,
            hasher: of.hash.hasher(of.size),
        };
        let length = incomplete.file.metadata().map_err(unwritable)?.len();
        if length > of.size {
            incomplete.restart(of)?;
            return Ok(incomplete);
        }
        let file = &mut incomplete.file;
        let hasher = &mut incomplete.hasher;
        incomplete.length = hasher.update_from(file, of.size, path, progress, &mut |_, _| {})?;
        Ok(incomplete)
    }

    /// Forgets what is there.
    fn restart(&mut self, of: &RemoteFile) -> Result<(), Error> {
        let emptied = self
            .file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| Error::unwritable(self.path, source))?;
        self.length = 0;
        self.hasher = of.hash.hasher(of.size);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| Error::unwritable(self.path, source))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn damaged(
    file: &RemoteFile,
    kind: &'static str,
    found: impl ToString,
    expected: impl ToString,
) -> Error {
    Error::Damaged {
        file: file.path.clone(),
        kind,
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// Bytes as the steps of a stage.
pub(crate) fn to_steps(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
