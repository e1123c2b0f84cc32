//! Plans for all papers of a dataset, in a folder.
//!
//! | file | what it holds |
//! |---|---|
//! | `<id>.jsonl` | the plan in the interchange form |
//! | `<id>.json` | how it came about: [`PlanRecord`] |
//! | `plans.json` | all plans by id, in the layout of AblationBench, with the errors of those that failed |

mod all_plans;
mod record;

use std::num::NonZeroUsize;
use std::path::Path;

use kinvert_base::Progress;
use serde::Serialize;

use self::all_plans::AllPlans;
pub use self::record::PlanRecord;
use self::record::{paper_sha256, settings_sha256};
use super::each::each;
use super::files;
use super::manifest::{Entry, Manifest};
use super::outcome::{Failure, Tally, with_causes};
use crate::{Error, Mode, Planner, Usage, Watch};

/// All plans of a folder.
pub const PLANS_FILE: &str = "plans.json";

/// How plans are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// How the planner looks at the papers.
    pub mode: Mode,
    /// Most ablations of a plan.
    pub count: usize,
    /// Papers at a time.
    pub parallel: NonZeroUsize,
}

/// What making plans has given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanSummary {
    /// Papers of the dataset.
    pub papers: usize,
    /// Plans that were made now.
    pub made: usize,
    /// Plans that were there already.
    pub kept: usize,
    /// Papers without a plan.
    pub failed: Vec<Failure>,
    /// What all plans took, those that were there already among them.
    pub usage: Usage,
}

/// Makes plans for all papers of a manifest. Papers that are done are not done again, and those that failed are tried
/// again; one that fails does not stop the others. However a run was stopped, the next goes on where it was.
///
/// # Errors
/// [`Error::Folder`] if plans of another planner, mode or count are there; [`Error::Cancelled`] if the user asked to
/// stop; if a file cannot be written.
pub fn run(
    manifest: &Manifest,
    planner: &dyn Planner,
    options: &PlanOptions,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<PlanSummary, Error> {
    files::create_folder(folder)?;
    for entry in &manifest.entries {
        refuse_others(folder, &entry.id, planner, options)?;
    }
    let mut tally = Tally::default();
    let results = each(
        "planning",
        &manifest.entries,
        options.parallel,
        |entry, watch| plan_one(entry, planner, options, folder, watch),
        |result: &PlanResult| {
            let done = result.outcome.as_ref().ok();
            tally.add(done.map(|(_, record)| record.usage))
        },
        progress,
    )?;
    files::write_json(
        &folder.join(PLANS_FILE),
        &AllPlans {
            results: &results,
            planner: planner.name(),
            mode: options.mode,
        },
    )?;
    Ok(summary(&results))
}

/// What came of one paper.
struct PlanResult {
    id: String,
    /// The plan's lines and its record, or the error.
    outcome: Result<(String, PlanRecord), String>,
    is_new: bool,
}

fn plan_one(
    entry: &Entry,
    planner: &dyn Planner,
    options: &PlanOptions,
    folder: &Path,
    watch: &dyn Watch,
) -> Result<PlanResult, Error> {
    let result = |outcome, is_new| PlanResult {
        id: entry.id.clone(),
        outcome,
        is_new,
    };
    let paper = match entry.paper() {
        Ok(paper) => paper,
        Err(error) => return Ok(result(Err(with_causes(&error)), false)),
    };
    let sha256 = paper_sha256(&paper);
    let known: Option<PlanRecord> = files::record(folder, &entry.id)?;
    if let Some(record) = known.filter(|record| record.paper_sha256 == sha256)
        && let Some(lines) = files::lines(folder, &entry.id)?
        && files::plan(&entry.id, &lines).is_ok()
    {
        return Ok(result(Ok((lines, record)), false));
    }
    match planner.propose(&paper, options.mode, options.count, watch) {
        Ok(proposal) => {
            let lines = proposal.plan.to_json_lines();
            let record = PlanRecord::new(&entry.id, planner, options, sha256, proposal);
            files::store(folder, &entry.id, &lines, &record)?;
            Ok(result(Ok((lines, record)), true))
        }
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(error) => {
            files::discard(folder, &entry.id)?; // what is there was for the paper as it was before
            Ok(result(Err(with_causes(&error)), false))
        }
    }
}

/// Refuses to mix plans in one folder: judged together, they would be the plans of nobody.
fn refuse_others(
    folder: &Path,
    id: &str,
    planner: &dyn Planner,
    options: &PlanOptions,
) -> Result<(), Error> {
    let Some(record) = files::record::<PlanRecord>(folder, id)? else {
        return Ok(());
    };
    let of = |planner: &str, mode: Mode, count: usize| {
        let mode = match mode {
            Mode::Author => "author",
            Mode::Reviewer => "reviewer",
        };
        format!("of at most {count} ablations by `{planner}` in {mode} mode")
    };
    let there = of(&record.planner, record.mode, record.count);
    let asked = of(planner.name(), options.mode, options.count);
    let reason = if there != asked {
        format!("the plan for `{id}` is one {there}, expected one {asked}")
    } else if record.settings_sha256 != settings_sha256(planner) {
        format!("the plan for `{id}` was made with other settings, or by another version")
    } else {
        return Ok(());
    };
    let path = folder.to_owned();
    Err(Error::Folder { path, reason })
}

fn summary(results: &[PlanResult]) -> PlanSummary {
    let records = || {
        results
            .iter()
            .filter_map(|result| result.outcome.as_ref().ok())
    };
    let made = results.iter().filter(|result| result.is_new).count();
    let failed = results.iter().filter_map(|result| {
        let error = result.outcome.as_ref().err()?.clone();
        let id = result.id.clone();
        Some(Failure { id, error })
    });
    PlanSummary {
        papers: results.len(),
        made,
        kept: records().count() - made,
        failed: failed.collect(),
        usage: records().map(|(_, record)| record.usage).sum(),
    }
}
