//! Faults of a file, told all together.

use std::fmt;

/// Faults that are told in words; the rest are counted.
const MAX_TOLD: usize = 50;

/// A place in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1, where it is known.
    pub column: Option<usize>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Location,
    /// What was found and what was expected.
    pub reason: String,
}

/// Everything that is wrong with a file: the first 50 in words, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    told: Vec<Fault>,
    count: usize,
}

impl Faults {
    /// The first of them.
    pub fn told(&self) -> &[Fault] {
        &self.told
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn push(&mut self, at: Location, reason: impl Into<String>) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            let reason = reason.into();
            self.told.push(Fault { at, reason });
        }
    }

    pub(crate) fn summary(&self) -> String {
        match self.count {
            1 => "a fault".into(),
            count => format!("{count} faults"),
        }
    }
}

impl Location {
    pub(crate) fn line(line: usize) -> Self {
        Self { line, column: None }
    }

    /// Of a byte of a text.
    pub(crate) fn of_byte(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: Some(before[line_start..].chars().count() + 1),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}", self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.told {
            write!(f, "\n  {}: {}", fault.at, fault.reason)?;
        }
        if self.count > self.told.len() {
            write!(f, "\n  and {} more", self.count - self.told.len())?;
        }
        Ok(())
    }
}
