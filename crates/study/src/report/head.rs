//! The top of the page: what the study is, how far it is, and what stands in the way of believing it.

use serde::Serialize;

use super::numbers::{count, day};
use crate::results::{MotionState, Results};

#[derive(Serialize)]
pub(super) struct Head {
    /// The study's title, else the name of the plan's file.
    title: Option<String>,
    /// `complete`, `unfinished`, `failures` or `empty`: also the name of a style.
    state: &'static str,
    /// The same for people.
    state_word: &'static str,
    /// Cells done, failed and open in one line.
    progress: String,
    /// What the cells are made of.
    matrix: String,
    model: String,
    device: String,
    date: String,
    /// What readers must know before they believe a number.
    warnings: Vec<String>,
    has_failures: bool,
}

pub(super) fn head(results: &Results) -> Head {
    let counts = results.counts();
    let waiting = counts.all - counts.done - counts.failed - counts.running;
    let failed_motions = results
        .motions
        .iter()
        .filter(|motion| matches!(motion.state, MotionState::Failed { .. }))
        .count();
    let has_failures = counts.failed > 0 || failed_motions > 0;
    let is_unfinished = waiting > 0 || counts.running > 0;

    let open = [
        (counts.failed, "failed"),
        (counts.running, "running"),
        (waiting, "waiting"),
    ];
    let mut progress = format!("{} of {} done", counts.done, count(counts.all, "cell"));
    for (number, word) in open.into_iter().filter(|(number, _)| *number > 0) {
        progress.push_str(&format!(", {number} {word}"));
    }

    let mut warnings = Vec::new();
    if counts.all == 0 {
        warnings.push("This study has no cells: it names no clips, no prompts or no seeds.".into());
    }
    if is_unfinished {
        warnings.push(format!(
            "This study is unfinished: {} of {} are still to come. All numbers are of what is done so far and may \
             change.",
            waiting + counts.running,
            count(counts.all, "cell")
        ));
    }
    if counts.failed > 0 {
        warnings.push(format!(
            "{} failed and {} left out of all numbers.",
            count(counts.failed, "cell"),
            if counts.failed == 1 { "is" } else { "are" }
        ));
    }
    if failed_motions > 0 {
        let motions = count(failed_motions, "motion");
        warnings.push(format!(
            "{motions} could not be learned; no cell that needs one could be done."
        ));
    }
    if !results.study.unresolved.is_empty() {
        warnings.push(format!(
            "{} of the plan could not be turned into settings and was not run.",
            match results.study.unresolved.len() {
                1 => "1 wish".to_owned(),
                wishes => format!("{wishes} wishes"),
            }
        ));
    }

    let (state, state_word) = match (counts.all, has_failures, is_unfinished) {
        (0, _, _) => ("empty", "nothing to run"),
        (_, true, _) => ("failures", "with failures"),
        (_, false, true) => ("unfinished", "unfinished"),
        (_, false, false) => ("complete", "complete"),
    };
    let study = &results.study;
    Head {
        title: study.title.clone().or_else(|| {
            let provenance = study.provenance.as_ref();
            provenance.map(|provenance| provenance.plan.clone())
        }),
        state,
        state_word,
        progress,
        matrix: format!(
            "{} × {} × {} × {}",
            count(results.references.len(), "clip"),
            count(study.prompts.len(), "prompt"),
            count(study.seeds.len(), "seed"),
            count(results.variants.len(), "variant"),
        ),
        model: results.stamp.model.name.clone(),
        device: results.stamp.device.clone(),
        date: day(results.stamp.begun_unix_s),
        warnings,
        has_failures,
    }
}
