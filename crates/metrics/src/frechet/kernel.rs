//! The kernel distance of two sets of features, known as KID.
//!
//! Kernel `k(x, y) = (x . y / dimension + 1)^3` and the unbiased estimate of the squared maximum mean discrepancy:
//! the mean of `k` over pairs of different samples of each set, less twice its mean over all pairs between the
//! sets. It may be negative, and of equal distributions it is 0 in the mean whatever their number.
//! [`kernel_distance_of_subsets`] is what torch-fidelity and torchmetrics print.

use nalgebra::DMatrix;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Features, dimensions_differ};
use crate::Error;

/// Samples whose kernels are computed at once, per set.
const BLOCK: usize = 512;

/// The most samples of both sets together for which a table of all kernels is kept: 512 MiB.
const MAX_TABLE_SAMPLES: usize = 1 << 13;

/// The unbiased kernel distance of all samples.
///
/// # Errors
/// If a set has fewer than two samples, or the dimensions differ.
pub fn kernel_distance(a: &Features, b: &Features) -> Result<f64, Error> {
    check(a, b)?;
    Ok(squared_discrepancy(a.samples(), b.samples()))
}

/// The sum of the kernel over all pairs of a sample of the one set and one of the other: what distances of sets made
/// of parts are put together from.
///
/// # Errors
/// If the dimensions differ.
pub fn kernel_sum(a: &Features, b: &Features) -> Result<f64, Error> {
    if a.dimension() != b.dimension() {
        return Err(dimensions_differ(b.dimension(), a.dimension()));
    }
    Ok(sum_between(a.samples(), b.samples()))
}

/// The sum of the kernel over all ordered pairs of different samples of a set; see [`kernel_sum`].
pub fn kernel_sum_within(features: &Features) -> f64 {
    sum_within(features.samples())
}

/// How many subsets [`kernel_distance_of_subsets`] draws, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsets {
    /// Number of subsets, at least one.
    pub count: usize,
    /// Samples drawn from either set, at least two; all of the smaller set if it has no more.
    pub size: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Subsets {
    /// 100 subsets of 1000 samples, as published.
    fn default() -> Self {
        Self {
            count: 100,
            size: 1000,
            seed: 0,
        }
    }
}

/// Kernel distances of random subsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubsetDistance {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, divided by the number of subsets. It is 0 where a subset is all of both sets, and
    /// too small wherever subsets share many samples.
    pub standard_deviation: f64,
    /// Samples of a subset.
    pub size: usize,
}

/// Mean and standard deviation of the unbiased kernel distance over random subsets, each drawn without replacement
/// from either set.
///
/// # Errors
/// If a set has fewer than two samples, the dimensions differ, or no subset or subsets of fewer than two samples
/// are asked for.
pub fn kernel_distance_of_subsets(
    a: &Features,
    b: &Features,
    subsets: &Subsets,
) -> Result<SubsetDistance, Error> {
    check(a, b)?;
    if subsets.count == 0 || subsets.size < 2 {
        return Err(Error::argument(
            "subsets",
            format!("{} of {} samples", subsets.count, subsets.size),
            "at least one, of at least 2 samples",
        ));
    }
    let size = subsets.size.min(a.count()).min(b.count());
    let all = a.count() == size && b.count() == size;
    let draws = if all { 1 } else { subsets.count };
    let drawn = |draw: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(subsets.seed);
        rng.set_stream(draw as u64);
        [a, b].map(|set| index::sample(&mut rng, set.count(), size).into_vec())
    };
    let samples = a.count() + b.count();
    let table_is_cheaper = samples.pow(2) < draws.saturating_mul((2 * size).pow(2));
    let draws = (0..draws).into_par_iter().map(drawn);
    let distances: Vec<f64> = if table_is_cheaper && samples <= MAX_TABLE_SAMPLES {
        let table = KernelTable::of(a, b);
        draws
            .map(|drawn| table.squared_discrepancy(drawn))
            .collect()
    } else {
        draws
            .map(|[of_a, of_b]| {
                squared_discrepancy(
                    &a.samples().select_columns(&of_a),
                    &b.samples().select_columns(&of_b),
                )
            })
            .collect()
    };

    let count = distances.len() as f64;
    let mean = distances.iter().sum::<f64>() / count;
    let variance = distances.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / count;
    Ok(SubsetDistance {
        mean,
        standard_deviation: variance.sqrt(),
        size,
    })
}

fn check(a: &Features, b: &Features) -> Result<(), Error> {
    if a.dimension() != b.dimension() {
        return Err(dimensions_differ(b.dimension(), a.dimension()));
    }
    match a.count().min(b.count()) {
        1 => Err(Error::argument(
            "features",
            "a set of 1 sample",
            "at least 2, since the kernel is averaged over pairs",
        )),
        _ => Ok(()),
    }
}

/// One sample per column.
fn squared_discrepancy(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    let mean_within = |samples: &DMatrix<f64>| {
        let count = samples.ncols() as f64;
        sum_within(samples) / (count * (count - 1.0))
    };
    let pairs = a.ncols() as f64 * b.ncols() as f64;
    mean_within(a) + mean_within(b) - 2.0 * sum_between(a, b) / pairs
}

/// Sum of the kernel over all pairs between two sets.
fn sum_between(a: &DMatrix<f64>, b: &DMatrix<f64>) -> f64 {
    sum(&pairs_of_blocks(a.ncols(), b.ncols()), |[first, second]| {
        kernels(&block(a, first), &block(b, second)).sum()
    })
}

