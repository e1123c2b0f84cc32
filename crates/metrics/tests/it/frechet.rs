//! Fréchet and kernel distances: recordings of numpy, scipy, pytorch-fid and torchmetrics (`parity/frechet`), files
//! that numpy wrote (`parity/frechet_npz`), laws, and bad input.

use std::path::PathBuf;

use kinvert_metrics::Error;
use kinvert_metrics::frechet::{
    FeatureStatistics, Features, MAX_DIMENSION, Moments, StatisticsAccumulator, Subsets,
    frechet_distance, kernel_distance, kernel_distance_of_subsets, kernel_sum, kernel_sum_within,
};
use kinvert_testkit::{Recording, fixtures_dir};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Of all recorded numbers but distances of a set to itself. Both sides compute in f64; measured are at most 3e-8,
/// where the recorded distance takes roots of a rank-deficient product, and 1e-11 elsewhere.
const RELATIVE: f64 = 1e-6;
/// Of distances that should be zero, of which the recorded ones take the same roots; measured are at most 4e-6.
const OF_ZERO: f64 = 1e-4;

/// What `parity/frechet_npz` holds, as numpy printed it.
const MEAN: [f64; 4] = [
    -0.4249977180272108,
    0.07227704185964973,
    -0.19075390685729804,
    0.10883721137461776,
];
const COVARIANCE: [f64; 16] = [
    0.7427520640520047,
    0.16998946363223433,
    0.20068326053377683,
    0.02368243580766063,
    0.16998946363223433,
    0.5084318236851684,
    0.04462804135265048,
    0.07197382882132333,
    0.20068326053377683,
    0.04462804135265048,
    0.7442451446890115,
    0.4429609899438621,
    0.02368243580766063,
    0.07197382882132333,
    0.4429609899438621,
    0.4461618951189048,
];

fn recording() -> Recording {
    Recording::open("parity/frechet/io.safetensors")
}

fn recorded_features(recording: &Recording, set: &str) -> Features {
    let name = format!("{set}.features");
    Features::new(recording.shape(&name)[1], &recording.f32s(&name)).unwrap()
}

/// The same statistics with their covariance written out, as from a file.
fn dense(statistics: &FeatureStatistics) -> FeatureStatistics {
    let mean = statistics.mean().to_vec();
    FeatureStatistics::new(statistics.count(), mean, statistics.covariance()).unwrap()
}

fn assert_near(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{name}: found {found:e}, expected {expected:e} to {tolerance:e}"
    );
}

fn assert_all_near(name: &str, found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let largest = expected.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert_near(
            &format!("{name}[{at}]"),
            found,
            expected,
            relative * largest,
        );
    }
}

#[test]
fn statistics_agree_with_numpy() {
    let recording = recording();
    for set in ["a", "b", "c"] {
        let features = recorded_features(&recording, set);
        let statistics = FeatureStatistics::of(&features).unwrap();
        let [mean, covariance] =
            ["mean", "cov"].map(|what| recording.f64s(&format!("{set}.{what}")));
        assert_all_near(set, statistics.mean(), &mean, RELATIVE);
        assert_all_near(set, &statistics.covariance(), &covariance, RELATIVE);
        assert_eq!(statistics.count(), Some(features.count() as u64));
        assert_eq!(statistics.is_undersampled(), Some(set == "c"));
    }
}

