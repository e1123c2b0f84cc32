//! Statistics of studies: closed forms, what is refused, and what is said in words.

use kinvert_metrics::Record;
use kinvert_metrics::record::ModelStamp;
use kinvert_metrics::statistics::Bootstrap;
use kinvert_study::analysis::{Analysis, Compared, Estimate, LEVEL, Verdict};
use kinvert_study::results::{CellId, Measured, Outcome, Results};

use crate::subset;

fn bootstrap() -> Bootstrap {
    Bootstrap::new(1000, 0).unwrap()
}

fn analysis(results: &Results) -> Analysis {
    Analysis::of(results, None, &bootstrap()).unwrap()
}

/// The published plan on so many clips, prompts and seeds. Its cells have the same values in every variant, but for what
/// `shift` adds to them.
fn results(sizes: [usize; 3], shift: impl Fn(&str, &str, &CellId) -> f64) -> Results {
    let mut results = subset::results(sizes);
    change(&mut results, |variant, id, measured| {
        for (place, record) in measured.records.iter_mut().enumerate() {
            let number = (7 * id.reference + 3 * id.prompt + id.seed as usize + place) % 5;
            let own = 0.7 + 0.02 * number as f64;
            record.value = Some(own + shift(variant, &record.measure, id));
        }
        // The frames of all variants are alike as well.
        let from = id.reference as f32 + id.seed as f32;
        measured.features = (0..16)
            .map(|frame| {
                let number = |column| ((frame * 8 + column) as f32 * 1.7 + from).sin();
                (0..8).map(number).collect()
            })
            .collect();
    });
    results
}

/// Changes what was measured of every done cell.
fn change(results: &mut Results, change: impl Fn(&str, &CellId, &mut Measured)) {
    let names = results.variants.iter();
    let names: Vec<_> = names.map(|v| (v.hash.clone(), v.name.clone())).collect();
    for cell in &mut results.cells {
        let name = names.iter().find(|(hash, _)| *hash == cell.id.variant_hash);
        if let Outcome::Done(measured) = &mut cell.outcome {
            change(&name.unwrap().1, &cell.id, measured);
        }
    }
}

fn estimate<'a>(analysis: &'a Analysis, variant: &str, measure: &str) -> &'a Estimate {
    let rows = analysis.tables.iter().flat_map(|table| &table.rows);
    let row = rows.into_iter().find(|row| row.name == variant).unwrap();
    let names = &mut analysis.measures.iter();
    let column = names.position(|info| info.name == measure).unwrap();
    &row.estimates[column]
}

fn compared(analysis: &Analysis, variant: &str, measure: &str) -> Compared {
    estimate(analysis, variant, measure).comparison.unwrap()
}

/// What is said of a variant, which every table says the same of.
fn reading<'a>(analysis: &'a Analysis, variant: &str) -> &'a str {
    let mut readings = analysis.tables.iter().flat_map(|table| &table.readings);
    let start = format!("{variant}: ");
    readings
        .find(|reading| reading.starts_with(&start))
        .unwrap()
}

#[test]
fn a_constant_shift_is_found_exactly() {
    let results = results([6, 1, 2], |variant, measure, _| match (variant, measure) {
        ("values only", "motion_fidelity") => -0.12,
        ("values only", "text_similarity") => 0.005,
        ("values only", "end_point_error") => -1.5,
        ("neither embedding", "temporal_consistency") => 0.04,
        _ => 0.0,
    });
    let found = analysis(&results);
    let names: Vec<_> = found
        .measures
        .iter()
        .map(|info| info.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "text_similarity",
            "temporal_consistency",
            "motion_magnitude",
            "motion_fidelity",
            "path_correlation",
            "end_point_error",
            "fid",
            "user_preference",
        ]
    );
    for (variant, measure, shift, verdict) in [
        ("values only", "motion_fidelity", -0.12, Verdict::Lower),
        ("values only", "text_similarity", 0.005, Verdict::Same),
        ("values only", "end_point_error", -1.5, Verdict::Lower),
        ("values only", "path_correlation", 0.0, Verdict::Same),
        (
            "neither embedding",
            "temporal_consistency",
            0.04,
            Verdict::Higher,
        ),
        ("neither embedding", "fid", 0.0, Verdict::Open),
    ] {
        let compared = compared(&found, variant, measure);
        let interval = compared.interval.unwrap();
        assert!((compared.difference - shift).abs() < 1e-12, "{measure}");
        assert!(interval.high - interval.low < 1e-12, "{measure}");
        assert_eq!(compared.verdict, verdict, "{measure}");
        assert_eq!((compared.cells, compared.units), (12, 6));
    }
    let summary = estimate(&found, "method", "motion_fidelity")
        .summary
        .unwrap();
    assert_eq!((summary.values, summary.clusters), (12, 6));
    assert!(
        estimate(&found, "method", "motion_fidelity")
            .comparison
            .is_none()
    );
    assert!(
        estimate(&found, "values only", "user_preference")
            .summary
            .is_none()
    );
    let fid = estimate(&found, "values only", "fid").summary.unwrap();
    assert_eq!((fid.standard_deviation, fid.interval), (None, None));
    assert_eq!((fid.values, fid.clusters), (12, 6));
}

