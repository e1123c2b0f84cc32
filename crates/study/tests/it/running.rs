//! Studies that are run: shared work, failures, interruptions, and folders that are not what they should be.

use std::cell::Cell as Shared;
use std::num::NonZeroUsize;
use std::path::Path;

use kinvert::{Clip, Device, LoadOptions};
use kinvert_base::{Progress, Quiet};
use kinvert_metrics::Record;
use kinvert_metrics::evaluate::Evaluator;
use kinvert_metrics::klt::Klt;
use kinvert_study::results::{CellId, MotionState, Outcome, Results};
use kinvert_study::runner::{RunOptions, RunSummary, run};
use kinvert_study::store::Again;
use kinvert_study::{Error, Study, StudyFolder};
use kinvert_world::{Motion, Scene};

/// A study of very little: clips of two frames, one step of everything.
const TINY: &str = r#"
[study]
clips = [{ path = "jump.gif", caption = "a red circle" }]
prompts = ["a yellow star", "a green ring"]
seeds = [0]
metrics = ["text_similarity", "fid"]

[method]
inversion.steps = 1
inversion.ddim_inversion_steps = 1
generation.steps = 1
"#;

const NO_DEBIAS: &str = "[[variant]]\nname = \"no debias\"\ngeneration.debias = \"none\"\n";
const NO_VALUES: &str = "[[variant]]\nname = \"no values\"\ninversion.values = \"off\"\n";

/// A folder with a clip and a study of it.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new(text: &str) -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        lab.write_clip(1);
        let study = Study::parse("study", text).unwrap();
        StudyFolder::create(&lab.path(), &study, lab.folder.path()).unwrap();
        lab
    }

    /// The clip that the study names.
    fn write_clip(&self, seed: u64) {
        let mut frames = Scene::random_with_motion(Motion::Line, seed).render();
        frames.truncate(2);
        let clip = Clip::new(frames, 8.0).unwrap();
        kinvert::write_clip(&clip, &self.folder.path().join("jump.gif")).unwrap();
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("study")
    }

    fn open(&self) -> StudyFolder {
        StudyFolder::open(&self.path()).unwrap()
    }

    /// Adds to the study's file.
    fn add(&self, text: &str) {
        let file = self.path().join("study.toml");
        let study = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, study + text).unwrap();
    }

    fn try_run(&self, jobs: usize, progress: &mut dyn Progress) -> Result<RunSummary, Error> {
        let evaluator = || Ok(Evaluator::new(Box::new(Klt::default()), Device::Cpu));
        let options = RunOptions {
            device: Device::Cpu,
            load: LoadOptions::default(),
            jobs: NonZeroUsize::new(jobs).unwrap(),
            evaluator: &evaluator,
        };
        run(&self.open(), &options, progress)
    }

    #[track_caller]
    fn run(&self) -> (RunSummary, Results) {
        let summary = self.try_run(1, &mut Quiet).unwrap();
        (summary, self.open().results().unwrap())
    }
}

/// A cell with its records, if it is done, and the features of its frames.
type Numbers = (CellId, Option<Vec<Record>>, Vec<Vec<f32>>);

/// What was measured, without what differs from run to run.
fn measured(results: &Results) -> Vec<Numbers> {
    let cells = results.cells.iter();
    cells
        .map(|cell| match &cell.outcome {
            Outcome::Done(done) => {
                let features = done.features.clone();
                (cell.id.clone(), Some(done.records.clone()), features)
            }
            _ => (cell.id.clone(), None, Vec::new()),
        })
        .collect()
}

