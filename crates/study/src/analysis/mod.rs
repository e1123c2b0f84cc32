//! What the numbers of a study say: a table for every ablation, with the statistics of its variants.
//!
//! * **Values** are means over done cells. Only records with the same model and preprocessing are put together; those
//!   of a minority are left out, which a note tells.
//! * **Comparisons** are paired: a variant and the baseline on the same clip, prompt and seed. Intervals are drawn over
//!   clips where the study has at least five, and over cells otherwise; p-values take the cells as independent. Both
//!   must agree before a difference is called one ([`Verdict`]).
//! * **Correction**: Holm's, over every p-value of the study. Variants with equal settings share their cells and count
//!   once.
//! * **FID and KID** are distances between sets of frames, with a bootstrap and a test by permutation of their own.
//! * **Readings** say the same in plain words, and no more.

mod cells;
mod measures;
mod preference;
mod readings;
mod sets;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use kinvert_metrics::statistics::{Bootstrap, Interval, Sample, Summary, compare, holm};
use kinvert_metrics::votes;
use serde::Serialize;

pub use measures::{Better, MeasureInfo};
pub use verdict::{FEWEST_UNITS, LEVEL, Verdict};

use crate::error::Error;
use crate::results::{Counts, Results, RunVariant};
use cells::{FEWEST_CLIPS, Unit, counts};
use measures::{Column, Source, columns};
use preference::Preference;
use readings::{Reading, reading};
use sets::{EXCHANGES, FRECHET_DIMENSION, FRECHET_RESAMPLES, FrameSets, SetDistance};

/// Share of the largest number of cells in a table that a row must have for its mean to be the best.
const ENOUGH_FOR_BEST: f64 = 0.8;

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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Mean, deviation, interval and number of cells; none if there is no value. Of measures over sets of frames
    /// (FID, KID) the mean is the distance of all frames, without a deviation.
    pub summary: Option<Summary>,
    /// Cells that were measured, and on which the measure is not defined.
    pub absent: usize,
    /// Against the baseline, on the cells that both have; none for the baseline itself.
    pub comparison: Option<Compared>,
    /// Whether no row of the table has a better mean, of those with enough cells. A single row is not the best.
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
    /// Clips or cells that the interval was drawn over.
    pub units: usize,
    /// What may be said of it.
    pub verdict: Verdict,
}

impl Compared {
    /// Whether a difference is shown.
    pub fn is_shown(&self) -> bool {
        matches!(self.verdict, Verdict::Higher | Verdict::Lower)
    }
}

impl Analysis {
    /// The statistics of what a study has given so far, with what people said if they were asked.
    ///
    /// # Errors
    /// If features of frames cannot be compared.
    pub fn of(
        results: &Results,
        preference: Option<votes::Report>,
        bootstrap: &Bootstrap,
    ) -> Result<Self, Error> {
        let mut notes = vec![told_progress(results.counts())];
        let columns = columns(results, preference.as_ref(), &mut notes);
        let has_sets = |column: &Column| matches!(column.source, Source::Frames(_));
        let frames = columns
            .iter()
            .any(has_sets)
            .then(|| FrameSets::of(results, &mut notes));
        let mut estimator = Estimator {
            results,
            columns,
            unit: Unit::of(results),
            bootstrap,
            frames: frames.as_ref(),
            preference: preference.as_ref().map(|report| Preference { report }),
        };
        let mut by_hash = BTreeMap::<&str, Vec<Estimate>>::new();
        for variant in &results.variants {
            if !by_hash.contains_key(variant.hash.as_str()) {
                by_hash.insert(&variant.hash, estimator.estimates(variant)?);
            }
        }
        let tests = correct(&estimator.columns, &mut by_hash)?;
        fit_digits(&mut estimator.columns, &by_hash);
        notes.extend(estimator.told_methods(&tests));
        let tables = estimator.tables(&by_hash, &tests);
        let columns = estimator.columns.into_iter();
        Ok(Self {
            measures: columns.map(|column| column.info).collect(),
            tables,
            notes,
            preference,
        })
    }
}

