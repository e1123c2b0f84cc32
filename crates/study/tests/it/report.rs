//! The report page: what stands in it, that foreign text stays text, and that it needs nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use kinvert_metrics::statistics::{Bootstrap, Interval, Summary};
use kinvert_metrics::votes::{
    Agreement, Answers, Estimate as Share, HeadToHead, LeftOut, Question, QuestionReport, Raters,
    Report, VariantResult, VoteCounts,
};
use kinvert_study::analysis::{
    Analysis, Better, Compared, Estimate, MeasureInfo, Row, Table, Verdict,
};
use kinvert_study::results::{Difference, MotionState, Outcome, Results, RunVariant};
use kinvert_study::study::{Clip, Stub, Variant, Words};
use kinvert_study::{Action, ReportFiles, ReportOptions, write_report};

use crate::sample;

/// Text that would be markup, a template, a second attribute or another direction if it were not escaped.
const HOSTILE: &str = "\"><script>alert(1)</script></style></title><img src=x onerror='alert(2)'>{{7*7}}{% raw %}\u{202e}\u{1}'\"`&amp;";

/// The measures of these tests: name, label, whether more is better, digits.
const MEASURES: [(&str, &str, bool, usize); 6] = [
    ("text_similarity", "Text similarity", true, 3),
    ("temporal_consistency", "Temporal consistency", true, 3),
    ("motion_fidelity", "Motion fidelity", true, 3),
    ("end_point_error", "End-point error", false, 2),
    ("kid", "KID", false, 4),
    ("user_preference", "User preference", true, 2),
];

/// Plain means with made-up intervals: enough to fill every place of the page.
pub fn analysis(results: &Results) -> Analysis {
    let measures = MEASURES.map(|(name, label, more_is_better, digits)| MeasureInfo {
        name: name.into(),
        label: label.into(),
        better: if more_is_better {
            Better::More
        } else {
            Better::Less
        },
        digits,
        meaning: format!("What {label} says."),
        negligible: (name == "text_similarity").then_some(0.01),
        model: "sprites; klt".into(),
    });
    let mut tables = Vec::new();
    for (index, words) in results.study.ablations.iter().enumerate() {
        let variants = results.variants.iter().enumerate();
        let rows = variants.filter(|(_, variant)| {
            variant.ablation.as_ref() == Some(&words.name) || variant.name == "method"
        });
        let mut rows: Vec<Row> = rows
            .map(|(variant, run)| Row {
                variant,
                name: run.name.clone(),
                estimates: MEASURES
                    .iter()
                    .map(|(measure, ..)| estimate(results, run, measure))
                    .collect(),
            })
            .collect();
        for (column, (_, _, more_is_better, _)) in MEASURES.iter().enumerate() {
            mark_best(&mut rows, column, *more_is_better);
        }
        let readings = rows.iter().skip(1).map(|row| {
            format!(
                "{} follows the motion less closely than the method (−0.12, 95 % interval −0.15 to −0.09); the text \
                 is matched about as well.",
                row.name
            )
        });
        tables.push(Table {
            title: words.name.clone(),
            ablation: Some(index),
            readings: readings.collect(),
            rows,
        });
    }
    Analysis {
        measures: measures.into(),
        tables,
        notes: vec!["Intervals are drawn over clips; 12 comparisons were made.".into()],
        preference: None,
    }
}

