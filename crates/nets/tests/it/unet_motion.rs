//! AnimateDiff's U-Net against recordings of the reference library, and its two parts put together.
//!
//! The tolerance of predictions is that of the fixtures' README: 2e-5, where the reference's own float32 noise is
//! 2e-6. Activations are larger, up to 18, and differ by up to 2.1e-5.

use std::path::Path;

use burn::tensor::Tensor;
use burn_flex::Flex;
use kinvert_nets::{
    Error, Hooks, ModelFiles, Precision, SitePart, VideoUNet, VideoUNetConfig, Weights,
};
use kinvert_testkit::{Recording, Tolerance, fixtures_dir};
use serde_json::{Value, json};

use crate::support::{check_several_texts, save, tensors_of};

type B = Flex;

const TOLERANCE: Tolerance = Tolerance::Absolute(2e-5);

const ACTIVATION: Tolerance = Tolerance::Absolute(5e-5);

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn part(name: &str) -> ModelFiles {
    ModelFiles::folder(fixtures_dir().join("unet_motion").join(name))
}

fn load_with(unet: &ModelFiles, adapter: &ModelFiles) -> Result<VideoUNet<B>, Error> {
    VideoUNet::load_with(unet, Some(adapter), &Default::default(), Precision::F32)
        .map(|(_, network)| network)
}

fn load() -> VideoUNet<B> {
    load_with(&part("unet"), &part("motion_adapter")).unwrap()
}

/// A copy of a part in which the configuration is changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> (tempfile::TempDir, ModelFiles) {
    let (folder, from) = (
        tempfile::tempdir().unwrap(),
        fixtures_dir().join("unet_motion").join(name),
    );
    std::fs::copy(from.join(WEIGHTS), folder.path().join(WEIGHTS)).unwrap();
    let config = std::fs::read(from.join("config.json")).unwrap();
    let mut config = serde_json::from_slice(&config).unwrap();
    change(&mut config);
    write_config(folder.path(), &config);
    let files = ModelFiles::folder(folder.path());
    (folder, files)
}

fn write_config(folder: &Path, config: &Value) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn a_clip_with_several_texts_is_as_many_clips() {
    let recording = Recording::open("unet_motion/io.safetensors");
    let device = Default::default();
    let text: Tensor<B, 3> = recording.tensor("text", &device);
    let texts = Tensor::cat(vec![text.clone(), text * 0.5], 0);
    check_several_texts(&load(), recording.tensor("latents", &device), texts);
}

#[test]
fn agrees_with_the_reference_at_every_recorded_block() {
    let recording = Recording::open("unet_motion/io.safetensors");
    let device = Default::default();
    let latents: Tensor<B, 5> = recording.tensor("latents", &device);
    let names = recording.names();
    let mut seen = 0;
    let mut observe = |path: &str, output: Tensor<B, 4>| {
        let name = format!("t501.{path}");
        if names.contains(&name) {
            recording.expect(&name, output, ACTIVATION);
            seen += 1;
        }
    };
    let text = recording.tensor("text", &device);
    let sample = load().forward_observed(latents, &[501.0], text, &mut observe);
    recording.expect("sample_t501", sample, TOLERANCE);
    let recorded = names.iter().filter(|name| name.starts_with("t501."));
    assert_eq!(seen, recorded.count(), "every recorded activation");
}

#[test]
fn agrees_with_the_reference_at_every_recorded_timestep() {
    let recording = Recording::open("unet_motion/io.safetensors");
    let device = Default::default();
    let unet = load();
    for timestep in [0, 1, 999] {
        let sample = unet.forward(
            recording.tensor("latents", &device),
            &[timestep as f64],
            recording.tensor("text", &device),
            Hooks::default(),
        );
        recording.expect(&format!("sample_t{timestep}"), sample, TOLERANCE);
    }
}

#[test]
fn takes_odd_sizes_and_a_timestep_per_clip() {
    let recording = Recording::open("unet_motion/io.safetensors");
    let device = Default::default();
    let sample = load().forward(
        recording.tensor("odd.latents", &device),
        &recording.f64s("odd.timesteps"),
        recording.tensor("odd.text", &device),
        Hooks::default(),
    );
    recording.expect("odd.sample", sample, TOLERANCE);
}

#[test]
fn motion_modules_that_give_nothing_leave_the_network_of_images() {
    let recording = Recording::open("unet_motion/io.safetensors");
    let (folder, adapter) = changed("motion_adapter", |_| {});
    let mut tensors = tensors_of(&part("motion_adapter"), "diffusion_pytorch_model");
    for (name, _, values) in &mut tensors {
        if name.contains(".proj_out.") {
            values.fill(0.0);
        }
    }
    save(&folder.path().join(WEIGHTS), &tensors);
    let device = Default::default();
    let latents: Tensor<B, 4> = recording.tensor("unet2d.latents", &device);
    let unet = load_with(&part("unet"), &adapter).unwrap();
    let sample = unet.forward(
        latents.unsqueeze_dim(2),
        &[501.0],
        recording.tensor("text", &device),
        Hooks::default(),
    );
    let image: Tensor<B, 4> = sample.squeeze_dim(2);
    recording.expect("unet2d.sample_t501", image, TOLERANCE);
}

