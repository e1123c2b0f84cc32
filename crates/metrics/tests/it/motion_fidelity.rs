//! Motion fidelity: parity with the recorded measure, laws, bad input, and sprites whose true tracks are known.

use image::{Rgb, RgbImage};
use kinvert_metrics::motion_fidelity::{
    HybridFidelity, Mask, MotionFidelity, Options, SpriteTruth, StillSteps, TrackPair, Variant,
    published, record, similarity_matrix,
};
use kinvert_metrics::record::ModelStamp;
use kinvert_metrics::tracks::Place;
use kinvert_metrics::{Record, Tracks};
use kinvert_testkit::{Recording, Tolerance, assert_close};
use kinvert_video::{Clip, Size};
use kinvert_world::{Look, Motion, Scene};
use proptest::prelude::*;

const SIZE: Size = Size {
    width: 64,
    height: 64,
};

fn tracks(frames: usize, places: Vec<Place>) -> Tracks {
    let visible = vec![true; places.len()];
    Tracks::new(frames, SIZE, places, visible).unwrap()
}

/// Tracks made of steps, all from one start.
fn walks(steps: &[Vec<Place>], start: Place) -> Tracks {
    let frames = steps.first().map_or(1, Vec::len) + 1;
    let mut places = Vec::new();
    for steps in steps {
        let mut at = start;
        places.push(at);
        for step in steps {
            at = [at[0] + step[0], at[1] + step[1]];
            places.push(at);
        }
    }
    tracks(frames, places)
}

fn both(a: &Tracks, b: &Tracks) -> Tracks {
    let places = a.iter().chain(b.iter()).flatten().copied().collect();
    tracks(a.frames(), places)
}

fn moved(tracks: &Tracks, change: impl Fn(Place) -> Place) -> Tracks {
    let places = tracks
        .iter()
        .flatten()
        .map(|&place| change(place))
        .collect();
    self::tracks(tracks.frames(), places)
}

fn compare(reference: &Tracks, result: &Tracks) -> MotionFidelity {
    let pair = TrackPair::new(reference, result).unwrap();
    MotionFidelity::two_sided(&pair, StillSteps::Agree)
}

fn fidelity(reference: &Tracks, result: &Tracks) -> f64 {
    compare(reference, result).value.unwrap()
}

fn moving_fidelity(reference: &Tracks, result: &Tracks) -> MotionFidelity {
    MotionFidelity::of_moving(&TrackPair::new(reference, result).unwrap())
}

fn hybrid(reference: &Tracks, result: &Tracks) -> HybridFidelity {
    HybridFidelity::new(&TrackPair::new(reference, result).unwrap())
}

fn measured(
    variant: Variant,
    reference: &Tracks,
    result: &Tracks,
    options: &Options<'_>,
) -> Record {
    let stamp = ModelStamp {
        name: "truth".into(),
        sha256: None,
    };
    record(variant, reference, result, &stamp, options).unwrap()
}

#[test]
fn the_recorded_values_are_met() {
    // Stated in the fixture's README; the recording is in f32.
    const TOLERANCE: Tolerance = Tolerance::Absolute(1e-6);
    let recording = Recording::open("parity/motion_fidelity/io.safetensors");
    let given = |name: &str| {
        let frames = recording.shape(name)[1];
        let values = recording.f32s(name);
        tracks(frames, values.as_chunks().0.to_vec())
    };
    for case in ["rect", "square", "identical", "zero_steps", "zero_both"] {
        let name = |what: &str| format!("{case}.{what}");
        let expect = |what: &str, found: &[f64]| {
            let found: Vec<f32> = found.iter().map(|value| *value as f32).collect();
            assert_close(&name(what), &found, &recording.f32s(&name(what)), TOLERANCE);
        };
        let (a, b) = (given(&name("a")), given(&name("b")));
        let matrix = similarity_matrix(&a, &b, StillSteps::CountZero).unwrap();
        expect("similarity", &matrix);

        let pair = TrackPair::new(&a, &b).unwrap();
        let found = MotionFidelity::two_sided(&pair, StillSteps::CountZero);
        expect("best_of_b_for_each_a", &[found.of_reference.unwrap()]);
        expect("best_of_a_for_each_b", &[found.of_result.unwrap()]);
        expect("two_sided", &[found.value.unwrap()]);

        // The recorded script is given `a` in the place of the result.
        let found = published(&b, &a);
        match case {
            "rect" => assert!(found.reason.unwrap().contains("number of tracks")),
            "zero_steps" | "zero_both" => {
                assert!(recording.f32s(&name("published_score"))[0].is_nan());
                assert!(found.value.is_none() && found.reason.unwrap().contains("still"));
            }
            _ => expect("published_score", &[found.value.unwrap()]),
        }
        for (found, recorded) in matrix
            .iter()
            .zip(recording.f64s(&name("published_similarity")))
        {
            assert!(
                recorded.is_nan() || (recorded - found).abs() < 1e-6,
                "{recorded} {found}"
            );
        }
    }
}

