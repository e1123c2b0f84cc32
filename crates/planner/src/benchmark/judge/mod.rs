//! Who says which ablations of the truth a plan meets.
//!
//! A language model is asked once for each paper, and once more if its answer cannot be read. The entries of both sides stand in an
//! order that is drawn from the paper's id and the judge's sample: no order is preferred on average over papers, and the
//! same question is asked again the same way.

mod answer;
mod prompt;

use kinvert_study::Ablation;
use serde::{Deserialize, Serialize};

use self::answer::Answer;
use super::labels::{AblationLabel, Labels, ReviewLabel};
use super::manifest::Truth;
use crate::chat::{Role, Turn};
use crate::{ChatModel, ChatRequest, Error, Usage, Watch};

/// Somebody who says which ablations of the truth a plan meets. Questions may come from several threads at once.
pub trait Judge: Sync {
    /// The judge's name.
    fn name(&self) -> JudgeName;

    /// Most tokens of a paper's text that the judge reads beside reviews.
    fn paper_tokens(&self) -> usize;

    /// Everything that decides the judgement, as text: the same question is not asked again.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn question(&self, case: &Case<'_>) -> Result<String, Error>;

    /// Judges a plan. A plan without entries and a truth without ablations match nothing; then nobody is asked.
    ///
    /// # Errors
    /// If no judgement could be made, or the user asked to stop.
    fn judge(&self, case: &Case<'_>, watch: &dyn Watch) -> Result<Judgement, Error>;
}

/// A [`Judge`] that asks a language model.
#[derive(Clone, Copy)]
pub struct LanguageModelJudge<'a> {
    model: &'a dyn ChatModel,
    sample: usize,
    settings: JudgeSettings,
}

/// How judges are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgeSettings {
    /// Randomness of the answers; the models' own if absent.
    pub temperature: Option<f32>,
    /// Most tokens of an answer; the models' own bound if absent.
    pub max_output_tokens: Option<u32>,
    /// Most tokens of a paper, which judges see beside reviews.
    pub paper_tokens: usize,
}

impl Default for JudgeSettings {
    /// The models' own settings, and 60 000 tokens of a paper.
    fn default() -> Self {
        Self {
            temperature: None,
            max_output_tokens: None,
            paper_tokens: 60_000,
        }
    }
}

/// What a judge is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The paper's id, from which the order of the entries is drawn.
    pub id: &'a str,
    /// The paper's title.
    pub title: &'a str,
    /// Its abstract.
    pub abstract_text: &'a str,
    /// Its text; of use beside reviews.
    pub text: Option<&'a str>,
    /// The ablations of the plan.
    pub plan: &'a [Ablation],
    /// What they are held to.
    pub truth: &'a Truth,
}

/// What a judge found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// A label for each ablation of the truth, or with reviews for each entry of the plan, in their own order.
    pub labels: Labels,
    /// The judge's reasoning.
    pub discussion: String,
    /// What was odd about its answer, a sentence each.
    pub notes: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// A judge's name and sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeName {
    /// The name of its model.
    pub model: String,
    /// Which of the model's samples it is, from 0.
    pub sample: usize,
}

impl<'a> LanguageModelJudge<'a> {
    /// A judge. The same model may judge several times; each `sample` sees the entries in another order.
    pub fn new(model: &'a dyn ChatModel, sample: usize, settings: JudgeSettings) -> Self {
        Self {
            model,
            sample,
            settings,
        }
    }

    /// What the judge is asked first.
    fn request(&self, case: &Case<'_>) -> Result<ChatRequest, Error> {
        Ok(ChatRequest {
            system: prompt::system()?,
            turns: vec![turn(Role::User, prompt::user(case, self.sample)?)],
            temperature: self.settings.temperature,
            max_output_tokens: self.settings.max_output_tokens,
        })
    }
}

impl Judge for LanguageModelJudge<'_> {
    fn name(&self) -> JudgeName {
        JudgeName {
            model: self.model.name().into(),
            sample: self.sample,
        }
    }

    fn paper_tokens(&self) -> usize {
        self.settings.paper_tokens
    }

    fn question(&self, case: &Case<'_>) -> Result<String, Error> {
        let question = (self.model.identity(), self.sample, self.request(case)?);
        Ok(serde_json::to_string(&question).unwrap_or_default()) // cannot fail: texts and numbers
    }

    /// # Errors
    /// [`Error::NoJudgement`] if neither answer can be read; those of the model.
    fn judge(&self, case: &Case<'_>, watch: &dyn Watch) -> Result<Judgement, Error> {
        if case.is_empty() {
            return Ok(Judgement::of_labels(no_match(case)));
        }
        let mut request = self.request(case)?;
        let first = self.model.complete(&request, watch)?;
        let mut usage = first.usage;
        let answer = match answer::parse(&first.text, case) {
            Ok(answer) => answer,
            Err(reason) => {
                watch.note(&format!("{}: asked again, because {reason}", case.id));
                let repair = prompt::repair(&reason)?;
                request
                    .turns
                    .extend([turn(Role::Assistant, first.text), turn(Role::User, repair)]);
                let second = self.model.complete(&request, watch)?;
                usage += second.usage;
                answer::parse(&second.text, case).map_err(|reason| Error::NoJudgement {
                    judge: self.name().to_string(),
                    reason,
                })?
            }
        };
        let Answer {
            labels,
            discussion,
            notes,
        } = answer;
        Ok(Judgement {
            labels,
            discussion,
            notes,
            usage,
        })
    }
}

impl Case<'_> {
    /// Whether there is nothing to compare on one of the sides.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.is_empty() || self.truth.count() == 0
    }
}

impl Judgement {
    /// A judgement that took nothing and needs no reasons.
    pub(super) fn of_labels(labels: Labels) -> Self {
        Self {
            labels,
            discussion: String::new(),
            notes: Vec::new(),
            usage: Usage::default(),
        }
    }
}

impl std::fmt::Display for JudgeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.model)?;
        match self.sample {
            0 => Ok(()),
            sample => write!(f, " #{}", sample + 1),
        }
    }
}

fn turn(role: Role, text: String) -> Turn {
    Turn { role, text }
}

/// The labels of a plan that meets nothing.
pub(super) fn no_match(case: &Case<'_>) -> Labels {
    match case.truth {
        Truth::Ablations(truths) => {
            let label = |name: &String| AblationLabel::new(name, Vec::new());
            Labels::Ablations(truths.iter().map(|truth| label(&truth.name)).collect())
        }
        Truth::Reviews { .. } => {
            let label = |entry: &Ablation| ReviewLabel {
                name_in_plan: entry.name.clone(),
                appears_in_review: false,
            };
            Labels::Reviews(case.plan.iter().map(label).collect())
        }
    }
}

#[cfg(test)]
mod tests;
