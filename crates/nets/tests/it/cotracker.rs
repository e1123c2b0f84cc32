//! CoTracker3 against a recording of the published code at reduced widths, and against files that do not fit.
//!
//! The fixture's README accepts 2e-3 px for tracks and 2e-4 for visibility and confidence, and gives the
//! reference's own float32 noise as 5e-5 px and 1e-5. On the CPU backend the largest drift seen is 5.4e-5 px, 2.4e-6
//! for visibility and 1.1e-5 for confidence, and up to 1e-5 of the largest value in the first iteration.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::cotracker::{
    self, CoTracker3, CoTracker3Config, FeaturePyramid, Prediction, Query,
};
use kinvert_nets::{Error, ModelFiles, Weights};
use kinvert_testkit::{Recording, Tolerance, fixtures_dir, values};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

type B = Flex;

const PIXELS: Tolerance = Tolerance::Absolute(2e-3);
const PROBABILITY: Tolerance = Tolerance::Absolute(2e-4);

fn fixture() -> ModelFiles {
    ModelFiles::folder(fixtures_dir().join("parity/cotracker"))
}

/// The fixture has 4 heads, which its shapes do not tell.
fn load_reduced() -> CoTracker3<B> {
    let weights = Weights::open(&fixture(), "model").unwrap();
    let config = CoTracker3Config {
        num_heads: 4,
        ..CoTracker3Config::of_weights(&weights, "model").unwrap()
    };
    config.load(weights, "model", &Default::default()).unwrap()
}

fn recording() -> Recording {
    Recording::open("parity/cotracker/io.safetensors")
}

/// The first frames of the clip, `[frames, 3, 96, 128]` in 0..255.
fn video(recording: &Recording, frames: usize) -> Tensor<B, 4> {
    let video: Tensor<B, 5> = recording.tensor("video_u8", &Default::default());
    video.squeeze_dim::<4>(0).narrow(0, 0, frames)
}

fn queries(recording: &Recording, name: &str) -> Vec<Query> {
    let rows = recording.f32s(name);
    let (rows, _) = rows.as_chunks();
    let query = |&[frame, x, y]: &[f32; 3]| Query {
        frame: frame as usize,
        place: [x, y],
    };
    rows.iter().map(query).collect()
}

fn track(
    network: &CoTracker3<B>,
    pyramid: &FeaturePyramid<B>,
    queries: &[Query],
    iterations: usize,
) -> Prediction<B> {
    finished(network.track(pyramid, queries, iterations, &mut |_| {
        ControlFlow::Continue(())
    }))
}

fn finished<T>(work: ControlFlow<(), T>) -> T {
    match work {
        ControlFlow::Continue(result) => result,
        ControlFlow::Break(()) => panic!("nobody stopped it"),
    }
}

/// Compares a prediction, whose points come first, with a recorded one, whose frames do.
fn expect_prediction(recording: &Recording, prediction: Prediction<B>, prefix: &str, suffix: &str) {
    let name = |what: &str| format!("{prefix}{what}{suffix}");
    let places = prediction.places.swap_dims(0, 1).unsqueeze::<4>();
    recording.expect(&name("tracks"), places, PIXELS);
    let by_frame = |x: Tensor<B, 2>| x.swap_dims(0, 1).unsqueeze::<3>();
    let visibility = by_frame(prediction.visibility);
    recording.expect(&name("visibility"), visibility, PROBABILITY);
    let confidence = by_frame(prediction.confidence);
    recording.expect(&name("confidence"), confidence, PROBABILITY);
}

/// Intermediate values are up to 1 (features, before they are scaled: 20), and agree to a few roundings.
#[test]
fn agrees_with_the_reference_from_the_first_layer_to_the_last_iteration() {
    let recording = recording();
    let network = load_reduced();
    let video = video(&recording, 8);
    let queries = queries(&recording, "queries");

    let first = video.clone().narrow(0, 0, 1) / 127.5 - 1.0;
    let features = network.fnet().forward(first);
    recording.expect("fnet_frame0", features, Tolerance::OfLargest(1e-5));

    let pyramid = network.pyramid(network.encode(video));
    let estimate = network.start(&pyramid, &queries);
    let level0 = network
        .correlation_embedding(&pyramid, 0, &queries, estimate.cells.clone())
        .swap_dims(0, 1)
        .reshape([8 * 7, 8]);
    recording.expect(
        "corr_mlp_first_iteration_level0",
        level0,
        Tolerance::OfLargest(1e-4),
    );
    let input = network.update_input(&pyramid, &queries, &estimate);
    recording.expect(
        "transformer_input_first_iteration",
        input.clone().unsqueeze::<4>(),
        Tolerance::OfLargest(1e-4),
    );
    recording.expect(
        "transformer_output_first_iteration",
        finished(network.update(input, &mut |_| ControlFlow::Continue(()))).unsqueeze::<4>(),
        Tolerance::OfLargest(1e-4),
    );

    for (iterations, suffix) in [(1, "_iter1"), (2, "_iter2"), (3, "_iter3"), (4, "")] {
        let prediction = track(&network, &pyramid, &queries, iterations);
        expect_prediction(&recording, prediction, "", suffix);
    }
}

