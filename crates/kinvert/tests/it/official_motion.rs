//! Parity with the published code of the method on a small random network. Tolerances are those that the
//! fixtures' README states.

use burn::tensor::Tensor;
use kinvert::embedding::SiteEmbeddings;
use kinvert::gradient::Activations;
use kinvert::inversion::{Draw, Learner, Reference};
use kinvert::modulation::MotionModulation;
use kinvert::{Debias, Integration, InversionSettings, Objective};
use kinvert_diffusion::{DdimInversion, Guidance, Sampler, SamplerKind};
use kinvert_nets::layers::temporal::TemporalModulation;
use kinvert_nets::{Hooks, SitePart, TemporalSite};
use kinvert_testkit::{Recording, Tolerance, assert_close, values};

use crate::support::{B, Inner, published_embeddings, schedule, unet};

const FORWARD: Tolerance = Tolerance::Absolute(2e-5);

fn random_embeddings(frames: usize) -> Vec<SiteEmbeddings> {
    let recording = Recording::open("parity/official_motion/embeddings_random_f16.safetensors");
    published_embeddings(&recording, "", [8, 8], frames)
}

fn debiased(embeddings: &[SiteEmbeddings], debias: Debias) -> Vec<SiteEmbeddings> {
    let site = |site: &SiteEmbeddings| SiteEmbeddings {
        values: site.map(|embedding| embedding.debiased(debias, 1)).values,
        ..site.clone()
    };
    embeddings.iter().map(site).collect()
}

fn modulation(embeddings: &[SiteEmbeddings]) -> MotionModulation<Inner> {
    MotionModulation::new(Integration::AddBefore, embeddings, &Default::default())
}

/// One prediction of the plain-backend network.
fn predict(
    recording: &Recording,
    modulation: Option<&dyn TemporalModulation<Inner>>,
) -> Tensor<Inner, 5> {
    use burn::module::AutodiffModule;
    let device = Default::default();
    let timestep = recording.i64s("timestep")[0] as f64;
    unet().valid().forward(
        recording.tensor("latents", &device),
        &[timestep],
        recording.tensor("text", &device),
        Hooks::temporal(modulation),
    )
}

#[test]
fn forward_with_and_without_embeddings() {
    let recording = Recording::open("parity/official_motion/forward.safetensors");
    recording.expect("sample.no_embeddings", predict(&recording, None), FORWARD);

    let embeddings = random_embeddings(8);
    recording.expect(
        "sample.train",
        predict(&recording, Some(&modulation(&embeddings))),
        FORWARD,
    );
    let difference = modulation(&debiased(&embeddings, Debias::Difference));
    recording.expect(
        "sample.frame_subtraction",
        predict(&recording, Some(&difference)),
        FORWARD,
    );
    let camera = modulation(&embeddings).without_values();
    recording.expect(
        "sample.remove_m_from_v",
        predict(&recording, Some(&camera)),
        FORWARD,
    );
}

#[test]
fn forward_on_a_grid_that_is_not_square_and_a_batch_of_two() {
    let recording = Recording::open("parity/official_motion/forward_nonsquare.safetensors");
    let embeddings = published_embeddings(&recording, "embed.", [2, 3], 5);
    recording.expect(
        "sample.train",
        predict(&recording, Some(&modulation(&embeddings))),
        FORWARD,
    );
    let difference = modulation(&debiased(&embeddings, Debias::Difference));
    recording.expect(
        "sample.frame_subtraction",
        predict(&recording, Some(&difference)),
        FORWARD,
    );
    let camera = modulation(&embeddings).without_values();
    recording.expect(
        "sample.remove_m_from_v",
        predict(&recording, Some(&camera)),
        FORWARD,
    );
    let half: Vec<SiteEmbeddings> = embeddings
        .iter()
        .map(|site| site.map(|embedding| embedding.scaled(0.5)))
        .collect();
    recording.expect(
        "sample.train.scale_0.5",
        predict(&recording, Some(&modulation(&half))),
        FORWARD,
    );
}

#[test]
fn embeddings_of_zero_change_nothing_in_any_integration() {
    let recording = Recording::open("parity/official_motion/forward.safetensors");
    let plain = values(predict(&recording, None));
    let zeros: Vec<SiteEmbeddings> = random_embeddings(8)
        .into_iter()
        .map(|site| site.map(|embedding| embedding.scaled(0.0)))
        .collect();
    for integration in [
        Integration::AddBefore,
        Integration::AddAfter,
        Integration::MultiplyBefore,
        Integration::MultiplyAfter,
    ] {
        let modulation = MotionModulation::new(integration, &zeros, &Default::default());
        assert_eq!(
            values(predict(&recording, Some(&modulation))),
            plain,
            "{integration:?}"
        );
    }
}

