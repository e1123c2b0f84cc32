//! The whole way in one call: a clip is read, its motion learned, new clips generated, and everything written
//! into one folder.
//!
//! [`run_transfer`] does it all; its parts, [`prepare_clip`], [`learn_motion`] and [`run_generation`], stand
//! alone too. The folder holds the files of [`TransferFiles`], `run.json` (the [`TransferReport`]), and `work/`,
//! where learning keeps its state: the same call again goes on where an earlier one was stopped, and with
//! another prompt it uses the motion that was learned before. Clips are generated one at a time and written
//! before the next is made, so memory does not grow with their number.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kinvert_video::{
    Clip, ClipInfo, Fit, FrameChoice, ReadOptions, contact_sheet, probe_with, read_clip,
    side_by_side, write_gif, write_mp4, write_png,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::atomic::write_file;
use crate::error::Error;
use crate::lora::LoraId;
use crate::model::MotionModel;
use crate::motion::{ModelId, Motion, MotionMetadata};
use crate::pixels;
use crate::settings::{GenerationSettings, InversionSettings};
use kinvert_base::Progress;
use kinvert_nets::{Device, Precision};

/// Version of the format of `run.json`.
const FORMAT_VERSION: u32 = 1;

/// Results shown beside the reference in `side_by_side` and `contact_sheet`. Their frames are kept in memory
/// until the end, so there is a bound.
const SHOWN_RESULTS: usize = 6;

/// Frames in a row of the contact sheet.
const SHEET_COLUMNS: usize = 8;

/// Relative difference of two rates that are the same but for rounding: GIF counts in hundredths of a second,
/// and 29.97 is often called 30.
const SAME_RATE: f64 = 0.02;

/// Which frames of a file are used, and at what size.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipOptions {
    /// Index of the first frame used, after resampling to the rate.
    pub start: usize,
    /// Distance between frames used, at least 1.
    pub stride: usize,
    /// Frames used at most; those of the model's clips if absent.
    pub frames: Option<usize>,
    /// Rate to which the clip is resampled by time before frames are chosen.
    pub rate: FrameRate,
    /// Width and height; what suits the model if absent.
    pub size: Option<[usize; 2]>,
    /// How frames of another shape meet the size.
    pub fit: Fit,
}

impl Default for ClipOptions {
    fn default() -> Self {
        Self {
            start: 0,
            stride: 1,
            frames: None,
            rate: FrameRate::Model,
            size: None,
            fit: Fit::Crop,
        }
    }
}

/// The rate at which frames are taken from a clip.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum FrameRate {
    /// That of the model's own clips.
    #[default]
    Model,
    /// That of the file: frames are used as they are.
    Source,
    /// In frames per second.
    Fixed(f64),
}

/// A clip as the model is to see it, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedClip {
    /// The chosen frames at the model's size.
    pub clip: Clip,
    /// The file and the choice.
    pub input: InputRecord,
}

/// The file that a reference came from, and which of its frames were used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputRecord {
    /// The path as it was given.
    pub path: String,
    /// SHA-256 of the file, hexadecimal; absent for a folder of images.
    pub sha256: Option<String>,
    /// What the file says of itself.
    #[serde(flatten)]
    pub info: ClipInfo,
    /// When each of the used frames is shown in the file, in seconds after its start.
    pub used_times_s: Vec<f64>,
    /// Width and height of the used frames.
    pub used_size: [usize; 2],
    /// Frames per second of the used frames.
    pub used_fps: f64,
    /// SHA-256 of the used frames (size, then RGB bytes), hexadecimal.
    pub used_sha256: String,
}

/// What to generate: a clip for every prompt with every seed.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// What the clips shall show.
    pub prompts: Vec<String>,
    /// Seeds of the fresh noise.
    pub seeds: Vec<u64>,
    /// How to generate.
    pub settings: GenerationSettings,
}

impl GenerationRequest {
    /// Clips that will be made.
    pub fn count(&self) -> usize {
        self.prompts.len() * self.seeds.len()
    }

