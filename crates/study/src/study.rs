//! A compiled study: what is run, as a file that people can check and change.

use std::{fmt::Write, path::Path};

use kinvert_metrics::measure::Measure;
use toml::Value;

use crate::digest::sha256;
use crate::error::Error;
use crate::fault::{Faults, Location};
use crate::input;
use crate::node::{Content, Fields, Node};
use crate::plan::{Action, Plan};
use crate::resolve::{Resolution, Unresolved};
use crate::settings::{MODEL, Settings};
use crate::spelling::did_you_mean;

/// The measures that plans ask for, as they are named in results.
pub const METRICS: [&str; 8] = [
    "text_similarity",
    "temporal_consistency",
    "motion_fidelity",
    "fid",
    "kid",
    "user_preference",
    "path_correlation",
    "end_point_error",
];

/// Bounds on what a study may hold: far beyond what anybody would run.
const MAX_ENTRIES: usize = 100_000;

/// What is run: variants × clips × prompts × seeds, with the method itself as baseline always present.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// What it was compiled from, if it was.
    pub provenance: Option<Provenance>,
    /// What it is about, for people.
    pub title: Option<String>,
    /// Reference clips.
    pub clips: Vec<Clip>,
    /// Prompts to generate with.
    pub prompts: Vec<String>,
    /// Seeds, each a run of its own.
    pub seeds: Vec<u32>,
    /// The model; the built-in one if absent.
    pub model: Option<String>,
    /// The measures: [`METRICS`], or other [`Measure`]s by the names of their records.
    pub metrics: Vec<String>,
    /// What is kept of the runs.
    pub keep: Keep,
    /// What is changed of the model's recommended settings for the method itself, and with it for every variant.
    pub method: Settings,
    /// The plan's words.
    pub ablations: Vec<Words>,
    /// What is run beside the method itself.
    pub variants: Vec<Variant>,
    /// Wishes of the plan that no settings are known for.
    pub unresolved: Vec<Stub>,
}

/// What a study was compiled from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The plan's file.
    pub plan: String,
    /// SHA-256 of that file, in hexadecimal.
    pub plan_sha256: String,
    /// The version of the program that compiled it.
    pub kinvert: String,
}

/// A reference clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Its file or folder.
    pub path: String,
    /// What it shows, for learning.
    pub caption: Option<String>,
}

/// What is kept of the runs; numbers always are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Clips and learned motions.
    #[default]
    All,
    /// Clips.
    Clips,
    /// Nothing but numbers.
    None,
}

/// An ablation in the plan's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Its name.
    pub name: String,
    /// The part that it is about.
    pub part: String,
    /// What is done to the part.
    pub action: Action,
    /// What is put in.
    pub replacement: Vec<String>,
    /// The plan's names of the measures.
    pub metrics: Vec<String>,
}

/// Settings to run. Variants with equal settings need to be run only once.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// A readable name, unique within the study.
    pub name: String,
    /// The ablation that asks for it; absent if a person added it.
    pub ablation: Option<String>,
    /// What differs from the method.
    pub settings: Settings,
}

/// A wish that no settings are known for: a place for a person to write a variant instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The ablation that asks for it.
    pub ablation: String,
    /// What was understood and what was not.
    pub wish: Unresolved,
}

impl Study {
    /// The study that a plan asks for. Clips and prompts are left for people to fill in; the seed is 0.
    pub fn compile(plan: &Plan, resolution: &Resolution, file: &str, bytes: &[u8]) -> Self {
        let ablations = plan.ablations.iter().map(|ablation| Words {
            name: ablation.name.clone(),
            part: ablation.ablated_part.clone(),
            action: ablation.action,
            replacement: ablation.replacement.clone(),
            metrics: ablation.metrics.clone(),
        });
        let asked = |metric: &&&str| {
            resolution
                .ablations
                .iter()
                .any(|a| a.metrics.contains(*metric))
        };
        let mut variants: Vec<Variant> = Vec::new();
        for resolved in &resolution.ablations {
            for variant in resolved.variants() {
                let taken =
                    |name: &str, variants: &[Variant]| variants.iter().any(|v| v.name == name);
                let mut name = variant.name.clone();
                if taken(&name, &variants) || name == BASELINE {
                    name = format!("{name} ({})", resolved.name);
                }
                let stem = name.clone();
                let mut count = 2;
                while taken(&name, &variants) {
                    name = format!("{stem} {count}");
                    count += 1;
                }
                variants.push(Variant {
                    name,
                    ablation: Some(resolved.name.clone()),
                    settings: variant.settings.clone(),
                });
            }
        }
        Self {
            provenance: Some(Provenance {
                plan: file.to_owned(),
                plan_sha256: sha256(bytes),
                kinvert: env!("CARGO_PKG_VERSION").to_owned(),
            }),
            title: plan.title.clone(),
            clips: Vec::new(),
            prompts: Vec::new(),
            seeds: vec![0],
            model: None,
            metrics: METRICS
                .iter()
                .filter(asked)
                .map(|&m| m.to_owned())
                .collect(),
            keep: Keep::default(),
            method: Settings::default(),
            ablations: ablations.collect(),
            variants,
            unresolved: resolution
                .unresolved()
                .map(|(resolved, wish)| Stub {
                    ablation: resolved.name.clone(),
                    wish: wish.clone(),
                })
                .collect(),
        }
    }

