//! The store by itself: claims, processes that end, and a disk that is full.

use kinvert::ModelId;

use super::*;
use crate::results::{Measured, Reference, RunStamp};

fn plan() -> Plan {
    let cell = |key: &str, seed| CellRow {
        key: key.into(),
        motion: "motion".into(),
        variant_hash: "variant".into(),
        reference: 0,
        prompt: "a star".into(),
        seed,
    };
    Plan {
        toml: "[study]\nclips = [\"a\"]\nprompts = [\"a star\"]\nseeds = [0, 1]\n".into(),
        stamp: RunStamp {
            kinvert_version: "0".into(),
            model: ModelId {
                name: "model".into(),
                sha256: "0".into(),
            },
            device: "cpu".into(),
            measures: "none".into(),
            begun_unix_s: 0,
        },
        references: vec![Reference {
            path: "a".into(),
            caption: String::new(),
            sha256: "0".into(),
            frames: 2,
            size: [8, 8],
            fps: 8.0,
            file: None,
            features: vec![vec![1.0, 2.0]],
        }],
        variants: Vec::new(),
        motions: vec![MotionRow {
            key: "motion".into(),
            inversion_hash: "inversion".into(),
            reference: 0,
        }],
        cells: vec![cell("cell-0", 0), cell("cell-1", 1)],
    }
}

fn measured(features: usize) -> Measured {
    Measured {
        records: Vec::new(),
        clip: None,
        features: vec![vec![0.5; features]; 2],
        paths: None,
        generation_s: 0.0,
        measuring_s: 0.0,
    }
}

/// A store with the plan in it, and the folder for locks.
fn begun(folder: &Path) -> (Store, PathBuf) {
    let mut store = Store::open_or_create(&folder.join("results.sqlite")).unwrap();
    store.sync(&plan()).unwrap();
    (store, folder.join("workers"))
}

#[test]
fn work_is_handed_out_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, locks) = begun(folder.path());
    let one = Worker::enter(&mut store, &locks).unwrap();
    let other = Worker::enter(&mut store, &locks).unwrap();
    let Job::Motion(motion) = store.next(&one, &locks).unwrap() else {
        panic!("a motion comes first")
    };
    assert_eq!(store.next(&other, &locks).unwrap(), Job::Wait);
    assert!(
        !store.finish_motion(&motion.key, &other, 0.0, &[]).unwrap(),
        "it is not theirs"
    );
    assert!(
        store
            .finish_motion(&motion.key, &one, 1.5, &[0.25])
            .unwrap()
    );
    let mut seeds = Vec::new();
    for worker in [&one, &other] {
        let Job::Cell(cell) = store.next(worker, &locks).unwrap() else {
            panic!("a cell is left")
        };
        assert!(!store.is_spent("motion").unwrap());
        assert!(store.finish_cell(&cell.key, worker, &measured(3)).unwrap());
        seeds.push(cell.seed);
    }
    assert_eq!(seeds, [0, 1]);
    assert!(store.is_spent("motion").unwrap());
    assert_eq!(store.next(&one, &locks).unwrap(), Job::Nothing);
    let results = store.results(folder.path()).unwrap();
    assert_eq!(
        (results.counts().done, results.references[0].features.len()),
        (2, 1)
    );
}

#[test]
fn what_a_process_had_that_ended_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, locks) = begun(folder.path());
    let ended = Worker::enter(&mut store, &locks).unwrap();
    let alive = Worker::enter(&mut store, &locks).unwrap();
    assert!(matches!(
        store.next(&ended, &locks).unwrap(),
        Job::Motion(_)
    ));
    assert_eq!(store.next(&alive, &locks).unwrap(), Job::Wait);
    drop(ended);
    assert!(matches!(
        store.next(&alive, &locks).unwrap(),
        Job::Motion(_)
    ));
    // A lock whose file is still there, but that nobody holds.
    let left = Worker::enter(&mut store, &locks).unwrap();
    store.leave(alive).unwrap();
    assert!(matches!(store.next(&left, &locks).unwrap(), Job::Motion(_)));
    let name = std::fs::read_dir(&locks)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    drop(left);
    std::fs::write(name, "").unwrap();
    let next = Worker::enter(&mut store, &locks).unwrap();
    assert!(matches!(store.next(&next, &locks).unwrap(), Job::Motion(_)));
}

#[test]
fn a_motion_that_fails_takes_its_cells_with_it_until_they_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, locks) = begun(folder.path());
    let worker = Worker::enter(&mut store, &locks).unwrap();
    let Job::Motion(motion) = store.next(&worker, &locks).unwrap() else {
        panic!("a motion comes first")
    };
    store.fail_motion(&motion.key, &worker, "no").unwrap();
    assert_eq!(store.next(&worker, &locks).unwrap(), Job::Nothing);
    assert_eq!(store.counts().unwrap()[0].failed, 2);
    assert_eq!(store.again(Again::Failed).unwrap(), 2);
    assert!(matches!(
        store.next(&worker, &locks).unwrap(),
        Job::Motion(_)
    ));
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, locks) = begun(folder.path());
    let worker = Worker::enter(&mut store, &locks).unwrap();
    store.next(&worker, &locks).unwrap();
    store.finish_motion("motion", &worker, 0.0, &[]).unwrap();
    let Job::Cell(cell) = store.next(&worker, &locks).unwrap() else {
        panic!("a cell is left")
    };
    let pages: i64 = store
        .run(|connection| connection.pragma_query_value(None, "page_count", |row| row.get(0)))
        .unwrap();
    let limit = |store: &Store, pages: i64| {
        store
            .run(|connection| {
                connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            })
            .unwrap();
    };
    limit(&store, pages);
    let error = store
        .finish_cell(&cell.key, &worker, &measured(100_000))
        .unwrap_err();
    let Error::Store { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(source.to_string().contains("full"), "{source}");
    assert_eq!(store.counts().unwrap()[0].done, 0);
    limit(&store, i64::from(i32::MAX));
    assert!(
        store
            .finish_cell(&cell.key, &worker, &measured(100_000))
            .unwrap()
    );
}

#[test]
fn a_clip_or_measures_that_changed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = begun(folder.path());
    let refused = |store: &mut Store, change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        store.sync(&plan).unwrap_err().to_string()
    };
    let clip = refused(&mut store, |plan| plan.references[0].sha256 = "1".into());
    assert!(clip.contains("a: the clip has changed"), "{clip}");
    let model = refused(&mut store, |plan| plan.stamp.model.sha256 = "1".into());
    assert!(model.contains("the model of the study"), "{model}");
    store.sync(&plan()).unwrap();
}
