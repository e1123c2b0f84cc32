//! `kinvert study status`, `list` and `rerun`: what was done, and what is to be done again.

use std::fmt::Write;

use kinvert_study::StudyFolder;
use kinvert_study::results::{Counts, Difference, MotionState, Outcome, Results, RunVariant};
use kinvert_study::store::Again;
use serde::Serialize;

use crate::args::study::{FolderArgs, RerunArgs};
use crate::errors::Usage;
use crate::session::Session;

/// Most errors that `status` tells.
const TOLD_ERRORS: usize = 5;

/// What `status` prints as JSON.
#[derive(Serialize)]
struct Status<'a> {
    cells: Counts,
    motions: Counts,
    variants: Vec<VariantStatus<'a>>,
    errors: Vec<&'a str>,
    /// Whether study.toml says something else than what was run last.
    is_changed: bool,
}

#[derive(Serialize)]
struct VariantStatus<'a> {
    name: &'a str,
    cells: Counts,
}

pub fn status(args: &FolderArgs, session: &Session) -> anyhow::Result<()> {
    let folder = StudyFolder::open(&args.folder)?;
    let results = folder.results()?;
    let variants = results.variants.iter().map(|variant| VariantStatus {
        name: &variant.name,
        cells: results.counts_of(variant),
    });
    let mut errors: Vec<&str> = Vec::new();
    for cell in &results.cells {
        if let Outcome::Failed { error } = &cell.outcome
            && !errors.contains(&error.as_str())
        {
            errors.push(error);
        }
    }
    let status = Status {
        cells: results.counts(),
        motions: motion_counts(&results),
        variants: variants.collect(),
        errors,
        is_changed: folder.study()?.hash() != results.study.hash(),
    };
    session.print(&status_text(&status), &status)
}

fn status_text(status: &Status<'_>) -> String {
    let mut text = format!(
        "cells: {}\nmotions: {}\n",
        counts_text(status.cells),
        counts_text(status.motions)
    );
    let width = status
        .variants
        .iter()
        .map(|variant| variant.name.chars().count())
        .max();
    for variant in &status.variants {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:<width$}  {}",
            variant.name,
            counts_text(variant.cells),
            width = width.unwrap_or(0)
        );
    }
    for error in status.errors.iter().take(TOLD_ERRORS) {
        let _ = writeln!(text, "failed: {error}");
    }
    if status.is_changed {
        text +=
            "study.toml was changed since it was run last: run the folder to bring it up to date\n";
    }
    text
}

fn counts_text(counts: Counts) -> String {
    let mut text = format!("{} of {} done", counts.done, counts.all);
    for (number, what) in [(counts.running, "running"), (counts.failed, "failed")] {
        if number > 0 {
            let _ = write!(text, ", {number} {what}");
        }
    }
    text
}

fn motion_counts(results: &Results) -> Counts {
    let mut counts = Counts::default();
    for motion in &results.motions {
        counts.all += 1;
        match motion.state {
            MotionState::Waiting => {}
            MotionState::Running => counts.running += 1,
            MotionState::Done { .. } => counts.done += 1,
            MotionState::Failed { .. } => counts.failed += 1,
        }
    }
    counts
}

pub fn list(args: &FolderArgs, session: &Session) -> anyhow::Result<()> {
    let results = StudyFolder::open(&args.folder)?.results()?;
    let mut text = String::new();
    for variant in &results.variants {
        let _ = writeln!(text, "{}", variant.name);
        if let Some(ablation) = &variant.ablation {
            let _ = writeln!(text, "  asked for by: {ablation}");
        }
        for Difference {
            field,
            baseline,
            variant,
        } in &variant.differences
        {
            let _ = writeln!(text, "  {field}: {variant} (the method: {baseline})");
        }
        let same = |other: &&RunVariant| other.hash == variant.hash && other.name != variant.name;
        for other in results.variants.iter().filter(same) {
            let _ = writeln!(text, "  the same settings as {}", other.name);
        }
    }
    let _ = writeln!(
        text,
        "{} variants, {} clips, {} prompts, {} seeds: {} cells",
        results.variants.len(),
        results.references.len(),
        results.study.prompts.len(),
        results.study.seeds.len(),
        results.cells.len()
    );
    session.print(&text, &results.variants)
}

/// What `rerun` prints as JSON.
#[derive(Serialize)]
struct Marked {
    cells: usize,
}

pub fn rerun(args: &RerunArgs, session: &Session) -> anyhow::Result<()> {
    let folder = StudyFolder::open(&args.folder)?;
    let results = folder.results()?;
    let mut hashes = Vec::new();
    for name in &args.variant {
        let Some(variant) = results
            .variants
            .iter()
            .find(|variant| variant.name == *name)
        else {
            let names: Vec<&str> = results
                .variants
                .iter()
                .map(|variant| variant.name.as_str())
                .collect();
            let mistake = format!(
                "no variant is named `{name}`, expected one of: {}",
                names.join("; ")
            );
            return Err(Usage(mistake).into());
        };
        hashes.push(variant.hash.as_str());
    }
    let mut store = folder.store()?;
    let mut cells = 0;
    for hash in hashes {
        cells += store.again(Again::Variant(hash))?;
    }
    if args.failed {
        cells += store.again(Again::Failed)?;
    }
    let text = format!(
        "{cells} cells will be run again by `kinvert study run {}`\n",
        args.folder.display()
    );
    session.print(&text, &Marked { cells })
}
