//! Plans of ablations: made from a paper, and judged.
//!
//! A [`Paper`] is read from LaTeX sources, Markdown, plain text or PDF. A planner proposes ablations for it: a
//! [`ChatModel`] that is asked in words, or the template that derives them from the method's own axes. Plans are those
//! of [`kinvert_study`], which runs them. [`benchmark`] makes plans for many papers and measures how well they meet the
//! ablations that people chose.

mod answer;
pub mod benchmark;
pub mod chat;
mod clean;
mod contained;
mod error;
mod findings;
pub mod language_model;
pub mod page;
pub mod paper;
mod planner;
mod prompts;
mod quoted;
mod template;

pub use chat::{ChatAnswer, ChatModel, ChatRequest, Usage, Watch};
pub use contained::log_contained_panics;
pub use error::Error;
pub use findings::Findings;
pub use language_model::{LanguageModel, PlanningOptions};
pub use paper::Paper;
pub use planner::{Existing, Planner, Proposal};
pub use template::{TEMPLATE, Template};

/// How the planner looks at a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It sees the paper up to its experiments, and plans the ablations that the authors should make.
    Author,
    /// It sees all of the paper, and plans the ablations that are missing.
    Reviewer,
}
