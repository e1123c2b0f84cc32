//! Judging the plans of a whole dataset, by one judge or several, in a folder.
//!
//! | file | what it holds |
//! |---|---|
//! | `<judge>/<id>.jsonl` | what the judge found, in the form of AblationBench |
//! | `<judge>/<id>.json` | how it came about: [`JudgementRecord`] |
//! | `<judge>/evaluations.json` | labels, scores and cost of each paper by this judge |
//! | `majority/<id>.jsonl` | what most judges found |
//! | `evaluations.json` | labels, scores and cost of each paper by the majority |
//! | `summary.json` | [`JudgeSummary`] |

mod ask;
mod folder;
mod summary;

use std::num::NonZeroUsize;
use std::path::Path;

use kinvert_base::Progress;
use kinvert_study::Ablation;
use serde::{Deserialize, Serialize};

use self::ask::judge_one;
use self::folder::folder_name;
pub use self::summary::{Evaluation, JudgeFailure, JudgeMeans, JudgeSummary};

use super::each::each;
use super::files;
use super::judge::{Judge, JudgeName};
use super::labels::Labels;
use super::majority::majority;
use super::manifest::{Entry, Manifest, Truth};
use super::outcome::{Failure, Tally, with_causes};
use crate::{Error, Usage};

/// Labels, scores and cost of each paper.
pub const EVALUATIONS_FILE: &str = "evaluations.json";

/// What judging has given.
pub const SUMMARY_FILE: &str = "summary.json";

/// Folder of what most judges found.
const MAJORITY_FOLDER: &str = "majority";

/// How plans are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgeOptions {
    /// How many entries of each plan count, the first ones; all if absent. Judges see all of them.
    pub top_k: Option<NonZeroUsize>,
    /// Questions at a time.
    pub parallel: NonZeroUsize,
}

/// How a judgement came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgementRecord {
    /// The paper.
    pub id: String,
    /// Who judged.
    pub judge: JudgeName,
    /// SHA-256 of everything that the judge was asked.
    pub question_sha256: String,
    /// The judge's reasoning.
    pub discussion: String,
    /// What was odd about its answer, a sentence each.
    pub notes: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// Judges the plans of a folder, `<id>.jsonl` for each paper of the manifest, by each of these judges, whose names must
/// differ.
///
/// What was judged is not judged again while paper, plan, truth and question are the same; what failed is tried again.
/// Papers without truth, those without a plan that can be read, and those that no judge gave a valid answer for are left
/// out of all means, and told. An empty plan is judged: it meets nothing.
///
/// # Errors
/// [`Error::Folder`] if there are no plans; [`Error::Cancelled`] if the user asked to stop; if files cannot be read or
/// written.
pub fn judge_all(
    manifest: &Manifest,
    plans: &Path,
    judges: &[&dyn Judge],
    options: &JudgeOptions,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<JudgeSummary, Error> {
    if !plans.is_dir() {
        return Err(Error::Folder {
            path: plans.to_owned(),
            reason: "no such folder, expected one with a plan for each paper".into(),
        });
    }
    let mut summary = JudgeSummary::new(manifest, options.top_k);
    let papers = papers_to_judge(manifest, plans, &mut summary)?;
    let mut work = Vec::new();
    for judge in judges {
        let name = judge.name();
        let folder = folder.join(folder_name(&name));
        files::create_folder(&folder)?;
        work.extend(papers.iter().map(|paper| (*judge, paper, folder.clone())));
    }
    work.sort_by_key(|(_, paper, _)| paper.at); // all judges of a paper, then the next paper

    let mut tally = Tally::default();
    let results = each(
        "judging",
        &work,
        options.parallel,
        |(judge, paper, folder), watch| judge_one(*judge, paper, folder, watch),
        |result: &JudgeResult| {
            let done = result.outcome.as_ref().ok();
            tally.add(done.map(|(_, record)| record.usage))
        },
        progress,
    )?;

    let mut found: Vec<Vec<(&Labels, &JudgementRecord)>> = vec![Vec::new(); papers.len()];
    for result in &results {
        if let Ok((labels, record)) = &result.outcome {
            found[result.at].push((labels, record));
        }
    }
    for judge in judges {
        let name = judge.name();
        let of_judge = papers.iter().zip(&found).filter_map(|(paper, found)| {
            let (labels, record) = found.iter().find(|(_, record)| record.judge == name)?;
            Evaluation::new(paper, labels, &[record], options.top_k)
        });
        let evaluations: Vec<Evaluation> = of_judge.collect();
        let path = folder.join(folder_name(&name));
        files::write_json(&path.join(EVALUATIONS_FILE), &evaluations)?;
        summary.add_judge(name.clone(), folder_name(&name), &evaluations)?;
    }
    let path = folder.join(MAJORITY_FOLDER);
    files::create_folder(&path)?;
    let mut evaluations = Vec::new();
    for (paper, found) in papers.iter().zip(found) {
        let (labels, records): (Vec<&Labels>, Vec<_>) = found.into_iter().unzip();
        if labels.is_empty() {
            files::discard(&path, &paper.entry.id)?;
            continue;
        }
        let most = majority(&labels, &paper.names(), paper.truth);
        files::write_lines(&path, &paper.entry.id, &most.to_json_lines())?;
        evaluations.extend(Evaluation::new(paper, &most, &records, options.top_k));
    }
    files::write_json(&folder.join(EVALUATIONS_FILE), &evaluations)?;
    summary.finish(&evaluations, &papers, &results)?;
    files::write_json(&folder.join(SUMMARY_FILE), &summary)?;
    Ok(summary)
}

/// A paper that can be judged.
struct PaperToJudge<'a> {
    /// Its place among them.
    at: usize,
    entry: &'a Entry,
    truth: &'a Truth,
    plan: Vec<Ablation>,
}

/// All papers with a truth and a plan that can be read; the others are told to the summary.
fn papers_to_judge<'a>(
    manifest: &'a Manifest,
    plans: &Path,
    summary: &mut JudgeSummary,
) -> Result<Vec<PaperToJudge<'a>>, Error> {
    let mut papers = Vec::new();
    for entry in &manifest.entries {
        let truth = entry.truth.as_ref().filter(|truth| truth.count() > 0);
        let Some(truth) = truth else {
            summary.without_truth.push(entry.id.clone());
            continue;
        };
        let Some(lines) = files::lines(plans, &entry.id)? else {
            summary.without_plan.push(entry.id.clone());
            continue;
        };
        match files::plan(&entry.id, &lines) {
            Ok(plan) => papers.push(PaperToJudge {
                at: papers.len(),
                entry,
                truth,
                plan,
            }),
            Err(error) => summary.unreadable_plans.push(Failure {
                id: entry.id.clone(),
                error: with_causes(&error),
            }),
        }
    }
    Ok(papers)
}

impl PaperToJudge<'_> {
    fn names(&self) -> Vec<&str> {
        self.plan.iter().map(|entry| entry.name.as_str()).collect()
    }
}

/// What came of one question.
struct JudgeResult {
    /// The paper's place.
    at: usize,
    judge: JudgeName,
    outcome: Result<(Labels, JudgementRecord), String>,
}
