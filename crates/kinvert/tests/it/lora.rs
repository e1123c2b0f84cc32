//! LoRAs of the spatial transformers: against recordings of diffusers and peft on a small random network, and learned
//! beside a motion on the built-in model. Tolerances are those of the fixtures' README.

use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use kinvert::gradient::{Activations, OwnedHooks, Parameters, Question, loss_and_gradients};
use kinvert::inversion::{Learner, Reference};
use kinvert::lora::{LoraAdapter, LoraTensors};
use kinvert::{
    Error, GenerationSettings, InversionSettings, Motion, Objective, Quiet, SpatialLora,
};
use kinvert_nets::Hooks;
use kinvert_testkit::{Recording, Tolerance, assert_close, fixtures_dir};

use crate::support::{B, StopAfter, bounce, built_in, first_sprites, unet};

const CAPTION: &str = "a red circle on a gray background";
const PROMPT: &str = "a yellow star on a striped background";

fn recorded(file: &str) -> SpatialLora {
    let path = fixtures_dir().join("unet3d_lora").join(file);
    SpatialLora::load(&path, &unet().spatial_linears()).unwrap()
}

#[test]
fn every_layout_computes_what_the_library_computes() {
    let recording = Recording::open("unet3d_lora/io.safetensors");
    let (unet, device) = (unet().valid(), Default::default());
    for (alpha, other) in [(4, "older_form"), (8, "kohya_form")] {
        let lora = recorded(&format!("alpha_{alpha}/pytorch_lora_weights.safetensors"));
        assert_eq!(
            lora,
            recorded(&format!("alpha_{alpha}/{other}.safetensors"))
        );
        assert_eq!(lora.layers.len(), 192);
        for (strength, scale) in [(1.0, "1"), (0.5, "0.5")] {
            let adapter = LoraAdapter::new(&lora, strength, &device);
            let hooks = Hooks {
                temporal: None,
                spatial: Some(&adapter),
            };
            let sample = unet.forward(
                recording.tensor("latents", &device),
                &[501.0],
                recording.tensor("text", &device),
                hooks,
            );
            let name = format!("alpha_{alpha}.scale_{scale}.sample");
            recording.expect(&name, sample, Tolerance::Absolute(2e-5));
        }
    }
}

#[test]
fn gradients_are_those_of_the_library_whole_and_stage_by_stage() {
    let recording = Recording::open("unet3d_lora/io.safetensors");
    let (unet, device) = (unet(), Default::default());
    for alpha in [4, 8] {
        let lora = recorded(&format!("alpha_{alpha}/pytorch_lora_weights.safetensors"));
        let constant: LoraAdapter<B> = LoraAdapter::new(&lora, 1.0, &device);
        let matrices = constant.layers.values().flat_map(|layer| {
            let matrices = [
                layer.down.clone(),
                layer.up.clone() / (f64::from(alpha) / 4.0),
            ];
            matrices.map(|matrix| matrix.inner().unsqueeze())
        });
        let parameters = Parameters {
            values: matrices.collect(),
            paths: constant.layers.keys().map(String::as_str).collect(),
            hooks: &|matrices| {
                let layers = constant.layers.keys().zip(matrices.chunks(2));
                let layers = layers.map(|(path, pair)| {
                    let [down, up] = [0, 1].map(|half| pair[half].clone().squeeze_dim(0));
                    let up: Tensor<B, 2> = up * (f64::from(alpha) / 4.0);
                    (path.clone(), LoraTensors { down, up })
                });
                OwnedHooks {
                    temporal: None,
                    spatial: Some(Box::new(LoraAdapter {
                        layers: layers.collect(),
                        dropout: None,
                    })),
                }
            },
        };
        for activations in [Activations::Keep, Activations::Recompute] {
            let question = Question {
                sample: recording.tensor("latents", &device),
                timestep: 501.0,
                text: recording.tensor("text", &device),
            };
            let target: Tensor<B, 5> = recording.tensor("target", &device);
            let of_frame = |predicted: Tensor<B, 5>| {
                let error = predicted.narrow(2, 2, 1) - target.clone().narrow(2, 2, 1);
                error.powi_scalar(2).mean()
            };
            let (loss, gradients) =
                loss_and_gradients(&unet, question, &parameters, of_frame, activations);
            let name = format!("alpha_{alpha}.loss");
            let expected = recording.f32s(&name);
            assert_close(&name, &[loss], &expected, Tolerance::Absolute(1e-5));
            let paths = parameters.paths.iter();
            let names = paths.flat_map(|path| ["A", "B"].map(|half| format!("{path}.lora_{half}")));
            let mut compared = 0;
            for (name, gradient) in names.zip(gradients) {
                let name = format!("alpha_{alpha}.grad.{name}");
                if recording.names().contains(&name) {
                    let gradient: Tensor<_, 2> = gradient.squeeze_dim(0);
                    recording.expect(&name, gradient, Tolerance::RelativeL2(1e-4));
                    compared += 1;
                }
            }
            assert_eq!(compared, 4);
        }
    }
}

