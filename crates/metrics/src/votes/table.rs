//! Tables in files: CSV with a header line, or JSON Lines, with the same names of columns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::fault::{Faults, Place};
use super::word::Word;
use crate::Error;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Most unknown columns that a warning names.
const MAX_UNKNOWN: usize = 20;

/// What makes a spreadsheet take a cell for a formula, if it comes first.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A column that this program knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub name: &'static str,
    is_required: bool,
}

impl Column {
    pub const fn required(name: &'static str) -> Self {
        Self {
            name,
            is_required: true,
        }
    }

    pub const fn optional(name: &'static str) -> Self {
        Self {
            name,
            is_required: false,
        }
    }
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Error> {
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        match extension.as_ref().and_then(|e| e.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            _ => Err(Error::file(
                path,
                "expected a name that ends in .csv or .jsonl",
            )),
        }
    }
}

/// The rows of a file that have the right form.
pub(super) struct Table {
    rows: Vec<Row>,
    /// Columns that nobody asked for.
    pub unknown: BTreeSet<String>,
}

/// Values by column, without those that are empty.
struct Row {
    line: u64,
    cells: BTreeMap<&'static str, String>,
}

impl Table {
    /// Reads a file; rows without the right form go to `faults`.
    pub fn read(
        path: &Path,
        columns: &'static [Column],
        faults: &mut Faults,
    ) -> Result<Self, Error> {
        let format = Format::of(path)?;
        let text = read_text(path)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text); // spreadsheets put it there
        match format {
            Format::Csv => read_csv(path, text, columns, faults),
            Format::JsonLines => Ok(read_json_lines(path, text, columns, faults)),
        }
    }

    /// The items of all rows with the lines they stand on; rows that are none go to `faults`.
    pub fn items<T>(
        self,
        path: &Path,
        faults: &mut Faults,
        read: impl Fn(&mut Cells<'_>) -> Option<T>,
    ) -> Vec<(u64, T)> {
        let mut items = Vec::with_capacity(self.rows.len());
        for Row { line, cells } in &self.rows {
            let mut cells = Cells {
                cells,
                reasons: Vec::new(),
            };
            let item = read(&mut cells);
            match (item, cells.reasons.as_slice()) {
                (Some(item), []) => items.push((*line, item)),
                (_, reasons) => {
                    let place = Place {
                        path: Some(path),
                        line: *line,
                    };
                    faults.push(place, reasons.join("; "));
                }
            }
        }
        items
    }
}

/// The values of one row, and what turns out to be wrong with them.
pub(super) struct Cells<'a> {
    cells: &'a BTreeMap<&'static str, String>,
    reasons: Vec<String>,
}