#[test]
fn frechet_distances_agree_with_numpy_and_pytorch_fid() {
    let recording = recording();
    for pair in ["ab", "ac", "aa", "cc"] {
        let [first, second] = [&pair[..1], &pair[1..]]
            .map(|set| FeatureStatistics::of(&recorded_features(&recording, set)).unwrap());
        for (way, a, b) in [
            ("samples", first.clone(), second.clone()),
            ("first dense", dense(&first), second.clone()),
            ("second dense", first.clone(), dense(&second)),
            ("both dense", dense(&first), dense(&second)),
        ] {
            let distance = frechet_distance(&a, &b).unwrap();
            for reference in ["fid", "fid_sqrtm"] {
                let expected = recording.f64s(&format!("{pair}.{reference}"))[0];
                let tolerance = match pair {
                    "aa" | "cc" => OF_ZERO,
                    _ => RELATIVE * expected,
                };
                assert_near(
                    &format!("{pair}.{reference}, {way}"),
                    distance,
                    expected,
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn kernel_distances_agree_with_numpy_and_torchmetrics() {
    let recording = recording();
    for pair in ["ab", "ac", "aa", "cc"] {
        let [a, b] = [&pair[..1], &pair[1..]].map(|set| recorded_features(&recording, set));
        let expected = recording.f64s(&format!("{pair}.kid"))[0];
        let distance = kernel_distance(&a, &b).unwrap();
        assert_near(pair, distance, expected, RELATIVE * expected.abs());
    }

    let dimension = recording.shape("a.features")[1];
    let a = Features::new(dimension, &recording.f32s("a.features")[..150 * dimension]).unwrap();
    let b = recorded_features(&recording, "b");
    let expected = recording.f64s("a150_b.kid_torchmetrics")[0];
    let subsets = kernel_distance_of_subsets(&a, &b, &Subsets::default()).unwrap();
    assert_eq!((subsets.size, subsets.standard_deviation), (150, 0.0));
    for distance in [kernel_distance(&a, &b).unwrap(), subsets.mean] {
        assert_near("a150_b", distance, expected, RELATIVE * expected.abs());
    }
}

#[test]
fn statistics_of_parts_are_those_of_the_whole() {
    let recording = recording();
    let values = recording.f32s("a.features");
    let whole = FeatureStatistics::of(&recorded_features(&recording, "a")).unwrap();
    let mut parts = StatisticsAccumulator::default();
    for part in values.chunks(64 * 17) {
        parts.add(&Features::new(64, part).unwrap()).unwrap();
    }
    assert_eq!(parts.count(), 200);
    let parts = parts.finish().unwrap();
    assert_all_near("mean", parts.mean(), whole.mean(), 1e-13);
    assert_all_near(
        "covariance",
        &parts.covariance(),
        &whole.covariance(),
        1e-13,
    );
    assert_eq!(parts.count(), whole.count());
}

#[test]
fn a_large_mean_costs_no_accuracy() {
    let near = gaussian(60, 3, 1);
    let far: Vec<f64> = near.iter().map(|value| value + 1e6).collect();
    let mut parts = StatisticsAccumulator::default();
    for sample in far.chunks(3) {
        parts.add(&Features::new(3, sample).unwrap()).unwrap();
    }
    let expected = statistics(3, &near).covariance();
    assert_all_near(
        "covariance",
        &parts.finish().unwrap().covariance(),
        &expected,
        1e-8,
    );
}

#[test]
fn files_of_numpy_are_read() {
    let fixtures = fixtures_dir().join("parity/frechet_npz");
    let stored = FeatureStatistics::load(&fixtures.join("stored.npz")).unwrap();
    assert_eq!(stored.count(), Some(9));
    assert_eq!(stored.mean(), MEAN);
    assert_eq!(stored.covariance(), COVARIANCE);

    let compressed = FeatureStatistics::load(&fixtures.join("compressed_f32.npz")).unwrap();
    assert_eq!(compressed.count(), None);
    assert_eq!(compressed.mean(), MEAN.map(|value| f64::from(value as f32)));
    assert_eq!(
        compressed.covariance(),
        COVARIANCE.map(|value| f64::from(value as f32))
    );
    assert!(frechet_distance(&stored, &compressed).unwrap() < 1e-12);
}

#[test]
fn a_file_keeps_everything_and_equal_statistics_make_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.npz", "second.npz"].map(|name| folder.path().join(name));
    for samples in [3, 30] {
        let statistics = statistics(5, &gaussian(samples, 5, 3));
        statistics.save(&first).unwrap();
        let read = FeatureStatistics::load(&first).unwrap();
        assert_eq!(read.count(), statistics.count());
        assert_eq!(read.mean(), statistics.mean());
        assert_all_near(
            "covariance",
            &read.covariance(),
            &statistics.covariance(),
            1e-15,
        );
        read.save(&second).unwrap();
        assert_eq!(FeatureStatistics::load(&second).unwrap(), read);
        statistics.save(&second).unwrap();
        assert_eq!(
            std::fs::read(&first).unwrap(),
            std::fs::read(&second).unwrap()
        );
    }
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.npz");
    statistics(2, &gaussian(4, 2, 0)).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"mu and sigma"] {
        std::fs::write(&path, damaged).unwrap();
        let error = FeatureStatistics::load(&path).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        assert!(error.to_string().contains("damaged.npz"), "{error}");
    }
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("none.npz"), folder.path().to_owned()] {
        let error = FeatureStatistics::load(&path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()));
    }
    let nowhere: PathBuf = folder.path().join("missing/statistics.npz");
    let error = statistics(2, &gaussian(4, 2, 0))
        .save(&nowhere)
        .unwrap_err();
    assert!(error.to_string().contains("writing failed"), "{error}");
}

#[test]
fn features_that_are_none_are_refused() {
    let refused = |dimension: usize, values: &[f64], words: &str| {
        let error = Features::new(dimension, values).unwrap_err().to_string();
        assert!(error.contains(words), "expected {words}, found {error}");
    };
    refused(0, &[], "`dimension` is 0");
    refused(MAX_DIMENSION + 1, &[], "`dimension` is 16385");
    refused(3, &[], "a list of 0 values, expected one row of 3");
    refused(3, &[1.0; 4], "a list of 4 values");
    refused(2, &[1.0, 2.0, 3.0, f64::NAN], "NaN in row 1, column 1");
    refused(
        2,
        &[1.0, 2.0, f64::NEG_INFINITY, 0.0],
        "-inf in row 1, column 0",
    );
    refused(1, &[1e39], "in row 0, column 0");
    assert!(Features::new(2, &[f32::MAX, f32::MIN]).is_ok());
}

#[test]
fn one_sample_and_different_dimensions_are_refused() {
    let one = Features::new(2, &[1.0, 2.0]).unwrap();
    let two = Features::new(2, &[1.0, 2.0, 3.0, 4.0]).unwrap();
    let three_wide = Features::new(3, &gaussian(4, 3, 0)).unwrap();
    let message = |result: Result<f64, Error>| result.unwrap_err().to_string();
    let subsets = |a, b, count, size| {
        let subsets = Subsets {
            count,
            size,
            seed: 0,
        };
        let refused = kernel_distance_of_subsets(a, b, &subsets).unwrap_err();
        refused.to_string()
    };

    assert!(
        FeatureStatistics::of(&one)
            .unwrap_err()
            .to_string()
            .contains("at least 2")
    );
    let mut single = StatisticsAccumulator::default();
    assert!(
        single
            .clone()
            .finish()
            .unwrap_err()
            .to_string()
            .contains("`count` is 0")
    );
    single.add(&one).unwrap();
    assert!(
        single
            .clone()
            .finish()
            .unwrap_err()
            .to_string()
            .contains("`count` is 1")
    );
    assert!(
        single
            .add(&three_wide)
            .unwrap_err()
            .to_string()
            .contains("3 dimensions")
    );
    assert!(message(kernel_distance(&two, &one)).contains("1 sample"));
    assert!(message(kernel_distance(&two, &three_wide)).contains("3 dimensions"));
    assert!(subsets(&two, &one, 1, 2).contains("1 sample"));
    assert!(subsets(&two, &two, 0, 2).contains("`subsets` is 0 of 2"));
    assert!(subsets(&two, &two, 1, 1).contains("`subsets` is 1 of 1"));
    let [two, three_wide] = [two, three_wide].map(|set| FeatureStatistics::of(&set).unwrap());
    assert!(message(frechet_distance(&two, &three_wide)).contains("3 dimensions, expected 2"));
}

#[test]
fn statistics_that_are_none_are_refused() {
    let refused = |count, mean: &[f64], covariance: &[f64], words: &str| {
        let error = FeatureStatistics::new(count, mean.to_vec(), covariance.to_vec())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "expected {words}, found {error}");
    };
    refused(None, &[], &[], "`dimension` is 0");
    refused(Some(1), &[0.0], &[1.0], "`count` is 1");
    refused(None, &[0.0; 2], &[1.0; 3], "3 values, expected 2 by 2");
    refused(None, &[0.0, f64::NAN], &[1.0; 4], "`mean` is NaN at [1]");
    refused(None, &[0.0; 2], &[1.0, 0.0, f64::NAN, 1.0], "NaN at [1, 0]");
    refused(None, &[0.0; 2], &[1.0, 0.5, 0.4, 1.0], "a symmetric matrix");
    refused(None, &[0.0; 2], &[1.0, 0.0, 0.0, -0.1], "-0.1 at [1, 1]");

    // Symmetric, with positive variances, and yet of no samples: its eigenvalues are 3 and -1.
    let impossible = FeatureStatistics::new(None, vec![0.0; 2], vec![1.0, 2.0, 2.0, 1.0]).unwrap();
    assert_eq!(impossible.is_undersampled(), None);
    let error = frechet_distance(&impossible, &impossible).unwrap_err();
    assert!(
        error.to_string().contains("not positive semi-definite"),
        "{error}"
    );
}

