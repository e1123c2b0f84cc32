//! `kinvert study compile`: from a plan to a study.

use std::fmt::Write;
use std::path::Path;

use kinvert_study::source::ClipSource;
use kinvert_study::study::Clip;
use kinvert_study::{Document, Plan, Resolution, Study, explain, resolve};
use serde::Serialize;

use crate::args::study::{CompileArgs, ContentArgs};
use crate::errors::Usage;
use crate::session::Session;

pub fn run(args: &CompileArgs, session: &Session) -> anyhow::Result<()> {
    let Document::Plan { plan, name, bytes } = Document::read(&args.plan)? else {
        let mistake = format!("{}: a study, expected a plan", args.plan.display());
        return Err(Usage(mistake).into());
    };
    let (resolution, study) = compiled(&plan, &name, &bytes, &args.contents, session)?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => args.plan.with_extension("study.toml"),
    };
    study.write(&output)?;
    let mut text = explain(&plan, &resolution);
    let _ = writeln!(text, "written: {}", output.display()); // writing to a string cannot fail
    let compiled = Compiled {
        path: output.display().to_string(),
        variants: study
            .variants
            .iter()
            .map(|variant| variant.name.as_str())
            .collect(),
        unresolved: resolution
            .unresolved()
            .map(|(_, wish)| wish.to_string())
            .collect(),
    };
    session.print(&text, &compiled)
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Compiled<'a> {
    path: String,
    variants: Vec<&'a str>,
    unresolved: Vec<String>,
}

/// Compiles a plan to a study that runs on what the arguments say.
pub fn compiled(
    plan: &Plan,
    name: &str,
    bytes: &[u8],
    contents: &ContentArgs,
    session: &Session,
) -> anyhow::Result<(Resolution, Study)> {
    let resolution = resolve(plan);
    if contents.strict {
        resolution.strict()?;
    }
    let mut study = Study::compile(plan, &resolution, name, bytes);
    session.refuse_model_parts()?;
    // Arguments are relative to where the program was started, and a study's paths to its file.
    study.model = session.model_name()?;
    for name in &contents.clip {
        let source = ClipSource::parse(name, Path::new(""))?;
        study.clips.push(Clip {
            path: source.absolute().to_string(),
            caption: None,
        });
    }
    study.prompts.clone_from(&contents.prompt);
    if let Some(seeds) = &contents.seeds {
        let seed = |seed: &u64| {
            u32::try_from(*seed)
                .map_err(|_| Usage(format!("seed {seed}: expected at most {}", u32::MAX)))
        };
        study.seeds = seeds.0.iter().map(seed).collect::<Result<_, _>>()?;
    }
    if let Some(keep) = contents.keep {
        study.keep = keep.into();
    }
    study.fill_in();
    Ok((resolution, study))
}