    /// Reads a study.
    ///
    /// # Errors
    /// If the file cannot be read, has more than 16 MiB, or is no valid study.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = input::read(path, "study")?;
        let name = path.display().to_string();
        Self::parse(&name, input::text(&name, &bytes)?)
    }

    /// Writes a study, whole or not at all.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        kinvert_base::write_file(path, self.to_toml().as_bytes())
            .map_err(Error::io(path, "writing"))
    }

    /// Reads a study from text; `name` stands in messages. All faults are told at once.
    ///
    /// # Errors
    /// [`Error::Faulty`] if it is no valid study.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let mut faults = Faults::default();
        let study = match Node::of_toml(text) {
            Ok(document) => Some(study(document, &mut faults)),
            Err((at, reason)) => {
                faults.push(at, format!("no TOML: {reason}"));
                None
            }
        };
        match study {
            Some(study) if faults.count() == 0 => Ok(study),
            _ => Err(Error::Faulty {
                name: name.into(),
                what: "study",
                faults,
            }),
        }
    }

    /// The study as text, from which [`parse`](Self::parse) makes an equal one.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# An ablation study. Every variant changes the settings below its name; the method itself is always run\n\
             # beside them. Check the variants against the plan's words, and fill in clips and prompts.\n",
        );
        if let Some(provenance) = &self.provenance {
            text.push_str("\n[provenance]\n");
            line(&mut text, "plan", &provenance.plan);
            line(&mut text, "plan_sha256", &provenance.plan_sha256);
            line(&mut text, "kinvert", &provenance.kinvert);
        }
        text.push_str("\n[study]\n");
        if let Some(title) = &self.title {
            line(&mut text, "title", title);
        }
        let clips = self.clips.iter().map(|clip| match &clip.caption {
            None => Value::String(clip.path.clone()),
            Some(caption) => Value::Table(toml::Table::from_iter([
                ("path".into(), Value::String(clip.path.clone())),
                ("caption".into(), Value::String(caption.clone())),
            ])),
        });
        value(&mut text, "clips", &Value::Array(clips.collect()));
        list(&mut text, "prompts", &self.prompts);
        let seeds = self
            .seeds
            .iter()
            .map(|seed| Value::Integer(i64::from(*seed)));
        value(&mut text, "seeds", &Value::Array(seeds.collect()));
        if let Some(model) = &self.model {
            line(&mut text, "model", model);
        }
        list(&mut text, "metrics", &self.metrics);
        line(&mut text, "keep", self.keep.name());
        if !self.method.is_empty() {
            text.push_str("\n[method]\n");
            settings(&mut text, &self.method);
        }
        for ablation in &self.ablations {
            text.push_str("\n[[ablation]]\n");
            line(&mut text, "name", &ablation.name);
            line(&mut text, "part", &ablation.part);
            line(&mut text, "action", ablation.action.name());
            list(&mut text, "replacement", &ablation.replacement);
            list(&mut text, "metrics", &ablation.metrics);
        }
        for variant in &self.variants {
            text.push_str("\n[[variant]]\n");
            line(&mut text, "name", &variant.name);
            if let Some(ablation) = &variant.ablation {
                line(&mut text, "ablation", ablation);
            }
            settings(&mut text, &variant.settings);
        }
        for stub in &self.unresolved {
            text.push_str("\n[[unresolved]]\n");
            line(&mut text, "ablation", &stub.ablation);
            line(&mut text, "words", &stub.wish.words);
            list(&mut text, "understood", &stub.wish.understood);
            list(&mut text, "not_understood", &stub.wish.not_understood);
            if let Some(axis) = &stub.wish.nearest_axis {
                line(&mut text, "nearest_axis", axis);
            }
            list(&mut text, "candidates", &stub.wish.candidates);
        }
        text
    }

    /// SHA-256 of the study in its written form: equal studies have equal hashes, however they are laid out.
    pub fn hash(&self) -> String {
        sha256(self.to_toml().as_bytes())
    }
}

