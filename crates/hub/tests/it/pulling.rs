//! Pulls that succeed.

use kinvert_hub::{Error, Hub, ModelKind};
use kinvert_testkit::hub::{FakeHub, listing};
use kinvert_testkit::server::Reply;

use crate::support::*;

#[test]
fn a_pull_fetches_what_is_needed_and_nothing_twice() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let mut watcher = Watcher::default();
    let pulled = place.hub(&hub).pull(&name(), None, &mut watcher).unwrap();
    expect_files(&pulled, &pipeline());
    assert_eq!(pulled.files, NEEDED);
    assert_eq!(pulled.fetched_bytes, pulled.bytes);
    assert_eq!(watcher.total, pulled.bytes);
    assert!(watcher.advances > NEEDED, "progress is told within files");
    let reference = std::fs::read_to_string(place.model().join("refs/main")).unwrap();
    assert_eq!(reference, pulled.commit);
    #[cfg(unix)]
    assert!(pulled.path.join(UNET).is_symlink());
    for path in ["README.md", "checkpoint.ckpt", "fp16"] {
        assert!(asked(&hub.api.requests(), path).is_empty(), "{path}");
    }

    let again = place.pull(&hub).unwrap();
    assert_eq!((again.fetched_bytes, again.bytes), (0, pulled.bytes));
    assert_eq!(hub.storage.requests().len(), 3);
}

#[test]
fn settings_come_without_weights_and_weights_later() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let folder = place
        .hub(&hub)
        .pull_settings(&name(), &mut Watcher::default());
    let folder = folder.unwrap();
    assert!(folder.join("unet/config.json").is_file() && !folder.join(UNET).exists());
    assert!(hub.storage.requests().is_empty(), "weights were asked for");
    assert_eq!(place.hub(&hub).cached(&name()), None, "it is not whole");

    let asked = hub.api.requests().len();
    let again = place
        .hub(&hub)
        .pull_settings(&name(), &mut Watcher::default());
    assert_eq!(
        (again.unwrap(), hub.api.requests().len()),
        (folder.clone(), asked)
    );
    let pulled = place.pull(&hub).unwrap();
    assert_eq!((&pulled.path, pulled.files), (&folder, NEEDED));
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    place.pull(&hub).unwrap();
    let expected = format!("Bearer {SECRET}");
    for request in hub.api.requests() {
        assert_eq!(request.header("authorization"), Some(expected.as_str()));
    }
    assert_eq!(hub.storage.requests().len(), 3);
    for request in hub.storage.requests() {
        assert_eq!(request.header("authorization"), None);
        assert!(!format!("{request:?}").contains(SECRET));
    }
}

#[test]
fn redirects_on_the_hub_itself_are_followed_with_the_token() {
    let hub = FakeHub::with_hooks(
        NAME,
        pipeline(),
        Box::new(|request| match request.path.as_str() {
            "/moved" => Some(Reply::file(request, br#"{"_class_name": "AutoencoderKL"}"#)),
            path if path.ends_with("vae/config.json") => {
                Some(Reply::new(307).header("Location", "/moved"))
            }
            _ => None,
        }),
        Box::new(|_| None),
    );
    let pulled = Place::new().pull(&hub);
    assert_eq!(pulled.unwrap().files, NEEDED);
    let requests = hub.api.requests();
    assert!(
        asked(&requests, "/moved")[0]
            .header("authorization")
            .is_some()
    );
}

#[test]
fn a_branch_moves_and_a_commit_does_not() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let first = place.pull(&hub).unwrap();
    let mut files = pipeline();
    files.insert("unet/config.json".into(), b"{\"changed\": 1}".to_vec());
    let commit = hub.commit(files.clone());
    let second = place.pull(&hub).unwrap();
    assert_eq!(second.commit, commit);
    assert_eq!(second.fetched_bytes, 14, "all but one blob are shared");
    expect_files(&second, &files);
    expect_files(&first, &pipeline());

    let pinned = name().with_revision(&first.commit).unwrap();
    let again = place
        .hub(&hub)
        .pull(&pinned, None, &mut Watcher::default())
        .unwrap();
    assert_eq!((again.path, again.fetched_bytes), (first.path.clone(), 0));
    assert_eq!(names(&place.model().join("refs")), ["main"]);
    assert_eq!(place.hub(&hub).cached(&name()), Some(second.path));
    assert_eq!(place.hub(&hub).cached(&pinned), Some(first.path));
    let error = name().with_revision("v9").unwrap();
    let error = place
        .hub(&hub)
        .pull(&error, None, &mut Watcher::default())
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("maker/model@v9"), "{error}");
}

#[test]
fn weights_in_shards_are_those_of_the_index() {
    let mut files = pipeline();
    let whole = files.remove(UNET).unwrap();
    let index = r#"{"weight_map": {"a": "x-1-of-2.safetensors", "b": "x-2-of-2.safetensors", "c": "x-1-of-2.safetensors"}}"#;
    files.insert(format!("{UNET}.index.json"), index.into());
    for (part, contents) in ["x-1-of-2", "x-2-of-2", "x-3-of-2"]
        .iter()
        .zip(whole.chunks(90_000))
    {
        files.insert(format!("unet/{part}.safetensors"), contents.to_vec());
    }
    let (hub, place) = (FakeHub::start(NAME, files.clone()), Place::new());
    let pulled = place.pull(&hub).unwrap();
    assert_eq!(pulled.files, NEEDED + 2);
    expect_files(&pulled, &files);
    assert!(!pulled.path.join("unet/x-3-of-2.safetensors").exists());
}

