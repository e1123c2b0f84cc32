//! Arguments of `kinvert evaluate`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use kinvert_metrics::measure::MeasureSelection;

/// Measure clips: against their prompt, against themselves, and against their reference.
///
/// Without models of your own, the built-in CLIP (which knows the sprite world only) and the tracker `klt` are
/// used, which need no download. What networks and trackers give is kept in a cache, so that nothing is computed
/// twice.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("what").required(true).args(["result", "manifest", "fid"])))]
pub struct EvaluateArgs {
    /// The clip to measure, or the folder that `kinvert transfer` wrote: all of its results are then measured against
    /// their prompts and its reference
    #[arg(value_name = "RESULT")]
    pub result: Option<PathBuf>,
    /// Clip whose motion the result should have
    #[arg(long, value_name = "CLIP", conflicts_with_all = ["manifest", "fid"])]
    pub reference: Option<PathBuf>,
    /// What the result should show
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["manifest", "fid"])]
    pub prompt: Option<String>,
    /// Image that is white where tracks of the reference may start
    #[arg(long, value_name = "IMAGE", requires = "reference", conflicts_with_all = ["manifest", "fid"])]
    pub reference_mask: Option<PathBuf>,
    /// Image that is white where tracks of the result may start
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["manifest", "fid"])]
    pub result_mask: Option<PathBuf>,
    /// `main`, `all`, or names with commas between them; see below
    #[arg(
        long,
        value_name = "LIST",
        default_value = "main",
        conflicts_with = "fid"
    )]
    pub metrics: MeasureSelection,
    /// Add the values of single frames and tracks to the JSON
    #[arg(long)]
    pub detail: bool,

    /// Measure many clips: a CSV file with the columns result, reference, prompt, reference_mask and result_mask,
    /// of which only the first is needed. Paths are taken from its folder, other columns are kept
    #[arg(long, value_name = "FILE", help_heading = "Many clips")]
    pub manifest: Option<PathBuf>,
    /// Results of a manifest: lines of JSON. A table of the same name ending in .csv is written beside it. The same
    /// command again goes on where it was stopped [default: <manifest>.results.jsonl]
    #[arg(
        long,
        value_name = "FILE",
        requires = "manifest",
        help_heading = "Many clips"
    )]
    pub out: Option<PathBuf>,

    /// Compare two sets of frames by FID and KID
    #[arg(long, requires_all = ["real", "fake"], help_heading = "Two sets")]
    pub fid: bool,
    /// Folder of clips, images and folders of images; or an .npz file of statistics, as pytorch-fid writes it
    #[arg(long, value_name = "SET", requires = "fid", help_heading = "Two sets")]
    pub real: Option<PathBuf>,
    /// The other set
    #[arg(long, value_name = "SET", requires = "fid", help_heading = "Two sets")]
    pub fake: Option<PathBuf>,
    /// Keep the statistics of the real set in an .npz file, which --real then takes
    #[arg(long, value_name = "FILE", requires = "fid", help_heading = "Two sets")]
    pub keep_real: Option<PathBuf>,
    /// Keep the statistics of the fake set
    #[arg(long, value_name = "FILE", requires = "fid", help_heading = "Two sets")]
    pub keep_fake: Option<PathBuf>,

    #[command(flatten)]
    pub networks: NetworkArgs,
}

/// Which networks measure.
#[derive(Debug, Args)]
#[command(next_help_heading = "Networks")]
pub struct NetworkArgs {
    /// CLIP: a folder in the transformers layout, or a published name such as openai/clip-vit-large-patch14, which is
    /// fetched if it is not there [default: the built-in one]
    #[arg(long, value_name = "NAME|FOLDER")]
    pub clip_model: Option<String>,
    #[command(flatten)]
    pub tracker: TrackerArgs,
    /// Where FID and KID take features from
    #[arg(long, value_enum, default_value_t = FeatureNetwork::Clip)]
    pub features: FeatureNetwork,
    /// Weights of the FID Inception network, .pth or .safetensors [default: those that PyTorch's hub has fetched]
    #[arg(long, value_name = "FILE")]
    pub inception_weights: Option<PathBuf>,
    /// Compute everything anew, and keep nothing
    #[arg(long)]
    pub no_cache: bool,
    /// Most that the cache may take on the disk, in MiB
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 512,
        conflicts_with = "no_cache"
    )]
    pub cache_limit: u64,
}

/// Who finds tracks, and from where.
#[derive(Debug, Args)]
pub struct TrackerArgs {
    /// Who finds the tracks of points
    #[arg(long, value_enum, default_value_t = TrackerName::Klt)]
    pub tracker: TrackerName,
    /// Weights of CoTracker3 (offline), .pth or .safetensors [default: those that PyTorch's hub has fetched]
    #[arg(long, value_name = "FILE")]
    pub tracker_weights: Option<PathBuf>,
    /// Tracks start at N by N places [default: one for every two pixels, at most 55]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub grid: Option<u32>,
}

/// A tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrackerName {
    /// Pyramidal Lucas-Kanade; needs no weights
    Klt,
    /// CoTracker3, the offline model
    Cotracker3,
}

/// A network that gives features of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FeatureNetwork {
    /// The embeddings of the CLIP
    Clip,
    /// The FID Inception network, resizing as pytorch-fid does
    Inception,
    /// The same, resizing as TensorFlow and torch-fidelity do
    InceptionTensorflow,
}

const EXAMPLES: &str = "\
Examples:
  kinvert evaluate kinvert-out/bounce
  kinvert evaluate star.mp4 --reference bounce.mp4 --prompt \"a yellow star on a striped background\"
  kinvert evaluate star.mp4 --reference bounce.mp4 --metrics motion_fidelity,motion_fidelity.published
  kinvert evaluate --manifest pairs.csv --metrics all
  kinvert evaluate --fid --real real/ --fake made/ --features inception
  kinvert evaluate car.mp4 --prompt \"a car\" --clip openai/clip-vit-large-patch14 --tracker cotracker3

Measures (better: + more, - less; all of them with --metrics all):
  text_similarity          +  cosine of frames and prompt
  temporal_consistency     +  cosine of consecutive frames; read it beside the motion magnitude
  motion_fidelity          +  similarity of tracks, both ways; .moving for tracks that go somewhere, .published as
                              the published script has it, .hybrid with places, .hybrid_published as MTBench's script
  path_correlation         +  of the sprite's path, where the truth is known
  end_point_error          -  in pixels, of the same
  fid, kid                 -  of the result's frames and the reference's; only sets of equal size compare

Networks are looked for in the folder that KINVERT_MODELS names and in the caches of the Hugging Face and PyTorch
hubs. KINVERT_CACHE names the folder of the cache.

With --json, stdout carries an array of records {measure, value (null where it is not defined), model {name, sha256},
preprocessing, samples {…}, beside {…}, detail {…}, warnings, kinvert_version}; with --manifest or a folder each has
`row` and `result` too. Exit code 1 if a row of a manifest failed.";
