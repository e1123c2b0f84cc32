//! Memory: what is chosen by it, what is refused for lack of it, and that saving it changes no result.

use kinvert::gradient::Activations;
use kinvert::plan::{ClipShape, ModelCost};
use kinvert::{
    Device, Error, GenerationSettings, InversionSettings, LoadOptions, ModelFiles, ModelSource,
    Pipeline, Precision, Quiet,
};
use kinvert_testkit::fixtures_dir;
use kinvert_world::model::model_files;

use crate::support::{B, bounce};

const CAPTION: &str = "a red circle on a gray background";

fn pipeline(options: LoadOptions) -> Pipeline<B> {
    Pipeline::load(&model_files().into(), &options, &Default::default()).unwrap()
}

fn inversion() -> InversionSettings {
    InversionSettings {
        steps: 2,
        ddim_inversion_steps: 1,
        ..Default::default()
    }
}

fn cost(source: &ModelSource, precision: Precision) -> ModelCost {
    let options = LoadOptions {
        precision,
        ..LoadOptions::default()
    };
    ModelCost::read(source, &options, Device::Cpu).unwrap()
}

const CLIP: ClipShape = ClipShape {
    frames: 16,
    size: [64, 64],
};

#[test]
fn less_memory_gives_the_same_motion_and_clip() {
    let generation = GenerationSettings {
        steps: 2,
        ..Default::default()
    };
    let results = [false, true].map(|low_memory| {
        let pipeline = pipeline(LoadOptions {
            low_memory,
            ..LoadOptions::default()
        });
        let motion = pipeline
            .invert(&bounce(), CAPTION, &inversion(), None, &mut Quiet)
            .unwrap();
        let clip = pipeline.generate(Some(&motion), CAPTION, 0, &generation, &mut Quiet);
        (motion, clip.unwrap())
    });
    let [(plenty, clip), (little, clip_of_little)] = results;
    for (a, b) in plenty.metadata.losses.iter().zip(&little.metadata.losses) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
    let pixels = |clip: &kinvert::Clip| -> Vec<u8> {
        clip.frames()
            .iter()
            .flat_map(|frame| frame.to_vec())
            .collect()
    };
    let differences = pixels(&clip).into_iter().zip(pixels(&clip_of_little));
    let largest = differences.map(|(a, b)| a.abs_diff(b)).max().unwrap();
    assert!(largest <= 1, "pixels differ by {largest}");
}

#[test]
fn activations_are_kept_as_long_as_they_fit() {
    let cost = cost(&model_files().into(), Precision::F32);
    let plan = cost
        .plan(CLIP, &inversion(), &GenerationSettings::default())
        .unwrap();
    let (kept, again) = (
        plan.learning.bytes_if_kept,
        plan.learning.bytes_if_recomputed,
    );
    assert!(again < kept);
    assert_eq!(plan.activations(None), Activations::Keep);
    assert_eq!(plan.activations(Some(2 * kept)), Activations::Keep);
    assert_eq!(plan.activations(Some(kept)), Activations::Recompute);
}

#[test]
fn what_cannot_fit_is_refused_with_what_would() {
    let source = model_files().into();
    let settings = GenerationSettings::default();
    let needed = |frames| {
        let clip = ClipShape { frames, ..CLIP };
        let plan = cost(&source, Precision::F32).plan(clip, &inversion(), &settings);
        plan.unwrap().learning_bytes(Activations::Recompute)
    };
    let pipeline = pipeline(LoadOptions {
        free_bytes: Some(needed(12)),
        ..LoadOptions::default()
    });
    let refused = pipeline.invert(&bounce(), CAPTION, &inversion(), None, &mut Quiet);
    let Err(Error::NotEnoughMemory {
        clip,
        needed_bytes,
        free_bytes,
        smaller,
        ..
    }) = refused
    else {
        panic!("a clip that does not fit was learned from")
    };
    assert_eq!(
        (clip, needed_bytes, free_bytes),
        (CLIP, needed(16), needed(12))
    );
    assert!(!smaller.is_empty());
    for clip in &smaller {
        assert!(clip.frames < 12 || clip.size != CLIP.size, "{clip:?}");
    }
    let error = pipeline
        .generate(None, CAPTION, 0, &frames(400), &mut Quiet)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("generating 400 frames of 64x64 takes about"),
        "{error}"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("frames of 64x64") && hint.contains("--low-memory"),
        "{hint}"
    );
}

fn frames(frames: usize) -> GenerationSettings {
    GenerationSettings {
        frames: Some(frames),
        ..Default::default()
    }
}

#[test]
fn zeroscope_fits_the_memory_that_it_should() {
    let folder = fixtures_dir().join("published/zeroscope_v2_576w");
    let cost = cost(&ModelFiles::folder(folder).into(), Precision::BF16);
    let clip = ClipShape {
        frames: 24,
        size: [576, 320],
    };
    let (inversion, generation) = (InversionSettings::default(), GenerationSettings::default());
    let plan = cost.plan(clip, &inversion, &generation).unwrap();
    const GIB: u64 = 1 << 30;
    assert_eq!(plan.parameters.unet, 1_411_233_860);
    assert!(
        plan.learning_bytes(Activations::Keep) <= 16 * GIB,
        "{plan:?}"
    );
    assert!(
        plan.learning_bytes(Activations::Recompute) <= 12 * GIB,
        "{plan:?}"
    );
    assert!(plan.generating_bytes() <= 10 * GIB, "{plan:?}");
}

#[test]
fn sizes_that_cannot_be_encoded_are_refused() {
    let cost = cost(&model_files().into(), Precision::F32);
    let clip = ClipShape {
        frames: 16,
        size: [60, 64],
    };
    let refusal = |clip| {
        let plan = cost.plan(clip, &inversion(), &GenerationSettings::default());
        plan.unwrap_err().to_string()
    };
    assert_eq!(refusal(clip), "`size` is 60x64, expected multiples of 8");
    let frames = usize::MAX;
    assert!(refusal(ClipShape { frames, ..CLIP }).contains("expected between 1 and 4096"));
    let size = [1 << 40, 64];
    assert!(refusal(ClipShape { size, ..CLIP }).contains("sides between 1 and 8192"));
}