#[test]
fn a_shorter_clip_stretches_the_time_embedding_as_the_reference_does() {
    let recording = recording();
    let network = load_reduced();
    let pyramid = network.pyramid(network.encode(video(&recording, 5)));
    let queries = queries(&recording, "t5.queries");
    expect_prediction(
        &recording,
        track(&network, &pyramid, &queries, 4),
        "t5.",
        "",
    );
}

#[test]
fn frames_are_encoded_alone_or_together_alike() {
    let recording = recording();
    let network = load_reduced();
    let video = video(&recording, 3);
    let together = values(network.encode(video.clone()));
    let alone: Vec<f32> = video
        .split(1, 0)
        .into_iter()
        .flat_map(|frame| values(network.encode(frame)))
        .collect();
    kinvert_testkit::assert_close("features", &alone, &together, Tolerance::Absolute(1e-6));
}

/// 700 points take several steps of every kind of work. Repeating a point changes how much it weighs among
/// all, but two copies of it are the same point: they must agree wherever the borders between steps lie.
#[test]
fn points_that_are_handled_in_several_steps_agree() {
    let recording = recording();
    let network = load_reduced();
    let pyramid = network.pyramid(network.encode(video(&recording, 8)));
    let queries: Vec<Query> = queries(&recording, "queries")
        .into_iter()
        .cycle()
        .take(700)
        .collect();
    let mut told = Vec::new();
    let tracked = network.track(&pyramid, &queries, 1, &mut |done| {
        told.push(done);
        ControlFlow::Continue(())
    });
    let prediction = finished(tracked);
    let steps = network.steps(queries.len(), 8, 1);
    assert!(steps > 10, "{steps} steps");
    assert!(told.into_iter().eq(1..=steps));
    let places = values(prediction.places);
    let (first, rest) = places.split_at(7 * 8 * 2);
    for copy in rest.chunks(first.len()) {
        kinvert_testkit::assert_close("copy", copy, first, Tolerance::Absolute(1e-4));
    }
}

