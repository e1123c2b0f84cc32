//! Networks and servers that fail on the way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kinvert_hub::{Error, Hub};
use kinvert_testkit::hub::{FakeHub, Hook};
use kinvert_testkit::server::{Reply, Request};

use crate::support::*;

/// Answers the first requests for a file so, and all others as usual.
fn at_first(
    path: &'static str,
    times: usize,
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Hook {
    let count = AtomicUsize::new(0);
    Box::new(move |request| {
        let is_first = request.path.contains(path) && count.fetch_add(1, Ordering::Relaxed) < times;
        is_first.then(|| reply(request))
    })
}

fn never() -> Hook {
    Box::new(|_| None)
}

fn unet() -> Vec<u8> {
    pipeline()[UNET].clone()
}

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let cut = |_: &Request| {
        Reply::new(200)
            .data(&unet()[..100_000])
            .cut()
            .data(&unet()[100_000..])
    };
    let (hub, place) = (
        FakeHub::with_hooks(NAME, pipeline(), never(), at_first(UNET, 1, cut)),
        Place::new(),
    );
    let mut watcher = Watcher::default();
    let pulled = place.hub(&hub).pull(&name(), None, &mut watcher).unwrap();
    expect_files(&pulled, &pipeline());
    assert_eq!(pulled.fetched_bytes, pulled.bytes, "nothing came twice");
    let requests = hub.storage.requests();
    let requests = asked(&requests, UNET);
    assert_eq!(requests[0].header("range"), None);
    assert_eq!(requests[1].header("range"), Some("bytes=100000-"));
    assert!(
        watcher
            .notes
            .borrow()
            .iter()
            .any(|note| note.contains("trying again"))
    );
}

#[test]
fn what_an_earlier_process_left_is_gone_on_with() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let path = place.incomplete(UNET, &unet());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &unet()[..77_777]).unwrap();
    let pulled = place.pull(&hub).unwrap();
    expect_files(&pulled, &pipeline());
    assert_eq!(pulled.fetched_bytes, pulled.bytes - 77_777);
    assert!(!path.exists());
}

#[test]
fn what_was_left_may_be_whole_too_long_or_something_else() {
    for (left, is_fetched) in [
        (unet(), false),
        ([unet(), vec![0; 9]].concat(), true),
        (vec![7; 50_000], true),
        (vec![7; 300_000], true),
    ] {
        let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
        let path = place.incomplete(UNET, &unet());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, left).unwrap();
        let pulled = place.pull(&hub).unwrap();
        expect_files(&pulled, &pipeline());
        assert_eq!(!asked(&hub.storage.requests(), UNET).is_empty(), is_fetched);
    }
}

#[test]
fn a_server_that_ignores_the_range_is_taken_from_the_start() {
    let (hub, place) = (
        FakeHub::with_hooks(
            NAME,
            pipeline(),
            never(),
            at_first(UNET, 2, |request| match request.header("range") {
                None => Reply::new(200)
                    .data(&unet()[..100_000])
                    .cut()
                    .data(&unet()[100_000..]),
                Some(_) => Reply::new(200).data(unet()),
            }),
        ),
        Place::new(),
    );
    let pulled = place.pull(&hub).unwrap();
    expect_files(&pulled, &pipeline());
    assert_eq!(pulled.fetched_bytes, pulled.bytes + 100_000);
}

#[test]
fn another_range_than_asked_for_is_not_appended() {
    let reply = |request: &Request| match request.header("range") {
        None => Reply::new(200)
            .data(&unet()[..100_000])
            .cut()
            .data(&unet()[100_000..]),
        Some(_) => Reply::new(206)
            .header("Content-Range", "bytes 0-299999/300000")
            .data(unet()),
    };
    let hub = FakeHub::with_hooks(NAME, pipeline(), never(), at_first(UNET, 2, reply));
    expect_files(&Place::new().pull(&hub).unwrap(), &pipeline());
}

#[test]
fn a_range_that_the_server_does_not_know_is_given_up() {
    let reply = |request: &Request| match request.header("range") {
        None => Reply::new(200)
            .data(&unet()[..100_000])
            .cut()
            .data(&unet()[100_000..]),
        Some(_) => Reply::new(416),
    };
    let hub = FakeHub::with_hooks(NAME, pipeline(), never(), at_first(UNET, 2, reply));
    expect_files(&Place::new().pull(&hub).unwrap(), &pipeline());
}

#[test]
fn a_wrong_hash_is_fetched_once_more() {
    for (path, times) in [
        (UNET, 1),
        (UNET, 2),
        ("vae/config.json", 1),
        ("vae/config.json", 2),
    ] {
        let wrong = move |_: &Request| Reply::new(200).data(vec![b'x'; pipeline()[path].len()]);
        let hook = || at_first(path, times, wrong);
        let hub = match path {
            UNET => FakeHub::with_hooks(NAME, pipeline(), never(), hook()),
            _ => FakeHub::with_hooks(NAME, pipeline(), hook(), never()),
        };
        let place = Place::new();
        let mut watcher = Watcher::default();
        let pulled = place.hub(&hub).pull(&name(), None, &mut watcher);
        let notes = watcher.notes.borrow().join("\n");
        assert!(
            notes.contains("it was removed and is fetched again"),
            "{notes}"
        );
        if times == 1 {
            expect_files(&pulled.unwrap(), &pipeline());
            continue;
        }
        let error = pulled.unwrap_err();
        assert!(
            matches!(error, Error::Damaged { kind: "hash", .. }),
            "{error}"
        );
        assert!(error.to_string().contains(path), "{error}");
        let contents = &pipeline()[path];
        assert!(!place.blob(path, contents).exists() && !place.incomplete(path, contents).exists());
        assert!(!place.model().join("refs/main").exists());
        assert_eq!(place.hub(&hub).cached(&name()), None);
    }
}

