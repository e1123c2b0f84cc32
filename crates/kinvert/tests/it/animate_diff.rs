//! A small pipeline of Stable Diffusion's kind with a motion adapter, from files to clips.

use std::path::Path;

use burn::tensor::Tensor;
use kinvert::embedding::SiteEmbeddings;
use kinvert::inversion::{Learner, Reference};
use kinvert::modulation::MotionModulation;
use kinvert::{
    Clip, Error, GenerationSettings, InitialNoise, Integration, InversionSettings, LoadOptions,
    ModelFiles, ModelSource, ModelSummary, Pipeline, Quiet, SiteSelection,
};
use kinvert_diffusion::{BetaSchedule, NoiseSource};
use kinvert_nets::{Hooks, VideoUNetConfig};
use kinvert_testkit::{first_sprites_model, fixtures_dir, values};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::support::{B, Inner, bounce};

/// Channels of the text states that the network reads.
const TEXT_CHANNELS: usize = 24;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

/// A pipeline of the given class without motion modules.
fn image_pipeline(class_name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (to, fixtures) = (folder.path(), fixtures_dir());
    let index = json!({ "_class_name": class_name });
    write_json(&to.join("model_index.json"), &index);
    copy(&fixtures.join("unet_motion/unet"), &to.join("unet"));
    copy(&fixtures.join("parity/autoencoder_kl"), &to.join("vae"));
    std::fs::remove_file(to.join("vae/io.safetensors")).unwrap();
    copy(
        &first_sprites_model().join("tokenizer"),
        &to.join("tokenizer"),
    );
    copy(
        &fixtures.join("unet_motion/text_encoder"),
        &to.join("text_encoder"),
    );
    let published = fixtures.join("published/stable-diffusion-v1-5/scheduler");
    copy(&published, &to.join("scheduler"));
    folder
}

fn adapter_files() -> ModelFiles {
    ModelFiles::folder(fixtures_dir().join("unet_motion/motion_adapter"))
}

fn with_adapter(pipeline: &Path) -> ModelSource {
    ModelSource {
        motion_adapter: Some(adapter_files()),
        ..ModelFiles::folder(pipeline).into()
    }
}

fn load(source: &ModelSource) -> Pipeline<B> {
    Pipeline::load(source, &LoadOptions::default(), &Default::default()).unwrap()
}

fn refusal(source: &ModelSource) -> Error {
    let loaded = Pipeline::<B>::load(source, &LoadOptions::default(), &Default::default());
    loaded.err().unwrap()
}

fn clip(frames: usize) -> Clip {
    let source = bounce();
    let frames = source.frames().iter().cycle().take(frames).cloned();
    Clip::new(frames.collect(), 8.0).unwrap()
}

/// An error with its causes.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn few_steps() -> (InversionSettings, GenerationSettings) {
    let inversion = InversionSettings {
        steps: 2,
        ddim_inversion_steps: 2,
        ..InversionSettings::default()
    };
    let generation = GenerationSettings {
        steps: 2,
        ..GenerationSettings::default()
    };
    (inversion, generation)
}

#[test]
fn a_motion_is_learned_and_replayed() {
    let folder = image_pipeline("StableDiffusionPipeline");
    let model = load(&with_adapter(folder.path()));
    let (inversion, generation) = few_steps();
    let motion = model
        .invert(&clip(3), "a red circle", &inversion, None, &mut Quiet)
        .unwrap();
    assert_eq!(motion.metadata.losses.len(), 2);
    let of_motion_modules = |site: &SiteEmbeddings| site.site.contains(".motion_modules.");
    assert_eq!(motion.sites.len(), 20); // no site is 1280 wide here, so all but the middle one
    assert!(motion.sites.iter().all(of_motion_modules));

    let generation = GenerationSettings {
        frames: Some(2),
        ..generation
    };
    let made = |motion| {
        let clip = model.generate(motion, "a star", 0, &generation, &mut Quiet);
        clip.unwrap()
    };
    let clip = made(Some(&motion));
    assert_eq!((clip.len(), clip.width(), clip.height()), (2, 64, 64));
}

