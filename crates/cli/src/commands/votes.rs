//! `kinvert votes`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kinvert_metrics::Record;
use kinvert_metrics::statistics::{Bootstrap, Interval};
use kinvert_metrics::votes::{
    Ballots, Estimate, Faults, Import, OnFault, QuestionReport, Report, ReportOptions, Survey,
};
use serde::Serialize;

use crate::args::votes::{ImportVotesArgs, ReportVotesArgs, VoteFiles, VotesArgs, VotesCommand};
use crate::session::Session;

/// What `kinvert votes import --json` prints.
#[derive(Serialize)]
struct ImportReport<'a> {
    files: Vec<String>,
    votes: usize,
    raters: usize,
    skipped: &'a Faults,
    warnings: &'a [String],
}

/// What `kinvert votes report --json` prints.
#[derive(Serialize)]
struct FullReport<'a> {
    #[serde(flatten)]
    report: &'a Report,
    skipped: &'a Faults,
    records: BTreeMap<String, Vec<Record>>,
}

pub fn run(args: &VotesArgs, session: &Session) -> anyhow::Result<()> {
    match &args.command {
        VotesCommand::Import(args) => import(args, session),
        VotesCommand::Report(args) => report(args, session),
    }
}

fn import(args: &ImportVotesArgs, session: &Session) -> anyhow::Result<()> {
    let (survey, mut warnings) = Survey::read(&args.votes.pairs)?;
    let imported = read(&args.votes, &survey)?;
    warnings.extend(imported.warnings);
    let ballots = imported.ballots;

    let files = match args.output.extension() {
        Some(_) if !args.output.is_dir() => vec![args.output.clone()],
        _ => into_folder(&args.output, &survey)?,
    };
    // The votes come last, so that no votes are left without their pairs if a write fails.
    if let Some(path) = files.last() {
        ballots.write(path)?;
    }
    let raters: BTreeSet<&str> = ballots.votes().iter().map(|v| v.rater.as_str()).collect();
    let files: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let (votes, raters) = (ballots.votes().len(), raters.len());
    let mut text = format!("{}: {votes} votes of {raters} raters\n", files.join(", "));
    text += &remarks(&imported.skipped, &warnings);
    let report = ImportReport {
        files,
        votes,
        raters,
        skipped: &imported.skipped,
        warnings: &warnings,
    };
    session.print(&text, &report)
}

/// Writes the pairs to a folder, and names the files in it: pairs, then votes.
fn into_folder(folder: &Path, survey: &Survey) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
    let pairs = folder.join("pairs.jsonl");
    survey.write(&pairs)?;
    Ok(vec![pairs, folder.join("votes.jsonl")])
}

fn report(args: &ReportVotesArgs, session: &Session) -> anyhow::Result<()> {
    let options = ReportOptions {
        baseline: args.baseline.clone(),
        max_failed_checks: args.max_failed_checks,
        bootstrap: Bootstrap::new(args.resamples, args.seed)?,
    };
    let (survey, warnings) = Survey::read(&args.votes.pairs)?;
    let imported = read(&args.votes, &survey)?;
    let mut report = Report::new(&imported.ballots, &options)?;
    report.warnings.extend(warnings);
    report.warnings.extend(imported.warnings);
    let skipped = &imported.skipped;
    if skipped.count() > 0 {
        let count = skipped.count();
        report
            .warnings
            .push(format!("{count} faulty rows were left out"));
    }
    let full = FullReport {
        records: report.records(),
        report: &report,
        skipped,
    };
    session.print(&report_text(&report, skipped), &full)
}

fn read<'s>(files: &VoteFiles, survey: &'s Survey) -> anyhow::Result<Import<'s>> {
    let on_fault = match files.skip_faulty {
        true => OnFault::Skip,
        false => OnFault::Refuse,
    };
    Ok(Ballots::read(survey, &files.files, on_fault)?)
}

