//! Networks in 16 bits against the recordings of the reference library in f32.
//!
//! Each tolerance is the largest difference, as a part of the largest value, and about twice what was measured; it is
//! that of the format: f16 has 11 significant bits, bf16 has 8.

use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::clip::{CLIPTextModel, CLIPTokenizer};
use kinvert_nets::{AutoencoderKL, Error, Hooks, ModelFiles, Precision, VideoUNet};
use kinvert_testkit::{Recording, Tolerance, fixtures_dir, values};

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
        println!("{name} in {precision}: {drift:.1e} of the largest value");
        assert!(drift < bound, "{name} in {precision}: {drift}, at most {bound}");
        // One that computes in f32 by mistake is much closer.
        assert!(drift > bound / 50.0, "{name} in {precision}: {drift} is too good");
    }
}

#[test]
fn the_denoising_network() {
    let recording = Recording::open("parity/unet3d/io.safetensors");
    let device = Default::default();
    for timestep in [1, 501, 999] {
        let name = format!("sample_t{timestep}");
        check(&recording, &name, [4e-3, 3e-2], |precision| {
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
    check(&recording, "sample", [4e-3, 3e-2], |precision| {
        let (_, unet) = VideoUNet::<B>::load(&folder("unet3d"), &device, precision).unwrap();
        values(unet.forward(
            recording.tensor("latents", &device),
            &recording.f64s("timesteps"),
            recording.tensor("text", &device),
            Hooks::default(),
        ))
    });
}
