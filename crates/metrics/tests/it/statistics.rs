//! Statistics against closed forms, published worked examples and SciPy 1.17.1.

use std::collections::BTreeMap;

use kinvert_metrics::statistics::{
    Bootstrap, Coincidences, Interval, Level, NullDistribution, Sample, Wins, bradley_terry,
    compare, holm, wilcoxon_signed_rank,
};
use proptest::prelude::*;

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{found}, expected {expected} within {tolerance}"
    );
}

/// Numbers that look like a standard normal sample: its quantiles, in an order of no meaning.
fn normal_quantiles(count: usize) -> Vec<f64> {
    // Box-Muller over a lattice of two uniform numbers that fills the square evenly (Fibonacci's).
    (0..count)
        .map(|index| {
            let radius = (index as f64 + 0.5) / count as f64;
            let angle = (index as f64 * 0.618_033_988_749_895).fract();
            (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
        })
        .collect()
}

#[test]
fn the_bootstrap_interval_of_a_large_sample_is_that_of_normal_theory() {
    let sample = Sample::independent(normal_quantiles(4000)).unwrap();
    let summary = sample.summary(&Bootstrap::default());
    let Interval { low, high } = summary.interval.unwrap();
    let deviation = summary.standard_deviation.unwrap();
    assert_near(deviation, 1.0, 0.01);
    let expected = 1.96 * deviation / 4000_f64.sqrt();
    // The ends of 10 000 resamples have a standard error of about 2.7 % of a standard error of the mean.
    assert_near(high - summary.mean, expected, 0.05 * expected);
    assert_near(summary.mean - low, expected, 0.05 * expected);
}

#[test]
fn clusters_that_are_alike_inside_widen_the_interval() {
    // Each of 200 values counted 16 times: the interval must be that of 200, not of 3200.
    let values = normal_quantiles(200);
    let copied = || values.iter().enumerate().flat_map(|one| vec![one; 16]);
    let width = |sample: Sample| {
        let Interval { low, high } = sample.summary(&Bootstrap::default()).interval.unwrap();
        high - low
    };
    let clustered = width(Sample::clustered(copied().map(|(id, v)| (id, *v))).unwrap());
    let honest = width(Sample::independent(values.clone()).unwrap());
    let naive = width(Sample::independent(copied().map(|(_, v)| *v).collect()).unwrap());
    assert_near(clustered, honest, 1e-12);
    assert_near(honest / naive, 4.0, 0.2);
}

#[test]
fn the_same_seed_gives_the_same_interval_and_another_seed_another() {
    let sample = Sample::independent(normal_quantiles(50)).unwrap();
    let of = |seed| {
        sample
            .summary(&Bootstrap::new(1000, seed).unwrap())
            .interval
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let one_thread = rayon_of_one(|| of(1));
    assert_eq!(one_thread, of(1));
}

fn rayon_of_one<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
    pool.build().unwrap().install(work)
}

/// Darwin's maize, the example of SciPy's documentation of `wilcoxon`: W = 24, p = 0.041259765625.
#[test]
fn wilcoxon_agrees_with_scipy_on_darwins_maize() {
    let differences = [
        6., 8., 14., 16., 23., 24., 28., 29., 41., -48., 49., 56., 60., -67., 75.,
    ];
    let test = wilcoxon_signed_rank(&differences).unwrap();
    assert_eq!(test.distribution, NullDistribution::Exact);
    assert_eq!((test.positive_ranks, test.negative_ranks), (96.0, 24.0));
    assert_eq!(test.p_value, 0.041259765625);
    assert_eq!(test.rank_biserial, Some(72.0 / 120.0));
}

/// The depression scale of Hollander & Wolfe, the example of R's `wilcox.test`: V = 40, two-sided p = 0.0390625.
/// In thousandths.
#[test]
fn wilcoxon_agrees_with_r_on_the_depression_scale() {
    let first = [1830, 500, 1620, 2480, 1680, 1880, 1550, 3060, 1300];
    let second = [878, 647, 598, 2050, 1060, 1290, 1060, 3140, 1290];
    let cells = |values: [i32; 9]| -> BTreeMap<usize, f64> {
        values.into_iter().map(f64::from).enumerate().collect()
    };
    let found = compare(
        &cells(first),
        &cells(second),
        |cell| *cell,
        &Bootstrap::default(),
    );
    let test = found.unwrap().test;
    assert_eq!((test.positive_ranks, test.p_value), (40.0, 0.0390625));
}

/// `scipy.stats.wilcoxon(d, correction=True)` with zeros and ties, and with 60 differences.
#[test]
fn wilcoxon_agrees_with_scipys_normal_approximation() {
    let tied = [0., 0., 1., -1., 2., 2., -3., 4., 5., 5., -6., 7.];
    let test = wilcoxon_signed_rank(&tied).unwrap();
    assert_eq!(test.distribution, NullDistribution::Normal);
    assert_eq!(
        (test.zeros, test.differing, test.negative_ranks),
        (2, 10, 15.5)
    );
    assert_near(test.p_value, 0.24020333114826564, 1e-14);

    let sign = |index: i32| {
        if matches!(index * index % 7, 1 | 2) {
            1
        } else {
            -1
        }
    };
    let many: Vec<f64> = (0..60).map(|i| f64::from((i + 1) * sign(i))).collect();
    let test = wilcoxon_signed_rank(&many).unwrap();
    assert_near(test.p_value, 0.3367084672934234, 1e-14);
    let test = wilcoxon_signed_rank(&many[..50]).unwrap();
    assert_eq!(test.distribution, NullDistribution::Exact);
    assert_near(test.p_value, 0.46647302992520423, 1e-14);
}

#[test]
fn nothing_that_differs_is_no_evidence() {
    for differences in [vec![], vec![0.0; 5]] {
        let test = wilcoxon_signed_rank(&differences).unwrap();
        assert_eq!((test.p_value, test.rank_biserial), (1.0, None));
    }
    assert!(wilcoxon_signed_rank(&[1.0, f64::NAN]).is_err());
}

#[test]
fn cells_are_matched_by_key_and_the_rest_is_counted() {
    let variant: BTreeMap<_, _> = (0..10).map(|cell| (cell, f64::from(cell) + 0.5)).collect();
    let baseline: BTreeMap<_, _> = (4..20).map(|cell| (cell, f64::from(cell))).collect();
    let found = compare(&variant, &baseline, |cell| cell / 2, &Bootstrap::default()).unwrap();
    assert_eq!((found.only_variant, found.only_baseline), (4, 10));
    assert_eq!((found.difference.values, found.difference.clusters), (6, 3));
    let exactly = Interval {
        low: 0.5,
        high: 0.5,
    };
    assert_eq!(found.difference.interval, Some(exactly));

    let elsewhere = (50..60).map(|cell| (cell, 1.0)).collect();
    assert!(compare(&variant, &elsewhere, |cell| *cell, &Bootstrap::default()).is_err());
    let broken = (0..10).map(|cell| (cell, f64::NAN)).collect();
    assert!(compare(&variant, &broken, |cell| *cell, &Bootstrap::default()).is_err());
}

/// Worked example of the article "Holm-Bonferroni method" of Wikipedia; `statsmodels` 0.14 agrees.
#[test]
fn holm_agrees_with_a_worked_example() {
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]).unwrap();
    for (found, expected) in corrected.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert_near(found, expected, 1e-15);
    }
    assert_eq!(holm(&[]).unwrap(), [0.0; 0]);
    for bad in [-0.1, 1.1, f64::NAN] {
        assert!(holm(&[0.5, bad]).is_err());
    }
}

