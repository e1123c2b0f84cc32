//! Running a study: threads take cells from the store until none is left.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use kinvert::{Device, LoadOptions, Precision};
use kinvert_base::Progress;
use kinvert_metrics::evaluate::Evaluator;
use serde::Serialize;

use crate::error::Error;
use crate::folder::StudyFolder;
use crate::matrix::Matrix;
use crate::models::{BUILT_IN_MODEL, Models};
use crate::results::{Counts, RunStamp};
use crate::store::{Job, Plan, Store, Worker};
use crate::study::Keep;
use crate::work::{Failure, Hands};

/// How long a thread waits before it looks for work again, if all that is left is with others.
const PATIENCE: Duration = Duration::from_millis(300);

/// How often progress is shown, and how often it is looked up what other processes have done.
const SHOW_EVERY: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Age of an unfinished file that nobody can still be writing.
const SURELY_LEFT: Duration = Duration::from_secs(600);

/// Each job has a model of its own, and memory has its bounds.
const MAX_JOBS: usize = 8;

/// Makes the evaluator of a thread.
pub type MakeEvaluator<'a> = dyn Fn() -> Result<Evaluator, Error> + Sync + 'a;

/// How a study is run.
pub struct RunOptions<'a> {
    /// Where networks compute.
    pub device: Device,
    /// How base models are loaded.
    pub load: LoadOptions,
    /// Cells at a time, each on a thread with a model of its own; see [`default_jobs`].
    pub jobs: NonZeroUsize,
    /// Networks of the measures.
    pub evaluator: &'a MakeEvaluator<'a>,
}

/// What a run has done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// State of all cells.
    pub cells: Counts,
    /// State of all motions.
    pub motions: Counts,
    /// Cells that this process has done.
    pub done_here: usize,
    /// Seconds it took.
    pub wall_s: f64,
}

/// Cells at a time where nobody says: on the CPU one for every core, at most 8, for one cell keeps little more than one
/// core busy; on a GPU one, for one fills it.
pub fn default_jobs(device: Device) -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = match device.to_string().as_str() {
        "cpu" => cores.min(MAX_JOBS),
        _ => 1,
    };
    NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN)
}

/// The device, and the number format unless it is the usual one: what results of both must not be mixed for.
fn where_computed(options: &RunOptions<'_>) -> String {
    match options.load.precision {
        Precision::F32 => options.device.to_string(),
        precision => format!("{} in {precision}", options.device),
    }
}

/// Runs what is left of a study. Several processes may run the same folder at once, and a process that was stopped,
/// however it was, can be started again: nothing that is done is done again.
///
/// A cell that fails is recorded with its error, and the others go on. What stops a run is what concerns all cells:
/// a disk that is full, a store that is damaged.
///
/// # Errors
/// [`Error::Cancelled`] if the user asked to stop; [`Error::ClipChanged`] and [`Error::OtherRun`] if results would
/// not compare with those that are there; those of reading clips and models, and of the store.
pub fn run(
    folder: &StudyFolder,
    options: &RunOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<RunSummary, Error> {
    let began = Instant::now();
    let study = folder.study()?;
    let evaluator = (options.evaluator)()?;
    let mut models = Models::new(options.device, options.load);
    let matrix = Matrix::of(&study, folder, &mut models, &evaluator, progress)?;
    let model = models.get(study.model.as_deref().unwrap_or(BUILT_IN_MODEL))?;
    let stamp = RunStamp {
        kinvert_version: env!("CARGO_PKG_VERSION").into(),
        model: model.id().clone(),
        device: where_computed(options),
        measures: evaluator.identity()?,
        begun_unix_s: SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_secs(),
    };
    let plan = Plan {
        toml: study.to_toml(),
        stamp,
        references: matrix.references.clone(),
        variants: matrix.variants.clone(),
        motions: matrix.motions.clone(),
        cells: matrix.cells.clone(),
    };
    let mut store = Store::open_or_create(&folder.store_file())?;
    store.sync(&plan)?;
    write_references(folder, &matrix, study.keep)?;

    let worker = Worker::enter(&mut store, &folder.locks())?;
    store.take_back(&folder.locks())?;
    clear_away(folder, &store)?;
    let shared = Shared {
        folder,
        matrix: &matrix,
        keep: study.keep,
        options,
        worker: &worker,
        is_stopped: AtomicBool::new(false),
        partial: AtomicU64::new(0),
        failure: Mutex::new(None),
    };
    let first = Hands::new(
        &shared,
        models,
        evaluator,
        Store::open(&folder.store_file())?,
    );
    let done_here = work(&shared, first, &store, progress)?;
    let failure = shared
        .failure
        .lock()
        .map_or(None, |mut failure| failure.take());
    store.leave(worker)?;
    clear_away(folder, &store)?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let [cells, motions] = store.counts()?;
    Ok(RunSummary {
        cells,
        motions,
        done_here,
        wall_s: began.elapsed().as_secs_f64(),
    })
}

/// What all threads of a run look at.
pub(crate) struct Shared<'a> {
    pub folder: &'a StudyFolder,
    pub matrix: &'a Matrix,
    pub keep: Keep,
    pub options: &'a RunOptions<'a>,
    pub worker: &'a Worker,
    /// Set when the user asks to stop, or something concerns all cells.
    pub is_stopped: AtomicBool,
    /// Steps of what is at work in this process.
    pub partial: AtomicU64,
    /// What concerns all cells.
    failure: Mutex<Option<Error>>,
}