/// What the estimates of variants are made from.
struct Estimator<'a> {
    results: &'a Results,
    columns: Vec<Column>,
    unit: Unit,
    bootstrap: &'a Bootstrap,
    frames: Option<&'a FrameSets<'a>>,
    preference: Option<Preference<'a>>,
}

/// All p-values of a study.
struct Tests {
    /// How many there are.
    count: usize,
    /// Most cells that one of them compares.
    most_cells: usize,
}

impl Tests {
    /// Whether so many cells cannot show any difference: the smallest p-value that all choices of signs allow is not
    /// below the level once it is corrected for a variant's own comparisons, or for all where none has more cells.
    fn are_too_few(&self, cells: usize, of_variant: usize) -> bool {
        let corrected = |cells: usize, tests: usize| smallest_p(cells) * tests as f64;
        corrected(self.most_cells, self.count) >= LEVEL || corrected(cells, of_variant) >= LEVEL
    }
}

/// The smallest two-sided p-value that the signs of so many differences can give.
fn smallest_p(cells: usize) -> f64 {
    0.5_f64.powi(cells as i32 - 1).min(1.0)
}

impl<'a> Estimator<'a> {
    /// One estimate for each column, as yet without corrected p-values.
    fn estimates(&self, variant: &RunVariant) -> Result<Vec<Estimate>, Error> {
        let baseline = self.results.baseline();
        let baseline = baseline.filter(|baseline| baseline.hash != variant.hash);
        let columns = self.columns.iter();
        let estimates = columns.map(|column| match column.source {
            Source::Record { .. } | Source::Beside { .. } => {
                self.of_cells(column, variant, baseline)
            }
            Source::Frames(distance) => self.of_frames(distance, variant, baseline),
            Source::Votes => Ok(Estimate {
                summary: self
                    .preference
                    .as_ref()
                    .and_then(|preference| preference.won(&self.names(&variant.hash))),
                ..Estimate::default()
            }),
        });
        estimates.collect()
    }

    fn of_cells(
        &self,
        column: &Column,
        variant: &RunVariant,
        baseline: Option<&RunVariant>,
    ) -> Result<Estimate, Error> {
        let values = column.values(self.results, &variant.hash);
        if values.values.is_empty() {
            return Ok(Estimate {
                absent: values.absent,
                ..Estimate::default()
            });
        }
        let clustered = values.values.iter();
        let clustered = clustered.map(|(key, value)| (self.unit.holding(key), *value));
        let summary = Sample::clustered(clustered)?.summary(self.bootstrap);
        let of_baseline = baseline.map(|baseline| column.values(self.results, &baseline.hash));
        let of_baseline = of_baseline.filter(|of_baseline| {
            let mut keys = values.values.keys();
            keys.any(|key| of_baseline.values.contains_key(key))
        });
        let comparison = match of_baseline {
            None => None,
            Some(of_baseline) => {
                let unit = |key: &cells::Key| self.unit.holding(key);
                let found = compare(&values.values, &of_baseline.values, unit, self.bootstrap)?;
                // The normal approximation of a few tied differences goes below what their signs can give.
                let p = found
                    .test
                    .p_value
                    .max(smallest_p(found.test.differing.max(1)));
                Some(Compared {
                    difference: found.difference.mean,
                    interval: found.difference.interval,
                    p: (column.info.better != Better::Neither).then_some(p),
                    p_holm: None,
                    cells: found.difference.values,
                    units: found.difference.clusters,
                    verdict: Verdict::Open,
                })
            }
        };
        Ok(Estimate {
            summary: Some(summary),
            absent: values.absent,
            comparison,
            is_best: false,
        })
    }

