//! Initial noise against `parity/official_motion/noise_init.safetensors`, recorded with the method's published
//! code in f32; its README accepts 1e-5.

use kinvert_diffusion::{InitialNoise, NoiseSource};
use kinvert_testkit::{Recording, Tolerance};

use crate::{Latents, largest_difference};

const ACCEPTED: Tolerance = Tolerance::Absolute(1e-5);

#[test]
fn all_strategies_agree_with_the_published_code() {
    let recording = Recording::open("parity/official_motion/noise_init.safetensors");
    let device = Default::default();
    let strategies = [
        ("BlendInit", InitialNoise::Blend, 0.5),
        ("BlendInit_0.3", InitialNoise::Blend, 0.3),
        ("FreqInit", InitialNoise::Frequency, 0.5),
        ("BlendFreqInit", InitialNoise::BlendFrequency, 0.5),
        ("FFTInit", InitialNoise::Fft, 0.5),
    ];
    for size in ["even", "odd"] {
        let noise: Latents = recording.tensor(&format!("{size}.noise"), &device);
        let inverted: Latents = recording.tensor(&format!("{size}.noisy_latent"), &device);
        for (name, strategy, strength) in strategies {
            let start = strategy.compose(noise.clone(), Some(inverted.clone()), strength);
            recording.expect(&format!("{size}.{name}"), start.unwrap(), ACCEPTED);
        }
        let fresh = InitialNoise::None.compose(noise.clone(), None, 0.5);
        assert_eq!(largest_difference(fresh.unwrap(), noise), 0.0);
    }
}

#[test]
fn any_length_and_size_is_taken() {
    let device = Default::default();
    for shape in [
        [2, 4, 1, 4, 4],
        [1, 4, 2, 7, 5],
        [1, 1, 24, 8, 8],
        [1, 4, 33, 10, 18],
    ] {
        let noise: Latents = NoiseSource::new(1).gaussian("noise", 0, shape, &device);
        for strategy in InitialNoise::ALL {
            // Where fresh and inverted noise are the same, mixing their frequencies changes nothing.
            let start = strategy.compose(noise.clone(), Some(noise.clone()), 1.0);
            let change = largest_difference(start.unwrap(), noise.clone());
            assert!(change < 1e-5, "{strategy} {shape:?}: {change}");
        }
    }
}

#[test]
fn bad_settings_are_refused() {
    let latents: Latents = Latents::ones([1, 4, 2, 3, 8], &Default::default());
    for strength in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
        let error = InitialNoise::Blend
            .compose(latents.clone(), Some(latents.clone()), strength)
            .unwrap_err();
        let message = format!("strength of the inverted latents is {strength}, expected 0 to 1");
        assert_eq!(error.to_string(), message);
    }
    let error = InitialNoise::Frequency
        .compose(latents.clone(), Some(latents), 0.5)
        .unwrap_err();
    let message = "latents are 3x8, expected at least 4x4 for initial noise `freq`";
    assert_eq!(error.to_string(), message);
    assert!(error.hint().unwrap().contains("blend"));
}

#[test]
#[should_panic(expected = "initial noise `fft` needs inverted latents")]
fn missing_inverted_latents_are_the_callers_mistake() {
    let noise = Latents::ones([1, 4, 2, 8, 8], &Default::default());
    let _ = InitialNoise::Fft.compose(noise, None, 0.5);
}
