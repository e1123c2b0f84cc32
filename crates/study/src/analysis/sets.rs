//! FID and KID of all frames of a variant: values, and comparisons with the baseline.
//!
//! The set of a variant holds the frames of its done cells, that of the references the frames of the clips that these
//! cells have, each clip once. A comparison takes the cells that the variant and the baseline share.
//!
//! * **Interval** of the difference: units (clips, or cells where clips are few) are drawn with replacement, the same
//!   for the variant and the baseline, and, where units are clips, for the references. A frame is never paired with
//!   itself by KID, nor with other copies of its unit: those would be too alike. Sets that are drawn again hold fewer
//!   different frames, which raises an FID; in the difference that cancels as far as both sides scatter alike.
//! * **p-value**: the variant and the baseline exchange their clips in random cells, which changes nothing in
//!   distribution if the two are alike. It is the share of such exchanges with a difference at least as large, the
//!   observed one among them (Phipson & Smyth, *Permutation P-values Should Never Be Zero*, 2010).
//!
//! Either needs thousands of distances. Those are put together from the moments of cells (FID) and sums of kernels
//! between cells (KID), never from frames.

use std::collections::BTreeMap;

use kinvert_metrics::frechet::{
    FeatureStatistics, Features, Moments, frechet_distance, kernel_distance, kernel_sum,
    kernel_sum_within,
};
use kinvert_metrics::statistics::{Bootstrap, Interval};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cells::{Key, Unit, done};
use crate::error::Error;
use crate::results::Results;

/// Random exchanges for a p-value. With the observed one the smallest p-value is 1/1000.
pub(super) const EXCHANGES: u64 = 999;

/// Most resamples for an interval of an FID, of which each takes two eigen-decompositions.
pub(super) const FRECHET_RESAMPLES: usize = 1000;

/// Most features with which an FID is tested: a distance takes some 2 ms of 128 features and grows with their cube.
pub(super) const FRECHET_DIMENSION: usize = 128;

/// Most multiplications for the kernels of all frames with all frames: some ten seconds.
const KERNEL_WORK: f64 = (1_u64 << 36) as f64;

/// A distance between two sets of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetDistance {
    /// FID.
    Frechet,
    /// KID.
    Kernel,
}

/// The features of all frames of a study.
pub(super) struct FrameSets<'a> {
    references: BTreeMap<usize, Features>,
    variants: BTreeMap<&'a str, BTreeMap<Key, Features>>,
}

/// How far the frames of a variant lie from the references.
pub(super) struct SetValue {
    pub distance: f64,
    pub cells: usize,
    pub clips: usize,
}

/// A variant against the baseline.
pub(super) struct SetComparison {
    pub difference: f64,
    pub interval: Option<Interval>,
    pub p: Option<f64>,
    pub cells: usize,
    pub units: usize,
}

impl<'a> FrameSets<'a> {
    /// The features that a study has. Those of another number than the references' are told of and left out.
    pub fn of(results: &'a Results, notes: &mut Vec<String>) -> Self {
        let mut dimension = None;
        let mut refused = 0;
        let mut features = |rows: &[Vec<f32>]| {
            let width = rows.first()?.len();
            let fits = rows.iter().all(|row| row.len() == width);
            let features = Features::new(width, &rows.concat()).ok();
            let features = features.filter(|_| fits && width == *dimension.get_or_insert(width));
            refused += usize::from(features.is_none());
            features
        };
        let references = results.references.iter().enumerate();
        let references: BTreeMap<usize, Features> = references
            .filter_map(|(index, reference)| Some((index, features(&reference.features)?)))
            .collect();
        let mut variants = BTreeMap::new();
        for variant in &results.variants {
            variants.entry(variant.hash.as_str()).or_insert_with(|| {
                let cells = done(results, &variant.hash).into_iter();
                cells
                    .filter(|(key, _)| references.contains_key(&key.0))
                    .filter_map(|(key, measured)| Some((key, features(&measured.features)?)))
                    .collect()
            });
        }
        if refused > 0 {
            notes.push(format!(
                "FID and KID: the features of {refused} clips are of another number than those of the first reference, or \
                 no numbers. They do not compare, and are left out."
            ));
        }
        Self {
            references,
            variants,
        }
    }

