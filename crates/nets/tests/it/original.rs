//! Checkpoints of other programs: every tensor under the name that the reference library gives it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use kinvert_nets::unet_motion::{MotionAdapterConfig, PerLevel};
use kinvert_nets::{Error, Hooks, ModelFiles, Precision, VideoUNet, Weights};
use kinvert_testkit::{fixtures_dir, values};
use serde_json::json;

use crate::support::{NamedTensor, save, tensors_of};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// Original and published names as recorded; no published name for what is not read.
fn recorded(list: &str) -> Vec<(String, Option<String>)> {
    let path = fixtures_dir().join(format!("published/original_keys/{list}.txt"));
    let pair = |line: &str| {
        let mut names = line.split(' ').map(String::from);
        (names.next().unwrap(), names.next())
    };
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(pair).collect()
}

/// A tensor for every name, each with another value.
fn numbered(names: impl Iterator<Item = String>, first: usize) -> Vec<NamedTensor> {
    let tensor = |(index, name)| (name, vec![1], vec![(first + index) as f32]);
    names.enumerate().map(tensor).collect()
}

fn read(files: &ModelFiles, stem: &str) -> BTreeMap<String, f32> {
    let tensors = tensors_of(files, stem).into_iter();
    tensors.map(|(name, _, values)| (name, values[0])).collect()
}

/// What recorded names come to, if the tensors are numbered in their order.
fn expected(pairs: &[(String, Option<String>)], first: usize) -> BTreeMap<String, f32> {
    let number = |(index, (_, name)): (usize, &(String, Option<String>))| {
        Some((name.clone()?, (first + index) as f32))
    };
    pairs.iter().enumerate().filter_map(number).collect()
}

const PARTS: [(&str, &str, &str); 3] = [
    ("unet", "sd15_unet", "diffusion_pytorch_model"),
    ("vae", "sd15_vae", "diffusion_pytorch_model"),
    ("text_encoder", "sd15_text_encoder", "model"),
];

/// A checkpoint of Stable Diffusion 1.5 with the recorded names.
fn stable_diffusion() -> Vec<NamedTensor> {
    let lists = PARTS.iter().enumerate();
    let tensors = lists.flat_map(|(index, (_, list, _))| {
        numbered(
            recorded(list).into_iter().map(|(name, _)| name),
            1000 * index,
        )
    });
    tensors.collect()
}

#[test]
fn every_tensor_of_stable_diffusion_gets_its_published_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut tensors = stable_diffusion();
    let unread = [
        "alphas_cumprod",
        "betas",
        "posterior_mean_coef1",
        "model_ema.decay",
        "model_ema.diffusion_modelinput_blocks00weight",
        "first_stage_model.loss.logvar",
    ];
    tensors.extend(numbered(unread.into_iter().map(String::from), 5000));
    save(&path, &tensors);
    let files = ModelFiles::at(&path);
    for (index, (part, list, stem)) in PARTS.into_iter().enumerate() {
        let pairs = recorded(list);
        let found = read(&files.part(part), stem);
        assert_eq!(found, expected(&pairs, 1000 * index), "{part}");
    }
}

#[test]
fn every_tensor_of_animatediff_gets_its_published_name() {
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["", "module."] {
        for list in ["mm_sd_v15_v2", "v3_sd15_mm"] {
            let path = folder.path().join(format!("{list}{prefix}safetensors"));
            let path = path.with_extension("safetensors");
            let pairs = recorded(list);
            let names = pairs.iter().map(|(name, _)| format!("{prefix}{name}"));
            save(&path, &numbered(names, 0));
            let found = read(&ModelFiles::original(&path), "diffusion_pytorch_model");
            assert_eq!(found, expected(&pairs, 0), "{list}");
        }
    }
}

#[test]
fn the_folder_that_a_file_stands_for_is_stable_diffusion_s() {
    let files = ModelFiles::original("x.safetensors");
    let published = ModelFiles::folder(fixtures_dir().join("published/stable-diffusion-v1-5"));
    for (part, name) in [
        ("unet", "config.json"),
        ("vae", "config.json"),
        ("text_encoder", "config.json"),
        ("scheduler", "scheduler_config.json"),
    ] {
        let (ours, theirs) = (files.part(part), published.part(part));
        assert!(ours.contains(name), "{part}");
        let json = |files: &ModelFiles| files.json::<serde_json::Value>(name).unwrap();
        assert_eq!(json(&ours), json(&theirs), "{part}");
    }
    assert!(!files.contains("model_index.json"));
    assert_eq!(
        files.part("vae").label("config.json"),
        "x.safetensors:vae/config.json"
    );
    let error = files.part("tokenizer").read("vocab.json").unwrap_err();
    assert!(
        error.to_string().contains("tokenizer/vocab.json"),
        "{error}"
    );
}

