//! Hubs that want to do harm, or are none.

use kinvert_hub::Error;
use kinvert_testkit::hub::{FakeHub, Files, listing};
use kinvert_testkit::server::Reply;
use serde_json::{Value, json};

use crate::support::*;

/// Pulls from a hub that gives this in place of its list of files.
fn pull_listed(change: impl FnOnce(&mut Value)) -> (Result<(), Error>, Place) {
    let files = pipeline();
    let commit = FakeHub::start(NAME, files.clone()).commit(files.clone());
    let mut list = listing(&commit, &files);
    change(&mut list);
    let hub = FakeHub::with_hooks(
        NAME,
        files,
        Box::new(move |request| {
            request
                .path
                .starts_with("/api/")
                .then(|| Reply::json(200, &list))
        }),
        Box::new(|_| None),
    );
    let place = Place::new();
    (place.pull(&hub).map(drop), place)
}

fn add(list: &mut Value, sibling: Value) {
    list["siblings"].as_array_mut().unwrap().push(sibling);
}

#[track_caller]
fn expect_refused(change: impl FnOnce(&mut Value), expected: &str) {
    let (pulled, place) = pull_listed(change);
    let error = pulled.unwrap_err();
    assert!(matches!(error, Error::Listing { .. }), "{error}");
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!place.model().join("refs").exists());
}

#[test]
fn lists_that_could_lead_elsewhere_are_refused() {
    pull_listed(|_| {}).0.unwrap();
    for path in [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "unet\\..\\x",
        "C:/x",
        "unet//config.json",
    ] {
        expect_refused(
            |list| add(list, json!({"rfilename": path})),
            "no path inside a folder",
        );
    }
    expect_refused(
        |list| add(list, json!({"rfilename": "unet/config.json"})),
        "twice",
    );
    expect_refused(|list| list["sha"] = "../../x".into(), "no commit");
    let of_unet = |list: &mut Value, field: &str, value: Value| {
        let siblings = list["siblings"].as_array_mut().unwrap();
        let unet = siblings
            .iter_mut()
            .find(|sibling| sibling["rfilename"] == UNET);
        match field {
            "sha256" => unet.unwrap()["lfs"]["sha256"] = value,
            field => unet.unwrap()[field] = value,
        }
    };
    expect_refused(
        |list| of_unet(list, "sha256", "../../../x".into()),
        "no valid hash",
    );
    expect_refused(
        |list| of_unet(list, "size", (1_u64 << 50).into()),
        "at most",
    );
}

#[test]
fn lists_that_are_too_large_are_refused() {
    expect_refused(
        |list| {
            for number in 0..20_001 {
                add(list, json!({"rfilename": format!("x{number}")}));
            }
        },
        "expected at most 20000",
    );
    let hub = FakeHub::with_hooks(
        NAME,
        Files::new(),
        Box::new(|_| Some(Reply::new(200).repeat(vec![b' '; 1 << 20], 1 << 20))),
        Box::new(|_| None),
    );
    let error = Place::new().pull(&hub).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}

#[test]
fn weights_that_fill_any_disk_are_refused() {
    let huge = |list: &mut Value| {
        for sibling in list["siblings"].as_array_mut().unwrap() {
            if !sibling["lfs"].is_null() {
                sibling["size"] = (200_u64 << 30).into();
            }
        }
    };
    let (pulled, place) = pull_listed(huge);
    let error = pulled.unwrap_err();
    let is_seen = matches!(error, Error::Listing { .. } | Error::NoRoom { .. });
    assert!(is_seen, "{error}");
    assert!(!place.blob(UNET, &pipeline()[UNET]).exists());
}

#[test]
fn an_index_cannot_name_what_is_absent_or_elsewhere() {
    for (shard, expected) in [
        ("absent.safetensors", "which is not there"),
        ("../../x.safetensors", "same folder"),
        ("/x.safetensors", "same folder"),
        ("x.bin", "same folder"),
    ] {
        let mut files = pipeline();
        files.remove(UNET);
        let index = json!({"weight_map": {"a": shard}}).to_string();
        files.insert(format!("{UNET}.index.json"), index.into());
        let (hub, place) = (FakeHub::start(NAME, files), Place::new());
        let error = place.pull(&hub).unwrap_err();
        assert!(error.to_string().contains(expected), "{shard}: {error}");
        assert_eq!(place.hub(&hub).cached(&name()), None);
    }
}

#[test]
fn what_is_no_model_is_refused_before_anything_is_fetched() {
    let files = Files::from([("README.md".to_owned(), b"hello".to_vec())]);
    let hub = FakeHub::start(NAME, files);
    let error = Place::new().pull(&hub).unwrap_err();
    assert!(matches!(error, Error::NotUsable { .. }), "{error}");
    assert_eq!(hub.api.requests().len(), 1);
}

#[test]
fn redirects_without_end_and_to_odd_places_are_refused() {
    for location in [
        "",
        "/again",
        "ftp://x/y",
        "file:///etc/passwd",
        "http://u:p@127.0.0.1/",
    ] {
        let reply = move || Reply::new(302).header("Location", location);
        let hub = FakeHub::with_hooks(
            NAME,
            pipeline(),
            Box::new(move |_| Some(reply())),
            Box::new(|_| None),
        );
        let error = Place::new().pull(&hub).unwrap_err();
        assert!(
            matches!(error, Error::Redirect { .. }),
            "{location}: {error}"
        );
        assert!(hub.api.requests().len() < 10);
    }
}

#[test]
fn answers_that_are_none_of_a_hub_are_refused() {
    for body in ["<html>", "{}", "[]", "\u{1}"] {
        let reply = move || Reply::new(200).data(body);
        let hub = FakeHub::with_hooks(
            NAME,
            Files::new(),
            Box::new(move |_| Some(reply())),
            Box::new(|_| None),
        );
        let error = Place::new().pull(&hub).unwrap_err();
        assert!(matches!(error, Error::Listing { .. }), "{error}");
    }
}