    /// Number of features of a frame; none if no reference has any.
    pub fn dimension(&self) -> Option<usize> {
        self.references.values().next().map(Features::dimension)
    }

    /// The distance of a variant's frames from the references'; none with fewer than two frames.
    pub fn value(&self, hash: &str, distance: SetDistance) -> Result<Option<SetValue>, Error> {
        let Some(cells) = self.variants.get(hash) else {
            return Ok(None);
        };
        let references = self.references_of(cells.keys());
        let Some(found) = distance.between(cells.values(), references.values().copied())? else {
            return Ok(None);
        };
        Ok(Some(SetValue {
            distance: found,
            cells: cells.len(),
            clips: references.len(),
        }))
    }

    /// A variant against the baseline, on the cells that both have; none if there are none.
    pub fn compare(
        &self,
        [variant, baseline]: [&String; 2],
        distance: SetDistance,
        unit: Unit,
        bootstrap: &Bootstrap,
    ) -> Result<Option<SetComparison>, Error> {
        let (Some(variant), Some(baseline)) = (
            self.variants.get(variant.as_str()),
            self.variants.get(baseline.as_str()),
        ) else {
            return Ok(None);
        };
        let shared = variant.keys().filter(|key| baseline.contains_key(key));
        let cells: Vec<Key> = shared.copied().collect();
        let pairing = Pairing {
            variant: cells.iter().filter_map(|key| variant.get(key)).collect(),
            baseline: cells.iter().filter_map(|key| baseline.get(key)).collect(),
            references: self.references_of(cells.iter()),
            cells,
            unit,
        };
        pairing.compare(distance, bootstrap)
    }

    fn references_of<'k>(
        &self,
        cells: impl Iterator<Item = &'k Key>,
    ) -> BTreeMap<usize, &Features> {
        cells
            .filter_map(|(clip, _, _)| Some((*clip, self.references.get(clip)?)))
            .collect()
    }
}

impl SetDistance {
    /// The distance between the frames of some clips and of others; none with fewer than two frames.
    fn between<'f>(
        self,
        results: impl Iterator<Item = &'f Features>,
        references: impl Iterator<Item = &'f Features>,
    ) -> Result<Option<f64>, Error> {
        let (mut results, mut references) = (results.peekable(), references.peekable());
        if results.peek().is_none() || references.peek().is_none() {
            return Ok(None);
        }
        let (results, references) = (Features::joined(results)?, Features::joined(references)?);
        if results.count() < 2 || references.count() < 2 {
            return Ok(None);
        }
        Ok(Some(match self {
            Self::Frechet => frechet_distance(
                &FeatureStatistics::of(&results)?,
                &FeatureStatistics::of(&references)?,
            )?,
            Self::Kernel => kernel_distance(&results, &references)?,
        }))
    }
}

/// The cells that a variant and the baseline share, with the features of both.
struct Pairing<'f> {
    cells: Vec<Key>,
    variant: Vec<&'f Features>,
    baseline: Vec<&'f Features>,
    references: BTreeMap<usize, &'f Features>,
    unit: Unit,
}

