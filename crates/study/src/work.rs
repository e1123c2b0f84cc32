//! One piece of work: a motion is learned, or a clip is generated and measured.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Instant;

use kinvert::workspace::share_latents;
use kinvert::{Clip, Motion};
use kinvert_base::Progress;
use kinvert_metrics::evaluate::{Evaluator, Subject};
use kinvert_metrics::measure::{Measure, MeasureSelection};
use kinvert_metrics::motion_fidelity::SpriteTruth;

use crate::error::Error;
use crate::folder::clip_file;
use crate::matrix::learning_steps;
use crate::models::Models;
use crate::results::{Measured, RunVariant, SpritePaths};
use crate::runner::{News, Shared};
use crate::store::{CellJob, MotionJob, Store};
use crate::study::Keep;

/// What one thread works with.
pub(crate) struct Hands<'a> {
    shared: &'a Shared<'a>,
    models: Models,
    evaluator: Evaluator,
    pub store: Store,
}

/// Why a piece of work is not done.
pub(crate) enum Failure {
    /// It concerns this piece alone: its error, for people.
    Own(String),
    /// What it needs is gone and will be made again.
    Missed,
    /// It concerns everybody: no piece could be done.
    Everybody(Error),
}

impl<'a> Hands<'a> {
    /// A thread's own networks and store.
    pub(crate) fn new(
        shared: &'a Shared<'a>,
        models: Models,
        evaluator: Evaluator,
        store: Store,
    ) -> Self {
        Self {
            shared,
            models,
            evaluator,
            store,
        }
    }

    /// Loads what a thread needs.
    pub(crate) fn load(shared: &'a Shared<'a>) -> Result<Self, Error> {
        let models = Models::new(shared.options.device, shared.options.load);
        let store = Store::open(&shared.folder.store_file())?;
        Ok(Self::new(
            shared,
            models,
            (shared.options.evaluator)()?,
            store,
        ))
    }

    /// Learns a motion.
    pub(crate) fn learn(&mut self, job: &MotionJob, news: &Sender<News>) -> Result<(), Failure> {
        let began = Instant::now();
        let (index, variant) = self.find(&job.reference, |variant| {
            variant.inversion_hash == job.inversion_hash
        })?;
        let settings = &self.shared.matrix.variants[variant].settings;
        let workspace = self.shared.folder.workspace(&job.key);
        let mut progress = Steps::new(self.shared, news, learning_steps(settings));
        let matrix = self.shared.matrix;
        let model = self.models.get(&matrix.models[variant]);
        let model = model.map_err(Failure::of)?;
        let caption = &matrix.references[index].caption;
        let latents = self.shared.folder.latents(&matrix.references[index].sha256);
        let motion = guarded(|| {
            let clip = &matrix.clips[index];
            share_latents(&latents, &workspace)?;
            let motion = model.invert(
                clip,
                caption,
                &settings.inversion,
                Some(&workspace),
                &mut progress,
            )?;
            share_latents(&workspace, &latents)?;
            Ok(motion)
        })?;
        let file = self.shared.folder.motion_file(&job.key);
        make_folder_of(&file).map_err(Failure::Everybody)?;
        let saved = motion.save(&file).map_err(Error::from);
        saved.map_err(Failure::Everybody)?;
        let seconds = began.elapsed().as_secs_f64();
        let losses = &motion.metadata.losses;
        let finished = self
            .store
            .finish_motion(&job.key, self.shared.worker, seconds, losses);
        finished.map_err(Failure::Everybody)?;
        remove_folder(&workspace);
        Ok(())
    }

    /// Generates and measures a clip.
    pub(crate) fn make(&mut self, job: &CellJob, news: &Sender<News>) -> Result<(), Failure> {
        let (index, variant) =
            self.find(&job.reference, |variant| variant.hash == job.variant_hash)?;
        let matrix = self.shared.matrix;
        let settings = &matrix.variants[variant].settings.generation;
        let file = self.shared.folder.motion_file(&job.motion);
        if !file.is_file() {
            let missed = self.store.miss_motion(&job.motion);
            missed.map_err(Failure::Everybody)?;
            return Err(Failure::Missed);
        }
        let model = self.models.get(&matrix.models[variant]);
        let model = model.map_err(Failure::of)?;
        let mut progress = Steps::new(self.shared, news, settings.steps as u64);

        let began = Instant::now();
        let clip = guarded(|| {
            let motion = Motion::load(&file)?;
            Ok(model.generate(
                Some(&motion),
                &job.prompt,
                u64::from(job.seed),
                settings,
                &mut progress,
            )?)
        })?;
        let generation_s = began.elapsed().as_secs_f64();

        let began = Instant::now();
        let evaluator = &self.evaluator;
        let mut measured = guarded(|| {
            let reference = &matrix.clips[index];
            let subject = Subject {
                reference: Some(reference),
                prompt: Some(&job.prompt),
                ..Subject::new(&clip)
            };
            let selection = MeasureSelection::Named(matrix.measures.clone());
            let records = evaluator.evaluate(&subject, &selection, &mut progress)?;
            let paths = if matrix.measures.contains(&Measure::PathCorrelation) {
                let truth = SpriteTruth::between(reference, &clip)?;
                Some(SpritePaths {
                    reference: truth.reference_path,
                    result: truth.result_path,
                })
            } else {
                None
            };
            Ok(Measured {
                records,
                clip: None,
                features: match matrix.keeps_features {
                    true => evaluator.features(&clip)?,
                    false => Vec::new(),
                },
                paths,
                generation_s,
                measuring_s: 0.0,
            })
        })?;
        measured.measuring_s = began.elapsed().as_secs_f64();

        if self.shared.keep != Keep::None {
            let file = clip_file(&job.key);
            let written = write_clip(&clip, &self.shared.folder.path().join(&file));
            written.map_err(Failure::Everybody)?;
            measured.clip = Some(file);
        }
        let finished = self
            .store
            .finish_cell(&job.key, self.shared.worker, &measured);
        finished.map_err(Failure::Everybody)?;
        Ok(())
    }

