//! Ablation studies: from a plan in words to the runs it asks for.
//!
//! A [`Plan`] is read from JSON Lines, Markdown or TOML. [`resolve()`] maps its words onto the axes of the method
//! and never guesses: what it cannot map stays visible. [`Study`] is the result as a file that people can check
//! and change, and [`explain()`] tells what was understood.
//!
//! A study is run in a folder of its own ([`StudyFolder`], [`runner::run`]), cell by cell, by as many processes as one
//! likes. What it gave are [`Results`]. [`Analysis`] says what they show and no more, [`write_report()`] shows it, [`export`] writes
//! it for other programs, and [`voting`] asks people.
//!
//! ```
//! use kinvert_study::{Form, Plan, Study, explain, resolve};
//!
//! let text = r#"{"name": "Debiasing", "ablated_part": "differencing of the motion value embeddings",
//!   "action": "REPLACE", "replacement": ["normalization", "no debiasing"], "metrics": ["FID"]}"#;
//! let plan = Plan::parse("plan.jsonl", text, Some(Form::JsonLines))?;
//! let resolution = resolve(&plan);
//! let study = Study::compile(&plan, &resolution, "plan.jsonl", text.as_bytes());
//! let names: Vec<_> = study.variants.iter().map(|variant| variant.name.as_str()).collect();
//! assert_eq!(names, ["debias normalize", "debias none"]);
//! println!("{}", explain(&plan, &resolution));
//! # Ok::<(), kinvert_study::Error>(())
//! ```

pub mod analysis;
mod defaults;
mod digest;
mod document;
pub mod error;
mod explain;
pub mod export;
mod fault;
pub mod folder;
mod input;
mod matrix;
mod models;
mod node;
pub mod plan;
pub mod report;
pub mod resolve;
pub mod results;
pub mod runner;
pub mod settings;
pub mod source;
mod spelling;
pub mod store;
pub mod study;
pub mod voting;
mod work;

pub use analysis::Analysis;
pub use document::Document;
pub use error::Error;
pub use explain::explain;
pub use fault::{Fault, Faults, Location};
pub use folder::StudyFolder;
pub use models::BUILT_IN_MODEL;
pub use plan::{Ablation, Action, Form, Plan};
pub use report::{ReportFiles, ReportOptions, write_report};
pub use resolve::{Resolution, resolve};
pub use results::Results;
pub use settings::Settings;
pub use study::Study;
