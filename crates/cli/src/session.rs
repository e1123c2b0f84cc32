//! What all commands share: the global options, the model, progress, and where results are printed.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use kinvert::{Device, LoadOptions, ModelFiles, MotionModel, Precision, load_model};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::args::GlobalArgs;
use crate::progress::TerminalProgress;

/// Variable that says what is logged, instead of `-v`.
const LOG_VARIABLE: &str = "KINVERT_LOG";

/// One run of the program.
pub struct Session {
    global: GlobalArgs,
    pub progress: TerminalProgress,
}

impl Session {
    pub fn new(global: GlobalArgs) -> Self {
        let progress = TerminalProgress::new(global.quiet);
        Self { global, progress }
    }

    pub fn device(&self) -> Device {
        self.global.device
    }

    /// The number format that the base model is to compute in.
    pub fn precision(&self) -> anyhow::Result<Precision> {
        Ok(self.global.device.precision(self.global.dtype.0)?)
    }

    /// Whether the user wants no progress and no notes.
    pub fn is_quiet(&self) -> bool {
        self.global.quiet
    }

    /// The folder of the model that the user chose; none for the built-in one.
    pub fn model_folder(&self) -> Option<&Path> {
        self.global.model.as_deref()
    }

    /// Says something of several lines on stderr, unless the user wants quiet.
    pub fn tell(&self, text: &str) {
        if !self.global.quiet {
            // A closed stderr is no reason to fail.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// The model that the user chose.
    pub fn model(&self) -> anyhow::Result<Box<dyn MotionModel>> {
        let files = match &self.global.model {
            Some(folder) => ModelFiles::folder(folder),
            None => kinvert_sprites::model::model_files(),
        };
        self.load(&files)
    }

    /// Loads a model onto the chosen device.
    pub fn load(&self, files: &ModelFiles) -> anyhow::Result<Box<dyn MotionModel>> {
        let started = std::time::Instant::now();
        let device = self.global.device;
        let options = LoadOptions {
            precision: self.precision()?,
        };
        let model = load_model(&files.clone().into(), &options, device)?;
        let load_ms = started.elapsed().as_millis() as u64;
        tracing::info!(model = model.id().name, %device, dtype = %options.precision, load_ms, "The model is loaded.");
        Ok(model)
    }

    /// Prints a result: `json` if the user asked for that, else `text`, which ends in a newline or is empty.
    pub fn print(&self, text: &str, json: &impl Serialize) -> anyhow::Result<()> {
        let mut text = text.to_string();
        if self.global.json {
            text =
                serde_json::to_string_pretty(json).context("cannot express the result as JSON")?;
            text.push('\n');
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.context("cannot write to stdout")
    }
}

/// Sends logs to stderr: warnings, with `-v` information, with `-vv` details, with `-vvv` everything.
pub fn start_logging(verbose: u8) -> anyhow::Result<()> {
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(directives) => EnvFilter::try_new(&directives).with_context(|| {
            format!("{LOG_VARIABLE} is `{directives}`, expected a level such as `debug`")
        })?,
        Err(_) => EnvFilter::new(level),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time()
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