#[test]
fn variants_share_what_they_have_in_common() {
    let twin = NO_DEBIAS.replace("no debias", "a twin");
    let lab = Lab::new(&format!("{TINY}{NO_DEBIAS}{NO_VALUES}{twin}"));
    let (summary, results) = lab.run();
    // Three different settings, of which two are learned alike; two prompts.
    assert_eq!((summary.cells.done, summary.cells.all), (6, 6));
    assert_eq!((summary.motions.done, summary.motions.all), (2, 2));
    assert_eq!(results.variants.len(), 4);
    assert_eq!(results.variants[1].hash, results.variants[3].hash);
    for variant in &results.variants {
        let cells = results.cells_of(variant);
        assert_eq!(cells.len(), 2, "{}", variant.name);
        for cell in cells.values() {
            let Outcome::Done(measured) = &cell.outcome else {
                panic!("{cell:?}")
            };
            assert!(measured.record("text_similarity").unwrap().value.is_some());
            assert_eq!(measured.features.len(), 2);
            assert!(lab.path().join(measured.clip.as_ref().unwrap()).is_file());
        }
    }
    let differences = &results.variants[2].differences;
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].field, "inversion.values");
    assert!(matches!(
        &results.motions[0].state,
        MotionState::Done { losses, .. } if losses.len() == 1
    ));
    assert_eq!(
        std::fs::read_dir(lab.path().join("workers"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn nothing_that_is_done_is_done_again() {
    let lab = Lab::new(&format!("{TINY}{NO_VALUES}"));
    let (first, before) = lab.run();
    assert_eq!(first.done_here, 4);
    assert_eq!(lab.run().0.done_here, 0);

    lab.add(NO_DEBIAS);
    let (second, after) = lab.run();
    assert_eq!((second.done_here, second.cells.all), (2, 6));
    assert_eq!(measured(&before), measured(&after)[..4]);

    // A variant that was taken out is not shown, and comes back without being run.
    let text = std::fs::read_to_string(lab.path().join("study.toml")).unwrap();
    std::fs::write(lab.path().join("study.toml"), text.replace(NO_VALUES, "")).unwrap();
    assert_eq!(lab.run().0.cells.all, 4);
    lab.add(NO_VALUES);
    assert_eq!(lab.run().0.done_here, 0);

    let mut store = lab.open().store().unwrap();
    assert_eq!(store.again(Again::Failed).unwrap(), 0);
    let hash = &after.variants[1].hash;
    assert_eq!(store.again(Again::Variant(hash)).unwrap(), 2);
    let (again, results) = lab.run();
    assert_eq!(again.done_here, 2);
    let sorted = |results: &Results| {
        let mut cells = measured(results);
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        cells
    };
    assert_eq!(
        sorted(&results),
        sorted(&after),
        "the same numbers come again"
    );
}

#[test]
fn failures_are_recorded_and_stop_nothing() {
    let impossible = "[[variant]]\nname = \"too long a difference\"\ngeneration.difference_frames = 3\n\
                      [[variant]]\nname = \"too fine a grid\"\ninversion.query_key = \"grid-64x64\"\n";
    let lab = Lab::new(&format!("{TINY}{impossible}{NO_DEBIAS}"));
    let (summary, results) = lab.run();
    assert_eq!((summary.cells.done, summary.cells.failed), (4, 4));
    let error = |variant: usize| {
        let cells = results.cells_of(&results.variants[variant]);
        match &cells.values().next().unwrap().outcome {
            Outcome::Failed { error } => error.clone(),
            outcome => panic!("{outcome:?}"),
        }
    };
    assert!(
        error(1).contains("`difference frames` is 3"),
        "{}",
        error(1)
    );
    assert!(
        error(2).starts_with("its motion could not be learned: "),
        "{}",
        error(2)
    );
    assert_eq!(
        lab.run().0.done_here,
        0,
        "what failed is not tried again by itself"
    );
    let mut store = lab.open().store().unwrap();
    assert_eq!(store.again(Again::Failed).unwrap(), 4);
    drop(store);
    assert_eq!(lab.run().0.cells.failed, 4);
}

/// Wants to stop after so many looks at it.
struct Stopping(Shared<usize>);

impl Progress for Stopping {
    fn start(&mut self, _: &str, _: usize) {}
    fn advance(&mut self, _: usize, _: &str) {}
    fn finish(&mut self) {}
    fn note(&mut self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        let looks = self.0.get();
        self.0.set(looks.saturating_sub(1));
        looks == 0
    }
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_numbers() {
    let text = format!("{TINY}{NO_VALUES}{NO_DEBIAS}");
    let (_, whole) = Lab::new(&text).run();
    let lab = Lab::new(&text);
    let mut stops = 0;
    while let Err(error) = lab.try_run(2, &mut Stopping(Shared::new(1 + stops))) {
        assert!(matches!(error, Error::Cancelled), "{error}");
        stops += 1;
        assert!(stops < 100, "it never ends");
    }
    assert!(stops > 0, "it was never stopped");
    let results = lab.open().results().unwrap();
    let relative = |results: &Results| -> Vec<_> {
        // The folders of the two differ, and with them the names of clips.
        measured(results)
            .into_iter()
            .map(|(_, records, features)| (records, features))
            .collect()
    };
    assert_eq!(relative(&results), relative(&whole));
}

#[test]
fn two_runs_at_once_never_do_a_cell_twice() {
    let lab = Lab::new(&format!("{TINY}{NO_VALUES}{NO_DEBIAS}"));
    let done: Vec<RunSummary> = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| lab.try_run(2, &mut Quiet).unwrap()));
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(
        done.iter().map(|summary| summary.done_here).sum::<usize>(),
        6
    );
    for summary in done {
        assert_eq!((summary.cells.done, summary.motions.done), (6, 2));
    }
}

#[test]
fn a_clip_that_has_changed_is_refused() {
    let lab = Lab::new(TINY);
    lab.run();
    lab.write_clip(2);
    let error = lab.try_run(1, &mut Quiet).unwrap_err();
    assert!(matches!(error, Error::ClipChanged { .. }), "{error}");
    assert!(
        error.to_string().contains("jump.gif: the clip has changed"),
        "{error}"
    );
    lab.write_clip(1);
    assert_eq!(lab.run().0.done_here, 0);
}

#[test]
fn other_measures_are_refused() {
    let lab = Lab::new(TINY);
    lab.run();
    let evaluator = || Ok(Evaluator::new(Box::new(Klt::default()), Device::Cpu).with_grid(7)?);
    let options = RunOptions {
        device: Device::Cpu,
        load: LoadOptions::default(),
        jobs: NonZeroUsize::MIN,
        evaluator: &evaluator,
    };
    let error = run(&lab.open(), &options, &mut Quiet).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the measures of the study have changed"),
        "{error}"
    );
}

#[test]
fn a_store_that_is_newer_or_none_is_refused() {
    let lab = Lab::new(TINY);
    lab.run();
    let file = lab.path().join("results.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let error = lab.open().results().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a store of version 2, expected at most 1"),
        "{error}"
    );
    assert!(lab.try_run(1, &mut Quiet).is_err());

    for (bytes, expected) in [
        (
            &b"SQLite format 3\0 but not really, as one sees"[..],
            "no store of a study",
        ),
        (b"hello", "no store of a study"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let _ = std::fs::remove_file(lab.path().join("results.sqlite-wal"));
        let error = lab.open().results().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    std::fs::remove_file(&file).unwrap();
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE cell (key)")
        .unwrap();
    let error = lab.open().results().unwrap_err().to_string();
    assert!(error.contains("no store of a study"), "{error}");
}

#[test]
fn studies_that_cannot_be_run_say_why() {
    let refused = |from: &str, to: &str| {
        let lab = Lab::new(&TINY.replace(from, to));
        let error = lab.try_run(1, &mut Quiet).unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        causes
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    };
    for (from, to, expected) in [
        ("seeds = [0]", "seeds = []", "`seeds` is empty"),
        (
            "seeds = [0]",
            "seeds = [3, 3]",
            "the seed 3 stands there twice",
        ),
        (
            "\"a green ring\"",
            "\"a yellow star\"",
            "the prompt `a yellow star` stands there twice",
        ),
        (
            "generation.steps = 1",
            "generation.integration = \"concat\"",
            "variant `method`: `integration` is concat",
        ),
        ("metrics =", "model = \"nowhere\"\nmetrics =", "nowhere"),
    ] {
        let error = refused(from, to);
        assert!(error.contains(expected), "{error}\nlacks {expected}");
    }
}

#[test]
fn what_is_not_kept_is_not_there() {
    let files = |lab: &Lab, folder: &str| match std::fs::read_dir(lab.path().join(folder)) {
        Ok(entries) => entries.count(),
        Err(_) => 0,
    };
    for (keep, clips, motions) in [("all", 3, 1), ("clips", 3, 0), ("none", 0, 0)] {
        let lab = Lab::new(&TINY.replace("[method]", &format!("keep = \"{keep}\"\n[method]")));
        let (summary, results) = lab.run();
        assert_eq!(summary.cells.done, 2);
        assert_eq!(
            (files(&lab, "clips"), files(&lab, "motions")),
            (clips, motions),
            "{keep}"
        );
        assert_eq!(files(&lab, "work"), 0);
        // Motions that are gone are learned again when they are needed.
        lab.open()
            .store()
            .unwrap()
            .again(Again::Variant(&results.variants[0].hash))
            .unwrap();
        assert_eq!(measured(&lab.run().1), measured(&results));
    }
}

#[test]
fn a_folder_that_cannot_be_written_stops_the_run_and_not_a_cell() {
    let lab = Lab::new(TINY);
    std::fs::write(lab.path().join("motions"), "in the way").unwrap();
    let error = lab.try_run(1, &mut Quiet).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let counts = lab.open().results().unwrap().counts();
    assert_eq!((counts.failed, counts.running, counts.done), (0, 0, 0));
    std::fs::remove_file(lab.path().join("motions")).unwrap();
    assert_eq!(lab.run().0.cells.done, 2);
}

#[test]
fn paths_in_a_store_lead_nowhere_else() {
    let lab = Lab::new(TINY);
    lab.run();
    let connection = rusqlite::Connection::open(lab.path().join("results.sqlite")).unwrap();
    connection
        .execute(
            "UPDATE cell SET measured = json_set(measured, '$.clip', '../../../etc/passwd')",
            [],
        )
        .unwrap();
    drop(connection);
    for cell in lab.open().results().unwrap().cells {
        let Outcome::Done(measured) = cell.outcome else {
            panic!("{cell:?}")
        };
        assert_eq!(measured.clip.unwrap().parent(), Some(Path::new("clips")));
    }
}

/// Every axis of the method, each with settings that differ from the method's own.
const AXES: [&str; 23] = [
    "inversion.query_key = \"off\"",
    "inversion.query_key = \"2d\"",
    "inversion.query_key = \"grid-2x2\"",
    "inversion.values = \"off\"",
    "inversion.values = \"1d\"",
    "inversion.integration = \"add-after\"",
    "inversion.integration = \"multiply-before\"",
    "inversion.integration = \"multiply-after\"",
    "inversion.integration = \"concat\"",
    "inversion.objective = \"base\"",
    "inversion.sites = \"all\"",
    "inversion.learning_rate = 0.02",
    "inversion.steps = 2",
    "generation.debias = \"normalize\"",
    "generation.debias = \"none\"",
    "generation.difference_frames = 2",
    "generation.difference_frames = 5",
    "generation.contribution = \"query-key\"",
    "generation.contribution = \"values\"",
    "generation.kind = \"camera\"",
    "generation.noise = \"none\"",
    "generation.noise = \"freq\"",
    "generation.steps = 2",
];

#[test]
fn every_axis_of_the_method_runs() {
    let text = AXES.iter().enumerate().fold(
        TINY.replace(", \"a green ring\"", "")
            .replace(", \"fid\"", ""),
        |text, (index, setting)| format!("{text}[[variant]]\nname = \"axis {index}\"\n{setting}\n"),
    );
    let lab = Lab::new(&text);
    let frames = Scene::random_with_motion(Motion::Line, 1).render();
    let clip = Clip::new(frames[..6].to_vec(), 8.0).unwrap();
    kinvert::write_clip(&clip, &lab.folder.path().join("jump.gif")).unwrap();
    lab.try_run(2, &mut Quiet).unwrap();
    let results = lab.open().results().unwrap();
    for (setting, variant) in AXES.iter().zip(&results.variants[1..]) {
        for cell in results.cells_of(variant).values() {
            assert!(
                matches!(cell.outcome, Outcome::Done(_)),
                "{setting}: {:?}",
                cell.outcome
            );
        }
        assert_eq!(variant.differences.len(), 1, "{setting}");
        assert_ne!(variant.hash, results.variants[0].hash, "{setting}");
    }
    // What differs at generation only shares the method's motion.
    let learned_alike = AXES
        .iter()
        .filter(|setting| setting.starts_with("generation."))
        .count();
    assert_eq!(results.motions.len(), 1 + AXES.len() - learned_alike);
}

#[test]
fn what_killed_processes_left_is_cleared_away() {
    let lab = Lab::new(TINY);
    lab.run();
    let motions = std::fs::read_dir(lab.path().join("motions")).unwrap();
    let motion = motions.flatten().next().unwrap().file_name();
    let key = motion.to_str().unwrap().split('.').next().unwrap();
    let work = lab.path().join("work").join(key);
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("checkpoint.safetensors"), "of no use").unwrap();
    let [old, new] =
        [".kinvert-old", ".kinvert-new"].map(|name| lab.path().join("clips").join(name));
    std::fs::write(&new, "half of it").unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::create(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    lab.run();
    assert!(!work.exists() && !old.exists());
    assert!(new.exists(), "somebody may still be writing it");
}
