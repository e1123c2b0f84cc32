//! `kinvert-sprites`: makes the built-in model and measures it.
//!
//! stdout carries results only; everything else goes to stderr.

mod args;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kinvert::ModelFiles;
use kinvert_base::write_file;
use kinvert_sprites::Error;
use kinvert_sprites::evaluate::{Settings, evaluate};
use kinvert_terminal::{
    FAILED, INTERRUPTED, TerminalProgress, USAGE, error_message, listen_for_interrupts,
};
use kinvert_world::model::model_files;

use args::{Cli, Command, EvaluateArguments};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be said if the stream is closed. `--help` and `--version` end here too, with code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    listen_for_interrupts().map_err(|source| Error::Io {
        path: "Ctrl-C".into(),
        action: "listening",
        source,
    })?;
    let mut progress = TerminalProgress::new(cli.quiet);
    match &cli.command {
        Command::Evaluate(arguments) => run_evaluate(arguments, &mut progress),
    }
}

fn run_evaluate(
    arguments: &EvaluateArguments,
    progress: &mut TerminalProgress,
) -> Result<(), Error> {
    let model = match &arguments.model {
        Some(folder) => ModelFiles::folder(folder),
        None => model_files(),
    };
    let settings = arguments.over(Settings::of(&model)?);
    let evaluation = evaluate(&model, &settings, arguments.device, progress)?;
    let failed = |path: PathBuf| {
        move |source: io::Error| Error::Io {
            path,
            action: "writing",
            source,
        }
    };
    let stdout = || PathBuf::from("stdout");
    let mut json = serde_json::to_string_pretty(&evaluation)
        .map_err(io::Error::from)
        .map_err(failed(stdout()))?;
    json.push('\n');
    if let Some(path) = &arguments.out {
        write_file(path, json.as_bytes()).map_err(failed(path.clone()))?;
    }
    let text = match arguments.json {
        true => json,
        false => evaluation.to_markdown(),
    };
    let mut stream = io::stdout().lock();
    let written = stream.write_all(text.as_bytes());
    written
        .and_then(|()| stream.flush())
        .map_err(failed(stdout()))
}

/// Tells an error on stderr and gives its exit code.
fn report(error: &Error) -> ExitCode {
    let (text, code) = match error {
        // The reader of our output has seen enough.
        Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        error if error.is_cancelled() => ("interrupted\n".into(), INTERRUPTED),
        error => {
            let code = if error.is_usage() { USAGE } else { FAILED };
            (error_message(error, error.hint()), code)
        }
    };
    // Nothing is left to be done if stderr is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(code)
}
