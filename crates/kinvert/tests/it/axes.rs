//! Every shape of embedding and every integration, on the small network of the published code's recordings and
//! smaller latents than theirs: what learning starts from, and that gradients are those of the loss.

use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use kinvert::checkpoint::Checkpoint;
use kinvert::embedding::SiteEmbeddings;
use kinvert::inversion::{Draw, Learner, Reference};
use kinvert::modulation::MotionModulation;
use kinvert::projection::Projection;
use kinvert::{EmbeddingShape, Error, Integration, InversionSettings, Progress, Quiet};
use kinvert_diffusion::NoiseSource;
use kinvert_nets::{Hooks, SitePart, TemporalSite, VideoUNet};
use kinvert_testkit::{Recording, values};

use crate::support::{B, schedule, unet};

/// Four frames; the site has a grid of 4x2.
const LATENTS: [usize; 5] = [1, 4, 4, 16, 8];
const CHANNELS: usize = 16;

/// The last site in the order of a forward pass: the shortest way for gradients.
fn site() -> TemporalSite {
    TemporalSite {
        name: "up_blocks.1.temp_attentions.2.transformer_blocks.0".into(),
        part: SitePart::Up,
        channels: CHANNELS,
        level: 2,
    }
}

fn settings(integration: Integration, query_key: &str, values: &str) -> InversionSettings {
    InversionSettings {
        integration,
        query_key: query_key.parse().unwrap(),
        values: values.parse().unwrap(),
        ..Default::default()
    }
}

/// Every integration with the shapes of the method, and every shape with the integration of the method.
fn cases() -> Vec<InversionSettings> {
    let integrations = [
        Integration::AddAfter,
        Integration::MultiplyBefore,
        Integration::MultiplyAfter,
        Integration::Concat,
    ];
    let shapes = [
        ("1d", "2d"),
        ("2d", "1d"),
        ("grid-2x2", "2d"),
        ("grid-3x1", "off"),
        ("off", "2d"),
        ("1d", "off"),
    ];
    let of_integration = |integration| settings(integration, "1d", "2d");
    let of_shape = |(query_key, values)| settings(Integration::AddBefore, query_key, values);
    let integrations = integrations.into_iter().map(of_integration);
    integrations
        .chain(shapes.into_iter().map(of_shape))
        .collect()
}

fn name(settings: &InversionSettings) -> String {
    format!(
        "{:?} {} {}",
        settings.integration, settings.query_key, settings.values
    )
}

fn reference() -> Reference<B> {
    let recording = Recording::open("parity/official_motion/grads.safetensors");
    let device = Default::default();
    Reference {
        latents: NoiseSource::new(1).gaussian("test.latents", 0, LATENTS, &device),
        caption_states: recording.tensor("text", &device),
    }
}