impl Cells<'_> {
    /// A text, which may be empty.
    pub fn text(&self, column: &'static str) -> String {
        self.cells.get(column).cloned().unwrap_or_default()
    }

    /// One of a few words.
    pub fn word<T: Word>(&mut self, column: &'static str) -> Option<T> {
        let found = self.text(column);
        let value = T::of(&found);
        if value.is_none() {
            self.reasons.push(format!(
                "`{column}` is {found:?}, expected {}",
                T::choices()
            ));
        }
        value
    }

    /// One of a few words, or nothing.
    pub fn optional_word<T: Word>(&mut self, column: &'static str) -> Option<T> {
        self.cells.contains_key(column).then(|| self.word(column))?
    }

    /// A number.
    pub fn number(&mut self, column: &'static str) -> Option<f64> {
        let found = self.text(column);
        let number = found.parse().ok();
        if number.is_none() {
            self.reasons
                .push(format!("`{column}` is {found:?}, expected a number"));
        }
        number
    }

    /// Something that explains itself what is wrong with it, or nothing.
    pub fn optional<T: FromStr<Err = String>>(&mut self, column: &'static str) -> Option<T> {
        let parsed = self.cells.get(column)?.parse();
        parsed
            .map_err(|reason| self.reasons.push(format!("`{column}` is {reason}")))
            .ok()
    }

    /// Says that the row cannot be used.
    pub fn refuse(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    /// Whether something was wrong so far.
    pub fn is_faulty(&self) -> bool {
        !self.reasons.is_empty()
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    let file = File::open(path).map_err(Error::reading(path))?;
    let mut bytes = Vec::new();
    let mut limited = file.take(MAX_FILE_BYTES + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(Error::reading(path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let mib = MAX_FILE_BYTES >> 20;
        return Err(Error::file(path, format!("larger than {mib} MiB")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Error::file(path, format!("line {line} is no UTF-8 text"))
    })
}

fn read_csv(
    path: &Path,
    text: &str,
    columns: &'static [Column],
    faults: &mut Faults,
) -> Result<Table, Error> {
    let broken = |error: csv::Error| Error::file(path, error.to_string());
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true) // so that every row of a wrong length is told, and not only the first
        .from_reader(text.as_bytes());
    let header: Vec<String> = reader
        .headers()
        .map_err(broken)?
        .iter()
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let known = |name: &String| columns.iter().find(|column| column.name == *name);
    let places: Vec<Option<&'static str>> = header
        .iter()
        .map(|name| known(name).map(|column| column.name))
        .collect();
    check_header(path, &header, columns)?;

    let mut lines = LineCounter::new(text);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let byte = record.position().map_or(0, csv::Position::byte);
        let line = lines.line_of_record(usize::try_from(byte).unwrap_or(text.len()));
        if record.len() != header.len() {
            let place = Place {
                path: Some(path),
                line,
            };
            let (found, expected) = (record.len(), header.len());
            faults.push(
                place,
                format!("has {found} cells, expected {expected} as in the header"),
            );
            continue;
        }
        let cells = places
            .iter()
            .zip(&record)
            .filter_map(|(column, cell)| Some(((*column)?, unescaped(cell.trim()).to_string())))
            .filter(|(_, cell)| !cell.is_empty())
            .collect();
        rows.push(Row { line, cells });
    }
    let unknown = header
        .into_iter()
        .filter(|name| columns.iter().all(|column| column.name != *name))
        .take(MAX_UNKNOWN)
        .collect();
    Ok(Table { rows, unknown })
}

/// Refuses a header without a column that must be there, or with one twice.
fn check_header(path: &Path, header: &[String], columns: &[Column]) -> Result<(), Error> {
    let count = |column: &Column| header.iter().filter(|name| *name == column.name).count();
    let is_missing = |column: &&Column| column.is_required && count(column) == 0;
    let missing = names(columns.iter().filter(is_missing));
    if !missing.is_empty() {
        let found: String = header.join(",").chars().take(200).collect();
        let found = match found.as_str() {
            "" => "empty".into(),
            found => format!("{found:?}"),
        };
        let reason = format!("the first line is {found}, expected the columns {missing} too");
        return Err(Error::file(path, reason));
    }
    let twice = names(columns.iter().filter(|column| count(column) > 1));
    if !twice.is_empty() {
        return Err(Error::file(path, format!("has the columns {twice} twice")));
    }
    Ok(())
}

/// `` `left`, `motion` ``.
fn names<'c>(columns: impl Iterator<Item = &'c Column>) -> String {
    let names: Vec<String> = columns.map(|column| format!("`{}`", column.name)).collect();
    names.join(", ")
}

/// Finds lines of records, which come in the order of the text.
struct LineCounter<'a> {
    text: &'a [u8],
    byte: usize,
    line: u64,
}

impl<'a> LineCounter<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            byte: 0,
            line: 1,
        }
    }

    /// Line of the record that the CSV reader begins to look for at a byte. It counts a record from the end of the one
    /// before, so that line breaks of its own and blank lines are still to come.
    fn line_of_record(&mut self, byte: usize) -> u64 {
        let breaks = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let byte = byte.min(self.text.len());
        let start = byte + self.text[byte..].iter().take_while(breaks).count();
        let passed = &self.text[self.byte.min(start)..start];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.byte = start;
        self.line
    }
}

fn read_json_lines(
    path: &Path,
    text: &str,
    columns: &'static [Column],
    faults: &mut Faults,
) -> Table {
    let mut table = Table {
        rows: Vec::new(),
        unknown: BTreeSet::new(),
    };
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        match json_cells(text, columns, &mut table.unknown) {
            Ok(cells) => table.rows.push(Row { line, cells }),
            Err(reason) => {
                let place = Place {
                    path: Some(path),
                    line,
                };
                faults.push(place, reason);
            }
        }
    }
    table
}

