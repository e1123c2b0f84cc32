//! Arguments of `kinvert study`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use kinvert_study::study::Keep;

use super::Seeds;
use super::evaluate::NetworkArgs;

/// Run ablations of the method from a written plan: which part does what?
///
/// A plan says in words what is to be left out, put in another's place or added. It is compiled to a study, which says
/// exactly what is run; the study is run, cell by cell, beside the method itself; and a report tells what came of it,
/// with intervals and tests.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StudyArgs {
    #[command(subcommand)]
    pub command: StudyCommand,
}

const EXAMPLES: &str = "\
Examples:
  kinvert study run plan.md                     everything, on the built-in model with clips of its own world
  kinvert study compile plan.md -o study.toml   what was understood, to be checked and changed
  kinvert study run study.toml --out ablations  run it; the same command goes on where it was stopped
  kinvert study status ablations
  kinvert study report ablations --open";

#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    Compile(CompileArgs),
    Run(RunArgs),
    Report(ReportArgs),
    /// Tell how far a study is, and what failed
    Status(FolderArgs),
    /// List the variants of a study with the settings that differ from the method
    List(FolderArgs),
    Rerun(RerunArgs),
    Export(ExportArgs),
    Votes(StudyVotesArgs),
}

/// Say what was understood of a plan, and write it as a study.
///
/// Plans are read as JSON Lines, Markdown or TOML. What cannot be mapped onto settings of the method is never guessed:
/// it is told, and stands in the study as an [[unresolved]] table, beside which a [[variant]] can be written by hand.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// The plan
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// The study [default: the plan's name ending in .study.toml]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub contents: ContentArgs,
}

/// What a study that is compiled from a plan runs on.
#[derive(Debug, Args)]
pub struct ContentArgs {
    /// A reference clip: a file, or a scene of the sprite world such as sprites:arc:3 (motion and seed); may be given
    /// several times [default with the built-in model: five scenes]
    #[arg(long, value_name = "CLIP")]
    pub clip: Vec<String>,
    /// What generated clips show; may be given several times [default with the built-in model: two]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Vec<String>,
    /// Seeds of generated clips: `5`, `0,3,7` or `0..4` (which ends before 4) [default: 0]
    #[arg(long, value_name = "SEEDS")]
    pub seeds: Option<Seeds>,
    /// What is kept besides numbers [default: all]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub keep: Option<KeepName>,
    /// Refuse a plan of which anything was not understood
    #[arg(long)]
    pub strict: bool,
}

impl ContentArgs {
    /// Whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        self.clip.is_empty()
            && self.prompt.is_empty()
            && self.seeds.is_none()
            && self.keep.is_none()
            && !self.strict
    }
}

/// [`Keep`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeepName {
    /// Clips and learned motions
    All,
    /// Clips
    Clips,
    /// Nothing
    None,
}

impl From<KeepName> for Keep {
    fn from(name: KeepName) -> Self {
        match name {
            KeepName::All => Self::All,
            KeepName::Clips => Self::Clips,
            KeepName::None => Self::None,
        }
    }
}

/// Run a study, or what is left of it, and write its report.
///
/// Takes a plan, a study, or the folder of a study that was begun. The same command again goes on where it was stopped,
/// and several processes may run one folder at once (on one machine; a GPU each with --device). A cell that fails is
/// recorded with its error and does not stop the others; `kinvert study rerun --failed` tries it again.
#[derive(Debug, Args)]
#[command(after_help = RUN_NOTES)]
pub struct RunArgs {
    /// A plan, a study, or the folder of a study
    #[arg(value_name = "PLAN|STUDY|FOLDER")]
    pub study: PathBuf,
    /// Folder for the results [default: kinvert-out/<name of the plan or study>]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Cells at a time [default: one a core on the CPU, at most 8; one on a GPU]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    pub contents: ContentArgs,
    #[command(flatten)]
    pub networks: NetworkArgs,
}

const RUN_NOTES: &str = "\
The folder holds study.toml, results.sqlite, clips/, motions/ and report/. To change a study that was begun, edit its
study.toml and run the folder again: what is done already is not done again.";

/// Write the report of a study: a page that opens from disk, tables and plots.
///
/// Writes into report/ in the study's folder: index.html, which holds everything, results.csv, tables.tex and plots.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of the study
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Show the page in the browser
    #[arg(long)]
    pub open: bool,
    /// Folder for the report [default: report/ in the study's folder]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Most cells whose clips are shown
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub clips: usize,
    /// Write so many of these as GIFs too, side by side, into clips/ beside the page
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gifs: usize,
}

/// A study that was begun.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// Folder of the study
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Mark cells to be run again.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["variant", "failed"])))]
pub struct RerunArgs {
    /// Folder of the study
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// All cells of a variant, by its name; may be given several times
    #[arg(long, value_name = "NAME")]
    pub variant: Vec<String>,
    /// All cells that failed
    #[arg(long)]
    pub failed: bool,
}

/// Write the numbers of a study.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("form").required(true).args(["csv", "jsonl", "latex"])))]
pub struct ExportArgs {
    /// Folder of the study
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// One line for each cell and measure
    #[arg(long)]
    pub csv: bool,
    /// One object for each cell, with all it was measured with
    #[arg(long)]
    pub jsonl: bool,
    /// The tables, for a paper (booktabs)
    #[arg(long)]
    pub latex: bool,
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Write pairs of clips for people to vote on.
///
/// Each pair shows the method and a variant on the same clip, prompt and seed; attention checks are mixed in. Pairs are
/// written to votes/pairs.csv in the study's folder, as `kinvert votes` reads them; votes are taken into the report from
/// votes/votes.csv beside it.
#[derive(Debug, Args)]
pub struct StudyVotesArgs {
    /// Folder of the study
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Most comparisons, spread evenly over variants and clips
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub comparisons: usize,
    /// Compare variants with each other too, and not only with the method
    #[arg(long)]
    pub all_pairs: bool,
    /// Seed of the choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}
