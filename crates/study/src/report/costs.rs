//! What the study took: learning, generating and measuring.

use serde::Serialize;

use super::numbers::{NONE, duration, fixed};
use super::plots::sparkline;
use super::templates::safe;
use crate::results::{LearnedMotion, MotionState, Results, RunVariant};

#[derive(Serialize)]
pub(super) struct Costs {
    learning: Vec<Learning>,
    cells: Vec<Cells>,
    learning_total: String,
    generation_total: String,
    measuring_total: String,
    total: String,
}

/// What was learned for variants that share it.
#[derive(Serialize)]
struct Learning {
    variants: Vec<String>,
    done: usize,
    all: usize,
    total: String,
    mean: String,
    curve: Option<minijinja::Value>,
    /// Mean loss of the first and of the last tenth of the steps.
    loss: Option<[String; 2]>,
}

/// The cells of variants with equal settings.
#[derive(Serialize)]
struct Cells {
    variants: Vec<String>,
    done: usize,
    all: usize,
    generation_total: String,
    generation_mean: String,
    measuring_total: String,
}

pub(super) fn costs(results: &Results) -> Costs {
    let learning_s: f64 = results.motions.iter().filter_map(seconds).sum();
    let done = || {
        results
            .cells
            .iter()
            .filter_map(|cell| cell.outcome.measured())
    };
    let generation_s: f64 = done().map(|measured| measured.generation_s).sum();
    let measuring_s: f64 = done().map(|measured| measured.measuring_s).sum();
    let learning = groups(results, |variant| &variant.inversion_hash).into_iter();
    let cells = groups(results, |variant| &variant.hash).into_iter();
    Costs {
        learning: learning
            .enumerate()
            .map(|(index, (hash, variants))| self::learning(results, hash, variants, index))
            .collect(),
        cells: cells
            .map(|(hash, variants)| self::cells(results, hash, variants))
            .collect(),
        learning_total: duration(learning_s),
        generation_total: duration(generation_s),
        measuring_total: duration(measuring_s),
        total: duration(learning_s + generation_s + measuring_s),
    }
}

/// The names of variants by a hash, in the order of the first of each.
fn groups(results: &Results, hash: impl Fn(&RunVariant) -> &str) -> Vec<(&str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for variant in &results.variants {
        let hash = hash(variant);
        let name = variant.name.clone();
        match groups.iter_mut().find(|(known, _)| *known == hash) {
            Some((_, names)) => names.push(name),
            None => groups.push((hash, vec![name])),
        }
    }
    groups
}

fn seconds(motion: &LearnedMotion) -> Option<f64> {
    match motion.state {
        MotionState::Done { seconds, .. } => Some(seconds),
        _ => None,
    }
}

fn learning(results: &Results, hash: &str, variants: Vec<String>, index: usize) -> Learning {
    let motions = results.motions.iter();
    let motions: Vec<_> = motions
        .filter(|motion| motion.inversion_hash == hash)
        .collect();
    let times: Vec<f64> = motions
        .iter()
        .filter_map(|motion| seconds(motion))
        .collect();
    let total: f64 = times.iter().sum();
    let losses = mean_losses(&motions);
    let tenth = losses.len().div_ceil(10);
    let mean = |part: &[f64]| significant(part.iter().sum::<f64>() / part.len() as f64);
    let loss = (losses.len() >= 2).then(|| {
        [
            mean(&losses[..tenth]),
            mean(&losses[losses.len() - tenth..]),
        ]
    });
    let title = loss.as_ref().map_or(String::new(), |[first, last]| {
        format!("Loss from {first} to {last} in {} steps", losses.len())
    });
    Learning {
        variants,
        done: times.len(),
        all: motions.len(),
        total: duration(total),
        mean: match times.len() {
            0 => NONE.into(),
            learned => duration(total / learned as f64),
        },
        curve: sparkline(&losses, &format!("loss-{}", index + 1), &title).map(safe),
        loss,
    }
}

/// The loss of each step, the mean over clips: as many steps as all of them have.
fn mean_losses(motions: &[&LearnedMotion]) -> Vec<f64> {
    let curves = motions.iter().filter_map(|motion| match &motion.state {
        MotionState::Done { losses, .. } => Some(losses),
        _ => None,
    });
    let curves: Vec<&Vec<f32>> = curves.filter(|losses| !losses.is_empty()).collect();
    let steps = curves.iter().map(|losses| losses.len()).min().unwrap_or(0);
    (0..steps)
        .map(|step| {
            let losses = curves.iter().map(|losses| f64::from(losses[step]));
            losses.sum::<f64>() / curves.len() as f64
        })
        .collect()
}

/// A loss with about three digits that say something.
fn significant(value: f64) -> String {
    let power = value.abs().max(1e-9).log10().floor();
    fixed(value, (2.0 - power).clamp(0.0, 9.0) as usize)
}

fn cells(results: &Results, hash: &str, variants: Vec<String>) -> Cells {
    let cells = results.cells.iter();
    let cells: Vec<_> = cells.filter(|cell| cell.id.variant_hash == hash).collect();
    let done = cells.iter().filter_map(|cell| cell.outcome.measured());
    let done: Vec<(f64, f64)> = done
        .map(|measured| (measured.generation_s, measured.measuring_s))
        .collect();
    let generation: f64 = done.iter().map(|(generation, _)| generation).sum();
    Cells {
        variants,
        done: done.len(),
        all: cells.len(),
        generation_total: duration(generation),
        generation_mean: match done.len() {
            0 => NONE.into(),
            done => duration(generation / done as f64),
        },
        measuring_total: duration(done.iter().map(|(_, measuring)| measuring).sum()),
    }
}
