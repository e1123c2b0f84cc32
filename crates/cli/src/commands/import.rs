//! `kinvert import`.

use kinvert::MotionMetadata;
use serde::Serialize;

use super::size_text;
use crate::args::ImportArgs;
use crate::session::Session;

/// The shape of clip that the method was published with, for models that follow the clip's.
const PUBLISHED_SIZE: [usize; 2] = [576, 320];

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    metadata: &'a MotionMetadata,
}

pub fn run(args: &ImportArgs, session: &Session) -> anyhow::Result<()> {
    let model = session.model()?;
    let size = args.size.map(|size| size.0);
    let size = size.unwrap_or_else(|| model.size_for(PUBLISHED_SIZE));
    let motion = model.import_published(&args.input, size, args.frames)?;
    motion.save(&args.output)?;
    let metadata = &motion.metadata;
    let text = format!(
        "{}: the motion of {} frames of {}, {} sites, for the model `{}`\n",
        args.output.display(),
        metadata.frames,
        size_text(metadata.size),
        motion.sites.len(),
        metadata.model.name
    );
    let path = args.output.display().to_string();
    session.print(&text, &Report { path, metadata })
}
