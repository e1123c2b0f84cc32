//! A variant against the baseline, on the same cells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Bootstrap, Sample, SignedRank, Summary, wilcoxon_signed_rank};
use crate::Error;

/// How a variant differs from the baseline on the cells that both have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The differences, variant less baseline; their number is that of the cells.
    pub difference: Summary,
    /// Wilcoxon's test of the differences. It takes the cells as independent, also where the interval does not.
    pub test: SignedRank,
    /// Cells that the variant has and the baseline has not; they do not count.
    pub only_variant: usize,
    /// Cells that the baseline has and the variant has not; they do not count.
    pub only_baseline: usize,
}

/// Compares the values of a variant with those of the baseline, cell by cell.
///
/// A cell is known by its key, for example (clip, prompt, seed); `cluster` says what its cells have in common, for
/// example the clip, and the interval is drawn over that. Cells of their own have their key for a cluster.
///
/// ```
/// use kinvert_metrics::statistics::{Bootstrap, compare};
///
/// let variant = [(("jump", 0), 0.9), (("jump", 1), 0.8), (("pan", 0), 0.7)].into();
/// let baseline = [(("jump", 0), 0.5), (("jump", 1), 0.6), (("wave", 0), 0.1)].into();
/// let found = compare(&variant, &baseline, |cell| *cell, &Bootstrap::default())?;
/// assert!((found.difference.mean - 0.3).abs() < 1e-12);
/// assert_eq!((found.only_variant, found.only_baseline), (1, 1));
/// # Ok::<(), kinvert_metrics::Error>(())
/// ```
///
/// # Errors
/// If they have no cell in common, or a value that counts is not finite.
pub fn compare<K: Ord, C: Ord>(
    variant: &BTreeMap<K, f64>,
    baseline: &BTreeMap<K, f64>,
    cluster: impl Fn(&K) -> C,
    bootstrap: &Bootstrap,
) -> Result<Comparison, Error> {
    let matched: Vec<(C, f64)> = variant
        .iter()
        .filter_map(|(key, value)| Some((cluster(key), value - baseline.get(key)?)))
        .collect();
    if matched.is_empty() {
        return Err(Error::argument(
            "cells",
            format!("{} and {}", variant.len(), baseline.len()),
            "cells that the variant and the baseline have in common",
        ));
    }
    let cells = matched.len();
    let differences = Sample::clustered(matched)?;
    Ok(Comparison {
        difference: differences.summary(bootstrap),
        test: wilcoxon_signed_rank(differences.values())?,
        only_variant: variant.len() - cells,
        only_baseline: baseline.len() - cells,
    })
}