fn estimate(results: &Results, run: &RunVariant, measure: &str) -> Estimate {
    let values = |run: &RunVariant| -> Vec<f64> {
        let cells = results.cells_of(run);
        let records = cells.values().filter_map(|cell| match &cell.outcome {
            Outcome::Done(measured) => measured.record(measure)?.value,
            _ => None,
        });
        records.collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let own = values(run);
    let is_begun = results
        .cells_of(run)
        .values()
        .any(|cell| matches!(cell.outcome, Outcome::Done(_)));
    if measure == "kid" && is_begun {
        return with_interval(-0.0123, [-0.02, 0.004], 1);
    }
    if own.is_empty() {
        return Estimate {
            summary: None,
            absent: 0,
            comparison: None,
            is_best: false,
        };
    }
    let mut found = with_interval(
        mean(&own),
        [mean(&own) - 0.015, mean(&own) + 0.02],
        own.len(),
    );
    let baseline = values(&results.variants[0]);
    if run.name != "method" && !baseline.is_empty() {
        let difference = mean(&own) - mean(&baseline);
        found.comparison = Some(Compared {
            difference,
            interval: Some(Interval {
                low: difference - 0.02,
                high: difference + 0.02,
            }),
            p: Some(0.004),
            p_holm: Some(if difference.abs() > 0.03 {
                0.0004
            } else {
                0.41
            }),
            cells: own.len(),
            units: own.len(),
            verdict: match difference {
                d if d > 0.03 => Verdict::Higher,
                d if d < -0.03 => Verdict::Lower,
                d if d.abs() < 0.005 => Verdict::Same,
                _ => Verdict::Open,
            },
        });
    }
    found
}

fn with_interval(mean: f64, [low, high]: [f64; 2], values: usize) -> Estimate {
    Estimate {
        summary: Some(Summary {
            mean,
            standard_deviation: Some(0.03),
            interval: Some(Interval { low, high }),
            values,
            clusters: values,
        }),
        absent: 0,
        comparison: None,
        is_best: false,
    }
}

fn mark_best(rows: &mut [Row], column: usize, more_is_better: bool) {
    let sign = if more_is_better { 1.0 } else { -1.0 };
    let mean = |row: &Row| {
        let summary = row.estimates[column].summary.as_ref();
        summary.map(|summary| sign * summary.mean)
    };
    let best = rows.iter().filter_map(mean).fold(f64::MIN, f64::max);
    for row in rows {
        row.estimates[column].is_best = mean(row) == Some(best);
    }
}

/// What votes on these variants might say.
pub fn preference(results: &Results) -> Report {
    let share = |value: f64| Share {
        value: Some(value),
        interval: Some(Interval {
            low: value - 0.1,
            high: value + 0.1,
        }),
    };
    let named = || results.variants.iter().map(|variant| variant.name.clone());
    let question = |question| QuestionReport {
        question,
        answers: Answers {
            left: 40,
            right: 42,
            equal: 18,
        },
        variants: named()
            .map(|variant| VariantResult {
                variant,
                wins: 20,
                ties: 6,
                losses: 14,
                win_rate: share(0.575),
                strength: share(1.31),
            })
            .collect(),
        head_to_head: named()
            .skip(1)
            .map(|variant| HeadToHead {
                variant,
                against: "method".into(),
                wins: 8,
                ties: 2,
                losses: 14,
                win_rate: share(0.375),
            })
            .collect(),
        agreement: Agreement {
            alpha_ordinal: Some(0.42),
            alpha_nominal: Some(0.39),
            observed: Some(0.66),
            pairs: 20,
        },
        warnings: vec!["fewer than 10 raters".into()],
    };
    Report {
        baseline: Some("method".into()),
        pairs: 24,
        pairs_with_votes: 22,
        raters: Raters {
            kept: 5,
            without_checks: 1,
            left_out: vec![LeftOut {
                rater: "r7".into(),
                checks: 4,
                failed: 3,
                votes: 20,
            }],
            max_failed_checks: 0.0,
        },
        votes: VoteCounts {
            total: 120,
            counted: 100,
        },
        median_seconds: Some(11.4),
        bootstrap: Bootstrap::default(),
        questions: Question::ALL.map(question).into(),
        warnings: Vec::new(),
    }
}

/// A page that was written, with its plots.
struct Written {
    html: String,
    files: ReportFiles,
    _folder: tempfile::TempDir,
}

fn write(results: &Results, analysis: &Analysis, options: &ReportOptions) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let files = write_report(results, analysis, &folder.path().join("report"), options).unwrap();
    let html = std::fs::read_to_string(&files.page).unwrap();
    Written {
        html,
        files,
        _folder: folder,
    }
}

/// The sample with differences that are found, in a folder that lasts as long as the first value.
fn sample(size: [usize; 3]) -> (tempfile::TempDir, Results) {
    let folder = tempfile::tempdir().unwrap();
    let shift = |variant: &str, measure: &str| match (variant, measure) {
        ("query-key only", "motion_fidelity") => -0.12,
        (_, "end_point_error") if variant != "method" => 0.8,
        _ => 0.0,
    };
    let results = sample::results(folder.path(), size, shift);
    (folder, results)
}

/// The elements of a page, which is written so that XML readers understand it too, except for style and script.
fn parsed<T>(html: &str, look: impl FnOnce(&roxmltree::Document<'_>) -> T) -> T {
    let mut html = html.trim_start().to_owned();
    for tag in ["style", "script"] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(html.matches(&open).count(), 1, "{tag}");
        let start = html.find(&open).unwrap() + open.len();
        let end = start + html[start..].find(&close).unwrap();
        html.replace_range(start..end, "");
    }
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(&html, options).unwrap();
    look(&document)
}