    /// Refuses what cannot work, before anything is computed.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Diffusion`] for the first such thing.
    pub fn check(&self) -> Result<(), Error> {
        self.settings.check()?;
        if self.prompts.is_empty() {
            return Err(Error::setting("prompts", "an empty list", "one or more"));
        }
        if self.seeds.is_empty() {
            return Err(Error::setting("seeds", "an empty list", "one or more"));
        }
        Ok(())
    }
}

/// Where generated clips go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// One file, MP4 or GIF by its extension; for a single clip.
    File(PathBuf),
    /// A folder, which is made if need be: `result.mp4` and `result.gif`, or for several clips
    /// `result-1.mp4`, `result-1.gif`, `result-2.mp4` and so on: every seed of the first prompt, then of the
    /// next.
    Folder(PathBuf),
}

impl Destination {
    /// A file if the path ends in `.mp4` or `.gif`, else a folder.
    pub fn of(path: &Path) -> Self {
        match ClipFormat::of(path) {
            Some(_) if !path.is_dir() => Self::File(path.to_path_buf()),
            _ => Self::Folder(path.to_path_buf()),
        }
    }

    /// The files of clip `index` (from 0) of `count`.
    fn files(&self, index: usize, count: usize) -> Vec<PathBuf> {
        match self {
            Self::File(path) => vec![path.clone()],
            Self::Folder(folder) => {
                let stem = if count == 1 {
                    "result".into()
                } else {
                    format!("result-{}", index + 1)
                };
                ["mp4", "gif"]
                    .map(|extension| folder.join(format!("{stem}.{extension}")))
                    .to_vec()
            }
        }
    }
}

/// Formats that clips are written in.
#[derive(Clone, Copy)]
enum ClipFormat {
    Mp4,
    Gif,
}

impl ClipFormat {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "mp4" => Some(Self::Mp4),
            "gif" => Some(Self::Gif),
            _ => None,
        }
    }
}

/// A clip that was generated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneratedClip {
    /// What it shall show.
    pub prompt: String,
    /// Seed of its fresh noise.
    pub seed: u64,
    /// The files it was written to.
    pub files: Vec<String>,
    /// Number of frames.
    pub frames: usize,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Frames per second.
    pub fps: f64,
    /// SHA-256 of its frames (size, then RGB bytes), hexadecimal.
    pub sha256: String,
    /// Time to generate and write it, in seconds.
    pub wall_s: f64,
}

/// Everything that decides what [`run_transfer`] makes.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferRequest {
    /// The reference: a video, an animation or a folder of images.
    pub input: PathBuf,
    /// Which of its frames are used.
    pub clip: ClipOptions,
    /// What the reference shows; may be empty.
    pub caption: String,
    /// How to learn its motion.
    pub inversion: InversionSettings,
    /// What to make of it.
    pub generation: GenerationRequest,
    /// The device that the model was loaded on, for the record.
    pub device: Device,
}

/// What made a set of files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provenance {
    /// Version of the report's format.
    pub format_version: u32,
    /// Version of the program.
    pub kinvert_version: &'static str,
    /// Operating system and architecture it ran on.
    pub platform: String,
    /// The device that computed.
    pub device: String,
    /// The number format that the base model computed in.
    pub dtype: Precision,
    /// The base model.
    pub model: ModelId,
    /// The LoRA that was loaded for generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraId>,
}

impl Provenance {
    fn of(model: &dyn MotionModel, device: Device) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            kinvert_version: env!("CARGO_PKG_VERSION"),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            device: device.to_string(),
            dtype: model.precision(),
            model: model.id().clone(),
            lora: model.lora().cloned(),
        }
    }
}

/// What [`run_generation`] did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerationReport {
    /// What made the clips.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Where the motion came from; absent if the clips move freely.
    pub motion: Option<MotionMetadata>,
    /// The prompts.
    pub prompts: Vec<String>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// How clips were generated.
    pub generation: GenerationSettings,
    /// The clips.
    pub results: Vec<GeneratedClip>,
    /// What the user was told on the way.
    pub notes: Vec<String>,
    /// How long each stage took.
    pub timings: Timings,
}

