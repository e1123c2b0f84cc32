//! Plans of ablations: made from a paper, and judged.
//!
//! A [`Paper`] is read from LaTeX sources, Markdown, plain text or PDF. A planner proposes ablations for it: a
//! [`ChatModel`] that is asked in words, or the template that derives them from the method's own axes. Plans are those
//! of [`kinvert_study`], which runs them. [`benchmark`] makes plans for many papers and measures how well they meet the
//! ablations that people chose.
//!
//! ```
//! use kinvert_planner::{Mode, Paper, Planner, Template, Watch, page::page};
//!
//! struct Nobody;
//! impl Watch for Nobody {
//!     fn is_cancelled(&self) -> bool {
//!         false
//!     }
//! }
//!
//! let paper = Paper::parse_markdown("# Motion inversion\n\n## Abstract\n\nWe learn motion embeddings.\n");
//! let planner = Template::default(); // or a `LanguageModel` that asks a `chat::Client`
//! let proposal = planner.propose(&paper, Mode::Author, 1, &Nobody)?;
//! assert_eq!(proposal.plan.ablations[0].name, "Contribution of each motion embedding");
//! println!("{}", page(&proposal, planner.name(), Mode::Author));
//! # Ok::<(), kinvert_planner::Error>(())
//! ```

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