#[test]
fn diagonal_covariances_have_a_closed_form() {
    let (first, second) = ([4.0, 0.25, 9.0, 0.0], [1.0, 1.0, 0.0, 2.0_f64]);
    let diagonal = |values: [f64; 4], mean: f64| {
        let entry = |at: usize| {
            if at.is_multiple_of(5) {
                values[at / 5]
            } else {
                0.0
            }
        };
        FeatureStatistics::new(None, vec![mean; 4], (0..16).map(entry).collect()).unwrap()
    };
    let expected: f64 = 4.0 * 0.5_f64.powi(2)
        + first
            .iter()
            .zip(&second)
            .map(|(a, b): (&f64, &f64)| (a.sqrt() - b.sqrt()).powi(2))
            .sum::<f64>();
    let distance = frechet_distance(&diagonal(first, 0.0), &diagonal(second, 0.5)).unwrap();
    assert_near("diagonal", distance, expected, 1e-9);
}

#[test]
fn constant_images_have_distances_too() {
    for dimension in [1, 3, 20] {
        let constant = |value: f64| statistics(dimension, &vec![value; 4 * dimension]);
        let distance = |a: f64, b: f64| frechet_distance(&constant(a), &constant(b)).unwrap();
        assert_eq!(distance(1.0, 1.0), 0.0);
        assert_eq!(distance(1.0, 3.0), 4.0 * dimension as f64);
        let varied = statistics(dimension, &gaussian(9, dimension, 5));
        assert!(frechet_distance(&constant(0.0), &varied).unwrap() > 0.0);
    }
}

