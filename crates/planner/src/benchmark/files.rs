//! Two files a paper: lines in the form of AblationBench, and a record of how they came about.
//!
//! The record is written last and removed first, so that lines without a record are those of work that was broken off.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use kinvert_study::{Ablation, Form, Plan};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Largest file that is read back.
const MAX_BYTES: u64 = 64 << 20;

/// The file of a paper's lines.
fn lines_file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.jsonl"))
}

fn record_file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

/// Writes both files.
pub(super) fn store(
    folder: &Path,
    id: &str,
    lines: &str,
    record: &impl Serialize,
) -> Result<(), Error> {
    remove(&record_file(folder, id))?;
    write_lines(folder, id, lines)?;
    write_json(&record_file(folder, id), record)
}

/// Writes lines that have no record.
pub(super) fn write_lines(folder: &Path, id: &str, lines: &str) -> Result<(), Error> {
    let file = lines_file(folder, id);
    kinvert_base::write_file(&file, lines.as_bytes()).map_err(Error::io(&file, "writing"))
}

/// The record of a paper, if there is one of this kind.
pub(super) fn record<R: DeserializeOwned>(folder: &Path, id: &str) -> Result<Option<R>, Error> {
    let text = read(&record_file(folder, id))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The lines of a paper, if there are any.
pub(super) fn lines(folder: &Path, id: &str) -> Result<Option<String>, Error> {
    read(&lines_file(folder, id))
}

/// The ablations of a plan from its lines; no lines are a plan without any.
pub(super) fn plan(id: &str, lines: &str) -> Result<Vec<Ablation>, Error> {
    if lines.trim().is_empty() {
        return Ok(Vec::new());
    }
    let plan = Plan::parse(&format!("{id}.jsonl"), lines, Some(Form::JsonLines))?;
    Ok(plan.ablations)
}

/// Removes both files, if they are there.
pub(super) fn discard(folder: &Path, id: &str) -> Result<(), Error> {
    remove(&record_file(folder, id))?;
    remove(&lines_file(folder, id))
}

/// Writes a value for people and programs to read.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::io(path, "writing")(error.into()))?;
    bytes.push(b'\n');
    kinvert_base::write_file(path, &bytes).map_err(Error::io(path, "writing"))
}

/// Makes a folder, if need be.
pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io(path, "writing"))
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Error::io(path, "reading"))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "reading"))?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason = format!("more than {MAX_BYTES} bytes, too many for one paper");
        return Err(Error::table(path, reason));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error::table(
            path,
            format!("not UTF-8 text: byte {offset} belongs to no character"),
        )
    })?;
    Ok(Some(text))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, "writing")(error)),
        _ => Ok(()),
    }
}
