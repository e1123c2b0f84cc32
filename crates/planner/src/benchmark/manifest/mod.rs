//! The papers of a dataset: what is known of each, where it lies, and the truth that plans for it are held to.
//!
//! A manifest is a table: JSON Lines, a JSON array or Parquet. Its columns have plain names, or those of AblationBench:
//!
//! | column | | what it holds |
//! |---|---|---|
//! | `id` | | names the paper's files; unique |
//! | `title` | `paper_title` | optional |
//! | `abstract` | `paper_abstract` | needed if there is no path |
//! | `path` | `paper_path` | what [`Paper::read`] reads, from the manifest's folder or from a folder of papers |
//! | `ablations` | `ablations_in_paper` | truth: a list of ablations in the fields of a plan, or its JSON text |
//! | `reviews` | `review_text` | truth: a list of reviews, or its JSON text |
//! | `suggestions` | `num_ablation_suggestions` | how many ablations the reviews ask for |
//!
//! Other columns are left alone.

mod truth;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

pub use truth::{Truth, TruthAblation};

use self::truth::{ABLATIONS, REVIEWS, SUGGESTIONS};
use super::faults::RowFaults;
use super::table::{self, Row};
use crate::{Error, Paper};

const ID: &[&str] = &["id"];
const TITLE: &[&str] = &["paper_title", "title"];
const ABSTRACT: &[&str] = &["paper_abstract", "abstract"];
const PATH: &[&str] = &["paper_path", "path"];

/// Longest title and abstract: far more than any paper has.
const MAX_TITLE_BYTES: usize = 4 << 10;
const MAX_ABSTRACT_BYTES: usize = 256 << 10;

/// The papers of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// Its papers, in the order of the table; never empty. Those with a truth all have the same kind of it.
    pub entries: Vec<Entry>,
}

/// One paper.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Names the paper's files.
    pub id: String,
    /// Its title, where the manifest tells it.
    pub title: Option<String>,
    /// Its abstract, where the manifest tells it.
    pub abstract_text: Option<String>,
    /// Where its text lies.
    pub source: Option<Source>,
    /// What people chose for it, where that is known.
    pub truth: Option<Truth>,
}

/// Where the text of a paper lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The folder that no paper may lie outside of.
    root: PathBuf,
    /// From there on.
    path: PathBuf,
}

impl Manifest {
    /// Reads a manifest. Paths are taken from `papers`, or from the manifest's own folder. All faults are told at once.
    ///
    /// # Errors
    /// If it cannot be read, is no such table or too large, or has faults: ids that are missing, not unique or no names
    /// of files, paths that are absolute or lead out of their folder, papers of which nothing is known, truths that
    /// cannot be understood or are of two kinds.
    pub fn read(path: &Path, papers: Option<&Path>) -> Result<Self, Error> {
        let columns = [ID, TITLE, ABSTRACT, PATH, ABLATIONS, REVIEWS, SUGGESTIONS].concat();
        let rows = table::read(path, &columns)?;
        let root = papers.unwrap_or_else(|| path.parent().unwrap_or(Path::new("")));
        let mut faults = RowFaults::default();
        let mut entries = Vec::with_capacity(rows.len());
        let mut seen = HashMap::new();
        for (number, row) in (1..).zip(&rows) {
            let mut fault = |reason: String| faults.push(number, reason);
            let Some(entry) = Entry::of_row(row, root, &mut fault) else {
                continue;
            };
            // Names of files may be the same to a file system that does not tell capitals from small letters.
            if let Some(first) = seen.insert(entry.id.to_lowercase(), number) {
                fault(format!("id `{}` is also that of row {first}", entry.id));
            }
            entries.push(entry);
        }
        let kind = |entry: &Entry| entry.truth.as_ref().map(std::mem::discriminant);
        let first = entries.iter().find_map(kind);
        if let Some(other) = entries
            .iter()
            .position(|entry| kind(entry).is_some_and(|kind| Some(kind) != first))
        {
            faults.push(
                other + 1,
                "truth of another kind than in the rows before: ablations and reviews do not compare",
            );
        }
        Error::of_faults(path, faults)?;
        Ok(Self { entries })
    }
}

impl Entry {
    /// Reads the paper. Title and abstract of the manifest take the place of those that are found in it.
    ///
    /// # Errors
    /// As [`Paper::read`]; if the file is a link that leads out of the folder of papers.
    pub fn paper(&self) -> Result<Paper, Error> {
        let mut paper = match &self.source {
            Some(source) => Paper::read(&source.resolve()?)?,
            None => Paper::default(),
        };
        paper.title = self.title.clone().or(paper.title);
        paper.abstract_text = self.abstract_text.clone().or(paper.abstract_text);
        Ok(paper)
    }

