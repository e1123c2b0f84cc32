//! Plans for many papers, and how well they meet the ablations that people chose.
//!
//! A [`Manifest`] names the papers of a dataset and the truth of each: ablations that the authors made, or reviews that
//! ask for some. [`Scores`] tell how well the plan for a paper meets it.
//!
//! Tasks, data and file formats follow AblationBench (Abramovich and Chechik, arXiv:2507.08038); prompts are our own.
//! [`Scores`] are defined otherwise than there in some points; [`published()`] counts as its code does, for comparison.

mod faults;
mod labels;
mod majority;
mod manifest;
mod published;
mod scores;
mod table;

pub use faults::RowFaults;
pub use labels::{AblationLabel, Labels, Names, ReviewLabel};
pub use majority::majority;
pub use manifest::{Entry, Manifest, Source, Truth, TruthAblation};
pub use published::{Published, published};
pub use scores::{Matches, ScoreMeans, Scores};
