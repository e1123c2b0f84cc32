//! One request and what comes back, on a thread of its own, so that whoever waits hears at once that the user asked to
//! stop, even while a server is silent.
//!
//! The thread is never joined: it ends with its own time-outs, or when something arrives and nobody listens.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use kinvert_base::Progress;
use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body, Timeout};

use super::{Ask, POLL};

/// Most parts that wait to be read; then the thread waits too.
const QUEUE: usize = 8;

const READ_BYTES: usize = 64 << 10;

/// What comes back, in this order: a head, bytes, an end.
pub(crate) enum Part {
    Head(Head),
    Bytes(Vec<u8>),
    /// The body is over.
    End,
    /// The server could not be reached, or the connection broke.
    Failed(String),
}

/// The beginning of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: HeaderMap,
}

impl Head {
    /// The value of a header, if it is there and text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a header that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }
}

/// Why waiting ended without a part.
pub(super) enum Stopped {
    Cancelled,
    Silent,
}

/// A request that is under way.
pub(super) struct Exchange {
    parts: Receiver<Part>,
    idle_timeout: Duration,
}

impl Exchange {
    /// Sends a request.
    ///
    /// # Errors
    /// If there are no more threads to be had.
    pub(super) fn start(
        agent: &Agent,
        url: &str,
        ask: &Ask<'_>,
        authorization: Option<String>,
        idle_timeout: Duration,
    ) -> io::Result<Self> {
        let (sender, parts) = sync_channel(QUEUE);
        let mut request = match ask.head_only {
            true => agent.head(url),
            false => agent.get(url),
        };
        // Hashes and ranges are those of the file, not of an archive of it.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        thread::Builder::new().name("hub".into()).spawn(move || {
            let last = match request.call() {
                Ok(response) => receive(response, &sender),
                Err(error) => Some(Part::Failed(reason(&error))),
            };
            if let Some(last) = last {
                let _ = sender.send(last); // nobody may listen any more
            }
        })?;
        Ok(Self {
            parts,
            idle_timeout,
        })
    }

    /// Waits for the next part.
    pub(super) fn next(&mut self, progress: &dyn Progress) -> Result<Part, Stopped> {
        let began = Instant::now();
        loop {
            if progress.is_cancelled() {
                return Err(Stopped::Cancelled);
            }
            let left = self.idle_timeout.saturating_sub(began.elapsed());
            match self.parts.recv_timeout(POLL.min(left)) {
                Ok(part) => return Ok(part),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Stopped::Silent),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Part::Failed("the connection ended unexpectedly".into()));
                }
            }
        }
    }
}

/// Passes an answer on; the last part is left to the caller. None if nobody listens any more.
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
        ureq::Error::Timeout(Timeout::Resolve) | ureq::Error::HostNotFound => {
            "its name is not known here; there may be no network".into()
        }
        ureq::Error::Timeout(Timeout::Connect) => "no connection came about in time".into(),
        ureq::Error::Timeout(_) => "nothing was received in time".into(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "the connection was refused".into()
        }
        error => format!("the connection failed: {error}"),
    }
}
