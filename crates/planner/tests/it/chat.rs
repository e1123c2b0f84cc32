//! A client against endpoints that behave, misbehave, and do nothing at all.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kinvert_planner::Error;
use kinvert_planner::chat::{
    AnswerFault, Cached, ChatAnswer, ChatModel, ChatRequest, Client, ClientOptions, Clock,
    Endpoint, Prices, Role, SystemClock, Turn, Usage, Watch,
};
use kinvert_testkit::server::{Reply, ScriptedServer};
use serde_json::{Value, json};

const KEY: &str = "sk-must-not-be-seen-4711";

/// Time that passes at once: it writes down the waits. Now is Sun, 06 Nov 1994 08:49:37 GMT.
#[derive(Clone, Default)]
struct Hurried(Arc<Mutex<Vec<Duration>>>);

impl Hurried {
    fn waits(&self) -> Vec<f64> {
        let waits = self.0.lock().unwrap();
        waits.iter().map(Duration::as_secs_f64).collect()
    }
}

impl Clock for Hurried {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn jitter(&self) -> f64 {
        1.0
    }

    fn wait(&self, duration: Duration, _: &dyn Watch) -> Result<(), Error> {
        self.0.lock().unwrap().push(duration);
        Ok(())
    }
}

/// Writes down what it is told, and asks to stop when it should.
#[derive(Default)]
struct Onlooker {
    notes: Mutex<Vec<String>>,
    received: Mutex<Vec<usize>>,
    cancelled: AtomicBool,
    cancels_on_note: bool,
    cancels_at: Option<Instant>,
}

impl Onlooker {
    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

impl Watch for Onlooker {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
            || self.cancels_at.is_some_and(|at| Instant::now() >= at)
    }

    fn received(&self, chars: usize) {
        self.received.lock().unwrap().push(chars);
    }

    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_string());
        self.cancelled
            .store(self.cancels_on_note, Ordering::Relaxed);
    }
}

fn request() -> ChatRequest {
    ChatRequest {
        system: "You plan ablations.".into(),
        turns: vec![Turn {
            role: Role::User,
            text: "Plan some.".into(),
        }],
        temperature: Some(0.5),
        max_output_tokens: Some(1000),
    }
}

fn endpoint(server: &ScriptedServer) -> Endpoint {
    let variable = |name: &str| (name == "OPENAI_API_KEY").then(|| KEY.to_string());
    Endpoint::resolve("openai/planner-1", Some(&server.url("/v1")), &variable).unwrap()
}

/// What came of one request.
struct Asked {
    result: Result<ChatAnswer, Error>,
    notes: Vec<String>,
    waits: Vec<f64>,
    received: Vec<usize>,
}

impl Asked {
    fn error(self) -> Error {
        self.result.unwrap_err()
    }

    fn fault(self) -> AnswerFault {
        match self.error() {
            Error::Answer { fault, .. } => fault,
            error => panic!("{error:?}"),
        }
    }

    fn text(&self) -> &str {
        &self.result.as_ref().unwrap().text
    }
}

fn ask(server: &ScriptedServer) -> Asked {
    ask_with(server, ClientOptions::default())
}

fn ask_with(server: &ScriptedServer, options: ClientOptions) -> Asked {
    let clock = Hurried::default();
    let client = Client::new(endpoint(server), options).with_clock(clock.clone());
    let watch = Onlooker::default();
    let result = client.complete(&request(), &watch);
    Asked {
        result,
        notes: watch.notes(),
        waits: clock.waits(),
        received: watch.received.into_inner().unwrap(),
    }
}

fn stream() -> Reply {
    Reply::new(200)
        .header("Content-Type", "text/event-stream; charset=utf-8")
        .chunked()
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn text_event(text: &str) -> String {
    event(&json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}

fn finish_event(reason: &str) -> String {
    event(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }))
}

fn good() -> Reply {
    stream()
        .data(text_event("A "))
        .data(text_event("plan."))
        .data(finish_event("stop"))
        .data(event(
            &json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 3 } }),
        ))
        .data("data: [DONE]\n\n")
}

fn refusal(status: u16, error: Value) -> Reply {
    Reply::json(status, &json!({ "error": error }))
}

/// A stream of these events, after which the connection is closed.
fn events(events: impl IntoIterator<Item = String>) -> ScriptedServer {
    let reply = events.into_iter().fold(stream(), Reply::data);
    ScriptedServer::start(move |_| reply.clone())
}