    fn of_frames(
        &self,
        distance: SetDistance,
        variant: &RunVariant,
        baseline: Option<&RunVariant>,
    ) -> Result<Estimate, Error> {
        let Some(frames) = self.frames else {
            return Ok(Estimate::default());
        };
        let value = frames.value(&variant.hash, distance)?;
        let comparison = match baseline {
            None => None,
            Some(baseline) => {
                let sides = [&variant.hash, &baseline.hash];
                frames.compare(sides, distance, self.unit, self.bootstrap)?
            }
        };
        let done = counts(self.results, &variant.hash).done;
        Ok(Estimate {
            absent: match frames.dimension() {
                Some(_) => done - value.as_ref().map_or(0, |value| value.cells),
                None => 0, // features are not measured at all
            },
            summary: value.map(|value| Summary {
                mean: value.distance,
                standard_deviation: None,
                interval: None,
                values: value.cells,
                clusters: value.clips,
            }),
            comparison: comparison.map(|found| Compared {
                difference: found.difference,
                interval: found.interval,
                p: found.p,
                p_holm: None,
                cells: found.cells,
                units: found.units,
                verdict: Verdict::Open,
            }),
            is_best: false,
        })
    }

    /// The names of all variants with a hash.
    fn names(&self, hash: &str) -> Vec<&'a str> {
        let variants = self.results.variants.iter();
        variants
            .filter(|variant| variant.hash == hash)
            .map(|variant| variant.name.as_str())
            .collect()
    }

    fn tables(&self, by_hash: &BTreeMap<&str, Vec<Estimate>>, tests: &Tests) -> Vec<Table> {
        let study = &self.results.study;
        let mut tables = Vec::new();
        let mut known = BTreeSet::new();
        for (index, ablation) in study.ablations.iter().enumerate() {
            let is_first = known.insert(ablation.name.as_str());
            let asks = |variant: &RunVariant| {
                is_first && variant.ablation.as_deref() == Some(ablation.name.as_str())
            };
            tables.push(self.table(&ablation.name, Some(index), asks, by_hash, tests));
        }
        let asked_for = |name: &String| known.contains(name.as_str());
        let added = |variant: &RunVariant| !variant.ablation.as_ref().is_some_and(asked_for);
        if self.results.variants.iter().skip(1).any(added) {
            tables.push(self.table("Added by hand", None, added, by_hash, tests));
        } else if tables.is_empty() {
            tables.push(self.table("The method", None, |_| false, by_hash, tests));
        }
        tables
    }

    fn table(
        &self,
        title: &str,
        ablation: Option<usize>,
        belongs: impl Fn(&RunVariant) -> bool,
        by_hash: &BTreeMap<&str, Vec<Estimate>>,
        tests: &Tests,
    ) -> Table {
        let variants = self.results.variants.iter().enumerate();
        let variants = variants.filter(|(index, variant)| *index == 0 || belongs(variant));
        let rows = variants.map(|(index, variant)| Row {
            variant: index,
            name: variant.name.clone(),
            estimates: by_hash
                .get(variant.hash.as_str())
                .cloned()
                .unwrap_or_default(),
        });
        let mut rows: Vec<Row> = rows.collect();
        for (index, column) in self.columns.iter().enumerate() {
            mark_best(&mut rows, index, column);
        }
        // What is to be said of the baseline is said once.
        let is_first = ablation == Some(0) || self.results.study.ablations.is_empty();
        let told = rows.iter().filter(|row| row.variant != 0 || is_first);
        let readings = told.filter_map(|row| self.reading(row, tests));
        let mut readings: Vec<String> = readings.collect();
        if rows.len() < 2 {
            readings.push("No variant of it is run.".into());
        }
        Table {
            title: title.into(),
            ablation,
            readings,
            rows,
        }
    }

    fn reading(&self, row: &Row, tests: &Tests) -> Option<String> {
        let variant = &self.results.variants[row.variant];
        let baseline = self.results.baseline()?;
        let of_hash = self.names(&variant.hash);
        let compared: Vec<&Compared> = row
            .estimates
            .iter()
            .filter_map(|estimate| estimate.comparison.as_ref())
            .filter(|compared| compared.p.is_some())
            .collect();
        let cells = compared.iter().map(|compared| compared.cells).max();
        let units = compared.iter().map(|compared| compared.units).max();
        let preference = self.preference.as_ref();
        reading(&Reading {
            name: &row.name,
            baseline: &baseline.name,
            is_baseline: row.variant == 0,
            same_as: of_hash
                .into_iter()
                .find(|name| *name != row.name)
                .filter(|_| {
                    // Of variants with equal settings the first says it all.
                    let variants = &self.results.variants;
                    let first = variants.iter().position(|other| other.hash == variant.hash);
                    first != Some(row.variant)
                }),
            counts: counts(self.results, &variant.hash),
            baseline_counts: counts(self.results, &baseline.hash),
            measures: self.columns.iter().map(|column| &column.info).collect(),
            estimates: &row.estimates,
            preference: preference.and_then(|preference| {
                let baseline = self.names(&baseline.hash);
                preference.against(&self.names(&variant.hash), &baseline)
            }),
            too_few: match (cells, units) {
                (Some(_), Some(units)) if units < FEWEST_UNITS => {
                    let unit = self.unit.name(units);
                    let are = if units == 1 { "is" } else { "are" };
                    Some(format!(
                        "{units} {unit} {are} too few to show a difference or its absence"
                    ))
                }
                (Some(cells), _) if tests.are_too_few(cells, compared.len()) => Some(format!(
                    "{cells} cells are too few to show a difference after Holm's correction"
                )),
                _ => None,
            },
        })
    }

    /// How numbers were made, for people to judge them.
    fn told_methods(&self, tests: &Tests) -> Vec<String> {
        let mut notes = Vec::new();
        let clips = self.results.references.len();
        let (resamples, seed) = (self.bootstrap.resamples(), self.bootstrap.seed());
        notes.push(match self.unit {
            Unit::Clip => format!(
                "Intervals are 95 % bootstrap intervals over the {clips} clips ({resamples} resamples, seed {seed}): the \
                 cells of one clip are not independent, and the question is about clips in general."
            ),
            Unit::Cell => format!(
                "Intervals are 95 % bootstrap intervals over cells ({resamples} resamples, seed {seed}), since fewer \
                 than {FEWEST_CLIPS} clips are too few to draw from: what is found holds for {} of the study, and not \
                 for clips in general.",
                match clips {
                    1 => "the clip".to_owned(),
                    _ => format!("the {clips} clips"),
                }
            ),
        });
        notes.push(format!(
            "Variants are compared with the method on the same clip, prompt and seed. {} p-values of the study are \
             corrected together by Holm's method; Wilcoxon's test takes the cells as independent. A difference counts \
             if its interval leaves out zero and its corrected p-value is below {LEVEL}.",
            tests.count
        ));
        if tests.count > 0 && tests.are_too_few(tests.most_cells, 0) {
            notes.push(format!(
                "{} cells are too few to show any difference: the smallest p-value that they allow, {:.2}, is not below \
                 {LEVEL} when {} are corrected together.",
                tests.most_cells,
                smallest_p(tests.most_cells),
                tests.count
            ));
        }
        for (index, variant) in self.results.variants.iter().enumerate() {
            let mut earlier = self.results.variants[..index].iter();
            if let Some(first) = earlier.find(|first| first.hash == variant.hash) {
                notes.push(format!(
                    "`{}` has the settings of `{}`: they share their cells, and their comparisons count once.",
                    variant.name, first.name
                ));
            }
        }
        notes.extend(self.told_sets());
        notes
    }

    fn told_sets(&self) -> Vec<String> {
        let has = |distance: SetDistance| {
            let mut columns = self.columns.iter();
            columns.any(|c| matches!(c.source, Source::Frames(found) if found == distance))
        };
        let Some(frames) = self.frames else {
            return Vec::new();
        };
        let Some(dimension) = frames.dimension() else {
            return vec!["FID and KID: no features of the references are there.".into()];
        };
        let mut notes = vec![format!(
            "FID and KID compare all frames of a variant with all frames of its clips. Their p-values come from {EXCHANGES} \
             random exchanges of cells between variant and method, and are no smaller than 0.001. Of a single distance no \
             interval is told, since sets that are drawn again lie further apart."
        )];
        if has(SetDistance::Frechet) {
            notes.push(match dimension {
                ..=FRECHET_DIMENSION => format!(
                    "Intervals of differences of FID are of at most {FRECHET_RESAMPLES} resamples."
                ),
                _ => format!(
                    "FID with {dimension} features is not tested, since it takes long with more than \
                     {FRECHET_DIMENSION}: its differences have no interval and no p-value."
                ),
            });
        }
        notes
    }
}

