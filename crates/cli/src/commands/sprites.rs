//! `kinvert sprites render`.

use std::path::Path;

use anyhow::Context;
use kinvert::transfer::write_clip;
use kinvert::{Clip, Destination};
use kinvert_world::{FPS, Look, SIZE, Scene};
use serde::Serialize;

use crate::args::{RenderArgs, SpritesArgs, SpritesCommand};
use crate::errors::Usage;
use crate::session::Session;

/// File beside several clips that says what they show and how it moves.
const CAPTIONS_FILE: &str = "captions.jsonl";

/// A line of `captions.jsonl`, and what `--json` prints.
#[derive(Serialize)]
struct Caption {
    file: String,
    caption: String,
    seed: u64,
    fps: u32,
    size: [u32; 2],
    /// True centre of the sprite in every frame, in pixels from the upper left corner.
    centres_px: Vec<[f64; 2]>,
    scene: Scene,
}

pub fn run(args: &SpritesArgs, session: &Session) -> anyhow::Result<()> {
    let SpritesCommand::Render(args) = &args.command;
    match Destination::of(&args.output) {
        Destination::File(path) => {
            if args.count > 1 {
                let mistake = format!("{}: {} clips need a folder", path.display(), args.count);
                return Err(Usage(mistake).into());
            }
            let caption = render(args, args.seed, &path, &args.output.display().to_string())?;
            session.print(&format!("{}\n", caption.caption), &[caption])
        }
        Destination::Folder(folder) => {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
            let mut captions = Vec::new();
            let mut lines = Vec::new();
            for index in 0..args.count {
                let name = format!("clip-{:05}.mp4", index + 1);
                let caption = render(
                    args,
                    args.seed.wrapping_add(index),
                    &folder.join(&name),
                    &name,
                )?;
                serde_json::to_writer(&mut lines, &caption)?;
                lines.push(b'\n');
                captions.push(caption);
            }
            kinvert::atomic::write_file(&folder.join(CAPTIONS_FILE), &lines)?;
            let text = format!(
                "{}: {} clips, {CAPTIONS_FILE}\n",
                folder.display(),
                args.count
            );
            session.print(&text, &captions)
        }
    }
}

/// Renders one clip; `name` stands for its file in the caption.
fn render(args: &RenderArgs, seed: u64, path: &Path, name: &str) -> anyhow::Result<Caption> {
    let scene = match args.motion {
        Some(motion) => Scene::random_with_motion(motion, seed),
        None => Scene::random(seed),
    };
    let scene = scene.with_look(Look {
        shape: args.shape.unwrap_or(scene.look.shape),
        colour: args.colour.unwrap_or(scene.look.colour),
        background: args.background.unwrap_or(scene.look.background),
    });
    write_clip(&Clip::new(scene.render(), f64::from(FPS))?, path)?;
    Ok(Caption {
        file: name.into(),
        caption: scene.look.caption(),
        seed,
        fps: FPS,
        size: [SIZE; 2],
        centres_px: scene.centre_path(),
        scene,
    })
}