#[test]
fn gradients_reach_the_embeddings_of_every_site_and_zero_changes_nothing() {
    let folder = image_pipeline("StableDiffusionPipeline");
    let model = load(&with_adapter(folder.path()));
    let device = Default::default();
    let settings = InversionSettings {
        sites: SiteSelection::All,
        ..InversionSettings::default()
    };
    let sites = settings.sites.select(&model.sites()).unwrap();
    assert_eq!(sites.len(), 21);
    let learner = Learner::new(
        model.tracked_unet(),
        model.schedule(),
        &settings,
        &sites,
        [3, 4, 4],
        &device,
    );
    let noise = NoiseSource::new(5);
    let latents: Tensor<Inner, 5> = noise.gaussian("latents", 0, [1, 4, 3, 4, 4], &device);
    let text: Tensor<Inner, 3> = noise.gaussian("text", 0, [1, 5, TEXT_CHANNELS], &device);
    let reference = Reference::<B> {
        latents: Tensor::from_inner(latents.clone()),
        caption_states: Tensor::from_inner(text.clone()),
    };
    let draw = learner.draw(0, [1, 4, 3, 4, 4], &device).unwrap();
    let (loss, gradients) = learner.gradients(&reference, draw);
    assert!(loss.is_finite());
    assert_eq!(gradients.len(), 3 * sites.len());
    for (index, gradient) in gradients.into_iter().enumerate() {
        let moves = values(gradient).iter().any(|g| *g != 0.0);
        assert!(moves, "{}, embedding {}", sites[index / 3].name, index % 3);
    }
    assert_no_weight_is_learned(&model);

    let zeros = learner.embeddings();
    let predict = |modulation: Option<&MotionModulation<Inner>>| {
        let hooks = Hooks::temporal(modulation.map(|modulation| modulation as _));
        let unet = model.unet();
        values(unet.forward(latents.clone(), &[500.0], text.clone(), hooks))
    };
    let plain = predict(None);
    for integration in [Integration::AddBefore, Integration::MultiplyAfter] {
        let modulation = MotionModulation::new(integration, &zeros, &device);
        assert_eq!(predict(Some(&modulation)), plain, "{integration}");
    }
    let of_ones = |site: &SiteEmbeddings| {
        site.map(|embedding| embedding.with_values(vec![1.0; embedding.values().len()]))
    };
    let ones: Vec<SiteEmbeddings> = zeros.iter().map(of_ones).collect();
    let ones = MotionModulation::new(Integration::AddBefore, &ones, &device);
    assert_ne!(predict(Some(&ones)), plain);
}

/// Visits every parameter of the network that learns.
fn assert_no_weight_is_learned(model: &Pipeline<B>) {
    use burn::module::{Module, ModuleVisitor, Param};

    struct Frozen(usize);
    impl ModuleVisitor<B> for Frozen {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            assert!(!param.val().is_require_grad());
            self.0 += 1;
        }
    }
    let mut frozen = Frozen(0);
    model.tracked_unet().visit(&mut frozen);
    assert!(frozen.0 > 1000, "{} parameters", frozen.0);
}

#[test]
fn what_is_published_with_the_adapter_is_the_default() {
    let folder = image_pipeline("StableDiffusionPipeline");
    let source = with_adapter(folder.path());
    let summary = ModelSummary::read(&source).unwrap();
    assert_eq!((summary.frames, summary.fps, summary.size), (16, 8.0, None));
    assert_eq!(summary.generation.guidance, 7.5);
    assert!(
        summary.id.name.ends_with(" + motion_adapter"),
        "{}",
        summary.id.name
    );
    let config = source.unet_config().unwrap();
    let schedule = source.scheduler(&config).unwrap();
    assert_eq!(schedule.beta_schedule, BetaSchedule::Linear);
    assert_eq!((schedule.beta_start, schedule.beta_end), (0.00085, 0.012));
    assert_eq!(schedule.steps_offset, 1);
    let model = load(&source);
    assert_eq!(model.id().sha256, summary.id.sha256);
    assert_eq!(model.size_for([640, 480]), [576, 448]);
    assert_eq!(model.size_for([300, 300]), [512, 512]);

    // A pipeline of AnimateDiff has its own modules and a schedule for them.
    let whole = image_pipeline("AnimateDiffPipeline");
    let own = whole.path().join("motion_adapter");
    copy(&fixtures_dir().join("unet_motion/motion_adapter"), &own);
    let source: ModelSource = ModelFiles::folder(whole.path()).into();
    let schedule = source.scheduler(&config).unwrap();
    assert_eq!(schedule.beta_schedule, BetaSchedule::ScaledLinear);
    let of_whole = ModelSummary::read(&source).unwrap();
    assert_eq!(of_whole.sites, summary.sites);
    assert_eq!(of_whole.id.sha256, summary.id.sha256);
}

#[test]
fn published_sites_are_the_wide_ones_of_both_coarse_levels() {
    let published = fixtures_dir().join("published");
    let unet = ModelFiles::folder(published.join("stable-diffusion-v1-5/unet"));
    let adapter = ModelFiles::folder(published.join("animatediff-motion-adapter-v1-5-2"));
    let config = VideoUNetConfig::read_with(&unet, Some(&adapter)).unwrap();
    let chosen = SiteSelection::Published.select(&config.sites()).unwrap();
    let names: Vec<String> = chosen.into_iter().map(|site| site.name).collect();
    let block = |block: &str, count: usize| -> Vec<String> {
        let name = |index| format!("{block}.motion_modules.{index}.transformer_blocks.0");
        (0..count).map(name).collect()
    };
    let expected = [
        block("down_blocks.2", 2),
        block("down_blocks.3", 2),
        block("up_blocks.0", 3),
        block("up_blocks.1", 3),
    ];
    assert_eq!(names, expected.concat());
}

