//! What is in the cache already, whoever put it there.

use kinvert_hub::{Error, Hub, ModelKind, list, verify};
use kinvert_testkit::hub::{FakeHub, hash_of};

use crate::support::*;

#[test]
fn offline_is_what_was_pulled_before() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let mut options = place.options(hub.endpoint());
    options.offline = true;
    let offline = Hub::new(options).unwrap();
    let mut watcher = Watcher::default();
    let error = offline.pull(&name(), None, &mut watcher).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("kinvert models pull maker/model"), "{hint}");
    assert!(
        offline
            .find(NAME, ModelKind::Pipeline, &mut watcher)
            .is_err()
    );
    assert_eq!(hub.api.requests().len(), 0);

    let pulled = place.pull(&hub).unwrap();
    let asked = hub.api.requests().len();
    let again = offline.pull(&name(), None, &mut watcher).unwrap();
    assert_eq!(
        (again.path, again.bytes),
        (pulled.path.clone(), pulled.bytes)
    );
    offline
        .find(NAME, ModelKind::Pipeline, &mut watcher)
        .unwrap();

    std::fs::remove_file(pulled.path.join(UNET)).unwrap();
    let error = offline
        .find(NAME, ModelKind::Pipeline, &mut watcher)
        .err()
        .unwrap();
    assert!(error.to_string().contains(UNET), "{error}");
    assert_eq!(hub.api.requests().len(), asked);
}

/// Puts files into a cache as the hub's Python library does.
fn as_python_does(place: &Place, commit: &str) {
    let snapshot = place.model().join("snapshots").join(commit);
    std::fs::create_dir_all(place.model().join("blobs")).unwrap();
    std::fs::create_dir_all(place.model().join("refs")).unwrap();
    std::fs::write(place.model().join("refs/main"), commit).unwrap();
    for (path, contents) in pipeline() {
        let blob = place.blob(&path, &contents);
        std::fs::write(&blob, &contents).unwrap();
        let pointer = snapshot.join(&path);
        std::fs::create_dir_all(pointer.parent().unwrap()).unwrap();
        let up = "../".repeat(path.split('/').count() + 1);
        let target = format!("{up}blobs/{}", hash_of(&path, &contents));
        #[cfg(unix)]
        std::os::unix::fs::symlink(target, pointer).unwrap();
        #[cfg(not(unix))]
        std::fs::copy(blob, pointer).map(|_| drop(target)).unwrap();
    }
}

#[test]
fn what_the_python_library_fetched_is_used() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let commit = hub.commit(pipeline());
    as_python_does(&place, &commit);
    let client = place.hub(&hub);
    let cached = client.cached(&name()).unwrap();
    assert!(cached.ends_with(&commit));
    assert_eq!(hub.api.requests().len(), 0);
    let pulled = place.pull(&hub).unwrap();
    assert_eq!((pulled.path, pulled.fetched_bytes), (cached.clone(), 0));
    let verified = verify(&cached, &mut Watcher::default()).unwrap();
    assert_eq!(verified.len(), pipeline().len());
    assert!(verified.iter().all(|file| file.fault.is_none()));
    #[cfg(unix)]
    assert!(verified.iter().all(|file| file.expected.is_some()));
}

#[test]
fn the_list_says_what_is_there_and_what_is_missing() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let client = place.hub(&hub);
    let listed = || list(place.folder.path()).unwrap();
    assert!(listed().is_empty());
    let pulled = place.pull(&hub).unwrap();
    let other = place
        .folder
        .path()
        .join("models--some--words/snapshots")
        .join("a".repeat(40));
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("config.json"), r#"{"architectures": ["Words"]}"#).unwrap();
    std::fs::create_dir_all(place.folder.path().join("datasets--x--y/snapshots/z")).unwrap();
    let list = listed();
    assert_eq!(list.len(), 1, "{list:?}");
    let model = &list[0];
    assert_eq!((model.name.as_str(), &model.commit), (NAME, &pulled.commit));
    assert_eq!((&model.path, model.bytes), (&pulled.path, pulled.bytes));
    assert_eq!(model.revisions, ["main"]);
    assert!(model.missing.is_empty());

    std::fs::remove_file(place.blob(UNET, &pipeline()[UNET])).unwrap();
    assert_eq!(listed()[0].missing, [UNET]);
    assert_eq!(client.cached(&name()), None);
    let again = place.pull(&hub).unwrap();
    assert_eq!(again.fetched_bytes, 300_000);
}

#[cfg(unix)]
#[test]
fn damaged_and_lost_blobs_are_found() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let pulled = place.pull(&hub).unwrap();
    let blob = place.blob(UNET, &pipeline()[UNET]);
    let mut contents = std::fs::read(&blob).unwrap();
    contents[1234] ^= 1;
    std::fs::write(&blob, contents).unwrap();
    let lost = "scheduler/scheduler_config.json";
    std::fs::remove_file(place.blob(lost, &pipeline()[lost])).unwrap();
    let verified = verify(&pulled.path, &mut Watcher::default()).unwrap();
    let faults: Vec<_> = verified
        .iter()
        .filter(|file| file.fault.is_some())
        .collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[0].file, lost);
    assert_eq!(faults[1].file, UNET);
    assert!(faults[1].fault.as_ref().unwrap().contains("its hash is"));
    let mut stopped = Watcher::stopping_after(std::time::Duration::ZERO);
    assert!(matches!(
        verify(&pulled.path, &mut stopped),
        Err(Error::Cancelled)
    ));
}

#[test]
fn a_cache_that_cannot_be_written_is_said() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    std::fs::create_dir_all(place.model()).unwrap();
    std::fs::write(place.model().join("blobs"), "in the way").unwrap();
    let error = place.pull(&hub).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    assert!(error.hint().unwrap().contains("HF_HOME"));
}
