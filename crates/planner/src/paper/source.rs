//! What a paper comes as, told by its first bytes, and read within bounds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Paper, archive, latex, markdown, pdf, plain};
use crate::Error;
use crate::clean::clean;

/// Largest file that is read.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;

/// Largest text file among the sources.
pub(super) const MAX_TEXT_BYTES: u64 = 8 << 20;

/// Most text of all sources together.
pub(super) const MAX_TOTAL_BYTES: u64 = 64 << 20;

/// Most files in a folder or an archive.
pub(super) const MAX_ENTRIES: usize = 10_000;

/// Deepest folder inside of a folder.
const MAX_DEPTH: usize = 16;

/// The text files of a paper, by their paths in its folder or archive, with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    pub(super) files: BTreeMap<String, String>,
    /// Where files are read from that are not in the list, if they may be.
    pub(super) folder: Option<PathBuf>,
    /// What was skipped.
    pub(super) lost: Vec<String>,
    total: u64,
}

impl Sources {
    /// Whether a file of this name is of use.
    pub(super) fn wanted(name: &str) -> bool {
        ["tex", "ltx", "latex", "bbl", "md", "markdown", "txt"].contains(&extension(name).as_str())
    }

    /// Adds a file. `path` is what the user named.
    pub(super) fn add(&mut self, path: &Path, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.total += bytes.len() as u64;
        if self.total > MAX_TOTAL_BYTES {
            let found = format!("text files of more than {} MiB", MAX_TOTAL_BYTES >> 20);
            return Err(too_much(path, found, "at most that much"));
        }
        match text(bytes) {
            Some((text, is_utf8)) => {
                if !is_utf8 {
                    self.lost.push(read_as_latin_1(name));
                }
                self.files.insert(name.to_string(), text);
            }
            None => self.lost.push(format!("{name} holds no text")),
        }
        Ok(())
    }

    /// A file of the folder that was not read yet; nothing if it is not there or leads out of the folder.
    pub(super) fn fetch(&mut self, name: &str) -> Option<()> {
        let folder = self.folder.clone()?;
        let path = folder.join(name).canonicalize().ok()?;
        if !path.starts_with(folder.canonicalize().ok()?) {
            let skipped = format!("{name} leads out of the paper's folder and was not read");
            if !self.lost.contains(&skipped) {
                self.lost.push(skipped);
            }
            return None;
        }
        let bytes = read_file(&path, MAX_TEXT_BYTES).ok()?;
        self.add(&path, name, bytes).ok()
    }
}

pub(super) fn read(path: &Path) -> Result<Paper, Error> {
    if path.is_dir() {
        return from_sources(path, folder(path)?);
    }
    let bytes = read_file(path, MAX_FILE_BYTES)?;
    from_bytes(path, bytes)
}

fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Paper, Error> {
    if is_pdf(path, &bytes) {
        return pdf::read(path, bytes);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return match archive::gunzip(path, &bytes)? {
            archive::Unpacked::Sources(sources) => from_sources(path, sources),
            archive::Unpacked::File(bytes) if is_pdf(path, &bytes) => pdf::read(path, bytes),
            archive::Unpacked::File(bytes) => from_text(path, bytes),
        };
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return from_sources(path, archive::zip(path, bytes)?);
    }
    if archive::is_tar(&bytes) {
        return from_sources(path, archive::tar(path, bytes.as_slice())?);
    }
    from_text(path, bytes)
}

/// Readers of PDF accept a little before its mark.
fn is_pdf(path: &Path, bytes: &[u8]) -> bool {
    let mark = |bytes: &[u8]| bytes.windows(5).any(|window| window == b"%PDF-");
    let named = extension(&path.to_string_lossy()) == "pdf";
    bytes.starts_with(b"%PDF") || named && mark(&bytes[..bytes.len().min(1024)])
}

