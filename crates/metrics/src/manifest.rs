//! Many pairs of clips at once, from a table, so that a run that was stopped goes on where it was.
//!
//! A manifest is a CSV file with the columns `result`, `reference`, `prompt`, `reference_mask` and `result_mask`, of
//! which only the first is needed; paths are taken from the manifest's folder. Other columns are kept and come out
//! again beside the values. Results are lines of JSON, one a row, and in the end a CSV table. A line holds a hash
//! of everything its values depend on: a row whose line is there and fits is not measured again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use kinvert_base::{Progress, Within, write_file};
use kinvert_video::{Clip, ReadOptions, read_clip};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::evaluate::{Evaluator, Subject};
use crate::measure::{Measure, MeasureSelection};
use crate::motion_fidelity::Mask;
use crate::{Error, Record};

/// Largest manifest that is read.
const MAX_BYTES: u64 = 256 << 20;

/// Most rows of a manifest.
const MAX_ROWS: usize = 1_000_000;

const COLUMNS: [&str; 5] = [
    "result",
    "reference",
    "prompt",
    "reference_mask",
    "result_mask",
];

/// A table of clips to measure.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Folder that paths are taken from.
    folder: PathBuf,
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// What was measured of one row; a line of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// Number of the row, from 1 for the first below the header.
    pub row: usize,
    /// The cells of the row, by column.
    pub cells: BTreeMap<String, String>,
    /// Hash over everything the values depend on; absent where the row could not be read.
    pub fingerprint: Option<String>,
    /// The values; none if the row failed.
    pub records: Vec<Record>,
    /// Why the row failed.
    pub error: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestRun {
    /// One result a row, in the order of the manifest.
    pub results: Vec<RowResult>,
    /// How many of them were there from an earlier run.
    pub reused: usize,
}