/// Faults that no page may have: foreign elements, handlers, addresses elsewhere, ids that are not unique or not there.
fn assert_sound(html: &str) {
    parsed(html, |document| {
        let mut ids = BTreeMap::new();
        let mut references = Vec::new();
        let elements = document.descendants().filter(|node| node.is_element());
        for node in elements {
            let name = node.tag_name().name();
            assert!(
                !["img", "iframe", "object", "link", "form", "base"].contains(&name),
                "{name}"
            );
            for attribute in node.attributes() {
                let (key, value) = (attribute.name(), attribute.value());
                assert!(!key.starts_with("on") && key != "style", "{key}={value}");
                match key {
                    "id" => *ids.entry(value.to_owned()).or_insert(0) += 1,
                    "src" => assert!(value.starts_with("data:video/mp4;base64,"), "{value}"),
                    "href" => match value.strip_prefix('#') {
                        Some(id) => references.push(id.to_owned()),
                        None => assert!(["results.csv", "tables.tex"].contains(&value), "{value}"),
                    },
                    "aria-labelledby" | "aria-describedby" | "data-like" => {
                        references.push(value.to_owned());
                    }
                    _ => {}
                }
            }
        }
        for (id, count) in &ids {
            assert_eq!(*count, 1, "{id}");
        }
        for id in references {
            assert!(ids.contains_key(&id), "#{id}");
        }
    });
    for address in ["http://", "https://", "//cdn", "@import", "url("] {
        assert!(!html.contains(address), "{address}");
    }
}

/// Rows in the body of the table with this class in each article of an ablation.
fn table_rows(html: &str) -> Vec<usize> {
    let rows = |node: roxmltree::Node<'_, '_>| {
        let body = node.descendants().find(|node| node.has_tag_name("tbody"));
        body.map_or(0, |body| {
            body.children()
                .filter(|node| node.has_tag_name("tr"))
                .count()
        })
    };
    parsed(html, |document| {
        let tables = document.descendants();
        tables
            .filter(|node| node.attribute("class") == Some("results"))
            .map(rows)
            .collect()
    })
}

#[test]
fn every_ablation_has_its_table_and_its_plots() {
    let (_folder, results) = sample([2, 1, 2]);
    let analysis = analysis(&results);
    let written = write(&results, &analysis, &ReportOptions::default());
    assert_sound(&written.html);
    let expected: Vec<_> = analysis
        .tables
        .iter()
        .map(|table| table.rows.len())
        .collect();
    assert_eq!(table_rows(&written.html), expected);
    for part in [
        "20 of 20 cells done",
        "2 clips × 1 prompt × 2 seeds × 5 variants",
        "2026-09-21",
        "<span class=\"state complete\">complete</span>",
        "−0.0123",
        "&lt; 0.001",
        "higher: worse",
        "lower: worse",
        "Without any value here: User preference.",
        "kinvert study votes",
        "12 comparisons were made.",
    ] {
        assert!(written.html.contains(part), "{part}");
    }
    // Every measure but the one without values, for each ablation.
    assert_eq!(written.files.plots.len(), analysis.tables.len() * 5);
    for plot in &written.files.plots {
        let svg = std::fs::read_to_string(plot).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert_eq!(document.root_element().attribute("role"), Some("img"));
        assert!(!svg.contains("var(") && !svg.contains("currentColor"));
    }
}

#[test]
fn the_same_study_gives_the_same_bytes() {
    let (_folder, results) = sample([2, 1, 1]);
    let analysis = analysis(&results);
    let [one, other] = [(); 2].map(|()| write(&results, &analysis, &ReportOptions::default()).html);
    assert!(one == other);
}