#[test]
fn what_motion_modules_are_is_seen_in_their_tensors() {
    let folder = tempfile::tempdir().unwrap();
    for (list, in_mid_block) in [("mm_sd_v15_v2", true), ("v3_sd15_mm", false)] {
        let path = folder.path().join(format!("{list}.safetensors"));
        let channels = [320, 640, 1280, 1280];
        let tensor = |(name, _): (String, _)| {
            let level = (0..4).find(|level| name.starts_with(&format!("down_blocks.{level}.")));
            let shape = match level {
                Some(_) if name.ends_with(".pe") => vec![1, 24, 1],
                Some(level) if name.ends_with("temporal_transformer.norm.weight") => {
                    vec![channels[level]]
                }
                _ => vec![1],
            };
            let values = vec![0.0; shape.iter().product()];
            (name, shape, values)
        };
        let mut tensors: Vec<NamedTensor> = recorded(list).into_iter().map(tensor).collect();
        save(&path, &tensors);
        let config = MotionAdapterConfig::read(&ModelFiles::original(&path)).unwrap();
        assert_eq!(config.block_out_channels, channels);
        assert_eq!(config.motion_layers_per_block, PerLevel::Same(2));
        assert_eq!(config.motion_max_seq_length, 24);
        assert_eq!(config.use_motion_mid_block, in_mid_block);

        tensors.retain(|(name, ..)| !name.contains("motion_modules."));
        tensors.push(("something.else".into(), vec![1], vec![0.0]));
        save(&path, &tensors);
        let error = MotionAdapterConfig::read(&ModelFiles::original(&path)).unwrap_err();
        assert!(matches!(error, Error::NotOriginal { .. }), "{error}");
    }
}

/// The name of a tensor of a motion adapter in AnimateDiff's own file.
fn original_name(published: &str) -> String {
    let name = published.replace(".attn1.", ".attention_blocks.0.");
    let name = name.replace(".attn2.", ".attention_blocks.1.");
    let name = name
        .replace(".norm1.", ".norms.0.")
        .replace(".norm2.", ".norms.1.");
    let name = name.replace(".norm3.", ".ff_norm.");
    let (block, rest) = name.split_once(".motion_modules.").unwrap();
    let (index, rest) = rest.split_once('.').unwrap();
    format!("module.{block}.motion_modules.{index}.temporal_transformer.{rest}")
}

