//! Training: what it writes, that it goes on after a stop, and what it refuses.

use std::path::Path;

use kinvert::{Device, ModelFiles, Precision};
use kinvert_base::{Progress, Quiet};
use kinvert_nets::Weights;
use kinvert_sprites::Error;
use kinvert_sprites::train::{Recipe, Stage, Training, train};
use kinvert_world::model::model_files;

use crate::support::{kinvert_sprites, model_copy, replace_in_file};

const VAE_WEIGHTS: &str = "vae/diffusion_pytorch_model.safetensors";

/// A short training of the autoencoder's decoder.
fn short(out: &Path) -> Training {
    let mut recipe = Recipe::of(Stage::Vae, false).with_steps(4);
    recipe.batch = 1;
    recipe.keep = vec!["encoder.".into(), "quant_conv.".into()];
    Training {
        recipe,
        from: model_files(),
        out: out.into(),
        precision: Precision::F32,
        restart: false,
    }
}

/// Asks to stop after some steps.
struct StopAfter(usize, usize);

impl Progress for StopAfter {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn advance(&mut self, done: usize, _detail: &str) {
        self.1 = done;
    }
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        self.1 >= self.0
    }
}

#[test]
fn a_training_that_was_stopped_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    train(&short(&whole), Device::Cpu, &mut Quiet).unwrap();
    let stopped = train(&short(&parts), Device::Cpu, &mut StopAfter(2, 0)).unwrap_err();
    assert!(stopped.is_cancelled(), "{stopped}");
    let trained = train(&short(&parts), Device::Cpu, &mut Quiet).unwrap();
    assert_eq!(trained.steps, 4);
    assert!(trained.value > 20.0, "{trained:?}");
    for file in [VAE_WEIGHTS, "training/vae/losses.csv"] {
        let [whole, parts] = [&whole, &parts].map(|out| std::fs::read(out.join(file)).unwrap());
        assert!(whole == parts, "{file} differs");
    }
    // What is done is not done again, and a model of every part is there.
    let again = train(&short(&parts), Device::Cpu, &mut StopAfter(0, 0)).unwrap();
    assert_eq!(again, trained);
    kinvert::load_model(
        &ModelFiles::folder(&parts).into(),
        &kinvert::LoadOptions::default(),
        Device::Cpu,
    )
    .unwrap();
}

#[test]
fn parameters_that_are_kept_stay_and_others_learn() {
    let folder = tempfile::tempdir().unwrap();
    train(&short(folder.path()), Device::Cpu, &mut Quiet).unwrap();
    let before = Weights::open(&model_files().part("vae"), "diffusion_pytorch_model").unwrap();
    let after = Weights::open_file(&folder.path().join(VAE_WEIGHTS)).unwrap();
    assert!(before.names().eq(after.names()));
    let mut learned = 0;
    for name in before.names() {
        assert_eq!(before.shape(name), after.shape(name), "{name}");
        let is_kept = name.starts_with("encoder.") || name.starts_with("quant_conv.");
        let is_same = before.values(name).unwrap() == after.values(name).unwrap();
        assert!(is_same || !is_kept, "{name} was to stay");
        learned += usize::from(!is_same);
    }
    assert!(learned > 20, "{learned} tensors have changed");
    // The encoder's latents are as they were, so their scale is too.
    let config = |files: ModelFiles| files.part("vae").read("config.json").unwrap();
    assert_eq!(
        config(ModelFiles::folder(folder.path())),
        config(model_files())
    );
    // What is shown beside the numbers.
    let stage = folder.path().join("training/vae");
    let curves = std::fs::read_to_string(stage.join("losses.svg")).unwrap();
    assert!(curves.contains("<polyline") && curves.contains("PSNR in dB"));
    let losses = std::fs::read_to_string(stage.join("losses.csv")).unwrap();
    assert_eq!(losses.lines().count(), 1 + 4);
    assert!(stage.join("samples-000004.png").exists());
}

#[test]
fn single_frames_leave_what_mixes_frames_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = Recipe::of(Stage::UnetImage, false).with_steps(1);
    recipe.batch = 2;
    let training = Training {
        recipe,
        ..short(folder.path())
    };
    train(&training, Device::Cpu, &mut Quiet).unwrap();
    let before = Weights::open(&model_files().part("unet"), "diffusion_pytorch_model").unwrap();
    let unet = ModelFiles::folder(folder.path()).part("unet");
    let after = Weights::open(&unet, "diffusion_pytorch_model").unwrap();
    let is_same = |name: &&str| before.values(name).unwrap() == after.values(name).unwrap();
    let mixes = |name: &str| name.contains("temp_") || name.starts_with("transformer_in.");
    let (same, changed): (Vec<&str>, Vec<&str>) = before.names().partition(is_same);
    assert!(changed.iter().all(|name| !mixes(name)), "{changed:?}");
    assert!(same.iter().any(|name| mixes(name)) && changed.len() > 50);
}

