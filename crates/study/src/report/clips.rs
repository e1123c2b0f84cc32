//! The clips that the page shows: chosen by a rule that no result can bend, embedded once each, within a budget.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::value::Value;
use serde::Serialize;

use super::numbers::count;
use super::plots::paths;
use super::templates::{Templates, safe};
use super::text::cut;
use crate::error::Error;
use crate::results::{Cell, CellId, Outcome, Results};

/// Characters of a prompt that stand over a row; the rest is where the study is told in full.
const PROMPT_CHARS: usize = 160;
/// Variants with equal settings that are named beside a clip; of the others the number is told.
const NAMED: usize = 3;
/// Clips narrower than this are enlarged pixel by pixel.
const SMALL_WIDTH: usize = 160;

#[derive(Default, Serialize)]
pub(super) struct Clips {
    pub(super) shown: usize,
    /// How the rows were chosen, in words.
    rule: String,
    /// Why there are fewer than the rule gives, if there are.
    cut_short: Option<String>,
    /// Whether no cell of the study is done.
    is_early: bool,
    has_paths: bool,
    rows: Vec<Value>,
}

/// A row: one clip, prompt and seed.
#[derive(Serialize)]
struct Row {
    id: String,
    heading: String,
    prompt: String,
    seed: u32,
    is_small: bool,
    is_wide: bool,
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    /// Variants with equal settings, which have the same clip.
    also: Vec<String>,
    /// How many more of them there are.
    others: usize,
    is_reference: bool,
    video: Option<Video>,
    /// Why there is no clip.
    missing: Option<String>,
    width: usize,
    height: usize,
    path: Option<Value>,
}

#[derive(Clone, Serialize)]
struct Video {
    id: String,
    /// Base64 of the MP4 file; none where an earlier row has the same clip under `id`.
    data: Option<Value>,
}

/// Rows in the order of the rule until there are `most` of them or the next does not fit into `budget` bytes.
pub(super) fn clips(
    results: &Results,
    most: usize,
    budget: usize,
    templates: &Templates,
) -> Result<Clips, Error> {
    let chosen = choice(results, most);
    let mut clips = Clips {
        rule: rule(results, chosen.len()),
        is_early: results.counts().done == 0,
        ..Clips::default()
    };
    if clips.is_early {
        return Ok(clips);
    }
    let cells: HashMap<&CellId, &Cell> =
        results.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let mut embedded = Embedded::default();
    let mut left = budget;
    for spot in &chosen {
        let mut attempt = embedded.clone();
        attempt.left = left;
        let row = row(results, &cells, *spot, &mut attempt);
        let html = match attempt.is_full {
            true => None,
            false => Some(templates.cell(&row)?).filter(|html| html.len() <= left),
        };
        let Some(html) = html else {
            clips.cut_short = Some(format!(
                "Only {} of these {} fit into the size that this page may have; the others are left out from the end \
                 of the list.",
                clips.shown,
                chosen.len()
            ));
            break;
        };
        left -= html.len();
        clips.has_paths |= row.figures.iter().any(|figure| figure.path.is_some());
        clips.rows.push(safe(html));
        clips.shown += 1;
        embedded = attempt;
    }
    Ok(clips)
}

/// A clip, prompt and seed.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) reference: usize,
    pub(super) prompt: usize,
    pub(super) seed: u32,
}

/// One cell of each clip in turn, with the first prompt and seed, then again with the next prompt, and then with the
/// next seed. Where there are more clips than places, those at even distances.
pub(super) fn choice(results: &Results, most: usize) -> Vec<Spot> {
    let clips = results.references.len();
    let taken = clips.min(most);
    let seeds = &results.study.seeds;
    let rounds = seeds
        .iter()
        .flat_map(|&seed| (0..results.study.prompts.len()).map(move |prompt| (prompt, seed)));
    rounds
        .flat_map(|(prompt, seed)| {
            (0..taken).map(move |place| Spot {
                reference: place * clips / taken,
                prompt,
                seed,
            })
        })
        .take(most)
        .collect()
}

fn rule(results: &Results, chosen: usize) -> String {
    let clips = results.references.len();
    let all = clips * results.study.prompts.len() * results.study.seeds.len();
    let first = match clips > chosen {
        true => {
            format!("{chosen} of the {clips} clips, at even distances in the study’s order, each")
        }
        false => "each clip in the study’s order".to_owned(),
    };
    let chosen = count(chosen, "combination");
    format!(
        "{chosen} of clip, prompt and seed out of {all}, taken by a fixed rule and not by how they look: {first} with \
         its first prompt and first seed, then with the next prompt, then with the next seed."
    )
}