fn told_progress(counts: Counts) -> String {
    let Counts {
        all, done, failed, ..
    } = counts;
    let failures = match failed {
        0 => String::new(),
        _ => format!(", {failed} failed"),
    };
    match done == all {
        true => format!("All {all} cells are done."),
        false => format!("{done} of {all} cells are done{failures}; the numbers are of these."),
    }
}

/// Corrects all p-values together and gives the verdicts.
fn correct(
    columns: &[Column],
    by_hash: &mut BTreeMap<&str, Vec<Estimate>>,
) -> Result<Tests, Error> {
    let mut compared: Vec<(&mut Compared, Option<f64>)> = Vec::new();
    for estimates in by_hash.values_mut() {
        for (estimate, column) in estimates.iter_mut().zip(columns) {
            let negligible = column.info.negligible;
            compared.extend(estimate.comparison.as_mut().map(|c| (c, negligible)));
        }
    }
    let tested = || compared.iter().filter(|(compared, _)| compared.p.is_some());
    let tests = Tests {
        count: tested().count(),
        most_cells: tested().map(|(c, _)| c.cells).max().unwrap_or(0),
    };
    let p_values: Vec<f64> = compared.iter().filter_map(|(c, _)| c.p).collect();
    let mut corrected = holm(&p_values)?.into_iter();
    for (compared, negligible) in compared {
        compared.p_holm = compared.p.and_then(|_| corrected.next());
        let Compared {
            interval,
            units,
            p_holm,
            ..
        } = *compared;
        compared.verdict = Verdict::of(interval, units, p_holm, negligible);
    }
    Ok(tests)
}

