//! `kinvert models`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kinvert::{ModelFiles, ModelSummary};
use kinvert_nets::published::MODELS_VARIABLE;
use serde::Serialize;

use super::{short, size_text};
use crate::args::ModelsArgs;
use crate::session::Session;

/// What `--json` prints of each model.
#[derive(Serialize)]
struct Entry {
    /// Absent for the built-in model.
    path: Option<String>,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
#[serde(untagged)]
enum State {
    Usable(Box<ModelSummary>),
    Unusable { error: String },
}

pub fn run(args: &ModelsArgs, session: &Session) -> anyhow::Result<()> {
    let mut folders = args.folders.clone();
    if let Some(parent) = std::env::var_os(MODELS_VARIABLE) {
        folders.extend(model_folders(Path::new(&parent))?);
    }
    let mut entries = vec![entry(None, &kinvert_sprites::model::model_files())];
    entries.extend(
        folders
            .iter()
            .map(|folder| entry(Some(folder), &ModelFiles::folder(folder))),
    );
    let lines = entries.iter().map(|Entry { path, state }| {
        let path = path.as_deref().unwrap_or("(built in)");
        match state {
            State::Usable(summary) => format!("{}  path      {path}\n", text(summary)),
            State::Unusable { error } => format!("{path}\n  unusable  {error}\n"),
        }
    });
    session.print(&lines.collect::<String>(), &entries)?;
    let unusable = entries
        .iter()
        .filter(|entry| matches!(entry.state, State::Unusable { .. }))
        .count();
    ensure!(
        unusable == 0,
        "{unusable} of {} models cannot be used",
        entries.len()
    );
    Ok(())
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
    let state = match ModelSummary::read(&files.clone().into()) {
        Ok(summary) => State::Usable(summary.into()),
        Err(error) => State::Unusable {
            error: format!("{:#}", anyhow::Error::from(error)),
        },
    };
    Entry {
        path: path.map(|path| path.display().to_string()),
        state,
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