#[test]
fn a_variant_is_fetched_where_it_is_published() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let pull = |variant: &str, watcher: &mut Watcher| {
        place.hub(&hub).pull(&name(), Some(variant), watcher)
    };
    let mut watcher = Watcher::default();
    let pulled = pull("fp16", &mut watcher).unwrap();
    assert!(
        pulled
            .path
            .join("unet/diffusion_pytorch_model.fp16.safetensors")
            .exists()
    );
    assert!(!pulled.path.join(UNET).exists());
    let notes = watcher.notes.borrow().join("\n");
    assert!(notes.contains("`vae` is not published as fp16"), "{notes}");
    assert!(place.hub(&hub).cached(&name()).is_some());
    let error = pull("bf16", &mut watcher).unwrap_err();
    assert!(matches!(error, Error::NoVariant { .. }), "{error}");
}

#[test]
fn networks_that_stand_alone_are_fetched() {
    let files = [
        (
            "config.json",
            br#"{"_class_name": "MotionAdapter"}"#.to_vec(),
        ),
        ("diffusion_pytorch_model.fp16.safetensors", vec![1; 999]),
        ("diffusion_pytorch_model.safetensors", vec![2; 1999]),
    ];
    let files: std::collections::BTreeMap<_, _> = files
        .map(|(path, contents)| (path.to_owned(), contents))
        .into();
    let (hub, place) = (FakeHub::start(NAME, files), Place::new());
    let mut watcher = Watcher::default();
    let found = place
        .hub(&hub)
        .find(NAME, ModelKind::Network, &mut watcher)
        .unwrap();
    assert!(found.contains("diffusion_pytorch_model.safetensors"));
    assert!(!found.contains("diffusion_pytorch_model.fp16.safetensors"));
    let asked = hub.api.requests().len();
    place
        .hub(&hub)
        .find(NAME, ModelKind::Network, &mut watcher)
        .unwrap();
    assert_eq!(
        hub.api.requests().len(),
        asked,
        "what is there is not asked for"
    );
}

#[test]
fn a_folder_comes_before_a_published_name() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let folder = place.folder.path().to_str().unwrap();
    let mut watcher = Watcher::default();
    place
        .hub(&hub)
        .find(folder, ModelKind::Pipeline, &mut watcher)
        .unwrap();
    for name in ["no/such/folder", "model", "./x", ""] {
        let error = place
            .hub(&hub)
            .find(name, ModelKind::Pipeline, &mut watcher)
            .unwrap_err();
        assert!(matches!(error, Error::Model(_)), "{name}: {error}");
    }
    assert_eq!(hub.api.requests().len(), 0);
}

#[test]
fn a_mirror_that_does_not_list_hashes_is_asked_for_each() {
    let files = pipeline();
    let commit = FakeHub::start(NAME, files.clone()).commit(files.clone());
    let mut list = listing(&commit, &files);
    for sibling in list["siblings"].as_array_mut().unwrap() {
        let path = sibling["rfilename"].clone();
        *sibling = serde_json::json!({ "rfilename": path });
    }
    let hub = FakeHub::with_hooks(
        NAME,
        files.clone(),
        Box::new(move |request| {
            let is_list = request.path.starts_with("/api/");
            is_list.then(|| Reply::json(200, &list))
        }),
        Box::new(|_| None),
    );
    let place = Place::new();
    let pulled = place.pull(&hub).unwrap();
    expect_files(&pulled, &files);
    assert_eq!(pulled.files, NEEDED);
    let heads = hub
        .api
        .requests()
        .iter()
        .filter(|request| request.method == "HEAD")
        .count();
    assert_eq!(heads, NEEDED);
    assert!(
        hub.storage
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
}

#[test]
fn two_pulls_at_once_fetch_each_file_once() {
    let hub = FakeHub::with_hooks(
        NAME,
        pipeline(),
        Box::new(|_| None),
        Box::new(|_| {
            std::thread::sleep(std::time::Duration::from_millis(150));
            None
        }),
    );
    let place = Place::new();
    std::thread::scope(|scope| {
        let pulls = [(); 3].map(|()| scope.spawn(|| place.pull(&hub).unwrap()));
        let fetched = pulls.map(|pull| {
            let pulled = pull.join().unwrap();
            expect_files(&pulled, &pipeline());
            pulled.fetched_bytes
        });
        assert_eq!(hub.storage.requests().len(), 3, "fetched {fetched:?}");
    });
}

#[test]
fn a_hub_is_named_by_an_address() {
    let place = Place::new();
    for endpoint in ["", "huggingface.co", "ftp://x", "https://user:pw@x"] {
        let error = Hub::new(place.options(endpoint)).err().unwrap();
        assert!(
            matches!(error, Error::Endpoint { .. }),
            "{endpoint}: {error}"
        );
    }
}