    /// Removes a motion that no cell needs any more, unless motions are kept.
    pub(crate) fn tidy(&self, motion: &str) -> Result<(), Error> {
        if self.shared.keep != Keep::All && self.store.is_spent(motion)? {
            // If it cannot be removed, it only takes space.
            let _ = std::fs::remove_file(self.shared.folder.motion_file(motion));
        }
        Ok(())
    }

    /// Indices of a clip and of a variant.
    fn find(
        &self,
        reference: &str,
        is_it: impl Fn(&RunVariant) -> bool,
    ) -> Result<(usize, usize), Failure> {
        let matrix = self.shared.matrix;
        let clip = matrix
            .references
            .iter()
            .position(|clip| clip.path == reference);
        let variant = matrix.variants.iter().position(is_it);
        clip.zip(variant).ok_or_else(|| {
            Failure::Everybody(Error::Folder {
                path: self.shared.folder.path().to_owned(),
                reason: "the study was changed while it ran, expected it to stay as it was begun; run it again".into(),
            })
        })
    }
}

impl Failure {
    /// What an error of a piece of work means.
    fn of(error: Error) -> Self {
        let concerns_everybody = match &error {
            Error::Io { .. }
            | Error::Store { .. }
            | Error::DamagedStore { .. }
            | Error::Cancelled => true,
            Error::Method(error) => matches!(
                **error,
                kinvert::Error::Io { .. } | kinvert::Error::Cancelled
            ),
            Error::Metrics(error) => matches!(
                **error,
                kinvert_metrics::Error::Io { .. } | kinvert_metrics::Error::Cancelled
            ),
            _ => false,
        };
        match concerns_everybody {
            true => Self::Everybody(error),
            false => Self::Own(with_causes(&error)),
        }
    }
}

/// Does work in which a mistake of ours must not take the whole study down.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(Failure::of),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Own(format!(
                "the program made a mistake: {}",
                text.unwrap_or("of unknown kind")
            )))
        }
    }
}

/// An error with everything behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

/// Writes a clip, making its folder if need be.
pub(crate) fn write_clip(clip: &Clip, path: &Path) -> Result<(), Error> {
    make_folder_of(path)?;
    Ok(kinvert::write_clip(clip, path)?)
}

fn make_folder_of(file: &Path) -> Result<(), Error> {
    match file.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(Error::io(folder, "writing")),
        None => Ok(()),
    }
}

/// The state of learning is of no use any more; if it cannot be removed, it only takes space.
pub(crate) fn remove_folder(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(folder = %folder.display(), %error, "A folder could not be removed.");
    }
}

/// Counts the steps of one piece of work for all to see, and passes on the wish to stop.
struct Steps<'a> {
    shared: &'a Shared<'a>,
    news: &'a Sender<News>,
    /// Steps that the piece has in all.
    most: u64,
    /// Steps counted, and those of the stage at hand.
    counted: u64,
    in_stage: usize,
}

impl<'a> Steps<'a> {
    fn new(shared: &'a Shared<'a>, news: &'a Sender<News>, most: u64) -> Self {
        Self {
            shared,
            news,
            most,
            counted: 0,
            in_stage: 0,
        }
    }
}

impl Progress for Steps<'_> {
    fn start(&mut self, _stage: &str, _total: usize) {
        self.in_stage = 0;
    }

    fn advance(&mut self, done: usize, _detail: &str) {
        let more = done.saturating_sub(self.in_stage) as u64;
        self.in_stage = done;
        let counted = (self.counted + more).min(self.most);
        let more = counted - self.counted;
        self.shared.partial.fetch_add(more, Ordering::Relaxed);
        self.counted = counted;
    }

    fn finish(&mut self) {}

    fn note(&mut self, message: &str) {
        let _ = self.news.send(News::Note(message.into())); // if nobody listens any more, it does not matter
    }

    fn is_cancelled(&self) -> bool {
        self.shared.is_stopped.load(Ordering::Relaxed)
    }
}

impl Drop for Steps<'_> {
    /// From now on the piece is counted as a whole.
    fn drop(&mut self) {
        self.shared
            .partial
            .fetch_sub(self.counted, Ordering::Relaxed);
    }
}