    fn of_row(row: &Row, root: &Path, fault: &mut impl FnMut(String)) -> Option<Self> {
        let id = text(row, ID, MAX_ID_BYTES, fault);
        let id = match id {
            None => {
                fault("no `id`, expected a name".into());
                None
            }
            Some(id) => match check_id(&id) {
                Ok(()) => Some(id),
                Err(reason) => {
                    fault(reason);
                    None
                }
            },
        };
        let title = text(row, TITLE, MAX_TITLE_BYTES, fault);
        let abstract_text = text(row, ABSTRACT, MAX_ABSTRACT_BYTES, fault);
        let path = text(row, PATH, MAX_TITLE_BYTES, fault);
        if path.is_none() && abstract_text.is_none() {
            fault("neither `path` nor `abstract`, so nothing is known of the paper".into());
        }
        let source = path.and_then(|path| match Source::new(root, &path) {
            Ok(source) => Some(source),
            Err(reason) => {
                fault(reason);
                None
            }
        });
        let truth = Truth::of_row(row, fault);
        Some(Self {
            id: id?,
            title,
            abstract_text,
            source,
            truth,
        })
    }
}

impl Source {
    /// A path below a folder, as far as its words tell.
    fn new(root: &Path, path: &str) -> Result<Self, String> {
        let inner = Path::new(path);
        let mut depth = 0_usize;
        for component in inner.components() {
            depth = match component {
                Component::Normal(_) => depth + 1,
                Component::CurDir => depth,
                Component::ParentDir => depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("path `{path}` leads out of the folder of papers"))?,
                Component::RootDir | Component::Prefix(_) => {
                    return Err(format!(
                        "path `{path}` is absolute, expected one from the folder of papers on"
                    ));
                }
            };
        }
        Ok(Self {
            root: root.to_owned(),
            path: inner.to_owned(),
        })
    }

    /// The file or folder, after it was made sure that no link leads out of the root.
    fn resolve(&self) -> Result<PathBuf, Error> {
        let root = match self.root.as_os_str().is_empty() {
            true => Path::new("."),
            false => &self.root,
        };
        let path = root.join(&self.path);
        let [real_root, real] = [root, path.as_path()]
            .map(|path| std::fs::canonicalize(path).map_err(Error::io(path, "reading")));
        if real?.starts_with(real_root?) {
            return Ok(path);
        }
        Err(Error::Folder {
            path,
            reason: "a link that leads out of the folder of papers".into(),
        })
    }
}

/// The first of these columns that says something.
fn filled<'a>(row: &'a Row, columns: &[&'static str]) -> Option<(&'static str, &'a Value)> {
    let values = columns
        .iter()
        .filter_map(|name| Some((*name, row.get(*name)?)));
    let mut filled = values.filter(|(_, value)| !value.is_null());
    filled.next()
}

/// The text in the first of these columns that says something; blank text does not.
fn text(
    row: &Row,
    columns: &[&'static str],
    most: usize,
    fault: &mut impl FnMut(String),
) -> Option<String> {
    let (name, value) = filled(row, columns)?;
    let Some(text) = value.as_str() else {
        fault(format!("`{name}` is no text"));
        return None;
    };
    let text = text.trim();
    if text.len() > most {
        fault(format!(
            "`{name}` has {} bytes, expected at most {most}",
            text.len()
        ));
        return None;
    }
    (!text.is_empty()).then(|| text.to_owned())
}

/// Leaves room for what is added to it in the name of a file.
const MAX_ID_BYTES: usize = 200;

/// Names of files that stand beside those of the papers.
const RESERVED: [&str; 3] = ["evaluations", "plans", "summary"];

/// Whether an id can be part of the name of a file anywhere.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    let fault = |reason: &str| Err(format!("id `{}` {reason}", id.escape_debug()));
    if id.is_empty() {
        return fault("is empty");
    }
    if id.len() > MAX_ID_BYTES {
        return Err(format!(
            "an id has {} bytes, expected at most {MAX_ID_BYTES}",
            id.len()
        ));
    }
    if id.starts_with('.') {
        return fault("begins with a dot, and would be hidden or lead elsewhere");
    }
    if id.contains(['/', '\\', ':']) {
        return fault("holds a separator of paths");
    }
    if id.contains(char::is_control) {
        return fault("holds a control character");
    }
    if RESERVED.contains(&id.to_lowercase().as_str()) {
        return fault("is the name of a file of the benchmark itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
