//! `kinvert-sprites`: makes the built-in model and measures it.
//!
//! stdout carries results only; everything else goes to stderr.

mod args;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kinvert::{ModelFiles, Precision};
use kinvert_base::write_file;
use kinvert_sprites::Error;
use kinvert_sprites::evaluate::{Settings, evaluate};
use kinvert_sprites::train::{Trained, Training, train};
use kinvert_terminal::{
    FAILED, INTERRUPTED, TerminalProgress, USAGE, error_message, listen_for_interrupts,
};
use kinvert_world::model::model_files;
use serde::Serialize;

use args::{Cli, Command, EvaluateArguments, TrainArguments};

fn main() -> ExitCode {
    kinvert_nets::device::prepare_process();
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
        Command::Train(arguments) => run_train(arguments, &mut progress),
        Command::Evaluate(arguments) => run_evaluate(arguments, &mut progress),
    }
}

fn run_train(arguments: &TrainArguments, progress: &mut TerminalProgress) -> Result<(), Error> {
    let is_model = |folder: &PathBuf| folder.join("model_index.json").exists();
    let folder = arguments
        .from
        .as_ref()
        .or(Some(&arguments.out).filter(|out| is_model(out)));
    let precision = match arguments.dtype {
        // Gradients in f16 would need scaling.
        None => match arguments.device.precision(None)? {
            Precision::F16 => Precision::F32,
            precision => precision,
        },
        wanted => arguments.device.precision(wanted)?,
    };
    let training = Training {
        recipe: arguments.to_recipe(),
        from: folder.map_or_else(model_files, ModelFiles::folder),
        out: arguments.out.clone(),
        precision,
        restart: arguments.restart,
    };
    let trained = train(&training, arguments.device, progress)?;
    let text = match arguments.json {
        true => to_json(&trained)?,
        false => {
            let Trained {
                steps,
                loss,
                measure,
                value,
            } = trained;
            let out = arguments.out.display();
            format!("{out}: {steps} steps, loss {loss:.4}, {measure} {value:.3}\n")
        }
    };
    print(&text)
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
    let json = to_json(&evaluation)?;
    if let Some(path) = &arguments.out {
        write_file(path, json.as_bytes()).map_err(|source| Error::Io {
            path: path.clone(),
            action: "writing",
            source,
        })?;
    }
    match arguments.json {
        true => print(&json),
        false => print(&evaluation.to_markdown()),
    }
}

fn to_json(result: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_string_pretty(result).map_err(|error| to_stdout(error.into()))?;
    Ok(json + "\n")
}

fn print(text: &str) -> Result<(), Error> {
    let mut stream = io::stdout().lock();
    let written = stream.write_all(text.as_bytes());
    written.and_then(|()| stream.flush()).map_err(to_stdout)
}

fn to_stdout(source: io::Error) -> Error {
    Error::Io {
        path: "stdout".into(),
        action: "writing",
        source,
    }
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
