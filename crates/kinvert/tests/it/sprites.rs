//! The whole pipeline on the sprites model. With its first weights against recordings of the reference libraries: 1e-4
//! of the largest value for single passes, 2e-3 for trajectories. What holds with any weights, on the built-in model.

use burn::tensor::Tensor;
use kinvert::embedding::SiteEmbeddings;
use kinvert::inversion::{Draw, Learner, Reference};
use kinvert::motion::Array;
use kinvert::{
    Contribution, Debias, EmbeddingShape, Error, GenerationSettings, InitialNoise,
    InversionSettings, Motion, MotionKind, Quiet,
};
use kinvert_nets::Hooks;
use kinvert_testkit::{Recording, Tolerance, assert_close};

use crate::support::{B, Inner, StopAfter, bounce, built_in, embedding, first_sprites};

const PASS: Tolerance = Tolerance::OfLargest(1e-4);
const TRAJECTORY: Tolerance = Tolerance::OfLargest(2e-3);

const CAPTION: &str = "a red circle on a gray background";
const PROMPT: &str = "a yellow star on a striped background";

#[test]
fn text_and_latents() {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let pipeline = first_sprites();
    for (name, prompt) in [
        ("text_caption", CAPTION),
        ("text_prompt", PROMPT),
        ("text_empty", ""),
    ] {
        recording.expect(
            name,
            pipeline.text_states(prompt, &mut Quiet).unwrap(),
            PASS,
        );
    }
    recording.expect(
        "latents",
        pipeline.encode_clip(&bounce(), &mut Quiet).unwrap(),
        PASS,
    );
}

fn golden_latents() -> Tensor<Inner, 5> {
    Recording::open("sprites/golden/networks.safetensors").tensor("latents", &Default::default())
}

/// The embeddings after the recorded 20 steps.
fn golden_embeddings(recording: &Recording) -> Vec<SiteEmbeddings> {
    let pipeline = first_sprites();
    let sites = InversionSettings::default()
        .sites
        .select(&pipeline.sites())
        .unwrap();
    let site = |site: kinvert_nets::TemporalSite| {
        let grid = site.grid([8, 8]);
        let read = |name: &str| {
            let name = format!("final/{}/{name}", site.name);
            Some(embedding(recording, &name, grid))
        };
        SiteEmbeddings {
            query_key: read("qk"),
            values: [read("v1"), read("v2")],
            projections: [None, None, None],
            grid,
            site: site.name,
        }
    };
    sites.into_iter().map(site).collect()
}

#[test]
fn twenty_steps_of_learning() {
    let recording = Recording::open("sprites/golden/inversion_20.safetensors");
    let pipeline = first_sprites();
    let settings = InversionSettings::default();
    let sites = settings.sites.select(&pipeline.sites()).unwrap();
    assert_eq!(sites.len(), 6);
    let device = *pipeline.device();
    let mut learner = Learner::new(
        pipeline.tracked_unet(),
        pipeline.schedule(),
        &settings,
        &sites,
        [16, 8, 8],
        &device,
    );
    let reference: Reference<B> = Reference {
        latents: Tensor::from_inner(golden_latents()),
        caption_states: Tensor::from_inner(pipeline.text_states(CAPTION, &mut Quiet).unwrap()),
    };
    let noises = recording.shape("noises");
    let per_step: usize = noises[1..].iter().product();
    let noise = recording.f32s("noises");
    let frames = recording.i64s("frames_r");
    let mut losses = Vec::new();
    for (step, timestep) in recording.i64s("timesteps").into_iter().enumerate() {
        let values = noise[step * per_step..(step + 1) * per_step].to_vec();
        let data = burn::tensor::TensorData::new(values, [1, 4, 16, 8, 8]);
        let draw = Draw {
            timestep: timestep as usize,
            noise: Tensor::from_data(data, &device),
            frame: frames[step] as usize,
            lora: None,
        };
        let (loss, gradients) = learner.gradients(&reference, draw);
        if step < 2 {
            let names = ["qk", "v1", "v2"];
            let keys = sites
                .iter()
                .flat_map(|s| names.map(|n| format!("grad{step}/{}/{n}", s.name)));
            for (key, gradient) in keys.zip(&gradients) {
                recording.expect(&key, gradient.clone(), PASS);
            }
        }
        losses.push(loss);
        learner.step(gradients);
    }
    assert_close("losses", &losses, &recording.f32s("losses"), TRAJECTORY);
    for (found, expected) in learner
        .embeddings()
        .iter()
        .zip(golden_embeddings(&recording))
    {
        for pair in found.embeddings().into_iter().zip(expected.embeddings()) {
            let (Some(found_embedding), Some(expected_embedding)) = pair else {
                panic!("{pair:?}")
            };
            // Adam turns the tiniest gradients into whole steps of the learning rate, so single elements may
            // differ where float32 noise decides a sign; together they must agree.
            let (found_values, expected_values) =
                (found_embedding.values(), expected_embedding.values());
            assert_close(
                &found.site,
                found_values,
                expected_values,
                Tolerance::RelativeL2(2e-3),
            );
        }
    }
}