fn from_text(path: &Path, bytes: Vec<u8>) -> Result<Paper, Error> {
    let ended = extension(&path.to_string_lossy().to_lowercase().replace(".gz", ""));
    if ended == "pdf" {
        return Err(Error::Paper {
            path: path.to_owned(),
            found: "a file that does not begin as a PDF does".into(),
            expected: "`%PDF`".into(),
            advice: "download it again; a page of an error may have been saved in its place".into(),
        });
    }
    if let Some(kind) = other_kind(&bytes) {
        return Err(unreadable(path, kind));
    }
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        let found = format!("a text of {} bytes", bytes.len());
        return Err(too_much(
            path,
            found,
            &format!("at most {} MiB", MAX_TEXT_BYTES >> 20),
        ));
    }
    let is_tex_name = matches!(ended.as_str(), "tex" | "ltx" | "latex");
    let Some((text, is_utf8)) = text(bytes) else {
        return Err(unreadable(path, "bytes that are no text"));
    };
    let is_tex = is_tex_name
        || text
            .lines()
            .any(|line| line.trim_start().starts_with("\\documentclass"));
    if !is_utf8 && !is_tex {
        return Err(unreadable(path, "bytes that are no text in UTF-8"));
    }
    if is_tex {
        let mut sources = Sources {
            folder: path
                .parent()
                .map(|parent| match parent.as_os_str().is_empty() {
                    true => PathBuf::from("."),
                    false => parent.to_owned(),
                }),
            ..Sources::default()
        };
        let name = path.file_name().map_or("paper.tex".into(), |name| {
            name.to_string_lossy().into_owned()
        });
        let name = if is_tex_name {
            name
        } else {
            format!("{name}.tex")
        };
        if !is_utf8 {
            sources.lost.push(read_as_latin_1(&name));
        }
        sources.add(path, &name, text.into_bytes())?;
        return latex::read(path, sources);
    }
    if matches!(ended.as_str(), "md" | "markdown" | "mmd" | "qmd" | "rmd") {
        return Ok(markdown::parse(&clean(&text)));
    }
    Ok(plain::parse(&clean(&text)))
}

/// Sources of LaTeX, or else the largest Markdown or text file.
fn from_sources(path: &Path, mut sources: Sources) -> Result<Paper, Error> {
    let ends = |name: &str, ends: &[&str]| ends.contains(&extension(name).as_str());
    if sources
        .files
        .keys()
        .any(|name| ends(name, &["tex", "ltx", "latex"]))
    {
        return latex::read(path, sources);
    }
    for (names, parse) in [
        (
            &["md", "markdown"][..],
            markdown::parse as fn(&str) -> Paper,
        ),
        (&["txt"][..], plain::parse),
    ] {
        let files = sources.files.iter().filter(|(name, _)| ends(name, names));
        // Readme files tell about the paper, but are not it.
        let largest =
            files.max_by_key(|(name, text)| (!name.to_lowercase().contains("readme"), text.len()));
        if let Some((_, text)) = largest {
            let mut paper = parse(&clean(text));
            paper.lost.append(&mut sources.lost);
            return Ok(paper);
        }
    }
    Err(Error::Paper {
        path: path.to_owned(),
        found: "neither LaTeX nor Markdown nor text in it".into(),
        expected: "the sources of a paper, with a .tex file".into(),
        advice:
            "pass the paper's own file if it is a PDF; arXiv's sources are under \"TeX Source\""
                .into(),
    })
}

