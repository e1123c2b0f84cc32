//! The Inception network of FID against recordings of pytorch-fid and torch-fidelity, and files that do not fit.
//!
//! The weights are not recorded: both sides compute them from the names of the tensors, see `hashed`. Tolerances
//! are those of the fixtures' README, relative to the largest value: the reference's own float32 noise is 3e-7, and
//! what is found here is 4e-7.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;
use std::sync::LazyLock;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::{Error, InceptionResize, InceptionV3, ModelFiles, Weights};
use kinvert_testkit::{Recording, Tolerance, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

type B = Flex;

const TOLERANCE: Tolerance = Tolerance::OfLargest(1e-5);

/// Name, shape and values of a tensor.
type Stored = (String, Vec<usize>, Vec<f32>);

/// Weights of the tensor `key`: splitmix64, seeded with the FNV-1a hash of the key and scaled by kind.
fn hashed(key: &str, shape: &[usize]) -> Vec<f32> {
    let seed = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let fan_in: usize = shape[1..].iter().product();
    let bound = (6.0 / fan_in as f64).sqrt();
    let value = |index: u64| {
        let z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let u = ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24);
        let value = match shape.len() {
            _ if key.ends_with("bn.weight") => 0.75 + 0.5 * u,
            _ if key.ends_with("bn.running_var") => 0.5 + u,
            1 => 0.5 * u - 0.25,
            _ => (2.0 * u - 1.0) * bound,
        };
        value as f32
    };
    let elements: usize = shape.iter().product();
    (1..=elements as u64).map(value).collect()
}

/// A safetensors file of some tensors, opened.
fn weights(tensors: &[Stored]) -> Weights {
    Weights::from_bytes(serialized(tensors).leak(), "weights").unwrap()
}

fn serialized(tensors: &[Stored]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name, view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Every tensor that the network asks for, with its shape: the faults of an empty file, whose shapes come from
/// a second file that has each with the shape of a scalar.
fn keys() -> BTreeMap<String, Vec<usize>> {
    let refusal =
        |weights: Weights| match InceptionV3::<B>::from_weights(weights, &Default::default()) {
            Err(Error::Weights { faults, .. }) => faults,
            other => panic!("{:?}", other.map(|_| "loaded")),
        };
    let missing = refusal(weights(&[])).missing;
    let scalars: Vec<Stored> = missing
        .iter()
        .map(|name| (name.clone(), Vec::new(), vec![0.0]))
        .collect();
    let misshapen = refusal(weights(&scalars)).misshapen;
    assert_eq!(misshapen.len(), missing.len());
    misshapen
        .into_iter()
        .map(|(name, _, expected)| (name, expected))
        .collect()
}

fn load(extra: &[Stored]) -> Result<InceptionV3<B>, Error> {
    let mut tensors: Vec<Stored> = keys()
        .into_iter()
        .map(|(name, shape)| {
            let values = hashed(&name, &shape);
            (name, shape, values)
        })
        .collect();
    tensors.extend_from_slice(extra);
    InceptionV3::from_weights(weights(&tensors), &Default::default())
}

fn zeros(name: &str, shape: &[usize]) -> Stored {
    let values = vec![0.0; shape.iter().product()];
    (name.into(), shape.to_vec(), values)
}

/// The network with hashed weights, from a file as it is published: with its head.
static NETWORK: LazyLock<InceptionV3<B>> = LazyLock::new(|| {
    let head = [zeros("fc.weight", &[1008, 2048]), zeros("fc.bias", &[1008])];
    load(&head).unwrap()
});

/// The recorded images, `[2, 3, height, width]` from 0 to 1.
fn images(recording: &Recording) -> Tensor<B, 4> {
    let images: Tensor<B, 4> = recording.tensor("images", &Default::default());
    images.permute([0, 3, 1, 2]) / 255.0
}

#[test]
fn agrees_with_pytorch_fid() {
    let recording = Recording::open("parity/inception/io.safetensors");
    let names = recording.names();
    let mut compared = 0;
    let features = NETWORK.features_observed(images(&recording), &mut |layer, output| {
        let name = format!("pytorch_fid.{layer}.mean");
        if names.contains(&name) {
            let mean = output.clone().mean_dim(3).mean_dim(2).flatten::<2>(1, 3);
            recording.expect(&name, mean, TOLERANCE);
            compared += 1;
        }
    });
    recording.expect("pytorch_fid.features", features, TOLERANCE);
    let recorded = names.iter().filter(|name| name.ends_with(".mean")).count();
    assert_eq!(compared, recorded, "every recorded layer was compared");
}

#[test]
fn agrees_with_torch_fidelity() {
    let recording = Recording::open("parity/inception/io.safetensors");
    let network = NETWORK.clone().with_resize(InceptionResize::Tensorflow);
    assert_eq!(network.resize(), InceptionResize::Tensorflow);
    let features = network.features(images(&recording));
    recording.expect("torch_fidelity.features", features, TOLERANCE);
    // The tolerance tells the two apart.
    let [one, other] = ["torch_fidelity", "pytorch_fid"]
        .map(|library| recording.f32s(&format!("{library}.features")));
    let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) > 0.1);
}