fn report_text(report: &Report, skipped: &Faults) -> String {
    let mut text = format!(
        "votes     {} count, of {} on comparisons and checks, {} of {} pairs\n",
        report.votes.counted, report.votes.total, report.pairs_with_votes, report.pairs
    );
    let raters = &report.raters;
    text += &format!("raters    {} count", raters.kept);
    match raters.left_out.len() {
        0 => text += ", nobody is left out\n",
        count => text += &format!(", {count} left out for failed attention checks:\n"),
    }
    for left_out in &raters.left_out {
        text += &format!(
            "            {} failed {} of {} checks ({} votes)\n",
            left_out.rater, left_out.failed, left_out.checks, left_out.votes
        );
    }
    if let Some(seconds) = report.median_seconds {
        text += &format!("time      median {seconds:.1} s a pair\n");
    }
    let bootstrap = report.bootstrap;
    text += &format!(
        "intervals 95 %, over raters, {} resamples, seed {}\n",
        bootstrap.resamples(),
        bootstrap.seed()
    );
    let relative_to = match &report.baseline {
        Some(baseline) => format!("odds against {baseline}"),
        None => "odds against average".into(),
    };
    for question in &report.questions {
        text.push('\n');
        text += &question_text(question, &relative_to);
    }
    let remarks = remarks(skipped, &report.warnings);
    if !remarks.is_empty() {
        text += &format!("\n{remarks}");
    }
    text
}

fn question_text(question: &QuestionReport, relative_to: &str) -> String {
    let mut text = format!("{}: {}\n", question.question, question.question.wording());
    let counts = |wins, ties, losses| format!("{wins}-{ties}-{losses}");
    let mut rows = vec![
        [
            "variant",
            "win rate",
            "95 %",
            "wins-ties-losses",
            relative_to,
            "95 %",
        ]
        .map(String::from),
    ];
    rows.extend(question.variants.iter().map(|result| {
        let [rate, rate_interval] =
            cells(result.win_rate, |share| format!("{:.1} %", 100.0 * share));
        let [strength, strength_interval] = cells(result.strength, |odds| format!("{odds:.2}"));
        let counts = counts(result.wins, result.ties, result.losses);
        [
            result.variant.clone(),
            rate,
            rate_interval,
            counts,
            strength,
            strength_interval,
        ]
    }));
    text += &table(&rows);
    let mut rows = vec![["pair", "win rate", "95 %", "wins-ties-losses"].map(String::from)];
    rows.extend(question.head_to_head.iter().map(|result| {
        let [rate, interval] = cells(result.win_rate, |share| format!("{:.1} %", 100.0 * share));
        let name = format!("{} against {}", result.variant, result.against);
        [
            name,
            rate,
            interval,
            counts(result.wins, result.ties, result.losses),
        ]
    }));
    if rows.len() > 1 {
        text += &table(&rows);
    }
    let agreement = question.agreement;
    text += &match agreement.observed {
        Some(observed) => format!(
            "  agreement: alpha {} (ordinal), {} (nominal), {:.1} % of answers equal, over {} pairs\n",
            number(agreement.alpha_ordinal),
            number(agreement.alpha_nominal),
            100.0 * observed,
            agreement.pairs
        ),
        None => "  agreement: no pair has two votes\n".into(),
    };
    let answers = question.answers;
    text += &format!(
        "  clicked: left {}, right {}, equal {}\n",
        answers.left, answers.right, answers.equal
    );
    for warning in &question.warnings {
        text += &format!("  warning: {warning}\n");
    }
    text
}

/// A number and its interval, `-` for what is not defined.
fn cells(estimate: Estimate, show: impl Fn(f64) -> String) -> [String; 2] {
    let interval = |ends: Interval| format!("{}..{}", show(ends.low), show(ends.high));
    let undefined = || "-".to_string();
    [
        estimate.value.map_or_else(undefined, &show),
        estimate.interval.map_or_else(undefined, interval),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

/// Rows of which the first is the heading: the first column to the left, the others to the right.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}"); // writing to a string cannot fail
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// What was left out and what is doubtful, a line each.
fn remarks(skipped: &Faults, warnings: &[String]) -> String {
    let mut text = String::new();
    if skipped.count() > 0 {
        text += &format!("left out: {} faulty rows{skipped}\n", skipped.count());
    }
    for warning in warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}
