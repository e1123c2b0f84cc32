//! `kinvert generate`.

use anyhow::Context;
use kinvert::transfer::run_generation;
use kinvert::{Destination, GenerationRequest, GenerationSettings, Motion, MotionModel, Progress};

use crate::args::GenerateArgs;
use crate::session::Session;

pub fn run(args: GenerateArgs, session: &mut Session) -> anyhow::Result<()> {
    let motion = args.motion.as_deref().map(Motion::load).transpose()?;
    let mut model = session.model()?;
    if let Some(lora) = &args.generation.lora {
        model.load_lora(lora)?;
    }
    match &motion {
        Some(motion) => check_origin(model.as_ref(), motion, args.force, session)?,
        None => session
            .progress
            .note("there is no --motion: the plain model lets things move freely"),
    }
    let settings = args.generation.over(&model.recommendations().generation);
    let request = GenerationRequest {
        prompts: args.prompt,
        seeds: args.seeds.unwrap_or_default().0,
        settings: GenerationSettings {
            integration: args.integration.or(settings.integration),
            steps: args.steps.unwrap_or(settings.steps),
            frames: args.frames.or(settings.frames),
            size: args.size.map(|size| size.0).or(settings.size),
            ..settings
        },
    };
    let destination = Destination::of(&args.output);
    if let Destination::File(file) = &destination
        && let Some(folder) = file.parent()
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot make the folder", folder.display()))?;
    }
    let report = run_generation(
        model.as_ref(),
        motion.as_ref(),
        &request,
        &destination,
        session.device(),
        &mut session.progress,
    )?;
    let lines = report.results.iter().map(|result| {
        format!(
            "{}: seed {}, {}\n",
            result.files.join(", "),
            result.seed,
            result.prompt.escape_debug()
        )
    });
    session.print(&lines.collect::<String>(), &report)
}

fn check_origin(
    model: &dyn MotionModel,
    motion: &Motion,
    force: bool,
    session: &mut Session,
) -> anyhow::Result<()> {
    match model.check_origin(motion) {
        Err(error) if force => {
            session
                .progress
                .note(&format!("{error}; it is tried all the same"));
            Ok(())
        }
        result => Ok(result?),
    }
}