#[test]
fn ddim_inversion_in_fifty_steps() {
    let recording = Recording::open("sprites/golden/sampling.safetensors");
    let inverted = first_sprites()
        .ddim_inversion(golden_latents(), 50, &mut Quiet)
        .unwrap();
    recording.expect("z_inverted_50", inverted, TRAJECTORY);
}

#[test]
fn blended_start() {
    let recording = Recording::open("sprites/golden/sampling.safetensors");
    let networks = Recording::open("sprites/golden/networks.safetensors");
    let device = Default::default();
    let noise: Tensor<Inner, 5> = networks.tensor("noise", &device);
    let inverted = recording.tensor("z_inverted_50", &device);
    let start = InitialNoise::Blend
        .compose(noise, Some(inverted), 0.5)
        .unwrap();
    recording.expect("start_blend", start, PASS);
}

#[test]
fn sampling_without_a_motion() {
    let recording = Recording::open("sprites/golden/sampling.safetensors");
    let networks = Recording::open("sprites/golden/networks.safetensors");
    let pipeline = first_sprites();
    let device = Default::default();
    let settings = GenerationSettings {
        guidance: 7.5,
        ..Default::default()
    };
    let starts = [
        ("plain_noise_latents", networks.tensor("noise", &device)),
        ("blend_latents", recording.tensor("start_blend", &device)),
    ];
    for (name, start) in starts {
        let latents = pipeline
            .sample(start, PROMPT, &settings, Hooks::default(), &mut Quiet)
            .unwrap();
        recording.expect(name, latents, TRAJECTORY);
    }
}

#[test]
fn sampling_with_a_motion_in_every_strategy() {
    let recording = Recording::open("sprites/golden/sampling.safetensors");
    let pipeline = first_sprites();
    let embeddings = golden_embeddings(&Recording::open("sprites/golden/inversion_20.safetensors"));
    let motion = motion_of(&pipeline, embeddings);
    let object = MotionKind::Object;
    for (name, kind, debias) in [
        ("motion_none_latents", object, Debias::None),
        ("motion_difference_latents", object, Debias::Difference),
        ("motion_normalize_latents", object, Debias::Normalize),
        (
            "motion_camera_latents",
            MotionKind::Camera,
            Debias::Difference,
        ),
    ] {
        let settings = GenerationSettings {
            guidance: 7.5,
            steps: 10,
            kind,
            debias,
            ..Default::default()
        };
        let modulation = pipeline
            .modulation(&motion, &settings, 16, [8, 8])
            .unwrap()
            .unwrap();
        let start = recording.tensor("start_blend", &Default::default());
        let latents = pipeline
            .sample(
                start,
                PROMPT,
                &settings,
                Hooks::temporal(Some(&modulation)),
                &mut Quiet,
            )
            .unwrap();
        recording.expect(name, latents, TRAJECTORY);
    }
}

