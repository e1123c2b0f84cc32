//! Plans for many papers, and how well they meet the ablations that people chose.
//!
//! A [`Manifest`] names the papers of a dataset and the truth of each: ablations that the authors made, or reviews that
//! ask for some. [`run()`] makes a plan for every paper, [`judge_all`] asks judges which of the truth each plan meets
//! and scores it, and [`agreement()`] tells how far such a judge is to be trusted.
//!
//! Tasks, data and file formats follow AblationBench (Abramovich and Chechik, arXiv:2507.08038); prompts are our own.
//! [`Scores`] are defined otherwise than there in some points; [`published()`] counts as its code does, for comparison.

mod agreement;
mod digest;
mod each;
mod faults;
mod files;
mod judge;
mod judging;
mod labels;
mod majority;
mod manifest;
mod outcome;
mod published;
mod run;
mod scores;
mod table;
mod template_judge;

pub use agreement::{Agreement, Counts, ItemAgreement, agreement};
pub use faults::RowFaults;
pub use judge::{Case, Judge, JudgeName, JudgeSettings, Judgement, LanguageModelJudge};
pub use judging::{
    EVALUATIONS_FILE, Evaluation, JudgeFailure, JudgeMeans, JudgeOptions, JudgeSummary,
    JudgementRecord, SUMMARY_FILE, judge_all,
};
pub use labels::{AblationLabel, Labels, Names, ReviewLabel};
pub use majority::majority;
pub use manifest::{Entry, Manifest, Source, Truth, TruthAblation};
pub use outcome::Failure;
pub use published::{Published, published};
pub use run::{PLANS_FILE, PlanOptions, PlanRecord, PlanSummary, run};
pub use scores::{Matches, ScoreMeans, Scores};
pub use template_judge::TemplateJudge;