#[test]
fn positions_that_the_file_lacks_are_computed() {
    let (folder, adapter) = changed("motion_adapter", |_| {});
    let mut tensors = tensors_of(&part("motion_adapter"), "diffusion_pytorch_model");
    tensors.retain(|(name, _, _)| !name.ends_with(".pos_embed.pe"));
    save(&folder.path().join(WEIGHTS), &tensors);
    let recording = Recording::open("unet_motion/io.safetensors");
    let device = Default::default();
    let sample = load_with(&part("unet"), &adapter).unwrap().forward(
        recording.tensor("latents", &device),
        &[999.0],
        recording.tensor("text", &device),
        Hooks::default(),
    );
    recording.expect("sample_t999", sample, TOLERANCE);
}

#[test]
fn a_network_that_was_saved_whole_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let stem = "diffusion_pytorch_model";
    let mut tensors = tensors_of(&part("unet"), stem);
    tensors.extend(tensors_of(&part("motion_adapter"), stem));
    save(&folder.path().join(WEIGHTS), &tensors);
    let block = |name: &str| name.replace("2D", "Motion");
    let mut config: Value = part("unet").json("config.json").unwrap();
    config["_class_name"] = "UNetMotionModel".into();
    for field in ["down_block_types", "up_block_types"] {
        for kind in config[field].as_array_mut().unwrap() {
            *kind = block(kind.as_str().unwrap()).into();
        }
    }
    config["mid_block_type"] = Value::Null;
    config["attention_head_dim"] = Value::Null;
    config["num_attention_heads"] = json!([4, 4, 4, 4]);
    config["motion_num_attention_heads"] = 2.into();
    config["motion_max_seq_length"] = 32.into();
    config["use_motion_mid_block"] = true.into();
    config["temporal_transformer_layers_per_block"] = 1.into();
    config["use_linear_projection"] = true.into(); // the weights say which it is
    write_config(folder.path(), &config);

    let recording = Recording::open("unet_motion/io.safetensors");
    let device = Default::default();
    let files = ModelFiles::folder(folder.path());
    let (_, unet) = VideoUNet::<B>::load(&files, &device, Precision::F32).unwrap();
    let sample = unet.forward(
        recording.tensor("latents", &device),
        &[1.0],
        recording.tensor("text", &device),
        Hooks::default(),
    );
    recording.expect("sample_t1", sample, TOLERANCE);

    let error = load_with(&files, &part("motion_adapter")).unwrap_err();
    assert!(
        error.to_string().contains("takes a motion adapter"),
        "{error}"
    );
}

#[test]
fn published_adapters_make_the_published_networks() {
    for (version, sites) in [(2, 21), (3, 20)] {
        let published = fixtures_dir().join("published");
        let unet = ModelFiles::folder(published.join("stable-diffusion-v1-5/unet"));
        let adapter = format!("animatediff-motion-adapter-v1-5-{version}");
        let adapter = ModelFiles::folder(published.join(adapter));
        let config = VideoUNetConfig::read_with(&unet, Some(&adapter)).unwrap();
        assert_eq!(config.max_frames(), Some(32));
        assert_eq!(config.latent_size(), Some([64, 64]));
        assert_eq!(config.sites().len(), sites);

        let list = published.join(format!("tensors/unet_motion_v1-5-{version}.txt"));
        let list = std::fs::read_to_string(list).unwrap();
        let positions = |site: &kinvert_nets::TemporalSite| {
            format!("{}.pos_embed.pe 1 32 {}", site.name, site.channels)
        };
        for site in config.sites() {
            let line = positions(&site);
            assert!(list.lines().any(|found| found == line), "{line}");
        }
        let recorded = list.lines().filter(|line| line.contains(".pos_embed.pe "));
        assert_eq!(recorded.count(), sites);

        let wide = |site: &&kinvert_nets::TemporalSite| site.channels == 1280;
        let wide: Vec<_> = config.sites().iter().filter(wide).cloned().collect();
        let grids: Vec<_> = wide.iter().map(|site| site.grid([64, 64])[0]).collect();
        let mid = (version == 2).then_some(8);
        let expected = [16, 16, 8, 8]
            .into_iter()
            .chain(mid)
            .chain([8, 8, 8, 16, 16, 16]);
        assert_eq!(grids, expected.collect::<Vec<_>>());
        assert_eq!(wide[0].part, SitePart::Down);
    }
}

