//! One question: a judge about one paper.

use std::path::Path;

use super::{JudgeResult, JudgementRecord, PaperToJudge};
use crate::benchmark::digest::{hex, sha256};
use crate::benchmark::files;
use crate::benchmark::judge::{Case, Judge};
use crate::benchmark::labels::Labels;
use crate::benchmark::manifest::Truth;
use crate::benchmark::outcome::with_causes;
use crate::{Error, Watch};

/// Asks a judge about a paper, unless it has answered the same question before.
///
/// # Errors
/// What concerns all papers: the user asked to stop, or the folder cannot be read or written.
pub(super) fn judge_one(
    judge: &dyn Judge,
    paper: &PaperToJudge<'_>,
    folder: &Path,
    watch: &dyn Watch,
) -> Result<JudgeResult, Error> {
    let outcome = match answer_of(judge, paper, folder, watch) {
        Ok(answer) => Ok(answer),
        Err(Failed::Everybody(error)) => return Err(error),
        Err(Failed::Own(error)) => Err(with_causes(&error)),
    };
    Ok(JudgeResult {
        at: paper.at,
        judge: judge.name(),
        outcome,
    })
}

/// Whom an error concerns.
enum Failed {
    /// The paper alone.
    Own(Error),
    /// All of them: the folder cannot be written, or the user asked to stop.
    Everybody(Error),
}

fn answer_of(
    judge: &dyn Judge,
    paper: &PaperToJudge<'_>,
    folder: &Path,
    watch: &dyn Watch,
) -> Result<(Labels, JudgementRecord), Failed> {
    let entry = paper.entry;
    let texts = PaperTexts::of(paper, judge.paper_tokens()).map_err(Failed::Own)?;
    let case = Case {
        id: &entry.id,
        title: &texts.title,
        abstract_text: &texts.abstract_text,
        text: texts.text.as_deref(),
        plan: &paper.plan,
        truth: paper.truth,
    };
    let question = judge.question(&case).map_err(Failed::Own)?;
    let question_sha256 = hex(sha256([question.as_str()]));
    let known: Option<JudgementRecord> =
        files::record(folder, &entry.id).map_err(Failed::Everybody)?;
    if let Some(record) = known.filter(|record| record.question_sha256 == question_sha256)
        && let Some(lines) = files::lines(folder, &entry.id).map_err(Failed::Everybody)?
        && let Some(labels) = labels_of(&lines, paper.truth)
    {
        return Ok((labels, record));
    }
    let judgement = match judge.judge(&case, watch) {
        Ok(judgement) => judgement,
        Err(Error::Cancelled) => return Err(Failed::Everybody(Error::Cancelled)),
        Err(error) => {
            // What is there answers another question.
            files::discard(folder, &entry.id).map_err(Failed::Everybody)?;
            return Err(Failed::Own(error));
        }
    };
    // Scores hold labels and truth to be of one kind.
    if !is_of_kind(&judgement.labels, paper.truth) {
        return Err(Failed::Own(Error::NoJudgement {
            judge: judge.name().to_string(),
            reason: "its labels are of another kind than the truth".into(),
        }));
    }
    let record = JudgementRecord {
        id: entry.id.clone(),
        judge: judge.name(),
        question_sha256,
        discussion: judgement.discussion,
        notes: judgement.notes,
        usage: judgement.usage,
    };
    let lines = judgement.labels.to_json_lines();
    files::store(folder, &entry.id, &lines, &record).map_err(Failed::Everybody)?;
    Ok((judgement.labels, record))
}

/// Labels from their lines, if they are of the truth's kind.
fn labels_of(lines: &str, truth: &Truth) -> Option<Labels> {
    let labels = match (Labels::parse(lines).ok()?, truth) {
        (Labels::Ablations(labels), Truth::Reviews { .. }) if labels.is_empty() => {
            Labels::Reviews(Vec::new()) // no lines may be either
        }
        (labels, _) => labels,
    };
    is_of_kind(&labels, truth).then_some(labels)
}

/// Whether labels say something about this kind of truth.
fn is_of_kind(labels: &Labels, truth: &Truth) -> bool {
    matches!(
        (labels, truth),
        (Labels::Ablations(_), Truth::Ablations(_)) | (Labels::Reviews(_), Truth::Reviews { .. })
    )
}

/// What a judge sees of a paper.
struct PaperTexts {
    title: String,
    abstract_text: String,
    text: Option<String>,
}

impl PaperTexts {
    /// Reads the paper only if it is needed: beside reviews, or because the manifest does not say what it is about.
    fn of(paper: &PaperToJudge<'_>, paper_tokens: usize) -> Result<Self, Error> {
        let entry = paper.entry;
        let needs_text = matches!(paper.truth, Truth::Reviews { .. }) && entry.source.is_some();
        let (title, abstract_text, text) = match (&entry.title, &entry.abstract_text) {
            (Some(title), Some(abstract_text)) if !needs_text => {
                (Some(title.clone()), Some(abstract_text.clone()), None)
            }
            _ => {
                let paper = entry.paper()?;
                let text = needs_text.then(|| paper.fit(paper_tokens).text);
                (paper.title, paper.abstract_text, text)
            }
        };
        Ok(Self {
            title: title.unwrap_or_default(),
            abstract_text: abstract_text.unwrap_or_default(),
            text,
        })
    }
}
