//! Wilcoxon's signed-rank test.

use serde::{Deserialize, Serialize};

use super::all_finite;
use crate::Error;

/// Most differences for which the exact distribution is counted; its counts stay below 2^53.
const MAX_EXACT: usize = 50;

/// The test of whether differences are symmetric about zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedRank {
    /// Two-sided p-value; 1 where nothing differs.
    pub p_value: f64,
    /// Sum of the ranks of positive differences.
    pub positive_ranks: f64,
    /// Sum of the ranks of negative differences.
    pub negative_ranks: f64,
    /// Effect size: the matched-pairs rank-biserial correlation, from -1 (all differences negative) to 1; none where
    /// nothing differs. Source: Kerby, *The Simple Difference Formula* (2014).
    pub rank_biserial: Option<f64>,
    /// Differences that are not zero.
    pub differing: usize,
    /// Differences of zero, which were dropped.
    pub zeros: usize,
    /// What the p-value was taken from.
    pub distribution: NullDistribution,
}

/// Distribution of the rank sum if signs are arbitrary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NullDistribution {
    /// Every choice of signs was counted.
    Exact,
    /// The normal distribution with the same mean and variance.
    Normal,
}

/// Tests paired differences, two-sided.
///
/// Differences of zero are dropped before ranking (Wilcoxon's method, not Pratt's), and equal magnitudes share the mean
/// of their ranks. Up to 50 differences without zeros or ties the distribution is exact; otherwise it is the normal
/// approximation with the variance corrected for ties and a continuity correction of one half.
///
/// Source: Wilcoxon, *Individual Comparisons by Ranking Methods* (1945). The conventions are those of SciPy's
/// `wilcoxon(zero_method="wilcox", correction=True)`, with which the tests compare.
///
/// ```
/// use kinvert_metrics::statistics::wilcoxon_signed_rank;
///
/// let test = wilcoxon_signed_rank(&[0.3, 0.1, 0.4, 0.2, 0.5])?;
/// assert_eq!(test.p_value, 2.0 / 32.0); // all five positive: 1 choice of signs of 2^5, and its mirror image
/// # Ok::<(), kinvert_metrics::Error>(())
/// ```
///
/// # Errors
/// If a difference is not finite.
pub fn wilcoxon_signed_rank(differences: &[f64]) -> Result<SignedRank, Error> {
    all_finite(differences)?;
    let mut differing: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    differing.sort_by(|a, b| a.abs().total_cmp(&b.abs()));

    let mut positive_ranks = 0.0;
    let mut negative_ranks = 0.0;
    let mut tie_term = 0.0; // sum of t^3 - t over groups of t ties
    let mut ranked = 0;
    for tied in differing.chunk_by(|a, b| a.abs() == b.abs()) {
        let rank = ranked as f64 + (tied.len() + 1) as f64 / 2.0;
        let positive = tied.iter().filter(|d| **d > 0.0).count();
        positive_ranks += rank * positive as f64;
        negative_ranks += rank * (tied.len() - positive) as f64;
        tie_term += (tied.len() as f64).powi(3) - tied.len() as f64;
        ranked += tied.len();
    }

    let count = differing.len();
    let zeros = differences.len() - count;
    let is_exact = zeros == 0 && tie_term == 0.0 && count <= MAX_EXACT;
    let (p_value, distribution) = if is_exact {
        let smaller = positive_ranks.min(negative_ranks) as usize;
        (exact_p_value(count, smaller), NullDistribution::Exact)
    } else {
        let p_value = normal_p_value(count as f64, positive_ranks, tie_term);
        (p_value, NullDistribution::Normal)
    };
    Ok(SignedRank {
        p_value,
        positive_ranks,
        negative_ranks,
        rank_biserial: (count > 0)
            .then(|| (positive_ranks - negative_ranks) / (positive_ranks + negative_ranks)),
        differing: count,
        zeros,
        distribution,
    })
}

/// Twice the probability that ranks `1..=count`, each taken or not, sum to at most `sum`.
fn exact_p_value(count: usize, sum: usize) -> f64 {
    let mut subsets = vec![0.0; sum + 1]; // by their sum
    subsets[0] = 1.0;
    for rank in 1..=count.min(sum) {
        for total in (rank..=sum).rev() {
            subsets[total] += subsets[total - rank];
        }
    }
    let at_most: f64 = subsets.iter().sum();
    (2.0 * at_most / 2_f64.powi(count as i32)).min(1.0)
}

fn normal_p_value(count: f64, positive_ranks: f64, tie_term: f64) -> f64 {
    let mean = count * (count + 1.0) / 4.0;
    let variance = count * (count + 1.0) * (2.0 * count + 1.0) / 24.0 - tie_term / 48.0;
    let distance = ((positive_ranks - mean).abs() - 0.5).max(0.0);
    if distance == 0.0 {
        return 1.0; // also of nothing, where there is no variance either
    }
    libm::erfc(distance / (2.0 * variance).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_exact_distribution_is_that_of_every_choice_of_signs() {
        for count in 0..=10_usize {
            let ranks: Vec<usize> = (1..=count).collect();
            let sums = (0..1_u32 << count).map(|signs| {
                let taken = ranks.iter().filter(|rank| signs >> (**rank - 1) & 1 == 1);
                taken.sum::<usize>()
            });
            let sums: Vec<usize> = sums.collect();
            for sum in 0..=count * (count + 1) / 4 {
                let at_most = sums.iter().filter(|other| **other <= sum).count();
                let expected = (2.0 * at_most as f64 / sums.len() as f64).min(1.0);
                assert_eq!(exact_p_value(count, sum), expected, "{count} {sum}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_test_is_the_same_from_both_sides(differences in prop::collection::vec(-9_i32..9, 0..70)) {
            let differences: Vec<f64> = differences.into_iter().map(f64::from).collect();
            let mirrored: Vec<f64> = differences.iter().map(|d| -d).collect();
            let [one, other] = [&differences, &mirrored].map(|d| wilcoxon_signed_rank(d).unwrap());
            prop_assert_eq!(one.p_value, other.p_value);
            prop_assert_eq!(one.rank_biserial, other.rank_biserial.map(|r| -r));
            prop_assert!((0.0..=1.0).contains(&one.p_value));
            let n = one.differing as f64;
            prop_assert_eq!(one.positive_ranks + one.negative_ranks, n * (n + 1.0) / 2.0);
        }
    }
}
