//! A survey of a study's clips: which pairs people see, and what they said.
//!
//! The pairs and votes of a study lie in its folder as [`PAIRS`] and [`VOTES`], in the forms of
//! [`kinvert_metrics::votes`]. Clips are named by their paths in that folder. Beside comparisons of variants on the same
//! clip, prompt and seed there are attention checks: a clip against itself, and a clip against noise ([`NOISE`]).
//!
//! Ids and the places of the two results come from a hash of what is compared: the same pair has the same id in every
//! survey of the study, whatever was added to it since, and tells raters nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use image::RgbImage;
use kinvert_metrics::statistics::Bootstrap;
use kinvert_metrics::votes::{
    Ballots, Candidate, OnFault, Pair, PairKind, Report, ReportOptions, Slot, Survey, Verdict,
};
use kinvert_video::Clip;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::digest::of_parts;
use crate::error::Error;
use crate::results::{Measured, Outcome, Results, RunVariant};

/// The pairs of a study, in its folder.
pub const PAIRS: &str = "votes/pairs.csv";

/// The votes on them.
pub const VOTES: &str = "votes/votes.csv";

/// The clip that attention checks show beside a result.
pub const NOISE: &str = "votes/noise.mp4";

/// Name under which noise stands in attention checks.
const NOISE_VARIANT: &str = "noise";

/// Longest name of a variant in a survey, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Longest prompt in a survey, in bytes.
const MAX_PROMPT_BYTES: usize = 10_000;

/// Most pixels of a noise clip, all frames together.
const MAX_NOISE_PIXELS: usize = 1 << 28;

/// Pixels a side of a square of one colour in noise: single pixels would not survive the encoding.
const NOISE_SQUARE: u32 = 4;

/// How a survey is made of a study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VotingOptions {
    /// Most comparisons.
    pub comparisons: usize,
    /// Whether variants are compared with each other too, and not only with the method.
    pub all_pairs: bool,
    /// Attention checks of each of the two kinds.
    pub checks: usize,
    /// Seed of the choice of cells.
    pub seed: u64,
}

impl Default for VotingOptions {
    /// 60 comparisons with the method, about as many as a rater has patience for, and three checks of each kind.
    fn default() -> Self {
        Self {
            comparisons: 60,
            all_pairs: false,
            checks: 3,
            seed: 0,
        }
    }
}

/// The pairs that people are asked about. Comparisons are spread evenly over pairs of variants, and the cells of each
/// over clips. Only cells count that are done on both sides and whose clips were kept; without any the survey is empty.
///
/// # Errors
/// If a path of the study is no text that a survey can hold.
pub fn voting_set(results: &Results, options: &VotingOptions) -> Result<Survey, Error> {
    let variants = distinct(results);
    let cells: Vec<BTreeMap<Key, &Measured>> = variants
        .iter()
        .map(|variant| shown_cells(results, variant))
        .collect();
    let mut queues = Vec::new();
    for a in 0..variants.len() {
        for b in a + 1..variants.len() {
            if a > 0 && !options.all_pairs {
                break;
            }
            let shared = cells[a].keys().filter(|key| cells[b].contains_key(key));
            let order = spread(shared.copied().collect(), options.seed, queues.len());
            queues.push(order.into_iter().map(move |key| (a, b, key)));
        }
    }
    let mut pairs = Vec::new();
    while pairs.len() < options.comparisons {
        let room = options.comparisons - pairs.len();
        let round: Vec<_> = queues.iter_mut().filter_map(Iterator::next).collect();
        if round.is_empty() {
            break;
        }
        for (a, b, key) in round.into_iter().take(room) {
            let sides = [(a, key), (b, key)].map(|(side, key)| Side {
                hash: &variants[side].hash,
                variant: name_in_survey(&variants[side].name),
                file: clip_of(cells[side][&key]),
            });
            pairs.push(pair(results, key, sides, None));
        }
    }
    if !pairs.is_empty() {
        pairs.extend(checks(results, &variants, &cells, options));
    }
    Ok(Survey::new(pairs)?)
}

