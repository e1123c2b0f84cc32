//! `kinvert planner`.

mod benchmark;
mod eval_judge;
mod judge;
mod models;
mod propose;

use crate::args::planner::{PlannerArgs, PlannerCommand};
use crate::session::Session;

pub fn run(args: PlannerArgs, session: &mut Session) -> anyhow::Result<()> {
    match args.command {
        PlannerCommand::Propose(args) => propose::run(&args, session),
        PlannerCommand::Benchmark(args) => benchmark::run(&args, session),
        PlannerCommand::Judge(args) => judge::run(&args, session),
        PlannerCommand::EvalJudge(args) => eval_judge::run(&args, session),
    }
}
