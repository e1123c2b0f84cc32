//! The 3-D U-Net against recordings of the reference library.
//!
//! Tolerances are those of the fixtures' README: 2e-5 for the prediction and 1e-4 for activations, where the
//! reference's own float32 noise is 2e-6 and 1e-5.

use std::cell::RefCell;

use burn::tensor::{Tensor, f16};
use burn_flex::Flex;
use kinvert_nets::{Hooks, LinearAdapter, LinearLayer, ModelFiles, Precision, VideoUNet, Weights};
use kinvert_testkit::{Recording, Tolerance, first_sprites_model, fixtures_dir};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::support::check_several_texts;

type B = Flex;

const PREDICTION: Tolerance = Tolerance::Absolute(2e-5);
const ACTIVATION: Tolerance = Tolerance::Absolute(1e-4);

fn load() -> VideoUNet<B> {
    let files = ModelFiles::folder(fixtures_dir().join("parity/unet3d"));
    VideoUNet::load(&files, &Default::default(), Precision::F32)
        .unwrap()
        .1
}

#[test]
fn agrees_with_the_reference_at_every_block() {
    let recording = Recording::open("parity/unet3d/io.safetensors");
    let device = Default::default();
    let unet = load();
    let latents: Tensor<B, 5> = recording.tensor("latents", &device);
    let text: Tensor<B, 3> = recording.tensor("text", &device);
    let names = recording.names();
    let mut seen = Vec::new();
    let mut observe = |path: &str, output: Tensor<B, 4>| {
        let name = format!("t501.{path}");
        if names.contains(&name) {
            recording.expect(&name, output, ACTIVATION);
            seen.push(name);
        }
    };
    let sample = unet.forward_observed(latents, &[501.0], text, &mut observe);
    recording.expect("sample_t501", sample, PREDICTION);
    let recorded = names
        .iter()
        .filter(|n| n.starts_with("t501.") && *n != "t501.time_embedding")
        .count();
    assert_eq!(
        seen.len(),
        recorded,
        "every recorded activation was compared"
    );
}

#[test]
fn agrees_with_the_reference_at_every_recorded_timestep() {
    let recording = Recording::open("parity/unet3d/io.safetensors");
    let device = Default::default();
    let unet = load();
    for timestep in [0, 1, 999] {
        let sample = unet.forward(
            recording.tensor("latents", &device),
            &[timestep as f64],
            recording.tensor("text", &device),
            Hooks::default(),
        );
        recording.expect(&format!("sample_t{timestep}"), sample, PREDICTION);
    }
}

#[test]
fn runs_the_temporal_layers_on_a_single_frame() {
    let recording = Recording::open("parity/unet3d/io.safetensors");
    let device = Default::default();
    let latents = recording.tensor("latents_1frame", &device);
    let sample = load().forward(
        latents,
        &[501.0],
        recording.tensor("text", &device),
        Hooks::default(),
    );
    recording.expect("sample_1frame_t501", sample, PREDICTION);
}

#[test]
fn takes_odd_sizes_and_a_timestep_per_clip() {
    let recording = Recording::open("parity/unet3d_odd/io.safetensors");
    let device = Default::default();
    let timesteps: Vec<f64> = recording.f64s("timesteps");
    let sample = load().forward(
        recording.tensor("latents", &device),
        &timesteps,
        recording.tensor("text", &device),
        Hooks::default(),
    );
    recording.expect("sample", sample, PREDICTION);
}

#[test]
fn a_clip_with_several_texts_is_as_many_clips() {
    let recording = Recording::open("parity/unet3d_odd/io.safetensors");
    let device = Default::default();
    let latents = recording.tensor("latents", &device);
    check_several_texts(&load(), latents, recording.tensor("text", &device));
}

#[test]
#[should_panic(expected = "3 rows of text states for a batch of 2")]
fn several_clips_have_a_text_each() {
    let recording = Recording::open("parity/unet3d_odd/io.safetensors");
    let device = Default::default();
    let text: Tensor<B, 3> = recording.tensor("text", &device);
    let texts = Tensor::cat(vec![text.clone(), text.narrow(0, 0, 1)], 0);
    let latents = recording.tensor("latents", &device);
    load().forward(latents, &[501.0], texts, Hooks::default());
}

#[test]
fn sprites_unet_agrees_with_the_reference() {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let device = Default::default();
    let files = ModelFiles::folder(first_sprites_model()).part("unet");
    let (_, unet) = VideoUNet::<B>::load(&files, &device, Precision::F32).unwrap();
    for timestep in [0, 301, 999] {
        let input = recording.tensor(&format!("unet_in_{timestep}"), &device);
        let sample = unet.forward(
            input,
            &[timestep as f64],
            recording.tensor("text_caption", &device),
            Hooks::default(),
        );
        recording.expect(
            &format!("unet_out_{timestep}"),
            sample,
            Tolerance::OfLargest(1e-4),
        );
    }
}