#[test]
fn readings_say_what_is_shown_and_whether_it_is_better() {
    let results = results([6, 1, 2], |variant, measure, id| match (variant, measure) {
        ("values only", "motion_fidelity") => -0.12,
        ("values only", "end_point_error") => -1.5,
        ("values only", "temporal_consistency") => [0.03, -0.03][id.reference % 2],
        ("query-key only", "end_point_error") => 1.5,
        _ => 0.0,
    });
    let found = analysis(&results);
    assert_eq!(
        reading(&found, "values only"),
        "values only: motion fidelity is lower by 0.120 [0.120, 0.120], which is worse; end-point error is lower by 1.50 \
         [1.50, 1.50], which is better; text similarity (within 0.010) and path correlation (within 0.020) are \
         unchanged; for temporal consistency and FID neither a difference nor its absence is shown."
    );
    assert!(
        reading(&found, "query-key only")
            .contains("end-point error is higher by 1.50 [1.50, 1.50], which is worse"),
    );
    assert!(
        found.notes[0].starts_with("All 60 cells are done"),
        "{:?}",
        found.notes
    );
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("over the 6 clips"))
    );
}

#[test]
fn few_cells_show_nothing() {
    let results = results([2, 1, 2], |variant, measure, _| match (variant, measure) {
        ("values only", "motion_fidelity") => -0.5,
        _ => 0.0,
    });
    let found = analysis(&results);
    assert_eq!(
        reading(&found, "values only"),
        "values only: for text similarity, temporal consistency, motion fidelity, path correlation, end-point error and \
         FID neither a difference nor its absence is shown. 4 cells are too few to show a difference or its absence."
    );
    assert_eq!(
        compared(&found, "values only", "motion_fidelity").p,
        Some(0.125)
    );
    let notes = found.notes.join("\n");
    assert!(notes.contains("over cells"), "{notes}");
    assert!(
        notes.contains("holds for the 2 clips of the study"),
        "{notes}"
    );
    assert!(notes.contains("4 cells are too few"), "{notes}");
}

#[test]
fn few_cells_of_many_clips_show_nothing_after_correction() {
    let results = results([6, 1, 1], |variant, measure, _| match (variant, measure) {
        ("values only", "motion_fidelity") => -0.5,
        _ => 0.0,
    });
    let found = analysis(&results);
    assert_eq!(
        reading(&found, "values only"),
        "values only: text similarity (within 0.010), temporal consistency (within 0.010), path correlation (within \
         0.020) and end-point error (within 0.50) are unchanged; for motion fidelity and FID neither a difference nor its \
         absence is shown. 6 cells are too few to show a difference \
         after Holm's correction."
    );
}

#[test]
fn unfinished_failed_and_undefined_cells_are_told() {
    let mut results = results([6, 1, 2], |_, _, _| 0.0);
    let hash = |name: &str| {
        let mut variants = results.variants.iter();
        variants
            .find(|variant| variant.name == name)
            .unwrap()
            .hash
            .clone()
    };
    let (values, query_key, neither) = (
        hash("values only"),
        hash("query-key only"),
        hash("neither embedding"),
    );
    for cell in &mut results.cells {
        let id = cell.id.clone();
        if id.variant_hash == neither {
            cell.outcome = Outcome::Waiting;
        } else if id.variant_hash == query_key {
            cell.outcome = Outcome::Failed {
                error: "out of memory".into(),
            };
        } else if id.variant_hash == values && id.reference == 0 {
            cell.outcome = match id.seed {
                0 => Outcome::Running,
                _ => Outcome::Failed {
                    error: "out of memory".into(),
                },
            };
        }
    }
    change(&mut results, |variant, id, measured| {
        if variant == "values only" && id.reference == 1 {
            for record in &mut measured.records {
                if record.measure == "motion_fidelity" {
                    record.value = None;
                }
            }
        }
    });
    let found = analysis(&results);
    assert_eq!(
        reading(&found, "values only"),
        "values only: text similarity (within 0.010), temporal consistency (within 0.010), path correlation (within \
         0.020) and end-point error (within 0.50) are unchanged; for motion fidelity and FID neither a difference nor its \
         absence is shown. Motion fidelity is not defined on 2 of 10 cells. 10 of 12 cells are done, 1 failed."
    );
    assert_eq!(
        reading(&found, "query-key only"),
        "query-key only: all of its 12 cells failed."
    );
    assert_eq!(
        reading(&found, "neither embedding"),
        "neither embedding: no cell is done yet."
    );
    assert_eq!(
        found.notes[0],
        "34 of 60 cells are done, 13 failed; the numbers are of these."
    );
    assert_eq!(estimate(&found, "values only", "motion_fidelity").absent, 2);
    // Fewer than 80 % of the cells: not the best, although as good.
    assert!(!estimate(&found, "values only", "motion_fidelity").is_best);
    assert!(estimate(&found, "values only", "text_similarity").is_best);
}