/// The reliability data of Krippendorff, *Computing Krippendorff's Alpha-Reliability* (2011), section C: 4 observers,
/// 12 units, missing values; nominal alpha 0.743, ordinal 0.815.
#[test]
fn alpha_agrees_with_krippendorffs_own_example() {
    const MISSING: usize = 0;
    let observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ];
    let units = (0..12).map(|unit| -> Vec<usize> {
        let values = observers.iter().map(|observer| observer[unit]);
        values
            .filter(|value| *value != MISSING)
            .map(|value| value - 1)
            .collect()
    });
    let found = Coincidences::of(5, units);
    assert_eq!(found.units(), 11); // one unit has a single value
    assert_near(found.alpha(Level::Nominal).unwrap(), 0.743, 5e-4);
    assert_near(found.alpha(Level::Ordinal).unwrap(), 0.815, 5e-4);
    // The package `krippendorff` 0.8 gives more digits.
    assert_near(
        found.alpha(Level::Nominal).unwrap(),
        0.743421052631579,
        1e-12,
    );
    assert_near(
        found.alpha(Level::Ordinal).unwrap(),
        0.8153875037548814,
        1e-12,
    );
}

/// The American League season of 1987 of Agresti, *Categorical Data Analysis*, table 10.10; the strengths without
/// home advantage are those of the vignette of R's `BradleyTerry2`, with Baltimore at 0.
#[test]
fn bradley_terry_agrees_with_agrestis_baseball() {
    let wins_of = [
        [0, 7, 9, 7, 7, 9, 11], // Milwaukee
        [6, 0, 7, 5, 11, 9, 9], // Detroit
        [4, 6, 0, 7, 7, 8, 12], // Toronto
        [6, 8, 6, 0, 6, 7, 10], // New York
        [6, 2, 6, 7, 0, 7, 12], // Boston
        [4, 4, 5, 6, 6, 0, 6],  // Cleveland
        [2, 4, 1, 3, 1, 7, 0],  // Baltimore
    ];
    let mut wins = Wins::new(7);
    for (winner, row) in wins_of.iter().enumerate() {
        for (loser, count) in row.iter().enumerate().filter(|(loser, _)| *loser != winner) {
            wins.add(winner, loser, f64::from(*count));
        }
    }
    let found = bradley_terry(&wins).unwrap();
    assert!(!found.is_penalised);
    let published = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0];
    for (strength, published) in found.log_strengths.iter().zip(published) {
        assert_near(strength - found.log_strengths[6], published, 5e-5);
    }
}

