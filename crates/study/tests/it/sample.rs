//! Results as a study of sprite clips would give them, without running a network.

use std::path::Path;

use kinvert::{Clip, ModelId};
use kinvert_metrics::Record;
use kinvert_study::results::{
    Cell, CellId, Difference, LearnedMotion, Measured, MotionState, Outcome, Reference, Results,
    RunStamp, RunVariant, SpritePaths,
};
use kinvert_study::study::BASELINE;
use kinvert_study::{Form, Plan, Study, resolve};
use kinvert_world::{FPS, Motion, Scene};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The published plan on sprite clips, all cells done. `shift` is what each variant, by its name, adds to the
/// values of a measure, by its name; everything else is noise with a deviation of about 0.03.
pub fn results(
    folder: &Path,
    [clips, prompts, seeds]: [usize; 3],
    shift: impl Fn(&str, &str) -> f64,
) -> Results {
    let plan = include_str!("../fixtures/published_plan.md");
    let parsed = Plan::parse("plan.md", plan, Some(Form::Markdown)).unwrap();
    let mut study = Study::compile(&parsed, &resolve(&parsed), "plan.md", plan.as_bytes());
    let mut references = Vec::new();
    std::fs::create_dir_all(folder.join("clips")).unwrap();
    for index in 0..clips {
        let motion = Motion::ALL[1 + index % (Motion::ALL.len() - 1)];
        let scene = Scene::random_with_motion(motion, index as u64);
        let path = format!("sprites:{motion}:{index}");
        study.clips.push(kinvert_study::study::Clip {
            path: path.clone(),
            caption: None,
        });
        let clip = Clip::new(scene.render(), f64::from(FPS)).unwrap();
        let file = Path::new("clips").join(format!("reference-{index}.mp4"));
        kinvert::write_clip(&clip, &folder.join(&file)).unwrap();
        references.push(Reference {
            path,
            caption: scene.look.caption(),
            sha256: format!("{index:064x}"),
            frames: clip.len(),
            size: [64, 64],
            fps: clip.fps(),
            file: Some(file),
            features: features(index as u64, 0.0),
        });
    }
    for index in 0..prompts {
        study
            .prompts
            .push(Scene::random(100 + index as u64).look.caption());
    }
    study.seeds = (0..seeds as u32).collect();

    let baseline = kinvert::Variant::default();
    let mut variants = Vec::new();
    let named = study.variants.iter().map(|variant| {
        let apply = &variant.settings;
        let settings = kinvert::Variant {
            inversion: apply.applied_to("inversion", &baseline.inversion).unwrap(),
            generation: apply
                .applied_to("generation", &baseline.generation)
                .unwrap(),
        };
        (variant.name.clone(), variant.ablation.clone(), settings)
    });
    for (name, ablation, settings) in [(BASELINE.to_owned(), None, baseline.clone())]
        .into_iter()
        .chain(named)
    {
        let differences = settings.differences(&baseline).into_iter();
        variants.push(RunVariant {
            name,
            ablation,
            hash: settings.hash(),
            inversion_hash: settings.inversion_hash(),
            model: None,
            differences: differences
                .map(|(field, baseline, variant)| Difference {
                    field,
                    baseline,
                    variant,
                })
                .collect(),
            settings,
        });
    }

    let (mut cells, mut motions) = (Vec::new(), Vec::new());
    for (variant_index, variant) in variants.iter().enumerate() {
        for reference in 0..clips {
            motions.push(LearnedMotion {
                inversion_hash: variant.inversion_hash.clone(),
                reference,
                state: MotionState::Done {
                    seconds: 30.0,
                    losses: (0..150)
                        .map(|step| 0.02 + 0.1 / (1.0 + step as f32))
                        .collect(),
                },
            });
            for prompt in 0..prompts {
                for &seed in &study.seeds {
                    let key = [variant_index, reference, prompt, seed as usize]
                        .iter()
                        .fold(7_u64, |key, part| key * 131 + *part as u64);
                    let mut rng = ChaCha8Rng::seed_from_u64(key);
                    let bases = [
                        ("text_similarity", 0.7),
                        ("temporal_consistency", 0.95),
                        ("motion_fidelity", 0.8),
                        ("path_correlation", 0.9),
                        ("end_point_error", 3.0),
                    ];
                    let records = bases.map(|(measure, base)| {
                        let noise = rng.random_range(-0.05..0.05);
                        Record::new(
                            measure,
                            base + noise + shift(&variant.name, measure),
                            None,
                            "",
                        )
                    });
                    let scene = Scene::random_with_motion(
                        Motion::ALL[1 + reference % (Motion::ALL.len() - 1)],
                        reference as u64,
                    );
                    let path: Vec<_> = scene.centre_path().into_iter().map(Some).collect();
                    let drift = |[x, y]: [f64; 2]| [x + rng.random_range(-2.0..2.0), y + 2.0];
                    let found = path
                        .iter()
                        .flatten()
                        .copied()
                        .map(drift)
                        .map(Some)
                        .collect();
                    let file = Path::new("clips")
                        .join(format!("{variant_index}-{reference}-{prompt}-{seed}.mp4"));
                    let look = Scene::random(100 + prompt as u64).look;
                    let clip = Clip::new(Scene { look, ..scene }.render(), f64::from(FPS)).unwrap();
                    kinvert::write_clip(&clip, &folder.join(&file)).unwrap();
                    cells.push(Cell {
                        id: CellId {
                            variant_hash: variant.hash.clone(),
                            reference,
                            prompt,
                            seed,
                        },
                        outcome: Outcome::Done(Box::new(Measured {
                            records: records.into(),
                            clip: Some(file),
                            features: features(key, shift(&variant.name, "fid")),
                            paths: Some(SpritePaths {
                                reference: path,
                                result: found,
                            }),
                            generation_s: 3.5,
                            measuring_s: 0.4,
                        })),
                    });
                }
            }
        }
    }
    Results {
        folder: folder.to_owned(),
        study,
        stamp: RunStamp {
            kinvert_version: "0.1.0".into(),
            model: ModelId {
                name: "sprites".into(),
                sha256: "ab".repeat(32),
            },
            device: "cpu".into(),
            measures: "CLIP sprites; klt".into(),
            begun_unix_s: 1_790_000_000,
        },
        references,
        variants,
        cells,
        motions,
    }
}

/// Features of 16 frames with 8 numbers each, around `shift`.
fn features(seed: u64, shift: f64) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || {
        (0..8)
            .map(|_| rng.random_range(-1.0..1.0) + shift as f32)
            .collect()
    };
    (0..16).map(|_| row()).collect()
}

#[test]
fn the_sample_is_a_whole_study() {
    let folder = tempfile::tempdir().unwrap();
    let results = results(folder.path(), [2, 1, 2], |_, _| 0.0);
    assert_eq!(results.variants.len(), 5);
    assert_eq!(results.cells.len(), 5 * 2 * 2);
    assert_eq!(results.cells_of(&results.variants[4]).len(), 4);
    assert_eq!(results.counts().done, 20);
}