impl Pairing<'_> {
    fn compare(
        &self,
        distance: SetDistance,
        bootstrap: &Bootstrap,
    ) -> Result<Option<SetComparison>, Error> {
        let references = || self.references.values().copied();
        let of = |set: &[&Features]| distance.between(set.iter().copied(), references());
        let (Some(variant), Some(baseline)) = (of(&self.variant)?, of(&self.baseline)?) else {
            return Ok(None);
        };
        let units = self.units();
        let (interval, p) = match distance {
            SetDistance::Frechet if self.dimension() > FRECHET_DIMENSION => (None, None),
            SetDistance::Frechet => {
                let resamples = bootstrap.resamples().min(FRECHET_RESAMPLES);
                let bootstrap = Bootstrap::new(resamples, bootstrap.seed())?;
                evidence(&FrechetMixtures::of(self)?, self, &bootstrap)
            }
            SetDistance::Kernel if self.kernel_work() > KERNEL_WORK => (None, None),
            SetDistance::Kernel => evidence(&KernelMixtures::of(self)?, self, bootstrap),
        };
        Ok(Some(SetComparison {
            difference: variant - baseline,
            interval,
            p,
            cells: self.cells.len(),
            units: units.len(),
        }))
    }

    fn dimension(&self) -> usize {
        self.variant.first().map_or(0, |cell| cell.dimension())
    }

    fn kernel_work(&self) -> f64 {
        let sets = [&self.variant, &self.baseline];
        let frames: usize = sets.into_iter().flatten().map(|cell| cell.count()).sum();
        let references: usize = self.references.values().map(|clip| clip.count()).sum();
        ((frames + references) as f64).powi(2) * self.dimension() as f64
    }

    /// What is drawn, in order.
    fn units(&self) -> Vec<Key> {
        let mut units: Vec<Key> = self
            .cells
            .iter()
            .map(|key| self.unit.holding(key))
            .collect();
        units.sort_unstable();
        units.dedup();
        units
    }

    /// Index of the unit of each cell.
    fn unit_of_cells(&self) -> Vec<usize> {
        let units = self.units();
        let place = |key: &Key| units.partition_point(|unit| *unit < self.unit.holding(key));
        self.cells.iter().map(place).collect()
    }
}

/// Differences of distances between mixtures of the cells of a pairing.
trait Mixtures: Sync {
    /// The difference where each unit was drawn so many times.
    fn drawn(&self, times: &[u32]) -> f64;

    /// The difference where variant and baseline exchange these cells.
    fn exchanged(&self, is_exchanged: &[bool]) -> f64;
}

/// The interval of a difference, and its p-value.
fn evidence(
    mixtures: &impl Mixtures,
    pairing: &Pairing<'_>,
    bootstrap: &Bootstrap,
) -> (Option<Interval>, Option<f64>) {
    let interval = bootstrap.interval(pairing.units().len(), |times| mixtures.drawn(times));
    let cells = pairing.cells.len();
    let observed = mixtures.exchanged(&vec![false; cells]).abs();
    if !observed.is_finite() {
        return (interval, None);
    }
    let key = ChaCha8Rng::seed_from_u64(bootstrap.seed());
    let is_as_large = |exchange: &u64| {
        let mut rng = key.clone();
        rng.set_stream((1 << 40) + exchange); // beyond those of the resamples
        let is_exchanged: Vec<bool> = (0..cells).map(|_| rng.random()).collect();
        let difference = mixtures.exchanged(&is_exchanged).abs();
        // Rounding must not make an exchange of everything smaller than nothing exchanged.
        difference.is_nan() || difference >= observed * (1.0 - 1e-9)
    };
    let as_large = (0..EXCHANGES).into_par_iter().filter(is_as_large).count();
    let p = (1 + as_large) as f64 / (1 + EXCHANGES) as f64;
    (interval, Some(p))
}

/// Differences of FIDs from the moments of cells.
struct FrechetMixtures {
    /// Moments of the variant and the baseline, cell by cell.
    cells: Vec<[Moments; 2]>,
    /// The same by unit, with those of the reference where that is drawn too.
    units: Vec<([Moments; 2], Option<Moments>)>,
    references: FeatureStatistics,
    dimension: usize,
}

fn empty(dimension: usize) -> Result<Moments, Error> {
    Ok(Moments::empty(dimension)?)
}

impl FrechetMixtures {
    fn of(pairing: &Pairing<'_>) -> Result<Self, Error> {
        let dimension = pairing.dimension();
        let cells = pairing.variant.iter().zip(&pairing.baseline);
        let cells: Vec<[Moments; 2]> = cells
            .map(|(variant, baseline)| [Moments::of(variant), Moments::of(baseline)])
            .collect();
        let mut units = Vec::new();
        for unit in pairing.units() {
            let reference = match pairing.unit {
                Unit::Clip => pairing
                    .references
                    .get(&unit.0)
                    .map(|clip| Moments::of(clip)),
                Unit::Cell => None,
            };
            let empty = || empty(dimension);
            units.push(([empty()?, empty()?], reference));
        }
        for (sides, unit) in cells.iter().zip(pairing.unit_of_cells()) {
            for (sum, side) in units[unit].0.iter_mut().zip(sides) {
                sum.add(side, 1)?;
            }
        }
        let references = Features::joined(pairing.references.values().copied())?;
        Ok(Self {
            cells,
            units,
            references: FeatureStatistics::of(&references)?,
            dimension,
        })
    }