#[test]
fn a_study_that_has_not_begun_has_empty_tables() {
    let mut results = results([2, 1, 1], |_, _, _| 0.0);
    for cell in &mut results.cells {
        cell.outcome = Outcome::Waiting;
    }
    let found = analysis(&results);
    let rows = found.tables.iter().flat_map(|table| &table.rows);
    let estimates: Vec<_> = rows.flat_map(|row| &row.estimates).collect();
    assert!(!estimates.is_empty() && estimates.iter().all(|estimate| estimate.summary.is_none()));
    assert_eq!(reading(&found, "method"), "method: no cell is done yet.");
    results.study.clips.clear();
    results.references.clear();
    results.cells.clear();
    analysis(&results);
    results.variants.clear();
    analysis(&results);
}

#[test]
fn corrected_p_values_keep_their_order_and_are_no_smaller() {
    let mut results = subset::results([6, 1, 2]);
    change(&mut results, |variant, _, measured| {
        for record in &mut measured.records {
            let shift = (variant.len() * record.measure.len()) as f64 * 2e-4;
            record.value = record.value.map(|value| value + shift);
        }
    });
    let found = analysis(&results);
    let rows = found.tables.iter().flat_map(|table| &table.rows);
    let compared = rows.flat_map(|row| row.estimates.iter().filter_map(|e| e.comparison));
    let mut p_values: Vec<(f64, f64)> = compared
        .filter_map(|compared| Some((compared.p?, compared.p_holm?)))
        .collect();
    p_values.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(p_values.len(), 4 * 6);
    assert!(p_values.iter().all(|(p, corrected)| p <= corrected));
    assert!(p_values.is_sorted_by_key(|(_, corrected)| *corrected));
    let smallest = p_values[0];
    assert!((smallest.1 - (24.0 * smallest.0).min(1.0)).abs() < 1e-12);
    assert!(
        found.notes.iter().any(|note| note.contains("24 p-values")),
        "{:?}",
        found.notes
    );
}

#[test]
fn variants_with_equal_settings_count_once() {
    let shift = |variant: &str, _: &str, id: &CellId| match variant {
        "values only" => 0.01 + 0.01 * id.reference as f64,
        _ => 0.0,
    };
    let mut results = results([6, 1, 1], shift);
    let before = analysis(&results);
    let mut again = results.variants[2].clone();
    assert_eq!(again.name, "values only");
    again.name = "a second name".into();
    again.ablation = None;
    results.variants.push(again);
    let mut method = results.variants[0].clone();
    method.name = "method again".into();
    results.variants.push(method);
    let after = analysis(&results);
    for measure in ["text_similarity", "fid"] {
        let compared = |found, name| compared(found, name, measure);
        assert_eq!(
            compared(&before, "values only"),
            compared(&after, "values only")
        );
        assert_eq!(
            compared(&after, "a second name"),
            compared(&after, "values only")
        );
    }
    let added = after.tables.last().unwrap();
    assert_eq!(
        (added.title.as_str(), added.ablation),
        ("Added by hand", None)
    );
    assert_eq!(
        reading(&after, "a second name"),
        "a second name: its settings are those of values only, and so are its cells."
    );
    assert!(estimate(&after, "method again", "fid").comparison.is_none());
}