impl Shared<'_> {
    /// Stops all threads after an error that concerns all cells. The first one is kept.
    fn stop(&self, error: Error) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(error);
        }
    }
}

/// What a thread tells the one that shows progress.
pub(crate) enum News {
    /// A cell is done or has failed.
    Cell,
    /// Something the user should know.
    Note(String),
}

/// Runs all threads, and shows how far they are. The number of cells done here.
fn work<'a>(
    shared: &Shared<'a>,
    first: Hands<'a>,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<usize, Error> {
    let (sender, news) = channel();
    std::thread::scope(|scope| {
        let begin = |hands: Option<Hands<'a>>, sender: Sender<News>| {
            scope.spawn(move || {
                let worked = in_pool(shared.options.jobs, || {
                    let hands = match hands {
                        Some(hands) => hands,
                        None => Hands::load(shared)?,
                    };
                    take_jobs(shared, hands, &sender)
                });
                if let Err(error) = worked {
                    shared.stop(error);
                }
            });
        };
        begin(Some(first), sender.clone());
        for _ in 1..shared.options.jobs.get() {
            begin(None, sender.clone());
        }
        drop(sender);
        let shown = show(shared, &news, store, progress);
        if shown.is_err() {
            shared.is_stopped.store(true, Ordering::Relaxed);
        }
        shown
    })
}

/// Does the work of one of several jobs on its share of the cores. In a pool that they share, each would wait for
/// pieces of the others.
fn in_pool(
    jobs: NonZeroUsize,
    work: impl FnOnce() -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads((cores / jobs).max(1))
        .build();
    match pool {
        Ok(pool) => pool.install(work),
        Err(error) => {
            tracing::debug!(%error, "No threads of its own: a job shares those of the others.");
            work()
        }
    }
}

