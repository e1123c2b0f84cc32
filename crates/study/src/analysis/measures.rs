//! The columns of a study: which measures, how they are read, and which records may stand beside each other.

use std::collections::BTreeMap;

use kinvert_metrics::measure::Measure;
use kinvert_metrics::record::ModelStamp;
use kinvert_metrics::{Record, votes};
use serde::Serialize;

use super::cells::{Key, done};
use super::sets::SetDistance;
use crate::results::Results;

/// The share of votes won.
const USER_PREFERENCE: &str = "user_preference";

/// What stands beside temporal consistency.
pub(super) const MOTION_MAGNITUDE: &str = "motion_magnitude";

/// The measure whose records hold it.
pub(super) const TEMPORAL_CONSISTENCY: &str = "temporal_consistency";

/// A column: a measure and how to read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasureInfo {
    /// Name of its records, such as `text_similarity`; `user_preference` for the share of votes won.
    pub name: String,
    /// For people, such as `Text similarity`.
    pub label: String,
    /// Which values are better.
    pub better: Better,
    /// Digits after the point that tables show.
    pub digits: usize,
    /// What it says, in one sentence.
    pub meaning: String,
    /// Differences up to this size count as none; none where no such size is agreed on.
    pub negligible: Option<f64>,
    /// The network or algorithm behind it, and how input was prepared.
    pub model: String,
}

/// Which values of a measure are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Larger ones.
    More,
    /// Smaller ones.
    Less,
    /// Neither: the number only stands beside a measure.
    Neither,
}

impl Better {
    /// As tables write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::More => "more",
            Self::Less => "less",
            Self::Neither => "neither",
        }
    }
}

impl MeasureInfo {
    /// A value as tables show it, with a true minus sign.
    pub fn shown(&self, value: f64) -> String {
        let text = format!("{:.*}", self.digits, value.abs());
        let is_zero = !text.contains(|c: char| c.is_ascii_digit() && c != '0');
        match value < 0.0 && !is_zero {
            true => format!("−{text}"),
            false => text,
        }
    }

    /// A difference, with more digits where those of tables would make a zero of it.
    pub fn shown_difference(&self, difference: f64) -> String {
        let size = difference.abs();
        let is_shown = size >= 0.5 * 0.1_f64.powi(self.digits as i32);
        if is_shown || size.is_nan() || size < ROUNDING {
            return self.shown(difference);
        }
        Self {
            digits: (-size.log10()).ceil() as usize,
            ..self.clone()
        }
        .shown(difference)
    }
}

/// Differences below are what rounding leaves of none.
const ROUNDING: f64 = 1e-12;

/// A column, and where its values come from.
pub(super) struct Column {
    pub info: MeasureInfo,
    pub source: Source,
}

/// Where the values of a column come from.
pub(super) enum Source {
    /// Records of cells with this stamp.
    Record { stamp: Option<Stamp> },
    /// A number beside the value of another measure's record.
    Beside {
        measure: &'static str,
        stamp: Option<Stamp>,
    },
    /// All frames of a variant against those of the references.
    Frames(SetDistance),
    /// What people said.
    Votes,
}

/// What records must share to be compared: the model and the preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stamp {
    model: Option<ModelStamp>,
    preprocessing: String,
}

/// Values of cells, and the number of done cells where there is none.
#[derive(Default)]
pub(super) struct Values {
    pub values: BTreeMap<Key, f64>,
    pub absent: usize,
}

impl Column {
    /// The values of a variant's cells, of columns that have any. Records with another stamp are left out.
    pub fn values(&self, results: &Results, hash: &str) -> Values {
        let mut values = Values::default();
        let (measure, stamp) = match &self.source {
            Source::Record { stamp } => (self.info.name.as_str(), stamp),
            Source::Beside { measure, stamp } => (*measure, stamp),
            Source::Frames(_) | Source::Votes => return values,
        };
        for (key, measured) in done(results, hash) {
            let record = measured.record(measure);
            if record
                .and_then(finite)
                .is_some_and(|record| stamp.as_ref() != Some(&Stamp::of(record)))
            {
                continue; // told in a note
            }
            let value = record.and_then(|record| match &self.source {
                Source::Beside { .. } => record.beside.get(MOTION_MAGNITUDE).copied().flatten(),
                _ => record.value,
            });
            match value.filter(|value| value.is_finite()) {
                Some(value) => _ = values.values.insert(key, value),
                None => values.absent += 1,
            }
        }
        values
    }
}

impl Stamp {
    fn of(record: &Record) -> Self {
        Self {
            model: record.model.clone(),
            preprocessing: record.preprocessing.clone(),
        }
    }