/// What [`run_transfer`] did; the contents of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransferReport {
    /// What made the files.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The reference.
    pub input: InputRecord,
    /// What it was said to show.
    pub caption: String,
    /// How its motion was learned.
    pub inversion: InversionSettings,
    /// Loss of every step.
    pub losses: Vec<f32>,
    /// The prompts.
    pub prompts: Vec<String>,
    /// The seeds of generation; that of learning stands in `inversion`.
    pub seeds: Vec<u64>,
    /// How clips were generated.
    pub generation: GenerationSettings,
    /// The clips.
    pub results: Vec<GeneratedClip>,
    /// The other files.
    pub files: TransferFiles,
    /// What the user was told on the way.
    pub notes: Vec<String>,
    /// How long each stage took.
    pub timings: Timings,
}

/// The files that a transfer writes beside its results and `run.json`, relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransferFiles {
    /// The learned motion.
    pub motion: &'static str,
    /// The reference as the model saw it.
    pub reference: &'static str,
    /// Reference and results playing beside each other.
    pub side_by_side: [&'static str; 2],
    /// Frames of reference and results, a row each.
    pub contact_sheet: &'static str,
}

impl TransferFiles {
    const NAMES: Self = Self {
        motion: "motion.motion.safetensors",
        reference: "reference.mp4",
        side_by_side: ["side_by_side.mp4", "side_by_side.gif"],
        contact_sheet: "contact_sheet.png",
    };
}

/// Name of the file that holds the report.
pub const REPORT_FILE: &str = "run.json";

/// Name of the folder in which learning keeps its state.
pub const WORK_FOLDER: &str = "work";

/// Wall-clock times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timings {
    /// Stages in the order in which they ran; one that an earlier run had finished is missing or short.
    pub stages: Vec<StageTime>,
    /// From the call to the report, in seconds.
    pub total_s: f64,
}

/// Time of one stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// The stage, as progress names it.
    pub stage: String,
    /// In seconds.
    pub wall_s: f64,
}

/// Reads a clip and brings it to the rate, number of frames and size that suit the model. A clip with fewer
/// frames than the model's is used as it is, with a note. A rate that the clip has already, but for rounding,
/// changes none of its frames.
///
/// # Errors
/// If the file is no clip, is damaged, has a single frame or none where the choice starts, or an option is
/// impossible.
pub fn prepare_clip(
    model: &dyn MotionModel,
    path: &Path,
    options: &ClipOptions,
    progress: &mut dyn Progress,
) -> Result<PreparedClip, Error> {
    let wanted = options.frames.unwrap_or_else(|| model.frames());
    let fps = match options.rate {
        FrameRate::Model => Some(model.fps()),
        FrameRate::Source => None,
        FrameRate::Fixed(fps) => Some(fps),
    };
    let mut reading = ReadOptions {
        frames: FrameChoice {
            start: options.start,
            step: options.stride,
            count: Some(wanted),
            fps,
        },
        image_fps: fps.unwrap_or_else(|| model.fps()),
        ..ReadOptions::default()
    };
    let info = probe_with(path, &reading)?;
    if info.frames < 2 {
        return Err(Error::TooFewFrames { found: info.frames }); // a picture repeated does not move
    }
    let same_rate = |fps: &f64| (info.fps / fps - 1.0).abs() < SAME_RATE;
    if !info.variable_frame_rate && fps.as_ref().is_some_and(same_rate) {
        reading.frames.fps = None;
    }
    let read = read_clip(path, &reading)?;
    let size = options
        .size
        .unwrap_or_else(|| model.size_for([read.width() as usize, read.height() as usize]));
    pixels::check_size(size, read.len())?;
    let resized = read.resized(side(size[0])?, side(size[1])?, options.fit)?;
    let source_fps = fps.unwrap_or(info.fps);
    let clip = Clip::new(resized.into_frames(), source_fps / options.stride as f64)?;

    let (used, trained) = (clip.len(), model.frames());
    if used < trained.min(wanted) {
        progress.note(&format!(
            "the clip has {used} usable frame(s), fewer than the {trained} of the model's clips: they are used as \
             they are"
        ));
    } else if used > trained {
        progress.note(&format!(
            "{used} frames are used, but the model was trained on clips of {trained}"
        ));
    }
    let frame_s = 1.0 / clip.fps();
    let used_times_s: Vec<f64> = (0..used)
        .map(|i| (options.start + i * options.stride) as f64 / source_fps)
        .collect();
    let end_s = used_times_s.last().map_or(0.0, |time_s| time_s + frame_s);
    if info.duration_s - end_s > 2.0 * frame_s {
        progress.note(&format!(
            "{used} frames up to {end_s:.1} s are used, the clip has {:.1} s",
            info.duration_s
        ));
    }
    let input = InputRecord {
        path: path.display().to_string(),
        sha256: file_sha256(path)?,
        info,
        used_times_s,
        used_size: size,
        used_fps: clip.fps(),
        used_sha256: pixels::sha256(&clip),
    };
    Ok(PreparedClip { clip, input })
}