#[test]
fn unsupported_values_are_refused_by_field() {
    let refusal = |unet: &ModelFiles, adapter: &ModelFiles| {
        let error = VideoUNetConfig::read_with(unet, Some(adapter)).unwrap_err();
        error.to_string()
    };
    for (field, value) in [
        (
            "down_block_types",
            json!([
                "AttnDownBlock2D",
                "DownBlock2D",
                "DownBlock2D",
                "DownBlock2D"
            ]),
        ),
        ("up_block_types", json!(["UpBlock2D"])),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("attention_head_dim", json!(3)),
        ("attention_head_dim", json!([4, 4])),
        ("num_attention_heads", json!(4)),
        ("norm_num_groups", json!(0)),
        ("layers_per_block", json!(1_u64 << 60)),
        ("block_out_channels", json!([8, 12, 16])),
        ("class_embed_type", json!("timestep")),
        ("flip_sin_to_cos", json!(false)),
        ("transformer_layers_per_block", json!([1, 2, 1, 1])),
        ("resnet_time_scale_shift", json!("scale_shift")),
        ("surprise", json!(1)),
    ] {
        let (_folder, unet) = changed("unet", |config| config[field] = value);
        let message = refusal(&unet, &part("motion_adapter"));
        let adapter_s = ["block_out_channels", "layers_per_block", "norm_num_groups"];
        let name = if adapter_s.contains(&field) {
            field
        } else {
            &format!("`{field}` is ")
        };
        assert!(message.contains(name), "{field}: {message}");
    }
    for (field, value) in [
        ("_class_name", json!("ControlNetModel")),
        ("block_out_channels", json!([8, 12, 16, 24])),
        ("motion_layers_per_block", json!(1)),
        ("motion_mid_block_layers_per_block", json!(2)),
        ("motion_norm_num_groups", json!(2)),
        ("motion_num_attention_heads", json!(5)),
        ("motion_max_seq_length", json!(0)),
        ("motion_max_seq_length", json!(1_u64 << 50)),
        ("motion_cross_attention_dim", json!(768)),
        ("motion_transformer_layers_per_block", json!(2)),
        ("conv_in_channels", json!(9)),
        ("surprise", json!("x")),
    ] {
        let (_folder, adapter) = changed("motion_adapter", |config| config[field] = value);
        let message = refusal(&part("unet"), &adapter);
        assert!(
            message.contains(&format!("`{field}` is ")),
            "{field}: {message}"
        );
    }
}

#[test]
fn parts_in_each_other_s_place_are_refused() {
    let error = VideoUNetConfig::read(&part("unet")).unwrap_err();
    assert!(matches!(error, Error::NoMotionAdapter { .. }), "{error}");
    assert!(error.hint().unwrap().contains("motion-adapter-v1-5-2"));
    let error = VideoUNetConfig::read(&part("motion_adapter")).unwrap_err();
    assert!(error.to_string().contains("MotionAdapter"), "{error}");
    // The tensors of a U-Net under the configuration of an adapter.
    let (folder, adapter) = changed("motion_adapter", |_| {});
    let unet = fixtures_dir().join("unet_motion/unet").join(WEIGHTS);
    std::fs::copy(unet, folder.path().join(WEIGHTS)).unwrap();
    let error = load_with(&part("unet"), &adapter).unwrap_err();
    assert!(error.to_string().contains("conv_in.weight"), "{error}");
    // An adapter for another U-Net than this one is given with.
    let spatial = ModelFiles::folder(fixtures_dir().join("parity/unet3d"));
    let error = load_with(&spatial, &part("motion_adapter")).unwrap_err();
    assert!(
        error.to_string().contains("UNet3DConditionModel"),
        "{error}"
    );
}

#[test]
fn every_missing_tensor_of_either_part_is_listed() {
    let (folder, adapter) = changed("motion_adapter", |_| {});
    let mut tensors = tensors_of(&part("motion_adapter"), "diffusion_pytorch_model");
    let missing = "mid_block.motion_modules.0.proj_in.weight";
    tensors.retain(|(name, _, _)| name != missing);
    save(&folder.path().join(WEIGHTS), &tensors);
    let error = load_with(&part("unet"), &adapter).unwrap_err();
    let Error::Weights { faults, path } = error else {
        panic!("{error}")
    };
    assert_eq!(faults.missing, [missing]);
    assert!(faults.unused.is_empty() && faults.misshapen.is_empty());
    assert!(path.contains(" with "), "{path}");
    let weights = Weights::open(&part("unet"), "diffusion_pytorch_model").unwrap();
    let again = Weights::open(&part("unet"), "diffusion_pytorch_model").unwrap();
    assert!(weights.joined(again).is_err());
}

#[test]
#[should_panic(expected = "33 frames, 32 positions")]
fn more_frames_than_positions_are_a_caller_s_mistake() {
    let device = Default::default();
    let latents = Tensor::<B, 5>::zeros([1, 4, 33, 2, 2], &device);
    let text = Tensor::zeros([1, 2, 24], &device);
    load().forward(latents, &[1.0], text, Hooks::default());
}
