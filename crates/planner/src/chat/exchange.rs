//! One request and what comes back, on a thread of its own: whoever waits hears at once that the user asked to stop,
//! even while the endpoint is silent.
//!
//! The thread is never joined. It ends when nobody listens any more and something arrives, or with its own time-outs,
//! which are those of [`ClientOptions`].

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body, Timeout};

use super::Watch;
use super::client::ClientOptions;
use super::endpoint::Endpoint;
use super::retry::POLL;

/// Most parts that wait to be read; then the thread waits too.
const QUEUE: usize = 8;

const READ_BYTES: usize = 16 << 10;

/// Makes the connections of a client. Redirects are not followed, and no connection is kept for the next request: one
/// that the endpoint has closed in the meantime would cost a try, and beside an answer a handshake takes no time.
pub(super) fn agent(endpoint: &Endpoint, options: &ClientOptions) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_per_read(Some(options.idle_timeout))
        .timeout_per_write(Some(options.idle_timeout))
        .timeout_global(Some(options.answer_timeout))
        .user_agent(concat!("kinvert/", env!("CARGO_PKG_VERSION")));
    let config = if endpoint.is_private() {
        config.proxy(None) // a proxy reaches no host of ours, and a key sent in the clear is not for it
    } else {
        config
    };
    config.build().new_agent()
}

/// What comes back, in this order: a head, bytes, an end.
pub(super) enum Part {
    Head(Head),
    Bytes(Vec<u8>),
    /// All of the body came, or as much as the endpoint wanted to send.
    End,
    /// The endpoint could not be reached, or the connection broke.
    Failed(String),
}

/// The beginning of a response.
pub(super) struct Head {
    pub(super) status: u16,
    headers: HeaderMap,
}

impl Head {
    /// The value of a header, if it is there and text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why waiting ended without a part.
pub(super) enum Stopped {
    Cancelled,
    TimedOut(String),
}

/// A request that is under way.
pub(super) struct Exchange {
    parts: Receiver<Part>,
    began: Instant,
    heard: Instant,
    idle_timeout: Duration,
    answer_timeout: Duration,
}

impl Exchange {
    /// Sends `body`.
    ///
    /// # Errors
    /// If there are no more threads to be had.
    pub(super) fn start(
        agent: &Agent,
        endpoint: &Endpoint,
        body: String,
        options: &ClientOptions,
    ) -> io::Result<Self> {
        let (sender, parts) = sync_channel(QUEUE);
        let agent = agent.clone();
        let url = format!("{}/chat/completions", endpoint.base_url());
        let authorization = endpoint.authorization();
        thread::Builder::new().name("chat".into()).spawn(move || {
            let mut request = agent
                .post(url)
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::ACCEPT, "text/event-stream, application/json");
            if let Some(authorization) = authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let last = match request.send(body) {
                Ok(response) => receive(response, &sender),
                Err(error) => Some(Part::Failed(reason(&error))),
            };
            if let Some(last) = last {
                let _ = sender.send(last); // nobody may listen any more
            }
        })?;
        let now = Instant::now();
        Ok(Self {
            parts,
            began: now,
            heard: now,
            idle_timeout: options.idle_timeout,
            answer_timeout: options.answer_timeout,
        })
    }

    /// Waits for the next part.
    pub(super) fn next(&mut self, watch: &dyn Watch) -> Result<Part, Stopped> {
        loop {
            if watch.is_cancelled() {
                return Err(Stopped::Cancelled);
            }
            let answer_left = self.answer_timeout.saturating_sub(self.began.elapsed());
            let idle_left = self.idle_timeout.saturating_sub(self.heard.elapsed());
            if answer_left.is_zero() {
                let reason = format!("no whole answer within {:?}", self.answer_timeout);
                return Err(Stopped::TimedOut(reason));
            }
            // What has come already counts, however late it is looked at.
            match self
                .parts
                .recv_timeout(POLL.min(answer_left).min(idle_left))
            {
                Ok(part) => {
                    self.heard = Instant::now();
                    return Ok(part);
                }
                Err(RecvTimeoutError::Timeout) if idle_left.is_zero() => {
                    let reason = format!("nothing was received for {:?}", self.idle_timeout);
                    return Err(Stopped::TimedOut(reason));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Part::Failed("the connection ended unexpectedly".into()));
                }
            }
        }
    }
}

/// Passes a response on; the last part is left to the caller. None if nobody listens any more.
fn receive(response: Response<Body>, sender: &SyncSender<Part>) -> Option<Part> {
    let (head, body) = response.into_parts();
    let head = Head {
        status: head.status.as_u16(),
        headers: head.headers,
    };
    sender.send(Part::Head(head)).ok()?;
    let mut reader = body.into_reader();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Some(Part::End),
            Ok(count) => sender.send(Part::Bytes(buffer[..count].to_vec())).ok()?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Some(Part::Failed(reason(&ureq::Error::from(error)))),
        }
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Resolve) => "its host was not found in time".into(),
        ureq::Error::Timeout(Timeout::Connect) => "no connection came about in time".into(),
        ureq::Error::Timeout(Timeout::Global) => "no whole answer came in time".into(),
        ureq::Error::Timeout(_) => "nothing was received in time".into(),
        ureq::Error::HostNotFound => "its host was not found".into(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "the connection was refused".into()
        }
        ureq::Error::Io(error) => format!("the connection failed: {error}"),
        error => format!("the connection failed: {error}"),
    }
}