    fn told(&self) -> String {
        let model = self.model.as_ref().map(|model| match &model.sha256 {
            Some(sha256) => {
                let digits = sha256.get(..12).unwrap_or(sha256);
                format!("{} ({digits})", model.name)
            }
            None => model.name.clone(),
        });
        let parts = [model.as_deref().unwrap_or_default(), &self.preprocessing];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("; ")
    }
}

/// A record that has a value.
fn finite(record: &Record) -> Option<&Record> {
    record.value.is_some_and(f64::is_finite).then_some(record)
}

/// The columns: the measures that the study asks for and whatever else was measured, each where it belongs.
pub(super) fn columns(
    results: &Results,
    preference: Option<&votes::Report>,
    notes: &mut Vec<String>,
) -> Vec<Column> {
    let mut names: Vec<String> = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        let names = match described(name) {
            Some(_) => &mut names,
            None => &mut unknown,
        };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    results.study.metrics.iter().for_each(|name| add(name));
    let measured: Vec<&str> = records(results).map(|r| r.measure.as_str()).collect();
    let others = Measure::ALL.map(Measure::name).into_iter();
    others
        .filter(|name| measured.contains(name))
        .for_each(&mut add);
    measured.iter().for_each(|name| add(name));
    if preference.is_some() {
        add(USER_PREFERENCE);
    }
    for name in unknown {
        notes.push(format!(
            "`{name}` is no measure that this version knows, and is left out."
        ));
    }

    let mut columns = Vec::new();
    for name in names {
        let Some(described) = described(&name) else {
            continue; // those went elsewhere
        };
        let mut stamp = None;
        let source = match name.as_str() {
            "fid" => Source::Frames(SetDistance::Frechet),
            "kid" => Source::Frames(SetDistance::Kernel),
            USER_PREFERENCE => Source::Votes,
            _ => {
                stamp = common_stamp(results, &name, described.label, notes);
                Source::Record {
                    stamp: stamp.clone(),
                }
            }
        };
        let model = match (&source, preference) {
            (Source::Frames(_), _) => results.stamp.measures.clone(),
            (Source::Votes, Some(report)) => format!(
                "{} votes of {} people",
                report.votes.counted, report.raters.kept
            ),
            _ => stamp.as_ref().map(Stamp::told).unwrap_or_default(),
        };
        columns.push(Column {
            info: described.info(&name, model),
            source,
        });
        if name == TEMPORAL_CONSISTENCY
            && let Some(beside) = self::described(MOTION_MAGNITUDE)
        {
            columns.push(Column {
                info: beside.info(MOTION_MAGNITUDE, String::new()),
                source: Source::Beside {
                    measure: TEMPORAL_CONSISTENCY,
                    stamp,
                },
            });
        }
    }
    columns.sort_by_key(|column| place(&column.info.name));
    columns
}

/// Where a measure stands in tables: text, then motion, then frames, then people.
fn place(name: &str) -> usize {
    match name {
        "text_similarity" => 0,
        TEMPORAL_CONSISTENCY | MOTION_MAGNITUDE => 1,
        "path_correlation" | "end_point_error" => 3,
        "fid" | "kid" => 4,
        USER_PREFERENCE => 5,
        _ => 2, // motion fidelity in its variants
    }
}

/// All records of done cells.
fn records(results: &Results) -> impl Iterator<Item = &Record> {
    let done = results
        .cells
        .iter()
        .filter_map(|cell| cell.outcome.measured());
    done.flat_map(|measured| &measured.records)
}

/// The stamp that most values of a measure have, the earlier one of two with equally many. Other values are told of.
fn common_stamp(
    results: &Results,
    measure: &str,
    label: &str,
    notes: &mut Vec<String>,
) -> Option<Stamp> {
    let mut stamps: Vec<(Stamp, usize)> = Vec::new();
    let of_measure = records(results).filter(|record| record.measure == measure);
    for record in of_measure.filter_map(finite) {
        let stamp = Stamp::of(record);
        match stamps.iter_mut().find(|(known, _)| *known == stamp) {
            Some((_, count)) => *count += 1,
            None => stamps.push((stamp, 1)),
        }
    }
    let most = stamps.iter().map(|(_, count)| *count).max()?;
    let kept = stamps.iter().position(|(_, count)| *count == most)?;
    let (common, _) = stamps.remove(kept);
    for (stamp, count) in stamps {
        notes.push(format!(
            "{label}: {count} cells were measured with another model or preprocessing ({}) than {most} others ({}). \
             Such numbers do not compare, and the {count} are left out.",
            stamp.told(),
            common.told()
        ));
    }
    Some(common)
}

/// What is known of a measure.
struct Described {
    label: &'static str,
    better: Better,
    digits: usize,
    negligible: Option<f64>,
    meaning: &'static str,
}

impl Described {
    fn info(&self, name: &str, model: String) -> MeasureInfo {
        MeasureInfo {
            name: name.into(),
            label: self.label.into(),
            better: self.better,
            digits: self.digits,
            meaning: self.meaning.into(),
            negligible: self.negligible,
            model,
        }
    }
}