#[test]
fn a_client_is_shared_between_threads() {
    fn is_shared<T: Sync + Send>() {}
    is_shared::<Client>();
    is_shared::<Cached<Client>>();
}

#[test]
fn a_stream_is_read() {
    let server = ScriptedServer::replies([good()]);
    let options = ClientOptions {
        prices: Some(Prices {
            input_per_million: 1.0,
            output_per_million: 4.0,
        }),
        ..ClientOptions::default()
    };
    let asked = ask_with(&server, options);
    assert_eq!(asked.text(), "A plan.");
    let expected = Usage {
        answers: 1,
        from_cache: 0,
        input_tokens: 12,
        output_tokens: 3,
        cost_usd: Some(24e-6),
        estimated: 0,
    };
    assert_eq!(asked.result.unwrap().usage, expected);
    assert_eq!(asked.received.last(), Some(&7));
    assert!(asked.notes.is_empty() && asked.waits.is_empty());

    let sent = &server.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let expected = json!({
        "model": "planner-1",
        "messages": [
            { "role": "system", "content": "You plan ablations." },
            { "role": "user", "content": "Plan some." },
        ],
        "stream": true,
        "stream_options": { "include_usage": true },
        "temperature": 0.5,
        "max_completion_tokens": 1000,
    });
    assert_eq!(sent.json(), expected);
}

