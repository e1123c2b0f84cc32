//! `kinvert models`.

mod inspect;
mod list;
mod pull;
mod verify;

use std::path::Path;

use kinvert::ModelFiles;
use kinvert_nets::ModelKind;

use crate::args::models::{ModelsArgs, ModelsCommand};
use crate::session::Session;

pub use list::text;

pub fn run(args: &ModelsArgs, session: &mut Session) -> anyhow::Result<()> {
    match &args.command {
        None => list::run(&args.list, session),
        Some(ModelsCommand::List(args)) => list::run(args, session),
        Some(ModelsCommand::Pull(args)) => pull::run(args, session),
        Some(ModelsCommand::Inspect(args)) => inspect::run(args, session),
        Some(ModelsCommand::Verify(args)) => verify::run(args, session),
    }
}

/// The files of a pipeline or a single network that is on this machine, by its folder or its name.
fn local(model: &Path) -> anyhow::Result<ModelFiles> {
    if model.is_dir() {
        return Ok(ModelFiles::folder(model));
    }
    let name = model.to_string_lossy();
    let pipeline = ModelFiles::find(&name, ModelKind::Pipeline);
    Ok(pipeline.or_else(|error| ModelFiles::find(&name, ModelKind::Network).map_err(|_| error))?)
}

/// A network's folder as messages name it.
fn part_name(part: &str) -> &str {
    match part {
        "" => "network",
        part => part,
    }
}

/// The files of a network in a model; all files for one that stands alone.
fn part_files(files: &ModelFiles, part: &str) -> ModelFiles {
    match part {
        "" => files.clone(),
        part => files.part(part),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
