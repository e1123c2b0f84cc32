//! What people said who saw two clips side by side.

use kinvert_metrics::votes::{Estimate, QuestionReport, Report};
use serde::Serialize;

use super::numbers::{self, NONE, count, fixed};
use crate::analysis::Analysis;

#[derive(Serialize)]
pub(super) struct Preference {
    /// Who voted and how much, in sentences.
    facts: Vec<String>,
    /// The variant that strengths are relative to.
    baseline: Option<String>,
    questions: Vec<Asked>,
    left_out: Vec<LeftOut>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Asked {
    wording: &'static str,
    variants: Vec<Variant>,
    pairs: Vec<Pair>,
    /// How far raters agree and how answers are spread, in a sentence.
    agreement: String,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Variant {
    name: String,
    win_rate: String,
    win_interval: Option<String>,
    strength: String,
    strength_interval: Option<String>,
    wins: usize,
    ties: usize,
    losses: usize,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    against: String,
    win_rate: String,
    win_interval: Option<String>,
    wins: usize,
    ties: usize,
    losses: usize,
}

#[derive(Serialize)]
struct LeftOut {
    rater: String,
    failed: usize,
    checks: usize,
    votes: usize,
}

pub(super) fn preference(analysis: &Analysis) -> Option<Preference> {
    let report = analysis.preference.as_ref()?;
    let left_out = report.raters.left_out.iter();
    Some(Preference {
        facts: facts(report),
        baseline: report.baseline.clone(),
        questions: report.questions.iter().map(asked).collect(),
        left_out: left_out
            .map(|rater| LeftOut {
                rater: rater.rater.clone(),
                failed: rater.failed,
                checks: rater.checks,
                votes: rater.votes,
            })
            .collect(),
        warnings: report.warnings.clone(),
    })
}

fn facts(report: &Report) -> Vec<String> {
    let raters = &report.raters;
    let mut facts = vec![
        format!(
            "{} of {} count, from {}.",
            report.votes.counted,
            count(report.votes.total, "vote"),
            count(raters.kept, "rater")
        ),
        format!(
            "{} of {} have a vote that counts.",
            report.pairs_with_votes,
            count(report.pairs, "pair")
        ),
    ];
    if let Some(seconds) = report.median_seconds {
        facts.push(format!(
            "A vote took {} (median).",
            numbers::duration(seconds)
        ));
    }
    if raters.without_checks > 0 {
        let raters = count(raters.without_checks, "rater");
        facts.push(format!("{raters} met no attention check."));
    }
    facts
}

fn asked(report: &QuestionReport) -> Asked {
    let (answers, agreement) = (&report.answers, &report.agreement);
    let alpha = agreement
        .alpha_ordinal
        .map_or(NONE.into(), |alpha| fixed(alpha, 2));
    let observed = agreement.observed.map_or(NONE.into(), percent);
    Asked {
        wording: report.question.wording(),
        variants: report
            .variants
            .iter()
            .map(|variant| Variant {
                name: variant.variant.clone(),
                win_rate: share(&variant.win_rate),
                win_interval: share_interval(&variant.win_rate),
                strength: variant
                    .strength
                    .value
                    .map_or(NONE.into(), |odds| fixed(odds, 2)),
                strength_interval: variant
                    .strength
                    .interval
                    .map(|ends| numbers::interval(ends, 2)),
                wins: variant.wins,
                ties: variant.ties,
                losses: variant.losses,
            })
            .collect(),
        pairs: report
            .head_to_head
            .iter()
            .map(|pair| Pair {
                name: pair.variant.clone(),
                against: pair.against.clone(),
                win_rate: share(&pair.win_rate),
                win_interval: share_interval(&pair.win_rate),
                wins: pair.wins,
                ties: pair.ties,
                losses: pair.losses,
            })
            .collect(),
        agreement: format!(
            "Krippendorff’s α {alpha} over {} with two votes or more (1 is perfect agreement, 0 is chance); {observed} \
             of answers to the same pair are equal. Answers given: {} left, {} right, {} about equal.",
            count(agreement.pairs, "pair"),
            answers.left,
            answers.right,
            answers.equal
        ),
        warnings: report.warnings.clone(),
    }
}

fn share(estimate: &Estimate) -> String {
    estimate.value.map_or(NONE.into(), percent)
}

fn share_interval(estimate: &Estimate) -> Option<String> {
    let ends = estimate.interval?;
    let [low, high] = [ends.low, ends.high].map(|end| fixed(100.0 * end, 0));
    Some(format!("[{low}, {high}]"))
}

fn percent(share: f64) -> String {
    format!("{} %", fixed(100.0 * share, 0))
}