#[test]
fn a_lora_of_another_network_is_refused_by_layer() {
    let path = fixtures_dir().join("unet3d_lora/alpha_4/older_form.safetensors");
    let mut pipeline = built_in();
    let error = pipeline.load_lora(&path).unwrap_err();
    assert!(matches!(error, Error::LoraFile { .. }));
    let message = error.to_string();
    assert!(
        message.contains("older_form.safetensors: not a usable LoRA file: "),
        "{message}"
    );
    assert!(
        message.contains("down_blocks.0.attentions.0.proj_in"),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("export --lora"));
    assert!(pipeline.lora().is_none());
    assert!(matches!(
        pipeline.load_lora("/no/such/file".as_ref()),
        Err(Error::Io { .. })
    ));
}

fn hybrid(steps: usize) -> InversionSettings {
    InversionSettings {
        steps,
        objective: Objective::DebiasedHybrid,
        ddim_inversion_steps: 2,
        learning_rate: 0.1,
        ..Default::default()
    }
}

#[test]
fn both_losses_fall() {
    let pipeline = first_sprites();
    let device = *pipeline.device();
    let settings = InversionSettings {
        learning_rate: 2e-3,
        lora_learning_rate: 1e-3,
        timesteps: "400-600".parse().unwrap(),
        ..hybrid(12)
    };
    let sites = settings.sites.select(&pipeline.sites()).unwrap();
    let networks = Recording::open("sprites/golden/networks.safetensors");
    let latents: Tensor<B, 5> = networks.tensor("latents", &device);
    let shape = latents.dims();
    let reference = Reference {
        latents,
        caption_states: Tensor::from_inner(pipeline.text_states(CAPTION, &mut Quiet).unwrap()),
    };
    let (unet, schedule) = (pipeline.tracked_unet(), pipeline.schedule());
    let mut learner = Learner::new(unet, schedule, &settings, &sites, [16, 8, 8], &device);
    // The same draw again and again: what is learned must fit it better, the looks and the motion each by its own loss.
    let mut steps = (0..).map(|step| learner.draw(step, shape, &device).unwrap());
    let draw = steps.find(|draw| draw.lora.is_some()).unwrap();
    drop(steps);
    let mut losses = Vec::new();
    for _ in 0..12 {
        let of_lora = learner.lora_gradients(&reference, &draw).unwrap();
        let (loss, gradients) = learner.gradients(&reference, draw.clone());
        losses.push([loss, of_lora.0]);
        learner.step(gradients);
        learner.lora_step(of_lora);
    }
    let ([motion, looks], [later_motion, later_looks]) = (losses[0], losses[11]);
    assert!(later_motion < 0.9 * motion, "motion: {losses:?}");
    assert!(later_looks < 0.9 * looks, "looks: {losses:?}");
    assert_eq!(learner.lora_losses().len(), 12);
}

#[test]
fn a_lora_that_is_never_on_leaves_the_debiased_temporal_objective() {
    let pipeline = built_in();
    let learn = |settings: &InversionSettings| {
        pipeline
            .invert(&bounce(), CAPTION, settings, None, &mut Quiet)
            .unwrap()
    };
    let never = learn(&InversionSettings {
        lora_probability: 0.0,
        ..hybrid(3)
    });
    let temporal = learn(&InversionSettings {
        objective: Objective::DebiasedTemporal,
        ..hybrid(3)
    });
    assert_eq!(never.sites, temporal.sites);
    assert_eq!(never.metadata.losses, temporal.metadata.losses);
    assert!(never.metadata.lora_losses.is_empty() && never.lora.is_none());
    let always = learn(&InversionSettings {
        lora_probability: 1.0,
        ..hybrid(3)
    });
    assert_eq!(always.metadata.lora_losses.len(), 3);
    assert_ne!(always.sites, temporal.sites);
}

