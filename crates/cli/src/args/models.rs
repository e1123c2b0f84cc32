//! Arguments of `kinvert models`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use kinvert_nets::weight_names::WEIGHT_VARIANTS;

/// List base models, fetch published ones, and check them.
///
/// Without a command, lists them: `kinvert models` is `kinvert models list`. Published models are those of the Hugging
/// Face hub, by their names; only the files that this program reads are fetched, into the cache that the hub's own
/// tools use.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
    #[command(flatten)]
    pub list: ListArgs,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    List(ListArgs),
    Pull(PullArgs),
    Inspect(InspectModelArgs),
    Verify(VerifyArgs),
}

const EXAMPLES: &str = "\
Examples:
  kinvert models
  kinvert models pull cerspense/zeroscope_v2_576w
  kinvert models ./zeroscope --json

HF_HOME moves the cache (or HF_HUB_CACHE); HF_TOKEN is sent to the hub, and to nobody else, for models whose licence
must be accepted; HF_HUB_OFFLINE=1 keeps the program off the network; HF_ENDPOINT names another hub.
With --json, stdout carries what `kinvert models list --json` does.";

/// List models and what each can do.
///
/// Lists the built-in model, the folders given, those in the folder that KINVERT_MODELS names, and those in the cache of
/// the Hugging Face hub. Weights in folders are hashed, not loaded; of cached models it is said whether they are whole.
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// Model folders
    #[arg(value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
}

const LIST_EXAMPLES: &str = "\
Examples:
  kinvert models list
  kinvert models list ./zeroscope --json
  KINVERT_MODELS=~/models kinvert models

With --json, stdout carries a list of {path (null for the built-in model), name, sha256, frames, size (null: follows
the clip), fps, prediction_type, train_timesteps, sites [{name, channels}], inversion {…}, generation {…}}, or
{path, error} for a folder that holds no usable model, or {name, revisions, commit, path, bytes, missing} for one in the
cache.";

/// Fetch a published model, or what has changed of it.
///
/// A download that was stopped goes on where it was; every file is checked against its hash. Text-to-video pipelines,
/// motion adapters and CLIP models are fetched; of weights the safetensors, and PyTorch's files where there are none.
#[derive(Debug, Args)]
#[command(after_help = PULL_EXAMPLES)]
pub struct PullArgs {
    /// Name on the hub: organisation/model
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Weights to fetch in place of the plain ones, where they are published. If both are fetched, the plain ones are
    /// used
    #[arg(long, value_name = "VARIANT", value_parser = PossibleValuesParser::new(WEIGHT_VARIANTS))]
    pub variant: Option<String>,
}

const PULL_EXAMPLES: &str = "\
Examples:
  kinvert models pull cerspense/zeroscope_v2_576w
  kinvert models pull ali-vilab/text-to-video-ms-1.7b --variant fp16
  kinvert models pull openai/clip-vit-large-patch14
  kinvert transfer clip.mp4 --prompt \"a robot\" --model cerspense/zeroscope_v2_576w@main

With --json, stdout carries {name, revision, commit, path, files, bytes, fetched_bytes}.";

/// Say what a model on this machine is, and what its networks are.
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectModelArgs {
    /// Published name of a model that was fetched, or a folder
    #[arg(value_name = "NAME|FOLDER")]
    pub model: PathBuf,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  kinvert models inspect cerspense/zeroscope_v2_576w
  kinvert models inspect ./zeroscope --json

With --json, stdout carries {path, model (what `kinvert models list --json` says; null for a network that stands alone),
networks [{part, class, parameters, dtypes, files, bytes}]}.";

/// Check the files of a model on this machine.
///
/// Fetched files are hashed and compared with the hashes that the hub gave; all files that are needed must be there; and
/// the weights of each network must fit its configuration by name and shape. Values are not read.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArgs {
    /// Published name of a model that was fetched, or a folder
    #[arg(value_name = "NAME|FOLDER")]
    pub model: PathBuf,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  kinvert models verify cerspense/zeroscope_v2_576w
  kinvert models verify ./zeroscope --json

The exit code is 1 if something is wrong.
With --json, stdout carries {path, missing [files], files [{file, bytes, expected (hash, null: not known), fault}],
networks [{part, class, checked, fault}]}.";