#[test]
fn kernel_distances_of_one_distribution_are_zero_in_the_mean() {
    let (count, dimension, draws) = (25, 8, 200);
    let distances: Vec<f64> = (0..draws)
        .map(|seed| {
            let [a, b] = [2 * seed, 2 * seed + 1]
                .map(|seed| Features::new(dimension, &gaussian(count, dimension, seed)).unwrap());
            kernel_distance(&a, &b).unwrap()
        })
        .collect();
    let mean = distances.iter().sum::<f64>() / draws as f64;
    let variance = distances.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws as f64;
    let standard_error = (variance / draws as f64).sqrt();
    assert!(
        mean.abs() < 3.0 * standard_error,
        "{mean} of {standard_error}"
    );
    assert!(distances.iter().any(|&distance| distance < 0.0));
}

#[test]
fn subsets_are_drawn_by_seed_and_scatter_about_the_distance_of_all() {
    let a = Features::new(4, &gaussian(120, 4, 1)).unwrap();
    let shifted: Vec<f64> = gaussian(90, 4, 2).iter().map(|value| value + 0.7).collect();
    let b = Features::new(4, &shifted).unwrap();
    let drawn = |seed| {
        let subsets = Subsets {
            count: 60,
            size: 40,
            seed,
        };
        kernel_distance_of_subsets(&a, &b, &subsets).unwrap()
    };
    let (first, other) = (drawn(1), drawn(2));
    assert_eq!(first, drawn(1));
    assert_ne!(first.mean, other.mean);
    assert_eq!(first.size, 40);
    let all = kernel_distance(&a, &b).unwrap();
    for subsets in [first, other] {
        assert!(subsets.standard_deviation > 0.0);
        let error = subsets.standard_deviation / 60.0_f64.sqrt();
        assert!(
            (subsets.mean - all).abs() < 4.0 * error,
            "{subsets:?}, {all}"
        );
    }

    let larger = kernel_distance_of_subsets(&a, &b, &Subsets::default()).unwrap();
    assert_eq!(larger.size, 90); // all of the smaller set, and still a choice from the larger one
    assert!(larger.standard_deviation > 0.0);
}

