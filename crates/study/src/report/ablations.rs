//! The ablations: what was asked, what was run, the table and its plots.

use serde::Serialize;
use serde_json::Value;

use super::numbers::{self, fixed, p_value, signed};
use super::plots::{Forest, ForestRow, Look};
use super::templates::safe;
use super::text::slug;
use crate::analysis::{Analysis, Better, Compared, Estimate, MeasureInfo, Table, Verdict};
use crate::results::{Results, RunVariant};
use crate::study::{Stub, Words};

#[derive(Serialize)]
pub(super) struct Ablation {
    /// Unique in the page.
    id: String,
    title: String,
    readings: Vec<String>,
    /// The plan's words; none for variants that a person added.
    asked: Option<Asked>,
    run: Vec<Run>,
    measures: Vec<Column>,
    rows: Vec<Row>,
    /// Labels of measures without any value here.
    without_values: Vec<String>,
    /// Drawings for the page.
    plots: Vec<minijinja::Value>,
}

#[derive(Serialize)]
struct Asked {
    action: &'static str,
    part: String,
    replacement: Vec<String>,
    metrics: Vec<String>,
    /// What of it could not be run.
    open: Vec<String>,
}

#[derive(Serialize)]
struct Run {
    name: String,
    differences: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    field: String,
    baseline: String,
    variant: String,
}

#[derive(Serialize)]
struct Column {
    label: String,
    better: Better,
}

#[derive(Serialize)]
struct Row {
    name: String,
    is_baseline: bool,
    cells: Vec<Cell>,
}

/// An entry of the table; without a mean there is no value.
#[derive(Default, Serialize)]
struct Cell {
    mean: Option<String>,
    deviation: Option<String>,
    interval: Option<String>,
    is_best: bool,
    values: usize,
    absent: usize,
    compared: Option<Difference>,
}

#[derive(Serialize)]
struct Difference {
    value: String,
    interval: Option<String>,
    /// Holm-corrected.
    p: Option<String>,
    cells: usize,
    mark: &'static str,
    words: &'static str,
    /// `better`, `worse` or `even`: the name of a style.
    tone: &'static str,
}

/// A plot as a file.
pub(super) struct PlotFile {
    pub(super) name: String,
    pub(super) svg: String,
}

pub(super) fn ablations(results: &Results, analysis: &Analysis) -> (Vec<Ablation>, Vec<PlotFile>) {
    let mut files = Vec::new();
    let tables = analysis.tables.iter().enumerate();
    let ablations = tables.map(|(index, table)| {
        let (ablation, plots) = ablation(results, &analysis.measures, table, index);
        files.extend(plots);
        ablation
    });
    let ablations = ablations.collect();
    (ablations, files)
}

fn ablation(
    results: &Results,
    measures: &[MeasureInfo],
    table: &Table,
    index: usize,
) -> (Ablation, Vec<PlotFile>) {
    let has_values = |column: usize| {
        let mut estimates = table
            .rows
            .iter()
            .filter_map(|row| row.estimates.get(column));
        estimates.any(|estimate| estimate.summary.is_some())
    };
    let (shown, empty): (Vec<usize>, Vec<usize>) =
        (0..measures.len()).partition(|&column| has_values(column));
    let id = format!("ablation-{}", index + 1);
    let (mut plots, mut files) = (Vec::new(), Vec::new());
    for &column in &shown {
        let measure = &measures[column];
        let forest = forest(table, measure, column);
        let name = format!(
            "{}-{}-{}",
            index + 1,
            slug(&table.title),
            slug(&measure.name)
        );
        let drawn = |look| forest.draw(look, &format!("{id}-plot-{}", column + 1));
        plots.extend(drawn(Look::Page).map(safe));
        files.extend(drawn(Look::File).map(|svg| PlotFile {
            name: format!("{name}.svg"),
            svg,
        }));
    }
    let words = table
        .ablation
        .and_then(|at| results.study.ablations.get(at));
    let run = table.rows.iter().skip(1);
    let ablation = Ablation {
        id,
        title: table.title.clone(),
        readings: table.readings.clone(),
        asked: words.map(|words| asked(words, &results.study.unresolved)),
        run: run
            .filter_map(|row| results.variants.get(row.variant))
            .map(run_of)
            .collect(),
        measures: shown
            .iter()
            .map(|&column| measures[column].column())
            .collect(),
        rows: table
            .rows
            .iter()
            .map(|row| Row {
                name: row.name.clone(),
                is_baseline: row.variant == 0,
                cells: shown
                    .iter()
                    .map(|&column| cell(row.estimates.get(column), &measures[column]))
                    .collect(),
            })
            .collect(),
        without_values: empty
            .iter()
            .map(|&column| measures[column].label.clone())
            .collect(),
        plots,
    };
    (ablation, files)
}