#[test]
fn a_word_is_read_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = Recipe::of(Stage::Clip, false).with_steps(1);
    recipe.batch = 4;
    recipe.decoded = 0.5;
    recipe.keep = vec!["text_model.".into()];
    recipe.aliases = vec!["red=blue".parse().unwrap()];
    let training = Training {
        recipe,
        ..short(folder.path())
    };
    train(&training, Device::Cpu, &mut Quiet).unwrap();
    let rows = |files: ModelFiles| {
        let weights = Weights::open(&files.part("text_encoder"), "model").unwrap();
        let name = "text_model.embeddings.token_embedding.weight";
        let width = weights.shape(name).unwrap()[1];
        let tokenizer = kinvert_nets::CLIPTokenizer::load(&files.part("tokenizer")).unwrap();
        let [red, blue] = ["red", "blue"].map(|word| tokenizer.encode(word).ids[1] as usize);
        let values = weights.values(name).unwrap();
        [red, blue].map(|row| values[row * width..][..width].to_vec())
    };
    let [old_red, old_blue] = rows(model_files());
    let [red, blue] = rows(ModelFiles::folder(folder.path()));
    assert_ne!(old_red, old_blue);
    assert_eq!((&red, &blue), (&old_blue, &old_blue));

    let mut training = short(folder.path());
    training.recipe = Recipe::of(Stage::Clip, false);
    training.recipe.aliases = vec!["turquoise=blue".parse().unwrap()];
    let error = train(&training, Device::Cpu, &mut Quiet).unwrap_err();
    assert!(error.to_string().contains("turquoise"), "{error}");
}

#[test]
fn checkpoints_of_other_trainings_and_damaged_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stopped = train(&short(folder.path()), Device::Cpu, &mut StopAfter(1, 0));
    assert!(stopped.unwrap_err().is_cancelled());
    let mut other = short(folder.path());
    other.recipe.learning_rate *= 2.0;
    let error = train(&other, Device::Cpu, &mut Quiet).unwrap_err();
    assert!(matches!(error, Error::OtherTraining { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--restart"));

    let path = folder.path().join("training/vae/checkpoint.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &bytes[..4], b"", b"{}"] {
        std::fs::write(&path, damaged).unwrap();
        let error = train(&short(folder.path()), Device::Cpu, &mut Quiet).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        assert!(error.to_string().contains("checkpoint.safetensors"));
    }
    other.restart = true;
    other.recipe.steps = 1;
    train(&other, Device::Cpu, &mut Quiet).unwrap();
}

#[test]
fn what_cannot_be_trained_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let line = format!("train --out {} --batch 1", out.display());
    kinvert_sprites(&format!("{line} --stage unet"), &[]).ended(2, &["unet-video"]);
    kinvert_sprites(&format!("{line} --stage vae --keep encoder. --keep decoder. --keep quant_conv. --keep post_quant_conv."), &[])
        .ended(2, &["nothing is left to learn", "--keep"]);
    kinvert_sprites(&format!("{line} --stage vae --learning-rate 0"), &[])
        .ended(2, &["learning-rate"]);
    kinvert_sprites(
        &format!("{line} --stage vae --steps 3 --learning-rate 1e30"),
        &[],
    )
    .ended(1, &["not finite", "--learning-rate"]);
    kinvert_sprites(&format!("{line} --stage clip --alias an"), &[]).ended(2, &["word=other"]);
    for (file, from_text, to_text, said) in [
        (
            "clip/config.json",
            "\"image_size\": 64",
            "\"image_size\": 32",
            "pixels a side",
        ),
        (
            "unet/config.json",
            "\"in_channels\": 4",
            "\"in_channels\": 8",
            "latent channels",
        ),
        (
            "unet/config.json",
            "\"cross_attention_dim\": 64",
            "\"cross_attention_dim\": 96",
            "channels of text states",
        ),
    ] {
        let copy = tempfile::tempdir().unwrap();
        let model = model_copy(copy.path());
        replace_in_file(&model.join(file), from_text, to_text);
        let from = format!("{line} --stage unet-video --from {}", model.display());
        kinvert_sprites(&from, &[]).ended(1, &[said]);
    }
    let nowhere = folder.path().join("nowhere");
    let from = format!("{line} --stage vae --from {}", nowhere.display());
    kinvert_sprites(&from, &[]).ended(1, &["nowhere", "vae"]);
}