    fn difference(
        &self,
        [variant, baseline]: [Moments; 2],
        references: &FeatureStatistics,
    ) -> Result<f64, Error> {
        let variant = frechet_distance(&variant.statistics()?, references)?;
        let baseline = frechet_distance(&baseline.statistics()?, references)?;
        Ok(variant - baseline)
    }

    fn try_drawn(&self, times: &[u32]) -> Result<f64, Error> {
        let empty = || empty(self.dimension);
        let (mut sides, mut references) = ([empty()?, empty()?], empty()?);
        for ((moments, reference), times) in self.units.iter().zip(times) {
            for (sum, side) in sides.iter_mut().zip(moments) {
                sum.add(side, *times)?;
            }
            if let Some(reference) = reference {
                references.add(reference, *times)?;
            }
        }
        match references.count() {
            0 => self.difference(sides, &self.references),
            _ => self.difference(sides, &references.statistics()?),
        }
    }

    fn try_exchanged(&self, is_exchanged: &[bool]) -> Result<f64, Error> {
        let empty = || empty(self.dimension);
        let mut sides = [empty()?, empty()?];
        for (cell, exchange) in self.cells.iter().zip(is_exchanged) {
            let exchange = usize::from(*exchange);
            sides[0].add(&cell[exchange], 1)?;
            sides[1].add(&cell[1 - exchange], 1)?;
        }
        self.difference(sides, &self.references)
    }
}

impl Mixtures for FrechetMixtures {
    fn drawn(&self, times: &[u32]) -> f64 {
        self.try_drawn(times).unwrap_or(f64::NAN)
    }

    fn exchanged(&self, is_exchanged: &[bool]) -> f64 {
        self.try_exchanged(is_exchanged).unwrap_or(f64::NAN)
    }
}

/// Differences of KIDs from sums of kernels between cells. What pairs of references give is in both, and cancels out.
struct KernelMixtures {
    /// Between all cells, those of the baseline behind those of the variant.
    cells: KernelSums,
    /// Of each of these cells with all references.
    with_references: Vec<f64>,
    /// Frames of each of these cells.
    frames: Vec<f64>,
    /// Frames of all references.
    reference_frames: f64,
    /// The variant and the baseline by units.
    units: [UnitKernels; 2],
}

/// A square table of sums of kernels between parts, on its diagonal without pairs of a frame with itself.
struct KernelSums {
    parts: usize,
    sums: Vec<f64>,
}

/// Sums of kernels by units, for one of the two sides.
struct UnitKernels {
    within: KernelSums,
    frames: Vec<f64>,
    references: ReferenceKernels,
}

/// Sums of kernels of units with references.
enum ReferenceKernels {
    /// With the reference of each unit, which is drawn with it: a row of sums for each unit, and frames.
    Drawn(Vec<Vec<f64>>, Vec<f64>),
    /// With all references together, and their frames.
    Fixed(Vec<f64>, f64),
}