/// Two sets of a dimension, of few samples and of many, that are not standard normal.
fn two_sets() -> impl Strategy<Value = (usize, Vec<f64>, Vec<f64>)> {
    (1..10_usize, 2..25_usize, 2..25_usize, 0..u64::MAX / 2).prop_map(|(d, n1, n2, seed)| {
        let mix = gaussian(d, d, seed);
        let mixed = |count, seed| {
            let plain = gaussian(count, d, seed);
            plain.chunks(d).flat_map(|x| product(&mix, x)).collect()
        };
        (d, mixed(n1, seed + 1), mixed(n2, seed + 2))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_distance_is_symmetric_and_never_negative((d, a, b) in two_sets()) {
        let [a, b] = [statistics(d, &a), statistics(d, &b)];
        let scale = total_variance(&a) + total_variance(&b);
        let distance = frechet_distance(&a, &b).unwrap();
        prop_assert!(distance >= 0.0);
        for (a, b) in [(&b, &a), (&dense(&a), &b), (&a, &dense(&b)), (&dense(&a), &dense(&b))] {
            let other = frechet_distance(a, b).unwrap();
            prop_assert!(other >= 0.0);
            prop_assert!((distance - other).abs() < 1e-6 * scale, "{} {}", distance, other);
        }
    }

    #[test]
    fn a_set_lies_at_zero_from_itself((d, a, _) in two_sets()) {
        let statistics = statistics(d, &a);
        let dense = dense(&statistics);
        let scale = total_variance(&statistics);
        for (a, b) in [(&statistics, &statistics), (&statistics, &dense), (&dense, &dense)] {
            let distance = frechet_distance(a, b).unwrap();
            prop_assert!((0.0..1e-6 * scale).contains(&distance), "{} of {}", distance, scale);
        }
    }

    #[test]
    fn a_translation_adds_its_square((d, a, _) in two_sets(), seed in 0..u64::MAX) {
        let by = gaussian(1, d, seed);
        let moved: Vec<f64> = a.chunks(d).flat_map(|x| add(x, &by)).collect();
        let square: f64 = by.iter().map(|value| value * value).sum();
        let [a, moved] = [statistics(d, &a), statistics(d, &moved)];
        let distance = frechet_distance(&a, &moved).unwrap();
        let tolerance = 1e-6 * total_variance(&a) + 1e-9 * square;
        prop_assert!((distance - square).abs() < tolerance, "{} {}", distance, square);
    }

    #[test]
    fn a_rotation_of_both_sets_changes_nothing((d, a, b) in two_sets(), seed in 0..u64::MAX) {
        let axis = gaussian(1, d, seed);
        let turned = |set: &[f64]| -> Vec<f64> { set.chunks(d).flat_map(|x| reflect(x, &axis)).collect() };
        let [plain_a, plain_b] = [statistics(d, &a), statistics(d, &b)];
        let [turned_a, turned_b] = [statistics(d, &turned(&a)), statistics(d, &turned(&b))];
        let plain = frechet_distance(&plain_a, &plain_b).unwrap();
        let turned = frechet_distance(&turned_a, &turned_b).unwrap();
        let scale = plain + total_variance(&plain_a) + total_variance(&plain_b);
        prop_assert!((plain - turned).abs() < 1e-6 * scale, "{} {}", plain, turned);
    }
}

fn statistics(dimension: usize, values: &[f64]) -> FeatureStatistics {
    FeatureStatistics::of(&Features::new(dimension, values).unwrap()).unwrap()
}

fn total_variance(statistics: &FeatureStatistics) -> f64 {
    let step = statistics.dimension() + 1;
    statistics.covariance().iter().step_by(step).sum()
}

/// Standard normal numbers: the sum of twelve uniform ones, which serves here.
fn gaussian(count: usize, dimension: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count * dimension)
        .map(|_| (0..12).map(|_| rng.random::<f64>() - 0.5).sum())
        .collect()
}

fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(x).map(|(m, x)| m * x).sum();
    matrix.chunks(x.len()).map(dot).collect()
}