#[test]
fn a_hybrid_run_that_was_stopped_goes_on_to_the_same_motion_and_lora() {
    let pipeline = built_in();
    let settings = InversionSettings {
        keep_lora: true,
        ..hybrid(8)
    };
    let learn = |workspace, progress: &mut dyn kinvert::Progress| {
        let learned = pipeline.invert(&bounce(), CAPTION, &settings, workspace, progress);
        learned.map_err(|error| error.to_string())
    };
    let whole = learn(None, &mut Quiet).unwrap();
    assert!(whole.lora.is_some());
    let folder = tempfile::tempdir().unwrap();
    for steps in [2, 5] {
        let mut stop = StopAfter {
            steps,
            done: Default::default(),
        };
        let stopped = learn(Some(folder.path()), &mut stop);
        assert_eq!(stopped.unwrap_err(), "interrupted");
    }
    assert_eq!(learn(Some(folder.path()), &mut Quiet).unwrap(), whole);
}

#[test]
fn a_kept_lora_is_replayed_from_the_motion_or_from_a_file_at_a_strength() {
    let mut pipeline = built_in();
    let settings = InversionSettings {
        keep_lora: true,
        lora_learning_rate: 0.02,
        ..hybrid(3)
    };
    let learned = pipeline
        .invert(&bounce(), CAPTION, &settings, None, &mut Quiet)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [motion_file, lora_file] =
        ["a.motion.safetensors", "a.safetensors"].map(|name| folder.path().join(name));
    learned.save(&motion_file).unwrap();
    let motion = Motion::load(&motion_file).unwrap();
    assert_eq!(motion, learned);
    motion.lora.as_ref().unwrap().save(&lora_file).unwrap();
    let without = Motion {
        lora: None,
        ..motion.clone()
    };

    let generate = |pipeline: &kinvert::Pipeline<B>, motion, lora_strength| {
        let settings = GenerationSettings {
            steps: 2,
            lora_strength,
            ..Default::default()
        };
        let clip = pipeline.generate(motion, PROMPT, 0, &settings, &mut Quiet);
        let sha256 = clip.map(|clip| kinvert::pixels::sha256(&clip));
        sha256.map_err(|error| error.to_string())
    };
    let plain = generate(&pipeline, Some(&without), None).unwrap();
    assert_eq!(
        generate(&pipeline, Some(&motion), None).unwrap(),
        plain,
        "it is thrown away"
    );
    let whole = generate(&pipeline, Some(&motion), Some(1.0)).unwrap();
    let half = generate(&pipeline, Some(&motion), Some(0.5)).unwrap();
    assert!(plain != whole && whole != half && half != plain);
    let message = generate(&pipeline, Some(&without), Some(0.5)).unwrap_err();
    assert!(
        message.starts_with("`lora strength` is 0.5, expected 0"),
        "{message}"
    );

    pipeline.load_lora(&lora_file).unwrap();
    assert_eq!(
        pipeline.lora().unwrap().sha256,
        motion.lora.as_ref().unwrap().sha256()
    );
    assert_eq!(generate(&pipeline, Some(&without), None).unwrap(), whole);
    assert_eq!(generate(&pipeline, Some(&motion), Some(0.5)).unwrap(), half);
    assert_eq!(
        generate(&pipeline, Some(&motion), Some(0.0)).unwrap(),
        plain
    );
    let free = [None, Some(0.0)].map(|strength| generate(&pipeline, None, strength).unwrap());
    assert_ne!(free[0], free[1]);
}

#[test]
fn a_lora_in_a_motion_must_fit_the_network() {
    let pipeline = built_in();
    let mut motion = pipeline
        .invert(&bounce(), CAPTION, &hybrid(1), None, &mut Quiet)
        .unwrap();
    motion.lora = Some(recorded("alpha_4/older_form.safetensors"));
    let settings = GenerationSettings {
        steps: 1,
        lora_strength: Some(1.0),
        ..Default::default()
    };
    let error = pipeline
        .generate(Some(&motion), PROMPT, 0, &settings, &mut Quiet)
        .unwrap_err();
    assert!(matches!(error, Error::MotionDoesNotFit { .. }), "{error}");
}