impl ManifestRun {
    /// The rows that failed.
    pub fn failed(&self) -> impl Iterator<Item = &RowResult> {
        self.results.iter().filter(|result| result.error.is_some())
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is no CSV file in UTF-8, has no column `result`, names a column twice, has no rows, rows of another
    /// length than the header, or is too large.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::reading(path))?;
        let bytes = file.metadata().map_err(Error::reading(path))?.len();
        if bytes > MAX_BYTES {
            return Err(Error::file(
                path,
                format!("it has {bytes} bytes, expected at most {MAX_BYTES}"),
            ));
        }
        let malformed = |error: csv::Error| Error::file(path, error.to_string());
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(file);
        let mut headers: Vec<String> = Vec::new();
        for header in reader.headers().map_err(malformed)? {
            let header = header.trim_start_matches('\u{feff}').to_string(); // spreadsheets write a mark
            if headers.contains(&header) {
                return Err(Error::file(
                    path,
                    format!("the column `{header}` is there twice"),
                ));
            }
            headers.push(header);
        }
        if !headers.iter().any(|header| header == "result") {
            let found = headers.join("`, `");
            return Err(Error::file(
                path,
                format!(
                    "there is no column `result`, only `{found}`; known are {}",
                    COLUMNS.join(", ")
                ),
            ));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(malformed)?;
            if rows.len() == MAX_ROWS {
                return Err(Error::file(
                    path,
                    format!("it has more than {MAX_ROWS} rows"),
                ));
            }
            rows.push(record.iter().map(str::to_string).collect());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::new(folder, headers, rows)
            .map_err(|_| Error::file(path, "there is no row below the header"))
    }

    /// A manifest of these rows, each as long as `headers`; paths are taken from `folder`.
    ///
    /// # Errors
    /// If there is no row.
    ///
    /// # Panics
    /// If a row has another length than `headers`.
    pub fn new(folder: &Path, headers: Vec<String>, rows: Vec<Vec<String>>) -> Result<Self, Error> {
        assert!(
            rows.iter().all(|row| row.len() == headers.len()),
            "rows as long as the header"
        );
        if rows.is_empty() {
            return Err(Error::argument("rows", "none", "at least one"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            headers,
            rows,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Always false: a manifest has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Measures every row, and keeps the results in the file `results`, a line as soon as a row is done. Rows that
    /// fail are kept as failed, and tried again by the next run; the others are measured all the same.
    ///
    /// # Errors
    /// If the results cannot be read or written, the networks cannot be loaded, or the user asked to stop.
    pub fn evaluate(
        &self,
        evaluator: &Evaluator,
        selection: &MeasureSelection,
        results: &Path,
        progress: &mut dyn Progress,
    ) -> Result<ManifestRun, Error> {
        let identity = format!("{selection}; {}", evaluator.identity()?);
        let known = read_results(results)?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(results)
            .map_err(Error::writing(results))?;
        // The last run may have been stopped in the middle of a line.
        file.write_all(b"\n").map_err(Error::writing(results))?;

        let mut run = ManifestRun {
            results: Vec::with_capacity(self.rows.len()),
            reused: 0,
        };
        progress.start("measuring", self.rows.len());
        for index in 0..self.rows.len() {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let pair = self.pair(index);
            let fingerprint = pair.as_ref().ok().map(|pair| pair.fingerprint(&identity));
            let found = fingerprint
                .as_ref()
                .and_then(|fingerprint| known.get(fingerprint));
            let result = match found {
                Some(records) => {
                    run.reused += 1;
                    self.result(index, fingerprint, Ok(records.clone()))
                }
                None => {
                    let measured = pair.and_then(|pair| {
                        evaluator.evaluate(&pair.subject(), selection, &mut Within(&*progress))
                    });
                    if let Err(Error::Cancelled) = measured {
                        return Err(Error::Cancelled);
                    }
                    let result = self.result(index, fingerprint, measured);
                    let line = to_line(&result, results)?;
                    file.write_all(&line)
                        .and_then(|()| file.sync_data())
                        .map_err(Error::writing(results))?;
                    result
                }
            };
            if let Some(reason) = &result.error {
                progress.note(&format!("row {}: {reason}", result.row));
            }
            run.results.push(result);
            progress.advance(index + 1, &format!("{} failed", run.failed().count()));
        }
        progress.finish();
        drop(file);
        let lines: Result<Vec<_>, _> = run
            .results
            .iter()
            .map(|row| to_line(row, results))
            .collect();
        write_file(results, &lines?.concat()).map_err(Error::writing(results))?;
        Ok(run)
    }

    fn cell(&self, row: usize, column: &str) -> Option<&str> {
        let at = self.headers.iter().position(|header| header == column)?;
        Some(self.rows[row][at].as_str()).filter(|cell| !cell.is_empty())
    }

    fn pair(&self, row: usize) -> Result<Pair, Error> {
        let path = |column| self.cell(row, column).map(|cell| self.folder.join(cell));
        let clip = |column| {
            path(column)
                .map(|path| read_clip(&path, &ReadOptions::default()))
                .transpose()
        };
        let mask = |column| path(column).map(|path| Mask::read(&path)).transpose();
        let Some(result) = clip("result")? else {
            return Err(Error::argument("result", "empty", "the path of a clip"));
        };
        Ok(Pair {
            result,
            reference: clip("reference")?,
            prompt: self.cell(row, "prompt").map(str::to_string),
            masks: [mask("reference_mask")?, mask("result_mask")?],
            mask_paths: [path("reference_mask"), path("result_mask")],
        })
    }

    fn result(
        &self,
        row: usize,
        fingerprint: Option<String>,
        records: Result<Vec<Record>, Error>,
    ) -> RowResult {
        let (records, error) = match records {
            Ok(records) => (records, None),
            Err(error) => (Vec::new(), Some(with_causes(&error))),
        };
        RowResult {
            row: row + 1,
            cells: self
                .headers
                .iter()
                .cloned()
                .zip(self.rows[row].iter().cloned())
                .collect(),
            fingerprint,
            records,
            error,
        }
    }
}

/// The table of a run: the columns of the manifest, one for each measure, and the error.
///
/// # Errors
/// If it cannot be written.
pub fn write_table(manifest: &Manifest, run: &ManifestRun, path: &Path) -> Result<(), Error> {
    let is_measured = |measure: &&Measure| {
        let named = |record: &Record| record.measure == measure.name();
        run.results
            .iter()
            .any(|result| result.records.iter().any(named))
    };
    let measures: Vec<Measure> = Measure::ALL.iter().filter(is_measured).copied().collect();
    let fault = |error: csv::Error| Error::writing(path)(std::io::Error::other(error));
    let mut table = csv::Writer::from_writer(Vec::new());
    let headers = manifest.headers.iter().map(String::as_str);
    let headers = headers
        .chain(measures.iter().map(|measure| measure.name()))
        .chain(["error"]);
    table.write_record(headers).map_err(fault)?;
    for result in &run.results {
        let value = |measure: &Measure| {
            let record = result
                .records
                .iter()
                .find(|record| record.measure == measure.name());
            record
                .and_then(|record| record.value)
                .map(|value| value.to_string())
                .unwrap_or_default()
        };
        let cells = manifest.rows[result.row - 1].iter().cloned();
        let cells = cells.chain(measures.iter().map(value));
        let cells = cells.chain([result.error.clone().unwrap_or_default()]);
        table.write_record(cells).map_err(fault)?;
    }
    let bytes = table
        .into_inner()
        .map_err(|error| Error::writing(path)(error.into_error()))?;
    write_file(path, &bytes).map_err(Error::writing(path))
}

/// The clips and the prompt of one row.
struct Pair {
    result: Clip,
    reference: Option<Clip>,
    prompt: Option<String>,
    masks: [Option<Mask>; 2],
    mask_paths: [Option<PathBuf>; 2],
}

impl Pair {
    fn subject(&self) -> Subject<'_> {
        Subject {
            result: &self.result,
            reference: self.reference.as_ref(),
            prompt: self.prompt.as_deref(),
            reference_mask: self.masks[0].as_ref(),
            result_mask: self.masks[1].as_ref(),
        }
    }

    /// Hash over the contents of the clips, the prompt, the masks, and what measures them.
    fn fingerprint(&self, identity: &str) -> String {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(identity.as_bytes());
        add(self.prompt.as_deref().unwrap_or_default().as_bytes());
        add(&[
            u8::from(self.prompt.is_some()),
            u8::from(self.reference.is_some()),
        ]);
        for clip in [Some(&self.result), self.reference.as_ref()]
            .into_iter()
            .flatten()
        {
            add(format!("{} {} {}", clip.len(), clip.size(), clip.fps()).as_bytes());
            for frame in clip.frames() {
                add(frame.as_raw());
            }
        }
        for path in &self.mask_paths {
            // It was read a moment ago; if it is gone by now, the hash is that of no mask, found by no run.
            add(&path
                .as_ref()
                .and_then(|path| std::fs::read(path).ok())
                .unwrap_or_default());
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The records of an earlier run by fingerprint. Lines that are cut off or of another format do not count.
fn read_results(path: &Path) -> Result<BTreeMap<String, Vec<Record>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Error::reading(path)(error)),
    };
    let mut known = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::reading(path))?;
        let row: Result<RowResult, _> = serde_json::from_slice(&line);
        if let Ok(RowResult {
            fingerprint: Some(fingerprint),
            records,
            error: None,
            ..
        }) = row
        {
            known.insert(fingerprint, records);
        }
    }
    Ok(known)
}

fn to_line(result: &RowResult, path: &Path) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(result)
        .map_err(|error| Error::writing(path)(std::io::Error::other(error)))?;
    line.push(b'\n');
    Ok(line)
}

/// An error and what caused it, on one line.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
