//! Exports: what stands in them, that names cannot break them, and that they do not change.

use kinvert_metrics::statistics::Bootstrap;
use kinvert_study::Analysis;
use kinvert_study::export::{csv, json_lines, latex, tables_csv};
use kinvert_study::results::{Outcome, Results};

use crate::subset;

const EVIL: [&str; 4] = [
    "=HYPERLINK(\"http://x\")",
    "<script>alert(1)</script>",
    r"\input{/etc/passwd} & 50 % $x_1$ #{~}^",
    "a,\"b\"\nc",
];

fn results() -> Results {
    let mut results = subset::results([2, 1, 1]);
    results.cells[0].outcome = Outcome::Failed {
        error: "=cmd|' /C calc'!A0".into(),
    };
    results.cells[1].outcome = Outcome::Waiting;
    results
}

fn hostile() -> Results {
    let mut results = results();
    for (variant, name) in results.variants.iter_mut().skip(1).zip(EVIL) {
        variant.name = name.into();
    }
    for (ablation, name) in results.study.ablations.iter_mut().zip(EVIL) {
        for variant in &mut results.variants {
            if variant.ablation.as_ref() == Some(&ablation.name) {
                variant.ablation = Some(name.into());
            }
        }
        ablation.name = name.into();
    }
    results.study.prompts[0] = "+1 @prompt".into();
    results.references[0].path = "-clip".into();
    results
}

fn analysis(results: &Results) -> Analysis {
    Analysis::of(results, None, &Bootstrap::new(100, 0).unwrap()).unwrap()
}

/// The lines of a CSV file by column.
fn rows(text: &str) -> Vec<Vec<(String, String)>> {
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let lines = reader.records().map(|line| {
        let line = line.unwrap();
        let cells = names.iter().zip(line.iter());
        cells
            .map(|(name, cell)| (name.to_owned(), cell.to_owned()))
            .collect()
    });
    lines.collect()
}

fn cell<'a>(row: &'a [(String, String)], name: &str) -> &'a str {
    &row.iter().find(|(column, _)| column == name).unwrap().1
}

#[test]
fn csv_has_a_line_for_each_cell_and_measure() {
    let results = results();
    let rows = rows(&csv(&results));
    // Ten cells, eight of them done with five records each.
    assert_eq!(rows.len(), 8 * 5 + 2);
    assert_eq!(cell(&rows[0], "state"), "failed");
    assert_eq!(cell(&rows[0], "remarks"), "'=cmd|' /C calc'!A0");
    assert_eq!(
        (cell(&rows[1], "state"), cell(&rows[1], "measure")),
        ("waiting", "")
    );
    let first = &rows[2];
    assert_eq!(cell(first, "variant"), "query-key only");
    assert_eq!(cell(first, "measure"), "text_similarity");
    let Outcome::Done(measured) = &results.cells[2].outcome else {
        panic!("the third cell is done");
    };
    let value: f64 = cell(first, "value").parse().unwrap();
    assert_eq!(
        Some(value),
        measured.record("text_similarity").unwrap().value
    );
}

#[test]
fn csv_knows_no_times_and_no_order_of_records() {
    let results = results();
    let mut again = results.clone();
    for cell in &mut again.cells {
        if let Outcome::Done(measured) = &mut cell.outcome {
            measured.records.reverse();
            measured.generation_s *= 2.0;
            measured.measuring_s += 1.0;
        }
    }
    again.stamp.begun_unix_s += 1000;
    assert_eq!(csv(&results), csv(&again));
}

#[test]
fn no_text_of_a_csv_file_is_a_formula() {
    let results = hostile();
    for text in [csv(&results), tables_csv(&analysis(&results))] {
        let rows = rows(&text);
        assert!(
            rows.iter()
                .flatten()
                .any(|(_, cell)| cell.contains("HYPERLINK"))
        );
        for (name, cell) in rows.iter().flatten() {
            let is_number = cell.parse::<f64>().is_ok();
            let starts = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(!starts || is_number, "{name}: {cell}");
        }
    }
}

#[test]
fn tables_have_a_line_for_each_row_and_measure() {
    let found = analysis(&results());
    let rows = rows(&tables_csv(&found));
    let lines: usize = found.tables.iter().map(|table| table.rows.len()).sum();
    assert_eq!(rows.len(), lines * found.measures.len());
    assert_eq!(cell(&rows[0], "variant"), "method");
    assert_eq!(cell(&rows[0], "difference"), "");
}

#[test]
fn json_lines_hold_everything() {
    let results = hostile();
    let text = json_lines(&results);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 10);
    assert_eq!(lines[0]["error"], "=cmd|' /C calc'!A0");
    assert_eq!(lines[0]["clip"], "-clip");
    assert_eq!(lines[1]["state"], "waiting");
    assert_eq!(lines[2]["variants"][0], EVIL[0]);
    assert_eq!(lines[2]["records"].as_array().unwrap().len(), 5);
    assert_eq!(lines[2]["generation_s"], 3.5);
    assert_eq!(lines[2]["file"], "clips/1-0-0-0.mp4");
}

#[test]
fn latex_has_a_table_for_each_ablation_that_names_cannot_break() {
    let found = analysis(&hostile());
    let text = latex(&found);
    let count = |needle: &str| text.matches(needle).count();
    assert_eq!(count("\\begin{table}"), found.tables.len());
    assert_eq!(count("\\end{tabular}"), found.tables.len());
    assert!(!text.contains("\\input"), "{text}");
    assert!(text.contains("{\\textbackslash}input\\{"), "{text}");
    assert!(text.contains("{\\textless}script{\\textgreater}"), "{text}");
    assert!(text.contains("Text similarity $\\uparrow$"), "{text}");
    assert!(text.contains("End{-}point error $\\downarrow$"), "{text}");
    assert!(text.is_ascii());
    // Every row has as many cells as there are measures with a value: not those of votes and of motion.
    let cells = |line: &str| line.replace("\\&", "").matches('&').count();
    let rows = text.lines().filter(|line| line.ends_with("\\\\"));
    for row in rows {
        assert_eq!(cells(row), found.measures.len() - 2, "{row}");
    }
}

#[test]
fn latex_marks_what_is_significant() {
    let mut results = subset::results([6, 1, 2]);
    let values_only = results.variants[2].hash.clone();
    let cells = results.cells.iter_mut();
    for cell in cells.filter(|cell| cell.id.variant_hash == values_only) {
        if let Outcome::Done(measured) = &mut cell.outcome {
            let mut records = measured.records.iter_mut();
            let record = records.find(|record| record.measure == "motion_fidelity");
            record.unwrap().value = Some(0.4 + 0.01 * cell.id.reference as f64);
        }
    }
    let text = latex(&analysis(&results));
    let row = text
        .lines()
        .find(|line| line.starts_with("values only"))
        .unwrap();
    let motion = row.split(" & ").nth(3).unwrap();
    assert!(
        motion.ends_with("$^{\\dagger}$") && motion.contains("\\scriptsize ["),
        "{motion}"
    );
    assert!(!motion.contains("\\textbf"), "{motion}");
    assert_eq!(
        text.matches("\\dagger").count(),
        1 + text.matches("\\caption").count()
    );
}
