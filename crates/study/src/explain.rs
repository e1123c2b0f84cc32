//! What was understood of a plan, for people to check at a glance.

use std::fmt::Write;

use crate::plan::Plan;
use crate::resolve::{Outcome, Resolution};
use crate::settings::Settings;

/// A report for a terminal. Control characters of the plan are shown, not sent.
pub fn explain(plan: &Plan, resolution: &Resolution) -> String {
    let mut report = String::new();
    for (ablation, resolved) in plan.ablations.iter().zip(&resolution.ablations) {
        // Writing to a string cannot fail.
        let _ = writeln!(report, "{}", visible(&ablation.name));
        let part = visible(&ablation.ablated_part);
        let _ = writeln!(report, "  {} {part}", ablation.action);
        for reading in &resolved.readings {
            if reading.words != ablation.ablated_part {
                let _ = writeln!(report, "    \"{}\"", visible(&reading.words));
            }
            match &reading.outcome {
                Outcome::Understood {
                    axis,
                    variants,
                    own,
                } => {
                    for variant in variants {
                        let settings = told(&variant.settings);
                        let _ = writeln!(report, "      -> {axis}: {} ({settings})", variant.name);
                    }
                    for name in own {
                        let _ = writeln!(
                            report,
                            "      -> {axis}: {name}, which is the method itself; run as the baseline"
                        );
                    }
                }
                Outcome::Unresolved(unresolved) => {
                    let _ = writeln!(report, "      ?? {}", visible(&unresolved.to_string()));
                }
            }
            for note in &reading.notes {
                let _ = writeln!(report, "         {}", visible(note));
            }
        }
        let (variants, open) = (resolved.variants().count(), resolved.unresolved().count());
        let _ = writeln!(report, "  variants: {variants}; not understood: {open}");
        let _ = writeln!(report, "  metrics: {}", resolved.metrics.join(", "));
        if !resolved.unknown_metrics.is_empty() {
            let unknown = visible(&resolved.unknown_metrics.join(", "));
            let _ = writeln!(report, "  metrics that are not known: {unknown}");
        }
        report.push('\n');
    }
    let variants: usize = resolution
        .ablations
        .iter()
        .map(|a| a.variants().count())
        .sum();
    let open = resolution.unresolved().count();
    let _ = writeln!(
        report,
        "{} ablations, {variants} variants beside the baseline, {open} not understood",
        plan.ablations.len()
    );
    report
}

fn told(settings: &Settings) -> String {
    let fields: Vec<_> = settings
        .iter()
        .map(|(field, value)| format!("{field} = {value}"))
        .collect();
    fields.join(", ")
}

/// A text in one line, with control characters written out: plans come from anywhere.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => visible.push(' '),
            c if c.is_control() || is_direction(c) => visible.extend(c.escape_unicode()),
            c => visible.push(c),
        }
    }
    visible
}

/// Marks that make a terminal show text in another order than it has.
pub(crate) fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}
