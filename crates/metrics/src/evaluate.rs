//! Measuring one clip: against its prompt, against itself, and against its reference.

use std::cell::OnceCell;

use kinvert_base::Progress;
use kinvert_nets::{Device, ModelFiles};
use kinvert_video::Clip;

use crate::cache::{Cache, CacheKey};
use crate::clip_encoder::{CLIPEncoder, load_clip};
use crate::frames::FrameEncoder;
use crate::frechet::{FeatureStatistics, Features, frechet_distance, kernel_distance};
use crate::measure::{Measure, MeasureSelection};
use crate::motion_fidelity::{self, Mask, SpriteTruth, Variant, looks_like_sprites};
use crate::similarity::{temporal_consistency, text_similarity};
use crate::tracks::{Tracker, default_grid, grid};
use crate::{Error, Record, Tracks};

/// Name of the CLIP that comes with the program.
pub const BUILT_IN_CLIP: &str = "sprites";

/// Measures clips with one choice of networks. They are loaded when first needed, and what they give is cached.
pub struct Evaluator {
    clip_files: ModelFiles,
    clip_name: String,
    device: Device,
    clip: OnceCell<Box<dyn CLIPEncoder>>,
    tracker: Box<dyn Tracker>,
    grid: Option<u32>,
    frame_encoder: Option<Box<dyn FrameEncoder>>,
    cache: Cache,
    detail: bool,
}

/// A clip to be measured, and what it is measured against.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The clip.
    pub result: &'a Clip,
    /// The clip whose motion it should have.
    pub reference: Option<&'a Clip>,
    /// What it should show.
    pub prompt: Option<&'a str>,
    /// Where tracks of the reference start; everywhere without.
    pub reference_mask: Option<&'a Mask>,
    /// Where tracks of the result start; everywhere without.
    pub result_mask: Option<&'a Mask>,
}

impl<'a> Subject<'a> {
    /// A clip by itself.
    pub fn new(result: &'a Clip) -> Self {
        Self {
            result,
            reference: None,
            prompt: None,
            reference_mask: None,
            result_mask: None,
        }
    }
}

impl Evaluator {
    /// An evaluator with the CLIP that comes with the program, and no cache.
    pub fn new(tracker: Box<dyn Tracker>, device: Device) -> Self {
        Self {
            clip_files: kinvert_world::model::model_files().part("clip"),
            clip_name: BUILT_IN_CLIP.into(),
            device,
            clip: OnceCell::new(),
            tracker,
            grid: None,
            frame_encoder: None,
            cache: Cache::off(),
            detail: false,
        }
    }

    /// Takes another CLIP; `name` stands for it in records.
    pub fn with_clip(mut self, files: ModelFiles, name: &str) -> Self {
        self.clip_files = files;
        self.clip_name = name.into();
        self.clip = OnceCell::new();
        self
    }

    /// Takes the features of FID and KID from this network, and not from the CLIP.
    pub fn with_frame_encoder(mut self, encoder: Box<dyn FrameEncoder>) -> Self {
        self.frame_encoder = Some(encoder);
        self
    }

    /// Starts tracks at a grid of `per_side` by `per_side` places. Without it there are those of
    /// [`default_grid`].
    ///
    /// # Errors
    /// If `per_side` is not in 1..=512.
    pub fn with_grid(mut self, per_side: u32) -> Result<Self, Error> {
        if !(1..=512).contains(&per_side) {
            return Err(Error::argument("grid", per_side, "1 to 512 tracks a side"));
        }
        self.grid = Some(per_side);
        Ok(self)
    }

    /// Keeps what networks and trackers give.
    pub fn with_cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Adds values of single frames and tracks to the records.
    pub fn with_detail(mut self, detail: bool) -> Self {
        self.detail = detail;
        self
    }