/// Learns the motion of a clip, with a note if there is no caption; see [`MotionModel::invert`].
///
/// # Errors
/// As [`MotionModel::invert`].
pub fn learn_motion(
    model: &dyn MotionModel,
    clip: &Clip,
    caption: &str,
    settings: &InversionSettings,
    workspace: Option<&Path>,
    progress: &mut dyn Progress,
) -> Result<Motion, Error> {
    if caption.trim().is_empty() {
        progress.note("there is no caption: one that says what the clip shows keeps its look out of its motion");
    }
    model.invert(clip, caption, settings, workspace, progress)
}

/// Generates a clip for every prompt with every seed, moving as `motion` does, or freely without one. A folder
/// gets a `run.json` too. `device` is the one that the model was loaded on, for the record.
///
/// Whether the motion was learned on this model is the caller's question: [`MotionModel::check_origin`].
///
/// # Errors
/// As [`MotionModel::generate`], if a file cannot be written, or several clips have a single file to go to.
pub fn run_generation(
    model: &dyn MotionModel,
    motion: Option<&Motion>,
    request: &GenerationRequest,
    destination: &Destination,
    device: Device,
    progress: &mut dyn Progress,
) -> Result<GenerationReport, Error> {
    let started = Instant::now();
    let mut progress = Recorder::new(progress);
    let results = generate_clips(
        model,
        motion,
        request,
        destination,
        &mut progress,
        &mut |_, _| {},
    )?;
    let report = GenerationReport {
        provenance: Provenance::of(model, device),
        motion: motion.map(|motion| motion.metadata.clone()),
        prompts: request.prompts.clone(),
        seeds: request.seeds.clone(),
        generation: request.settings.clone(),
        results,
        notes: progress.notes,
        timings: Timings {
            stages: progress.stages,
            total_s: started.elapsed().as_secs_f64(),
        },
    };
    if let Destination::Folder(folder) = destination {
        write_report(&report, folder)?;
    }
    Ok(report)
}

/// Generates and writes one clip after the other, and hands each to `each`.
fn generate_clips(
    model: &dyn MotionModel,
    motion: Option<&Motion>,
    request: &GenerationRequest,
    destination: &Destination,
    progress: &mut dyn Progress,
    each: &mut dyn FnMut(&GeneratedClip, Clip),
) -> Result<Vec<GeneratedClip>, Error> {
    request.check()?;
    let count = request.count();
    match destination {
        Destination::File(path) if count > 1 => {
            let expected = format!("a folder, for there are {count} clips");
            return Err(Error::setting("output", path.display(), expected));
        }
        Destination::File(_) => {}
        Destination::Folder(folder) => {
            std::fs::create_dir_all(folder).map_err(Error::writing(folder))?
        }
    }
    if request
        .prompts
        .iter()
        .any(|prompt| prompt.trim().is_empty())
    {
        progress.note("a prompt is empty: what its clips show is left to the model");
    }
    let jobs = request
        .prompts
        .iter()
        .flat_map(|prompt| request.seeds.iter().map(move |&seed| (prompt, seed)));
    let mut results = Vec::with_capacity(count);
    for (index, (prompt, seed)) in jobs.enumerate() {
        let started = Instant::now();
        let clip = model.generate(motion, prompt, seed, &request.settings, progress)?;
        let files = destination.files(index, count);
        for file in &files {
            write_clip(&clip, file)?;
        }
        let result = GeneratedClip {
            prompt: prompt.clone(),
            seed,
            files: files
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
            frames: clip.len(),
            size: [clip.width() as usize, clip.height() as usize],
            fps: clip.fps(),
            sha256: pixels::sha256(&clip),
            wall_s: started.elapsed().as_secs_f64(),
        };
        each(&result, clip);
        results.push(result);
    }
    Ok(results)
}