fn json_cells(
    text: &str,
    columns: &'static [Column],
    unknown: &mut BTreeSet<String>,
) -> Result<BTreeMap<&'static str, String>, String> {
    let object: BTreeMap<String, Value> = serde_json::from_str(text)
        .map_err(|error| format!("expected a JSON object, and reading it says: {error}"))?;
    let is_missing = |column: &&Column| column.is_required && !object.contains_key(column.name);
    let missing = names(columns.iter().filter(is_missing));
    if !missing.is_empty() {
        return Err(format!("lacks {missing}"));
    }
    let mut cells = BTreeMap::new();
    for (key, value) in object {
        let Some(column) = columns.iter().find(|column| column.name == key) else {
            if unknown.len() < MAX_UNKNOWN {
                unknown.insert(key);
            }
            continue;
        };
        let cell = match value {
            Value::Null => continue,
            Value::String(text) => text.trim().to_string(),
            Value::Number(number) => number.to_string(),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(format!("`{key}` is neither text nor a number"));
            }
        };
        if !cell.is_empty() {
            cells.insert(column.name, cell);
        }
    }
    Ok(cells)
}

/// Writes items as a table, in the format of the file's extension.
pub(super) fn write<T: Serialize>(
    path: &Path,
    columns: &[Column],
    items: &[T],
) -> Result<(), Error> {
    let unwritable = |error: &dyn std::fmt::Display| Error::file(path, error.to_string());
    let bytes = match Format::of(path)? {
        Format::JsonLines => {
            let mut bytes = Vec::new();
            for item in items {
                serde_json::to_writer(&mut bytes, item).map_err(|error| unwritable(&error))?;
                bytes.push(b'\n');
            }
            bytes
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            let header = columns.iter().map(|column| column.name);
            writer
                .write_record(header)
                .map_err(|error| unwritable(&error))?;
            for item in items {
                let object = serde_json::to_value(item).map_err(|error| unwritable(&error))?;
                let cells = columns.iter().map(|column| csv_cell(&object[column.name]));
                writer
                    .write_record(cells)
                    .map_err(|error| unwritable(&error))?;
            }
            writer.into_inner().map_err(|error| unwritable(&error))?
        }
    };
    kinvert_base::write_file(path, &bytes).map_err(Error::writing(path))
}

fn csv_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped_cell(text),
        other => other.to_string(),
    }
}

/// A cell of a CSV file that no spreadsheet takes for a formula: one that would be has an apostrophe before it. Cells
/// that look so already get one more, so that every text can be told from its cell.
pub fn escaped_cell(cell: &str) -> String {
    match cell.trim_start_matches('\'').starts_with(FORMULA_STARTS) {
        true => format!("'{cell}"),
        false => cell.into(),
    }
}

fn unescaped(cell: &str) -> &str {
    let inner = cell.strip_prefix('\'');
    let is_escaped = |inner: &&str| inner.trim_start_matches('\'').starts_with(FORMULA_STARTS);
    inner.filter(is_escaped).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_escaped_and_come_back() {
        for (cell, expected) in [
            ("=1+1", "'=1+1"),
            ("-x", "'-x"),
            ("@a", "'@a"),
            ("+4", "'+4"),
            ("'=1", "''=1"),
            ("''=1", "'''=1"),
            ("'tis", "'tis"),
            ("a=b", "a=b"),
            ("", ""),
            ("'", "'"),
        ] {
            assert_eq!(escaped_cell(cell), expected);
            assert_eq!(unescaped(expected), cell);
        }
        assert_eq!(unescaped("=1+1"), "=1+1"); // of a table that somebody else wrote
    }

    const COLUMNS: &[Column] = &[Column::required("pair"), Column::required("kind")];

    #[test]
    fn lines_are_counted_with_any_line_break_and_inside_quotes() {
        for line_break in ["\n", "\r\n"] {
            let text = ["pair,kind", "1,x", "", "2,\"x", "y\"", "3,x", "4"].join(line_break);
            let mut faults = Faults::default();
            let table = read_csv(Path::new("x.csv"), &text, COLUMNS, &mut faults).unwrap();
            let lines: Vec<u64> = table.rows.iter().map(|row| row.line).collect();
            assert_eq!(lines, [2, 4, 6]);
            assert_eq!(faults.told()[0].line, 7);
        }
    }
}
