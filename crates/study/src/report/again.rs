//! Everything that is needed to do the study again, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ablations::told;
use super::numbers::{count, day};
use super::{ReportOptions, numbers};
use crate::analysis::{Analysis, Better};
use crate::results::{MotionState, Outcome, Results};

/// Cells that are named under one error; of the others the number is told.
const NAMED: usize = 12;

#[derive(Serialize)]
pub(super) struct Again {
    commands: Vec<String>,
    toml: String,
    study_hash: String,
    stamps: Vec<(&'static str, String)>,
    prompts: Vec<String>,
    seeds: Vec<u32>,
    clips: Vec<Clip>,
    variants: Vec<Variant>,
    settings: Vec<Setting>,
    failures: Vec<Failure>,
    wishes: Vec<Wish>,
    glossary: Vec<Term>,
}

#[derive(Serialize)]
struct Clip {
    path: String,
    caption: String,
    sha256: String,
    size: String,
    frames: usize,
    fps: String,
}

#[derive(Serialize)]
struct Variant {
    name: String,
    hash: String,
    inversion_hash: String,
    model: String,
}

/// One setting of all variants.
#[derive(Serialize)]
struct Setting {
    field: String,
    values: Vec<SettingValue>,
}

#[derive(Serialize)]
struct SettingValue {
    value: String,
    differs: bool,
}

/// An error, and what it kept from being done.
#[derive(Serialize)]
struct Failure {
    error: String,
    number: String,
    named: Vec<String>,
    others: usize,
}

#[derive(Serialize)]
struct Wish {
    ablation: String,
    words: String,
    understood: String,
    not_understood: String,
    nearest_axis: String,
    candidates: String,
}

/// A measure explained.
#[derive(Serialize)]
struct Term {
    label: String,
    better: Better,
    meaning: String,
    model: String,
    negligible: Option<String>,
}

pub(super) fn again(results: &Results, analysis: &Analysis, options: &ReportOptions) -> Again {
    let study = &results.study;
    let references = results.references.iter();
    let variants = results.variants.iter();
    let unresolved = study.unresolved.iter();
    let measures = analysis.measures.iter();
    Again {
        commands: options.commands.clone(),
        toml: study.to_toml(),
        study_hash: study.hash(),
        stamps: stamps(results),
        prompts: study.prompts.clone(),
        seeds: study.seeds.clone(),
        clips: references
            .map(|reference| Clip {
                path: reference.path.clone(),
                caption: reference.caption.clone(),
                sha256: reference.sha256.clone(),
                size: format!("{}\u{a0}×\u{a0}{}", reference.size[0], reference.size[1]),
                frames: reference.frames,
                fps: numbers::fixed(reference.fps, 2),
            })
            .collect(),
        variants: variants
            .map(|variant| Variant {
                name: variant.name.clone(),
                hash: variant.hash.clone(),
                inversion_hash: variant.inversion_hash.clone(),
                model: variant
                    .model
                    .as_ref()
                    .map_or("the study’s".into(), |model| {
                        format!("{} ({})", model.name, model.short_hash())
                    }),
            })
            .collect(),
        settings: settings(results),
        failures: failures(results),
        wishes: unresolved
            .map(|stub| Wish {
                ablation: stub.ablation.clone(),
                words: stub.wish.words.clone(),
                understood: stub.wish.understood.join(", "),
                not_understood: stub.wish.not_understood.join(", "),
                nearest_axis: stub.wish.nearest_axis.clone().unwrap_or_default(),
                candidates: stub.wish.candidates.join(", "),
            })
            .collect(),
        glossary: measures
            .map(|measure| Term {
                label: measure.label.clone(),
                better: measure.better,
                meaning: measure.meaning.clone(),
                model: measure.model.clone(),
                negligible: measure
                    .negligible
                    .map(|size| numbers::fixed(size, measure.digits)),
            })
            .collect(),
    }
}

fn stamps(results: &Results) -> Vec<(&'static str, String)> {
    let stamp = &results.stamp;
    let mut stamps = vec![
        ("Kinvert", stamp.kinvert_version.clone()),
        ("Model", stamp.model.name.clone()),
        ("Model, SHA-256", stamp.model.sha256.clone()),
        ("Device", stamp.device.clone()),
        ("Measures", stamp.measures.clone()),
        ("Begun (UTC)", day(stamp.begun_unix_s)),
    ];
    if let Some(provenance) = &results.study.provenance {
        stamps.push(("Plan", provenance.plan.clone()));
        stamps.push(("Plan, SHA-256", provenance.plan_sha256.clone()));
    }
    stamps
}

fn settings(results: &Results) -> Vec<Setting> {
    let fields: Vec<BTreeMap<_, _>> = results
        .variants
        .iter()
        .map(|variant| variant.settings.fields())
        .collect();
    let names: BTreeSet<&String> = fields.iter().flat_map(BTreeMap::keys).collect();
    let value = |fields: &BTreeMap<String, serde_json::Value>, name: &String| {
        fields.get(name).map_or("not set".into(), told)
    };
    names
        .into_iter()
        .map(|name| {
            let own = fields.first().map(|fields| value(fields, name));
            let values = fields.iter().map(|fields| value(fields, name));
            Setting {
                field: name.clone(),
                values: values
                    .map(|value| SettingValue {
                        differs: own.as_ref() != Some(&value),
                        value,
                    })
                    .collect(),
            }
        })
        .collect()
}

/// Equal errors once, in the order of the first of each: motions and then cells.
fn failures(results: &Results) -> Vec<Failure> {
    let clip = |index: usize| match results.references.get(index) {
        Some(reference) => reference.path.clone(),
        None => format!("clip {}", index + 1),
    };
    let motions = results.motions.iter().filter_map(|motion| {
        let MotionState::Failed { error } = &motion.state else {
            return None;
        };
        let mut variants = results.variants.iter();
        let variant = variants.find(|variant| variant.inversion_hash == motion.inversion_hash);
        let name = variant.map_or("unknown variant", |variant| variant.name.as_str());
        let what = format!("learning for {name} from {}", clip(motion.reference));
        Some((error, what))
    });
    let cells = results.cells.iter().filter_map(|cell| {
        let Outcome::Failed { error } = &cell.outcome else {
            return None;
        };
        let id = &cell.id;
        let mut variants = results.variants.iter();
        let variant = variants.find(|variant| variant.hash == id.variant_hash);
        let name = variant.map_or("unknown variant", |variant| variant.name.as_str());
        let what = format!(
            "{name} on {}, prompt {}, seed {}",
            clip(id.reference),
            id.prompt + 1,
            id.seed
        );
        Some((error, what))
    });
    let mut groups: Vec<(&String, Vec<String>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (error, what) in motions.chain(cells) {
        let place = *places.entry(error).or_insert_with(|| {
            groups.push((error, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(what);
    }
    groups
        .into_iter()
        .map(|(error, mut named)| {
            let all = named.len();
            named.truncate(NAMED);
            Failure {
                error: error.clone(),
                number: count(all, "time"),
                others: all - named.len(),
                named,
            }
        })
        .collect()
}