/// The measures that columns are made of.
///
/// What counts as no difference is a choice, made before any result is seen. It is about what a person could not see
/// or would not act on: a hundredth of a cosine, one point in the published tables; for motion fidelity and path
/// correlation, which scatter more, what one track of fifty makes that turns from perfect to unrelated; half a pixel of
/// 64 for places. FID and KID depend on the number of frames and on the network, and so have no such size.
fn described(name: &str) -> Option<Described> {
    let (label, digits, negligible, meaning) = match name {
        "text_similarity" => (
            "Text similarity",
            3,
            Some(0.01),
            "How well the frames fit the prompt: the mean cosine of their CLIP embeddings and the prompt's.",
        ),
        TEMPORAL_CONSISTENCY => (
            "Temporal consistency",
            3,
            Some(0.01),
            "How alike neighbouring frames are: the mean cosine of their CLIP embeddings. A still clip scores 1.",
        ),
        MOTION_MAGNITUDE => (
            "Motion magnitude",
            3,
            None,
            "How far points move, in diagonals of the frame. It tells whether a consistent clip is merely a still one, \
             and is neither better nor worse by itself.",
        ),
        "motion_fidelity" => (
            "Motion fidelity",
            3,
            Some(0.02),
            "How alike the tracks of points through the result and the reference are, both ways; 1 is the same motion.",
        ),
        "motion_fidelity.moving" => (
            "Motion fidelity of what moves",
            3,
            Some(0.02),
            "Motion fidelity of the tracks that go somewhere.",
        ),
        "motion_fidelity.published" => (
            "Motion fidelity as published",
            3,
            Some(0.02),
            "Motion fidelity as the published script computes it, for comparison with published numbers.",
        ),
        "motion_fidelity.hybrid" => (
            "Hybrid motion fidelity",
            3,
            Some(0.02),
            "How alike directions and places of tracks are, both ways.",
        ),
        "motion_fidelity.hybrid_published" => (
            "Hybrid motion fidelity as published",
            3,
            Some(0.02),
            "Hybrid motion fidelity as the published script computes it, for comparison with published numbers.",
        ),
        "path_correlation" => (
            "Path correlation",
            3,
            Some(0.02),
            "How well the way of the sprite goes with the reference's: the correlation of the two paths.",
        ),
        "end_point_error" => (
            "End-point error",
            2,
            Some(0.5),
            "How far the sprite is from where it is in the reference: the mean distance in pixels of a 64-pixel frame.",
        ),
        "fid" => (
            "FID",
            3,
            None,
            "How far the frames of all results lie from those of the references, as normal distributions of features. \
             It compares only between equally many frames.",
        ),
        "kid" => (
            "KID",
            4,
            None,
            "How far the frames of all results lie from those of the references, by an unbiased kernel distance of \
             features.",
        ),
        USER_PREFERENCE => (
            "User preference",
            2,
            None,
            "The share of comparisons that people decided for it; a tie is half a win.",
        ),
        _ => return None,
    };
    Some(Described {
        label,
        better: match name.parse::<Measure>() {
            _ if name == MOTION_MAGNITUDE => Better::Neither,
            Ok(measure) if !measure.more_is_better() => Better::Less,
            _ => Better::More,
        },
        digits,
        negligible,
        meaning,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(digits: usize) -> MeasureInfo {
        let described = described("text_similarity").unwrap();
        MeasureInfo {
            digits,
            ..described.info("text_similarity", String::new())
        }
    }

    #[test]
    fn every_measure_is_described() {
        for measure in Measure::ALL {
            let described = described(measure.name()).unwrap();
            let is_more = described.better == Better::More;
            assert_eq!(is_more, measure.more_is_better());
        }
        for name in crate::study::METRICS {
            assert!(described(name).is_some(), "{name}");
        }
    }

    #[test]
    fn values_are_shown_with_the_digits_of_their_measure() {
        for (value, expected) in [
            (0.12345, "0.123"),
            (-0.5, "−0.500"),
            (-0.0001, "0.000"),
            (-0.0, "0.000"),
            (12.0, "12.000"),
        ] {
            assert_eq!(info(3).shown(value), expected);
        }
        assert_eq!(info(0).shown(7.4), "7");
    }

    #[test]
    fn a_small_difference_is_not_shown_as_zero() {
        for (value, expected) in [
            (0.0, "0.000"),
            (0.0006, "0.001"),
            (0.0004, "0.0004"),
            (-0.00012, "−0.0001"),
            (0.00096, "0.001"),
            (-3e-9, "−0.000000003"),
            (1e-17, "0.000"),
        ] {
            assert_eq!(info(3).shown_difference(value), expected);
        }
    }
}