#[test]
fn more_frames_than_positions_are_refused() {
    let folder = image_pipeline("StableDiffusionPipeline");
    let model = load(&with_adapter(folder.path()));
    let (inversion, generation) = few_steps();
    let expected = "`frames` is 33, expected at most 32, which the motion modules were trained for";
    let error = model.invert(&clip(33), "", &inversion, None, &mut Quiet);
    assert_eq!(error.unwrap_err().to_string(), expected);
    let generation = GenerationSettings {
        frames: Some(33),
        size: Some([64, 64]),
        noise: InitialNoise::None,
        ..generation
    };
    let error = model.generate(None, "a star", 0, &generation, &mut Quiet);
    assert_eq!(error.unwrap_err().to_string(), expected);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let folder = image_pipeline("StableDiffusionPipeline");
    let source: ModelSource = ModelFiles::folder(folder.path()).into();
    for error in [refusal(&source), ModelSummary::read(&source).unwrap_err()] {
        assert!(
            told(&error).contains("expected a motion adapter"),
            "{}",
            told(&error)
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("animatediff-motion-adapter-v1-5-2"), "{hint}");
        assert!(hint.contains("v3_sd15_mm.ckpt"), "{hint}");
    }

    let wrong = ModelSource {
        motion_adapter: Some(ModelFiles::folder(
            fixtures_dir().join("published/animatediff-motion-adapter-v1-5-2"),
        )),
        ..source.clone()
    };
    let error = told(&refusal(&wrong));
    assert!(
        error.contains("`block_out_channels` is [320, 640, 1280, 1280]"),
        "{error}"
    );
    let no_adapter = ModelSource {
        motion_adapter: Some(ModelFiles::folder(folder.path().join("vae"))),
        ..source.clone()
    };
    let error = told(&refusal(&no_adapter));
    assert!(error.contains("vae/config.json"), "{error}");
    let adapter_of_other_model = ModelSource {
        motion_adapter: Some(adapter_files()),
        ..kinvert_world::model::model_files().into()
    };
    let error = told(&refusal(&adapter_of_other_model));
    assert!(error.contains("takes a motion adapter"), "{error}");

    // A network of another pipeline takes the place of this one's, and its own takes the place of the built-in one's.
    let swapped = ModelSource {
        unet: Some(ModelFiles::folder(fixtures_dir().join("parity/unet3d"))),
        ..source.clone()
    };
    let error = told(&refusal(&swapped));
    assert!(
        error.contains("`cross_attention_dim` is 32, expected 24"),
        "{error}"
    );
    let same = ModelSource {
        unet: Some(ModelFiles::folder(folder.path().join("unet"))),
        ..with_adapter(folder.path())
    };
    let hash = ModelSummary::read(&same).unwrap().id.sha256;
    let own = ModelSummary::read(&with_adapter(folder.path())).unwrap();
    assert_eq!(hash, own.id.sha256);
}

#[test]
fn a_single_file_needs_to_be_stable_diffusion_s_and_a_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let zero = 0_f32.to_le_bytes();
    let save = |names: &[&str]| {
        let view = || TensorView::new(Dtype::F32, vec![1], &zero).unwrap();
        let views = names.iter().map(|name| (*name, view()));
        safetensors::serialize_to_file(views, None, &path).unwrap();
    };
    let adapter = fixtures_dir().join("published/animatediff-motion-adapter-v1-5-3");
    let source = ModelSource {
        motion_adapter: Some(ModelFiles::folder(adapter)),
        ..ModelFiles::at(&path).into()
    };
    let source = ModelSource {
        pipeline: ModelFiles::original(&path),
        ..source
    };
    save(&["model.diffusion_model.out.2.bias"]);
    // There is no Stable Diffusion on this machine, or its tokenizer is found.
    if let Err(error) = source.tokenizer() {
        assert!(
            told(&error).contains("there is no tokenizer for"),
            "{}",
            told(&error)
        );
        assert!(error.hint().unwrap().contains("--tokenizer"));
    }
    let beside = folder.path().join("stable-diffusion-v1-5/tokenizer");
    copy(&first_sprites_model().join("tokenizer"), &beside);
    assert!(source.tokenizer().unwrap().contains("vocab.json"));
    let given = ModelSource {
        tokenizer: Some(ModelFiles::folder("elsewhere")),
        ..source.clone()
    };
    assert_eq!(given.tokenizer().unwrap().name(), "elsewhere");

    // The names of the networks are there, but hardly a tensor.
    let networks = [
        "model.diffusion_model.out.2.bias",
        "first_stage_model.quant_conv.bias",
        "cond_stage_model.transformer.text_model.final_layer_norm.bias",
    ];
    save(&networks);
    assert!(source.pipeline.is_stable_diffusion());
    let summary = ModelSummary::read(&source).unwrap();
    assert_eq!(
        summary.id.name,
        "checkpoint + animatediff-motion-adapter-v1-5-3"
    );
    assert_eq!((summary.frames, summary.sites.len()), (16, 20));
    let config = source.unet_config().unwrap();
    let schedule = source.scheduler(&config).unwrap();
    assert_eq!(schedule.beta_schedule, BetaSchedule::Linear);

    save(&["conv_in.weight"]);
    assert!(!source.pipeline.is_stable_diffusion());
}
