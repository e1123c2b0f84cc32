//! What judging gave: for each paper, and on the whole.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::{JudgeResult, JudgementRecord, PaperToJudge};
use crate::benchmark::judge::JudgeName;
use crate::benchmark::labels::Labels;
use crate::benchmark::manifest::Manifest;
use crate::benchmark::outcome::Failure;
use crate::benchmark::published::{Published, published};
use crate::benchmark::scores::{Matches, ScoreMeans, Scores};
use crate::{Error, Usage};

/// One paper, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The paper.
    pub id: String,
    /// What was found.
    pub labels: Labels,
    /// Which entries that counts for.
    pub matches: Matches,
    /// The scores.
    pub scores: Scores,
    /// Labels and scores as AblationBench counts them.
    pub published: Published,
    /// Judges with a valid answer.
    pub judges: usize,
    /// What was odd about their answers.
    pub notes: Vec<String>,
    /// What they took together.
    pub usage: Usage,
    /// Its price in US dollars, where it is known.
    pub cost: Option<f64>,
}

/// The papers of a dataset, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgeSummary {
    /// Papers of the dataset.
    pub papers: usize,
    /// Papers that at least one judge gave a valid answer for; all means are over them.
    pub judged: usize,
    /// How many entries of each plan count; all if absent.
    pub top_k: Option<NonZeroUsize>,
    /// Papers for which nobody chose any ablations; they are left out.
    pub without_truth: Vec<String>,
    /// Papers for which there is no plan; they are left out.
    pub without_plan: Vec<String>,
    /// Papers whose plan cannot be read; they are left out.
    pub unreadable_plans: Vec<Failure>,
    /// Answers that are missing.
    pub failed: Vec<JudgeFailure>,
    /// What each judge says.
    pub judges: Vec<JudgeMeans>,
    /// What the majority says; absent if nothing was judged.
    pub scores: Option<ScoreMeans>,
    /// The same as AblationBench counts it.
    pub published: Option<ScoreMeans>,
    /// What all judges took, for answers that were there already too.
    pub usage: Usage,
}

/// What one judge says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgeMeans {
    /// Who.
    pub judge: JudgeName,
    /// The folder of its judgements.
    pub folder: String,
    /// Papers with a valid answer.
    pub judged: usize,
    /// Means over them.
    pub scores: Option<ScoreMeans>,
    /// The same as AblationBench counts it.
    pub published: Option<ScoreMeans>,
    /// What the answers took.
    pub usage: Usage,
}

/// An answer that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JudgeFailure {
    /// The paper.
    pub id: String,
    /// Who should have judged.
    pub judge: JudgeName,
    /// The error, with its causes.
    pub error: String,
}

impl Evaluation {
    pub(super) fn new(
        paper: &PaperToJudge<'_>,
        labels: &Labels,
        records: &[&JudgementRecord],
        top_k: Option<NonZeroUsize>,
    ) -> Option<Self> {
        let names = paper.names();
        let matches = Matches::of(labels, &names, paper.truth, top_k);
        let usage: Usage = records.iter().map(|record| record.usage).sum();
        Some(Self {
            id: paper.entry.id.clone(),
            labels: labels.clone(),
            scores: matches.scores()?,
            matches,
            published: published(labels, &names, paper.truth, top_k),
            judges: records.len(),
            notes: notes(records),
            usage,
            cost: usage.price_usd(),
        })
    }
}

/// The notes of all judges, each with the judge's name if there are several.
fn notes(records: &[&JudgementRecord]) -> Vec<String> {
    let of_judge = |record: &JudgementRecord| -> Vec<String> {
        let said = record.notes.iter();
        match records.len() {
            1 => said.cloned().collect(),
            _ => said
                .map(|note| format!("{}: {note}", record.judge))
                .collect(),
        }
    };
    records.iter().flat_map(|record| of_judge(record)).collect()
}

impl JudgeSummary {
    pub(super) fn new(manifest: &Manifest, top_k: Option<NonZeroUsize>) -> Self {
        Self {
            papers: manifest.entries.len(),
            judged: 0,
            top_k,
            without_truth: Vec::new(),
            without_plan: Vec::new(),
            unreadable_plans: Vec::new(),
            failed: Vec::new(),
            judges: Vec::new(),
            scores: None,
            published: None,
            usage: Usage::default(),
        }
    }

    pub(super) fn add_judge(
        &mut self,
        judge: JudgeName,
        folder: String,
        evaluations: &[Evaluation],
    ) -> Result<(), Error> {
        let (scores, published) = means(evaluations)?;
        self.judges.push(JudgeMeans {
            judge,
            folder,
            judged: evaluations.len(),
            scores,
            published,
            usage: evaluations.iter().map(|paper| paper.usage).sum(),
        });
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        evaluations: &[Evaluation],
        papers: &[PaperToJudge<'_>],
        results: &[JudgeResult],
    ) -> Result<(), Error> {
        (self.scores, self.published) = means(evaluations)?;
        self.judged = evaluations.len();
        self.usage = evaluations.iter().map(|paper| paper.usage).sum();
        let failed = results.iter().filter_map(|result| {
            Some(JudgeFailure {
                id: papers.get(result.at)?.entry.id.clone(),
                judge: result.judge.clone(),
                error: result.outcome.as_ref().err()?.clone(),
            })
        });
        self.failed = failed.collect();
        Ok(())
    }
}

fn means(evaluations: &[Evaluation]) -> Result<(Option<ScoreMeans>, Option<ScoreMeans>), Error> {
    let scores: Vec<Scores> = evaluations.iter().map(|paper| paper.scores).collect();
    let published: Vec<Published> = evaluations
        .iter()
        .map(|paper| paper.published.clone())
        .collect();
    Ok((ScoreMeans::of(&scores)?, Published::means(&published)?))
}