impl MeasureInfo {
    fn column(&self) -> Column {
        Column {
            label: self.label.clone(),
            better: self.better,
        }
    }
}

fn asked(words: &Words, unresolved: &[Stub]) -> Asked {
    let open = unresolved.iter().filter(|stub| stub.ablation == words.name);
    Asked {
        action: words.action.name(),
        part: words.part.clone(),
        replacement: words.replacement.clone(),
        metrics: words.metrics.clone(),
        open: open.map(|stub| stub.wish.words.clone()).collect(),
    }
}

fn run_of(variant: &RunVariant) -> Run {
    let mut differences: Vec<Setting> = variant
        .differences
        .iter()
        .map(|difference| Setting {
            field: difference.field.clone(),
            baseline: told(&difference.baseline),
            variant: told(&difference.variant),
        })
        .collect();
    if let Some(model) = &variant.model {
        differences.push(Setting {
            field: "model".into(),
            baseline: "the study's".into(),
            variant: model.name.clone(),
        });
    }
    Run {
        name: variant.name.clone(),
        differences,
    }
}

/// A setting's value without the marks of JSON.
pub(super) fn told(value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        Value::String(text) if text.is_empty() => "empty".into(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn cell(estimate: Option<&Estimate>, measure: &MeasureInfo) -> Cell {
    let Some(estimate) = estimate else {
        return Cell::default();
    };
    let digits = measure.digits;
    let summary = estimate.summary.as_ref();
    let compared = estimate.comparison.as_ref();
    Cell {
        mean: summary.map(|summary| fixed(summary.mean, digits)),
        deviation: summary
            .and_then(|summary| summary.standard_deviation)
            .map(|deviation| fixed(deviation, digits)),
        interval: summary
            .and_then(|summary| summary.interval)
            .map(|ends| numbers::interval(ends, digits)),
        is_best: estimate.is_best && summary.is_some(),
        values: summary.map_or(0, |summary| summary.values),
        absent: estimate.absent,
        compared: compared.map(|compared| difference(compared, measure)),
    }
}

fn difference(compared: &Compared, measure: &MeasureInfo) -> Difference {
    let digits = measure.digits;
    let (mark, words, tone) = match (compared.verdict, measure.better) {
        (Verdict::Higher, Better::More) => ("▲", "higher: better", "better"),
        (Verdict::Higher, Better::Less) => ("▲", "higher: worse", "worse"),
        (Verdict::Higher, Better::Neither) => ("▲", "higher", "even"),
        (Verdict::Lower, Better::More) => ("▼", "lower: worse", "worse"),
        (Verdict::Lower, Better::Less) => ("▼", "lower: better", "better"),
        (Verdict::Lower, Better::Neither) => ("▼", "lower", "even"),
        (Verdict::Same, _) => ("=", "the same", "even"),
        (Verdict::Open, _) => ("?", "open", "even"),
    };
    Difference {
        value: signed(compared.difference, digits),
        interval: compared
            .interval
            .map(|ends| numbers::interval(ends, digits)),
        p: compared.p_holm.map(p_value),
        cells: compared.cells,
        mark,
        words,
        tone,
    }
}

fn forest<'a>(table: &'a Table, measure: &'a MeasureInfo, column: usize) -> Forest<'a> {
    let rows = table.rows.iter().map(|row| {
        let estimate = row.estimates.get(column);
        let summary = estimate.and_then(|estimate| estimate.summary.as_ref());
        ForestRow {
            name: &row.name,
            mean: summary.map(|summary| summary.mean),
            interval: summary.and_then(|summary| summary.interval),
            is_baseline: row.variant == 0,
            is_best: estimate.is_some_and(|estimate| estimate.is_best),
        }
    });
    Forest {
        title: &table.title,
        measure,
        rows: rows.collect(),
    }
}