#[test]
fn an_answer_that_comes_at_once_is_read() {
    let body = json!({
        "choices": [{ "message": { "role": "assistant", "content": "A plan." }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 3, "cost": 0.25 },
    });
    let asked = ask(&ScriptedServer::replies([Reply::json(200, &body)]));
    assert_eq!(asked.text(), "A plan.");
    assert_eq!(asked.received, [7]);
    assert_eq!(asked.result.unwrap().usage.cost_usd, Some(0.25));
}

#[test]
fn tokens_are_estimated_where_the_endpoint_does_not_count_them() {
    let asked = ask(&events([text_event("A plan."), finish_event("stop")]));
    let usage = asked.result.unwrap().usage;
    let expected = Usage {
        answers: 1,
        input_tokens: 8,
        output_tokens: 2,
        estimated: 1,
        ..Usage::default()
    };
    assert_eq!(usage, expected);
}

#[test]
fn lines_may_end_in_both_ways_and_characters_may_be_split() {
    let whole = [
        ": OPENROUTER PROCESSING\n\n".to_string(),
        text_event("Plän "),
        text_event("😀"),
        finish_event("stop"),
        "data: [DONE]\n\n".to_string(),
    ];
    let whole = whole.concat().replace('\n', "\r\n");
    let pieces = whole.as_bytes().chunks(3);
    let server = ScriptedServer::replies([pieces.fold(stream(), Reply::data)]);
    assert_eq!(ask(&server).text(), "Plän 😀");
}

#[test]
fn answers_that_are_none_are_told_apart_and_not_asked_for_again() {
    let fault = |parts: &[String]| {
        let server = events(parts.to_vec());
        let fault = ask(&server).fault();
        assert_eq!(server.requests().len(), 1, "{fault}");
        fault
    };
    let done = "data: [DONE]\n\n".to_string();
    let malformed = fault(&["data: {\"choices\": oops}\n\n".into()]);
    assert!(matches!(malformed, AnswerFault::Malformed { .. }));
    let malformed = fault(&["data: {\"choices\": 7}\n\n".into()]);
    assert!(
        malformed.to_string().contains("expected a sequence"),
        "{malformed}"
    );
    assert_eq!(fault(std::slice::from_ref(&done)), AnswerFault::NoChoices);
    assert_eq!(fault(&[text_event(" "), done.clone()]), AnswerFault::Empty);
    let length = fault(&[text_event("A pl"), finish_event("length")]);
    assert_eq!(length, AnswerFault::Length { bound: Some(1000) });
    let filtered = fault(&[text_event("A pl"), finish_event("content_filter")]);
    assert_eq!(filtered, AnswerFault::Filtered);
    let refusal = json!({ "choices": [{ "delta": { "refusal": "I would rather not." } }] });
    let refused = fault(&[event(&refusal), finish_event("stop")]);
    assert!(
        refused.to_string().ends_with("I would rather not."),
        "{refused}"
    );
}

#[test]
fn another_type_of_content_is_no_answer() {
    let page = Reply::new(200)
        .header("Content-Type", "text/html")
        .data("<html>Please log in.</html>");
    let untyped = Reply::new(200).data("{}");
    for (reply, found) in [(page, "text/html"), (untyped, "")] {
        let server = ScriptedServer::replies([reply]);
        let found = found.to_string();
        assert_eq!(ask(&server).fault(), AnswerFault::ContentType { found });
    }
}

#[test]
fn far_too_long_an_answer_is_not_read_to_its_end() {
    let text = text_event(&"x".repeat(10_000));
    let line = "data: ".to_string() + &"x".repeat(10_000);
    let json = "[".repeat(10_000);
    let replies = [
        (stream().repeat(text, 5000), "4194304 bytes of text"),
        (stream().repeat(line, 5000), "1048576 bytes in one event"),
        (
            Reply::new(200)
                .header("Content-Type", "application/json")
                .repeat(json, 5000),
            "8388608 bytes of JSON",
        ),
    ];
    for (reply, expected) in replies {
        let fault = ask(&ScriptedServer::replies([reply])).fault();
        assert!(matches!(fault, AnswerFault::TooLong { .. }));
        assert!(fault.to_string().contains(expected), "{fault}");
    }
}

#[test]
fn a_busy_endpoint_is_asked_again_when_it_says() {
    let busy = || refusal(429, json!({ "message": "slow down" }));
    let server = ScriptedServer::replies([
        busy().header("Retry-After", "2"),
        busy().header("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT"),
        busy()
            .header("Retry-After", "9")
            .header("retry-after-ms", "250"),
        busy().header("Retry-After", "86400"),
        good(),
    ]);
    let asked = ask(&server);
    assert_eq!(asked.text(), "A plan.");
    assert_eq!(asked.waits, [2.0, 30.0, 0.25, 300.0]);
    assert_eq!(asked.notes.len(), 4);
    let note = &asked.notes[0];
    assert!(
        note.contains("status 429, slow down") && note.ends_with("again in 2.0 s (try 2 of 5)"),
        "{note}"
    );
}

#[test]
fn a_broken_endpoint_is_given_up_after_so_many_tries() {
    for status in [408, 409, 425, 500, 503, 529] {
        let server =
            ScriptedServer::start(move |_| refusal(status, json!({ "message": "overloaded" })));
        let options = ClientOptions {
            attempts: 4,
            ..ClientOptions::default()
        };
        let asked = ask_with(&server, options);
        assert_eq!(asked.waits, [1.0, 2.0, 4.0]);
        let error = asked.error();
        assert!(error.to_string().contains("tries made: 4"), "{error}");
        let cause = error.source().unwrap().to_string();
        assert!(
            cause.contains(&format!("status {status}, overloaded")),
            "{cause}"
        );
        assert_eq!(server.requests().len(), 4);
    }
}

#[test]
fn an_answer_that_is_cut_off_is_asked_for_again() {
    let whole = text_event("A plan.");
    let cut = [
        stream().data(text_event("A pl")).cut(), // the connection breaks
        stream().data(text_event("A pl")),       // the stream ends properly, but too early
        stream().data(whole[..whole.len() - 9].to_string()), // in the middle of an event
        stream()
            .data(text_event("A pl"))
            .data(finish_event("error")),
        stream().data(event(
            &json!({ "error": { "code": 502, "message": "lost" } }),
        )),
        Reply::new(200)
            .header("Content-Type", "application/json")
            .data("{\"choices\":")
            .cut()
            .data("[]}"),
        Reply::close(),
    ];
    for cut in cut {
        let server = ScriptedServer::replies([cut.clone(), good()]);
        let asked = ask(&server);
        assert_eq!(asked.text(), "A plan.");
        assert_eq!(asked.notes.len(), 1);

        let server = ScriptedServer::start(move |_| cut.clone());
        let error = ask(&server).error();
        assert!(
            matches!(error, Error::GaveUp { attempts: 5, .. }),
            "{error:?}"
        );
        assert_eq!(server.requests().len(), 5);
    }
}

#[test]
fn what_breaks_behind_the_text_does_no_harm() {
    let finished = || {
        stream()
            .data(text_event("A plan."))
            .data(finish_event("stop"))
    };
    let options = ClientOptions {
        idle_timeout: Duration::from_millis(200),
        ..ClientOptions::default()
    };
    for reply in [finished().cut(), finished().hang()] {
        let server = ScriptedServer::replies([reply]);
        let asked = ask_with(&server, options.clone());
        assert_eq!(asked.text(), "A plan.");
        assert_eq!(asked.result.unwrap().usage.estimated, 1);
    }
}

#[test]
fn silence_has_an_end() {
    let quick = ClientOptions {
        attempts: 2,
        idle_timeout: Duration::from_millis(100),
        ..ClientOptions::default()
    };
    let silent = [
        Reply::silence(),
        stream().data(text_event("A pl")).hang(),
        refusal(500, json!({})).wait(Duration::from_secs(3600)),
    ];
    for reply in silent {
        let server = ScriptedServer::start(move |_| reply.clone());
        let error = ask_with(&server, quick.clone()).error();
        assert!(
            matches!(error, Error::GaveUp { attempts: 2, .. }),
            "{error:?}"
        );
    }
    // It dawdles for ever, but is never silent for long.
    let server = ScriptedServer::start(|_| {
        let wait = Duration::from_millis(20);
        let dawdle = |reply: Reply, _| reply.data(": still here\n\n").wait(wait);
        (0..1000).fold(stream(), dawdle)
    });
    let options = ClientOptions {
        attempts: 1,
        answer_timeout: Duration::from_millis(300),
        ..ClientOptions::default()
    };
    let error = ask_with(&server, options).error();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("no whole answer"), "{cause}");
}