/// Up to seven tracks of five steps that are longer than the threshold.
fn lively() -> impl Strategy<Value = Vec<Vec<Place>>> {
    let step = (0.2_f32..6.0, 0.0_f32..std::f32::consts::TAU)
        .prop_map(|(length, angle)| [length * angle.cos(), length * angle.sin()]);
    proptest::collection::vec(proptest::collection::vec(step, 5), 1..8)
}

/// The same with pauses.
fn hesitant() -> impl Strategy<Value = Vec<Vec<Place>>> {
    let step = prop_oneof![
        Just([0.0_f32, 0.0]),
        Just([0.03, -0.03]),
        (-4.0_f32..4.0, -4.0_f32..4.0).prop_map(|(x, y)| [x, y]),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 5), 1..8)
}

proptest! {
    #[test]
    fn a_clip_is_faithful_to_itself(steps in hesitant()) {
        let clip = walks(&steps, [20.0, 30.0]);
        let found = compare(&clip, &clip);
        prop_assert!((found.value.unwrap() - 1.0).abs() < 1e-12);
        prop_assert!(found.reference.iter().all(|best| best.similarity > 1.0 - 1e-12));
        prop_assert!((moving_fidelity(&clip, &clip).value.unwrap() - 1.0).abs() < 1e-12);
        prop_assert!((hybrid(&clip, &clip).value.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn it_is_symmetric_and_bounded(a in hesitant(), b in hesitant()) {
        let (a, b) = (walks(&a, [20.0, 30.0]), walks(&b, [25.0, 30.0]));
        let (there, back) = (compare(&a, &b), compare(&b, &a));
        prop_assert_eq!(there.value, back.value);
        prop_assert_eq!(there.of_reference, back.of_result);
        prop_assert_eq!(there.reference, back.result);
        prop_assert!((-1.0..=1.0).contains(&there.value.unwrap()));
        prop_assert_eq!(moving_fidelity(&a, &b).value, moving_fidelity(&b, &a).value);
        let hybrids = (hybrid(&a, &b), hybrid(&b, &a));
        prop_assert!((hybrids.0.value.unwrap() - hybrids.1.value.unwrap()).abs() < 1e-12);
        prop_assert!((0.0..=1.0).contains(&hybrids.0.global.unwrap()));
    }

    #[test]
    fn where_it_happens_and_how_far_it_goes_do_not_matter(
        a in lively(), b in lively(), dx in -40_i16..40, dy in -40_i16..40, scale in 1.0_f32..3.0,
    ) {
        let (a, b) = (walks(&a, [20.0, 30.0]), walks(&b, [20.0, 30.0]));
        let expected = fidelity(&a, &b);
        let shifted = moved(&b, |[x, y]| [x + f32::from(dx), y + f32::from(dy)]);
        prop_assert!((fidelity(&a, &shifted) - expected).abs() < 1e-4);
        let enlarged = moved(&b, |place| place.map(|at| at * scale));
        prop_assert!((fidelity(&a, &enlarged) - expected).abs() < 1e-4);
    }

    /// What the docs of `MotionFidelity` say of still tracks, in numbers.
    #[test]
    fn still_tracks_count_as_stated(a in hesitant(), b in hesitant(), still in 1_usize..5) {
        let (a, b) = (walks(&a, [20.0, 30.0]), walks(&b, [20.0, 30.0]));
        let background = tracks(6, vec![[5.0, 5.0]; still * 6]);
        let plain = compare(&a, &b);
        let pauses = |tracks: &Tracks| -> Vec<f64> {
            similarity_matrix(tracks, &background, StillSteps::Agree)
                .unwrap()
                .into_iter()
                .step_by(still)
                .collect()
        };
        // Each track may now choose a still one, with which it agrees in its pauses.
        let raised = |found: &[kinvert_metrics::motion_fidelity::BestMatch], pauses: &[f64]| -> f64 {
            found.iter().zip(pauses).map(|(best, pause)| best.similarity.max(*pause)).sum()
        };
        let (of_a, of_b) = (pauses(&a), pauses(&b));
        let (n, m, k) = (a.len() as f64, b.len() as f64, still as f64);

        let on_both = fidelity(&both(&a, &background), &both(&b, &background));
        let expected = ((raised(&plain.reference, &of_a) + k) / (n + k)
            + (raised(&plain.result, &of_b) + k) / (m + k)) / 2.0;
        prop_assert!((on_both - expected).abs() < 1e-12);
        prop_assert!(on_both >= plain.value.unwrap() - 1e-12);

        let on_one = fidelity(&a, &both(&b, &background));
        let longest_pause = of_a.iter().copied().fold(0.0, f64::max);
        let found: f64 = plain.result.iter().map(|best| best.similarity).sum();
        let expected = (raised(&plain.reference, &of_a) / n
            + (found + k * longest_pause) / (m + k)) / 2.0;
        prop_assert!((on_one - expected).abs() < 1e-12);

        // The moving-only variant never sees them.
        let moving = moving_fidelity(&a, &b).value;
        prop_assert_eq!(moving_fidelity(&both(&a, &background), &both(&b, &background)).value, moving);
        prop_assert_eq!(moving_fidelity(&both(&a, &background), &b).value, moving);
    }
}

#[test]
fn reversed_motion_scores_low() {
    let there = walks(&[vec![[2.0, 0.0]; 8], vec![[1.5, 0.3]; 8]], [20.0, 30.0]);
    let back = walks(&[vec![[-2.0, 0.0]; 8], vec![[-1.5, -0.3]; 8]], [40.0, 30.0]);
    assert!(fidelity(&there, &back) < -0.95);
    assert!(moving_fidelity(&there, &back).value.unwrap() < -0.95);
    assert!(hybrid(&there, &back).value.unwrap() < hybrid(&there, &there).value.unwrap() - 0.9);
}

#[test]
fn clips_that_do_not_move_are_defined() {
    let still = tracks(4, vec![[3.0, 3.0]; 8]);
    let moving = walks(&[vec![[2.0, 0.0]; 3]], [20.0, 30.0]);
    for (reference, result, expected) in [
        (&still, &still, 1.0),
        (&still, &moving, 0.0),
        (&moving, &still, 0.0),
    ] {
        let found = moving_fidelity(reference, result);
        assert_eq!(found.value, Some(expected));
        assert!(!found.warnings.is_empty());
        assert_eq!(fidelity(reference, result), expected);
    }
}

#[test]
fn without_tracks_or_steps_there_is_no_value_but_a_reason() {
    let some = walks(&[vec![[2.0, 0.0]; 3]], [20.0, 30.0]);
    let none = some.filtered(|_| false);
    let one = tracks(1, vec![[20.0, 30.0]]);
    for (reference, result, reason) in [
        (&none, &some, "no track of the reference is left"),
        (&some, &none, "no track of the result is left"),
        (
            &none,
            &none,
            "no track of the reference and of the result is left",
        ),
        (&one, &one, "a single frame does not move"),
        (&some, &one, "a single frame does not move"),
    ] {
        for variant in [Variant::TwoSided, Variant::Moving, Variant::Hybrid] {
            let found = measured(variant, reference, result, &Options::default());
            assert_eq!(found.value, None, "{variant} {reason}");
            assert!(
                found.warnings.iter().any(|w| w == reason),
                "{variant}: {:?}",
                found.warnings
            );
        }
        for variant in [Variant::Published, Variant::HybridPublished] {
            let found = measured(variant, reference, result, &Options::default());
            assert!(
                found.value.is_none() && found.warnings.len() == 1,
                "{found:?}"
            );
        }
    }
}

#[test]
fn records_name_the_variant_and_keep_what_belongs_to_the_value() {
    let a = walks(&[vec![[2.0, 0.0]; 3], vec![[0.0, 1.0]; 3]], [20.0, 30.0]);
    let b = walks(&[vec![[0.0, 2.0]; 3]], [20.0, 30.0]);
    let options = Options {
        per_track: true,
        frame_rates: Some([8.0, 24.0]),
        ..Options::default()
    };
    let found = measured(Variant::TwoSided, &a, &b, &options);
    assert_eq!(found.measure, "motion_fidelity");
    assert_eq!(found.value, Some((0.5 + 1.0) / 2.0));
    assert_eq!(found.beside["of_reference"], Some(0.5));
    assert_eq!(found.beside["of_result"], Some(1.0));
    assert_eq!(
        found.beside["result_motion_magnitude"],
        b.motion_magnitude()
    );
    assert_eq!(
        (found.samples["reference_tracks"], found.samples["steps"]),
        (2, 3)
    );
    assert_eq!(found.detail["result_match"], [Some(1.0)]);
    assert_eq!(found.detail["reference_similarity"], [Some(0.0), Some(1.0)]);
    assert!(
        found.warnings[0].contains("8 frames per second"),
        "{:?}",
        found.warnings
    );

    for variant in Variant::ALL {
        let found = measured(variant, &a, &a, &Options::default());
        assert_eq!(found.measure, variant.to_string());
        assert!(found.value.is_some() && found.detail.is_empty() && found.warnings.is_empty());
    }
}

#[test]
fn masks_choose_the_tracks_of_their_side() {
    let right = walks(&[vec![[2.0, 0.0]; 3]], [10.0, 10.0]);
    let down = walks(&[vec![[0.0, 2.0]; 3]], [50.0, 10.0]);
    let clip = both(&right, &down);
    let left_half = RgbImage::from_fn(64, 64, |x, _| Rgb([if x < 32 { 255 } else { 0 }; 3]));
    let mask = Mask::new(&left_half);
    let options = Options {
        reference_mask: Some(&mask),
        ..Options::default()
    };
    let found = measured(Variant::TwoSided, &clip, &clip, &options);
    assert_eq!(found.value, Some((1.0 + 0.5) / 2.0)); // nothing in the mask moves down
    assert_eq!(
        (
            found.samples["reference_tracks"],
            found.samples["result_tracks"]
        ),
        (1, 2)
    );
    assert!(
        found
            .preprocessing
            .contains("tracks of the reference that start inside its mask")
    );

    let options = Options {
        result_mask: Some(&mask),
        ..options
    };
    let found = measured(Variant::TwoSided, &clip, &clip, &options);
    assert_eq!(found.value, Some(1.0));

    let black = Mask::new(&RgbImage::new(64, 64));
    let options = Options {
        result_mask: Some(&black),
        ..Options::default()
    };
    for variant in Variant::ALL {
        let found = measured(variant, &clip, &clip, &options);
        assert_eq!(found.value, None);
        assert!(
            found.warnings.iter().any(|w| w.contains("no pixel of 128")),
            "{:?}",
            found.warnings
        );
    }

    let small = Mask::new(&RgbImage::new(32, 64));
    let options = Options {
        reference_mask: Some(&small),
        ..Options::default()
    };
    let stamp = ModelStamp {
        name: "truth".into(),
        sha256: None,
    };
    let error = record(Variant::TwoSided, &clip, &clip, &stamp, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`mask` is 32x64, expected 64x64 as the clip"
    );
}

#[test]
fn other_lengths_and_sizes_are_brought_together() {
    let scene = Scene::random_with_motion(Motion::Line, 4);
    let reference = true_tracks(&scene, 16, 64, false);
    let longer = true_tracks(&scene, 31, 64, false);
    let larger = true_tracks(&scene, 16, 256, false);
    for (result, reason) in [(&longer, Some("31")), (&larger, None)] {
        let found = measured(Variant::TwoSided, &reference, result, &Options::default());
        assert!(found.value.unwrap() > 0.999, "{found:?}");
        assert_eq!(found.warnings.len(), usize::from(reason.is_some()));
        assert!(found.warnings.iter().all(|w| w.contains(reason.unwrap())));
    }
    let swapped = measured(Variant::TwoSided, &longer, &reference, &Options::default());
    assert!(swapped.value.unwrap() > 0.999);
    let stretched = Tracks::new(
        16,
        Size {
            width: 192,
            height: 64,
        },
        reference
            .iter()
            .flatten()
            .map(|[x, y]| [3.0 * x + 1.0, *y])
            .collect(),
        vec![true; 16 * reference.len()],
    )
    .unwrap();
    let found = measured(
        Variant::TwoSided,
        &reference,
        &stretched,
        &Options::default(),
    );
    assert!(found.value.unwrap() > 0.999, "{found:?}");
    assert!(
        found.warnings[0].contains("aspect ratio"),
        "{:?}",
        found.warnings
    );
}

/// Tracks that a perfect tracker finds in a clip of a scene: points on the sprite, and behind it if asked for. Places
/// are of pixel centres at whole numbers.
fn true_tracks(scene: &Scene, frames: usize, size: u32, with_background: bool) -> Tracks {
    let scale = f64::from(size) / 64.0;
    let time = |frame: usize| frame as f64 / (frames - 1) as f64;
    let mut places = Vec::new();
    for (x, y) in (0..5).flat_map(|x| (0..5).map(move |y| (x, y))) {
        let offset = [x, y].map(|i| (f64::from(i) - 2.0) / 4.0); // in sizes of the sprite
        places.extend((0..frames).map(|frame| {
            let radius = scene.radius_at(time(frame)) * scale;
            let centre = scene.centre_at(time(frame), size);
            [0, 1].map(|axis| (centre[axis] + radius * offset[axis] - 0.5) as f32)
        }));
    }
    if with_background {
        for (x, y) in (0..8).flat_map(|x| (0..8).map(move |y| (x, y))) {
            let start = [x, y].map(|i| 4.0 + 8.0 * f64::from(i));
            places.extend((0..frames).map(|frame| {
                let moment = time(frame) * 15.0;
                [0, 1].map(|axis| ((start[axis] + scene.pan_px[axis] * moment) * scale) as f32)
            }));
        }
    }
    let visible = vec![true; places.len()];
    Tracks::new(
        frames,
        Size {
            width: size,
            height: size,
        },
        places,
        visible,
    )
    .unwrap()
}

/// A scene of another seed, so of another look and size, that moves like this one.
fn other_look(scene: &Scene, seed: u64) -> Scene {
    Scene {
        path: scene.path,
        ..Scene::random(seed)
    }
}

#[test]
fn sprites_with_the_same_motion_score_high_and_with_another_low() {
    for seed in 0..40 {
        let motion = [Motion::Line, Motion::Arc, Motion::Wave, Motion::Bounce][seed as usize % 4];
        let mut scene = Scene::random_with_motion(motion, seed);
        scene.pan_px = [0.0; 2];
        let mut same = other_look(&scene, seed + 1000);
        same.pan_px = [0.0; 2];
        // A sprite that grows does move a little differently.
        same.radius_px = [same.radius_px[0]; 2];
        scene.radius_px = [scene.radius_px[0]; 2];
        let of = |scene: &Scene| true_tracks(scene, 16, 64, true);

        for variant in [Variant::TwoSided, Variant::Moving] {
            let found = measured(variant, &of(&scene), &of(&same), &Options::default());
            assert!(found.value.unwrap() > 0.9999, "{seed} {variant} {found:?}");
        }
        let found = measured(
            Variant::Hybrid,
            &of(&scene),
            &of(&same),
            &Options::default(),
        );
        assert!(found.value.unwrap() > 0.97, "{seed} {found:?}");

        let mut back = scene;
        back.path = reversed(&scene);
        let found = measured(
            Variant::Moving,
            &of(&scene),
            &of(&back),
            &Options::default(),
        );
        // A bounce that goes the other way sideways still goes up and down at the same times.
        let limit = if motion == Motion::Bounce { 0.8 } else { 0.3 };
        assert!(found.value.unwrap() < limit, "{seed} {found:?}");

        let mut still = scene;
        still.path = Scene::random_with_motion(Motion::Still, seed).path;
        let found = measured(
            Variant::Moving,
            &of(&scene),
            &of(&still),
            &Options::default(),
        );
        assert_eq!(found.value, Some(0.0));
        let found = measured(
            Variant::TwoSided,
            &of(&scene),
            &of(&still),
            &Options::default(),
        );
        assert!(
            found.value.unwrap() < 0.95 && found.warnings.len() == 2,
            "{found:?}"
        );
    }
}

/// The path of a scene, mirrored so that it goes the other way sideways.
fn reversed(scene: &Scene) -> kinvert_world::Path {
    use kinvert_world::Path;
    let turned = |[x, y]: [f64; 2]| [-x, -y];
    match scene.path {
        Path::Line { from, to } => Path::Line { from: to, to: from },
        Path::Wave {
            from,
            to,
            amplitude,
            periods,
        } => Path::Wave {
            from: turned(from),
            to: turned(to),
            amplitude,
            periods,
        },
        Path::Bounce {
            from_x,
            to_x,
            height,
            jumps,
        } => Path::Bounce {
            from_x: to_x,
            to_x: from_x,
            height,
            jumps,
        },
        Path::Arc {
            around,
            radius,
            start,
            sweep,
        } => Path::Arc {
            around,
            radius,
            start: start + std::f64::consts::PI,
            sweep,
        },
        path => path,
    }
}

fn clip_of(frames: Vec<RgbImage>) -> Clip {
    Clip::new(frames, 8.0).unwrap()
}

#[test]
fn sprite_truth_follows_the_path_whatever_it_looks_like() {
    for seed in 0..6 {
        let scene = Scene::random_with_motion(Motion::ALL[1 + seed as usize % 5], seed);
        let reference = clip_of(scene.render());
        let same = clip_of(other_look(&scene, seed + 100).render());
        let found = SpriteTruth::between(&reference, &same).unwrap();
        assert!(found.path_correlation.unwrap() > 0.98, "{seed} {found:?}");
        assert!(found.end_point_error_px.unwrap() < 1.0, "{seed} {found:?}");
        assert!(found.warnings.is_empty(), "{found:?}");

        let longer = clip_of(other_look(&scene, seed + 100).render_at(24, 96).unwrap());
        let found = SpriteTruth::between(&reference, &longer).unwrap();
        assert!(found.path_correlation.unwrap() > 0.98, "{seed} {found:?}");
        assert!(found.end_point_error_px.unwrap() < 1.0, "{seed} {found:?}");
        assert!(found.warnings[0].contains("24"), "{found:?}");
    }
    let scene = Scene::random_with_motion(Motion::Line, 1);
    let mut back = scene;
    back.path = reversed(&scene);
    let found = SpriteTruth::between(&clip_of(scene.render()), &clip_of(back.render())).unwrap();
    let [correlation, error] = found.into_records();
    assert!(correlation.value.unwrap() < -0.95, "{correlation:?}");
    assert!(error.value.unwrap() > 5.0, "{error:?}");
    assert_eq!(
        (correlation.measure.as_str(), error.measure.as_str()),
        ("path_correlation", "end_point_error")
    );
}

#[test]
fn sprite_truth_claims_nothing_for_other_clips() {
    let sprites = clip_of(Scene::random_with_motion(Motion::Arc, 3).render());
    let wide = sprites
        .resized(96, 64, kinvert_video::Fit::Stretch)
        .unwrap();
    let ramp = clip_of(vec![
        RgbImage::from_fn(64, 64, |x, y| Rgb([
            4 * x as u8,
            4 * y as u8,
            128
        ]));
        4
    ]);
    for (reference, result, reason) in [
        (
            &wide,
            &sprites,
            "the reference is no clip of the sprite world: its frames are not square",
        ),
        (
            &sprites,
            &wide,
            "the result is no clip of the sprite world: its frames are not square",
        ),
        (
            &sprites,
            &ramp,
            "the result is no clip of the sprite world: its colours explain",
        ),
    ] {
        let found = SpriteTruth::between(reference, result).unwrap();
        assert!(found.path_correlation.is_none() && found.end_point_error_px.is_none());
        assert!(
            found.warnings[0].starts_with(reason),
            "{:?}",
            found.warnings
        );
        assert!(
            found
                .into_records()
                .iter()
                .all(|record| record.value.is_none())
        );
    }
    // No sprite: no reference, but a result that does not follow.
    let look = Look::parse("a red circle on a gray background").unwrap();
    let gray = look.background.colours()[0].map(|value| (value * 255.0) as u8);
    let empty = clip_of(vec![RgbImage::from_pixel(64, 64, Rgb(gray)); 16]);
    let found = SpriteTruth::between(&empty, &sprites).unwrap();
    assert!(found.warnings[0].contains("a sprite is found in 0 of 16 frames"));
    let found = SpriteTruth::between(&sprites, &empty).unwrap();
    assert_eq!(
        (found.path_correlation, found.end_point_error_px),
        (Some(0.0), None)
    );
    assert!(found.warnings[0].contains("0 of 16 frames"), "{found:?}");
}

/// What the built-in model's autoencoder makes of a clip has soft edges and colours a little off.
#[test]
fn decoded_clips_look_like_sprites() {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let values = recording.f32s("vae_decode");
    let frames = values.chunks_exact(64 * 64 * 3).map(|frame| {
        let bytes = frame
            .iter()
            .map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8);
        RgbImage::from_raw(64, 64, bytes.collect()).unwrap()
    });
    let decoded = clip_of(frames.collect());
    let truth = recording.f64s("centre_px");
    let found = SpriteTruth::between(&decoded, &decoded).unwrap();
    assert_eq!(found.path_correlation, Some(1.0), "{found:?}");
    for (place, centre) in found.result_path.iter().zip(truth.chunks_exact(2)) {
        let [x, y] = place.unwrap();
        assert!(
            (x - centre[0]).hypot(y - centre[1]) < 1.0,
            "{place:?} {centre:?}"
        );
    }
}
