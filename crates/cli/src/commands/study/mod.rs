//! `kinvert study`.

mod compile;
mod export;
mod report;
mod run;
mod state;
mod votes;

pub use export::analysis;

use crate::args::study::{StudyArgs, StudyCommand};
use crate::session::Session;

pub fn run(args: StudyArgs, session: &mut Session) -> anyhow::Result<()> {
    match args.command {
        StudyCommand::Compile(args) => compile::run(&args, session),
        StudyCommand::Run(args) => run::run(&args, session),
        StudyCommand::Report(args) => report::run(&args, session),
        StudyCommand::Status(args) => state::status(&args, session),
        StudyCommand::List(args) => state::list(&args, session),
        StudyCommand::Rerun(args) => state::rerun(&args, session),
        StudyCommand::Export(args) => export::run(&args),
        StudyCommand::Votes(args) => votes::run(&args, session),
    }
}