#[test]
fn a_wrong_length_is_refused_before_it_is_written() {
    for reply in [
        Reply::new(200).repeat(vec![0; 1 << 20], 1 << 20),
        Reply::new(200).data("short"),
        Reply::new(200).chunked().data(vec![0; 300_001]),
    ] {
        let reply = move |_: &Request| reply.clone();
        let (hub, place) = (
            FakeHub::with_hooks(NAME, pipeline(), never(), at_first(UNET, 1, reply)),
            Place::new(),
        );
        let error = place.pull(&hub).unwrap_err();
        assert!(
            matches!(error, Error::Damaged { kind: "length", .. }),
            "{error}"
        );
    }
}

#[test]
fn refusals_say_what_to_do() {
    let error_of = |status: u16| {
        let reply = move |_: &Request| {
            Reply::new(status)
                .header(
                    "X-Error-Message",
                    &format!("Access to it is restricted. {SECRET}"),
                )
                .header("Retry-After", "0")
        };
        let hub = FakeHub::with_hooks(NAME, pipeline(), at_first("/", 9, reply), never());
        let error = Place::new().pull(&hub).unwrap_err();
        let text = format!("{error} {}", error.hint().unwrap());
        assert!(!text.contains(SECRET), "{text}");
        (error, text, hub.api.requests().len())
    };
    for status in [401, 403] {
        let (error, text, asked) = error_of(status);
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(
            text.contains("licence") && text.contains("huggingface.co/maker/model"),
            "{text}"
        );
        assert_eq!(asked, 1);
    }
    let (error, _, asked) = error_of(404);
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(asked, 1);
    for (status, asked) in [(429, 3), (500, 3), (503, 3), (400, 1)] {
        let reply = move |_: &Request| Reply::new(status).header("Retry-After", "0");
        let hub = FakeHub::with_hooks(NAME, pipeline(), at_first("/", 9, reply), never());
        let error = Place::new().pull(&hub).unwrap_err();
        assert!(matches!(error, Error::Status { .. }), "{error}");
        assert_eq!(hub.api.requests().len(), asked, "{status}");
    }
}

#[test]
fn trouble_that_passes_is_waited_for() {
    let busy = |_: &Request| Reply::new(503).header("Retry-After", "0");
    let refused = |_: &Request| Reply::new(403); // a link of the storage that has expired
    let (hub, place) = (
        FakeHub::with_hooks(
            NAME,
            pipeline(),
            at_first("/", 2, busy),
            at_first("/", 2, refused),
        ),
        Place::new(),
    );
    expect_files(&place.pull(&hub).unwrap(), &pipeline());
}

#[test]
fn no_network_is_said() {
    let place = Place::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let hub = Hub::new(place.options(format!("http://{closed}"))).unwrap();
    let error = hub
        .pull(&name(), None, &mut Watcher::default())
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(error.hint().unwrap().contains("network"));
}

#[test]
fn a_silent_server_is_left_when_the_user_asks_to_stop() {
    let hung = |_: &Request| Reply::new(200).data(&unet()[..9]).hang().data(&unet()[9..]);
    for (api, storage) in [
        (at_first("/api/", 9, |_| Reply::silence()), never()),
        (never(), at_first(UNET, 9, hung)),
        (
            at_first("/api/", 9, |_| Reply::new(429).header("Retry-After", "100")),
            never(),
        ),
    ] {
        let (hub, place) = (
            FakeHub::with_hooks(NAME, pipeline(), api, storage),
            Place::new(),
        );
        let mut watcher = Watcher::stopping_after(Duration::from_millis(300));
        let began = Instant::now();
        let error = place
            .hub(&hub)
            .pull(&name(), None, &mut watcher)
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let hung = |_: &Request| Reply::new(200).data(&unet()[..9]).hang().data(&unet()[9..]);
    let hub = FakeHub::with_hooks(NAME, pipeline(), never(), at_first(UNET, 1, hung));
    let place = Place::new();
    let mut options = place.options(hub.endpoint());
    options.idle_timeout = Duration::from_millis(300);
    let hub = Hub::new(options).unwrap();
    let pulled = hub.pull(&name(), None, &mut Watcher::default()).unwrap();
    expect_files(&pulled, &pipeline());
}

#[test]
fn another_process_at_the_same_file_is_waited_for() {
    let (hub, place) = (FakeHub::start(NAME, pipeline()), Place::new());
    let locks = place.folder.path().join(".locks/models--maker--model");
    std::fs::create_dir_all(&locks).unwrap();
    let hash = place.blob(UNET, &unet());
    let hash = hash.file_name().unwrap().to_str().unwrap();
    let lock = std::fs::File::create(locks.join(format!("{hash}.lock"))).unwrap();
    lock.lock().unwrap();
    let mut watcher = Watcher::stopping_after(Duration::from_millis(300));
    let error = place
        .hub(&hub)
        .pull(&name(), None, &mut watcher)
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(
        watcher
            .notes
            .borrow()
            .iter()
            .any(|note| note.contains("another process"))
    );
    drop(lock);
    place.pull(&hub).unwrap();
}