#[test]
fn tracking_stops_when_asked_to() {
    let recording = recording();
    let network = load_reduced();
    let pyramid = network.pyramid(network.encode(video(&recording, 2)));
    let queries = [Query {
        frame: 0,
        place: [20.0, 30.0],
    }];
    let mut told = 0;
    let tracked = network.track(&pyramid, &queries, 4, &mut |_| {
        told += 1;
        match told {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(tracked.is_break());
    assert_eq!(told, 3);
}

#[test]
fn one_frame_and_a_point_outside_of_it_are_met() {
    let recording = recording();
    let network = load_reduced();
    let pyramid = network.pyramid(network.encode(video(&recording, 1)));
    let queries = [Query {
        frame: 0,
        place: [-1e6, 1e9],
    }];
    let prediction = track(&network, &pyramid, &queries, 2);
    assert_eq!(prediction.places.dims(), [1, 1, 2]);
    assert!(
        values(prediction.places)
            .iter()
            .all(|value| value.is_finite())
    );
}

#[test]
fn resizing_keeps_corners_and_is_linear_between_them() {
    let image = Tensor::<B, 4>::from_floats([[[[0.0, 30.0], [60.0, 90.0]]]], &Default::default());
    let found = values(cotracker::resize(image, [2, 4]));
    let expected = [0.0, 10.0, 20.0, 30.0, 60.0, 70.0, 80.0, 90.0];
    kinvert_testkit::assert_close("resized", &found, &expected, Tolerance::Absolute(1e-5));
}

/// Tensors of the fixture, to be damaged: dtype, shape and bytes by name.
fn tensors() -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(fixtures_dir().join("parity/cotracker/model.safetensors")).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    parsed
        .iter()
        .map(|(name, view)| (name.to_owned(), stored(view)))
        .collect()
}

fn load(tensors: &BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>) -> Result<CoTracker3<B>, Error> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tracker.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    CoTracker3::load(&path, &Default::default())
}

/// What is wrong with a file, without the remark that it cannot be loaded.
fn fault(tensors: &BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>) -> Error {
    let error = load(tensors).unwrap_err();
    assert!(error.hint().unwrap().contains("scaled_offline.pth"));
    match error {
        Error::CoTracker { source } => *source,
        other => panic!("{other}"),
    }
}

fn zeros(shape: &[usize]) -> (Dtype, Vec<usize>, Vec<u8>) {
    let bytes = 4 * shape.iter().product::<usize>();
    (Dtype::F32, shape.to_vec(), vec![0; bytes])
}

#[test]
fn sizes_are_read_off_the_weights_with_and_without_a_prefix() {
    let expected = CoTracker3Config {
        latent_dim: 32,
        corr_hidden_dim: 24,
        corr_dim: 8,
        hidden_size: 32,
        mlp_dim: 128,
        num_virtual_tracks: 5,
        window_len: 8,
        ..CoTracker3Config::default()
    };
    let mut tensors = tensors();
    assert_eq!(*load(&tensors).unwrap().config(), expected);
    tensors = tensors
        .into_iter()
        .map(|(name, tensor)| (format!("model.{name}"), tensor))
        .collect();
    assert_eq!(*load(&tensors).unwrap().config(), expected);
}

#[test]
fn the_published_sizes_are_the_default() {
    let config = CoTracker3Config::default();
    config.check("default").unwrap();
    let network: CoTracker3<B> = config.init(&Default::default());
    // The parameters, counted by hand from the published constructors, and a time embedding of 60 x 1110.
    assert_eq!(
        burn::module::Module::num_params(&network),
        25_385_700 + 60 * 1110
    );
}

#[test]
fn every_fault_of_the_weights_is_listed() {
    let mut tensors = tensors();
    tensors.remove("fnet.layer2.0.downsample.0.weight");
    tensors.insert("fnet.norm3.weight".into(), zeros(&[32]));
    tensors.insert("corr_mlp.fc1.bias".into(), zeros(&[25]));
    let bias = tensors.get_mut("updateformer.flow_head.bias").unwrap();
    bias.2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = fault(&tensors);
    let Error::Weights { faults, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(faults.missing, ["fnet.layer2.0.downsample.0.weight"]);
    assert_eq!(faults.unused, ["fnet.norm3.weight"]);
    assert_eq!(faults.misshapen[0].0, "corr_mlp.fc1.bias");
    assert_eq!(faults.unusable[0].0, "updateformer.flow_head.bias");
}

#[test]
fn weights_of_something_else_lack_every_tensor() {
    let tensors = BTreeMap::from([("weight".to_owned(), zeros(&[2, 2]))]);
    let error = fault(&tensors);
    let Error::Weights { faults, .. } = &error else {
        panic!("{error}");
    };
    assert!(faults.missing.len() > 100);
    assert_eq!(faults.unused, ["weight"]);
}

#[test]
fn sizes_of_no_such_network_are_refused_by_name() {
    let cases: [(&str, &[usize], &str); 6] = [
        (
            "corr_mlp.fc1.weight",
            &[24, 2400],
            "of corr_mlp.fc1.weight` is 2400,",
        ),
        (
            "updateformer.input_transform.weight",
            &[32, 119],
            "input_transform",
        ),
        (
            "updateformer.input_transform.weight",
            &[33, 118],
            "`hidden_size`",
        ),
        ("fnet.conv3.weight", &[30, 64, 1, 1], "`latent_dim`"),
        ("time_emb", &[1, 100_000, 1], "`window_len`"),
        (
            "updateformer.virual_tracks",
            &[1, 0, 1, 32],
            "`num_virtual_tracks`",
        ),
    ];
    for (name, shape, expected) in cases {
        let mut tensors = tensors();
        tensors.insert(name.into(), zeros(shape));
        let error = fault(&tensors);
        assert!(matches!(error, Error::Config { .. }), "{name}: {error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(
            error.to_string().contains("tracker.safetensors: `"),
            "{error}"
        );
    }
}