#[test]
fn records_of_another_model_are_refused_and_told() {
    let mut results = results([6, 1, 2], |_, _, _| 0.0);
    let other = ModelStamp {
        name: "other <b>clip</b>".into(),
        sha256: Some("0123456789abcdef".into()),
    };
    change(&mut results, |variant, id, measured| {
        for record in &mut measured.records {
            match record.measure.as_str() {
                "text_similarity" if variant == "values only" && id.reference < 2 => {
                    record.model = Some(other.clone());
                    record.value = Some(0.1);
                }
                "motion_fidelity" if variant == "values only" => {
                    record.preprocessing = "scaled".into();
                }
                _ => {}
            }
        }
    });
    let found = analysis(&results);
    let text = estimate(&found, "values only", "text_similarity");
    assert_eq!(text.summary.unwrap().values, 8);
    assert_eq!(text.comparison.unwrap().cells, 8);
    assert!(text.comparison.unwrap().difference.abs() < 1e-12);
    let motion = estimate(&found, "values only", "motion_fidelity");
    assert_eq!((motion.summary, motion.comparison), (None, None));
    let notes = found.notes.join("\n");
    assert!(
        notes.contains("Text similarity: 4 cells were measured with another model or preprocessing (other <b>clip</b> (0123456789ab)) than 56 others"),
        "{notes}"
    );
    assert!(notes.contains("Motion fidelity: 12 cells"), "{notes}");
}

#[test]
fn a_still_clip_does_not_look_good() {
    let mut results = results([6, 1, 2], |variant, measure, _| match (variant, measure) {
        ("neither embedding", "temporal_consistency") => 0.04,
        _ => 0.0,
    });
    change(&mut results, |variant, _, measured| {
        let moves = if variant == "neither embedding" {
            0.01
        } else {
            0.2
        };
        for record in &mut measured.records {
            if record.measure == "temporal_consistency" {
                record.beside.insert("motion_magnitude".into(), Some(moves));
            }
        }
    });
    let found = analysis(&results);
    let reading = reading(&found, "neither embedding");
    assert!(
        reading.contains(
            "Its clips move less (motion magnitude −0.190 [−0.190, −0.190]), which by itself makes clips more \
             consistent."
        ),
        "{reading}"
    );
    let magnitude = estimate(&found, "neither embedding", "motion_magnitude");
    assert_eq!(magnitude.comparison.unwrap().p, None, "it is no test");
    assert!(!magnitude.is_best);
}

#[test]
fn the_best_is_by_direction_and_ties_share() {
    let results = results([5, 1, 1], |variant, measure, _| match (variant, measure) {
        ("values only", "end_point_error") => -1.0,
        ("values only", "text_similarity") => -0.1,
        _ => 0.0,
    });
    let found = analysis(&results);
    let best = |measure: &str| -> Vec<&str> {
        let column = found
            .measures
            .iter()
            .position(|info| info.name == measure)
            .unwrap();
        let rows = found.tables[0].rows.iter();
        rows.filter(|row| row.estimates[column].is_best)
            .map(|row| row.name.as_str())
            .collect()
    };
    assert_eq!(best("end_point_error"), ["values only"]);
    assert_eq!(
        best("text_similarity"),
        ["method", "query-key only", "neither embedding"]
    );
}

#[test]
fn unknown_measures_and_features_that_do_not_fit_are_left_out_and_told() {
    let mut results = results([5, 1, 1], |_, _, _| 0.0);
    change(&mut results, |variant, id, measured| {
        measured
            .records
            .push(Record::new("sharpness", 1.0, None, ""));
        if variant == "values only" && id.reference == 0 {
            measured.features = vec![vec![1.0; 7]; 16];
        }
    });
    let found = analysis(&results);
    let notes = found.notes.join("\n");
    assert!(notes.contains("`sharpness` is no measure"), "{notes}");
    assert!(notes.contains("the features of 1 clips"), "{notes}");
    let fid = estimate(&found, "values only", "fid");
    assert_eq!((fid.summary.unwrap().values, fid.absent), (4, 1));
    assert_eq!(fid.comparison.unwrap().cells, 4);
}

#[test]
fn noise_alone_gives_no_claim() {
    let results = subset::results([6, 1, 2]);
    let found = analysis(&results);
    let rows = found.tables.iter().flat_map(|table| &table.rows);
    for compared in rows.flat_map(|row| row.estimates.iter().filter_map(|e| e.comparison)) {
        assert!(!matches!(
            compared.verdict,
            Verdict::Higher | Verdict::Lower
        ));
        assert!(compared.p_holm.is_none_or(|p| p >= LEVEL));
    }
}

#[test]
fn the_same_results_give_the_same_analysis() {
    let results = results([5, 1, 2], |_, _, id| 0.01 * id.reference as f64);
    assert_eq!(analysis(&results), analysis(&results));
}