/// Sum of the kernel over ordered pairs of different samples.
fn sum_within(samples: &DMatrix<f64>) -> f64 {
    let blocks: Vec<[usize; 2]> = pairs_of_blocks(samples.ncols(), samples.ncols())
        .into_iter()
        .filter(|[first, second]| first <= second) // the kernel is symmetric
        .collect();
    sum(&blocks, |[first, second]| {
        let mut kernels = kernels(&block(samples, first), &block(samples, second));
        if first != second {
            return 2.0 * kernels.sum();
        }
        kernels.fill_diagonal(0.0);
        kernels.sum()
    })
}

/// The kernels of all samples of two sets with each other: subsets overlap, and a product is computed once.
struct KernelTable {
    kernels: DMatrix<f64>, // [samples, samples], those of the second set behind those of the first
    first: usize,          // samples of the first set
}

impl KernelTable {
    fn of(a: &Features, b: &Features) -> Self {
        let samples = a.count() + b.count();
        let values = [a, b].map(|set| set.samples().as_slice()).concat();
        let all = DMatrix::from_vec(a.dimension(), samples, values);
        let columns: Vec<f64> = (0..samples)
            .into_par_iter()
            .step_by(BLOCK)
            .flat_map_iter(|start| Vec::from(kernels(&all, &block(&all, start)).data))
            .collect();
        Self {
            kernels: DMatrix::from_vec(samples, samples, columns),
            first: a.count(),
        }
    }

    /// The unbiased distance of a choice of samples of either set.
    fn squared_discrepancy(&self, [a, b]: [Vec<usize>; 2]) -> f64 {
        let b: Vec<usize> = b.into_iter().map(|sample| self.first + sample).collect();
        let sum = |rows: &[usize], columns: &[usize]| -> f64 {
            let column = |&column: &usize| -> f64 {
                let kernels = self.kernels.column(column);
                rows.iter().map(|&row| kernels[row]).sum()
            };
            columns.iter().map(column).sum()
        };
        let mean_within = |samples: &[usize]| {
            let same: f64 = samples.iter().map(|&s| self.kernels[(s, s)]).sum();
            let count = samples.len() as f64;
            (sum(samples, samples) - same) / (count * (count - 1.0))
        };
        let pairs = a.len() as f64 * b.len() as f64;
        mean_within(&a) + mean_within(&b) - 2.0 * sum(&a, &b) / pairs
    }
}

/// The kernels of all samples of `a` with all of `b`, `[samples of a, samples of b]`.
fn kernels(a: &DMatrix<f64>, b: &DMatrix<f64>) -> DMatrix<f64> {
    let dimension = a.nrows() as f64;
    a.tr_mul(b)
        .map(|product| (product / dimension + 1.0).powi(3))
}

/// The samples of the block that begins at `start`.
fn block(samples: &DMatrix<f64>, start: usize) -> DMatrix<f64> {
    let count = BLOCK.min(samples.ncols() - start);
    samples.columns(start, count).into_owned()
}

/// Where the blocks of two sets begin, in all combinations.
fn pairs_of_blocks(a: usize, b: usize) -> Vec<[usize; 2]> {
    (0..a)
        .step_by(BLOCK)
        .flat_map(|first| (0..b).step_by(BLOCK).map(move |second| [first, second]))
        .collect()
}

/// The sum over blocks, in their order whatever thread computes them.
fn sum(blocks: &[[usize; 2]], of: impl Fn([usize; 2]) -> f64 + Sync) -> f64 {
    let sums: Vec<f64> = blocks.par_iter().map(|&block| of(block)).collect();
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of three dimensions that follow no pattern.
    fn samples(count: usize, phase: f64) -> DMatrix<f64> {
        DMatrix::from_fn(3, count, |i, j| ((i + 5 * j) as f64 * 1.7 + phase).sin())
    }

    #[test]
    fn blocks_change_nothing() {
        let (a, b) = (samples(BLOCK + 70, 0.0), samples(2 * BLOCK + 3, 0.4));
        let kernel = |x: usize, y: usize, set: [&DMatrix<f64>; 2]| {
            (set[0].column(x).dot(&set[1].column(y)) / 3.0 + 1.0).powi(3)
        };
        let mean = |set: [&DMatrix<f64>; 2], same: bool| {
            let pairs = (0..set[0].ncols())
                .flat_map(|x| (0..set[1].ncols()).map(move |y| (x, y)))
                .filter(|(x, y)| !same || x != y);
            let (count, total) = pairs.fold((0.0, 0.0), |(count, total), (x, y)| {
                (count + 1.0, total + kernel(x, y, set))
            });
            total / count
        };
        let expected = mean([&a, &a], true) + mean([&b, &b], true) - 2.0 * mean([&a, &b], false);
        assert!((squared_discrepancy(&a, &b) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_table_of_kernels_changes_nothing() {
        let sets = [samples(BLOCK + 9, 0.0), samples(40, 0.4)];
        let [a, b] = [&sets[0], &sets[1]].map(|set| Features::new(3, set.as_slice()).unwrap());
        let drawn = [vec![BLOCK + 8, 3, 0, 77, 500], vec![39, 0, 12]];
        let expected = squared_discrepancy(
            &sets[0].select_columns(&drawn[0]),
            &sets[1].select_columns(&drawn[1]),
        );
        let distance = KernelTable::of(&a, &b).squared_discrepancy(drawn);
        assert!((distance - expected).abs() < 1e-13);
    }
}
