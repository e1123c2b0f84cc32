//! `kinvert planner judge`: how well plans meet the ablations that people chose.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kinvert_metrics::statistics::Summary;
use kinvert_planner::ChatModel;
use kinvert_planner::benchmark::{
    Judge, JudgeOptions, JudgeSettings, JudgeSummary, LanguageModelJudge, Manifest, ScoreMeans,
    TemplateJudge, judge_all,
};
use serde::Serialize;

use super::models::{self, TEMPLATE};
use super::told_failures;
use crate::args::planner::JudgeArgs;
use crate::errors::{Usage, resumable};
use crate::session::Session;

/// Where judgements lie without `--out`, in the folder of the plans.
const OUT_FOLDER: &str = "judged";

/// What is printed as JSON.
#[derive(Serialize)]
struct Judged<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    summary: &'a JudgeSummary,
}

pub fn run(args: &JudgeArgs, session: &mut Session) -> anyhow::Result<()> {
    let manifest = Manifest::read(&args.truth, args.papers.as_deref())?;
    let names: Vec<&str> = args.judges.iter().map(|name| name.trim()).collect();
    if names.iter().filter(|name| **name == TEMPLATE).count() > 1 {
        let mistake = "--judges: the template says the same every time; name it once";
        return Err(Usage(mistake.into()).into());
    }
    let mut models: Vec<(&str, Box<dyn ChatModel>)> = Vec::new();
    for name in &names {
        if *name != TEMPLATE && !models.iter().any(|(known, _)| known == name) {
            models.push((name, models::chat_model(name, &args.endpoint)?));
        }
    }
    let settings = JudgeSettings {
        temperature: args.endpoint.temperature,
        max_output_tokens: u32::try_from(args.endpoint.answer_tokens).ok(),
        // Reviews and the plan stand beside the paper.
        paper_tokens: args
            .endpoint
            .context
            .saturating_sub(args.endpoint.answer_tokens)
            / 2,
    };
    let judges: Vec<Box<dyn Judge + '_>> = (names.iter().enumerate())
        .map(|(index, name)| -> Box<dyn Judge + '_> {
            let sample = names[..index]
                .iter()
                .filter(|before| before == &name)
                .count();
            match models.iter().find(|(known, _)| known == name) {
                Some((_, model)) => {
                    Box::new(LanguageModelJudge::new(model.as_ref(), sample, settings))
                }
                None => Box::new(TemplateJudge),
            }
        })
        .collect();
    let judges: Vec<&dyn Judge> = judges.iter().map(AsRef::as_ref).collect();
    let options = JudgeOptions {
        top_k: args.top_k,
        parallel: args.parallel,
    };
    let folder: PathBuf = match &args.out {
        Some(folder) => folder.clone(),
        None => args.plans.join(OUT_FOLDER),
    };
    let summary = judge_all(
        &manifest,
        &args.plans,
        &judges,
        &options,
        &folder,
        &mut session.progress,
    );
    let summary = resumable(summary, &folder)?;
    let judged = Judged {
        folder: &folder,
        summary: &summary,
    };
    session.print(&told(&summary, &folder), &judged)?;
    let failed = summary.failed.iter();
    let unreadable = summary.unreadable_plans.iter();
    told_failures(
        failed
            .map(|failure| format!("{} by {}: {}", failure.id, failure.judge, failure.error))
            .chain(unreadable.map(|failure| format!("{}: {}", failure.id, failure.error))),
        summary.papers * names.len(),
        "judgements",
    )
}

/// A table for a terminal.
fn told(summary: &JudgeSummary, folder: &Path) -> String {
    let mut text = format!(
        "{:<32} {:>6}  {:>13}  {:>13}  {:>13}  {:>13}\n",
        "mean ± deviation over papers", "papers", "precision", "recall", "F1", "nDCG"
    );
    let mut row = |name: &str, papers: usize, means: &Option<ScoreMeans>| {
        // Writing to a string cannot fail.
        let _ = match means {
            Some(means) => writeln!(
                text,
                "{name:<32} {papers:>6}  {}  {}  {}  {}",
                cell(Some(&means.precision)),
                cell(Some(&means.recall)),
                cell(Some(&means.f1_score)),
                cell(means.ndcg_score.as_ref())
            ),
            None => writeln!(text, "{name:<32} {papers:>6}  nothing was judged"),
        };
    };
    let one_judge = summary.judges.len() == 1;
    for judge in &summary.judges {
        row(&judge.judge.to_string(), judge.judged, &judge.scores);
    }
    if !one_judge {
        row("majority", summary.judged, &summary.scores);
    }
    row(
        "as AblationBench counts it",
        summary.judged,
        &summary.published,
    );
    let mut left_out = |papers: &[String], why: &str| {
        if !papers.is_empty() {
            let _ = writeln!(text, "left out, {why}: {}", papers.join(", "));
        }
    };
    left_out(
        &summary.without_truth,
        "since nobody chose ablations for them",
    );
    left_out(&summary.without_plan, "since they have no plan");
    if summary.usage.answers + summary.usage.from_cache > 0 {
        let _ = writeln!(text, "{}", summary.usage);
    }
    let _ = writeln!(text, "written: {}", folder.display());
    text
}

/// `0.50 ± 0.12`.
fn cell(summary: Option<&Summary>) -> String {
    let told = match summary {
        Some(Summary {
            mean,
            standard_deviation: Some(deviation),
            ..
        }) => format!("{mean:.2} ± {deviation:.2}"),
        Some(summary) => format!("{:.2}", summary.mean),
        None => "-".into(),
    };
    format!("{told:>13}")
}