fn add(x: &[f64], y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

/// The mirror image of `x` in the plane that `axis` is normal to: an orthogonal map.
fn reflect(x: &[f64], axis: &[f64]) -> Vec<f64> {
    let dot = |y: &[f64]| -> f64 { axis.iter().zip(y).map(|(a, y)| a * y).sum() };
    let along = 2.0 * dot(x) / dot(axis);
    x.iter().zip(axis).map(|(x, a)| x - along * a).collect()
}

#[test]
fn moments_of_parts_are_those_of_the_repeated_samples() {
    let part = |seed: u64, count: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f64> = (0..3 * count)
            .map(|_| rng.random_range(99.0..101.0))
            .collect();
        Features::new(3, &values).unwrap()
    };
    let parts = [part(1, 4), part(2, 1), part(3, 6)];
    let times = [2, 0, 3];
    let mut moments = Moments::empty(3).unwrap();
    for (part, times) in parts.iter().zip(times) {
        moments.add(&Moments::of(part), times).unwrap();
    }
    let repeated = [0, 0, 2, 2, 2].map(|index| &parts[index]);
    let expected = FeatureStatistics::of(&Features::joined(repeated).unwrap()).unwrap();
    let found = moments.statistics().unwrap();
    assert_eq!(found.count(), Some(26));
    let pairs = |a: &[f64], b: &[f64]| -> f64 {
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f64::max)
    };
    assert!(pairs(found.mean(), expected.mean()) < 1e-12);
    assert!(pairs(&found.covariance(), &expected.covariance()) < 1e-12);

    assert!(Moments::empty(0).is_err());
    assert!(Moments::empty(3).unwrap().statistics().is_err());
    assert!(
        Moments::empty(2)
            .unwrap()
            .add(&Moments::of(&parts[0]), 1)
            .is_err()
    );
    assert!(Features::joined([]).is_err());
}

#[test]
fn kernel_sums_make_up_the_kernel_distance() {
    let rows = |phase: f64, count: usize| {
        let values: Vec<f64> = (0..2 * count)
            .map(|i| (i as f64 * 1.7 + phase).sin())
            .collect();
        Features::new(2, &values).unwrap()
    };
    let (a, b) = (rows(0.0, 5), rows(0.4, 7));
    let expected = kernel_distance(&a, &b).unwrap();
    let between = kernel_sum(&a, &b).unwrap() / 35.0;
    let found = kernel_sum_within(&a) / 20.0 + kernel_sum_within(&b) / 42.0 - 2.0 * between;
    assert!((found - expected).abs() < 1e-13);
    let other = Features::new(1, &[1.0]).unwrap();
    assert!(kernel_sum(&a, &other).is_err());
}
