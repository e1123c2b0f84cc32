//! `kinvert models pull`.

use kinvert_hub::{Hub, ModelName};

use super::megabytes;
use crate::args::models::PullArgs;
use crate::commands::short;
use crate::session::Session;

pub fn run(args: &PullArgs, session: &mut Session) -> anyhow::Result<()> {
    let mut name: ModelName = args.name.parse()?;
    if let Some(revision) = &args.revision {
        name = name.with_revision(revision)?;
    }
    let variant = args.variant.as_deref();
    let pulled = Hub::from_environment()?.pull(&name, variant, &mut session.progress)?;
    let text = format!(
        "{name}: {} files, {}, of which {} were fetched, at commit {}\n{}\n",
        pulled.files,
        megabytes(pulled.bytes),
        megabytes(pulled.fetched_bytes),
        short(&pulled.commit),
        pulled.path.display()
    );
    session.print(&text, &pulled)
}
