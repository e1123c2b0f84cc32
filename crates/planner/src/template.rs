//! Plans without a language model: what the method's own axes suggest.

use std::collections::BTreeSet;

use kinvert_study::resolve::{Standard, axis_of_sentence, standard_ablations};
use kinvert_study::{Ablation, Plan, Settings, resolve};

use crate::chat::{Usage, Watch};
use crate::language_model::check_count;
use crate::paper::{Paper, SectionKind};
use crate::{Error, Existing, Findings, Mode, Planner, Proposal};

/// Its name among the planners.
pub const TEMPLATE: &str = "template";

/// A [`Planner`] that knows one method, motion inversion, and leaves out or swaps one of its parts at a time.
///
/// It asks nobody and always gives the same plan for the same paper: something to begin with, and something for a
/// language model to beat. As a reviewer it passes over what the paper's ablations speak of.
#[derive(Clone, Debug, Default)]
pub struct Template {
    findings: Option<Findings>,
}

impl Template {
    /// With what a study has shown already, if there is one: what was run is not planned again.
    pub fn new(findings: Option<Findings>) -> Self {
        Self { findings }
    }

    /// What is left of an ablation beside what was run already; none if nothing is.
    fn open(&self, mut standard: Standard) -> Option<Standard> {
        let Some(findings) = &self.findings else {
            return Some(standard);
        };
        let is_open = |standard: &Standard| {
            let asked = settings_of(&standard.ablation);
            asked.iter().any(|settings| !findings.has_run(settings))
        };
        let one = |instead: &String| {
            let mut one = standard.clone();
            one.ablation.replacement = vec![instead.clone()];
            is_open(&one)
        };
        let open: Vec<String> = standard
            .ablation
            .replacement
            .iter()
            .filter(|i| one(i))
            .cloned()
            .collect();
        let is_open = match standard.ablation.replacement.is_empty() {
            true => is_open(&standard),
            false => !open.is_empty(),
        };
        standard.ablation.replacement = open;
        is_open.then_some(standard)
    }
}

impl Planner for Template {
    fn name(&self) -> &str {
        TEMPLATE
    }

    fn settings(&self) -> String {
        let findings = self.findings.as_ref().map_or("", Findings::text);
        format!("{}\n{findings}", env!("CARGO_PKG_VERSION")) // another version may know other axes
    }

    fn propose(
        &self,
        paper: &Paper,
        mode: Mode,
        count: usize,
        watch: &dyn Watch,
    ) -> Result<Proposal, Error> {
        check_count(count)?;
        if watch.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let existing = match mode {
            Mode::Author => Vec::new(),
            Mode::Reviewer => existing(paper),
        };
        let answered: BTreeSet<&str> = existing.iter().map(|found| found.name.as_str()).collect();
        let open = standard_ablations()
            .into_iter()
            .filter(|standard| !answered.contains(standard.axis))
            .filter_map(|standard| self.open(standard));
        let chosen: Vec<Standard> = open.take(count).collect();
        if chosen.is_empty() {
            return Err(Error::NothingOpen);
        }
        let discussion = discussion(&chosen, &existing, self.findings.is_some());
        let mut notes = paper.lost.clone();
        if !speaks_of_the_method(paper) {
            notes.push(
                "the paper does not seem to be about motion embeddings, the only method that the template knows"
                    .into(),
            );
        }
        Ok(Proposal {
            plan: Plan {
                title: paper.title.clone(),
                discussion: Some(discussion),
                ablations: chosen
                    .into_iter()
                    .map(|standard| standard.ablation)
                    .collect(),
            },
            existing,
            cuts: Vec::new(),
            notes,
            usage: Usage::default(),
        })
    }
}

/// What an ablation asks to run, as far as it is understood.
pub(crate) fn settings_of(ablation: &Ablation) -> Vec<Settings> {
    let plan = Plan {
        title: None,
        discussion: None,
        ablations: vec![ablation.clone()],
    };
    let resolution = resolve(&plan);
    let variants = resolution
        .ablations
        .iter()
        .flat_map(|ablation| ablation.variants());
    variants.map(|variant| variant.settings.clone()).collect()
}

/// The axes that the paper's ablations clearly speak of, each with the first sentence that does.
fn existing(paper: &Paper) -> Vec<Existing> {
    let mut existing: Vec<Existing> = Vec::new();
    let kinds = paper.kinds();
    let sections = paper.sections.iter().zip(kinds);
    for (section, _) in sections.filter(|(_, kind)| *kind == SectionKind::Ablation) {
        let text = section
            .text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for sentence in text.split_inclusive(". ") {
            let Some(axis) = axis_of_sentence(sentence) else {
                continue;
            };
            if !existing.iter().any(|found| found.name == axis) {
                existing.push(Existing {
                    name: axis.into(),
                    section: section.title.clone(),
                    quote: sentence.trim().into(),
                });
            }
        }
    }
    existing
}

fn speaks_of_the_method(paper: &Paper) -> bool {
    let is_told = |text: &str| {
        let text = text.to_lowercase();
        [
            "motion embedding",
            "motion inversion",
            "motion customization",
        ]
        .iter()
        .any(|words| text.contains(words))
    };
    let beginnings = paper.title.iter().chain(&paper.abstract_text);
    let sections = paper.sections.iter().map(|section| &section.text);
    beginnings.chain(sections).any(|text| is_told(text))
}

fn discussion(chosen: &[Standard], existing: &[Existing], is_told_findings: bool) -> String {
    let mut text = String::from(
        "The method is taken apart along the choices that it makes; one of them is changed at a time and the others stay \
         as they are. Whole parts come before the way they are made, and numbers come last.\n",
    );
    if !existing.is_empty() {
        let names: Vec<_> = existing.iter().map(|found| found.name.as_str()).collect();
        text += &format!(
            "\nThe paper's own ablations speak of: {}.\n",
            names.join(", ")
        );
    }
    if is_told_findings {
        text += "\nWhat the study has run already is left out.\n";
    }
    text.push('\n');
    for (index, standard) in chosen.iter().enumerate() {
        text += &format!(
            "{}. **{}**: {}\n",
            index + 1,
            standard.ablation.name,
            standard.question
        );
    }
    text.trim_end().into()
}