impl KernelMixtures {
    fn of(pairing: &Pairing<'_>) -> Result<Self, Error> {
        let parts: Vec<&Features> = [&pairing.variant, &pairing.baseline]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let cells = KernelSums::of(&parts)?;
        let frames: Vec<f64> = parts.iter().map(|cell| cell.count() as f64).collect();
        let references: Vec<&Features> = pairing.references.values().copied().collect();
        let with_each = parts.iter().map(|cell| {
            let sums = references.iter().map(|clip| sum_between(cell, clip));
            sums.collect()
        });
        let with_each: Vec<Vec<f64>> = with_each.collect::<Result<_, _>>()?;
        let with_references = with_each.iter().map(|sums| sums.iter().sum());
        let reference_frames: Vec<f64> =
            references.iter().map(|clip| clip.count() as f64).collect();

        let (units, unit_of) = (pairing.units().len(), pairing.unit_of_cells());
        let side = |first: usize| {
            let mut within = KernelSums::zero(units);
            let mut frames_of_units = vec![0.0; units];
            let mut sums = vec![vec![0.0; references.len()]; units];
            for (a, &unit) in unit_of.iter().enumerate() {
                frames_of_units[unit] += frames[first + a];
                for (sum, term) in sums[unit].iter_mut().zip(&with_each[first + a]) {
                    *sum += term;
                }
                for (b, &other) in unit_of.iter().enumerate() {
                    within.add(unit, other, cells.at(first + a, first + b));
                }
            }
            UnitKernels {
                within,
                frames: frames_of_units,
                references: match pairing.unit {
                    // Units and references are both in the order of clips.
                    Unit::Clip => ReferenceKernels::Drawn(sums, reference_frames.clone()),
                    Unit::Cell => ReferenceKernels::Fixed(
                        sums.iter().map(|sums| sums.iter().sum()).collect(),
                        reference_frames.iter().sum(),
                    ),
                },
            }
        };
        Ok(Self {
            with_references: with_references.collect(),
            reference_frames: reference_frames.iter().sum(),
            units: [side(0), side(pairing.cells.len())],
            cells,
            frames,
        })
    }

    /// What depends on the frames of these cells in their KID.
    fn of_cells(&self, chosen: &[usize]) -> f64 {
        let frames: f64 = chosen.iter().map(|&cell| self.frames[cell]).sum();
        let within: f64 = chosen
            .iter()
            .flat_map(|&a| chosen.iter().map(move |&b| self.cells.at(a, b)))
            .sum();
        let between: f64 = chosen.iter().map(|&cell| self.with_references[cell]).sum();
        within / (frames * (frames - 1.0)) - 2.0 * between / (frames * self.reference_frames)
    }
}

impl Mixtures for KernelMixtures {
    fn drawn(&self, times: &[u32]) -> f64 {
        let [variant, baseline] = &self.units;
        variant.drawn(times) - baseline.drawn(times)
    }

    fn exchanged(&self, is_exchanged: &[bool]) -> f64 {
        let cells = is_exchanged.len();
        let side = |of_variant: bool| -> Vec<usize> {
            let exchanged = is_exchanged.iter().enumerate();
            exchanged
                .map(|(cell, exchange)| cell + if *exchange == of_variant { cells } else { 0 })
                .collect()
        };
        self.of_cells(&side(true)) - self.of_cells(&side(false))
    }
}

fn sum_between(a: &Features, b: &Features) -> Result<f64, Error> {
    Ok(kernel_sum(a, b)?)
}

impl KernelSums {
    fn zero(parts: usize) -> Self {
        Self {
            parts,
            sums: vec![0.0; parts * parts],
        }
    }

    fn of(parts: &[&Features]) -> Result<Self, Error> {
        let row = |a: usize| -> Result<Vec<f64>, Error> {
            let sum = |b: usize| match a == b {
                true => Ok(kernel_sum_within(parts[a])),
                false => sum_between(parts[a], parts[b]),
            };
            (0..=a).map(sum).collect() // the kernel is symmetric
        };
        let rows = (0..parts.len()).into_par_iter().map(row);
        let rows: Vec<Vec<f64>> = rows.collect::<Result<_, _>>()?;
        let mut table = Self::zero(parts.len());
        for (a, row) in rows.iter().enumerate() {
            for (b, sum) in row.iter().enumerate() {
                table.add(a, b, *sum);
                if a != b {
                    table.add(b, a, *sum);
                }
            }
        }
        Ok(table)
    }

    fn at(&self, a: usize, b: usize) -> f64 {
        self.sums[a * self.parts + b]
    }

    fn add(&mut self, a: usize, b: usize, sum: f64) {
        self.sums[a * self.parts + b] += sum;
    }
}