#[test]
fn a_slow_answer_is_waited_for() {
    let wait = Duration::from_millis(400);
    let words = ["One ", "word ", "after ", "the ", "other."];
    let slow = words.iter().fold(stream(), |reply, word| {
        reply.wait(wait).data(text_event(word))
    });
    let server = ScriptedServer::replies([slow.data(finish_event("stop"))]);
    let options = ClientOptions {
        idle_timeout: Duration::from_millis(1500), // less than all of the answer takes
        ..ClientOptions::default()
    };
    assert_eq!(ask_with(&server, options).text(), words.concat());
}

#[test]
fn an_endpoint_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let endpoint = Endpoint::resolve("planner-1", Some(&url), &|_| None).unwrap();
    let clock = Hurried::default();
    let client = Client::new(endpoint, ClientOptions::default()).with_clock(clock.clone());
    let error = client
        .complete(&request(), &Onlooker::default())
        .unwrap_err();
    assert_eq!(clock.waits(), [1.0, 2.0, 4.0, 8.0]);
    let cause = error.source().unwrap();
    assert!(cause.to_string().contains("refused"), "{cause}");
    assert!(error.hint().unwrap().contains("running"));
}

#[test]
fn an_address_that_does_not_speak_tls_is_an_error() {
    let server = ScriptedServer::start(|_| good());
    let url = format!("https://{}/v1", server.address());
    let endpoint = Endpoint::resolve("planner-1", Some(&url), &|_| None).unwrap();
    let options = ClientOptions {
        attempts: 1,
        connect_timeout: Duration::from_millis(200),
        ..ClientOptions::default()
    };
    let client = Client::new(endpoint, options);
    let error = client
        .complete(&request(), &Onlooker::default())
        .unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("no connection came about"), "{cause}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_wish_to_stop_is_heard_while_the_endpoint_is_silent() {
    let silent = [Reply::silence(), stream().data(text_event("A pl")).hang()];
    for reply in silent {
        let server = ScriptedServer::replies([reply]);
        let client = Client::new(endpoint(&server), ClientOptions::default());
        let began = Instant::now();
        let watch = Onlooker {
            cancels_at: Some(began + Duration::from_millis(100)),
            ..Onlooker::default()
        };
        let error = client.complete(&request(), &watch).unwrap_err();
        assert!(matches!(error, Error::Cancelled));
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "its time-outs are longer"
        );
    }
}

