//! How far two sets of images lie apart, judged by the features of their frames: FID and KID.
//!
//! * [`frechet_distance`] takes each set for a normal distribution and compares means and covariances
//!   (Heusel et al., *GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium*,
//!   arXiv:1706.08500, Eq. 6). With the pool features of the FID Inception network it is the FID. Its bias grows
//!   as the sets get smaller, so only distances of equally large sets compare.
//! * [`kernel_distance`] is the unbiased squared maximum mean discrepancy under a cubic kernel, the KID
//!   (Bińkowski et al., *Demystifying MMD GANs*, arXiv:1801.01401, Sec. 4): the honest one for few frames.
//!
//! Where the features come from is not known here. All arithmetic is in f64, and the same input gives the same
//! bits on any number of threads.

mod features;
mod kernel;
mod npy;
mod npz;
mod statistics;

use nalgebra::{Cholesky, DMatrix, SymmetricEigen};

pub use features::Features;
pub use kernel::{
    SubsetDistance, Subsets, kernel_distance, kernel_distance_of_subsets, kernel_sum,
    kernel_sum_within,
};
pub use statistics::{FeatureStatistics, Moments, StatisticsAccumulator};

use crate::Error;
use statistics::Spread;

/// The most dimensions that features may have: eight times those of the Inception network's, and a covariance of
/// 2 GiB.
pub const MAX_DIMENSION: usize = 16_384;

/// Fréchet distance of the normal distributions with these means `m` and covariances `S`, squared as it always is:
/// `|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^(1/2) S2 S1^(1/2))^(1/2)`.
///
/// It never is negative. What rounding may have pushed below zero is zero; the bound for that follows from the
/// eigenvalues: those of an `r` by `r` product are known to about `r eps` times the largest one, and their roots
/// to the root of that. Statistics of no more samples than dimensions
/// ([`FeatureStatistics::is_undersampled`]) are fine, and faster.
///
/// # Errors
/// If the statistics differ in their dimension, or the result is more negative than rounding can explain, since a
/// covariance has negative eigenvalues.
pub fn frechet_distance(a: &FeatureStatistics, b: &FeatureStatistics) -> Result<f64, Error> {
    if a.dimension() != b.dimension() {
        return Err(dimensions_differ(b.dimension(), a.dimension()));
    }
    let shift = (a.mean_vector() - b.mean_vector()).norm_squared();
    let spread = a.spread().trace() + b.spread().trace();
    let overlap = overlap(a.spread(), b.spread());
    let distance = shift + spread - 2.0 * overlap.trace;

    let rounding = f64::EPSILON * a.dimension() as f64 * (shift + spread) + 2.0 * overlap.rounding;
    if distance < -rounding {
        return Err(Error::argument(
            "covariance",
            format!("not positive semi-definite: the distance comes out as {distance}"),
            "covariances of samples",
        ));
    }
    Ok(distance.max(0.0))
}

fn dimensions_differ(found: usize, expected: usize) -> Error {
    Error::argument(
        "features",
        format!("a set of {found} dimensions"),
        format!("{expected}, as in the set it is compared with"),
    )
}

/// `tr (S1^(1/2) S2 S1^(1/2))^(1/2)` as computed, and how far it may be off by rounding.
struct Overlap {
    trace: f64,
    rounding: f64,
}

/// Any `L` with `L L^T = S1` serves as well as the symmetric root of `S1`: `L^T S2 L` has the eigenvalues of
/// `S1^(1/2) S2 S1^(1/2)`, but for zeros. Few centred samples are such a factor already.
fn overlap(a: &Spread, b: &Spread) -> Overlap {
    match (a, b) {
        (Spread::Factor(a), Spread::Factor(b)) => overlap_of_factors(a, b),
        (Spread::Factor(factor), Spread::Covariance(covariance))
        | (Spread::Covariance(covariance), Spread::Factor(factor)) => {
            overlap_with_factor(factor, covariance)
        }
        (Spread::Covariance(a), Spread::Covariance(b)) => {
            if let Some(factor) = cholesky_factor(a) {
                overlap_with_factor(&factor, b)
            } else if let Some(factor) = cholesky_factor(b) {
                overlap_with_factor(&factor, a)
            } else {
                overlap_with_factor(&eigen_factor(a), b)
            }
        }
    }
}