/// The sites of the recordings.
fn sites() -> Vec<TemporalSite> {
    random_embeddings(8)
        .into_iter()
        .map(|site| TemporalSite {
            part: if site.site.starts_with("up") {
                SitePart::Up
            } else {
                SitePart::Down
            },
            name: site.site,
            channels: 16,
            level: 2,
        })
        .collect()
}

fn reference(recording: &Recording) -> Reference<B> {
    let device = Default::default();
    Reference {
        latents: recording.tensor("latents", &device),
        caption_states: recording.tensor("text", &device),
    }
}

/// Names of the published embeddings in the learner's order.
fn published_names() -> Vec<String> {
    let names = |site: TemporalSite| {
        ["pos_embed", "attn1.vSpatial", "attn2.vSpatial"]
            .map(|name| format!("{}.{name}", site.name))
    };
    sites().into_iter().flat_map(names).collect()
}

#[test]
fn losses_and_gradients_of_every_embedding() {
    let recording = Recording::open("parity/official_motion/grads.safetensors");
    let (unet, schedule) = (unet(), schedule("ddim_epsilon_leading"));
    let device = Default::default();
    for (loss_name, objective) in [
        ("base", Objective::Base),
        ("debiased", Objective::DebiasedTemporal),
    ] {
        let settings = InversionSettings {
            objective,
            ..Default::default()
        };
        for (start, activations) in [
            ("zero", Activations::Keep),
            ("zero", Activations::Recompute),
            ("random", Activations::Keep),
            ("random", Activations::Recompute),
        ] {
            let mut learner =
                Learner::new(&unet, &schedule, &settings, &sites(), [8, 32, 32], &device)
                    .with_activations(activations);
            if start == "random" {
                learner.set_embeddings(&random_embeddings(8), &device);
            }
            let (loss, gradients) = learner.gradients(&reference(&recording), draw(&recording));
            let name = format!("{loss_name}.{start}");
            assert_close(
                &format!("{name}.loss, {activations:?}"),
                &[loss],
                &recording.f32s(&format!("{name}.loss")),
                Tolerance::Absolute(1e-5),
            );
            for (key, gradient) in published_names().iter().zip(gradients) {
                recording.expect(
                    &format!("{name}.grad.{key}"),
                    gradient,
                    Tolerance::RelativeL2(1e-4),
                );
            }
        }
    }
}

fn draw(recording: &Recording) -> Draw<B> {
    Draw {
        timestep: recording.i64s("timestep")[0] as usize,
        noise: recording.tensor("noise", &Default::default()),
        frame: recording.i64s("random_frame")[0] as usize,
        lora: None,
    }
}

#[test]
fn loss_of_a_velocity_model() {
    let recording = Recording::open("parity/official_motion/grads.safetensors");
    let (unet, schedule) = (unet(), schedule("ddim_v_prediction_leading"));
    let device = Default::default();
    let settings = InversionSettings {
        objective: Objective::Base,
        ..Default::default()
    };
    let mut learner = Learner::new(&unet, &schedule, &settings, &sites(), [8, 32, 32], &device);
    learner.set_embeddings(&random_embeddings(8), &device);
    let (loss, _) = learner.gradients(&reference(&recording), draw(&recording));
    let name = "base_v_prediction.random.loss";
    assert_close(
        name,
        &[loss],
        &recording.f32s(name),
        Tolerance::Absolute(1e-5),
    );
}

#[test]
fn gradients_agree_with_finite_differences_in_every_integration() {
    let recording = Recording::open("parity/official_motion/grads.safetensors");
    let (unet, schedule) = (unet(), schedule("ddim_epsilon_leading"));
    let device = Default::default();
    for integration in [
        Integration::AddBefore,
        Integration::AddAfter,
        Integration::MultiplyBefore,
        Integration::MultiplyAfter,
    ] {
        let settings = InversionSettings {
            integration,
            ..Default::default()
        };
        let mut learner = Learner::new(&unet, &schedule, &settings, &sites(), [8, 32, 32], &device);
        let start = random_embeddings(8);
        learner.set_embeddings(&start, &device);
        let (_, gradients) = learner.gradients(&reference(&recording), draw(&recording));
        // Along the gradient itself the loss changes by its squared norm times the step. The step is chosen so
        // that the change stands well above the float32 noise of the loss (about 1e-6).
        let squared: f64 = gradients
            .iter()
            .flat_map(|g| values(g.clone()))
            .map(|g| f64::from(g) * f64::from(g))
            .sum();
        let step = 5e-3 / squared;
        let mut loss_at = |sign: f64| {
            let mut moved = start.clone();
            for (site, gradients) in moved.iter_mut().zip(gradients.chunks(3)) {
                let gradients = std::cell::RefCell::new(gradients.iter());
                *site = site.map(|embedding| {
                    let change = values(gradients.borrow_mut().next().unwrap().clone());
                    let sum = embedding
                        .values()
                        .iter()
                        .zip(change)
                        .map(|(v, g)| v + (sign * step) as f32 * g);
                    embedding.with_values(sum.collect())
                });
            }
            learner.set_embeddings(&moved, &device);
            f64::from(
                learner
                    .gradients(&reference(&recording), draw(&recording))
                    .0,
            )
        };
        let slope = (loss_at(1.0) - loss_at(-1.0)) / (2.0 * step);
        let ratio = slope / squared;
        assert!(
            (ratio - 1.0).abs() < 0.02,
            "{integration:?}: slope {slope:e}, squared gradient {squared:e}"
        );
    }
}

