//! Long tables: a line for each cell and measure, or for each row and measure.
//!
//! Text that a spreadsheet would take for a formula has an apostrophe before it, as in
//! [`kinvert_metrics::votes`]. Numbers are written so that reading gives the same number again.

use std::collections::BTreeMap;
use std::fmt::Display;

use kinvert_metrics::Record;
use kinvert_metrics::measure::Measure;
use kinvert_metrics::votes::escaped_cell;

use super::state;
use crate::analysis::{Analysis, Verdict};
use crate::results::{Outcome, Results};

const CELL_COLUMNS: [&str; 16] = [
    "variant",
    "variant_hash",
    "ablation",
    "clip",
    "clip_sha256",
    "prompt",
    "seed",
    "state",
    "measure",
    "value",
    "model",
    "model_sha256",
    "preprocessing",
    "samples",
    "beside",
    "remarks",
];

const TABLE_COLUMNS: [&str; 19] = [
    "ablation",
    "variant",
    "measure",
    "better",
    "mean",
    "standard_deviation",
    "low",
    "high",
    "cells",
    "absent",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "compared_cells",
    "compared_units",
    "verdict",
    "best",
];

/// One line for each cell and measure, variant by variant: [`Results::variants`], then clip, prompt and seed, then the
/// measure. A cell without records has one line. Variants with equal settings have the same lines under their names.
pub fn csv(results: &Results) -> String {
    let mut table = TableWriter::new(&CELL_COLUMNS);
    for variant in &results.variants {
        for ((clip, prompt, seed), cell) in results.cells_of(variant) {
            let clip = results.references.get(clip);
            let prompt = results.study.prompts.get(prompt);
            let of_cell = [
                text(&variant.name),
                text(&variant.hash),
                text(variant.ablation.as_deref().unwrap_or_default()),
                text(clip.map_or("", |clip| &clip.path)),
                text(clip.map_or("", |clip| &clip.sha256)),
                text(prompt.map_or("", String::as_str)),
                seed.to_string(),
                state(&cell.outcome).to_owned(),
            ];
            match &cell.outcome {
                Outcome::Done(measured) if !measured.records.is_empty() => {
                    let mut records: Vec<&Record> = measured.records.iter().collect();
                    records.sort_by_key(|record| place(&record.measure));
                    for record in records {
                        table.line(of_cell.iter().cloned().chain(of_record(record)));
                    }
                }
                Outcome::Failed { error } => {
                    let mut rest = [const { String::new() }; 8];
                    rest[7] = text(error);
                    table.line(of_cell.into_iter().chain(rest));
                }
                Outcome::Waiting | Outcome::Running | Outcome::Done(_) => {
                    let rest = [const { String::new() }; 8];
                    table.line(of_cell.into_iter().chain(rest));
                }
            }
        }
    }
    table.finish()
}

/// One line for each row and measure of the tables of a study, with its comparison.
pub fn tables_csv(analysis: &Analysis) -> String {
    let mut table = TableWriter::new(&TABLE_COLUMNS);
    for of_ablation in &analysis.tables {
        for row in &of_ablation.rows {
            for (measure, estimate) in analysis.measures.iter().zip(&row.estimates) {
                let (summary, compared) = (estimate.summary, estimate.comparison);
                let interval = summary.and_then(|summary| summary.interval);
                let ends = compared.and_then(|compared| compared.interval);
                table.line([
                    text(&of_ablation.title),
                    text(&row.name),
                    text(&measure.name),
                    measure.better.name().to_owned(),
                    number(summary.map(|summary| summary.mean)),
                    number(summary.and_then(|summary| summary.standard_deviation)),
                    number(interval.map(|ends| ends.low)),
                    number(interval.map(|ends| ends.high)),
                    number(summary.map(|summary| summary.values)),
                    estimate.absent.to_string(),
                    number(compared.map(|compared| compared.difference)),
                    number(ends.map(|ends| ends.low)),
                    number(ends.map(|ends| ends.high)),
                    number(compared.and_then(|compared| compared.p)),
                    number(compared.and_then(|compared| compared.p_holm)),
                    number(compared.map(|compared| compared.cells)),
                    number(compared.map(|compared| compared.units)),
                    compared
                        .map_or("", |compared| verdict(compared.verdict))
                        .to_owned(),
                    estimate.is_best.to_string(),
                ]);
            }
        }
    }
    table.finish()
}

fn of_record(record: &Record) -> [String; 8] {
    let model = record.model.as_ref();
    let sha256 = model.and_then(|model| model.sha256.as_deref());
    let beside: BTreeMap<&String, String> = record
        .beside
        .iter()
        .map(|(name, value)| (name, number(*value)))
        .collect();
    [
        text(&record.measure),
        number(record.value),
        text(model.map_or("", |model| &model.name)),
        text(sha256.unwrap_or_default()),
        text(&record.preprocessing),
        text(&listed(&record.samples)),
        text(&listed(&beside)),
        text(&record.warnings.join("; ")),
    ]
}

/// Known measures in their order, then others by name.
fn place(measure: &str) -> (usize, &str) {
    let known = Measure::ALL
        .iter()
        .position(|known| known.name() == measure);
    (known.unwrap_or(usize::MAX), measure)
}

fn listed(items: &BTreeMap<impl Display + Ord, impl Display>) -> String {
    let items = items.iter().map(|(name, value)| format!("{name}={value}"));
    items.collect::<Vec<_>>().join("; ")
}

fn text(text: &str) -> String {
    escaped_cell(text)
}

fn number(number: Option<impl Display>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Higher => "higher",
        Verdict::Lower => "lower",
        Verdict::Same => "same",
        Verdict::Open => "open",
    }
}

/// CSV in memory.
struct TableWriter {
    writer: ::csv::Writer<Vec<u8>>,
}

impl TableWriter {
    fn new(columns: &[&str]) -> Self {
        let mut table = Self {
            writer: ::csv::Writer::from_writer(Vec::new()),
        };
        table.line(columns.iter().map(|column| (*column).to_owned()));
        table
    }

    fn line(&mut self, cells: impl IntoIterator<Item = String>) {
        // Writing to memory cannot fail, and all lines are as long as the first.
        let _ = self.writer.write_record(cells);
    }

    fn finish(self) -> String {
        let bytes = self.writer.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