#[test]
fn every_missing_extra_and_misshapen_tensor_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let weights = fixtures_dir().join("parity/unet3d/diffusion_pytorch_model.safetensors");
    std::fs::copy(
        weights,
        folder.path().join("diffusion_pytorch_model.safetensors"),
    )
    .unwrap();
    let text = std::fs::read_to_string(fixtures_dir().join("parity/unet3d/config.json")).unwrap();
    let text = text.replace("\"cross_attention_dim\": 32", "\"cross_attention_dim\": 48");
    let text = text.replace("\"layers_per_block\": 2", "\"layers_per_block\": 1");
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    let error = VideoUNet::<B>::load(
        &ModelFiles::folder(folder.path()),
        &Default::default(),
        Precision::F32,
    )
    .unwrap_err();
    let kinvert_nets::Error::Weights { faults, .. } = error else {
        panic!("{error}")
    };
    assert!(
        faults
            .unused
            .contains(&"down_blocks.0.resnets.1.conv1.weight".to_string()),
        "{faults}"
    );
    let to_k = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight".to_string();
    assert!(
        faults.misshapen.contains(&(to_k, vec![8, 32], vec![8, 48])),
        "{faults}"
    );
    assert!(faults.missing.is_empty(), "{faults}");
}

#[test]
fn names_of_all_weights_are_the_published_ones() {
    let files = ModelFiles::folder(fixtures_dir().join("parity/unet3d"));
    let weights = Weights::open(&files, "diffusion_pytorch_model").unwrap();
    assert_eq!(weights.shape("conv_in.weight"), Some(&[8, 4, 3, 3][..]));
    load(); // `fill` refuses both missing and unused names
}

/// Says who asked, and lets the layer give what it gives.
struct Roll(RefCell<Vec<LinearLayer>>);

impl LinearAdapter<B> for Roll {
    fn adapt(&self, path: &str, input: Tensor<B, 3>, output: Tensor<B, 3>) -> Tensor<B, 3> {
        self.0.borrow_mut().push(LinearLayer {
            path: path.into(),
            in_channels: input.dims()[2],
            out_channels: output.dims()[2],
        });
        output
    }
}

#[test]
fn spatial_linear_layers_are_those_of_the_checkpoint_and_of_a_forward_pass() {
    let unet = load();
    let listed = unet.spatial_linears();

    let weights = Recording::open("parity/unet3d/diffusion_pytorch_model.safetensors");
    let names = weights.names().into_iter();
    let stored = names.filter_map(|name| {
        let path = name.strip_suffix(".weight")?;
        let shape = weights.shape(&name);
        let is_spatial = path.contains(".attentions.") && shape.len() == 2;
        is_spatial.then(|| LinearLayer {
            path: path.into(),
            in_channels: shape[1],
            out_channels: shape[0],
        })
    });
    let mut sorted = listed.clone();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(sorted, stored.collect::<Vec<_>>());
    assert_eq!(listed.len(), 192);

    let recording = Recording::open("parity/unet3d/io.safetensors");
    let device = Default::default();
    let roll = Roll(RefCell::default());
    let hooks = Hooks {
        temporal: None,
        spatial: Some(&roll),
    };
    let sample = unet.forward(
        recording.tensor("latents", &device),
        &[501.0],
        recording.tensor("text", &device),
        hooks,
    );
    recording.expect("sample_t501", sample, PREDICTION);
    assert_eq!(roll.0.into_inner(), listed);
}

/// The small network with every other tensor stored in f16.
fn with_mixed_formats(folder: &std::path::Path) {
    let source = fixtures_dir().join("parity/unet3d");
    std::fs::copy(source.join("config.json"), folder.join("config.json")).unwrap();
    let name = "diffusion_pytorch_model.safetensors";
    let bytes = std::fs::read(source.join(name)).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let halved: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = stored
        .iter()
        .enumerate()
        .map(|(index, (name, view))| {
            let (shape, data) = (view.shape().to_vec(), view.data());
            if index % 2 == 0 {
                return (name.to_string(), Dtype::F32, shape, data.to_vec());
            }
            let values = data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
            let halves = values.flat_map(|value| f16::from_f32(value).to_le_bytes());
            (name.to_string(), Dtype::F16, shape, halves.collect())
        })
        .collect();
    let views = halved.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, &folder.join(name)).unwrap();
}

#[test]
fn a_file_may_hold_tensors_of_several_formats() {
    let folder = tempfile::tempdir().unwrap();
    with_mixed_formats(folder.path());
    let files = ModelFiles::folder(folder.path());
    let device = Default::default();
    let recording = Recording::open("parity/unet3d/io.safetensors");
    for precision in [Precision::F32, Precision::BF16] {
        let (_, unet) = VideoUNet::<B>::load(&files, &device, precision).unwrap();
        assert_eq!(unet.precision(), precision);
        let sample = unet.forward(
            recording.tensor("latents", &device),
            &[501.0],
            recording.tensor("text", &device),
            Hooks::default(),
        );
        // f16 has 11 bits and bf16 8: errors of half a unit in the last place add up over some hundred layers.
        let drift = match precision {
            Precision::F32 => 5e-3,
            _ => 5e-2,
        };
        recording.expect("sample_t501", sample, Tolerance::RelativeL2(drift));
    }
}
