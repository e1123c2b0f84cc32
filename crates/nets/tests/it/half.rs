//! Networks in 16 bits against the recordings of the reference library in f32.
//!
//! Each tolerance is the largest difference, as a part of the largest value, and about twice what was measured; it is
//! that of the format: f16 has 11 significant bits, bf16 has 8.

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{bf16, f16};
use burn_flex::Flex;
use kinvert_nets::clip::CLIPTextModel;
use kinvert_nets::{AutoencoderKL, Error, Hooks, ModelFiles, Precision, VideoUNet, Weights};
use kinvert_testkit::{Recording, fixtures_dir, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

type B = Flex;

/// Largest differences of f16 and bf16.
type Bounds = [f64; 2];

const HALVES: [Precision; 2] = [Precision::F16, Precision::BF16];

fn folder(name: &str) -> ModelFiles {
    ModelFiles::folder(fixtures_dir().join("parity").join(name))
}

/// Runs a network in both formats and compares.
fn check(
    recording: &Recording,
    name: &str,
    bounds: Bounds,
    network: impl Fn(Precision) -> Vec<f32>,
) {
    let expected = recording.f32s(name);
    let largest = expected
        .iter()
        .fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
    for (precision, bound) in HALVES.into_iter().zip(bounds) {
        let found = network(precision);
        assert_eq!(found.len(), expected.len());
        let differences = found.iter().zip(&expected).map(|(x, y)| (x - y).abs());
        let drift = f64::from(differences.fold(0.0, f32::max)) / largest;
        assert!(
            drift < bound,
            "{name} in {precision}: {drift}, at most {bound}"
        );
        // One that computes in f32 by mistake is much closer.
        assert!(
            drift > bound / 50.0,
            "{name} in {precision}: {drift} is too good"
        );
    }
}

#[test]
fn the_denoising_network() {
    let recording = Recording::open("parity/unet3d/io.safetensors");
    let device = Default::default();
    for timestep in [1, 501, 999] {
        let name = format!("sample_t{timestep}");
        check(&recording, &name, [4e-3, 4e-2], |precision| {
            let (_, unet) = VideoUNet::<B>::load(&folder("unet3d"), &device, precision).unwrap();
            assert_eq!(unet.precision(), precision);
            values(unet.forward(
                recording.tensor("latents", &device),
                &[f64::from(timestep)],
                recording.tensor("text", &device),
                Hooks::default(),
            ))
        });
    }
}

#[test]
fn sizes_that_are_odd() {
    let recording = Recording::open("parity/unet3d_odd/io.safetensors");
    let device = Default::default();
    check(&recording, "sample", [4e-3, 4e-2], |precision| {
        let (_, unet) = VideoUNet::<B>::load(&folder("unet3d"), &device, precision).unwrap();
        values(unet.forward(
            recording.tensor("latents", &device),
            &recording.f64s("timesteps"),
            recording.tensor("text", &device),
            Hooks::default(),
        ))
    });
}

#[test]
fn the_text_encoder() {
    for name in ["clip_text", "clip_text_gelu"] {
        let recording = Recording::open(&format!("parity/{name}/io.safetensors"));
        let device = Default::default();
        check(&recording, "last_hidden_state", [4e-3, 3e-2], |precision| {
            let encoder = CLIPTextModel::<B>::load(&folder(name), &device, precision).unwrap();
            let output = encoder.forward(recording.ints("input_ids", &device));
            values(output.last_hidden_state)
        });
    }
}

/// The folder of the small autoencoder with another word on f16.
fn autoencoder(force_upcast: bool) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    let source = fixtures_dir().join("parity/autoencoder_kl");
    let weights = "diffusion_pytorch_model.safetensors";
    std::fs::copy(source.join(weights), target.path().join(weights)).unwrap();
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let stated = "\"force_upcast\": true";
    assert!(config.contains(stated));
    let config = config.replace(stated, &format!("\"force_upcast\": {force_upcast}"));
    std::fs::write(target.path().join("config.json"), config).unwrap();
    target
}

#[test]
fn the_autoencoder() {
    let recording = Recording::open("parity/autoencoder_kl/io.safetensors");
    let device = Default::default();
    let folder = autoencoder(false);
    let files = ModelFiles::folder(folder.path());
    let load = |precision| AutoencoderKL::<B>::load(&files, &device, precision).unwrap();
    check(&recording, "mean", [4e-3, 3e-2], |precision| {
        let vae = load(precision);
        assert_eq!(vae.precision(), precision);
        values(vae.encode(recording.tensor("image", &device)).mean)
    });
    check(&recording, "decode", [4e-3, 3e-2], |precision| {
        values(load(precision).decode(recording.tensor("latents", &device)))
    });
}

#[test]
fn an_autoencoder_that_overflows_f16_stays_in_f32() {
    let folder = autoencoder(true);
    let files = ModelFiles::folder(folder.path());
    for (asked, expected) in [
        (Precision::F16, Precision::F32),
        (Precision::BF16, Precision::BF16),
    ] {
        let vae = AutoencoderKL::<B>::load(&files, &Default::default(), asked).unwrap();
        assert_eq!(vae.precision(), expected);
    }
}

/// One linear layer, and a file that holds its weights.
fn load_linear(weights: &[u8], dtype: Dtype, precision: Precision) -> Result<Vec<f32>, Error> {
    let view = TensorView::new(dtype, vec![2, 1], weights).unwrap();
    let file = safetensors::serialize([("weight", view)], None).unwrap();
    let layer = LinearConfig::new(1, 2)
        .with_bias(false)
        .init::<B>(&Default::default());
    let layer: Linear<B> =
        Weights::from_bytes(file.leak(), "test")?.fill_as(precision, layer, &[])?;
    Ok(values(layer.weight.val()))
}

#[test]
fn weights_are_rounded_once_and_must_be_finite_in_their_format() {
    let f32s = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
    let f16s = |values: [f32; 2]| values.map(|x| f16::from_f32(x).to_le_bytes()).concat();
    let third = 1.0 / 3.0;
    for (bytes, dtype, precision, expected) in [
        (f32s([third, -2.0]), Dtype::F32, Precision::F32, third),
        (
            f32s([third, -2.0]),
            Dtype::F32,
            Precision::F16,
            f16::from_f32(third).to_f32(),
        ),
        (
            f32s([third, -2.0]),
            Dtype::F32,
            Precision::BF16,
            bf16::from_f32(third).to_f32(),
        ),
        (
            f16s([third, -2.0]),
            Dtype::F16,
            Precision::F16,
            f16::from_f32(third).to_f32(),
        ),
        (
            f16s([third, -2.0]),
            Dtype::F16,
            Precision::F32,
            f16::from_f32(third).to_f32(),
        ),
    ] {
        let found = load_linear(&bytes, dtype, precision).unwrap();
        assert_eq!(found, [expected, -2.0], "{dtype:?} as {precision}");
    }
    for (bytes, dtype, precision, expected) in [
        (
            f32s([1.0, 1e5]),
            Dtype::F32,
            Precision::F16,
            "holds 100000 at element 1, which is too large in f16",
        ),
        (
            f16s([f32::INFINITY, 0.0]),
            Dtype::F16,
            Precision::F16,
            "holds inf at element 0",
        ),
        (
            f32s([0.0, f32::NAN]),
            Dtype::F32,
            Precision::BF16,
            "holds NaN at element 1",
        ),
    ] {
        let error = load_linear(&bytes, dtype, precision)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(load_linear(&f32s([1.0, 1e5]), Dtype::F32, Precision::BF16).is_ok());
}
