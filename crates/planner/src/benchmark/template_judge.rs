//! A judge that asks nobody: two ablations match if they would run the same.

use kinvert_study::{Ablation, Action, Location, Settings};

use super::judge::{Case, Judge, JudgeName, Judgement, no_match};
use super::labels::{AblationLabel, Labels};
use super::manifest::{Truth, TruthAblation};
use crate::template::{TEMPLATE, settings_of};
use crate::{Error, Watch};

/// A [`Judge`] for the one method whose ablations the program can run.
///
/// An ablation of the truth and an entry of the plan match if both ask for a variant with the same settings. Words that
/// are not understood match nothing. Reviews, which name no settings, it cannot judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct TemplateJudge;

impl Judge for TemplateJudge {
    fn name(&self) -> JudgeName {
        JudgeName {
            model: TEMPLATE.into(),
            sample: 0,
        }
    }

    fn paper_tokens(&self) -> usize {
        0
    }

    fn question(&self, case: &Case<'_>) -> Result<String, Error> {
        let truths = truths(case)?;
        let version = env!("CARGO_PKG_VERSION"); // another version may understand more words
        Ok(format!("{version}\n{:?}\n{truths:?}", case.plan))
    }

    fn judge(&self, case: &Case<'_>, _: &dyn Watch) -> Result<Judgement, Error> {
        let truths = truths(case)?;
        if case.is_empty() {
            return Ok(Judgement::of_labels(no_match(case)));
        }
        let plan: Vec<(&str, Vec<Settings>)> = case
            .plan
            .iter()
            .map(|entry| (entry.name.as_str(), settings_of(entry)))
            .collect();
        let labels = truths.iter().map(|truth| {
            let wanted = ablation_of(truth).map_or(Vec::new(), |truth| settings_of(&truth));
            let matching = plan
                .iter()
                .filter(|(_, settings)| settings.iter().any(|settings| wanted.contains(settings)));
            AblationLabel::new(
                &truth.name,
                matching.map(|(name, _)| (*name).to_owned()).collect(),
            )
        });
        Ok(Judgement::of_labels(Labels::Ablations(labels.collect())))
    }
}

fn truths<'a>(case: &Case<'a>) -> Result<&'a [TruthAblation], Error> {
    match case.truth {
        Truth::Ablations(truths) => Ok(truths),
        Truth::Reviews { .. } => Err(Error::NoJudgement {
            judge: TEMPLATE.into(),
            reason: "reviews name no settings; a language model has to judge them".into(),
        }),
    }
}

/// The truth as an ablation that can be resolved; none without a known action.
fn ablation_of(truth: &TruthAblation) -> Option<Ablation> {
    Some(Ablation {
        name: truth.name.clone(),
        ablated_part: truth.ablated_part.clone(),
        action: Action::of_name(&truth.action)?,
        replacement: truth.replacement.clone(),
        metrics: truth.metrics.clone(),
        at: Location {
            line: 1,
            column: None,
        },
        variants: Vec::new(),
    })
}
