//! Checkpoints of other programs: every tensor under the name that the reference library gives it.

use std::collections::BTreeMap;
use std::path::Path;

use kinvert_nets::unet_motion::{MotionAdapterConfig, PerLevel};
use kinvert_nets::{Error, ModelFiles, Weights};
use kinvert_testkit::fixtures_dir;

use crate::support::{NamedTensor, save, tensors_of};

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
