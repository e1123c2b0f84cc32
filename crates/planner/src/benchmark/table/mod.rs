//! Tables of a dataset: JSON Lines, a JSON array or Parquet, all read to rows of named values.

mod parquet;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;
use crate::benchmark::faults::RowFaults;

/// Largest table that is read, and most bytes of what it holds unpacked.
const MAX_BYTES: u64 = 512 << 20;

/// Most rows of a table.
const MAX_ROWS: usize = 100_000;

/// A row: its values by column.
pub(super) type Row = Map<String, Value>;

/// The rows of a table; its form is told by its first bytes. Of Parquet only the named columns are read.
pub(super) fn read(path: &Path, columns: &[&str]) -> Result<Vec<Row>, Error> {
    let mut file = File::open(path).map_err(Error::io(path, "reading"))?;
    let mut start = Vec::new();
    (&file)
        .take(parquet::MAGIC.len() as u64)
        .read_to_end(&mut start)
        .map_err(Error::io(path, "reading"))?;
    let rows = if start == parquet::MAGIC {
        parquet::read(file, columns).map_err(|reason| Error::table(path, reason))?
    } else {
        let text = rest_of_text(path, &mut file, start)?;
        of_text(path, text.trim_start_matches('\u{feff}'))?
    };
    if rows.is_empty() {
        return Err(Error::table(path, "no rows, expected at least one"));
    }
    if rows.len() > MAX_ROWS {
        return Err(Error::table(path, too_many_rows()));
    }
    Ok(rows)
}

fn too_many_rows() -> String {
    format!("more than {MAX_ROWS} rows, too many for a table of papers")
}

/// The text of a file of which `start` was read.
fn rest_of_text(path: &Path, file: &mut File, start: Vec<u8>) -> Result<String, Error> {
    let mut bytes = start;
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "reading"))?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason = format!("more than {MAX_BYTES} bytes, too many for a table of papers");
        return Err(Error::table(path, reason));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let reason =
            format!("neither Parquet nor UTF-8 text: byte {offset} belongs to no character");
        Error::table(path, reason)
    })
}

fn of_text(path: &Path, text: &str) -> Result<Vec<Row>, Error> {
    if text.trim_start().starts_with('[') {
        let rows: Vec<Value> = serde_json::from_str(text)
            .map_err(|error| Error::table(path, format!("no JSON array: {error}")))?;
        return objects(path, (1..).zip(rows.into_iter().map(Ok)));
    }
    let lines = (1..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    objects(
        path,
        lines.map(|(number, line)| (number, serde_json::from_str(line))),
    )
}

/// Rows of values that must be objects. The number of a row is that of its line where it has one.
fn objects(
    path: &Path,
    values: impl Iterator<Item = (usize, Result<Value, serde_json::Error>)>,
) -> Result<Vec<Row>, Error> {
    let mut faults = RowFaults::default();
    let mut rows = Vec::new();
    for (number, value) in values.take(MAX_ROWS + 1) {
        match value {
            Ok(Value::Object(row)) => rows.push(row),
            Ok(_) => faults.push(number, "no JSON object"),
            Err(error) => faults.push(number, format!("no JSON: {error}")),
        }
    }
    Error::of_faults(path, faults)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Result<Vec<Row>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path(), &["id"]).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_arrays_give_the_same_rows() {
        let lines = rows(b"{\"id\": \"a\"}\n\n{\"id\": \"b\", \"more\": [1]}").unwrap();
        let array =
            rows(b"\xef\xbb\xbf [{\"id\": \"a\"},\n {\"id\": \"b\", \"more\": [1]}]").unwrap();
        assert_eq!(lines, array);
        assert_eq!(lines[1]["more"], serde_json::json!([1]));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (bytes, expected) in [
            (&b""[..], "no rows"),
            (b"[]", "no rows"),
            (b"\xff\xfe{}", "byte 0 belongs to no character"),
            (
                b"{\"id\": 1}\n3\n{\"id\":",
                "2 faults in the table:\n  row 2: no JSON object\n  row 3: no JSON",
            ),
            (b"[{}, 3]", "row 2: no JSON object"),
            (b"[{}", "no JSON array"),
            (b"PAR1 and nothing", "no Parquet file"),
        ] {
            let error = rows(bytes).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let many = "{}\n".repeat(MAX_ROWS + 1);
        assert!(
            rows(many.as_bytes())
                .unwrap_err()
                .contains("more than 100000 rows")
        );
    }
}