impl UnitKernels {
    /// Mean kernel of pairs of different frames, less twice that of pairs with references, where each unit was drawn
    /// so many times.
    fn drawn(&self, times: &[u32]) -> f64 {
        let drawn: Vec<usize> = (0..times.len()).filter(|&unit| times[unit] > 0).collect();
        // Copies of a unit are not paired with each other.
        let weight = |a: usize, b: usize| match a == b {
            true => f64::from(times[a]),
            false => f64::from(times[a]) * f64::from(times[b]),
        };
        let mut within = Mean::default();
        let mut between = Mean::default();
        for &a in &drawn {
            for &b in &drawn {
                let others = self.frames[b] - if a == b { 1.0 } else { 0.0 };
                let sum = self.within.at(a, b);
                within.add(weight(a, b), sum, self.frames[a] * others);
                if let ReferenceKernels::Drawn(sums, frames) = &self.references {
                    between.add(weight(a, b), sums[a][b], self.frames[a] * frames[b]);
                }
            }
            if let ReferenceKernels::Fixed(sums, frames) = &self.references {
                between.add(f64::from(times[a]), sums[a], self.frames[a] * frames);
            }
        }
        within.value() - 2.0 * between.value()
    }
}

/// A mean over weighted groups of pairs.
#[derive(Default)]
struct Mean {
    sum: f64,
    pairs: f64,
}

impl Mean {
    fn add(&mut self, weight: f64, sum: f64, pairs: f64) {
        self.sum += weight * sum;
        self.pairs += weight * pairs;
    }

    fn value(&self) -> f64 {
        self.sum / self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features of clips of 6 frames with 4 numbers each, around `shift`.
    fn clips(count: usize, seed: u64, shift: f64) -> Vec<Features> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut clip = || {
            let values = (0..24).map(|_| rng.random_range(-1.0..1.0) + shift);
            Features::new(4, &values.collect::<Vec<f64>>()).unwrap()
        };
        (0..count).map(|_| clip()).collect()
    }