/// Writes the pairs of a survey into the study's folder, and the noise clip if a check shows it.
///
/// # Errors
/// If a file cannot be written, or the study has no clip.
pub fn write_voting_set(results: &Results, survey: &Survey) -> Result<(), Error> {
    let pairs = results.folder.join(PAIRS);
    if let Some(folder) = pairs.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "writing"))?;
    }
    let is_noise = |pair: &Pair| [&pair.a, &pair.b].iter().any(|side| side.file == NOISE);
    if survey.pairs().iter().any(is_noise) {
        kinvert::write_clip(&noise_clip(results)?, &results.folder.join(NOISE))?;
    }
    Ok(survey.write(&pairs)?)
}

/// A clip of coloured noise, of the shape of the study's first clip. The same study has the same noise.
///
/// # Errors
/// If the study has no clip, or one of no size or of more than 2^28 pixels in all.
pub fn noise_clip(results: &Results) -> Result<Clip, Error> {
    let Some(reference) = results.references.first() else {
        return Err(Error::setting("clips", "none, expected at least one"));
    };
    let [width, height] = reference.size;
    let pixels = width.checked_mul(height);
    let pixels = pixels.and_then(|pixels| pixels.checked_mul(reference.frames));
    let sides = (u32::try_from(width), u32::try_from(height));
    let (Some(1..=MAX_NOISE_PIXELS), (Ok(width), Ok(height))) = (pixels, sides) else {
        return Err(Error::setting(
            "clips",
            format!(
                "{} frames of {width}x{height} pixels, expected 1 to {MAX_NOISE_PIXELS} pixels in all",
                reference.frames
            ),
        ));
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let columns = width.div_ceil(NOISE_SQUARE) as usize;
    let mut frame = || {
        let squares = columns * height.div_ceil(NOISE_SQUARE) as usize;
        let colours: Vec<[u8; 3]> = (0..squares).map(|_| rng.random()).collect();
        RgbImage::from_fn(width, height, |x, y| {
            let [x, y] = [x, y].map(|place| (place / NOISE_SQUARE) as usize);
            image::Rgb(colours[y * columns + x])
        })
    };
    let frames = (0..reference.frames).map(|_| frame()).collect();
    Ok(Clip::new(frames, reference.fps)?)
}

/// What people said of a study; none if it has no pairs or no votes. Strengths are relative to the method where it was
/// compared.
///
/// # Errors
/// As [`Survey::read`], [`Ballots::read`] and [`Report::new`].
pub fn read_votes(
    folder: &Path,
    on_fault: OnFault,
    bootstrap: &Bootstrap,
) -> Result<Option<Report>, Error> {
    let [pairs, votes] = [PAIRS, VOTES].map(|name| folder.join(name));
    if !pairs.is_file() || !votes.is_file() {
        return Ok(None);
    }
    let (survey, warnings) = Survey::read(&pairs)?;
    let import = Ballots::read(&survey, &[votes], on_fault)?;
    let baseline = survey
        .variants()
        .contains(crate::study::BASELINE)
        .then(|| crate::study::BASELINE.to_owned());
    let options = ReportOptions {
        baseline,
        bootstrap: *bootstrap,
        ..ReportOptions::default()
    };
    let mut report = Report::new(&import.ballots, &options)?;
    report.warnings.extend(warnings);
    report.warnings.extend(import.warnings);
    if import.skipped.count() > 0 {
        let count = import.skipped.count();
        report
            .warnings
            .push(format!("{count} rows of the votes are faulty and left out"));
    }
    Ok(Some(report))
}

/// A variant's name as surveys can hold it. It is the name itself unless that has control characters, outer space or
/// more than 200 bytes.
pub fn name_in_survey(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES && name.trim() == name && !name.contains(char::is_control) {
        return name.to_owned();
    }
    let visible: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let digits = of_parts(&[name]);
    let kept = cut(visible.trim(), MAX_NAME_BYTES - SHORT - 3);
    format!("{kept} ({})", &digits[..SHORT])
}

/// Digits of a hash that tell names and pairs apart.
const SHORT: usize = 16;

/// Indices of the clip and the prompt, and the seed.
type Key = (usize, usize, u32);

/// One side of a pair.
struct Side<'a> {
    hash: &'a str,
    variant: String,
    file: String,
}

/// The variants, each hash once.
fn distinct(results: &Results) -> Vec<&RunVariant> {
    let mut known = BTreeSet::new();
    let variants = results.variants.iter();
    variants
        .filter(|variant| known.insert(&variant.hash))
        .collect()
}

