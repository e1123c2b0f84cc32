//! Arguments of `kinvert planner`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use kinvert_planner::Mode;

/// Plan ablations from a paper, and judge plans.
///
/// A plan comes from a language model, or from a template that needs none. It is written in the form that `kinvert study
/// run` takes, so that what was planned can be run, and what came of it can be given back to plan the next ones.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PlannerArgs {
    #[command(subcommand)]
    pub command: PlannerCommand,
}

const EXAMPLES: &str = "\
Examples:
  kinvert planner propose paper.pdf                              a plan without any language model
  kinvert planner propose sources.tar.gz --model openai/gpt-5 --count 2
  kinvert planner propose paper.tex --model ollama/qwen3 --dry-run
  kinvert study run paper.plan.md                                run what was planned
  kinvert planner propose paper.pdf --study kinvert-out/paper.plan   what next?
  kinvert planner benchmark papers.jsonl --model gemini/gemini-2.5-flash --out plans
  kinvert planner judge --plans plans --truth papers.jsonl --judges openai/gpt-5,anthropic/claude-sonnet-4-5";

#[derive(Debug, Subcommand)]
pub enum PlannerCommand {
    Propose(ProposeArgs),
    Benchmark(BenchmarkArgs),
    Judge(JudgeArgs),
    EvalJudge(EvalJudgeArgs),
}

/// Plan ablations for one paper.
///
/// Writes the plan as JSON Lines and as a page with the reasoning; both can be run with `kinvert study run`.
#[derive(Debug, Args)]
#[command(after_help = MODEL_NOTES)]
pub struct ProposeArgs {
    /// The paper: a folder or an archive (.tar.gz, .tar, .zip) of LaTeX sources, or a .tex, .md, .txt or .pdf file
    #[arg(value_name = "PAPER")]
    pub paper: PathBuf,
    #[command(flatten)]
    pub planning: PlanningArgs,
    /// The plan, as JSON Lines [default: the paper's name ending in .plan.jsonl, in the working folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The page: reasoning, plan and how it was made [default: the plan's name ending in .md]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print what the model would be asked and how long it is, and ask nobody
    #[arg(long)]
    pub dry_run: bool,
}

/// How plans are made.
#[derive(Debug, Args)]
pub struct PlanningArgs {
    /// reviewer: sees the whole paper and plans what is missing; author: sees it up to its experiments
    #[arg(long, value_enum, value_name = "MODE", default_value = "reviewer")]
    pub mode: ModeName,
    /// Most ablations of a plan
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub count: usize,
    // Shadows the global option of this name: a planner has no text-to-video model.
    /// Who plans: `template`, or a language model such as openai/gpt-5 [default: template]
    #[arg(long, value_name = "NAME")]
    pub model: Option<PathBuf>,
    /// Folder of a study whose results the planner is told: what should be ablated next?
    #[arg(long, value_name = "FOLDER")]
    pub study: Option<PathBuf>,
    /// Keep the plan to what `kinvert study run` can vary
    #[arg(long)]
    pub runnable: bool,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

/// How language models are asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Language model")]
pub struct EndpointArgs {
    /// Where an OpenAI-compatible server is, such as http://localhost:8080/v1
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Tokens that the model can read and write together; longer papers are cut by importance
    #[arg(long, value_name = "TOKENS", default_value_t = 128_000)]
    pub context: usize,
    /// Tokens kept free for the answer, hidden reasoning among them
    #[arg(long, value_name = "TOKENS", default_value_t = 16_000)]
    pub answer_tokens: usize,
    /// Randomness of answers, 0 to 2 [default: the model's own]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Price in US dollars of a million tokens read and written, such as 1.25,10, to tell what it cost
    #[arg(long, value_name = "IN,OUT")]
    pub prices: Option<PricesArg>,
    /// Longest wait for an answer
    #[arg(long, value_name = "SECONDS", default_value = "900")]
    pub timeout: NonZeroU64,
    /// Tries before an answer is given up
    #[arg(long, value_name = "N", default_value = "5")]
    pub attempts: NonZeroU32,
    /// Ask again what was answered before
    #[arg(long)]
    pub no_cache: bool,
}

/// Prices of tokens, `IN,OUT`.
#[derive(Debug, Clone, Copy)]
pub struct PricesArg {
    pub input: f64,
    pub output: f64,
}

impl FromStr for PricesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let price = |text: &str| {
            let price = text.trim().parse::<f64>().ok();
            price.filter(|price| price.is_finite() && *price >= 0.0)
        };
        let prices = text.split_once(',').and_then(|(input, output)| {
            let (input, output) = (price(input)?, price(output)?);
            Some(Self { input, output })
        });
        prices.ok_or_else(|| "expected two prices such as 1.25,10".into())
    }
}

