//! `kinvert study report`: a page, tables and plots.

use std::path::{Path, PathBuf};

use anyhow::Context;
use kinvert_study::results::Results;
use kinvert_study::{ReportFiles, ReportOptions, StudyFolder, write_report};
use serde::Serialize;

use super::export::analysis;
use crate::args::study::ReportArgs;
use crate::session::Session;

/// Where a report lies without `--out`, in the study's folder.
const REPORT_FOLDER: &str = "report";

/// What is printed as JSON.
#[derive(Serialize)]
struct Written<'a> {
    page: &'a Path,
    tables: &'a [PathBuf],
    plots: &'a [PathBuf],
    gifs: &'a [PathBuf],
    cells_shown: usize,
}

pub fn run(args: &ReportArgs, session: &Session) -> anyhow::Result<()> {
    let results = StudyFolder::open(&args.folder)?.results()?;
    let options = ReportOptions {
        max_cells_shown: args.clips,
        gifs: args.gifs,
        ..ReportOptions::default()
    };
    let files = write(&results, args.out.as_deref(), options)?;
    let written = Written {
        page: &files.page,
        tables: &files.tables,
        plots: &files.plots,
        gifs: &files.gifs,
        cells_shown: files.cells_shown,
    };
    session.print(&format!("{}\n", files.page.display()), &written)?;
    if args.open {
        open::that_detached(&files.page)
            .with_context(|| format!("{}: no browser could be started", files.page.display()))?;
    }
    Ok(())
}

/// Writes the report of a study, with the votes that lie in its folder.
pub fn write(
    results: &Results,
    out: Option<&Path>,
    options: ReportOptions,
) -> anyhow::Result<ReportFiles> {
    let folder = match out {
        Some(folder) => folder.to_owned(),
        None => results.folder.join(REPORT_FOLDER),
    };
    let options = ReportOptions {
        commands: commands(results),
        ..options
    };
    Ok(write_report(
        results,
        &analysis(results)?,
        &folder,
        &options,
    )?)
}

/// What does the study again, as people type it.
fn commands(results: &Results) -> Vec<String> {
    let mut commands = Vec::new();
    if let Some(provenance) = &results.study.provenance {
        let plan = &provenance.plan;
        commands.push(format!(
            "kinvert study compile {} -o study.toml",
            quoted(plan)
        ));
    }
    commands.push("kinvert study run study.toml --out study".into());
    commands.push("kinvert study report study --open".into());
    commands
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) && !word.starts_with('-') {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        for (word, expected) in [
            ("plan.md", "plan.md"),
            ("my plan.md", "'my plan.md'"),
            ("it's; rm", r"'it'\''s; rm'"),
            ("-v", "'-v'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
