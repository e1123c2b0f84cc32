//! `kinvert invert`.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kinvert::transfer::{InputRecord, PreparedClip, learn_motion, prepare_clip};
use kinvert::{MotionMetadata, Precision};
use serde::Serialize;

use super::size_text;
use crate::args::InvertArgs;
use crate::errors::resumable;
use crate::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    metadata: &'a MotionMetadata,
    input: InputRecord,
    device: String,
    dtype: Precision,
}

pub fn run(args: InvertArgs, session: &mut Session) -> anyhow::Result<()> {
    kinvert_video::probe(&args.reference.clip)?; // a mistyped name shows before a large model is loaded
    let output = args.output;
    ensure!(
        output.metadata().map_or(true, |found| found.is_file()),
        "{}: cannot be replaced by a motion file, for it is a folder or a device",
        output.display()
    );
    let model = session.model()?;
    let settings = args.inversion.over(&model.recommendations().inversion);
    let PreparedClip { clip, input } = prepare_clip(
        model.as_ref(),
        &args.reference.clip,
        &args.reference.options(),
        &mut session.progress,
    )?;
    let workspace = workspace_of(&output);
    let learned = learn_motion(
        model.as_ref(),
        &clip,
        &args.reference.caption,
        &settings,
        Some(&workspace),
        &mut session.progress,
    );
    let motion = resumable(learned, &workspace)?;
    motion.save(&output)?;
    std::fs::remove_dir_all(&workspace).with_context(|| {
        format!(
            "{}: cannot remove what is needed no more",
            workspace.display()
        )
    })?;

    let metadata = &motion.metadata;
    let text = format!(
        "{}: the motion of {} frames of {} at {} fps, {} sites, {} steps\n",
        output.display(),
        metadata.frames,
        size_text(metadata.size),
        metadata.fps,
        motion.sites.len(),
        metadata.losses.len()
    );
    session.print(
        &text,
        &Report {
            path: output.display().to_string(),
            metadata,
            input,
            device: session.device().to_string(),
            dtype: model.precision(),
        },
    )
}

/// `x.motion.work` beside `x.motion.safetensors`.
fn workspace_of(output: &Path) -> PathBuf {
    let stem = match output.extension() {
        Some(extension) if extension == "safetensors" => output.with_extension(""),
        _ => output.to_path_buf(),
    };
    let mut name = stem.into_os_string();
    name.push(".work");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_stands_beside_the_file() {
        assert_eq!(
            workspace_of(Path::new("a/x.motion.safetensors")),
            Path::new("a/x.motion.work")
        );
        assert_eq!(workspace_of(Path::new("x.bin")), Path::new("x.bin.work"));
    }
}