proptest! {
    #[test]
    fn corrected_p_values_keep_their_order_and_never_shrink(
        p_values in prop::collection::vec(0.0..=1.0, 0..20),
    ) {
        let corrected = holm(&p_values).unwrap();
        for (at, p) in p_values.iter().enumerate() {
            prop_assert!(corrected[at] >= *p && corrected[at] <= 1.0);
            for (other, q) in p_values.iter().enumerate() {
                prop_assert!(p > q || corrected[at] <= corrected[other]);
            }
        }
    }

    #[test]
    fn intervals_lie_among_the_values(values in prop::collection::vec(-1e3..1e3, 2..20), seed: u64) {
        let sample = Sample::independent(values.clone()).unwrap();
        let found = sample.summary(&Bootstrap::new(100, seed).unwrap()).interval.unwrap();
        let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(lowest - 1e-9 <= found.low && found.low <= found.high);
        prop_assert!(found.high <= highest + 1e-9);
    }

    /// Renaming nominal values, or turning the order of ordinal ones around, changes nothing.
    #[test]
    fn alpha_does_not_depend_on_names(
        units in prop::collection::vec(prop::collection::vec(0_usize..3, 0..5), 0..20),
    ) {
        let renamed = |names: [usize; 3]| {
            Coincidences::of(3, units.iter().map(|unit| -> Vec<usize> {
                unit.iter().map(|value| names[*value]).collect()
            }))
        };
        let same = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => (one - other).abs() < 1e-9 && one <= 1.0,
            (one, other) => one == other,
        };
        let found = renamed([0, 1, 2]);
        prop_assert!(same(found.alpha(Level::Nominal), renamed([2, 0, 1]).alpha(Level::Nominal)));
        prop_assert!(same(found.alpha(Level::Ordinal), renamed([2, 1, 0]).alpha(Level::Ordinal)));
    }
}