/// What one thread does.
fn take_jobs(shared: &Shared<'_>, mut hands: Hands<'_>, news: &Sender<News>) -> Result<(), Error> {
    let locks = shared.folder.locks();
    while !shared.is_stopped.load(Ordering::Relaxed) {
        let (key, done) = match hands.store.next(shared.worker, &locks)? {
            Job::Nothing => return Ok(()),
            Job::Wait => {
                std::thread::sleep(PATIENCE);
                continue;
            }
            Job::Motion(job) => {
                let done = hands.learn(&job, news);
                if let Err(Failure::Own(error)) = &done {
                    hands.store.fail_motion(&job.key, shared.worker, error)?;
                }
                (job.key, done)
            }
            Job::Cell(job) => {
                let done = hands.make(&job, news);
                if let Err(Failure::Own(error)) = &done {
                    hands.store.fail_cell(&job.key, shared.worker, error)?;
                }
                if let Ok(()) | Err(Failure::Own(_)) = &done {
                    let _ = news.send(News::Cell); // if nobody listens any more, it does not matter
                    hands.tidy(&job.motion)?;
                }
                (job.key, done)
            }
        };
        match done {
            Ok(()) | Err(Failure::Own(_)) => {}
            Err(Failure::Missed) => hands.store.give_back(&key, shared.worker)?,
            Err(Failure::Everybody(error)) => {
                hands.store.give_back(&key, shared.worker)?;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Shows progress until the last thread has ended; the number of cells done here.
fn show(
    shared: &Shared<'_>,
    news: &Receiver<News>,
    store: &Store,
    progress: &mut dyn Progress,
) -> Result<usize, Error> {
    let steps = shared.matrix.steps();
    let total: u64 = steps.values().sum();
    let done_steps = |store: &Store| -> Result<u64, Error> {
        let finished = store.finished()?;
        Ok(finished
            .iter()
            .filter_map(|key| steps.get(key.as_str()))
            .sum())
    };
    let whole = |steps: u64| usize::try_from(steps).unwrap_or(usize::MAX);
    let [mut cells, mut motions] = store.counts()?;
    let mut done = done_steps(store)?;
    progress.start("running the study", whole(total));
    progress.advance(whole(done), "");
    let mut looked = Instant::now();
    let mut done_here = 0;
    loop {
        match news.recv_timeout(SHOW_EVERY) {
            Ok(News::Cell) => done_here += 1,
            Ok(News::Note(note)) => progress.note(&note),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if progress.is_cancelled() && !shared.is_stopped.load(Ordering::Relaxed) {
            shared.stop(Error::Cancelled);
        }
        if looked.elapsed() >= LOOK_EVERY {
            [cells, motions] = store.counts()?;
            done = done_steps(store)?;
            looked = Instant::now();
        }
        let now = (done + shared.partial.load(Ordering::Relaxed)).min(total);
        progress.advance(whole(now), &detail(cells, motions));
    }
    progress.finish();
    Ok(done_here)
}

/// `clips 3/8, motions 2/6, 1 failed`.
fn detail(cells: Counts, motions: Counts) -> String {
    let count = |counts: Counts| format!("{}/{}", counts.done + counts.failed, counts.all);
    let mut detail = format!("clips {}, motions {}", count(cells), count(motions));
    if cells.failed > 0 {
        detail += &format!(", {} failed", cells.failed);
    }
    detail
}

/// Removes what is of no use any more: the state of learning of motions that are done, latents of clips whose motions all
/// are, and files that were not written to their end because their process was killed. What cannot be removed only takes
/// space.
fn clear_away(folder: &StudyFolder, store: &Store) -> Result<(), Error> {
    let [_, motions] = store.counts()?;
    if motions.done + motions.failed == motions.all {
        crate::work::remove_folder(&folder.work());
    }
    for key in store.finished()? {
        crate::work::remove_folder(&folder.workspace(&key));
    }
    for unfinished in folder.unfinished_files() {
        let age = unfinished.metadata().and_then(|file| file.modified());
        let is_old = age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > SURELY_LEFT));
        if is_old {
            let _ = std::fs::remove_file(unfinished);
        }
    }
    Ok(())
}

/// The frames of the clips, for the report.
fn write_references(folder: &StudyFolder, matrix: &Matrix, keep: Keep) -> Result<(), Error> {
    if keep == Keep::None {
        return Ok(());
    }
    for (reference, clip) in matrix.references.iter().zip(&matrix.clips) {
        let Some(file) = &reference.file else {
            continue;
        };
        let path = folder.path().join(file);
        if !path.is_file() {
            crate::work::write_clip(clip, &path)?;
        }
    }
    Ok(())
}