/// [`Mode`] by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeName {
    /// Sees the whole paper and plans what is missing
    Reviewer,
    /// Sees the paper up to its experiments and plans what should be done
    Author,
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Reviewer => Self::Reviewer,
            ModeName::Author => Self::Author,
        }
    }
}

const MODEL_NOTES: &str = "\
Language models are named <provider>/<model>: openai, anthropic, gemini, openrouter, mistral, deepseek, or ollama,
llamacpp and vllm on this machine; --base-url reaches any other OpenAI-compatible server. Keys are read from the
provider's variable (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, ...) or KINVERT_API_KEY, and are never written
anywhere. Answers are kept in the cache (KINVERT_CACHE), so that the same question costs nothing a second time.";

/// Make plans for many papers.
///
/// Writes a plan and a record for each paper, and plans.json with all of them. A paper that failed does not stop the
/// others; the same command again does only what is missing.
#[derive(Debug, Args)]
#[command(after_help = MODEL_NOTES)]
pub struct BenchmarkArgs {
    /// The papers: a JSON Lines, JSON or Parquet file with id, title, abstract, path and, for judging, ablations
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Folder that the papers' paths are relative to [default: that of the manifest]
    #[arg(long, value_name = "FOLDER")]
    pub papers: Option<PathBuf>,
    /// Folder for the plans [default: kinvert-out/<name of the manifest>-plans]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Papers at a time
    #[arg(long, value_name = "N", default_value = "1")]
    pub parallel: NonZeroUsize,
    #[command(flatten)]
    pub planning: PlanningArgs,
}

/// Judge plans: how well do they meet the ablations that people chose?
///
/// Each judge says which ablations of the truth are matched by which entries of a plan; a pair counts if more than half
/// of the judges say so. Tells precision, recall, F1 and nDCG, mean and standard deviation over papers.
#[derive(Debug, Args)]
#[command(after_help = JUDGE_NOTES)]
pub struct JudgeArgs {
    /// Folder of the plans, as `kinvert planner benchmark` writes it
    #[arg(long, value_name = "FOLDER")]
    pub plans: PathBuf,
    /// The papers with the ablations that people chose, as `kinvert planner benchmark` takes them
    #[arg(long, value_name = "MANIFEST")]
    pub truth: PathBuf,
    /// Who judges, separated by commas: language models, or `template`, which compares what would be run
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "template"
    )]
    pub judges: Vec<String>,
    /// Folder that the papers' paths are relative to [default: that of the manifest]
    #[arg(long, value_name = "FOLDER")]
    pub papers: Option<PathBuf>,
    /// Only the first so many entries of each plan count
    #[arg(long, value_name = "K")]
    pub top_k: Option<NonZeroUsize>,
    /// Folder for what the judges say [default: judged/ in the folder of the plans]
    #[arg(short, long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Papers at a time
    #[arg(long, value_name = "N", default_value = "1")]
    pub parallel: NonZeroUsize,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

const JUDGE_NOTES: &str = "\
Precision is the share of a plan's entries that match some ablation of the truth, recall the share of the truth's
ablations that are matched, F1 their harmonic mean; nDCG tells whether the entries that match come first. Where the truth
is reviews instead of ablations, judges say which entries a review asks for. A judge named twice judges twice, with the
entries in another order.";

/// Tell how well judges agree with labels that people gave.
#[derive(Debug, Args)]
pub struct EvalJudgeArgs {
    /// What people said: a JSON Lines or Parquet file with id and labels
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// What a judge said: its folder in that of `kinvert planner judge`
    #[arg(long, value_name = "FOLDER")]
    pub judged: PathBuf,
}