    /// Measures a clip: one record for each measure, in the order of the selection.
    ///
    /// # Errors
    /// [`Error::Argument`] if a measure that was asked for by name cannot be taken; those of loading networks.
    pub fn evaluate(
        &self,
        subject: &Subject<'_>,
        selection: &MeasureSelection,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Record>, Error> {
        let measures = applicable(subject, selection)?;
        let mut once = Once::new(self, subject);
        let mut records = Vec::new();
        for measure in measures {
            if progress.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let mut record = once.measure(measure, progress)?;
            if !self.detail {
                record.detail.clear();
            }
            records.push(record);
        }
        Ok(records)
    }

    /// The CLIP.
    ///
    /// # Errors
    /// As [`load_clip`].
    pub fn clip(&self) -> Result<&dyn CLIPEncoder, Error> {
        if self.clip.get().is_none() {
            let loaded = load_clip(&self.clip_files, &self.clip_name, self.device)?;
            let _ = self.clip.set(loaded); // it was empty
        }
        match self.clip.get() {
            Some(clip) => Ok(clip.as_ref()),
            None => Err(Error::argument("clip", "not loaded", "a loaded network")),
        }
    }

    /// Embeddings of a clip's frames by the CLIP, from the cache if they are there.
    ///
    /// # Errors
    /// Those of loading and running the network.
    pub fn embeddings(&self, clip: &Clip) -> Result<Vec<Vec<f32>>, Error> {
        self.encoded(self.clip()?, clip)
    }

    /// Features of a clip's frames for FID and KID, from the cache if they are there.
    ///
    /// # Errors
    /// Those of loading and running the network.
    pub fn features(&self, clip: &Clip) -> Result<Vec<Vec<f32>>, Error> {
        match &self.frame_encoder {
            Some(encoder) => self.encoded(encoder.as_ref(), clip),
            None => self.embeddings(clip),
        }
    }

    /// The network that FID and KID take their features from.
    ///
    /// # Errors
    /// Those of loading it.
    pub fn feature_encoder(&self) -> Result<&dyn FrameEncoder, Error> {
        match &self.frame_encoder {
            Some(encoder) => Ok(encoder.as_ref()),
            None => Ok(self.clip()?),
        }
    }

    fn encoded<E: FrameEncoder + ?Sized>(
        &self,
        encoder: &E,
        clip: &Clip,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let key = CacheKey::new("features", encoder.stamp(), encoder.preprocessing(), clip);
        self.cache.get_or(&key, || encoder.encode(clip.frames()))
    }

    /// Tracks through a clip, from the cache if they are there.
    ///
    /// # Errors
    /// Those of the tracker.
    pub fn tracks(&self, clip: &Clip, progress: &mut dyn Progress) -> Result<Tracks, Error> {
        let per_side = self.grid.unwrap_or_else(|| default_grid(clip.size()));
        let settings = format!("{}; grid {per_side}", self.tracker.settings(clip.size()));
        let key = CacheKey::new("tracks", self.tracker.stamp(), &settings, clip);
        self.cache.get_or(&key, || {
            self.tracker
                .track(clip, &grid(clip.size(), per_side), progress)
        })
    }

    /// Everything that records depend on besides the clips and the prompt, in words.
    ///
    /// # Errors
    /// Those of loading the CLIP.
    pub fn identity(&self) -> Result<String, Error> {
        let clip = self.clip()?;
        let features = self.feature_encoder()?;
        Ok(format!(
            "{:?} {}; {:?} {}; {:?} grid {:?}; detail {}; kinvert {}",
            clip.stamp(),
            clip.preprocessing(),
            features.stamp(),
            features.preprocessing(),
            self.tracker.stamp(),
            self.grid,
            self.detail,
            env!("CARGO_PKG_VERSION"),
        ))
    }
}

/// The measures of a selection that can be taken of a subject.
fn applicable(subject: &Subject<'_>, selection: &MeasureSelection) -> Result<Vec<Measure>, Error> {
    let mut measures = Vec::new();
    let mut is_sprites = None;
    for &measure in selection.candidates() {
        let lacks_prompt = measure.needs_prompt() && subject.prompt.is_none();
        let lacks_reference = measure.needs_reference() && subject.reference.is_none();
        if lacks_prompt || lacks_reference {
            if selection.is_strict() {
                let needed = if lacks_prompt {
                    "a prompt"
                } else {
                    "a reference"
                };
                return Err(Error::argument(
                    "metrics",
                    measure,
                    format!("{needed} to go with it"),
                ));
            }
            continue;
        }
        if let (true, false, Some(reference)) = (
            measure.needs_sprites(),
            selection.is_strict(),
            subject.reference,
        ) {
            let known = match is_sprites {
                Some(known) => known,
                None => *is_sprites.insert(looks_like_sprites(reference)?),
            };
            if !known {
                continue;
            }
        }
        measures.push(measure);
    }
    if measures.is_empty() {
        return Err(Error::argument(
            "metrics",
            selection,
            "a measure that can be taken with the prompt and reference given",
        ));
    }
    Ok(measures)
}

/// One evaluation: what several measures need is computed once.
struct Once<'a> {
    evaluator: &'a Evaluator,
    subject: &'a Subject<'a>,
    embeddings: Option<Vec<Vec<f32>>>,
    result_tracks: Option<Tracks>,
    reference_tracks: Option<Tracks>,
    features: Option<[Features; 2]>,
    sprite_truth: Option<[Record; 2]>,
}