/// With `S1 = L1 L1^T` and `S2 = L2 L2^T` the trace is the sum of the singular values of `L1^T L2`: of an `n1` by
/// `n2` matrix for sets of `n1` and `n2` samples. No roots are taken, so it is as exact as it is fast.
fn overlap_of_factors(a: &DMatrix<f64>, b: &DMatrix<f64>) -> Overlap {
    let singular_values = a.tr_mul(b).singular_values_unordered(); // [min(n1, n2)]
    let terms = singular_values.len() as f64;
    Overlap {
        trace: singular_values.sum(),
        rounding: terms * a.nrows() as f64 * f64::EPSILON * singular_values.max(),
    }
}

fn overlap_with_factor(factor: &DMatrix<f64>, covariance: &DMatrix<f64>) -> Overlap {
    if factor.ncols() == 0 {
        return Overlap {
            trace: 0.0,
            rounding: 0.0,
        };
    }
    let product = factor.tr_mul(&(covariance * factor)); // [r, r]
    let eigenvalues = product.symmetric_eigenvalues();
    let error = factor.nrows() as f64 * f64::EPSILON * eigenvalues.amax();
    Overlap {
        trace: eigenvalues.iter().map(|value| value.max(0.0).sqrt()).sum(),
        rounding: eigenvalues.len() as f64 * error.sqrt(),
    }
}

/// The triangular factor of a positive definite covariance. It costs a tenth of an eigen-decomposition; where it
/// exists, its error is as small.
fn cholesky_factor(covariance: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    Cholesky::new(covariance.clone()).map(Cholesky::unpack)
}

/// The eigenvectors scaled by the roots of their eigenvalues, without those that rounding leaves of zero
/// eigenvalues or that are negative.
fn eigen_factor(covariance: &DMatrix<f64>) -> DMatrix<f64> {
    let SymmetricEigen {
        eigenvectors,
        eigenvalues,
    } = SymmetricEigen::new(covariance.clone());
    let zero = eigenvalues.len() as f64 * f64::EPSILON * eigenvalues.amax();
    let kept: Vec<usize> = (0..eigenvalues.len())
        .filter(|&index| eigenvalues[index] > zero)
        .collect();
    let mut factor = eigenvectors.select_columns(&kept);
    for (mut column, &index) in factor.column_iter_mut().zip(&kept) {
        column *= eigenvalues[index].sqrt();
    }
    factor
}

#[cfg(test)]
mod tests {
    use nalgebra::DVector;

    use super::*;

    /// A positive definite matrix and one of rank 2, both [4, 4].
    fn covariances() -> [DMatrix<f64>; 2] {
        let full = DMatrix::from_fn(4, 4, |i, j| if i == j { 3.0 + i as f64 } else { 0.5 });
        let wide = DMatrix::from_fn(4, 2, |i, j| (1.0 + i as f64 * 0.7 + j as f64 * 1.9).sin());
        [full, &wide * wide.transpose()]
    }

    #[test]
    fn every_factor_gives_the_same_overlap() {
        let [full, deficient] = covariances();
        let by_cholesky = overlap_with_factor(&cholesky_factor(&full).unwrap(), &deficient);
        let by_eigenvectors = overlap_with_factor(&eigen_factor(&full), &deficient);
        let other_way_round = overlap_with_factor(&eigen_factor(&deficient), &full);
        let by_singular_values =
            overlap_of_factors(&eigen_factor(&deficient), &eigen_factor(&full));
        assert!(by_cholesky.trace > 1.0);
        for other in [by_eigenvectors, other_way_round, by_singular_values] {
            // The product has two eigenvalues that should be zero; their roots are about 1e-8.
            let difference = (by_cholesky.trace - other.trace).abs();
            assert!(difference < 1e-6, "{difference}");
            assert!(difference < by_cholesky.rounding);
        }
    }

    #[test]
    fn a_factor_gives_its_covariance_and_keeps_its_rank() {
        let [full, deficient] = covariances();
        for (covariance, rank) in [(full, 4), (deficient, 2), (DMatrix::zeros(4, 4), 0)] {
            let factor = eigen_factor(&covariance);
            assert_eq!(factor.shape(), (4, rank));
            assert!((&factor * factor.transpose() - covariance).amax() < 1e-12);
        }
    }

    #[test]
    fn negative_eigenvalues_of_rounding_are_left_out_of_a_factor() {
        let covariance = DMatrix::from_diagonal(&DVector::from_vec(vec![1.0, -1e-17, 1e-17]));
        assert!(cholesky_factor(&covariance).is_none());
        assert_eq!(eigen_factor(&covariance).shape(), (3, 1));
    }
}