#[test]
fn ten_steps_of_adamw() {
    let recording = Recording::open("parity/official_motion/adamw.safetensors");
    let (unet, schedule) = (unet(), schedule("ddim_epsilon_leading"));
    let device = Default::default();
    let settings = InversionSettings {
        objective: Objective::Base,
        ..Default::default()
    };
    let mut learner = Learner::new(&unet, &schedule, &settings, &sites(), [8, 32, 32], &device);
    let noise: Tensor<B, 6> = recording.tensor("noise", &device);
    let mut losses = Vec::new();
    for (step, timestep) in recording.i64s("timesteps").into_iter().enumerate() {
        let noise = noise.clone().narrow(0, step, 1).squeeze_dim(0);
        let draw = Draw {
            timestep: timestep as usize,
            noise,
            frame: 0,
            lora: None,
        };
        let (loss, gradients) = learner.gradients(&reference(&recording), draw);
        losses.push(loss);
        learner.step(gradients);
    }
    assert_close(
        "loss",
        &losses,
        &recording.f32s("loss"),
        Tolerance::Absolute(1e-5),
    );
    for site in learner.embeddings() {
        let names = ["pos_embed", "attn1.vSpatial", "attn2.vSpatial"];
        for (name, embedding) in names.into_iter().zip(site.embeddings()) {
            let embedding = embedding.unwrap();
            let key = format!("final.{}.{name}", site.site);
            let expected = recording.f32s(&key);
            assert_close(
                &key,
                embedding.values(),
                &expected,
                Tolerance::Absolute(2e-3),
            );
            assert_close(
                &key,
                embedding.values(),
                &expected,
                Tolerance::MeanAbsolute(1e-5),
            );
        }
    }
}

#[test]
fn ddim_inversion_of_the_plain_network() {
    use burn::module::AutodiffModule;
    let recording = Recording::open("parity/official_motion/inversion.safetensors");
    let unet = unet().valid();
    let device = Default::default();
    let mut inversion = DdimInversion::new(&schedule("ddim_epsilon_leading"), 10).unwrap();
    let timesteps = Sampler::<Inner, 5>::timesteps(&inversion).to_vec();
    let recorded: Vec<usize> = recording
        .i64s("timesteps_in_order")
        .into_iter()
        .map(|t| t as usize)
        .collect();
    assert_eq!(timesteps, recorded);
    let mut latents: Tensor<Inner, 5> = recording.tensor("latents", &device);
    for (index, timestep) in timesteps.into_iter().enumerate() {
        let text = recording.tensor("text", &device);
        let output = unet.forward(latents.clone(), &[timestep as f64], text, Hooks::default());
        latents = inversion.step(output, index, latents);
        let name = format!("latents.after_{}", index + 1);
        if recording.names().contains(&name) {
            recording.expect(&name, latents.clone(), FORWARD);
        }
    }
}

#[test]
fn guided_sampling_with_embeddings() {
    use burn::module::AutodiffModule;
    let recording = Recording::open("parity/official_motion/cfg_sampling.safetensors");
    let unet = unet().valid();
    let device = Default::default();
    let embeddings = random_embeddings(8);
    let difference = modulation(&debiased(&embeddings, Debias::Difference));
    let camera = modulation(&embeddings).without_values();
    let text: Tensor<Inner, 3> = Tensor::cat(
        vec![
            recording.tensor("negative_text", &device),
            recording.tensor("text", &device),
        ],
        0,
    );
    let guidance = Guidance::new(12.0).unwrap();
    for (name, modulation) in [
        ("frame_subtraction", difference),
        ("remove_m_from_v", camera),
    ] {
        let mut sampler = SamplerKind::Ddim
            .build(&schedule("ddim_epsilon_leading"), 5)
            .unwrap();
        let mut latents: Tensor<Inner, 5> = recording.tensor("latents", &device);
        for index in 0..sampler.steps() {
            let both = Tensor::cat(vec![latents.clone(), latents.clone()], 0);
            let timestep = sampler.timesteps()[index] as f64;
            let output = unet.forward(
                both,
                &[timestep],
                text.clone(),
                Hooks::temporal(Some(&modulation)),
            );
            latents = sampler.step(guidance.combine_halves(output), index, latents);
            let name = format!("{name}.after_{}", index + 1);
            if recording.names().contains(&name) {
                recording.expect(&name, latents.clone(), Tolerance::Absolute(1e-3));
            }
        }
    }
}
