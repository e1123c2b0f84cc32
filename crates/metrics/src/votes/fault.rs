//! What is wrong with rows of pairs and votes.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Faults that are kept with their words; further ones are only counted.
const MAX_TOLD: usize = 50;

/// One row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file; none for rows that came from no file.
    pub path: Option<PathBuf>,
    /// Line of the file, or place in the list, from 1 on.
    pub line: u64,
    /// What was found and what was expected.
    pub reason: String,
}

/// Rows that cannot be used: the first 50 in their words, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    told: Vec<Fault>,
    count: usize,
}

impl Faults {
    /// The first of them.
    pub fn told(&self) -> &[Fault] {
        &self.told
    }

    /// All of them.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, place: Place<'_>, reason: impl Into<String>) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(Fault {
                path: place.path.map(Path::to_owned),
                line: place.line,
                reason: reason.into(),
            });
        }
    }
}

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub path: Option<&'a Path>,
    pub line: u64,
}

impl Place<'_> {
    /// Of the entry `index` of a list.
    pub fn entry(index: usize) -> Self {
        Self {
            path: None,
            line: index as u64 + 1,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path {
            Some(path) => write!(f, "{} line {}", path.display(), self.line),
            None => write!(f, "entry {}", self.line),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place {
            path: self.path.as_deref(),
            line: self.line,
        };
        write!(f, "{place}: {}", self.reason)
    }
}

impl fmt::Display for Faults {
    /// One line each, after a line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.told {
            write!(f, "\n  {fault}")?;
        }
        match self.count - self.told.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