fn row(
    results: &Results,
    cells: &HashMap<&CellId, &Cell>,
    spot: Spot,
    embedded: &mut Embedded,
) -> Row {
    let reference = &results.references[spot.reference];
    let [width, height] = reference.size.map(|side| side.clamp(1, 100_000));
    let id = format!("cell-{}-{}-{}", spot.reference, spot.prompt, spot.seed);
    let mut figures = vec![Figure {
        name: "reference".into(),
        also: Vec::new(),
        others: 0,
        is_reference: true,
        video: None,
        missing: None,
        width,
        height,
        path: None,
    }];
    match embedded.embed(&results.folder, reference.file.as_deref()) {
        Ok(video) => figures[0].video = Some(video),
        Err(reason) => figures[0].missing = Some(reason),
    }
    let mut told = HashSet::new();
    for variant in &results.variants {
        if !told.insert(variant.hash.as_str()) {
            continue;
        }
        let equals = results
            .variants
            .iter()
            .filter(|other| other.hash == variant.hash && other.name != variant.name);
        let cell = cells.get(&CellId {
            variant_hash: variant.hash.clone(),
            reference: spot.reference,
            prompt: spot.prompt,
            seed: spot.seed,
        });
        let outcome = cell.map(|cell| &cell.outcome);
        let (video, missing) = match clip(results, outcome, embedded) {
            Ok(video) => (Some(video), None),
            Err(reason) => (None, Some(reason)),
        };
        let measured = outcome.and_then(Outcome::measured);
        let path = measured.and_then(|measured| measured.paths.as_ref());
        if let Some(path) = path
            && figures[0].path.is_none()
        {
            let drawn = paths(
                &path.reference,
                None,
                &format!("{id}-path"),
                "Path in the reference",
            );
            figures[0].path = Some(safe(drawn));
        }
        figures.push(Figure {
            name: variant.name.clone(),
            others: equals.clone().count().saturating_sub(NAMED),
            also: equals.take(NAMED).map(|other| other.name.clone()).collect(),
            is_reference: false,
            video,
            missing,
            width,
            height,
            path: path.map(|path| {
                let id = format!("{id}-path-{}", figures.len());
                let title = format!("Path of {}", variant.name);
                safe(paths(&path.reference, Some(&path.result), &id, &title))
            }),
        });
    }
    let prompt = results.study.prompts.get(spot.prompt);
    Row {
        id,
        heading: reference.path.clone(),
        prompt: prompt.map_or(String::new(), |prompt| cut(prompt, PROMPT_CHARS)),
        seed: spot.seed,
        is_small: width < SMALL_WIDTH,
        is_wide: width * 3 > height * 4,
        figures,
    }
}

/// The clip of a cell, or why there is none.
fn clip(
    results: &Results,
    outcome: Option<&Outcome>,
    embedded: &mut Embedded,
) -> Result<Video, String> {
    match outcome {
        None => Err("not part of the study".into()),
        Some(Outcome::Waiting) => Err("not generated yet".into()),
        Some(Outcome::Running) => Err("being generated".into()),
        Some(Outcome::Failed { error }) => Err(format!("failed: {}", cut(error, PROMPT_CHARS))),
        Some(Outcome::Done(measured)) => embedded.embed(&results.folder, measured.clip.as_deref()),
    }
}

/// The clips that the page holds so far.
#[derive(Clone, Default)]
struct Embedded {
    ids: HashMap<PathBuf, String>,
    /// Bytes that clips may still take.
    left: usize,
    /// Whether a clip was asked for that is too large for them.
    is_full: bool,
}

impl Embedded {
    /// A clip of the study's folder for the page; if there is none, why.
    fn embed(&mut self, folder: &Path, file: Option<&Path>) -> Result<Video, String> {
        let Some(file) = file else {
            return Err("clip not kept".into());
        };
        if let Some(id) = self.ids.get(file) {
            let id = id.clone();
            return Ok(Video { id, data: None });
        }
        // A study may come from somebody else, and its report may be published.
        let is_inside = file
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_inside {
            return Err("clip file lies outside the study’s folder".into());
        }
        let path = folder.join(file);
        let length = std::fs::metadata(&path)
            .ok()
            .filter(std::fs::Metadata::is_file);
        let Some(length) = length.map(|metadata| metadata.len()) else {
            return Err("clip file is missing".into());
        };
        // Four characters stand for three bytes.
        let fits = usize::try_from(length).is_ok_and(|length| length / 3 * 4 <= self.left);
        if !fits {
            self.is_full = true;
            return Err("clip file is too large".into());
        }
        let bytes = std::fs::read(&path).map_err(|_| "clip file cannot be read")?;
        let data = BASE64_STANDARD.encode(bytes);
        self.left = self.left.saturating_sub(data.len());
        let id = format!("clip-{}", self.ids.len() + 1);
        self.ids.insert(file.to_owned(), id.clone());
        let data = Some(safe(data));
        Ok(Video { id, data })
    }
}
