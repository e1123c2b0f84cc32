//! `kinvert study run`: a study is run, or what is left of it.

use std::path::{Path, PathBuf};

use kinvert_study::results::{Outcome, Results};
use kinvert_study::runner::{self, RunOptions, default_jobs};
use kinvert_study::{Document, Error, ReportOptions, StudyFolder, explain};

use super::compile::compiled;
use super::report;
use crate::args::study::RunArgs;
use crate::errors::{PartlyFailed, Usage, resumable};
use crate::networks;
use crate::session::Session;

/// Folder in which studies without `--out` get one of their own.
const OUT_FOLDER: &str = "kinvert-out";

/// Most failed cells that are told at the end; all of them stand in the report.
const TOLD_CELLS: usize = 5;

pub fn run(args: &RunArgs, session: &mut Session) -> anyhow::Result<()> {
    let folder = begun(args, session)?;
    networks::fetch(&args.networks, session)?;
    let device = session.device();
    let evaluator = || {
        networks::evaluator(&args.networks, device).map_err(|error| Error::Unrunnable {
            name: "the networks of the measures".into(),
            reason: format!("{error:#}"),
        })
    };
    let options = RunOptions {
        device,
        load: session.load_options()?,
        jobs: args.jobs.unwrap_or_else(|| default_jobs(device)),
        evaluator: &evaluator,
    };
    let summary = runner::run(&folder, &options, &mut session.progress);
    let summary = resumable(summary, folder.path())?;
    let results = folder.results()?;
    let files = report::write(&results, None, ReportOptions::default())?;
    let text = format!(
        "{}: {} of {} cells done, {} of them now, in {:.0} s\nreport: {}\n",
        folder.path().display(),
        summary.cells.done,
        summary.cells.all,
        summary.done_here,
        summary.wall_s,
        files.page.display(),
    );
    session.print(&text, &summary)?;
    tell_failures(&results)
}

/// The folder of the study that is to be run.
fn begun(args: &RunArgs, session: &Session) -> anyhow::Result<StudyFolder> {
    let path = &args.study;
    let refuse = |what: &str| {
        let mistake = format!("{}: {what}", path.display());
        anyhow::Error::from(Usage(mistake))
    };
    if path.is_dir() {
        if args.out.is_some() || !args.contents.is_empty() || session.has_model_argument() {
            return Err(refuse(
                "a study that was begun has its own folder, model and contents; change its study.toml",
            ));
        }
        return Ok(StudyFolder::open(path)?);
    }
    let study = match Document::read(path)? {
        Document::Study(_) if !args.contents.is_empty() => {
            return Err(refuse(
                "a study says itself what it runs on; change the file",
            ));
        }
        Document::Study(mut study) => {
            study.fill_in();
            session.refuse_model_parts()?;
            if let Some(model) = session.model_name()? {
                study.model = Some(model);
            }
            study
        }
        Document::Plan { plan, name, bytes } => {
            let (resolution, study) = compiled(&plan, &name, &bytes, &args.contents, session)?;
            session.tell(&explain(&plan, &resolution));
            study
        }
    };
    let out = args.out.clone().unwrap_or_else(|| default_folder(path));
    let origin = path.parent().unwrap_or(Path::new(""));
    Ok(StudyFolder::create(&out, &study, origin)?)
}

/// `kinvert-out/<name of the plan or study>`.
fn default_folder(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .unwrap_or("study".as_ref())
        .to_string_lossy();
    let stem = name.split('.').next().filter(|stem| !stem.is_empty());
    Path::new(OUT_FOLDER).join(stem.unwrap_or("study"))
}

/// Fails if cells did, with the first reasons.
fn tell_failures(results: &Results) -> anyhow::Result<()> {
    let name = |hash: &str| {
        let variant = results.variants.iter().find(|variant| variant.hash == hash);
        variant.map_or("", |variant| variant.name.as_str())
    };
    let failed: Vec<String> = results
        .cells
        .iter()
        .filter_map(|cell| match &cell.outcome {
            Outcome::Failed { error } => Some(format!(
                "{} on {}, `{}`, seed {}: {error}",
                name(&cell.id.variant_hash),
                results.references[cell.id.reference].path,
                results.study.prompts[cell.id.prompt],
                cell.id.seed,
            )),
            _ => None,
        })
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(PartlyFailed {
        failed: failed.len(),
        of: results.cells.len(),
        what: "cells",
        reasons: failed.into_iter().take(TOLD_CELLS).collect(),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_after_the_plan() {
        for (path, folder) in [
            ("plans/ablations.md", "kinvert-out/ablations"),
            ("plan.study.toml", "kinvert-out/plan"),
            (".toml", "kinvert-out/study"),
        ] {
            assert_eq!(default_folder(Path::new(path)), Path::new(folder));
        }
    }
}
