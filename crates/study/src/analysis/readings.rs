//! What a table says, in plain words that say no more than the numbers do.
//!
//! Each measure goes where its verdict puts it: shown to be higher or lower (and whether that is better), unchanged,
//! open, not tested, or not comparable. Nothing is called a change, nor the absence of one, that has no such verdict.

use std::collections::BTreeMap;
use std::fmt::Write;

use kinvert_metrics::statistics::Interval;

use super::measures::{Better, MOTION_MAGNITUDE, MeasureInfo, TEMPORAL_CONSISTENCY};
use super::preference::Against;
use super::{Compared, Estimate, Verdict};
use crate::results::Counts;

/// What is said of one row.
pub(super) struct Reading<'a> {
    pub name: &'a str,
    /// Name of the baseline.
    pub baseline: &'a str,
    pub is_baseline: bool,
    /// An earlier variant with the same settings.
    pub same_as: Option<&'a str>,
    pub counts: Counts,
    pub baseline_counts: Counts,
    pub measures: Vec<&'a MeasureInfo>,
    pub estimates: &'a [Estimate],
    pub preference: Option<Against>,
    /// That there are too few clips or cells, if so.
    pub too_few: Option<String>,
}

/// One sentence or some; none of a baseline that has nothing wrong with it.
pub(super) fn reading(of: &Reading<'_>) -> Option<String> {
    let mut text = String::new();
    let counts = of.counts;
    if let Some(same) = of.same_as {
        return Some(format!(
            "{}: its settings are those of {same}, and so are its cells.",
            of.name
        ));
    }
    if counts.done == 0 {
        let state = match counts.failed {
            0 => "no cell is done yet".to_owned(),
            failed if failed == counts.all => format!("all of its {failed} cells failed"),
            failed => format!("no cell is done yet, and {failed} of {} failed", counts.all),
        };
        return Some(format!("{}: {state}.", of.name));
    }
    if !of.is_baseline {
        let clauses = clauses(of);
        let clauses = match clauses.is_empty() {
            false => clauses.join("; "),
            true if of.baseline_counts.done == 0 => {
                format!(
                    "it cannot be compared, since no cell of {} is done",
                    of.baseline
                )
            }
            true => format!("it shares no measured cell with {}", of.baseline),
        };
        text = format!("{}.", clauses);
        text.extend(less_motion(of));
        text.extend(of.preference.map(|against| votes(of, against)));
    }
    text += &undefined(of);
    if counts.done < counts.all {
        let _ = write!(text, " {} of {} cells are done", counts.done, counts.all);
        match counts.failed {
            0 => text.push('.'),
            failed => _ = write!(text, ", {failed} failed."),
        }
    }
    if let Some(few) = &of.too_few {
        let _ = write!(text, " {few}.");
    }
    (!text.is_empty()).then(|| format!("{}: {}", of.name, text.trim_start()))
}