/// Gives FID as many digits as its size leaves any sense in: it is about 100 with one network and 0.1 with another.
fn fit_digits(columns: &mut [Column], by_hash: &BTreeMap<&str, Vec<Estimate>>) {
    for (index, column) in columns.iter_mut().enumerate() {
        if !matches!(column.source, Source::Frames(SetDistance::Frechet)) {
            continue;
        }
        let estimates = by_hash.values().filter_map(|all| all.get(index));
        let means = estimates.filter_map(|estimate| Some(estimate.summary?.mean));
        column.info.digits = match means.fold(0.0, f64::max) {
            ..1.0 => 4,
            ..10.0 => 3,
            ..100.0 => 2,
            _ => 1,
        };
    }
}

/// Marks the best means of a column, of rows that are not short of cells.
fn mark_best(rows: &mut [Row], column: usize, of: &Column) {
    let value = |row: &Row| row.estimates.get(column).and_then(|e| e.summary);
    let most = rows.iter().filter_map(value).map(|s| s.values).max();
    let is_by_cells = !matches!(of.source, Source::Votes); // the baseline meets everybody, and has most votes
    let is_enough = |summary: &Summary| {
        !is_by_cells || summary.values as f64 >= ENOUGH_FOR_BEST * most.unwrap_or(0) as f64
    };
    let goodness = |row: &Row| {
        let mean = value(row).filter(is_enough)?.mean;
        match of.info.better {
            Better::More => Some(mean),
            Better::Less => Some(-mean),
            Better::Neither => None,
        }
    };
    let candidates: Vec<f64> = rows.iter().filter_map(goodness).collect();
    let best = candidates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if candidates.len() < 2 {
        return;
    }
    for row in rows {
        let is_best = goodness(row) == Some(best);
        if let Some(estimate) = row.estimates.get_mut(column) {
            estimate.is_best = is_best;
        }
    }
}
