//! Faults of a table, told all together.

use std::fmt;

/// Faults that are told in words; the rest are counted.
const MAX_TOLD: usize = 50;

/// Everything that is wrong with a table: the first 50 in words, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowFaults {
    told: Vec<(usize, String)>,
    count: usize,
}

impl RowFaults {
    /// The first of them: number of the row, from 1, and what is wrong.
    pub fn told(&self) -> &[(usize, String)] {
        &self.told
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn push(&mut self, row: usize, reason: impl Into<String>) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push((row, reason.into()));
        }
    }

    pub(crate) fn summary(&self) -> String {
        match self.count {
            1 => "a fault".into(),
            count => format!("{count} faults"),
        }
    }
}

impl fmt::Display for RowFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (row, reason) in &self.told {
            write!(f, "\n  row {row}: {reason}")?;
        }
        if self.count > self.told.len() {
            write!(f, "\n  and {} more", self.count - self.told.len())?;
        }
        Ok(())
    }
}
