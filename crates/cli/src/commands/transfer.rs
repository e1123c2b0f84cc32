//! `kinvert transfer`.

use std::path::{Path, PathBuf};

use kinvert::transfer::{REPORT_FILE, WORK_FOLDER};
use kinvert::{
    GenerationRequest, GenerationSettings, TransferReport, TransferRequest, run_transfer,
};

use crate::args::TransferArgs;
use crate::errors::resumable;
use crate::session::Session;

/// Folder in which clips without `--out` get one of their own.
const OUT_FOLDER: &str = "kinvert-out";

pub fn run(args: TransferArgs, session: &mut Session) -> anyhow::Result<()> {
    kinvert_video::probe(&args.reference.clip)?; // a mistyped name shows before a large model is loaded
    let out = args
        .out
        .unwrap_or_else(|| default_folder(&args.reference.clip));
    let mut model = session.model()?;
    if let Some(lora) = &args.generation.lora {
        model.load_lora(lora)?;
    }
    let recommended = model.recommendations();
    let generation = args.generation.over(&recommended.generation);
    let request = TransferRequest {
        clip: args.reference.options(),
        input: args.reference.clip,
        caption: args.reference.caption,
        inversion: args.inversion.over(&recommended.inversion),
        generation: GenerationRequest {
            prompts: args.prompt,
            seeds: args.seeds.unwrap_or_default().0,
            settings: GenerationSettings {
                steps: args.sampling_steps.unwrap_or(generation.steps),
                ..generation
            },
        },
        device: session.device(),
    };
    let result = run_transfer(model.as_ref(), &request, &out, &mut session.progress);
    let report = resumable(result, &out.join(WORK_FOLDER))?;
    session.print(&summary(&report, &out), &report)
}

/// `kinvert-out/<name of the clip without extension>`.
fn default_folder(clip: &Path) -> PathBuf {
    let name = clip.file_stem().unwrap_or("clip".as_ref());
    Path::new(OUT_FOLDER).join(name)
}

/// One line that says what is where.
fn summary(report: &TransferReport, out: &Path) -> String {
    let results = match report.results.len() {
        1 => "result.mp4 and .gif".into(),
        count => format!("result-1.mp4 to result-{count}.mp4 and .gif"),
    };
    let files = &report.files;
    format!(
        "{}: {results}, {} and .gif, {}, {}, {REPORT_FILE}\n",
        out.display(),
        files.side_by_side[0],
        files.contact_sheet,
        files.motion
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_after_the_clip() {
        assert_eq!(
            default_folder(Path::new("a/bounce.mp4")),
            Path::new("kinvert-out/bounce")
        );
        assert_eq!(
            default_folder(Path::new("frames/")),
            Path::new("kinvert-out/frames")
        );
        assert_eq!(
            default_folder(Path::new("..")),
            Path::new("kinvert-out/clip")
        );
    }
}
