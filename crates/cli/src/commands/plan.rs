//! `kinvert plan`.

use kinvert::gradient::Activations;
use kinvert::plan::{ClipShape, ModelCost, WorkPlan, usable};
use serde::Serialize;

use super::size_text;
use crate::args::PlanArgs;
use crate::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    model: String,
    #[serde(flatten)]
    plan: WorkPlan,
    device: String,
    /// Absent if the device does not tell.
    free_bytes: Option<u64>,
    /// Whether activations are computed again while learning.
    recompute: bool,
    bytes: u64,
    flops: u64,
    /// Absent if the device does not tell what it has.
    fits: Option<bool>,
    /// Clips that would fit, if this one does not.
    smaller: Vec<ClipShape>,
}

pub fn run(args: PlanArgs, session: &Session) -> anyhow::Result<()> {
    let source = session.model_settings()?;
    let options = session.load_options()?;
    let recommended = source.recommendations()?;
    let inversion = args.inversion.over(&recommended.inversion);
    let mut generation = args.generation.over(&recommended.generation);
    generation.steps = args.sampling_steps.unwrap_or(generation.steps);
    let cost = ModelCost::read(&source, &options, session.device())?;
    let usual = source.usual_clip()?;
    let clip = ClipShape {
        frames: args.frames.unwrap_or(usual.frames),
        size: args.size.map_or(usual.size, |size| size.0),
    };
    let plan = cost.plan(clip, &inversion, &generation)?;
    let memory = session.device().memory();
    let free_bytes = memory.map(|memory| memory.free_bytes);
    let activations = match options.low_memory {
        true => Activations::Recompute,
        false => plan.activations(free_bytes),
    };
    let needs = |clip| {
        let plan = cost.plan(clip, &inversion, &generation).ok()?;
        Some(plan.bytes(Activations::Recompute))
    };
    let fits = free_bytes.map(|free| plan.bytes(activations) <= usable(free));
    let smaller = match (fits, free_bytes) {
        (Some(false), Some(free)) => {
            let fits = |clip| needs(clip).is_some_and(|bytes| bytes <= usable(free));
            cost.smaller(clip, fits)
        }
        _ => Vec::new(),
    };
    let report = Report {
        model: recommended.name.unwrap_or_else(|| source.name()),
        device: session.device().to_string(),
        free_bytes,
        recompute: activations == Activations::Recompute,
        bytes: plan.bytes(activations),
        flops: plan.flops(activations).total(),
        fits,
        smaller,
        plan,
    };
    session.print(&text(&report), &report)
}

fn text(report: &Report) -> String {
    let plan = &report.plan;
    let (learning, generating) = (&plan.learning, &plan.generating);
    let step = match report.recompute {
        true => learning.step_flops_if_recomputed,
        false => learning.step_flops_if_kept,
    };
    let other = match report.recompute {
        true => format!("{} if activations are kept", bytes(learning.bytes_if_kept)),
        false => format!(
            "{} if activations are computed again (--low-memory)",
            bytes(learning.bytes_if_recomputed)
        ),
    };
    let learning_bytes = match report.recompute {
        true => learning.bytes_if_recomputed,
        false => learning.bytes_if_kept,
    };
    let total = |flops: u64, steps: usize| operations(flops.saturating_mul(steps as u64));
    let mut lines = vec![
        format!(
            "{}: {} frames of {} in {}",
            report.model,
            plan.clip.frames,
            size_text(plan.clip.size),
            plan.precision
        ),
        format!(
            "  weights     {}: network {}, autoencoder {}, text encoder {} numbers",
            bytes(plan.loading_bytes),
            count(plan.parameters.unet),
            count(plan.parameters.vae),
            count(plan.parameters.text_encoder)
        ),
        format!(
            "  learning    {}; {other}\n              {} a step, {} in {} steps, {} before the first",
            bytes(learning_bytes),
            operations(step.total()),
            total(step.total(), learning.steps),
            learning.steps,
            operations(learning.preparation_flops.total())
        ),
        format!(
            "  generating  {}; {} while decoding\n              {} a step, {} in {} steps, {} for decoding",
            bytes(generating.denoising_bytes),
            bytes(generating.decoding_bytes),
            operations(generating.step_flops.total()),
            total(generating.step_flops.total(), generating.steps),
            generating.steps,
            operations(generating.decoding_flops.total())
        ),
        format!(
            "  together    {}, {}",
            bytes(report.bytes),
            operations(report.flops)
        ),
    ];
    let device = &report.device;
    lines.push(match (report.fits, report.free_bytes) {
        (Some(true), Some(free)) => format!("  {device} has {} free: this fits", bytes(free)),
        (Some(false), Some(free)) => {
            let smaller = report
                .smaller
                .iter()
                .map(|clip| format!("{} frames of {}", clip.frames, size_text(clip.size)));
            let smaller = match report.smaller.is_empty() {
                true => "no clip of this model would".into(),
                false => format!("{} would", smaller.collect::<Vec<_>>().join(" or ")),
            };
            format!(
                "  {device} has {} free: this does not fit; {smaller}",
                bytes(free)
            )
        }
        _ => format!("  {device} does not say how much memory it has"),
    });
    lines.join("\n") + "\n"
}

fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

fn operations(flops: u64) -> String {
    scaled(
        flops as f64,
        1000.0,
        &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"],
    )
}

fn count(numbers: u64) -> String {
    scaled(
        numbers as f64,
        1000.0,
        &["", "thousand", "million", "billion"],
    )
}

/// A number with the largest unit that leaves it at least one.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if value < step {
            break;
        }
        value /= step;
        unit = larger;
    }
    let digits = if value < 10.0 && !unit.is_empty() {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$} {unit}").trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_the_unit_that_suits_them() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!(operations(42_790_779_453_440), "42.8 TFLOP");
        assert_eq!(operations(17_000_000_000_000_000), "17.0 PFLOP");
        assert_eq!(count(1_411_233_860), "1.41 billion");
        assert_eq!(count(12), "12.0");
    }
}
