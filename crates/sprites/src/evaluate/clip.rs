//! How well CLIP reads real frames: what it says of generated ones is worth no more.

use kinvert_base::Progress;
use kinvert_diffusion::NoiseSource;
use kinvert_nets::kernels::TrackingBackend;
use kinvert_world::{FRAMES, Look};
use serde::Serialize;

use super::vae::through_vae;
use super::{AttributeShares, Settings, Subject, Verdict, stop_if_asked};
use crate::{Error, held_out_scene};

/// How often the caption that CLIP finds nearest to a single frame, of all 240, is the frame's own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Clip {
    /// Of rendered frames.
    pub frames: AttributeShares,
    /// Of the same frames after the autoencoder, which is what generated ones can be at best.
    pub after_vae: AttributeShares,
}

/// Frame `i` shows look `i mod 240`, so that a multiple of 240 shows every look equally often.
pub(super) fn measure<B: TrackingBackend>(
    subject: &Subject<B>,
    settings: &Settings,
    progress: &mut dyn Progress,
) -> Result<Clip, Error> {
    let all: Vec<Look> = Look::all().collect();
    let looks: Vec<Look> = all.iter().copied().cycle().take(settings.frames).collect();
    let draws = NoiseSource::new(settings.seed);
    let (mut rendered, mut after_vae) = (Vec::new(), Vec::new());
    progress.start("clip", looks.len());
    for wanted in looks.chunks(FRAMES) {
        stop_if_asked(progress)?;
        let mut frames = Vec::with_capacity(wanted.len());
        for (index, look) in (rendered.len() as u64..).zip(wanted) {
            let mut clip = held_out_scene(index).with_look(*look).render();
            let drawn = draws.uniform_int("evaluation.frame", index, 0..clip.len());
            frames.push(clip.swap_remove(drawn));
        }
        let kept = through_vae(subject, &frames)?;
        for (frames, verdicts) in [(frames, &mut rendered), (kept, &mut after_vae)] {
            let judge = &subject.judge;
            let found = judge.looks(judge.embed(&frames))?;
            let pairs = wanted.iter().copied().zip(found);
            verdicts.extend(pairs.map(|(wanted, found)| Verdict { wanted, found }));
        }
        progress.advance(rendered.len(), "");
    }
    progress.finish();
    Ok(Clip {
        frames: AttributeShares::of(&rendered),
        after_vae: AttributeShares::of(&after_vae),
    })
}
