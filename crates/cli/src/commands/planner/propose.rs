//! `kinvert planner propose`: a plan for one paper.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kinvert_base::{Progress, write_file};
use kinvert_planner::language_model::Asked;
use kinvert_planner::page::page;
use kinvert_planner::{Existing, Mode, Paper, Proposal, Usage};
use kinvert_study::{Resolution, resolve};
use serde::Serialize;
use serde_json::value::RawValue;

use super::models::{self, TEMPLATE};
use crate::args::planner::ProposeArgs;
use crate::errors::Usage as Misused;
use crate::session::Session;
use crate::spinner::Spinner;

/// Ends of the names of papers that are no part of the names of their plans.
const ENDS: [&str; 10] = [
    ".tar.gz",
    ".tgz",
    ".tar",
    ".gz",
    ".zip",
    ".tex",
    ".md",
    ".markdown",
    ".txt",
    ".pdf",
];

/// What is printed as JSON.
#[derive(Serialize)]
struct Proposed<'a> {
    planner: &'a str,
    mode: Mode,
    plan: Vec<Box<RawValue>>,
    discussion: &'a Option<String>,
    existing: &'a [Existing],
    notes: &'a [String],
    variants: Vec<&'a str>,
    unresolved: Vec<String>,
    usage: Usage,
    output: &'a Path,
    report: &'a Path,
}

pub fn run(args: &ProposeArgs, session: &mut Session) -> anyhow::Result<()> {
    let mode = Mode::from(args.planning.mode);
    let paper = Paper::read(&args.paper)?;
    let name = models::name(&args.planning)?;
    if args.dry_run {
        if name == TEMPLATE {
            let mistake = "--dry-run: the template asks nobody; name a model with --model";
            return Err(Misused(mistake.into()).into());
        }
        let asked = models::options(&args.planning)?.ask(&paper, mode, args.planning.count)?;
        tell(session, &asked.notes);
        return session.print(&shown(&asked), &asked);
    }
    let model = match name {
        TEMPLATE => None,
        name => Some(models::chat_model(name, &args.planning.endpoint)?),
    };
    let planner = models::planner(&args.planning, model.as_deref())?;
    let spinner = Spinner::new(session.is_quiet(), &format!("asking {name}"));
    let proposal = planner.propose(&paper, mode, args.planning.count, &spinner);
    drop(spinner);
    let proposal = proposal?;
    tell(session, &proposal.notes);

    let output = args.output.clone().unwrap_or_else(|| beside(&args.paper));
    let report = match &args.report {
        Some(report) => report.clone(),
        None => output.with_extension("md"),
    };
    if report == output {
        let mistake = format!("{}: the plan and its page have one name", output.display());
        return Err(Misused(mistake).into());
    }
    write(&output, &proposal.plan.to_json_lines())?;
    write(&report, &page(&proposal, planner.name(), mode))?;

    let resolution = resolve(&proposal.plan);
    let text = told(&proposal, &resolution, [&output, &report]);
    let ablations = proposal.plan.ablations.iter();
    let proposed = Proposed {
        planner: planner.name(),
        mode,
        plan: ablations
            .map(|ablation| RawValue::from_string(ablation.to_json()))
            .collect::<Result<_, _>>()?,
        discussion: &proposal.plan.discussion,
        existing: &proposal.existing,
        notes: &proposal.notes,
        variants: variants(&resolution).collect(),
        unresolved: resolution
            .unresolved()
            .map(|(_, wish)| wish.to_string())
            .collect(),
        usage: proposal.usage,
        output: &output,
        report: &report,
    };
    session.print(&text, &proposed)
}

fn tell(session: &mut Session, notes: &[String]) {
    for note in notes {
        session.progress.note(note);
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    write_file(path, text.as_bytes()).with_context(|| format!("{}: writing failed", path.display()))
}

/// The plan's name in the working folder: that of the paper without its end.
fn beside(paper: &Path) -> PathBuf {
    let absolute = std::path::absolute(paper).unwrap_or_else(|_| paper.to_owned());
    let name = absolute.file_name().unwrap_or_default().to_string_lossy();
    let end = ENDS.iter().find(|end| name.to_lowercase().ends_with(*end));
    let stem = end.map_or(&*name, |end| &name[..name.len() - end.len()]);
    let stem = if stem.is_empty() { "paper" } else { stem };
    PathBuf::from(format!("{stem}.plan.jsonl"))
}

/// What would be asked, and how long it is.
fn shown(asked: &Asked) -> String {
    let mut text = format!("# system\n\n{}\n", asked.request.system);
    for turn in &asked.request.turns {
        let _ = write!(text, "\n# user\n\n{}\n", turn.text); // writing to a string cannot fail
    }
    let _ = writeln!(text, "\n# at most about {} tokens", asked.tokens);
    text
}

fn variants(resolution: &Resolution) -> impl Iterator<Item = &str> {
    let ablations = resolution.ablations.iter();
    let variants = ablations.flat_map(|ablation| ablation.variants());
    variants.map(|variant| variant.name.as_str())
}

/// The plan for a terminal, with what could be run of it.
fn told(proposal: &Proposal, resolution: &Resolution, [output, report]: [&Path; 2]) -> String {
    let mut text = String::new();
    let ablations = proposal.plan.ablations.iter().zip(&resolution.ablations);
    for (index, (ablation, resolved)) in ablations.enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}. {}", index + 1, ablation.name);
        let _ = writeln!(text, "   {} {}", ablation.action, ablation.ablated_part);
        for item in &ablation.replacement {
            let _ = writeln!(text, "     - {item}");
        }
        let names: Vec<&str> = resolved.variants().map(|v| v.name.as_str()).collect();
        if !names.is_empty() {
            let _ = writeln!(text, "   can be run as: {}", names.join(", "));
        }
        for wish in resolved.unresolved() {
            let _ = writeln!(text, "   cannot be run as it stands: {wish}");
        }
    }
    if proposal.usage.answers + proposal.usage.from_cache > 0 {
        let _ = writeln!(text, "\n{}", proposal.usage);
    }
    let _ = writeln!(
        text,
        "\nwritten: {}, {}",
        output.display(),
        report.display()
    );
    if variants(resolution).next().is_some() {
        let _ = writeln!(text, "run it: kinvert study run {}", report.display());
    }
    text
}