/// A motion with the given embeddings and everything else made up.
fn motion_of(pipeline: &kinvert::Pipeline<B>, sites: Vec<SiteEmbeddings>) -> Motion {
    let settings = InversionSettings {
        steps: 1,
        ddim_inversion_steps: 2,
        ..Default::default()
    };
    let mut motion = pipeline
        .invert(&bounce(), CAPTION, &settings, None, &mut Quiet)
        .unwrap();
    motion.sites = sites;
    motion
}

fn quick() -> (InversionSettings, GenerationSettings) {
    (
        InversionSettings {
            steps: 12,
            ddim_inversion_steps: 2,
            learning_rate: 0.1,
            ..Default::default()
        },
        GenerationSettings {
            steps: 2,
            guidance: 7.5,
            ..Default::default()
        },
    )
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_motion() {
    let pipeline = built_in();
    let (settings, _) = quick();
    let whole = pipeline
        .invert(&bounce(), CAPTION, &settings, None, &mut Quiet)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for steps in [3, 7] {
        let mut stop = StopAfter {
            steps,
            done: Default::default(),
        };
        let stopped = pipeline.invert(
            &bounce(),
            CAPTION,
            &settings,
            Some(folder.path()),
            &mut stop,
        );
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }
    let resumed = pipeline
        .invert(
            &bounce(),
            CAPTION,
            &settings,
            Some(folder.path()),
            &mut Quiet,
        )
        .unwrap();
    assert_eq!(resumed, whole);
}

#[test]
fn the_same_seed_gives_the_same_clip_and_another_seed_another() {
    let pipeline = built_in();
    let (inversion, generation) = quick();
    let motion = pipeline
        .invert(&bounce(), CAPTION, &inversion, None, &mut Quiet)
        .unwrap();
    let make = |seed| {
        pipeline
            .generate(Some(&motion), PROMPT, seed, &generation, &mut Quiet)
            .unwrap()
    };
    let first = make(1);
    assert_eq!(
        (first.len(), first.width(), first.height(), first.fps()),
        (16, 64, 64, 8.0)
    );
    assert_eq!(first.frames(), make(1).frames());
    assert_ne!(first.frames(), make(2).frames());
}

#[test]
fn other_lengths_and_sizes_are_generated() {
    let pipeline = built_in();
    let (inversion, generation) = quick();
    let motion = pipeline
        .invert(&bounce(), CAPTION, &inversion, None, &mut Quiet)
        .unwrap();
    let settings = GenerationSettings {
        frames: Some(11),
        size: Some([80, 48]),
        ..generation.clone()
    };
    let clip = pipeline
        .generate(Some(&motion), PROMPT, 0, &settings, &mut Quiet)
        .unwrap();
    assert_eq!((clip.len(), clip.width(), clip.height()), (11, 80, 48));
    let settings = GenerationSettings {
        size: Some([60, 64]),
        ..generation
    };
    let error = pipeline
        .generate(Some(&motion), PROMPT, 0, &settings, &mut Quiet)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`size` is 60x64, expected multiples of 8"
    );
}

#[test]
fn strength_of_zero_is_the_plain_model() {
    let pipeline = built_in();
    let (inversion, generation) = quick();
    let motion = pipeline
        .invert(&bounce(), CAPTION, &inversion, None, &mut Quiet)
        .unwrap();
    let settings = GenerationSettings {
        strength: 0.0,
        noise: InitialNoise::None,
        ..generation
    };
    let with = pipeline
        .generate(Some(&motion), PROMPT, 3, &settings, &mut Quiet)
        .unwrap();
    let without = pipeline
        .generate(None, PROMPT, 3, &settings, &mut Quiet)
        .unwrap();
    assert_eq!(with.frames(), without.frames());
}

