//! What the numbers of a study say: a table for every ablation, with the statistics of its variants.

use kinvert_metrics::statistics::{Interval, Summary};
use kinvert_metrics::votes;
use serde::Serialize;

/// The statistics of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// The columns of all tables.
    pub measures: Vec<MeasureInfo>,
    /// One table for each ablation in the study's order, and one for variants that a person added.
    pub tables: Vec<Table>,
    /// What the intervals are drawn over and how much was compared, in sentences.
    pub notes: Vec<String>,
    /// What people said, if votes were given.
    pub preference: Option<votes::Report>,
}

/// A column: a measure and how to read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasureInfo {
    /// Name of its records, such as `text_similarity`; `user_preference` for the share of votes won.
    pub name: String,
    /// For people, such as `Text similarity`.
    pub label: String,
    /// Whether a larger value is a better one.
    pub more_is_better: bool,
    /// Digits after the point that tables show.
    pub digits: usize,
    /// What it says, in one sentence.
    pub meaning: String,
    /// Differences up to this size count as none; none where no such size is agreed on.
    pub negligible: Option<f64>,
    /// The network or algorithm behind it, and how input was prepared.
    pub model: String,
}

/// An ablation's variants beside the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// The ablation's name.
    pub title: String,
    /// Index of the ablation in [`Study::ablations`](crate::Study); none for variants that a person added.
    pub ablation: Option<usize>,
    /// The baseline, and then the variants.
    pub rows: Vec<Row>,
    /// What it says in plain words: one sentence or two for each variant.
    pub readings: Vec<String>,
}

/// One variant in a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Index of the variant in [`Results::variants`](crate::results::Results); 0 is the baseline.
    pub variant: usize,
    /// Its name.
    pub name: String,
    /// One entry for each of [`Analysis::measures`].
    pub estimates: Vec<Estimate>,
}

/// One measure of one variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean, deviation, interval and number of cells; none if there is no value. Of measures over sets of frames
    /// (FID, KID) the mean is the distance of all frames, without a deviation.
    pub summary: Option<Summary>,
    /// Cells that were measured, and on which the measure is not defined.
    pub absent: usize,
    /// Against the baseline, on the cells that both have; none for the baseline itself.
    pub comparison: Option<Compared>,
    /// Whether no row of the table has a better mean.
    pub is_best: bool,
}

/// A variant against the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Variant less baseline.
    pub difference: f64,
    /// 95 % bootstrap interval of the difference.
    pub interval: Option<Interval>,
    /// Two-sided p-value: Wilcoxon's test of the cells, or a test by permutation for measures over sets.
    pub p: Option<f64>,
    /// The same with Holm's correction over all comparisons of the study.
    pub p_holm: Option<f64>,
    /// Cells compared.
    pub cells: usize,
    /// What may be said of it.
    pub verdict: Verdict,
}

/// What may be said of a difference, by rules that do not overstate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Above zero: the interval and the corrected p-value agree.
    Higher,
    /// Below zero: the interval and the corrected p-value agree.
    Lower,
    /// The whole interval lies within what counts as none.
    Same,
    /// Neither a difference nor its absence is shown.
    Open,
}