#[test]
fn animatediff_s_own_file_makes_the_network_that_its_conversion_makes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // AnimateDiff's own files have 32 groups and 8 heads; the rest is seen in the tensors.
    let unet = json!({
        "_class_name": "UNet2DConditionModel", "sample_size": 8, "in_channels": 4, "out_channels": 4,
        "block_out_channels": [32, 64], "layers_per_block": 1, "cross_attention_dim": 8,
        "attention_head_dim": 4, "norm_num_groups": 32,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]
    });
    let adapter = json!({
        "_class_name": "MotionAdapter", "block_out_channels": [32, 64], "motion_layers_per_block": 1,
        "motion_max_seq_length": 24, "use_motion_mid_block": false
    });
    for (name, config) in [("unet", &unet), ("adapter", &adapter)] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("config.json"), config.to_string()).unwrap();
    }
    let files = |name: &str| ModelFiles::folder(at(name));
    let load = |adapter: &ModelFiles| {
        let device = Default::default();
        VideoUNet::<Flex>::load_with(&files("unet"), Some(adapter), &device, Precision::F32)
    };
    let is_motion = |name: &str| name.contains(".motion_modules.");
    let write = |tensors: &[NamedTensor]| {
        let motion = |tensor: &NamedTensor| is_motion(&tensor.0);
        let (motion, image): (Vec<_>, Vec<_>) = tensors.iter().cloned().partition(motion);
        save(&at("unet").join(WEIGHTS), &image);
        save(&at("adapter").join(WEIGHTS), &motion);
    };
    // What the network needs is told by what it misses: names first, then their shapes.
    let faults = |tensors: &[NamedTensor]| {
        write(tensors);
        match load(&files("adapter")) {
            Err(Error::Weights { faults, .. }) => faults,
            other => panic!("{other:?}"),
        }
    };
    let empty = |name: String| (name, vec![0], Vec::new());
    let names = faults(&[]).missing.into_iter();
    let shapes = faults(&names.map(empty).collect::<Vec<_>>()).misshapen;
    let drawn = |(index, (name, _, shape)): (usize, (String, Vec<usize>, Vec<usize>))| {
        let value = |at: usize| ((at * 13 + index) as f32 * 0.71).sin() * 0.1;
        let values = (0..shape.iter().product()).map(value).collect();
        (name, shape, values)
    };
    let tensors: Vec<NamedTensor> = shapes.into_iter().enumerate().map(drawn).collect();
    write(&tensors);

    let latents: Vec<f32> = (0..4 * 3 * 64).map(|at| (at as f32 * 0.3).sin()).collect();
    let predict = |adapter: &ModelFiles| {
        let device = Default::default();
        let latents = TensorData::new(latents.clone(), [1, 4, 3, 8, 8]);
        let (config, network) = load(adapter).unwrap();
        assert_eq!(config.max_frames(), Some(24));
        assert_eq!(config.sites().len(), 6);
        let latents = Tensor::<Flex, 5>::from_data(latents, &device);
        let text = Tensor::ones([1, 5, 8], &device);
        values(network.forward(latents, &[300.0], text, Hooks::default()))
    };
    let published = predict(&files("adapter"));
    assert!(published.iter().all(|value| value.is_finite()));

    let motion = tensors.iter().filter(|(name, ..)| is_motion(name));
    let original =
        motion.map(|(name, shape, values)| (original_name(name), shape.clone(), values.clone()));
    let mut original: Vec<NamedTensor> = original.collect();
    let positions = "module.down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0\
                     .attention_blocks.0.pos_encoder.pe";
    original.push((positions.into(), vec![1, 24, 32], vec![0.0; 24 * 32]));
    save(&at("mm.safetensors"), &original);
    assert_eq!(predict(&ModelFiles::at(at("mm.safetensors"))), published);
}

#[test]
fn weights_beside_the_state_of_a_training_are_found() {
    let path = fixtures_dir().join("unet_motion/training.ckpt");
    let files = ModelFiles::original(&path);
    let weights = Weights::open(&files, "diffusion_pytorch_model").unwrap();
    let block = "down_blocks.0.motion_modules.0";
    let names = [
        format!("{block}.norm.weight"),
        format!("{block}.transformer_blocks.0.attn2.to_q.weight"),
    ];
    assert!(weights.names().eq(&names));
    assert_eq!(weights.values(&names[0]).unwrap(), [0.0, 1.0, 2.0, 3.0]);
    let config = MotionAdapterConfig::read(&files).unwrap();
    assert_eq!(config.block_out_channels, [4]);
    assert_eq!(config.motion_max_seq_length, 24);
}

#[test]
fn a_file_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let open = |path: &Path| {
        let files = ModelFiles::original(path).part("unet");
        Weights::open(&files, "diffusion_pytorch_model").map(|weights| {
            let names = weights.names().map(String::from);
            names.collect::<Vec<_>>()
        })
    };
    save(&path, &[("conv_in.weight".into(), vec![1], vec![0.0])]);
    let error = open(&path).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("model.diffusion_model."), "{text}");
    assert!(error.hint().unwrap().contains("Stable Diffusion 1.5"));

    // Of Stable Diffusion 2 and XL the text encoder has another name.
    let mut tensors = stable_diffusion();
    for (name, ..) in &mut tensors {
        *name = name.replace(
            "cond_stage_model.transformer.",
            "conditioner.embedders.0.model.",
        );
    }
    save(&path, &tensors);
    let text = open(&path).unwrap_err().to_string();
    assert!(text.contains("cond_stage_model.transformer."), "{text}");

    // What is in no network and not known stays, so that filling a network finds it.
    let mut tensors = stable_diffusion();
    let strange = [
        "model.diffusion_model.label_emb.0.weight",
        "control_model.x",
    ];
    tensors.extend(numbered(strange.into_iter().map(String::from), 0));
    save(&path, &tensors);
    let names = open(&path).unwrap();
    for name in strange {
        assert!(names.iter().any(|found| found == name), "{name}");
    }

    std::fs::write(&path, b"not a checkpoint").unwrap();
    assert!(matches!(open(&path), Err(Error::Safetensors { .. })));
    let missing = open(&folder.path().join("missing.safetensors"));
    assert!(matches!(missing, Err(Error::Missing { .. })));
}