/// Writes a clip as MP4 or GIF, as the extension says.
///
/// # Errors
/// If the extension is another one, or the file cannot be written.
pub fn write_clip(clip: &Clip, path: &Path) -> Result<(), Error> {
    match ClipFormat::of(path) {
        Some(ClipFormat::Mp4) => Ok(write_mp4(clip, path)?),
        Some(ClipFormat::Gif) => Ok(write_gif(clip, path)?),
        None => Err(Error::setting(
            "output",
            path.display(),
            "a name that ends in .mp4 or .gif",
        )),
    }
}

/// Reads the reference, learns its motion, generates every clip asked for, and writes all of it into `out`,
/// which is made if need be. Files of an earlier run there are replaced.
///
/// # Errors
/// As [`prepare_clip`], [`learn_motion`] and [`run_generation`], and if a file cannot be written. What was
/// finished by then is in the folder.
pub fn run_transfer(
    model: &dyn MotionModel,
    request: &TransferRequest,
    out: &Path,
    progress: &mut dyn Progress,
) -> Result<TransferReport, Error> {
    let started = Instant::now();
    request.inversion.check()?;
    request.generation.check()?;
    if let Some(integration) = request.generation.settings.integration {
        integration.check_replays(request.inversion.integration)?;
    }
    let mut progress = Recorder::new(progress);
    let names = TransferFiles::NAMES;

    let PreparedClip {
        clip: reference,
        input,
    } = prepare_clip(model, &request.input, &request.clip, &mut progress)?;
    let settings = &request.generation.settings;
    settings.check_frames(settings.frames.unwrap_or(reference.len()))?; // before learning, too
    std::fs::create_dir_all(out).map_err(Error::writing(out))?;
    write_mp4(&reference, &out.join(names.reference))?; // before learning: a folder that cannot be written shows now
    let workspace = out.join(WORK_FOLDER);
    let motion = learn_motion(
        model,
        &reference,
        &request.caption,
        &request.inversion,
        Some(&workspace),
        &mut progress,
    )?;
    motion.save(&out.join(names.motion))?;

    let mut shown = vec![("reference".to_string(), reference)];
    let results = generate_clips(
        model,
        Some(&motion),
        &request.generation,
        &Destination::Folder(out.to_path_buf()),
        &mut progress,
        &mut |result, clip| {
            if shown.len() <= SHOWN_RESULTS {
                shown.push((format!("{} (seed {})", result.prompt, result.seed), clip));
            }
        },
    )?;
    if results.len() > SHOWN_RESULTS {
        progress.note(&format!(
            "side by side and on the contact sheet stand the first {SHOWN_RESULTS} results"
        ));
    }
    let writing = Instant::now();
    let together = side_by_side(&shown.iter().map(|(_, clip)| clip).collect::<Vec<_>>())?;
    for name in names.side_by_side {
        write_clip(&together, &out.join(name))?;
    }
    let rows: Vec<(&str, &Clip)> = shown
        .iter()
        .map(|(label, clip)| (label.as_str(), clip))
        .collect();
    write_png(
        &contact_sheet(&rows, SHEET_COLUMNS)?,
        &out.join(names.contact_sheet),
    )?;
    progress.record("showing the results together", writing);

    let report = TransferReport {
        provenance: Provenance::of(model, request.device),
        input,
        caption: request.caption.clone(),
        inversion: request.inversion.clone(),
        losses: motion.metadata.losses,
        prompts: request.generation.prompts.clone(),
        seeds: request.generation.seeds.clone(),
        generation: request.generation.settings.clone(),
        results,
        files: names,
        notes: progress.notes,
        timings: Timings {
            stages: progress.stages,
            total_s: started.elapsed().as_secs_f64(),
        },
    };
    write_report(&report, out)?;
    Ok(report)
}

/// Writes `run.json` into a folder.
fn write_report(report: &impl Serialize, folder: &Path) -> Result<(), Error> {
    let json =
        serde_json::to_vec_pretty(report).expect("a report has string keys and plain values");
    write_file(&folder.join(REPORT_FILE), &json)
}