#[test]
fn foreign_text_stays_text() {
    let (_folder, mut results) = sample([1, 1, 1]);
    let study = &mut results.study;
    study.prompts[0] = HOSTILE.into();
    study.model = Some(HOSTILE.into());
    study.clips[0] = Clip {
        path: HOSTILE.into(),
        caption: Some(HOSTILE.into()),
    };
    let provenance = study.provenance.as_mut().unwrap();
    provenance.plan = HOSTILE.into();
    study.ablations[0] = Words {
        name: HOSTILE.into(),
        part: HOSTILE.into(),
        action: Action::Replace,
        replacement: vec![HOSTILE.into()],
        metrics: vec![HOSTILE.into()],
    };
    study.variants.push(Variant {
        name: HOSTILE.into(),
        ablation: Some(HOSTILE.into()),
        settings: Default::default(),
    });
    study.unresolved.push(Stub {
        ablation: HOSTILE.into(),
        wish: kinvert_study::resolve::Unresolved {
            words: HOSTILE.into(),
            understood: vec![HOSTILE.into()],
            not_understood: vec![HOSTILE.into()],
            nearest_axis: Some(HOSTILE.into()),
            candidates: vec![HOSTILE.into()],
        },
    });
    results.stamp.device = HOSTILE.into();
    results.stamp.measures = HOSTILE.into();
    results.stamp.kinvert_version = HOSTILE.into();
    results.stamp.model.name = HOSTILE.into();
    results.stamp.model.sha256 = HOSTILE.into();
    results.references[0].path = HOSTILE.into();
    results.references[0].caption = HOSTILE.into();
    results.references[0].sha256 = HOSTILE.into();
    for (index, variant) in results.variants.iter_mut().enumerate().skip(1) {
        variant.name = format!("{HOSTILE}{index}");
        variant.ablation = Some(HOSTILE.into());
        variant.model = Some(results.stamp.model.clone());
        variant.differences.push(Difference {
            field: HOSTILE.into(),
            baseline: HOSTILE.into(),
            variant: serde_json::json!([HOSTILE]),
        });
    }
    let failed = Outcome::Failed {
        error: HOSTILE.into(),
    };
    results.cells.last_mut().unwrap().outcome = failed;
    results.motions[0].state = MotionState::Failed {
        error: HOSTILE.into(),
    };
    let mut analysis = analysis(&results);
    analysis.notes.push(HOSTILE.into());
    for measure in &mut analysis.measures {
        measure.label.push_str(HOSTILE);
        measure.name.push_str(HOSTILE);
        measure.meaning = HOSTILE.into();
        measure.model = HOSTILE.into();
    }
    let mut votes = preference(&results);
    votes.baseline = Some(HOSTILE.into());
    votes.warnings.push(HOSTILE.into());
    votes.questions[0].warnings.push(HOSTILE.into());
    votes.raters.left_out[0].rater = HOSTILE.into();
    analysis.preference = Some(votes);
    let options = ReportOptions {
        commands: vec![HOSTILE.into()],
        ..ReportOptions::default()
    };

    let written = write(&results, &analysis, &options);
    assert_sound(&written.html);
    let html = &written.html;
    assert!(html.contains("&quot;&gt;&lt;script&gt;alert(1)"));
    assert!(html.contains("{{7*7}}") && !html.contains(">49"));
    for raw in [
        "<script>alert",
        "</style></title>",
        "<img",
        "\u{202e}",
        "\u{1}",
    ] {
        assert!(!html.contains(raw), "{raw:?}");
    }
    assert!(!written.files.plots.is_empty());
    let folder = written.files.page.parent().unwrap().join("plots");
    for plot in &written.files.plots {
        assert_eq!(plot.parent(), Some(folder.as_path()));
        let svg = std::fs::read_to_string(plot).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let is_drawing = |node: roxmltree::Node<'_, '_>| {
            [
                "svg", "title", "desc", "text", "line", "rect", "circle", "path",
            ]
            .contains(&node.tag_name().name())
        };
        let mut elements = document.descendants().filter(|node| node.is_element());
        assert!(elements.all(is_drawing));
    }
}

#[test]
fn the_page_keeps_to_its_size_and_says_so() {
    let (_folder, results) = sample([3, 2, 1]);
    let analysis = analysis(&results);
    let unbounded = write(&results, &analysis, &ReportOptions::default());
    assert_eq!(unbounded.files.cells_shown, 6);
    assert!(!unbounded.html.contains("fit into the size"));

    let max_bytes = unbounded.html.len() - 60_000;
    let bounded = ReportOptions {
        max_bytes,
        ..ReportOptions::default()
    };
    let bounded = write(&results, &analysis, &bounded);
    assert!((1..6).contains(&bounded.files.cells_shown));
    assert!(bounded.html.len() <= max_bytes);
    assert!(bounded.html.contains("of these 6 fit into the size"));

    let nothing = ReportOptions {
        max_bytes: 0,
        ..ReportOptions::default()
    };
    let nothing = write(&results, &analysis, &nothing);
    assert_eq!(nothing.files.cells_shown, 0);
    assert!(nothing.html.contains("No clips are shown."));
    assert_sound(&nothing.html);
}

