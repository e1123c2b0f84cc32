//! Anything that makes a plan from a paper.

use kinvert_study::Plan;
use serde::{Deserialize, Serialize};

use crate::chat::{Usage, Watch};
use crate::paper::{Cut, Paper};
use crate::{Error, Mode};

/// Makes plans of ablations. Papers may come from several threads at once.
pub trait Planner: Sync {
    /// Its name: a model's as the user gave it, or `template`.
    fn name(&self) -> &str;

    /// Everything besides its name, the paper, the mode and the number that decides its plans, as text.
    fn settings(&self) -> String;

    /// Plans at most `count` ablations, the most important first.
    ///
    /// # Errors
    /// If no plan could be made, or the user asked to stop.
    fn propose(
        &self,
        paper: &Paper,
        mode: Mode,
        count: usize,
        watch: &dyn Watch,
    ) -> Result<Proposal, Error>;
}

/// A plan, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The plan, with the reasoning as its discussion.
    pub plan: Plan,
    /// The ablations that the planner found in the paper; empty in [`Mode::Author`].
    pub existing: Vec<Existing>,
    /// What of the paper the planner did not see.
    pub cuts: Vec<Cut>,
    /// What should be known about the plan, a sentence each: what reading the paper lost comes first.
    pub notes: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// An ablation that a paper has already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Existing {
    /// What it is about.
    pub name: String,
    /// Where the paper has it.
    pub section: String,
    /// Words of the paper that show it.
    pub quote: String,
}