    /// Two cells for each clip.
    fn pairing<'f>(
        variant: &'f [Features],
        baseline: &'f [Features],
        references: &'f [Features],
        unit: Unit,
    ) -> Pairing<'f> {
        Pairing {
            cells: (0..variant.len())
                .map(|cell| (cell / 2, 0, cell as u32 % 2))
                .collect(),
            variant: variant.iter().collect(),
            baseline: baseline.iter().collect(),
            references: references.iter().enumerate().collect(),
            unit,
        }
    }

    fn direct(distance: SetDistance, sides: [&[&Features]; 2], references: &[&Features]) -> f64 {
        let of = |set: &[&Features]| {
            let (set, references) = (set.iter().copied(), references.iter().copied());
            distance.between(set, references).unwrap().unwrap()
        };
        of(sides[0]) - of(sides[1])
    }

    fn mixtures(distance: SetDistance, pairing: &Pairing<'_>) -> Box<dyn Mixtures> {
        match distance {
            SetDistance::Frechet => Box::new(FrechetMixtures::of(pairing).unwrap()),
            SetDistance::Kernel => Box::new(KernelMixtures::of(pairing).unwrap()),
        }
    }

    const BOTH: [SetDistance; 2] = [SetDistance::Frechet, SetDistance::Kernel];

    #[test]
    fn mixtures_of_parts_are_those_of_their_frames() {
        let (variant, baseline) = (clips(6, 1, 0.2), clips(6, 2, 0.0));
        let references = clips(3, 3, 0.0);
        for (distance, unit) in BOTH
            .into_iter()
            .flat_map(|d| [(d, Unit::Clip), (d, Unit::Cell)])
        {
            let pairing = pairing(&variant, &baseline, &references, unit);
            let mixtures = mixtures(distance, &pairing);
            let check = |found: f64, sides: [Vec<usize>; 2], of_references: &[usize]| {
                let both: Vec<&Features> = variant.iter().chain(&baseline).collect();
                let pick = |at: &[usize]| at.iter().map(|&at| both[at]).collect::<Vec<_>>();
                let references: Vec<&Features> =
                    of_references.iter().map(|&at| &references[at]).collect();
                let [a, b] = sides.map(|side| pick(&side));
                let expected = direct(distance, [&a, &b], &references);
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            };
            let exchange = [false, true, true, false, false, true];
            let mixed = [vec![0, 7, 8, 3, 4, 11], vec![6, 1, 2, 9, 10, 5]];
            check(mixtures.exchanged(&exchange), mixed, &[0, 1, 2]);
            let all = [(0..6).collect(), (6..12).collect()];
            check(mixtures.exchanged(&[false; 6]), all.clone(), &[0, 1, 2]);
            match unit {
                Unit::Clip => {
                    check(mixtures.drawn(&[1; 3]), all, &[0, 1, 2]);
                    let some = [vec![0, 1, 4, 5], vec![6, 7, 10, 11]];
                    check(mixtures.drawn(&[1, 0, 1]), some, &[0, 2]);
                }
                Unit::Cell => {
                    check(mixtures.drawn(&[1; 6]), all, &[0, 1, 2]);
                    let some = [vec![0, 3], vec![6, 9]];
                    check(mixtures.drawn(&[1, 0, 0, 1, 0, 0]), some, &[0, 1, 2]);
                }
            }
        }
        // Copies of a clip count as more frames of the same kind.
        let pairing = pairing(&variant, &baseline, &references, Unit::Clip);
        let found = mixtures(SetDistance::Frechet, &pairing).drawn(&[2, 0, 1]);
        let repeated = |set: &'_ [Features]| [0, 1, 0, 1, 4, 5].map(|at| set[at].clone());
        let (variant, baseline) = (repeated(&variant), repeated(&baseline));
        let references = [0, 0, 2].map(|at| &references[at]);
        let sides = [&variant, &baseline].map(|side| side.iter().collect::<Vec<_>>());
        let expected = direct(SetDistance::Frechet, [&sides[0], &sides[1]], &references);
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn a_shift_is_found_and_its_absence_is_not() {
        let bootstrap = Bootstrap::new(400, 0).unwrap();
        for distance in BOTH {
            let references = clips(6, 0, 0.0);
            let compared = |shift: f64| {
                let (variant, baseline) = (clips(12, 1, shift), clips(12, 2, 0.0));
                let pairing = pairing(&variant, &baseline, &references, Unit::Clip);
                pairing.compare(distance, &bootstrap).unwrap().unwrap()
            };
            let shifted = compared(0.8);
            let ends = shifted.interval.unwrap();
            assert!(0.0 < ends.low && ends.low < shifted.difference, "{ends:?}");
            assert!(shifted.difference < ends.high, "{ends:?}");
            assert!(shifted.p.unwrap() <= 0.002, "{:?}", shifted.p);
            assert_eq!((shifted.cells, shifted.units), (12, 6));
            let alike = compared(0.0);
            let ends = alike.interval.unwrap();
            assert!(ends.low < 0.0 && 0.0 < ends.high, "{ends:?}");
            assert!(alike.p.unwrap() > 0.05, "{:?}", alike.p);
        }
    }

    #[test]
    fn p_values_of_nothing_are_spread_evenly() {
        // 60 p-values of the null: their mean is 0.5 with a deviation of 0.04, and 15 of them lie below 0.25 with one
        // of 3.4. The bounds are four deviations away.
        let bootstrap = Bootstrap::new(100, 0).unwrap();
        let references = clips(4, 0, 0.0);
        let p_values: Vec<f64> = (0..60)
            .map(|seed| {
                let (variant, baseline) = (clips(8, 10 + seed, 0.0), clips(8, 100 + seed, 0.0));
                let pairing = pairing(&variant, &baseline, &references, Unit::Cell);
                let compared = pairing.compare(SetDistance::Kernel, &bootstrap);
                compared.unwrap().unwrap().p.unwrap()
            })
            .collect();
        let mean = p_values.iter().sum::<f64>() / 60.0;
        assert!((0.34..0.66).contains(&mean), "{mean}");
        let low = p_values.iter().filter(|p| **p < 0.25).count();
        assert!((1..=29).contains(&low), "{low}");
    }

    #[test]
    fn the_same_clips_differ_by_nothing() {
        let bootstrap = Bootstrap::new(100, 0).unwrap();
        let (clips, references) = (clips(12, 1, 0.3), clips(6, 2, 0.0));
        for distance in BOTH {
            let pairing = pairing(&clips, &clips, &references, Unit::Clip);
            let compared = pairing.compare(distance, &bootstrap).unwrap().unwrap();
            assert_eq!((compared.difference, compared.p), (0.0, Some(1.0)));
            let ends = compared.interval.unwrap();
            assert_eq!((ends.low, ends.high), (0.0, 0.0));
        }
    }
}
