//! Plans by a language model.

use serde::Serialize;

use crate::answer::{self, Answer};
use crate::chat::{ChatModel, ChatRequest, Role, Turn, Usage, Watch};
use crate::paper::{Cut, Paper, estimate_tokens};
use crate::prompts::{self, Question};
use crate::{Error, Existing, Findings, Mode, Planner, Proposal};

/// Characters of a faulty answer that are shown to the model again.
const MAX_SHOWN_CHARS: usize = 60_000;

/// Fewest tokens of a paper that are worth a question.
const LEAST_PAPER_TOKENS: usize = 500;

/// Most ablations of one plan.
pub const MAX_COUNT: usize = 50;

/// How a language model is asked for plans.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanningOptions {
    /// Tokens that the model can read and write, all together.
    pub context_tokens: usize,
    /// Tokens that are kept free for its answer and hidden reasoning.
    pub answer_tokens: usize,
    /// Randomness of the answer; the model's own if absent.
    pub temperature: Option<f32>,
    /// What a study has shown already.
    pub findings: Option<Findings>,
    /// Whether the plan has to keep to what a study can run.
    pub runnable: bool,
}

impl Default for PlanningOptions {
    /// What every current model of some size can do.
    fn default() -> Self {
        Self {
            context_tokens: 128_000,
            answer_tokens: 16_000,
            temperature: None,
            findings: None,
            runnable: false,
        }
    }
}

/// A [`Planner`] that asks a language model.
pub struct LanguageModel<'a> {
    model: &'a dyn ChatModel,
    options: PlanningOptions,
}

/// What a model is asked, and what of the paper it does not see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    /// The conversation.
    pub request: ChatRequest,
    /// An estimate of its tokens.
    pub tokens: usize,
    /// What was cut from the paper.
    pub cuts: Vec<Cut>,
    /// What should be known about it, a sentence each: what reading the paper lost comes first.
    pub notes: Vec<String>,
}

impl PlanningOptions {
    /// The question for a plan, without asking it.
    ///
    /// # Errors
    /// If the numbers make no sense, or the context leaves no room for the paper.
    pub fn ask(&self, paper: &Paper, mode: Mode, count: usize) -> Result<Asked, Error> {
        check_count(count)?;
        if let Some(temperature) = self.temperature.filter(|t| !(0.0..=2.0).contains(t)) {
            let reason = format!("found {temperature}, expected 0 to 2");
            return Err(Error::Setting {
                field: "temperature",
                reason,
            });
        }
        let seen = match mode {
            Mode::Author => &paper.until_experiments(),
            Mode::Reviewer => paper,
        };
        let results = self.findings.as_ref().map(Findings::text);
        let question = |paper: &str, cuts: Vec<String>| {
            prompts::question(&Question {
                mode,
                count,
                paper,
                cuts,
                results,
                runnable: self.runnable,
            })
        };
        let system = prompts::system(mode)?;
        let beside = estimate_tokens(&system) + estimate_tokens(&question("", Vec::new())?);
        let taken = beside + self.answer_tokens;
        let room = self.context_tokens.saturating_sub(taken);
        if room < LEAST_PAPER_TOKENS {
            let context = self.context_tokens;
            return Err(Error::Context { context, taken });
        }
        // What was cut is told in the question, which takes room too.
        let fitted = seen.fit(room - room / 20);
        let cuts: Vec<String> = fitted.cuts.iter().map(ToString::to_string).collect();
        let text = question(&fitted.text, cuts.clone())?;
        let tokens = estimate_tokens(&system) + estimate_tokens(&text);
        let mut notes = seen.lost.clone();
        notes.extend(cuts);
        let turns = vec![Turn {
            role: Role::User,
            text,
        }];
        Ok(Asked {
            request: ChatRequest {
                system,
                turns,
                temperature: self.temperature,
                max_output_tokens: u32::try_from(self.answer_tokens).ok(),
            },
            tokens,
            cuts: fitted.cuts,
            notes,
        })
    }
}

impl<'a> LanguageModel<'a> {
    /// A planner that asks `model`.
    pub fn new(model: &'a dyn ChatModel, options: PlanningOptions) -> Self {
        Self { model, options }
    }