#[test]
fn without_embeddings_nothing_is_learned_and_the_plain_model_starts_from_the_motions_noise() {
    let pipeline = built_in();
    let (inversion, generation) = quick();
    let learn = |settings| {
        pipeline
            .invert(&bounce(), CAPTION, &settings, None, &mut Quiet)
            .unwrap()
    };
    let plain = learn(InversionSettings {
        query_key: EmbeddingShape::Off,
        values: EmbeddingShape::Off,
        ..inversion.clone()
    });
    assert!(plain.metadata.losses.is_empty());
    assert!(
        plain
            .sites
            .iter()
            .all(|site| site.embeddings() == [None; 3])
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.motion.safetensors");
    plain.save(&path).unwrap();
    assert_eq!(Motion::load(&path).unwrap(), plain);

    let learned = learn(InversionSettings {
        steps: 1,
        ..inversion.clone()
    });
    let muted = GenerationSettings {
        contribution: Contribution::Neither,
        ..generation.clone()
    };
    let make = |motion, settings| {
        pipeline
            .generate(Some(motion), PROMPT, 1, settings, &mut Quiet)
            .unwrap()
    };
    assert_eq!(
        make(&plain, &generation).frames(),
        make(&learned, &muted).frames()
    );

    let error = pipeline
        .invert(
            &bounce(),
            CAPTION,
            &InversionSettings {
                query_key: EmbeddingShape::Grid([5, 4]),
                ..inversion
            },
            None,
            &mut Quiet,
        )
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`query-key shape` is grid-5x4, expected at most"),
        "{error}"
    );
}

#[test]
fn a_motion_that_does_not_belong_is_refused_with_the_reason() {
    let pipeline = built_in();
    let (inversion, generation) = quick();
    let motion = pipeline
        .invert(&bounce(), CAPTION, &inversion, None, &mut Quiet)
        .unwrap();
    pipeline.check_origin(&motion).unwrap();

    let mut foreign = motion.clone();
    foreign.metadata.model.name = "zeroscope".into();
    foreign.metadata.model.sha256 = "0".repeat(64);
    let message = pipeline.check_origin(&foreign).unwrap_err().to_string();
    assert!(
        message.contains("zeroscope") && message.contains("sprites"),
        "{message}"
    );

    let mut elsewhere = motion.clone();
    elsewhere.sites[0].site = "down_blocks.9".into();
    let error = pipeline
        .generate(Some(&elsewhere), PROMPT, 0, &generation, &mut Quiet)
        .unwrap_err();
    assert!(error.to_string().contains("down_blocks.9"), "{error}");

    let mut wide = motion.clone();
    wide.inverted_latents = Some(Array {
        shape: vec![1, 5, 16, 8, 8],
        values: vec![0.0; 5 * 16 * 64],
    });
    let error = pipeline
        .generate(Some(&wide), PROMPT, 0, &generation, &mut Quiet)
        .unwrap_err();
    assert!(error.to_string().contains("5 channels"), "{error}");
}

#[test]
fn a_single_frame_has_no_motion() {
    let frame = bounce().frames()[0].clone();
    let clip = kinvert::Clip::new(vec![frame], 8.0).unwrap();
    let (settings, _) = quick();
    let error = built_in()
        .invert(&clip, CAPTION, &settings, None, &mut Quiet)
        .unwrap_err();
    assert!(matches!(error, Error::TooFewFrames { found: 1 }), "{error}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let (settings, _) = quick();
    let settings = InversionSettings {
        learning_rate: 1e30,
        ..settings
    };
    let error = built_in()
        .invert(&bounce(), CAPTION, &settings, None, &mut Quiet)
        .unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
}

#[test]
fn the_vae_shows_the_clip_again() {
    let recording = Recording::open("sprites/golden/networks.safetensors");
    let clip = first_sprites()
        .decode_latents(golden_latents(), 8.0, &mut Quiet)
        .unwrap();
    let expected: Vec<f32> = recording.f32s("vae_decode");
    let found: Vec<f32> = clip
        .frames()
        .iter()
        .flat_map(|f| f.as_raw().iter().map(|v| f32::from(*v) / 255.0))
        .collect();
    assert_close(
        "vae_decode",
        &found,
        &expected,
        Tolerance::Absolute(0.5 / 255.0 + 1e-3),
    );
}