#[test]
fn rows_are_spread_over_clips_and_each_clip_is_embedded_once() {
    let (_folder, results) = sample([3, 2, 1]);
    let analysis = analysis(&results);
    let shown = |max_cells_shown| {
        let options = ReportOptions {
            max_cells_shown,
            ..ReportOptions::default()
        };
        let html = write(&results, &analysis, &options).html;
        let rows = parsed(&html, |document| {
            let rows = document.descendants();
            let rows = rows.filter_map(|node| node.attribute("id"));
            let rows = rows.filter(|id| {
                id.strip_prefix("cell-")
                    .is_some_and(|rest| rest.matches('-').count() == 2 && !rest.contains('p'))
            });
            rows.map(str::to_owned).collect::<Vec<_>>()
        });
        (html, rows)
    };
    assert_eq!(shown(2).1, ["cell-0-0-0", "cell-1-0-0"]);
    let (html, rows) = shown(4);
    assert_eq!(
        rows,
        ["cell-0-0-0", "cell-1-0-0", "cell-2-0-0", "cell-0-1-0"]
    );
    // The first clip's reference is needed twice.
    assert_eq!(html.matches("data-like=").count(), 1);
    assert_eq!(html.matches("src=\"data:").count(), 3 * 6 + 5);
    assert_eq!(shown(0).1.len(), 0);
}

#[test]
fn what_is_missing_is_said() {
    let (folder, mut results) = sample([1, 1, 1]);
    results.cells[0].outcome = Outcome::Waiting;
    results.cells[1].outcome = Outcome::Running;
    results.cells[2].outcome = Outcome::Failed {
        error: "out of memory".into(),
    };
    let Outcome::Done(measured) = &mut results.cells[3].outcome else {
        panic!("the sample's cells are done");
    };
    measured.clip = None;
    let Outcome::Done(measured) = &mut results.cells[4].outcome else {
        panic!("the sample's cells are done");
    };
    measured.clip = Some("../outside.mp4".into());
    std::fs::remove_file(folder.path().join("clips/reference-0.mp4")).unwrap();
    let html = write(&results, &analysis(&results), &ReportOptions::default()).html;
    assert_sound(&html);
    for part in [
        "not generated yet",
        "being generated",
        "failed: out of memory",
        "clip not kept",
        "outside the study’s folder",
        "clip file is missing",
        "2 of 5 cells done, 1 failed, 1 running, 1 waiting",
        "1 cell failed and is left out of all numbers.",
        "This study is unfinished: 2 of 5 cells are still to come.",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn a_study_that_has_only_begun_has_a_page() {
    let (_folder, mut results) = sample([1, 1, 1]);
    for cell in &mut results.cells {
        cell.outcome = Outcome::Waiting;
    }
    for motion in &mut results.motions {
        motion.state = MotionState::Waiting;
    }
    let begun = analysis(&results);
    let written = write(&results, &begun, &ReportOptions::default());
    assert_sound(&written.html);
    assert!(written.html.contains("No values yet"));
    assert!(written.html.contains("No clip has been made yet."));
    assert!(written.files.plots.is_empty());

    results.cells.clear();
    results.motions.clear();
    results.references.clear();
    results.study.clips.clear();
    results.study.prompts.clear();
    results.study.seeds.clear();
    results.variants.truncate(1);
    let empty = Analysis {
        measures: Vec::new(),
        tables: Vec::new(),
        notes: Vec::new(),
        preference: None,
    };
    let html = write(&results, &empty, &ReportOptions::default()).html;
    assert_sound(&html);
    assert!(html.contains("This study has no cells"));
}

#[test]
fn many_variants_and_long_prompts_are_no_trouble() {
    let (_folder, mut results) = sample([1, 1, 1]);
    results.study.prompts[0] = "a red circle ".repeat(160);
    let last = results.variants.last().unwrap().clone();
    for index in 0..60 {
        let name = format!("{} again with a long name {index}", last.name);
        results.variants.push(RunVariant {
            name,
            ..last.clone()
        });
    }
    let written = write(&results, &analysis(&results), &ReportOptions::default());
    assert_sound(&written.html);
    let most = table_rows(&written.html).into_iter().max();
    assert!(most >= Some(62), "{most:?}");
    // They share one cell, hence one clip.
    assert_eq!(written.html.matches("<video").count(), 6);
    assert!(written.html.contains("and 57 more"));
    assert!(written.html.contains("53 more variants"));
}

#[test]
fn votes_fill_their_tables() {
    let (_folder, results) = sample([1, 1, 1]);
    let mut analysis = analysis(&results);
    analysis.preference = Some(preference(&results));
    let html = write(&results, &analysis, &ReportOptions::default()).html;
    assert_sound(&html);
    for part in [
        "100 of 120 votes count, from 5 raters.",
        "Which follows the reference&#39;s motion better?",
        "57 %",
        "α 0.42 over 20 pairs",
        "3 of 4 checks failed, 20 votes not counted",
    ] {
        assert!(html.contains(part), "{part}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (folder, results) = sample([1, 1, 1]);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = write_report(
        &results,
        &analysis(&results),
        Path::new(&file),
        &ReportOptions::default(),
    );
    let error = error.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert!(error.hint().is_some());
}