/// Passes progress on, and keeps stages with their times and notes for the report.
struct Recorder<'a> {
    progress: &'a mut dyn Progress,
    running: Option<(String, Instant)>,
    stages: Vec<StageTime>,
    notes: Vec<String>,
}

impl<'a> Recorder<'a> {
    fn new(progress: &'a mut dyn Progress) -> Self {
        Self {
            progress,
            running: None,
            stages: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn record(&mut self, stage: impl Into<String>, started: Instant) {
        self.stages.push(StageTime {
            stage: stage.into(),
            wall_s: started.elapsed().as_secs_f64(),
        });
    }
}

impl Progress for Recorder<'_> {
    fn start(&mut self, stage: &str, total: usize) {
        self.running = Some((stage.to_string(), Instant::now()));
        self.progress.start(stage, total);
    }

    fn advance(&mut self, done: usize, detail: &str) {
        self.progress.advance(done, detail);
    }

    fn finish(&mut self) {
        if let Some((stage, started)) = self.running.take() {
            self.record(stage, started);
        }
        self.progress.finish();
    }

    fn note(&mut self, message: &str) {
        if !self.notes.iter().any(|note| note == message) {
            self.notes.push(message.to_string());
        }
        self.progress.note(message);
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

fn side(pixels: usize) -> Result<u32, Error> {
    u32::try_from(pixels).map_err(|_| Error::setting("size", pixels, "sides below 4294967296"))
}

/// SHA-256 of a file; `None` for what is no regular file.
fn file_sha256(path: &Path) -> Result<Option<String>, Error> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut file = std::fs::File::open(path).map_err(Error::reading(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Error::reading(path))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(Some(
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinvert_base::Quiet;

    fn request() -> GenerationRequest {
        GenerationRequest {
            prompts: vec!["a".into()],
            seeds: vec![0],
            settings: GenerationSettings::default(),
        }
    }

    #[test]
    fn destinations_name_their_files() {
        let names = |path: &str, index, count| {
            let files = Destination::of(Path::new(path)).files(index, count);
            files
                .iter()
                .map(|file| file.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("a/b.MP4", 0, 1), ["a/b.MP4"]);
        assert_eq!(names("a/b.gif", 0, 1), ["a/b.gif"]);
        assert_eq!(names("a/b", 0, 1), ["a/b/result.mp4", "a/b/result.gif"]);
        assert_eq!(
            names("a/b.d", 2, 3),
            ["a/b.d/result-3.mp4", "a/b.d/result-3.gif"]
        );
    }

    #[test]
    fn impossible_requests_are_refused_by_name() {
        type Change = fn(&mut GenerationRequest);
        let cases: [(&str, Change); 6] = [
            ("`prompts`", |r| r.prompts.clear()),
            ("`seeds`", |r| r.seeds.clear()),
            ("`sampling steps` is 0", |r| r.settings.steps = 0),
            ("`noise prior` is 1.5", |r| r.settings.noise_prior = 1.5),
            ("`strength`", |r| r.settings.strength = f64::NAN),
            ("diffusion", |r| r.settings.guidance = -1.0),
        ];
        request().check().unwrap();
        for (expected, change) in cases {
            let mut request = request();
            change(&mut request);
            let message = request.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn stages_and_notes_are_recorded_once() {
        let mut quiet = Quiet;
        let mut recorder = Recorder::new(&mut quiet);
        recorder.start("learning", 2);
        recorder.advance(2, "");
        recorder.finish();
        recorder.finish();
        recorder.note("cut short");
        recorder.note("cut short");
        assert_eq!(recorder.stages.len(), 1);
        assert_eq!(recorder.notes, ["cut short"]);
    }

    #[test]
    fn clips_have_a_format_by_extension() {
        let clip = Clip::new(vec![image::RgbImage::new(16, 16); 2], 8.0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.mp4", "a.GIF"] {
            write_clip(&clip, &folder.path().join(name)).unwrap();
            assert_eq!(
                kinvert_video::probe(&folder.path().join(name))
                    .unwrap()
                    .frames,
                2
            );
        }
        let error = write_clip(&clip, &folder.path().join("a.avi")).unwrap_err();
        assert!(error.to_string().contains(".mp4 or .gif"), "{error}");
    }
}
