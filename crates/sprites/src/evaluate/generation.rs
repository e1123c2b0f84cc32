//! What the plain model makes of prompts, with no motion to follow.

use kinvert::{GenerationSettings, InitialNoise};
use kinvert_base::{Progress, Within};
use kinvert_diffusion::NoiseSource;
use kinvert_metrics::frechet::{FeatureStatistics, Features, frechet_distance};
use kinvert_nets::kernels::TrackingBackend;
use kinvert_world::{Look, track};
use serde::Serialize;

use super::{AttributeShares, Settings, Smoothness, Subject, Verdict, stop_if_asked};
use crate::judge::finite;
use crate::{Error, held_out_scene};

/// How good generated clips are, beside real ones with the same captions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Generation {
    /// How often clips show what their prompt says, with CLIP as judge: the caption of all 240 that fits the frames of a
    /// clip best on average.
    pub by_clip: AttributeShares,
    /// The same with [`track::recognise`] as judge, which knows the world's colours and outlines and has never seen a
    /// caption.
    pub by_pixels: AttributeShares,
    /// How smoothly the sprites move; none if hardly any sprite was found.
    pub smoothness: Option<Smoothness>,
    /// How far the frames lie from those of real clips.
    pub fid_clip: FidClip,
}

/// Fréchet distances between the CLIP embeddings of the frames of two sets of clips. They depend on the number of
/// frames, so only those of equally many compare.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FidClip {
    /// From generated clips to real ones with the same captions.
    pub distance: f64,
    /// From other real clips with the same captions to the real ones: what a perfect model would have.
    pub of_real_clips: f64,
    /// Frames of each set.
    pub frames: usize,
}

pub(super) fn measure<B: TrackingBackend>(
    subject: &Subject<B>,
    settings: &Settings,
    progress: &mut dyn Progress,
) -> Result<Generation, Error> {
    let Subject { pipeline, judge } = subject;
    let generation = GenerationSettings {
        noise: InitialNoise::None,
        ..settings.generation.clone()
    };
    let prompts = prompts(settings.prompts, settings.seed);
    let count = prompts.len() as u64;
    let (mut by_clip, mut by_pixels) = (Vec::new(), Vec::new());
    let [mut paths, mut real_paths] = [const { Vec::new() }; 2];
    let [mut embeddings, mut real_embeddings, mut other_embeddings] = [const { Vec::new() }; 3];
    progress.start("generation", prompts.len());
    for (index, wanted) in (0..).zip(prompts) {
        stop_if_asked(progress)?;
        let seed = settings.seed.wrapping_add(index);
        let within = &mut Within(progress);
        let clip = pipeline.generate(None, &wanted.caption(), seed, &generation, within)?;
        let real = held_out_scene(index).with_look(wanted).render();
        let other = held_out_scene(count + index).with_look(wanted).render();

        let embedded = judge.embed(clip.frames());
        let found = judge.look(embedded.clone())?;
        by_clip.push(Verdict { wanted, found });
        let found = track::recognise(clip.frames());
        by_pixels.push(Verdict { wanted, found });
        paths.push(track::centroid_path(clip.frames(), Some(found)));
        real_paths.push(track::centroid_path(&real, None));
        embeddings.extend(finite(embedded)?);
        real_embeddings.extend(finite(judge.embed(&real))?);
        other_embeddings.extend(finite(judge.embed(&other))?);
        progress.advance(by_clip.len(), "");
    }
    progress.finish();

    let frames = paths.iter().map(Vec::len).sum();
    let statistics = |embeddings: &[f32]| {
        let features = Features::new(embeddings.len() / frames, embeddings)?;
        Ok::<_, Error>(FeatureStatistics::of(&features)?)
    };
    let real = statistics(&real_embeddings)?;
    Ok(Generation {
        by_clip: AttributeShares::of(&by_clip),
        by_pixels: AttributeShares::of(&by_pixels),
        smoothness: Smoothness::of(&paths, &real_paths)?,
        fid_clip: FidClip {
            distance: frechet_distance(&statistics(&embeddings)?, &real)?,
            of_real_clips: frechet_distance(&statistics(&other_embeddings)?, &real)?,
            frames,
        },
    })
}

/// So many prompts in a random order: none comes again before all have come.
fn prompts(count: usize, seed: u64) -> Vec<Look> {
    let draws = NoiseSource::new(seed);
    let mut prompts = Vec::new();
    while prompts.len() < count {
        let mut looks: Vec<Look> = Look::all().collect();
        for last in (1..looks.len()).rev() {
            let index = (prompts.len() + last) as u64;
            looks.swap(
                last,
                draws.uniform_int("evaluation.prompts", index, 0..last + 1),
            );
        }
        prompts.extend(looks);
    }
    prompts.truncate(count);
    prompts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn no_prompt_comes_again_before_all_have_come() {
        let prompts = prompts(500, 3);
        assert_eq!(prompts.len(), 500);
        for (start, times) in [(0, 1), (240, 1)] {
            let mut counts = HashMap::new();
            for look in &prompts[start..start + 240] {
                *counts.entry(look).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), 240);
            assert!(counts.values().all(|count| *count == times));
        }
        assert_ne!(prompts[..240], prompts[240..480]);
    }

    #[test]
    fn the_order_of_prompts_is_that_of_the_seed() {
        assert_eq!(prompts(30, 7), prompts(40, 7)[..30]);
        assert_ne!(prompts(30, 7), prompts(30, 8));
    }
}