/// The name under which the method itself is run.
pub const BASELINE: &str = "method";

impl Keep {
    const ALL: [Self; 3] = [Self::All, Self::Clips, Self::None];

    /// As studies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Clips => "clips",
            Self::None => "none",
        }
    }
}

fn line(text: &mut String, key: &str, content: &str) {
    value(text, key, &Value::String(content.to_owned()));
}

fn list(text: &mut String, key: &str, items: &[String]) {
    let items = items.iter().map(|item| Value::String(item.clone()));
    value(text, key, &Value::Array(items.collect()));
}

fn settings(text: &mut String, settings: &Settings) {
    for (field, setting) in settings.iter() {
        value(text, field, setting);
    }
}

fn value(text: &mut String, key: &str, value: &Value) {
    let _ = writeln!(text, "{key} = {value}");
}

fn study(document: Node, faults: &mut Faults) -> Study {
    let mut fields = Fields::of(document, "the study", faults);
    let provenance = fields.take("provenance").map(|node| {
        let mut fields = Fields::of(node, "`provenance`", faults);
        let provenance = Provenance {
            plan: text(&mut fields, "plan", faults),
            plan_sha256: text(&mut fields, "plan_sha256", faults),
            kinvert: text(&mut fields, "kinvert", faults),
        };
        fields.finish("`provenance`", faults);
        provenance
    });
    let mut head = match fields.take("study") {
        Some(node) => Fields::of(node, "`study`", faults),
        None => {
            faults.push(fields.at, "no `[study]` table");
            Fields::of(
                Node {
                    at: fields.at,
                    content: Content::Table(Vec::new()),
                },
                "`study`",
                faults,
            )
        }
    };
    let title = head.text("title", faults).map(|(_, title)| title);
    let clips = entries(&mut head, "clips", faults, clip);
    let prompts = head.texts("prompts", faults);
    let seeds = entries(&mut head, "seeds", faults, seed);
    let model = head.text("model", faults).map(|(_, model)| model);
    let metrics = entries(&mut head, "metrics", faults, metric);
    let keep = head
        .text("keep", faults)
        .map_or(Keep::default(), |(at, found)| {
            let keep = Keep::ALL.into_iter().find(|keep| keep.name() == found);
            keep.unwrap_or_else(|| {
                faults.push(
                    at,
                    format!("`keep` is `{found}`, expected `all`, `clips` or `none`"),
                );
                Keep::default()
            })
        });
    head.finish("`study`", faults);

    let method = fields.take("method").map(|node| {
        let settings = Settings::of_fields(Fields::of(node, "`method`", faults).rest(), faults);
        if settings.get(MODEL).is_some() {
            faults.push(fields.at, "`method` has a `model`, expected it in `study`");
        }
        settings
    });
    let ablations = entries(&mut fields, "ablation", faults, words);
    let variants = entries(&mut fields, "variant", faults, |node, faults| {
        let at = node.at;
        Some((at, variant(node, faults)))
    });
    let unresolved = entries(&mut fields, "unresolved", faults, stub);
    fields.finish("the study", faults);

    let known = || {
        ablations
            .iter()
            .map(|ablation: &Words| ablation.name.as_str())
    };
    let mut names = std::collections::HashMap::new();
    for (at, variant) in &variants {
        if let Some(ablation) = &variant.ablation
            && !known().any(|name| name == ablation)
        {
            let near = did_you_mean(ablation, known());
            faults.push(*at, format!("no ablation is named `{ablation}`{near}"));
        }
        if variant.name == BASELINE {
            faults.push(
                *at,
                format!("`{BASELINE}` is the name of the baseline, expected another"),
            );
        }
        if let Some(first) = names.insert(variant.name.as_str(), *at) {
            let name = &variant.name;
            faults.push(
                *at,
                format!("`{name}` is also the name of a variant at {first}"),
            );
        }
    }
    Study {
        provenance,
        title,
        clips,
        prompts,
        seeds,
        model,
        metrics,
        keep,
        method: method.unwrap_or_default(),
        variants: variants.into_iter().map(|(_, variant)| variant).collect(),
        ablations,
        unresolved,
    }
}

