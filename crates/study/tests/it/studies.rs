//! Studies, written and read again.

use kinvert_study::resolve::Unresolved;
use kinvert_study::study::{Clip, Keep, METRICS, Provenance, Stub, Study, Variant, Words};
use kinvert_study::{Action, Plan, Settings, resolve};
use proptest::prelude::*;

use crate::fixture;

fn published() -> Study {
    let plan = fixture("published_plan.md");
    Study::compile(&plan, &resolve(&plan), "published_plan.md", b"the bytes")
}

#[test]
fn the_published_plan_compiles() {
    let study = published();
    let names: Vec<_> = study
        .variants
        .iter()
        .map(|variant| variant.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "query-key only",
            "values only",
            "neither embedding",
            "integration add-after"
        ]
    );
    assert_eq!(study.metrics.len(), 5);
    let text = study.to_toml();
    assert!(text.contains("inversion.values = \"off\""), "{text}");
    assert_eq!(Study::parse("study", &text).unwrap(), study);
    assert_eq!(study.provenance.unwrap().plan_sha256.len(), 64);
}

#[test]
fn a_study_survives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.toml");
    let study = published();
    study.write(&path).unwrap();
    assert_eq!(Study::read(&path).unwrap(), study);
}

#[test]
fn edits_that_make_no_sense_are_told_with_their_line() {
    let text = published().to_toml();
    let edited = |from: &str, to: &str| {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text);
        Study::parse("study.toml", &edited).unwrap_err().to_string()
    };
    let line = |needle: &str| text[..text.find(needle).unwrap()].matches('\n').count() + 1;
    let misspelt = edited("inversion.values", "inversion.valeus");
    let place = format!(
        "line {}: setting `inversion.valeus`",
        line("inversion.values")
    );
    assert!(
        misspelt.contains(&place) && misspelt.contains("did you mean `inversion.values`?"),
        "{misspelt}"
    );
    for (from, to, expected) in [
        ("seeds =", "seed =", "did you mean `seeds`?"),
        ("\"fid\"", "\"fidd\"", "did you mean `fid`?"),
        ("seeds = [0]", "seeds = [-1]", "a seed is no integer"),
        (
            "keep = \"all\"",
            "keep = \"some\"",
            "expected `all`, `clips` or `none`",
        ),
        (
            "\"query-key only\"",
            "\"values only\"",
            "is also the name of a variant",
        ),
        (
            "\"query-key only\"",
            "\"method\"",
            "the name of the baseline",
        ),
        ("inversion.values = \"off\"\n", "", "changes no setting"),
        (
            "action = \"REMOVE\"",
            "action = \"REMOV\"",
            "expected REMOVE, REPLACE or ADD",
        ),
        ("[study]", "[studdy]", "no `[study]` table"),
        (
            "clips = []",
            "clips = [{ file = \"x\" }]",
            "a clip has no field `file`",
        ),
    ] {
        let message = edited(from, to);
        assert!(message.contains(expected), "{message}\nlacks {expected:?}");
    }
    let renamed = edited(
        "ablation = \"Ablation of Individual Motion Embedding Contribution\"",
        "ablation = \"Ablation of Individual Motion Embedding\"",
    );
    assert!(renamed.contains("no ablation is named"), "{renamed}");
}

#[test]
fn the_hash_is_that_of_the_content() {
    let study = published();
    let spaced = study.to_toml().replace("\n\n", "\n\n\n# a remark\n");
    assert_eq!(Study::parse("study", &spaced).unwrap().hash(), study.hash());
    let mut other = study.clone();
    other.seeds.push(1);
    assert_ne!(other.hash(), study.hash());
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (any_method(), "\\PC{1,10}").prop_map(|(mut settings, model)| {
        settings.set("model", format!("m{model}")).unwrap();
        settings
    })
}

/// Settings of the method, without a model.
fn any_method() -> impl Strategy<Value = Settings> {
    let fields = (
        proptest::option::of(prop_oneof![Just("off"), Just("1d"), Just("grid-3x4")]),
        proptest::option::of(1e-9..10.0_f64),
        proptest::option::of(1..4096_i64),
    );
    fields.prop_map(|(shape, rate, frames)| {
        let mut settings = Settings::default();
        if let Some(shape) = shape {
            settings.set("inversion.query_key", shape).unwrap();
        }
        if let Some(rate) = rate {
            settings.set("inversion.learning_rate", rate).unwrap();
        }
        if let Some(frames) = frames {
            settings
                .set("generation.difference_frames", frames)
                .unwrap();
        }
        settings
    })
}

fn any_texts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("(?s).{0,20}", 0..3)
}

prop_compose! {
    fn any_study()(
        texts in any_texts(),
        prompts in any_texts(),
        name in "(?s).{0,30}",
        seeds in proptest::collection::vec(any::<u32>(), 0..4),
        model in proptest::option::of("\\PC{0,10}"),
        captions in proptest::collection::vec(proptest::option::of("(?s).{0,20}"), 0..3),
        keep in prop_oneof![Just(Keep::All), Just(Keep::Clips), Just(Keep::None)],
        method in proptest::option::of(any_method()),
        settings in proptest::collection::vec(any_settings(), 0..4),
        asked in any::<bool>(),
    ) -> Study {
        Study {
            provenance: asked.then(|| Provenance {
                plan: name.clone(),
                plan_sha256: "0".repeat(64),
                kinvert: "1".into(),
            }),
            title: asked.then(|| name.clone()),
            clips: captions.into_iter().map(|caption| Clip { path: name.clone(), caption }).collect(),
            prompts,
            seeds,
            model,
            metrics: METRICS.iter().take(texts.len()).map(|&name| name.to_owned()).collect(),
            keep,
            method: method.unwrap_or_default(),
            ablations: vec![Words {
                name: name.clone(),
                part: name.clone(),
                action: Action::Add,
                replacement: texts.clone(),
                metrics: texts.clone(),
            }],
            variants: settings.into_iter().enumerate().map(|(index, settings)| Variant {
                name: format!("{index} {name}"),
                ablation: asked.then(|| name.clone()),
                settings,
            }).collect(),
            unresolved: vec![Stub {
                ablation: name.clone(),
                wish: Unresolved {
                    words: name.clone(),
                    understood: texts.clone(),
                    not_understood: texts.clone(),
                    nearest_axis: asked.then(|| name.clone()),
                    candidates: texts,
                },
            }],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_study_is_what_is_read_from_its_text(study in any_study()) {
        let text = study.to_toml();
        let read = Study::parse("study", &text).unwrap();
        prop_assert_eq!(&read, &study);
        prop_assert_eq!(read.to_toml(), text);
    }
}

#[test]
fn the_example_is_what_its_plan_compiles_to() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/studies/motion-inversion");
    let bytes = std::fs::read(folder.join("plan.md")).unwrap();
    let plan = Plan::from_bytes("plan.md", &bytes, None).unwrap();
    let resolution = resolve(&plan);
    resolution.strict().unwrap();
    let there = Study::read(&folder.join("study.toml")).unwrap();
    let compiled = Study {
        clips: there.clips.clone(),
        prompts: there.prompts.clone(),
        seeds: there.seeds.clone(),
        ..Study::compile(&plan, &resolution, "plan.md", &bytes)
    };
    assert_eq!(compiled, there);
}