#[test]
fn a_wish_to_stop_is_heard_between_tries() {
    let server = ScriptedServer::replies([Reply::new(503).header("Retry-After", "200")]);
    let client = Client::new(endpoint(&server), ClientOptions::default()).with_clock(SystemClock);
    let watch = Onlooker {
        cancels_on_note: true,
        ..Onlooker::default()
    };
    let error = client.complete(&request(), &watch).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn nothing_is_asked_of_one_who_has_stopped() {
    let server = ScriptedServer::replies([good()]);
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(endpoint(&server), ClientOptions::default());
    let watch = Onlooker::default();
    watch.cancelled.store(true, Ordering::Relaxed);
    let cached = Cached::in_folder(client, folder.path());
    for result in [
        cached.complete(&request(), &watch),
        cached.model().complete(&request(), &watch),
    ] {
        assert!(matches!(result, Err(Error::Cancelled)));
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let other = ScriptedServer::start(|_| good());
    for status in [301, 302, 307, 308] {
        let location = other.url("/v1/chat/completions");
        let reply = Reply::new(status).header("Location", &location);
        let error = ask(&ScriptedServer::replies([reply])).error();
        let expected = format!("status {status}, a redirect to `{location}`");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    assert!(other.requests().is_empty());
}

#[test]
fn refusals_that_last_are_told_with_what_to_do() {
    let message = |text: &str| json!({ "message": text });
    let cases = [
        (401, message("bad key"), "OPENAI_API_KEY"),
        (403, message("no access"), "OPENAI_API_KEY"),
        (402, message("pay first"), "no credit"),
        (404, message("no such model"), "`planner-1`"),
        (413, message("too large"), "--context"),
        (
            400,
            message("This model's maximum context length is 10"),
            "--context",
        ),
        (
            429,
            json!({ "message": "pay", "code": "insufficient_quota" }),
            "no credit",
        ),
        (400, message("what?"), ""),
        (422, message("what?"), ""),
    ];
    for (status, error, hint) in cases {
        let expected = format!("status {status}, {}", error["message"].as_str().unwrap());
        let server = ScriptedServer::start(move |_| refusal(status, error.clone()));
        let error = ask(&server).error();
        assert!(error.to_string().ends_with(&expected), "{error}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{status}: {found}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn a_long_complaint_is_shortened_and_controls_nothing() {
    let long = "no\u{1b}[31m\n".repeat(100);
    let error = ask(&ScriptedServer::replies([refusal(
        404,
        json!({ "message": long }),
    )]))
    .error();
    let shown = error.to_string();
    assert!(
        shown.chars().count() < 400 && shown.ends_with('…'),
        "{shown}"
    );
    assert!(!shown.chars().any(char::is_control));
    let endless = Reply::new(404).repeat("nothing here ", 5_000_000);
    let shown = ask(&ScriptedServer::replies([endless])).error().to_string();
    assert!(shown.chars().count() < 400, "{shown}");
}

#[test]
fn a_field_that_is_not_taken_is_left_out_from_then_on() {
    let unsupported = |param: &str| {
        let message = format!("Unsupported parameter: '{param}' is not supported with this model.");
        let error = json!({ "message": message, "param": param, "code": "unsupported_parameter" });
        refusal(400, error)
    };
    let server = ScriptedServer::start(move |request| {
        let sent = request.json();
        let refused = ["temperature", "stream_options", "max_completion_tokens"];
        match refused.into_iter().find(|param| sent.get(param).is_some()) {
            Some(param) => unsupported(param),
            None => good(),
        }
    });
    let options = ClientOptions {
        attempts: 1,
        ..ClientOptions::default()
    };
    let client = Client::new(endpoint(&server), options);
    let watch = Onlooker::default();
    for _ in 0..2 {
        assert_eq!(client.complete(&request(), &watch).unwrap().text, "A plan.");
    }
    let notes = watch.notes();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("`temperature`"), "{notes:?}");
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    for sent in &requests[3..] {
        assert_eq!(sent.json()["max_tokens"], 1000);
        assert_eq!(sent.json().as_object().unwrap().len(), 4);
    }
    // One that refuses both names is not asked for ever.
    let server = ScriptedServer::start(move |request| {
        let has_new = request.json().get("max_completion_tokens").is_some();
        unsupported(if has_new {
            "max_completion_tokens"
        } else {
            "max_tokens"
        })
    });
    let error = ask(&server).error();
    assert!(
        matches!(error, Error::Status { status: 400, .. }),
        "{error:?}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn requests_go_side_by_side() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let of_server = under_way.clone();
    let server = ScriptedServer::start(move |_| {
        of_server.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        while of_server.load(Ordering::SeqCst) < 2 && began.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        match of_server.load(Ordering::SeqCst) {
            2 => good(),
            _ => Reply::new(400),
        }
    });
    let client = Client::new(endpoint(&server), ClientOptions::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| client.complete(&request(), &Onlooker::default()).unwrap());
        }
    });
}

#[test]
fn an_answer_is_kept_for_its_question_and_its_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let servers = [(); 2].map(|()| ScriptedServer::start(|_| good()));
    let models = servers.each_ref().map(|server| {
        let client = Client::new(endpoint(server), ClientOptions::default());
        Cached::in_folder(client, folder.path())
    });
    let warmer = ChatRequest {
        temperature: Some(1.0),
        ..request()
    };
    let watch = Onlooker::default();
    let mut usage = Usage::default();
    for (model, request) in [
        (&models[0], &request()),
        (&models[0], &request()),
        (&models[0], &warmer),
        (&models[1], &request()),
        (&models[1], &request()),
    ] {
        let answer = model.complete(request, &watch).unwrap();
        assert_eq!(answer.text, "A plan.");
        usage += answer.usage;
    }
    assert_eq!((usage.answers, usage.from_cache), (3, 2));
    assert_eq!(servers.map(|server| server.requests().len()), [2, 1]);
}

#[test]
fn a_failure_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::replies([refusal(404, json!({})), good()]);
    let client = Client::new(endpoint(&server), ClientOptions::default());
    let model = Cached::in_folder(client, folder.path());
    let watch = Onlooker::default();
    assert!(model.complete(&request(), &watch).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(model.complete(&request(), &watch).unwrap().usage.answers, 1);
}

/// Writes down everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        writeln!(self.0.lock().unwrap(), "{span:?}").unwrap();
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        writeln!(self.0.lock().unwrap(), "{values:?}").unwrap();
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        writeln!(self.0.lock().unwrap(), "{event:?}").unwrap();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_key_is_sent_and_otherwise_seen_nowhere() {
    let echo = format!("the key {KEY} is not good");
    let told = || json!({ "message": echo, "type": echo });
    let typed = Reply::new(200).header("Content-Type", &format!("text/{KEY}"));
    let refused = json!({ "choices": [{ "delta": { "refusal": echo }, "finish_reason": "stop" }] });
    let replies = [
        good(),
        refusal(401, told()),
        refusal(500, told()),
        Reply::new(403).data(echo.clone()),
        Reply::new(307).header("Location", &format!("https://elsewhere.example/?key={KEY}")),
        stream().data(event(&json!({ "error": told() }))),
        stream().data(event(&refused)),
        stream().data(event(&json!({ "choices": echo }))),
        stream().data(text_event("A pl")).cut(),
        typed,
    ];
    let log = Log::default();
    let mut seen = String::new();
    tracing::subscriber::with_default(log.clone(), || {
        for reply in replies {
            let folder = tempfile::tempdir().unwrap();
            let server = ScriptedServer::start(move |_| reply.clone());
            let client = Client::new(endpoint(&server), ClientOptions::default())
                .with_clock(Hurried::default());
            let model = Cached::in_folder(client, folder.path());
            let watch = Onlooker::default();
            for damage in [false, true] {
                for file in std::fs::read_dir(folder.path()).unwrap() {
                    let path = file.unwrap().path();
                    let text = std::fs::read_to_string(&path).unwrap();
                    writeln!(seen, "{} {text}", path.display()).unwrap();
                    if damage {
                        std::fs::write(&path, "damaged").unwrap();
                    }
                }
                match model.complete(&request(), &watch) {
                    Ok(answer) => writeln!(seen, "{answer:?}").unwrap(),
                    Err(error) => {
                        let cause = error.source().map(ToString::to_string);
                        let hint = error.hint();
                        writeln!(seen, "{error} {error:?} {error:#?} {cause:?} {hint:?}").unwrap();
                    }
                }
            }
            writeln!(seen, "{model:?} {:#?}", model.model().endpoint()).unwrap();
            writeln!(seen, "{} {:?}", model.identity(), watch.notes()).unwrap();
            let sent = &server.requests()[0];
            assert!(sent.header("authorization").unwrap().ends_with(KEY));
            assert!(!sent.text().contains(KEY) && !sent.path.contains(KEY));
        }
    });
    let log = log.0.lock().unwrap();
    assert!(log.contains("A kept answer cannot be read"), "{log}");
    for text in [seen.as_str(), log.as_str()] {
        assert!(!text.contains(KEY), "{text}");
        assert!(!text.contains("must-not-be-seen"), "{text}");
    }
    assert!(seen.contains("the key … is not good"), "{seen}");
}