/// The text files of a folder. Links are not followed.
fn folder(path: &Path) -> Result<Sources, Error> {
    let mut sources = Sources {
        folder: Some(path.to_owned()),
        ..Sources::default()
    };
    let mut folders = vec![(path.to_owned(), String::new(), 0)];
    let mut count = 0;
    while let Some((folder, prefix, depth)) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(Error::io(&folder, "reading"))?;
        let mut found = Vec::new();
        for entry in entries {
            found.push(entry.map_err(Error::io(&folder, "reading"))?);
            count += 1;
            if count > MAX_ENTRIES {
                let found = format!("a folder of more than {MAX_ENTRIES} files");
                return Err(too_much(path, found, "the folder of one paper"));
            }
        }
        found.sort_by_key(std::fs::DirEntry::file_name);
        for entry in found {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry
                .file_type()
                .map_err(Error::io(&entry.path(), "reading"))?;
            if kind.is_symlink() {
                if Sources::wanted(&name) || entry.path().is_dir() {
                    sources
                        .lost
                        .push(format!("{name} is a link and was not followed"));
                }
            } else if kind.is_dir() {
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                if !hidden && depth < MAX_DEPTH {
                    folders.push((entry.path(), format!("{name}/"), depth + 1));
                }
            } else if kind.is_file() && Sources::wanted(&name) {
                sources.add(path, &name, read_file(&entry.path(), MAX_TEXT_BYTES)?)?;
            }
        }
    }
    // Everything that may be read has been.
    sources.folder = None;
    Ok(sources)
}

fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path, "reading"))?;
    if !metadata.is_file() {
        return Err(unreadable(path, "no ordinary file"));
    }
    let oversized =
        |bytes: String| too_much(path, bytes, &format!("at most {} MiB", max_bytes >> 20));
    if metadata.len() > max_bytes {
        return Err(oversized(format!("{} bytes", metadata.len())));
    }
    let file = File::open(path).map_err(Error::io(path, "reading"))?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let read = file.take(max_bytes + 1).read_to_end(&mut bytes);
    read.map_err(Error::io(path, "reading"))?;
    if bytes.len() as u64 > max_bytes {
        return Err(oversized(format!("more than {max_bytes} bytes")));
    }
    if bytes.is_empty() {
        return Err(unreadable(path, "an empty file"));
    }
    Ok(bytes)
}

fn read_as_latin_1(name: &str) -> String {
    format!("{name} is not UTF-8 and was read as Latin-1")
}

/// The end of a name, in lower case and without its full stop.
pub(super) fn extension(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.rsplit_once('.')
        .map_or(String::new(), |(_, end)| end.to_lowercase())
}

/// Bytes as text, and whether they are UTF-8; old sources are in Latin-1. Nothing if they are no text at all.
fn text(bytes: Vec<u8>) -> Option<(String, bool)> {
    let controls = bytes
        .iter()
        .filter(|b| **b < 0x20 && !matches!(**b, b'\t' | b'\n' | b'\r' | 0xc | 0x1b));
    if controls.count() * 100 > bytes.len() + 300 {
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some((text, true)),
        Err(error) => Some((
            error.into_bytes().into_iter().map(char::from).collect(),
            false,
        )),
    }
}

/// What a file is that is no paper in a form that is read.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 8] = [
        (b"BZh", "an archive of bzip2"),
        (b"\xfd7zXZ", "an archive of xz"),
        (b"7z\xbc\xaf", "an archive of 7z"),
        (b"Rar!", "an archive of RAR"),
        (b"\x28\xb5\x2f\xfd", "an archive of Zstandard"),
        (b"%!PS", "PostScript"),
        (b"{\\rtf", "rich text (RTF)"),
        (b"\x89PNG", "an image"),
    ];
    let found = kinds.iter().find(|(mark, _)| bytes.starts_with(mark));
    if let Some((_, kind)) = found {
        return Some(kind);
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(256)])
        .trim_start()
        .to_lowercase();
    (start.starts_with("<!doctype html") || start.starts_with("<html"))
        .then_some("a web page (HTML)")
}

fn unreadable(path: &Path, found: &str) -> Error {
    Error::Paper {
        path: path.to_owned(),
        found: found.into(),
        expected:
            "LaTeX sources (a folder, .tex, .tar.gz, .tar or .zip), Markdown, plain text or PDF"
                .into(),
        advice: "LaTeX sources give the best text; arXiv has them under \"TeX Source\"".into(),
    }
}

/// An error about something too large.
pub(super) fn too_much(path: &Path, found: String, expected: &str) -> Error {
    Error::Paper {
        path: path.to_owned(),
        found,
        expected: expected.into(),
        advice: "pass the sources of one paper, without data and videos".into(),
    }
}
