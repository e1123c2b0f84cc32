//! Smaller studies out of one sample, without its files: writing clips takes longer than all statistics.

use std::sync::OnceLock;

use kinvert_study::results::Results;

use crate::sample;

const LARGEST: [usize; 3] = [6, 1, 2];

/// The first so many clips, prompts and seeds of the sample.
pub fn results([clips, prompts, seeds]: [usize; 3]) -> Results {
    static SAMPLE: OnceLock<Results> = OnceLock::new();
    let sample = SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        sample::results(folder.path(), LARGEST, |_, _| 0.0)
    });
    let mut results = sample.clone();
    results.study.clips.truncate(clips);
    results.study.prompts.truncate(prompts);
    results.study.seeds.truncate(seeds);
    results.references.truncate(clips);
    results.cells.retain(|cell| {
        cell.id.reference < clips && cell.id.prompt < prompts && (cell.id.seed as usize) < seeds
    });
    results.motions.retain(|motion| motion.reference < clips);
    results
}