/// On how many cells which measures are not defined.
fn undefined(of: &Reading<'_>) -> String {
    let mut by_count = BTreeMap::<usize, Vec<String>>::new();
    for (measure, estimate) in judged(of).filter(|(_, estimate)| estimate.absent > 0) {
        let names = by_count.entry(estimate.absent).or_default();
        names.push(inside_a_sentence(&measure.label));
    }
    let mut text = String::new();
    for (absent, names) in by_count {
        let verb = if names.len() == 1 { "is" } else { "are" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            " {} {verb} not defined on {absent} of {} cells.",
            capitalized(&listed(&names)),
            of.counts.done
        );
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

/// What is said of each measure, those with a difference first.
fn clauses(of: &Reading<'_>) -> Vec<String> {
    let mut clauses = Vec::new();
    let (mut same, mut open, mut not_tested, mut alone) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (measure, estimate) in judged(of) {
        let name = inside_a_sentence(&measure.label);
        let Some(compared) = &estimate.comparison else {
            if estimate.summary.is_some() && measure.name != "user_preference" {
                alone.push(name);
            }
            continue;
        };
        match compared.verdict {
            Verdict::Higher => clauses.push(shown(measure, compared, "higher")),
            Verdict::Lower => clauses.push(shown(measure, compared, "lower")),
            Verdict::Same => {
                let size = measure.negligible.unwrap_or_default();
                same.push(format!("{name} (within {})", measure.shown(size)));
            }
            Verdict::Open if compared.p.is_none() && compared.interval.is_none() => {
                let difference = measure.shown_difference(compared.difference);
                not_tested.push(format!("{name} ({difference})"));
            }
            Verdict::Open => open.push(name),
        }
    }
    let verb = |names: &[String]| if names.len() == 1 { "is" } else { "are" };
    if !same.is_empty() {
        clauses.push(format!("{} {} unchanged", listed(&same), verb(&same)));
    }
    if !open.is_empty() {
        clauses.push(format!(
            "for {} neither a difference nor its absence is shown",
            listed(&open)
        ));
    }
    if !not_tested.is_empty() {
        clauses.push(format!(
            "the difference in {} is not tested",
            listed(&not_tested)
        ));
    }
    if !alone.is_empty() && of.baseline_counts.done > 0 {
        clauses.push(format!(
            "{} cannot be compared, since no cell has a value of both",
            listed(&alone)
        ));
    }
    clauses
}

fn shown(measure: &MeasureInfo, compared: &Compared, direction: &str) -> String {
    let is_higher = compared.difference > 0.0;
    let size = measure.shown_difference(compared.difference.abs());
    let interval = compared
        .interval
        .map(|Interval { low, high }| match is_higher {
            true => [low, high],
            false => [-high, -low],
        });
    let interval = interval.map(|ends| {
        let [low, high] = ends.map(|end| measure.shown_difference(end));
        format!(" [{low}, {high}]")
    });
    let goodness = match is_higher == (measure.better == Better::More) {
        true => "better",
        false => "worse",
    };
    format!(
        "{} is {direction} by {size}{}, which is {goodness}",
        inside_a_sentence(&measure.label),
        interval.unwrap_or_default()
    )
}

fn with_interval(measure: &MeasureInfo, compared: &Compared) -> String {
    let difference = measure.shown_difference(compared.difference);
    match compared.interval {
        Some(Interval { low, high }) => {
            let [low, high] = [low, high].map(|end| measure.shown_difference(end));
            format!("{difference} [{low}, {high}]")
        }
        None => format!("{difference}, no interval"),
    }
}

/// A still clip is consistent: less motion is told where consistency looks better.
fn less_motion(of: &Reading<'_>) -> Option<String> {
    let compared = |name: &str| {
        let place = of
            .measures
            .iter()
            .position(|measure| measure.name == name)?;
        Some((of.measures[place], of.estimates.get(place)?.comparison?))
    };
    let (_, consistency) = compared(TEMPORAL_CONSISTENCY)?;
    let (measure, motion) = compared(MOTION_MAGNITUDE)?;
    let is_less = motion.interval.is_some_and(|ends| ends.high < 0.0);
    (consistency.verdict == Verdict::Higher && is_less).then(|| {
        format!(
            " Its clips move less (motion magnitude {}), which by itself makes clips more consistent.",
            with_interval(measure, &motion)
        )
    })
}

fn votes(of: &Reading<'_>, against: Against) -> String {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let interval = against
        .interval
        .map(|Interval { low, high }| format!(" [{}, {}]", percent(low), percent(high)));
    format!(
        " Against {} it won {}{} of {} votes, ties as half wins.",
        of.baseline,
        percent(against.share),
        interval.unwrap_or_else(|| " (no interval)".into()),
        against.votes
    )
}

/// Measures of which one value is better than another, with their estimates.
fn judged<'a>(of: &'a Reading<'a>) -> impl Iterator<Item = (&'a MeasureInfo, &'a Estimate)> {
    let pairs = of.measures.iter().copied().zip(of.estimates);
    pairs.filter(|(measure, _)| measure.better != Better::Neither)
}

/// A label as it stands inside of a sentence: `text similarity`, but `FID`.
fn inside_a_sentence(label: &str) -> String {
    let mut letters = label.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            let rest = &label[first.len_utf8()..];
            format!("{}{rest}", first.to_lowercase())
        }
        _ => label.to_owned(),
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
