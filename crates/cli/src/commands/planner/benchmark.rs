//! `kinvert planner benchmark`: plans for many papers.

use std::path::{Path, PathBuf};

use kinvert_planner::benchmark::{Manifest, PlanOptions, run as make_plans};
use serde::Serialize;

use super::models::{self, TEMPLATE};
use super::told_failures;
use crate::args::planner::BenchmarkArgs;
use crate::errors::resumable;
use crate::session::Session;

/// What is printed as JSON.
#[derive(Serialize)]
struct Made<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    summary: &'a kinvert_planner::benchmark::PlanSummary,
}

pub fn run(args: &BenchmarkArgs, session: &mut Session) -> anyhow::Result<()> {
    let manifest = Manifest::read(&args.manifest, args.papers.as_deref())?;
    let name = models::name(&args.planning)?;
    let model = match name {
        TEMPLATE => None,
        name => Some(models::chat_model(name, &args.planning.endpoint)?),
    };
    let planner = models::planner(&args.planning, model.as_deref())?;
    let options = PlanOptions {
        mode: args.planning.mode.into(),
        count: args.planning.count,
        parallel: args.parallel,
    };
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => default_folder(&args.manifest),
    };
    let summary = make_plans(
        &manifest,
        planner.as_ref(),
        &options,
        &folder,
        &mut session.progress,
    );
    let summary = resumable(summary, &folder)?;
    let mut text = format!(
        "{}: {} of {} papers have plans, {} of them made now\n",
        folder.display(),
        summary.made + summary.kept,
        summary.papers,
        summary.made
    );
    if summary.usage.answers + summary.usage.from_cache > 0 {
        text += &format!("{}\n", summary.usage);
    }
    let made = Made {
        folder: &folder,
        summary: &summary,
    };
    session.print(&text, &made)?;
    let failed = summary.failed.iter();
    told_failures(
        failed.map(|failure| format!("{}: {}", failure.id, failure.error)),
        summary.papers,
        "papers",
    )
}

fn default_folder(manifest: &Path) -> PathBuf {
    let stem = manifest.file_stem().unwrap_or_default().to_string_lossy();
    Path::new("kinvert-out").join(format!("{stem}-plans"))
}