/// A learner at its start, and the first draw.
fn with_learner(
    unet: &VideoUNet<B>,
    settings: &InversionSettings,
    check: impl FnOnce(Learner<'_, B>, Draw<B>),
) {
    let schedule = schedule("ddim_epsilon_leading");
    let device = Default::default();
    let latents = [LATENTS[2], LATENTS[3], LATENTS[4]];
    let learner = Learner::new(unet, &schedule, settings, &[site()], latents, &device);
    let draw = learner.draw(0, LATENTS, &device).unwrap();
    check(learner, draw);
}

#[test]
fn learning_starts_from_the_plain_model_and_can_leave_it() {
    let (unet, reference) = (unet(), reference());
    let plain_unet = unet.valid();
    let predict = |modulation: Option<&MotionModulation<_>>| {
        values(plain_unet.forward(
            reference.latents.clone().inner(),
            &[500.0],
            reference.caption_states.clone().inner(),
            Hooks::temporal(modulation.map(|m| m as _)),
        ))
    };
    let plain = predict(None);
    for settings in cases() {
        with_learner(&unet, &settings, |learner, draw| {
            let start = learner.embeddings();
            let modulation =
                MotionModulation::new(settings.integration, &start, &Default::default());
            assert_eq!(predict(Some(&modulation)), plain, "{}", name(&settings));
            let gradients = learner.gradients(&reference, draw).1;
            let is_moved = gradients.into_iter().map(|gradient| {
                let gradient = values(gradient);
                gradient.iter().any(|g| *g != 0.0)
            });
            let is_moved: Vec<bool> = is_moved.collect();
            match settings.integration {
                // Every projection is, and moves the embedding before it from the second step on.
                Integration::Concat => assert_eq!(is_moved, [false, true].repeat(3)),
                _ => assert!(
                    !is_moved.contains(&false),
                    "{}: {is_moved:?}",
                    name(&settings)
                ),
            }
        });
    }
}

/// Numbers like those that learning ends with, other at every place.
fn random(site: &SiteEmbeddings) -> SiteEmbeddings {
    let noise = |count: usize, deviation: f64| {
        let source = NoiseSource::new(2);
        let noise: Tensor<B, 1> = source.gaussian("test.start", 0, [count], &Default::default());
        values(noise * deviation)
    };
    let projections = site.projections.each_ref().map(|found| {
        let count = found.as_ref()?.values().len();
        Some(Projection::new(CHANNELS, noise(count, 3.0)))
    });
    SiteEmbeddings {
        projections,
        ..site.map(|embedding| embedding.with_values(noise(embedding.values().len(), 0.3)))
    }
}

#[test]
fn gradients_of_every_parameter_agree_with_finite_differences() {
    let (unet, reference, device) = (unet(), reference(), Default::default());
    for settings in cases() {
        with_learner(&unet, &settings, |mut learner, draw| {
            let start: Vec<_> = learner.embeddings().iter().map(random).collect();
            learner.set_embeddings(&start, &device);
            let (_, gradients) = learner.gradients(&reference, draw.clone());
            for (index, gradient) in gradients.into_iter().enumerate() {
                // Along its own gradient the loss changes by the squared norm times the step. A move of this
                // length changes it by more than a hundred times its float32 noise (about 1e-6), and bends it
                // by less than a percent.
                let gradient = values(gradient);
                let squared: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
                let step = 0.1 / squared.sqrt();
                let mut loss_at = |step: f64| {
                    learner.set_embeddings(&moved(&start, index, &gradient, step), &device);
                    f64::from(learner.gradients(&reference, draw.clone()).0)
                };
                let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
                assert!(
                    (slope / squared - 1.0).abs() < 0.03,
                    "{}, parameter {index}: slope {slope:e}, squared gradient {squared:e}",
                    name(&settings)
                );
            }
        });
    }
}

/// The start with one parameter moved along a direction.
fn moved(
    start: &[SiteEmbeddings],
    parameter: usize,
    direction: &[f32],
    step: f64,
) -> Vec<SiteEmbeddings> {
    let count = std::cell::Cell::new(0);
    let change = |values: &[f32]| {
        let index = count.replace(count.get() + 1);
        let step = if index == parameter { step as f32 } else { 0.0 };
        let moved = values.iter().zip(direction).map(|(v, d)| v + step * d);
        if index == parameter {
            moved.collect()
        } else {
            values.to_vec()
        }
    };
    let site = |site: &SiteEmbeddings| {
        let mut moved = site.clone();
        let [value1, value2] = &mut moved.values;
        let embeddings = [&mut moved.query_key, value1, value2];
        for (embedding, projection) in embeddings.into_iter().zip(&mut moved.projections) {
            if let Some(embedding) = embedding {
                *embedding = embedding.with_values(change(embedding.values()));
            }
            if let Some(projection) = projection {
                *projection = Projection::new(CHANNELS, change(projection.values()));
            }
        }
        moved
    };
    start.iter().map(site).collect()
}

#[test]
fn learned_shapes_are_those_of_the_settings() {
    let unet = unet();
    for (query_key, values, expected) in [
        ("1d", "2d", [Some(1), Some(8), Some(8)]),
        ("2d", "1d", [Some(8), Some(1), Some(1)]),
        ("grid-3x1", "off", [Some(3), None, None]),
        ("off", "off", [None, None, None]),
    ] {
        let settings = settings(Integration::AddBefore, query_key, values);
        with_learner(&unet, &settings, |learner, _| {
            let embeddings = learner.embeddings();
            let positions = embeddings[0]
                .embeddings()
                .map(|found| found.map(|embedding| embedding.shape()[0]));
            assert_eq!(positions, expected);
            assert_eq!(embeddings[0].grid, [4, 2]);
        });
    }
    let coarse: EmbeddingShape = "grid-3x1".parse().unwrap();
    assert_eq!(coarse.grid([4, 2]), Some([3, 1]));
}

/// Stops after two steps.
#[derive(Default)]
struct Stop {
    done: usize,
}

impl Progress for Stop {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn advance(&mut self, done: usize, _detail: &str) {
        self.done = done;
    }
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        self.done == 2
    }
}

#[test]
#[allow(clippy::result_large_err)] // what the learner calls returns the library's error, which is large
fn learning_by_concatenation_goes_on_where_it_was_stopped() {
    let (unet, reference, device) = (unet(), reference(), Default::default());
    let settings = InversionSettings {
        steps: 4,
        learning_rate: 0.1,
        ..settings(Integration::Concat, "grid-2x2", "2d")
    };
    let mut whole = None;
    with_learner(&unet, &settings, |mut learner, _| {
        let start = learner.embeddings();
        learner.run(&reference, |_| Ok(()), &mut Quiet).unwrap();
        let learned = learner.embeddings();
        for (learned, start) in learned[0].embeddings().iter().zip(start[0].embeddings()) {
            assert_ne!(
                *learned, start,
                "projections let gradients through to embeddings"
            );
        }
        whole = Some((learned, learner.losses().to_vec()));
    });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    with_learner(&unet, &settings, |mut learner, _| {
        let save = |checkpoint: Checkpoint| checkpoint.save(&path, "run");
        let stopped = learner.run(&reference, save, &mut Stop::default());
        assert!(matches!(stopped, Err(Error::Cancelled)));
    });
    with_learner(&unet, &settings, |mut learner, _| {
        let checkpoint = Checkpoint::load(&path, "run").unwrap();
        assert_eq!(checkpoint.losses.len(), 2);
        assert!(learner.resume(checkpoint, &device));
        learner.run(&reference, |_| Ok(()), &mut Quiet).unwrap();
        assert_eq!(
            Some((learner.embeddings(), learner.losses().to_vec())),
            whole
        );
    });
}
