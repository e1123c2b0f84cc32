//! How a plan came about.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::PlanOptions;
use crate::benchmark::digest::{hex, sha256};
use crate::paper::Cut;
use crate::{Existing, Mode, Paper, Planner, Proposal, Usage};

/// How a plan came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The paper.
    pub id: String,
    /// How the planner looked at it.
    pub mode: Mode,
    /// The name of the planner.
    pub planner: String,
    /// Most ablations that it was asked for.
    pub count: usize,
    /// SHA-256 of everything else that the planner was told.
    pub settings_sha256: String,
    /// SHA-256 of the paper as it was read.
    pub paper_sha256: String,
    /// The planner's reasoning.
    pub discussion: Option<String>,
    /// The ablations that it found in the paper.
    pub existing: Vec<Existing>,
    /// What of the paper it did not see.
    pub cuts: Vec<Cut>,
    /// What should be known about the plan, a sentence each.
    pub notes: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

impl PlanRecord {
    pub(super) fn new(
        id: &str,
        planner: &dyn Planner,
        options: &PlanOptions,
        paper_sha256: String,
        proposal: Proposal,
    ) -> Self {
        Self {
            id: id.into(),
            mode: options.mode,
            planner: planner.name().into(),
            count: options.count,
            settings_sha256: settings_sha256(planner),
            paper_sha256,
            discussion: proposal.plan.discussion,
            existing: proposal.existing,
            cuts: proposal.cuts,
            notes: proposal.notes,
            usage: proposal.usage,
        }
    }
}

/// SHA-256 of a planner's settings.
pub(super) fn settings_sha256(planner: &dyn Planner) -> String {
    hex(sha256([planner.settings().as_str()]))
}

/// SHA-256 over everything that a planner may see of a paper.
pub(super) fn paper_sha256(paper: &Paper) -> String {
    let about = [&paper.title, &paper.abstract_text];
    let mut texts: Vec<Cow<'_, str>> = (about.iter())
        .map(|text| text.as_deref().unwrap_or_default().into())
        .collect();
    for section in &paper.sections {
        texts.push(section.level.to_string().into());
        texts.push(section.title.as_str().into());
        texts.push(section.text.as_str().into());
    }
    hex(sha256(texts.iter().map(|text| &**text)))
}
