//! How well motion is transferred, where the truth is known.
//!
//! References are held-out sprites that move; the motion of each is learned once and replayed in several ways, always with
//! a prompt that names another shape, colour and background.

use kinvert::{Clip, Debias, GenerationSettings, InitialNoise};
use kinvert_base::{Progress, Within};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_world::{Background, Colour, FPS, Look, Motion, Scene, Shape, track};
use serde::Serialize;

use super::{AttributeShares, Mean, Settings, Subject, Verdict, stop_if_asked};
use crate::{Error, held_out_scene};

/// What every way of replaying gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// In the order of the table.
    pub ways: Vec<Way>,
}

/// What one way of replaying gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// What is done.
    pub name: &'static str,
    /// Correlation of the path found in the result with the true path of the reference
    /// ([`track::path_correlation`]).
    pub path: Mean,
    /// The same clip by clip.
    pub path_correlations: Vec<f64>,
    /// How often the result shows what its prompt says, with CLIP as judge.
    pub by_clip: AttributeShares,
}

pub(super) fn measure<B: TrackingBackend>(
    subject: &Subject<B>,
    settings: &Settings,
    progress: &mut dyn Progress,
) -> Result<Transfer, Error> {
    let Subject { pipeline, judge } = subject;
    let plans = plans(&settings.generation);
    let mut correlations = vec![Vec::new(); plans.len()];
    let mut verdicts = vec![Vec::new(); plans.len()];
    let steps_a_clip = 1 + plans.len();
    progress.start("transfer", settings.transfer_clips * steps_a_clip);
    for index in 0..settings.transfer_clips {
        let mut done = index * steps_a_clip;
        let seed = settings.seed.wrapping_add(index as u64);
        let scene = moving_scene(index as u64);
        let wanted = other_look(scene.look, index as u64);
        let reference = Clip::new(scene.render(), f64::from(FPS))?;
        let caption = scene.look.caption();
        let within = &mut Within(progress);
        let motion = pipeline.invert(&reference, &caption, &settings.inversion, None, within)?;
        for ((plan, correlations), verdicts) in
            plans.iter().zip(&mut correlations).zip(&mut verdicts)
        {
            done += 1;
            progress.advance(done, "");
            stop_if_asked(progress)?;
            let motion = plan.uses_motion.then_some(&motion);
            let within = &mut Within(progress);
            let prompt = wanted.caption();
            let result = pipeline.generate(motion, &prompt, seed, &plan.settings, within)?;
            let path = track::centroid_path(result.frames(), None);
            correlations.push(track::path_correlation(&scene.centre_path(), &path));
            let found = judge.look(judge.embed(result.frames()))?;
            verdicts.push(Verdict { wanted, found });
        }
        progress.advance(done + 1, "");
    }
    progress.finish();
    let results = plans.iter().zip(correlations).zip(verdicts);
    let ways = results.map(|((plan, path_correlations), verdicts)| {
        Ok(Way {
            name: plan.name,
            path: Mean::of(path_correlations.clone())?,
            path_correlations,
            by_clip: AttributeShares::of(&verdicts),
        })
    });
    Ok(Transfer {
        ways: ways.collect::<Result<_, Error>>()?,
    })
}

/// A way of replaying, before it is measured.
struct Plan {
    name: &'static str,
    settings: GenerationSettings,
    uses_motion: bool,
}

fn plans(base: &GenerationSettings) -> Vec<Plan> {
    let plan = |name, change: fn(&mut GenerationSettings)| {
        let mut settings = base.clone();
        change(&mut settings);
        Plan {
            name,
            settings,
            uses_motion: true,
        }
    };
    vec![
        plan("method (blend + difference)", |s| {
            s.debias = Debias::Difference
        }),
        plan("blend + normalize", |s| s.debias = Debias::Normalize),
        plan("blend + none", |s| s.debias = Debias::None),
        plan("blend noise alone", |s| s.strength = 0.0),
        plan("embeddings alone (difference)", |s| {
            s.debias = Debias::Difference;
            s.noise = InitialNoise::None
        }),
        Plan {
            uses_motion: false,
            ..plan("plain model, plain noise", |s| s.noise = InitialNoise::None)
        },
    ]
}

/// A held-out scene that moves: the correlation with the path of a still sprite says nothing.
fn moving_scene(index: u64) -> Scene {
    let mut attempt = 1000 * index;
    loop {
        let scene = held_out_scene(attempt);
        if scene.path.motion() != Motion::Still {
            return scene; // as six in seven do
        }
        attempt += 1;
    }
}

/// A look that differs in shape, colour and background.
fn other_look(look: Look, index: u64) -> Look {
    Look {
        shape: other(Shape::ALL, look.shape, index, 1),
        colour: other(Colour::ALL, look.colour, index, 2),
        background: other(Background::ALL, look.background, index, 3),
    }
}

/// One of the values but the given one; which, depends on the index, and differently for every salt.
fn other<T: Copy + PartialEq, const N: usize>(all: [T; N], value: T, index: u64, salt: u64) -> T {
    let drawn = index.wrapping_mul(2_654_435_761).wrapping_add(97 * salt) % (N as u64 - 1);
    let others = all.into_iter().filter(|other| *other != value);
    others.into_iter().nth(drawn as usize).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_name_another_look_in_every_respect_and_every_value_comes_up() {
        let mut seen = [false; Colour::ALL.len()];
        for index in 0..200 {
            let scene = moving_scene(index);
            assert_ne!(scene.path.motion(), Motion::Still);
            let other = other_look(scene.look, index);
            assert_ne!(other.shape, scene.look.shape);
            assert_ne!(other.colour, scene.look.colour);
            assert_ne!(other.background, scene.look.background);
            let colour = Colour::ALL.iter().position(|c| *c == other.colour);
            seen[colour.unwrap()] = true;
        }
        assert_eq!(seen, [true; Colour::ALL.len()]);
    }

    #[test]
    fn ways_differ_in_what_their_names_say() {
        let base = GenerationSettings {
            guidance: 3.0,
            ..GenerationSettings::default()
        };
        let plans = plans(&base);
        for plan in &plans {
            assert_eq!(plan.settings.guidance, 3.0, "{}", plan.name);
            let is_plain = plan.name.contains("plain model");
            assert_eq!(plan.uses_motion, !is_plain, "{}", plan.name);
            let blends = plan.name.contains("blend");
            let starts_from_blend = plan.settings.noise != InitialNoise::None;
            assert_eq!(starts_from_blend, blends, "{}", plan.name);
        }
        assert_eq!(plans.len(), 6);
    }
}