#[test]
fn an_image_of_one_pixel_and_a_black_one_have_features() {
    for (level, size) in [(0.3, [1, 1]), (0.0, [3, 700])] {
        let [height, width] = size;
        let image = Tensor::<B, 4>::full([1, 3, height, width], level, &Default::default());
        let features = NETWORK.features(image);
        assert_eq!(features.dims(), [1, InceptionV3::<B>::FEATURES]);
        let features = values(features);
        assert!(
            features
                .iter()
                .all(|value| value.is_finite() && *value >= 0.0)
        );
        assert!(features.iter().any(|value| *value > 0.0));
    }
}

#[test]
#[should_panic(expected = "images of the shape [1, 4, 8, 8], expected [batch, 3, height, width]")]
fn images_of_four_colours_are_refused() {
    NETWORK.features(Tensor::zeros([1, 4, 8, 8], &Default::default()));
}

#[test]
fn the_weights_are_those_of_the_published_file() {
    let keys = keys();
    // 94 convolutions, each with four vectors of its norm, as the published file has beside `fc`.
    assert_eq!(keys.len(), 94 * 5);
    let parameters: usize = keys
        .values()
        .map(|shape| shape.iter().product::<usize>())
        .sum();
    assert_eq!(parameters, 21_751_136 + 17_216 * 4);
    for (name, shape) in [
        ("Conv2d_1a_3x3.conv.weight", &[32, 3, 3, 3][..]),
        ("Mixed_5b.branch5x5_2.bn.running_var", &[64]),
        ("Mixed_6c.branch7x7dbl_2.conv.weight", &[160, 160, 7, 1]),
        ("Mixed_7c.branch3x3dbl_3a.conv.weight", &[384, 384, 1, 3]),
    ] {
        assert_eq!(keys.get(name).map(Vec::as_slice), Some(shape), "{name}");
    }
}

#[test]
fn loaded_weights_are_frozen() {
    struct Tracked(usize);
    impl ModuleVisitor<B> for Tracked {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 += usize::from(param.is_require_grad());
        }
    }
    let mut tracked = Tracked(0);
    NETWORK.visit(&mut tracked);
    assert_eq!(tracked.0, 0);
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let tensors = [
        zeros("Mixed_7a.branch3x3_1.conv.weight", &[192, 768, 3, 3]),
        zeros("Mixed_7a.branch3x3_1.bn.num_batches_tracked", &[]),
        (
            "Mixed_7a.branch3x3_1.bn.bias".into(),
            vec![192],
            vec![f32::NAN; 192],
        ),
        zeros("AuxLogits.fc.weight", &[1000, 768]),
        zeros("fc.weight", &[1000, 2048]),
        zeros("fc.bias", &[1000]),
    ];
    let found = InceptionV3::<B>::from_weights(weights(&tensors), &Default::default());
    let Err(Error::Weights { faults, .. }) = found else {
        panic!("weights of another network were accepted")
    };
    // Torchvision's network, which was trained on other classes, shows by its heads.
    assert_eq!(
        faults.unused,
        ["AuxLogits.fc.weight", "fc.bias", "fc.weight"]
    );
    let name = "Mixed_7a.branch3x3_1.conv.weight".to_string();
    let misshapen = (name, vec![192, 768, 3, 3], vec![192, 768, 1, 1]);
    assert_eq!(faults.misshapen, [misshapen]);
    assert_eq!(faults.unusable.len(), 1);
    assert_eq!(faults.missing.len(), 94 * 5 - 2);
}

#[test]
fn a_head_is_not_needed() {
    assert!(load(&[]).is_ok());
}

/// The message of the cause for which a file is refused.
fn refusal(path: &Path) -> String {
    let error = InceptionV3::<B>::load(path, &Default::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("Inception-v3 network of FID"));
    assert!(error.hint().unwrap().contains("pytorch-fid"));
    error.source().unwrap().to_string()
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, contents: &[u8]| {
        std::fs::write(path(name), contents).unwrap();
        path(name)
    };
    assert!(refusal(&path("absent.pth")).contains("absent.pth: no such file"));
    assert!(refusal(folder.path()).contains("cannot be read"));
    assert!(refusal(&write("page.pth", b"<!DOCTYPE html>")).contains("begins with `<!DOCTYP`"));
    assert!(refusal(&write("empty.pth", b"")).contains("begins with ``"));
    let reason = refusal(&write("page.safetensors", b"<!DOCTYPE html>"));
    assert!(reason.contains("not a valid safetensors file"), "{reason}");
    let other = serialized(&[zeros("unet.weight", &[2])]);
    let reason = refusal(&write("other.safetensors", &other));
    assert!(reason.contains("470 missing"), "{reason}");
    assert!(reason.contains("1 not expected (unet.weight)"), "{reason}");
}

#[test]
fn the_hash_of_a_file_is_that_of_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    std::fs::write(&path, b"abc").unwrap();
    let (files, name) = ModelFiles::around(&path);
    // The example of FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(files.file_sha256(&name).unwrap(), expected);
}
