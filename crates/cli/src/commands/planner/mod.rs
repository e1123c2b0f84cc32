//! `kinvert planner`.

mod benchmark;
mod eval_judge;
mod judge;
mod models;
mod propose;

use crate::args::planner::{PlannerArgs, PlannerCommand};
use crate::errors::PartlyFailed;
use crate::session::Session;

pub fn run(args: PlannerArgs, session: &mut Session) -> anyhow::Result<()> {
    match args.command {
        PlannerCommand::Propose(args) => propose::run(&args, session),
        PlannerCommand::Benchmark(args) => benchmark::run(&args, session),
        PlannerCommand::Judge(args) => judge::run(&args, session),
        PlannerCommand::EvalJudge(args) => eval_judge::run(&args, session),
    }
}

/// Most failures that are told at the end.
const TOLD: usize = 5;

/// An error if some of many things failed.
fn told_failures(
    failures: impl Iterator<Item = String>,
    of: usize,
    what: &'static str,
) -> anyhow::Result<()> {
    let mut reasons: Vec<String> = failures.collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let failed = reasons.len();
    reasons.truncate(TOLD);
    if failed > TOLD {
        reasons.push(format!("and {} more", failed - TOLD));
    }
    Err(PartlyFailed {
        failed,
        of,
        what,
        reasons,
    }
    .into())
}
