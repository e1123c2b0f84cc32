//! `kinvert models list`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kinvert::{ModelFiles, ModelSummary};
use kinvert_hub::CachedModel;
use kinvert_nets::published::{MODELS_VARIABLE, hub_cache, models_folder};
use serde::Serialize;

use super::megabytes;
use crate::args::models::ListArgs;
use crate::commands::{short, size_text};
use crate::session::Session;

/// What `--json` prints of each model. The path is absent for the built-in one.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Usable {
        path: Option<String>,
        #[serde(flatten)]
        summary: Box<ModelSummary>,
    },
    Unusable {
        path: Option<String>,
        error: String,
    },
    Cached(CachedModel),
}

pub fn run(args: &ListArgs, session: &Session) -> anyhow::Result<()> {
    let mut folders = args.folders.clone();
    if let Some(parent) = models_folder() {
        folders.extend(model_folders(&parent)?);
    }
    let mut entries = vec![entry(None, &kinvert_world::model::model_files())];
    entries.extend(
        folders
            .iter()
            .map(|folder| entry(Some(folder), &ModelFiles::folder(folder))),
    );
    if let Some(cache) = hub_cache() {
        entries.extend(kinvert_hub::list(&cache)?.into_iter().map(Entry::Cached));
    }
    session.print(&entries.iter().map(line).collect::<String>(), &entries)?;
    let unusable = entries
        .iter()
        .filter(|entry| matches!(entry, Entry::Unusable { .. }))
        .count();
    ensure!(
        unusable == 0,
        "{unusable} of {} models cannot be used",
        entries.len()
    );
    Ok(())
}

/// A few lines.
fn line(entry: &Entry) -> String {
    let path_text = |path: &Option<String>| path.clone().unwrap_or("(built in)".into());
    match entry {
        Entry::Usable { path, summary } => {
            format!("{}  path      {}\n", text(summary), path_text(path))
        }
        Entry::Unusable { path, error } => {
            format!("{}\n  unusable  {error}\n", path_text(path))
        }
        Entry::Cached(model) => {
            let revisions = match model.revisions.join(", ") {
                none if none.is_empty() => "(none)".into(),
                revisions => revisions,
            };
            let state = match model.missing.join(", ") {
                none if none.is_empty() => "complete".into(),
                missing => format!("incomplete: {missing} missing"),
            };
            format!(
                "{}\n  revision  {revisions} ({})\n  size      {}\n  files     {state}\n  path      {}\n",
                model.name,
                short(&model.commit),
                megabytes(model.bytes),
                model.path.display()
            )
        }
    }
}

/// Folders that hold a model, in the order of their names.
fn model_folders(parent: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(parent)?.map(|entry| Ok(entry?.path()));
        entries.collect()
    };
    let mut folders = read().with_context(|| {
        format!(
            "{}: cannot list the models ({MODELS_VARIABLE})",
            parent.display()
        )
    })?;
    folders.retain(|folder| folder.join("model_index.json").is_file());
    folders.sort();
    Ok(folders)
}

fn entry(path: Option<&PathBuf>, files: &ModelFiles) -> Entry {
    let path = path.map(|path| path.display().to_string());
    match ModelSummary::read(&files.clone().into()) {
        Ok(summary) => Entry::Usable {
            path,
            summary: summary.into(),
        },
        Err(error) => Entry::Unusable {
            path,
            error: format!("{:#}", anyhow::Error::from(error)),
        },
    }
}

/// What a model is and can do, in a few lines.
pub fn text(summary: &ModelSummary) -> String {
    let size = summary
        .size
        .map_or("any size".into(), |size| format!("of {}", size_text(size)));
    format!(
        "{}\n  clips     {} frames {size} at {} fps\n  predicts  {}, {} timesteps\n  sites     {}\n  hash      {}\n",
        summary.id.name,
        summary.frames,
        summary.fps,
        match summary.prediction_type {
            kinvert_diffusion::PredictionType::Epsilon => "noise",
            kinvert_diffusion::PredictionType::VPrediction => "velocity",
        },
        summary.train_timesteps,
        summary.sites.len(),
        short(&summary.id.sha256)
    )
}