impl<'a> Once<'a> {
    fn new(evaluator: &'a Evaluator, subject: &'a Subject<'a>) -> Self {
        Self {
            evaluator,
            subject,
            embeddings: None,
            result_tracks: None,
            reference_tracks: None,
            features: None,
            sprite_truth: None,
        }
    }

    fn measure(&mut self, measure: Measure, progress: &mut dyn Progress) -> Result<Record, Error> {
        match measure {
            Measure::TextSimilarity => self.text_similarity(),
            Measure::TemporalConsistency => self.temporal_consistency(progress),
            Measure::MotionFidelity(variant) => self.motion_fidelity(variant, progress),
            Measure::PathCorrelation => Ok(self.sprite_truth()?[0].clone()),
            Measure::EndPointError => Ok(self.sprite_truth()?[1].clone()),
            Measure::Fid => self.distance("fid", |[result, reference]| {
                let of = |features| FeatureStatistics::of(features);
                frechet_distance(&of(result)?, &of(reference)?)
            }),
            Measure::Kid => self.distance("kid", |[result, reference]| {
                kernel_distance(result, reference)
            }),
        }
    }

    fn reference(&self) -> Result<&'a Clip, Error> {
        let missing = || Error::argument("reference", "none", "a clip to compare with");
        self.subject.reference.ok_or_else(missing)
    }

    fn embeddings(&mut self) -> Result<&[Vec<f32>], Error> {
        if self.embeddings.is_none() {
            self.embeddings = Some(self.evaluator.embeddings(self.subject.result)?);
        }
        Ok(self.embeddings.as_deref().unwrap_or_default())
    }

    fn text_similarity(&mut self) -> Result<Record, Error> {
        let clip = self.evaluator.clip()?;
        let missing = || Error::argument("prompt", "none", "what the clip should show");
        let (prompt, cut_off) = clip.encode_text(self.subject.prompt.ok_or_else(missing)?)?;
        let record = text_similarity(
            self.embeddings()?,
            &prompt,
            clip.stamp(),
            clip.preprocessing(),
        );
        let record = self.warned_of_foreign_clips(record)?;
        Ok(match cut_off {
            Some(tokens) => record.with_warning(format!(
                "the last {tokens} tokens of the prompt do not fit and are left out"
            )),
            None => record,
        })
    }

    fn temporal_consistency(&mut self, progress: &mut dyn Progress) -> Result<Record, Error> {
        let clip = self.evaluator.clip()?;
        self.track_result(progress)?;
        let magnitude = self
            .result_tracks
            .as_ref()
            .and_then(Tracks::motion_magnitude);
        let record = temporal_consistency(
            self.embeddings()?,
            magnitude,
            clip.stamp(),
            clip.preprocessing(),
        );
        self.warned_of_foreign_clips(record)
    }

    /// The built-in CLIP has seen one small world only.
    fn warned_of_foreign_clips(&self, record: Record) -> Result<Record, Error> {
        if self.evaluator.clip_name != BUILT_IN_CLIP || looks_like_sprites(self.subject.result)? {
            return Ok(record);
        }
        Ok(record.with_warning(
            "the clip does not look like the sprite world, the only one that the built-in CLIP knows",
        ))
    }

    fn track_result(&mut self, progress: &mut dyn Progress) -> Result<(), Error> {
        if self.result_tracks.is_none() {
            self.result_tracks = Some(self.evaluator.tracks(self.subject.result, progress)?);
        }
        Ok(())
    }

    fn motion_fidelity(
        &mut self,
        variant: Variant,
        progress: &mut dyn Progress,
    ) -> Result<Record, Error> {
        let reference_clip = self.reference()?;
        self.track_result(progress)?;
        if self.reference_tracks.is_none() {
            self.reference_tracks = Some(self.evaluator.tracks(reference_clip, progress)?);
        }
        let tracker = &self.evaluator.tracker;
        // The published scripts take every track, seen or not.
        let is_published = matches!(variant, Variant::Published | Variant::HybridPublished);
        let compared = |tracks: &Option<Tracks>| {
            let tracks = tracks.as_ref()?;
            let compared = if is_published {
                tracks.clone()
            } else {
                tracker.followed(tracks)
            };
            Some((compared, tracks.len()))
        };
        let (Some((result, of_result)), Some((reference, of_reference))) = (
            compared(&self.result_tracks),
            compared(&self.reference_tracks),
        ) else {
            return Err(Error::argument("tracks", "none", "tracks of both clips"));
        };
        let options = motion_fidelity::Options {
            reference_mask: self.subject.reference_mask,
            result_mask: self.subject.result_mask,
            frame_rates: Some([reference_clip.fps(), self.subject.result.fps()]),
            per_track: self.evaluator.detail,
        };
        let record =
            motion_fidelity::record(variant, &reference, &result, tracker.stamp(), &options)?;
        Ok(record
            .with_samples("reference_starts", of_reference)
            .with_samples("result_starts", of_result))
    }

    fn sprite_truth(&mut self) -> Result<&[Record; 2], Error> {
        let truth = match self.sprite_truth.take() {
            Some(truth) => truth,
            None => SpriteTruth::between(self.reference()?, self.subject.result)?.into_records(),
        };
        Ok(self.sprite_truth.insert(truth))
    }

    /// A distance between the features of the two clips' frames.
    fn distance(
        &mut self,
        name: &str,
        distance: impl Fn([&Features; 2]) -> Result<f64, Error>,
    ) -> Result<Record, Error> {
        let encoder = self.evaluator.feature_encoder()?;
        if self.features.is_none() {
            let of = |clip: &Clip| features_of(&self.evaluator.features(clip)?);
            self.features = Some([of(self.subject.result)?, of(self.reference()?)?]);
        }
        let Some([result, reference]) = &self.features else {
            return Err(Error::argument(
                "features",
                "none",
                "features of both clips",
            ));
        };
        let record = |value: Option<f64>| {
            Record::new(
                name,
                value,
                encoder.stamp().clone(),
                encoder.preprocessing(),
            )
            .with_samples("result_frames", result.count())
            .with_samples("reference_frames", reference.count())
        };
        if result.count() < 2 || reference.count() < 2 {
            return Ok(
                record(None).with_warning("fewer than 2 frames in a clip: the value is absent")
            );
        }
        let value = distance([result, reference])?;
        Ok(warned_of_few(
            record(Some(value)),
            [result.count(), reference.count()],
            result.dimension(),
        ))
    }
}

/// Rows of features as the distances take them.
///
/// # Errors
/// If the rows differ in width, or a feature is not finite.
pub(crate) fn features_of(rows: &[Vec<f32>]) -> Result<Features, Error> {
    let dimension = rows.first().map_or(0, Vec::len);
    if let Some(row) = rows.iter().position(|row| row.len() != dimension) {
        return Err(Error::argument(
            "features",
            format!("a row {row} of {} numbers", rows[row].len()),
            format!("{dimension}"),
        ));
    }
    Features::new(dimension, &rows.concat())
}

/// Says so where a distance rests on fewer frames than features: it is then far from that of large sets.
pub(crate) fn warned_of_few(record: Record, counts: [usize; 2], dimension: usize) -> Record {
    let fewest = counts[0].min(counts[1]);
    match (record.measure.as_str(), fewest <= dimension) {
        ("fid", true) => record.with_warning(format!(
            "{fewest} frames are fewer than the {dimension} features: the distance is biased upwards and compares \
             with those of equally many frames only"
        )),
        _ => record,
    }
}
