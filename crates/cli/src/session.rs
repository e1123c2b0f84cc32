//! What all commands share: the global options, the model, progress, and where results are printed.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use kinvert::{Device, LoadOptions, ModelFiles, ModelSource, MotionModel, Precision, load_model};
use kinvert_base::Progress;
use kinvert_hub::{Error as HubError, Hub, ModelKind, ModelName};
use kinvert_terminal::TerminalProgress;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::args::GlobalArgs;
use crate::errors::Usage;

/// Variable that says what is logged, instead of `-v`.
const LOG_VARIABLE: &str = "KINVERT_LOG";

/// How a model is looked for on the hub: whole, or its settings alone.
type FindInHub = fn(&Hub, &str, ModelKind, &mut dyn Progress) -> Result<ModelFiles, HubError>;

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

    /// Whether the user chose a model.
    pub fn has_model_argument(&self) -> bool {
        self.global.model.is_some()
    }

    /// The model that the user chose, as a study names it: the path of a folder, or a published name, whose files are
    /// fetched if they are not there. None for the built-in one.
    pub fn model_name(&self) -> anyhow::Result<Option<String>> {
        let Some(chosen) = &self.global.model else {
            return Ok(None);
        };
        let files = self.find(chosen, ModelKind::Pipeline)?;
        let published = chosen.to_str().and_then(|name| name.parse().ok());
        let name = match (published, files.path("")) {
            (Some::<ModelName>(name), _) if !chosen.is_dir() => name.to_string(),
            (_, Some(folder)) => {
                let folder = std::path::absolute(&folder).unwrap_or(folder);
                folder.display().to_string()
            }
            (_, None) => chosen.display().to_string(),
        };
        Ok(Some(name))
    }

    /// The files of a model by the path of its folder or single file, or by its published name; they are fetched if
    /// they are not there.
    pub fn find(&self, chosen: &Path, kind: ModelKind) -> anyhow::Result<ModelFiles> {
        self.find_by(chosen, kind, Hub::find)
    }

    fn find_by(
        &self,
        chosen: &Path,
        kind: ModelKind,
        find: FindInHub,
    ) -> anyhow::Result<ModelFiles> {
        if chosen.is_file() {
            return Ok(ModelFiles::original(chosen));
        }
        let is_name = |text: &&str| text.parse::<ModelName>().is_ok();
        let Some(name) = chosen.to_str().filter(is_name) else {
            // No hub is needed for a folder, nor for a name of one word in the folder of models.
            let named = chosen
                .to_str()
                .and_then(|name| ModelFiles::find(name, kind).ok());
            return Ok(named.unwrap_or_else(|| ModelFiles::folder(chosen)));
        };
        let mut progress = TerminalProgress::new(self.global.quiet);
        find(&Hub::from_environment()?, name, kind, &mut progress).with_context(|| {
            format!("`{name}` is no folder here, and no published model that can be used")
        })
    }

    /// Refuses parts of a model where only whole models are taken.
    pub fn refuse_model_parts(&self) -> Result<(), Usage> {
        let parts = &self.global.parts;
        for (flag, part) in [
            ("--unet", &parts.unet),
            ("--motion-adapter", &parts.motion_adapter),
            ("--tokenizer", &parts.tokenizer),
        ] {
            if part.is_some() {
                return Err(Usage(format!(
                    "{flag}: a study names its models by their folders, expected --model alone"
                )));
            }
        }
        Ok(())
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
        self.load(&self.chosen_source(Hub::find)?)
    }

    /// The configurations of the model that the user chose; weights are not fetched for them.
    pub fn model_settings(&self) -> anyhow::Result<ModelSource> {
        self.chosen_source(Hub::find_settings)
    }

    fn chosen_source(&self, find: FindInHub) -> anyhow::Result<ModelSource> {
        let files = match &self.global.model {
            Some(chosen) => self.find_by(chosen, ModelKind::Pipeline, find)?,
            None => kinvert_world::model::model_files(),
        };
        self.source_by(files, find)
    }

    /// How the user wants models to be loaded.
    pub fn load_options(&self) -> anyhow::Result<LoadOptions> {
        Ok(LoadOptions {
            precision: self.precision()?,
            low_memory: self.global.low_memory,
            free_bytes: None, // is asked of the device
        })
    }

    /// A model with the parts that the user names in place of its own.
    pub fn source(&self, pipeline: ModelFiles) -> anyhow::Result<ModelSource> {
        self.source_by(pipeline, Hub::find)
    }

    fn source_by(&self, pipeline: ModelFiles, find: FindInHub) -> anyhow::Result<ModelSource> {
        let parts = &self.global.parts;
        let find = |part: &Option<PathBuf>| {
            let found = part.as_deref();
            let found = found.map(|part| self.find_by(part, ModelKind::Network, find));
            found.transpose()
        };
        Ok(ModelSource {
            pipeline,
            unet: find(&parts.unet)?,
            motion_adapter: find(&parts.motion_adapter)?,
            tokenizer: parts.tokenizer.as_ref().map(ModelFiles::folder),
        })
    }

    /// Loads a model onto the chosen device.
    pub fn load(&self, source: &ModelSource) -> anyhow::Result<Box<dyn MotionModel>> {
        let started = std::time::Instant::now();
        let device = self.global.device;
        let options = self.load_options()?;
        let model = load_model(source, &options, device)?;
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
