//! Asking the hub over HTTP: redirects, the token, time-outs, another try where that may help.

mod address;
mod exchange;

use std::time::{Duration, Instant};

use kinvert_base::Progress;
use ureq::Agent;

use crate::{Error, HubOptions};
use address::{Endpoint, Target};
use exchange::{Exchange, Stopped};
pub(crate) use exchange::{Head, Part};

/// How often it is looked whether the user asked to stop.
pub(crate) const POLL: Duration = Duration::from_millis(50);

/// Longest wait between two tries of which the hub says nothing, and longest that it can ask for.
const MAX_DELAY: Duration = Duration::from_secs(60);
const MAX_ASKED_DELAY: Duration = Duration::from_secs(300);

/// Most redirects in a row.
const MAX_REDIRECTS: usize = 6;

/// Most characters that are shown of what a server says.
const SHOWN_CHARS: usize = 200;

/// What is asked for.
pub(crate) struct Ask<'a> {
    /// Path below the endpoint, with its leading slash.
    pub path: String,
    /// Whether only the head of the answer is wanted. It is then the hub's own, and not that of the server to which it
    /// redirects.
    pub head_only: bool,
    /// Bytes at the beginning that are not wanted.
    pub from: u64,
    /// The model, for messages.
    pub model: &'a str,
    /// What is asked for, for messages: the model at its revision, or a file of it.
    pub what: &'a str,
}

/// A try that failed.
pub(crate) enum Failure {
    /// Another one would fail too.
    Lasting(Box<Error>),
    /// Another one may succeed, after the wait that the server asked for if it did.
    Passing {
        error: Box<Error>,
        asked: Option<Duration>,
    },
}

impl Failure {
    pub(crate) fn passing(error: Error) -> Self {
        Self::Passing {
            error: error.into(),
            asked: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error.into())
    }
}

/// Asks one hub.
pub(crate) struct Client {
    agent: Agent,
    endpoint: Endpoint,
    options: HubOptions,
}

