//! Archives of sources, read in memory. Nothing in them says how much they may take: what they unpack to is counted.

use std::io::{Cursor, Read};
use std::path::Path;

use super::source::{MAX_ENTRIES, MAX_FILE_BYTES, MAX_TEXT_BYTES, Sources, too_much};
use crate::Error;

/// Most bytes that an archive unpacks to, figures and all.
const MAX_UNPACKED_BYTES: u64 = 512 << 20;

/// Most bytes that each byte of an archive unpacks to, beyond [`FREE_BYTES`]. Sources stay below 20; no paper of zeros
/// is worth the wait.
const MAX_RATIO: u64 = 100;

/// What any archive may unpack to, however small it is.
const FREE_BYTES: u64 = 16 << 20;

/// What a `.gz` holds.
pub(super) enum Unpacked {
    /// An archive.
    Sources(Sources),
    /// One file, as arXiv has papers of one file.
    File(Vec<u8>),
}

/// Whether these are the first bytes of a tar archive.
pub(super) fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

pub(super) fn gunzip(path: &Path, bytes: &[u8]) -> Result<Unpacked, Error> {
    let mut reader = Counted::new(flate2::read::MultiGzDecoder::new(bytes), bytes.len());
    let mut start = Vec::new();
    let read = (&mut reader).take(512).read_to_end(&mut start);
    read.map_err(|error| damaged(path, &error))?;
    if is_tar(&start) {
        return Ok(Unpacked::Sources(tar(
            path,
            Cursor::new(start).chain(reader),
        )?));
    }
    let mut file = start;
    let read = (&mut reader).take(MAX_FILE_BYTES).read_to_end(&mut file);
    read.map_err(|error| damaged(path, &error))?;
    if file.len() as u64 > MAX_FILE_BYTES {
        let found = format!("a file of more than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(too_much(path, found, "at most that much"));
    }
    Ok(Unpacked::File(file))
}

pub(super) fn tar(path: &Path, reader: impl Read) -> Result<Sources, Error> {
    let mut sources = Sources::default();
    let mut archive = ::tar::Archive::new(reader);
    let entries = archive.entries().map_err(|error| damaged(path, &error))?;
    for (index, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| damaged(path, &error))?;
        if index == MAX_ENTRIES {
            return Err(too_many(path));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let name = inside(path, &name)?;
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            sources
                .lost
                .push(format!("{name} is a link or a device and was skipped"));
            continue;
        }
        if Sources::wanted(&name) {
            let text = bounded(path, &name, &mut entry)?;
            sources.add(path, &name, text)?;
        }
    }
    Ok(sources)
}

pub(super) fn zip(path: &Path, bytes: Vec<u8>) -> Result<Sources, Error> {
    let packed = bytes.len();
    let mut archive =
        ::zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(path, &error))?;
    if archive.len() > MAX_ENTRIES {
        return Err(too_many(path));
    }
    let mut sources = Sources::default();
    let mut unpacked = 0;
    for index in 0..archive.len() {
        let raw = archive
            .by_index_raw(index)
            .map_err(|error| damaged(path, &error))?;
        let name = inside(path, raw.name())?;
        let (encrypted, is_dir, is_link) = (raw.encrypted(), raw.is_dir(), raw.is_symlink());
        drop(raw);
        if is_link {
            sources
                .lost
                .push(format!("{name} is a link and was skipped"));
        }
        if is_dir || is_link || !Sources::wanted(&name) {
            continue;
        }
        if encrypted {
            return Err(Error::Paper {
                path: path.to_owned(),
                found: format!("`{name}` is encrypted"),
                expected: "an archive without a password".into(),
                advice: "unpack it with its password and pass the folder".into(),
            });
        }
        let mut entry = archive
            .by_index(index)
            .map_err(|error| damaged(path, &error))?;
        let declared = entry.size();
        let text = bounded(path, &name, &mut entry)?;
        if text.len() as u64 != declared {
            return Err(Error::Paper {
                path: path.to_owned(),
                found: format!("`{name}` unpacks to {} bytes", text.len()),
                expected: format!("the {declared} that the archive says"),
                advice: "the archive is damaged or made to mislead; take it from its source again"
                    .into(),
            });
        }
        unpacked += text.len() as u64;
        if unpacked > allowed(packed) {
            return Err(bomb(path, unpacked));
        }
        sources.add(path, &name, text)?;
    }
    Ok(sources)
}

/// One text of an archive.
fn bounded(path: &Path, name: &str, entry: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new(); // grows with what is read, whatever the archive says
    let read = entry.take(MAX_TEXT_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| damaged(path, &error))?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        let found = format!("`{name}` unpacks to more than {} MiB", MAX_TEXT_BYTES >> 20);
        return Err(too_much(path, found, "at most that much a file"));
    }
    Ok(text)
}

/// The path of an entry, with `/` between its parts; an error if it leads out of the archive.
fn inside(path: &Path, name: &str) -> Result<String, Error> {
    let name = name.replace('\\', "/");
    let drive = name.as_bytes().get(1) == Some(&b':');
    if name.starts_with('/') || drive || name.split('/').any(|part| part == "..") {
        return Err(Error::Paper {
            path: path.to_owned(),
            found: format!(
                "an entry `{}` that leads out of the archive",
                name.escape_debug()
            ),
            expected: "paths inside of it".into(),
            advice: "the archive is made to overwrite files elsewhere; do not unpack it".into(),
        });
    }
    let parts = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    Ok(parts.collect::<Vec<_>>().join("/"))
}

/// A reader that fails once more has come out of it than its source may hold.
struct Counted<R> {
    reader: R,
    read: u64,
    packed: usize,
}

impl<R> Counted<R> {
    fn new(reader: R, packed: usize) -> Self {
        Self {
            reader,
            read: 0,
            packed,
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.read += read as u64;
        if self.read > allowed(self.packed) {
            return Err(std::io::Error::other(TooMuch(self.read)));
        }
        Ok(read)
    }
}

/// How many bytes have come out when reading stopped.
#[derive(Debug, thiserror::Error)]
#[error("unpacks to more than {0} bytes")]
struct TooMuch(u64);

fn allowed(packed: usize) -> u64 {
    (FREE_BYTES + MAX_RATIO * packed as u64).min(MAX_UNPACKED_BYTES)
}

fn bomb(path: &Path, read: u64) -> Error {
    let found = format!("an archive that unpacks to more than {} MiB", read >> 20);
    too_much(path, found, "the sources of a paper")
}

fn too_many(path: &Path) -> Error {
    let found = format!("an archive of more than {MAX_ENTRIES} files");
    too_much(path, found, "the sources of one paper")
}

fn damaged(path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if let Some(TooMuch(read)) = io.and_then(|io| io.get_ref()?.downcast_ref()) {
            return bomb(path, *read);
        }
        cause = error.source();
    }
    Error::Paper {
        path: path.to_owned(),
        found: format!("an archive that cannot be unpacked ({error})"),
        expected: "a whole .tar.gz, .tar or .zip".into(),
        advice: "download it again, or unpack it yourself and pass the folder".into(),
    }
}