    /// The answer and what it took; a malformed one is asked for again, once, with what is wrong with it.
    fn answer(
        &self,
        mut request: ChatRequest,
        mode: Mode,
        count: usize,
        watch: &dyn Watch,
    ) -> Result<(Answer, Usage), Error> {
        let first = self.model.complete(&request, watch)?;
        let faults = match answer::parse(&first.text, mode, count) {
            Ok(answer) => return Ok((answer, first.usage)),
            Err(faults) => faults,
        };
        let fault = faults.first().map_or("", String::as_str);
        watch.note(&format!(
            "{}: the answer could not be read ({fault}); asking for it again",
            self.model.name()
        ));
        let shown: String = first.text.chars().take(MAX_SHOWN_CHARS).collect();
        let repair = prompts::repair(&faults)?;
        request.turns.extend([
            Turn {
                role: Role::Assistant,
                text: shown,
            },
            Turn {
                role: Role::User,
                text: repair,
            },
        ]);
        let second = self.model.complete(&request, watch)?;
        let usage = [first.usage, second.usage].into_iter().sum();
        match answer::parse(&second.text, mode, count) {
            Ok(answer) => Ok((answer, usage)),
            Err(faults) => Err(Error::Malformed {
                model: self.model.name().to_owned(),
                faults,
            }),
        }
    }
}

impl Planner for LanguageModel<'_> {
    fn name(&self) -> &str {
        self.model.name()
    }

    /// The model, and what it would be asked about a paper without text.
    fn settings(&self) -> String {
        let requests = [Mode::Author, Mode::Reviewer].map(|mode| {
            let asked = self.options.ask(&Paper::default(), mode, 1);
            asked.map(|asked| asked.request).ok()
        });
        let requests = serde_json::to_string(&requests).unwrap_or_default(); // cannot fail: texts and numbers
        let context = self.options.context_tokens;
        format!("{}\n{context}\n{requests}", self.model.identity())
    }

    fn propose(
        &self,
        paper: &Paper,
        mode: Mode,
        count: usize,
        watch: &dyn Watch,
    ) -> Result<Proposal, Error> {
        let asked = self.options.ask(paper, mode, count)?;
        let (answer, usage) = self.answer(asked.request, mode, count, watch)?;
        let mut notes = asked.notes;
        if answer.surplus > 0 {
            let surplus = answer.surplus;
            notes.push(format!(
                "the model proposed {surplus} more than it was asked for; they are left out"
            ));
        }
        notes.extend(unfounded(&answer.existing, paper));
        let mut plan = answer.plan;
        plan.title.clone_from(&paper.title);
        Ok(Proposal {
            plan,
            existing: answer.existing,
            cuts: asked.cuts,
            notes,
            usage,
        })
    }
}

/// Refuses numbers of ablations that nobody means.
pub(crate) fn check_count(count: usize) -> Result<(), Error> {
    match (1..=MAX_COUNT).contains(&count) {
        true => Ok(()),
        false => Err(Error::Setting {
            field: "count",
            reason: format!("found {count}, expected 1 to {MAX_COUNT}"),
        }),
    }
}

/// A note for every ablation that the model says the paper has, with words that the paper does not have.
fn unfounded(existing: &[Existing], paper: &Paper) -> Vec<String> {
    let mut text = letters(paper.abstract_text.as_deref().unwrap_or_default());
    for section in &paper.sections {
        text += &letters(&section.title);
        text += &letters(&section.text);
    }
    let is_there = |quote: &str| {
        let mut parts = quote.split("...").flat_map(|part| part.split('…'));
        parts.all(|part| text.contains(&letters(part)))
    };
    let unfounded = existing.iter().filter(|found| !is_there(&found.quote));
    unfounded
        .map(|found| {
            format!(
                "\"{}\": the words that the model quotes for it are not in the paper",
                found.name
            )
        })
        .collect()
}

/// What is left of a text when spaces, marks and case are not looked at.
fn letters(text: &str) -> String {
    let chars = text.chars().filter(|char| char.is_alphanumeric());
    chars.flat_map(char::to_lowercase).collect()
}