/// The entries of a list that can be read.
fn entries<T>(
    fields: &mut Fields,
    name: &'static str,
    faults: &mut Faults,
    mut read: impl FnMut(Node, &mut Faults) -> Option<T>,
) -> Vec<T> {
    let nodes = fields.list(name, faults);
    if nodes.len() > MAX_ENTRIES {
        let found = nodes.len();
        faults.push(
            fields.at,
            format!("`{name}` has {found} entries, expected at most {MAX_ENTRIES}"),
        );
        return Vec::new();
    }
    nodes
        .into_iter()
        .filter_map(|node| read(node, faults))
        .collect()
}

/// A field of text that must be there.
fn text(fields: &mut Fields, name: &'static str, faults: &mut Faults) -> String {
    let before = faults.count();
    let found = fields.text(name, faults);
    if found.is_none() && faults.count() == before {
        faults.push(fields.at, format!("`{name}` is missing"));
    }
    found.map(|(_, text)| text).unwrap_or_default()
}

fn clip(node: Node, faults: &mut Faults) -> Option<Clip> {
    if let Content::Text(path) = node.content {
        return Some(Clip {
            path,
            caption: None,
        });
    }
    let mut fields = Fields::of(node, "a clip", faults);
    let path = text(&mut fields, "path", faults);
    let caption = fields.text("caption", faults).map(|(_, caption)| caption);
    fields.finish("a clip", faults);
    Some(Clip { path, caption })
}

fn seed(node: Node, faults: &mut Faults) -> Option<u32> {
    let seed = match node.content {
        Content::Integer(seed) => u32::try_from(seed).ok(),
        _ => None,
    };
    if seed.is_none() {
        faults.push(node.at, "a seed is no integer from 0 to 4294967295");
    }
    seed
}

fn metric(node: Node, faults: &mut Faults) -> Option<String> {
    match node.content {
        Content::Text(name) if METRICS.contains(&name.as_str()) => Some(name),
        // Variants of the measures, by the names of their records.
        Content::Text(name)
            if name
                .parse()
                .is_ok_and(|measure: Measure| measure.name() == name) =>
        {
            Some(name)
        }
        Content::Text(name) => {
            let near = did_you_mean(&name, METRICS);
            let known = METRICS.join(", ");
            faults.push(
                node.at,
                format!("no metric is named `{name}`{near} (known: {known})"),
            );
            None
        }
        _ => {
            let kind = node.kind();
            faults.push(node.at, format!("a metric is {kind}, expected its name"));
            None
        }
    }
}

fn words(node: Node, faults: &mut Faults) -> Option<Words> {
    let mut fields = Fields::of(node, "an ablation", faults);
    let name = text(&mut fields, "name", faults);
    let part = text(&mut fields, "part", faults);
    let action_text = text(&mut fields, "action", faults);
    let action = Action::of_name(&action_text);
    if action.is_none() {
        let reason = format!("action `{action_text}`, expected REMOVE, REPLACE or ADD");
        faults.push(fields.at, reason);
    }
    let replacement = fields.texts("replacement", faults);
    let metrics = fields.texts("metrics", faults);
    fields.finish("an ablation", faults);
    Some(Words {
        name,
        part,
        action: action?,
        replacement,
        metrics,
    })
}

fn variant(node: Node, faults: &mut Faults) -> Variant {
    let mut fields = Fields::of(node, "a variant", faults);
    let at: Location = fields.at;
    let name = text(&mut fields, "name", faults);
    let ablation = fields
        .text("ablation", faults)
        .map(|(_, ablation)| ablation);
    let before = faults.count();
    let settings = Settings::of_fields(fields.rest(), faults);
    if settings.is_empty() && faults.count() == before {
        faults.push(
            at,
            format!("`{name}` changes no setting, so it is the method itself"),
        );
    }
    Variant {
        name,
        ablation,
        settings,
    }
}

fn stub(node: Node, faults: &mut Faults) -> Option<Stub> {
    let mut fields = Fields::of(node, "an unresolved wish", faults);
    let stub = Stub {
        ablation: text(&mut fields, "ablation", faults),
        wish: Unresolved {
            words: text(&mut fields, "words", faults),
            understood: fields.texts("understood", faults),
            not_understood: fields.texts("not_understood", faults),
            nearest_axis: fields.text("nearest_axis", faults).map(|(_, axis)| axis),
            candidates: fields.texts("candidates", faults),
        },
    };
    fields.finish("an unresolved wish", faults);
    Some(stub)
}
