//! The `kinvert` program: learn the motion of one clip, replay it with any prompt.
//!
//! Arguments are parsed in [`args`], resolved against what the model recommends in [`commands`], and handed to
//! the `kinvert` library, which does the work. stdout carries results only; everything else goes to stderr.

mod args;
mod commands;
mod errors;
mod networks;
mod session;
mod spinner;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use session::Session;

fn main() -> ExitCode {
    kinvert_nets::device::prepare_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be said if the stream is closed. `--help` and `--version` end here too, with code 0.
            let _ = error.print();
            return ExitCode::from(
                u8::try_from(error.exit_code()).unwrap_or(kinvert_terminal::USAGE),
            );
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => errors::report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    session::start_logging(cli.global.verbose)?;
    kinvert_planner::log_contained_panics();
    kinvert_terminal::listen_for_interrupts()?;
    let mut session = Session::new(cli.global);
    match cli.command {
        Command::Transfer(args) => commands::transfer::run(*args, &mut session),
        Command::Invert(args) => commands::invert::run(args, &mut session),
        Command::Generate(args) => commands::generate::run(args, &mut session),
        Command::Devices(_) => commands::devices::run(&session),
        Command::Evaluate(args) => commands::evaluate::run(&args, &mut session),
        Command::Export(args) => commands::export::run(&args, &session),
        Command::Import(args) => commands::import::run(&args, &session),
        Command::Inspect(args) => commands::inspect::run(&args, &session),
        Command::Models(args) => commands::models::run(&args, &mut session),
        Command::Plan(args) => commands::plan::run(args, &session),
        Command::Planner(args) => commands::planner::run(args, &mut session),
        Command::Sprites(args) => commands::sprites::run(&args, &session),
        Command::Study(args) => commands::study::run(args, &mut session),
        Command::Tracks(args) => commands::tracks::run(&args, &mut session),
        Command::Votes(args) => commands::votes::run(&args, &session),
    }
}
