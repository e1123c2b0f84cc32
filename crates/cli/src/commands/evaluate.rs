//! `kinvert evaluate`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use kinvert::transfer::REPORT_FILE;
use kinvert_metrics::Record;
use kinvert_metrics::average::{Average, averages};
use kinvert_metrics::evaluate::{Evaluator, Subject};
use kinvert_metrics::manifest::{Manifest, ManifestRun, write_table};
use kinvert_metrics::motion_fidelity::Mask;
use kinvert_metrics::record::ModelStamp;
use kinvert_metrics::sets::{FrameSet, compare_sets};
use kinvert_video::{ReadOptions, read_clip};
use serde::{Deserialize, Serialize};

use crate::args::evaluate::EvaluateArgs;
use crate::commands::short;
use crate::errors::{PartlyFailed, Usage};
use crate::networks;
use crate::session::Session;

/// Where the evaluation of a transfer is kept, in its folder.
const EVALUATION_FILE: &str = "evaluation.jsonl";

/// Largest `run.json` that is read.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Most failed rows that are told at the end; all of them stand in the results.
const TOLD_ROWS: usize = 10;

pub fn run(args: &EvaluateArgs, session: &mut Session) -> anyhow::Result<()> {
    networks::fetch(&args.networks, session)?;
    let evaluator = networks::evaluator(&args.networks, session.device())?.with_detail(args.detail);
    if let Some(manifest) = &args.manifest {
        let results = args
            .out
            .clone()
            .unwrap_or_else(|| manifest.with_extension("results.jsonl"));
        return evaluate_rows(
            &Manifest::read(manifest)?,
            &results,
            &evaluator,
            args,
            session,
        );
    }
    match (&args.result, &args.real, &args.fake) {
        (Some(folder), ..) if folder.join(REPORT_FILE).is_file() => {
            if args.reference.is_some() || args.prompt.is_some() {
                let mistake = format!(
                    "{}: a folder of `kinvert transfer` has its own reference and prompts",
                    folder.display()
                );
                return Err(Usage(mistake).into());
            }
            let manifest = manifest_of_transfer(folder)?;
            evaluate_rows(
                &manifest,
                &folder.join(EVALUATION_FILE),
                &evaluator,
                args,
                session,
            )
        }
        (Some(result), ..) => evaluate_clip(result, &evaluator, args, session),
        (None, Some(real), Some(fake)) => compare(real, fake, &evaluator, args, session),
        _ => Err(Usage("a clip, a manifest, or two sets are needed".into()).into()), // clap asks for one
    }
}

fn evaluate_clip(
    path: &Path,
    evaluator: &Evaluator,
    args: &EvaluateArgs,
    session: &mut Session,
) -> anyhow::Result<()> {
    let clip = |path: &Path| read_clip(path, &ReadOptions::default());
    let result = clip(path)?;
    let reference = args.reference.as_deref().map(clip).transpose()?;
    let reference_mask = args.reference_mask.as_deref().map(Mask::read).transpose()?;
    let result_mask = args.result_mask.as_deref().map(Mask::read).transpose()?;
    let subject = Subject {
        reference: reference.as_ref(),
        prompt: args.prompt.as_deref(),
        reference_mask: reference_mask.as_ref(),
        result_mask: result_mask.as_ref(),
        ..Subject::new(&result)
    };
    let records = evaluator.evaluate(&subject, &args.metrics, &mut session.progress)?;
    session.print(&records_text(&records), &records)
}

fn compare(
    real: &Path,
    fake: &Path,
    evaluator: &Evaluator,
    args: &EvaluateArgs,
    session: &mut Session,
) -> anyhow::Result<()> {
    let real = FrameSet::read(real, evaluator, &mut session.progress)?;
    let fake = FrameSet::read(fake, evaluator, &mut session.progress)?;
    for (set, path) in [(&real, &args.keep_real), (&fake, &args.keep_fake)] {
        if let Some(path) = path {
            set.statistics.save(path)?;
        }
    }
    let records = compare_sets(&real, &fake, evaluator)?;
    session.print(&records_text(&records), &records)
}

fn evaluate_rows(
    manifest: &Manifest,
    results: &Path,
    evaluator: &Evaluator,
    args: &EvaluateArgs,
    session: &mut Session,
) -> anyhow::Result<()> {
    let run = manifest.evaluate(evaluator, &args.metrics, results, &mut session.progress)?;
    let table = results.with_extension("csv");
    write_table(manifest, &run, &table)?;

    let records: Vec<RowRecord<'_>> = run
        .results
        .iter()
        .flat_map(|row| {
            let result = row
                .cells
                .get("result")
                .map(String::as_str)
                .unwrap_or_default();
            let record = move |record| RowRecord {
                row: row.row,
                result,
                record,
            };
            row.records.iter().map(record)
        })
        .collect();
    session.print(&run_text(&run, results, &table), &records)?;
    match run.failed().count() {
        0 => Ok(()),
        failed => {
            let told = run.failed().take(TOLD_ROWS).map(|row| {
                format!(
                    "row {}: {}",
                    row.row,
                    row.error.as_deref().unwrap_or_default()
                )
            });
            Err(PartlyFailed {
                failed,
                of: run.results.len(),
                what: "rows",
                reasons: told.collect(),
            }
            .into())
        }
    }
}

