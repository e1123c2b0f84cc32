//! Arguments of `kinvert votes`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Count what people say who saw two clips side by side.
///
/// Raters see a reference, a prompt and two results in random left and right order, and answer three questions: which
/// follows the motion better, which fits the text better, which do they prefer.
#[derive(Debug, Args)]
#[command(after_help = FILES)]
pub struct VotesArgs {
    #[command(subcommand)]
    pub command: VotesCommand,
}

#[derive(Debug, Subcommand)]
pub enum VotesCommand {
    Import(ImportVotesArgs),
    Report(ReportVotesArgs),
}

/// The files, as a template.
macro_rules! files {
    () => {
        "\
Files are .csv with a header line or .jsonl with one object a line, in UTF-8. Columns (keys) in any order:

  pairs   pair          id, unique
          kind          comparison, or check for an attention check
          expected      of a check the right answer to every question: a, b or equal; else empty
          reference     clip whose motion is followed (a file or any label)
          prompt        the text; may be empty
          a_variant     name of the variant that made result a; b_variant likewise
          a_file        result a (a file or any label); b_file likewise

  votes   pair, rater   id of the pair, anonymous id of the rater
          left          the result that was shown on the left: a or b
          motion, text, preference
                        the answers as they were clicked: left, right or equal
          seconds       time taken
          time          2026-03-01T12:00:00Z or Unix seconds; may be empty

A template of pairs.csv:

  pair,kind,expected,reference,prompt,a_variant,a_file,b_variant,b_file
  p01,comparison,,bounce.mp4,a yellow star,plain,p.mp4,full,f.mp4
  same,check,equal,bounce.mp4,a yellow star,full,f.mp4,full,f.mp4
  noise,check,a,bounce.mp4,a yellow star,full,f.mp4,noise,n.mp4

and of votes.csv:

  pair,rater,left,motion,text,preference,seconds,time
  p01,r1,b,left,equal,left,8.5,2026-03-01T12:00:00Z

Which result is a should be drawn by lot. A cell that a spreadsheet would take for a formula is written to .csv
with an apostrophe before it, which is taken away when it is read."
    };
}

const FILES: &str = concat!(
    files!(),
    "

Examples:
  kinvert votes report examples/votes/votes-1.csv examples/votes/votes-2.jsonl --pairs examples/votes/pairs.csv \\
      --baseline plain
  kinvert votes import round-*.csv --pairs pairs.csv -o votes.jsonl"
);

/// Check votes and merge them into one file.
///
/// Every row is checked: whether its pair exists, its answers are known, its time makes sense, and its rater has not
/// voted on the pair already. If one is not right nothing is written, and all that are not are told.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportVotesArgs {
    #[command(flatten)]
    pub votes: VoteFiles,
    /// File for the votes (.csv or .jsonl), or folder for votes.jsonl and pairs.jsonl
    #[arg(short, long, value_name = "PATH")]
    pub output: PathBuf,
}

const IMPORT_EXAMPLES: &str = concat!(
    files!(),
    "

Examples:
  kinvert votes import monday.csv tuesday.csv --pairs pairs.csv -o votes.jsonl
  kinvert votes import raw/*.jsonl --pairs pairs.csv --skip-faulty -o survey/

With --json, stdout carries {files, votes, raters, skipped {count, told [{path, line, reason}]}, warnings}."
);

/// Say which variant people prefer, and how sure that is.
///
/// For each question: the win rate of each variant (a tie is half a win) and its Bradley-Terry strength, as the odds
/// of winning against the baseline or, without one, against a variant of average strength; both with 95 % bootstrap
/// intervals over raters. Then every two variants against each other, and how far raters agree (Krippendorff's alpha,
/// ordinal). Raters who fail attention checks are listed and left out; a check is failed if the answer to any of the
/// three questions is not the expected one.
#[derive(Debug, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportVotesArgs {
    #[command(flatten)]
    pub votes: VoteFiles,
    /// Variant that strengths are relative to [default: the average of all]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Share of attention checks, 0 to 1, that a rater may fail without being left out
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub max_failed_checks: f64,
    /// Resamples of the intervals, 100 to 100000
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub resamples: usize,
    /// Seed of the resamples
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

const REPORT_EXAMPLES: &str = "\
Examples:
  kinvert votes report votes.jsonl --pairs pairs.csv
  kinvert votes report examples/votes/votes-1.csv examples/votes/votes-2.jsonl --pairs examples/votes/pairs.csv \\
      --baseline plain

`kinvert votes --help` explains the files. With --json, stdout carries {baseline, pairs, pairs_with_votes, raters {kept,
without_checks, left_out [{rater, checks, failed, votes}], max_failed_checks}, votes {total, counted}, median_seconds,
bootstrap {resamples, seed}, questions [{question, answers {left, right, equal}, variants [{variant, wins, ties, losses,
win_rate {value, interval {low, high}}, strength {…}}], head_to_head [{variant, against, wins, ties, losses, win_rate}],
agreement {alpha_ordinal, alpha_nominal, observed, pairs}, warnings}], warnings, skipped, records {variant: [record]}}.
What is not defined is null.";

/// Votes and the pairs they are on.
#[derive(Debug, Args)]
pub struct VoteFiles {
    /// Files of votes, .csv or .jsonl
    #[arg(value_name = "VOTES", required = true)]
    pub files: Vec<PathBuf>,
    /// File of the pairs, .csv or .jsonl
    #[arg(long, value_name = "PAIRS")]
    pub pairs: PathBuf,
    /// Leave out rows that are not right, and say which, instead of refusing the files
    #[arg(long)]
    pub skip_faulty: bool,
}