/// Done cells whose clip is there.
fn shown_cells<'a>(results: &'a Results, variant: &RunVariant) -> BTreeMap<Key, &'a Measured> {
    let cells = results.cells_of(variant).into_iter();
    let shown = cells.filter_map(|(key, cell)| match &cell.outcome {
        Outcome::Done(measured) if measured.clip.is_some() => Some((key, measured.as_ref())),
        _ => None,
    });
    let is_known =
        |key: &Key| key.0 < results.references.len() && key.1 < results.study.prompts.len();
    shown.filter(|(key, _)| is_known(key)).collect()
}

fn clip_of(measured: &Measured) -> String {
    let clip = measured.clip.as_deref();
    clip.map(path_text).unwrap_or_default()
}

/// A path as it stands in files, the same on every system.
fn path_text(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// Cells in random order, such that every beginning of the list is spread evenly over clips.
fn spread(mut cells: Vec<Key>, seed: u64, stream: usize) -> Vec<Key> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    cells.shuffle(&mut rng);
    let mut met = BTreeMap::<usize, usize>::new();
    let mut ranked: Vec<(usize, Key)> = cells
        .into_iter()
        .map(|key| {
            let rank = met.entry(key.0).or_default();
            *rank += 1;
            (*rank, key)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank); // stable: the order of clips within a round stays random
    ranked.into_iter().map(|(_, key)| key).collect()
}

/// A pair with the hash of what it compares for its id, the sides in an order drawn by that hash.
fn pair(results: &Results, key: Key, sides: [Side<'_>; 2], expected: Option<Slot>) -> Pair {
    let (clip, prompt, seed) = key;
    let reference = &results.references[clip];
    let prompt = &results.study.prompts[prompt];
    let digits = of_parts(&[
        &reference.sha256,
        prompt,
        &seed.to_string(),
        sides[0].hash,
        sides[1].hash,
    ]);
    let is_swapped = digits.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']);
    let is_check = sides[0].hash == sides[1].hash || expected.is_some();
    let [mut a, mut b] = sides.map(|side| Candidate {
        variant: side.variant,
        file: side.file,
    });
    let mut better = expected;
    if is_swapped {
        std::mem::swap(&mut a, &mut b);
        better = better.map(Slot::other);
    }
    Pair {
        id: digits[..SHORT].to_owned(),
        reference: match &reference.file {
            Some(file) => path_text(file),
            None => reference.path.trim().to_owned(),
        },
        prompt: cut(prompt.trim(), MAX_PROMPT_BYTES).to_owned(),
        a,
        b,
        kind: match (is_check, better) {
            (false, _) => PairKind::Comparison,
            (true, None) => PairKind::Check {
                expected: Verdict::Equal,
            },
            (true, Some(Slot::A)) => PairKind::Check {
                expected: Verdict::A,
            },
            (true, Some(Slot::B)) => PairKind::Check {
                expected: Verdict::B,
            },
        },
    }
}

/// Clips against themselves and against noise, of variants and clips in turn.
fn checks(
    results: &Results,
    variants: &[&RunVariant],
    cells: &[BTreeMap<Key, &Measured>],
    options: &VotingOptions,
) -> Vec<Pair> {
    let sources = variants.iter().zip(cells).enumerate();
    let mut queues: Vec<_> = sources
        .map(|(index, (variant, cells))| {
            // A stream of its own, so that checks do not move with the comparisons.
            let order = spread(cells.keys().copied().collect(), options.seed, !index);
            order
                .into_iter()
                .map(move |key| (*variant, key, cells[&key]))
        })
        .collect();
    let mut drawn = Vec::new();
    while drawn.len() < options.checks.saturating_mul(2) {
        let round: Vec<_> = queues.iter_mut().filter_map(Iterator::next).collect();
        if round.is_empty() {
            break;
        }
        drawn.extend(round);
    }
    drawn.truncate(options.checks.saturating_mul(2));
    let drawn = drawn.into_iter().enumerate();
    drawn
        .map(|(index, (variant, key, measured))| {
            let side = || Side {
                hash: &variant.hash,
                variant: name_in_survey(&variant.name),
                file: clip_of(measured),
            };
            if index % 2 == 0 {
                return pair(results, key, [side(), side()], None);
            }
            let noise = Side {
                hash: NOISE_VARIANT,
                variant: NOISE_VARIANT.into(),
                file: NOISE.into(),
            };
            pair(results, key, [side(), noise], Some(Slot::A))
        })
        .collect()
}

/// The beginning of a text, in whole characters and without space at its end.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end()
}