/// A record of a manifest in JSON.
#[derive(Serialize)]
struct RowRecord<'a> {
    row: usize,
    result: &'a str,
    #[serde(flatten)]
    record: &'a Record,
}

/// The results of a transfer as a manifest.
fn manifest_of_transfer(folder: &Path) -> anyhow::Result<Manifest> {
    #[derive(Deserialize)]
    struct Run {
        results: Vec<Generated>,
        files: Files,
    }
    #[derive(Deserialize)]
    struct Generated {
        prompt: String,
        files: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Files {
        reference: String,
    }
    let path = folder.join(REPORT_FILE);
    let describe = || format!("{}: not the run of a transfer", path.display());
    let bytes = path.metadata().with_context(describe)?.len();
    if bytes > MAX_REPORT_BYTES {
        anyhow::bail!(
            "{}: {bytes} bytes, expected at most {MAX_REPORT_BYTES}",
            path.display()
        );
    }
    let run: Run = serde_json::from_slice(&std::fs::read(&path).with_context(describe)?)
        .with_context(describe)?;
    // Paths are as they were from where the transfer was started; the files lie in its folder. Only their names
    // count, so that a file that comes from someone else cannot name anything outside.
    let name_of = |path: &str| Some(Path::new(path).file_name()?.to_str()?.to_string());
    let mut rows = Vec::new();
    for generated in &run.results {
        let result = generated.files.first().and_then(|path| name_of(path));
        let Some((result, reference)) = result.zip(name_of(&run.files.reference)) else {
            anyhow::bail!(
                "{}: a result without a file, expected the name of one",
                path.display()
            );
        };
        rows.push(vec![result, reference, generated.prompt.clone()]);
    }
    Ok(Manifest::new(
        folder,
        ["result", "reference", "prompt"].map(String::from).to_vec(),
        rows,
    )?)
}

fn records_text(records: &[Record]) -> String {
    let mut text = table_head();
    for record in records {
        // Where tracks start and which are compared is for the JSON: what is counted in the end is enough here.
        let is_told = |what: &str| {
            !what.ends_with("starts")
                && !what.starts_with("compared")
                && !what.starts_with("placed")
        };
        let samples = record.samples.iter().filter(|(what, _)| is_told(what));
        let samples: Vec<String> = samples
            .map(|(what, count)| format!("{count} {}", what.replace('_', " ")))
            .collect();
        table_row(
            &mut text,
            &record.measure,
            record.value,
            &record.model,
            &samples.join(", "),
        );
        let beside = record.beside.iter();
        let beside: Vec<String> = beside
            .map(|(what, value)| format!("{} {}", what.replace('_', " "), number(*value)))
            .collect();
        if !beside.is_empty() {
            let _ = writeln!(text, "  {}", beside.join(", "));
        }
    }
    for record in records {
        for warning in &record.warnings {
            let _ = writeln!(text, "note: {}: {warning}", record.measure);
        }
    }
    text
}

fn run_text(run: &ManifestRun, results: &Path, table: &Path) -> String {
    let mut text = table_head();
    let averages = averages(run.results.iter().flat_map(|row| &row.records));
    for average in &averages {
        let Average {
            measure,
            model,
            count,
            absent,
            mean,
            standard_deviation,
            ..
        } = average;
        let mut samples = format!("mean of {count}");
        if let Some(deviation) = standard_deviation {
            let _ = write!(samples, ", sd {deviation:.4}");
        }
        if *absent > 0 {
            let _ = write!(samples, ", {absent} not defined");
        }
        table_row(&mut text, measure, *mean, model, &samples);
    }
    let rows = run.results.len();
    let _ = writeln!(
        text,
        "{rows} {}, {} measured before, {} failed; written: {}, {}",
        if rows == 1 { "clip" } else { "clips" },
        run.reused,
        run.failed().count(),
        results.display(),
        table.display()
    );
    text
}

fn table_head() -> String {
    format!(
        "{:<32} {:>9}  {:<24} {}\n",
        "measure", "value", "model", "measured"
    )
}

fn table_row(
    text: &mut String,
    measure: &str,
    value: Option<f64>,
    model: &Option<ModelStamp>,
    samples: &str,
) {
    let model = match model {
        Some(ModelStamp {
            name,
            sha256: Some(sha256),
        }) => format!("{name} ({})", &short(sha256)[..8]),
        Some(ModelStamp { name, sha256: None }) => name.clone(),
        None => "-".into(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{measure:<32} {:>9}  {model:<24} {samples}",
        number(value)
    );
}

/// Four digits after the point, or a dash.
fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.4}"))
}