impl Client {
    /// A client. Nothing is asked yet.
    pub(crate) fn new(options: &HubOptions) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(&options.endpoint)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0) // beside a download, a handshake takes no time
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.idle_timeout))
            .timeout_per_write(Some(options.idle_timeout))
            .user_agent(concat!("kinvert/", env!("CARGO_PKG_VERSION")));
        let config = match endpoint.is_this_machine() {
            true => config.proxy(None), // no proxy leads back here
            false => config,
        };
        if options.token.is_some() && !endpoint.may_see_token() {
            tracing::warn!(
                endpoint = options.endpoint,
                "The token is not sent: the connection is not encrypted."
            );
        }
        Ok(Self {
            agent: config.build().new_agent(),
            endpoint,
            options: options.clone(),
        })
    }

    /// Fetches a small answer, of at most `limit` bytes, in as many tries as it takes.
    pub(crate) fn small(
        &self,
        ask: &Ask<'_>,
        limit: usize,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, Error> {
        let mut tries = Tries::new(&self.options);
        loop {
            match self.try_small(ask, limit, progress) {
                Ok(body) => return Ok(body),
                Err(failure) => tries.after(failure, progress)?,
            }
        }
    }

    /// Fetches the head of the hub's own answer, in as many tries as it takes.
    pub(crate) fn head(&self, ask: &Ask<'_>, progress: &mut dyn Progress) -> Result<Head, Error> {
        let mut tries = Tries::new(&self.options);
        loop {
            match self.ask(ask, progress) {
                Ok(answer) => return Ok(answer.head),
                Err(failure) => tries.after(failure, progress)?,
            }
        }
    }

    /// Asks once, and gives what comes as soon as its head is there. Redirects are followed.
    pub(crate) fn ask(&self, ask: &Ask<'_>, progress: &dyn Progress) -> Result<Answer, Failure> {
        let mut target = self.endpoint.target(&ask.path);
        for _ in 0..=MAX_REDIRECTS {
            let is_hub = self.endpoint.is_at(&target);
            let authorization = self.options.token.as_ref();
            let authorization = authorization.filter(|_| is_hub && self.endpoint.may_see_token());
            let had_token = authorization.is_some();
            let mut exchange = Exchange::start(
                &self.agent,
                &target.url,
                ask,
                authorization.map(|token| token.authorization()),
                self.options.idle_timeout,
            )
            .map_err(|error| self.unreachable(&target, format!("no thread to ask on: {error}")))?;
            let head = match exchange.next(progress) {
                Ok(Part::Head(head)) => head,
                Ok(Part::Failed(reason)) => {
                    return Err(Failure::passing(self.unreachable(&target, reason)));
                }
                Ok(Part::Bytes(_) | Part::End) => {
                    return Err(Failure::passing(
                        self.unreachable(&target, "no answer came"),
                    ));
                }
                Err(stopped) => return Err(self.stopped(stopped, &target)),
            };
            match head.status {
                301 | 302 | 303 | 307 | 308 => {
                    let location = head.header("location").unwrap_or_default();
                    let next = target.redirected(location)?;
                    if ask.head_only && !self.endpoint.is_at(&next) {
                        return Ok(Answer {
                            head,
                            exchange,
                            target,
                        });
                    }
                    target = next;
                }
                200..=299 => {
                    return Ok(Answer {
                        head,
                        exchange,
                        target,
                    });
                }
                _ => return Err(self.refused(&head, &target, ask, had_token)),
            }
        }
        Err(Failure::from(Error::Redirect {
            host: self.endpoint.host().into(),
            location: target.shown(),
            reason: "there is no end to the redirects",
        }))
    }

    /// Waits for the next part of an answer.
    pub(crate) fn next(
        &self,
        answer: &mut Answer,
        progress: &dyn Progress,
    ) -> Result<Part, Failure> {
        match answer.exchange.next(progress) {
            Ok(Part::Failed(reason)) => {
                Err(Failure::passing(self.unreachable(&answer.target, reason)))
            }
            Ok(part) => Ok(part),
            Err(stopped) => Err(self.stopped(stopped, &answer.target)),
        }
    }

    fn try_small(
        &self,
        ask: &Ask<'_>,
        limit: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Failure> {
        let mut answer = self.ask(ask, progress)?;
        let mut body = Vec::new();
        loop {
            match self.next(&mut answer, progress)? {
                Part::Bytes(bytes) if body.len() + bytes.len() > limit => {
                    return Err(Failure::from(Error::Listing {
                        name: ask.model.into(),
                        reason: format!("it has more than {limit} bytes"),
                    }));
                }
                Part::Bytes(bytes) => body.extend_from_slice(&bytes),
                _ => return Ok(body),
            }
        }
    }

    /// What a status means.
    fn refused(&self, head: &Head, target: &Target, ask: &Ask<'_>, had_token: bool) -> Failure {
        let (host, status) = (target.host.clone(), head.status);
        let message = self.tidy(head.header("x-error-message").unwrap_or_default());
        let is_hub = self.endpoint.is_at(target);
        let error = match status {
            401 | 403 if is_hub => Error::Refused {
                host,
                name: ask.model.into(),
                status,
                message,
                had_token,
            },
            404 if is_hub => Error::NotFound {
                host,
                what: ask.what.into(),
                message,
            },
            _ => Error::Status {
                host,
                status,
                message,
            },
        };
        // An address that the hub redirects to is good for a while only: another try gets a new one.
        let passes = matches!(status, 408 | 425 | 429 | 500..=599) || !is_hub;
        if !passes {
            return Failure::from(error);
        }
        let seconds = head
            .header("retry-after")
            .and_then(|text| text.trim().parse().ok());
        Failure::Passing {
            error: error.into(),
            asked: seconds.map(Duration::from_secs),
        }
    }

    fn stopped(&self, stopped: Stopped, target: &Target) -> Failure {
        match stopped {
            Stopped::Cancelled => Failure::from(Error::Cancelled),
            Stopped::Silent => {
                let reason = format!("nothing was received for {:?}", self.options.idle_timeout);
                Failure::passing(self.unreachable(target, reason))
            }
        }
    }

    pub(crate) fn unreachable(&self, target: &Target, reason: impl Into<String>) -> Error {
        Error::Unreachable {
            host: target.host.clone(),
            reason: reason.into(),
        }
    }

    /// What a server says, fit to be shown.
    fn tidy(&self, message: &str) -> String {
        let token = self
            .options
            .token
            .as_ref()
            .map(|token| token.authorization());
        let secret = token
            .as_deref()
            .and_then(|token| token.strip_prefix("Bearer "));
        if secret.is_some_and(|secret| message.contains(secret)) {
            return String::new();
        }
        let visible = message.chars().filter(|c| !c.is_control());
        visible.take(SHOWN_CHARS).collect()
    }
}

/// An answer whose head has come.
pub(crate) struct Answer {
    pub(crate) head: Head,
    exchange: Exchange,
    pub(crate) target: Target,
}

/// Counts tries, and waits between them.
pub(crate) struct Tries {
    failed: u32,
    attempts: u32,
    first_delay: Duration,
}

impl Tries {
    pub(crate) fn new(options: &HubOptions) -> Self {
        Self {
            failed: 0,
            attempts: options.attempts.max(1),
            first_delay: options.first_delay,
        }
    }

    /// The last try brought something, so the next ones are the first again.
    pub(crate) fn advanced(&mut self) {
        self.failed = 0;
    }

    /// Waits until another try makes sense, or gives the error if none does.
    pub(crate) fn after(
        &mut self,
        failure: Failure,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let (error, asked) = match failure {
            Failure::Lasting(error) => return Err(*error),
            Failure::Passing { error, asked } => (error, asked),
        };
        self.failed += 1;
        if self.failed >= self.attempts {
            return Err(*error);
        }
        let doubled = 2_u32.saturating_pow(self.failed - 1);
        let delay = match asked {
            Some(asked) => asked.min(MAX_ASKED_DELAY),
            None => self.first_delay.saturating_mul(doubled).min(MAX_DELAY),
        };
        progress.note(&format!(
            "{error}; trying again in {:.1} s (try {} of {})",
            delay.as_secs_f64(),
            self.failed + 1,
            self.attempts
        ));
        wait(delay, progress)
    }
}

/// Waits, unless the user asks to stop.
pub(crate) fn wait(duration: Duration, progress: &dyn Progress) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        if progress.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let left = duration.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(POLL));
    }
}
