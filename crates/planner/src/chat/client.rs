//! Asks an endpoint, and asks again where that may help.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;

use super::endpoint::Endpoint;
use super::events::Events;
use super::exchange::{self, Exchange, Head, Part, Stopped};
use super::retry::{self, Clock, SystemClock};
use super::wire::{self, AnswerFault, Complaint, Dialect, Draft, MAX_JSON, SHOWN_CHARS};
use super::{ChatAnswer, ChatModel, ChatRequest, Watch};
use crate::Error;

/// Most bytes that are read of a refusal.
const MAX_COMPLAINT: usize = 16 << 10;

/// How a client asks.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOptions {
    /// Most tries for an answer; none counts as one. 5 unless changed.
    pub attempts: u32,
    /// Longest time until a connection is made. 10 s unless changed.
    pub connect_timeout: Duration,
    /// Longest time in which nothing is received. Models that think in silence take their time: 180 s unless changed.
    pub idle_timeout: Duration,
    /// Longest time of a try. 900 s unless changed.
    pub answer_timeout: Duration,
    /// Longest wait after the first failed try; it doubles with every further one, up to a minute. 1 s unless changed.
    /// An endpoint that says how long to wait is obeyed instead, up to five minutes.
    pub first_delay: Duration,
    /// What tokens cost. None unless given: there is no built-in list, which would be wrong by the time it is read.
    /// Where the endpoint says what it charged, that counts.
    pub prices: Option<Prices>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            attempts: 5,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(180),
            answer_timeout: Duration::from_secs(900),
            first_delay: Duration::from_secs(1),
            prices: None,
        }
    }
}

/// What a model's tokens cost, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Of a million tokens read.
    pub input_per_million: f64,
    /// Of a million tokens written.
    pub output_per_million: f64,
}

impl Prices {
    /// What an answer costs, in US dollars.
    pub fn cost(&self, input_tokens: u64, output_tokens: u64) -> f64 {
        let cost = input_tokens as f64 * self.input_per_million
            + output_tokens as f64 * self.output_per_million;
        cost / 1e6
    }
}

/// Asks a model at an [`Endpoint`].
///
/// Answers are streamed, so that progress is seen and a broken connection is noticed; an endpoint that answers at once
/// is understood too. [`Watch::received`] counts what the model thinks along with what it says. Several threads may ask
/// through one client at the same time; nothing is shared between requests but what it has learned of the fields that
/// the endpoint takes.
///
/// Busy and broken endpoints, lost connections and answers that were cut off are tried again, up to
/// [`ClientOptions::attempts`] times. The text of an answer is at most 4 MiB.
pub struct Client {
    endpoint: Endpoint,
    options: ClientOptions,
    agent: Agent,
    clock: Box<dyn Clock>,
    dialect: Mutex<Dialect>,
}

impl Client {
    /// A client of this endpoint. Nothing is asked yet.
    pub fn new(endpoint: Endpoint, options: ClientOptions) -> Self {
        Self {
            agent: exchange::agent(&endpoint, &options),
            dialect: Mutex::new(Dialect::new(endpoint.bound_field())),
            clock: Box::new(SystemClock),
            endpoint,
            options,
        }
    }

    /// The same client with another sense of time between tries.
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        Self {
            clock: Box::new(clock),
            ..self
        }
    }

    /// Where it asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks once.
    fn ask(
        &self,
        request: &ChatRequest,
        dialect: Dialect,
        watch: &dyn Watch,
    ) -> Result<ChatAnswer, Failure> {
        let body = wire::request_body(self.endpoint.model(), request, dialect)
            .map_err(|error| self.unreachable(format!("the request cannot be written: {error}")))?;
        let mut exchange = Exchange::start(&self.agent, &self.endpoint, body, &self.options)
            .map_err(|error| self.unreachable(format!("no thread to ask on: {error}")))?;
        let head = match self.next(&mut exchange, watch)? {
            Part::Head(head) => head,
            Part::Failed(reason) => return Err(Failure::passing(self.unreachable(reason))),
            Part::Bytes(_) | Part::End => {
                return Err(Failure::passing(self.unreachable("no answer came")));
            }
        };
        match head.status {
            200..=299 => {}
            300..=399 => {
                let location = head.header("location").unwrap_or("nowhere");
                return Err(Failure::from(Error::Redirect {
                    endpoint: self.endpoint.to_string(),
                    status: head.status,
                    location: self.endpoint.tidy(location, SHOWN_CHARS),
                }));
            }
            _ => return Err(self.refused(&head, &mut exchange, watch)),
        }
        let content_type = head.header("content-type").unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let draft = match media_type.to_ascii_lowercase().as_str() {
            "text/event-stream" => self.read_stream(&mut exchange, watch)?,
            "application/json" => self.read_whole(&mut exchange, watch)?,
            _ => {
                let found = self.endpoint.tidy(content_type, SHOWN_CHARS);
                return Err(self.unusable(AnswerFault::ContentType { found }));
            }
        };
        draft
            .finish(request, self.options.prices)
            .map_err(|fault| self.unusable(fault))
    }

    fn read_stream(
        &self,
        exchange: &mut Exchange,
        watch: &dyn Watch,
    ) -> Result<Draft<'_>, Failure> {
        let mut draft = Draft::new(&self.endpoint);
        let mut events = Events::default();
        while !draft.is_done() {
            match self.next(exchange, watch) {
                Ok(Part::Bytes(bytes)) => {
                    let before = draft.chars();
                    let pushed = events.push(&bytes, |data| draft.take_event(data));
                    if draft.chars() > before {
                        watch.received(draft.chars());
                    }
                    pushed.map_err(|fault| self.unusable(fault))?;
                }
                Ok(Part::End | Part::Head(_)) => {
                    events
                        .end(|data| draft.take_event(data))
                        .map_err(|fault| self.unusable(fault))?;
                    break;
                }
                // All of the text is there: what breaks now costs no more than the count of the tokens.
                Ok(Part::Failed(_)) | Err(Failure::Passing { .. }) if draft.is_finished() => break,
                Ok(Part::Failed(reason)) => return Err(Failure::passing(self.unreachable(reason))),
                Err(failure) => return Err(failure),
            }
        }
        Ok(draft)
    }

    fn read_whole(&self, exchange: &mut Exchange, watch: &dyn Watch) -> Result<Draft<'_>, Failure> {
        let mut json = Vec::new();
        loop {
            match self.next(exchange, watch)? {
                Part::Bytes(bytes) if json.len() + bytes.len() > MAX_JSON => {
                    return Err(self.unusable(AnswerFault::TooLong {
                        limit: MAX_JSON,
                        of: "of JSON",
                    }));
                }
                Part::Bytes(bytes) => json.extend_from_slice(&bytes),
                Part::End | Part::Head(_) => break,
                Part::Failed(reason) => return Err(Failure::passing(self.unreachable(reason))),
            }
        }
        let mut draft = Draft::new(&self.endpoint);
        draft
            .take_whole(&json)
            .map_err(|fault| self.unusable(fault))?;
        watch.received(draft.chars());
        Ok(draft)
    }

    /// Reads why a request was refused.
    fn refused(&self, head: &Head, exchange: &mut Exchange, watch: &dyn Watch) -> Failure {
        let mut body = Vec::new();
        while body.len() < MAX_COMPLAINT {
            match self.next(exchange, watch) {
                Ok(Part::Bytes(bytes)) => body.extend_from_slice(&bytes),
                Err(failure @ Failure::Lasting(Error::Cancelled)) => return failure,
                _ => break, // that it was refused is known, why may remain unknown
            }
        }
        body.truncate(MAX_COMPLAINT);
        let complaint = Complaint::read(&body);
        let error = Error::Status {
            endpoint: self.endpoint.to_string(),
            status: head.status,
            message: self.endpoint.tidy(&complaint.message, SHOWN_CHARS),
            advice: self.advice(head.status, &complaint),
        };
        match head.status {
            400 | 422 => Failure::Complaint {
                error,
                complaint: Box::new(complaint),
            },
            status if retry::passes(status) && !complaint.is_of_quota() => Failure::Passing {
                error,
                asked: retry::asked_delay(head, self.clock.now()),
            },
            _ => Failure::Lasting(error),
        }
    }

    fn advice(&self, status: u16, complaint: &Complaint) -> Option<String> {
        let variable = self.endpoint.key_variable();
        let advice = match status {
            402 => format!("the account of the key in {variable} has no credit left"),
            _ if complaint.is_of_quota() => {
                format!("the account of the key in {variable} has no credit left")
            }
            401 | 403 if self.endpoint.has_key() => {
                format!("check the key in {variable}, and that it may use this model")
            }
            401 | 403 => format!("the endpoint wants a key: set {variable}"),
            404 => format!(
                "check the model's name, `{}`, and the base URL, {}",
                self.endpoint.model(),
                self.endpoint.base_url()
            ),
            413 => TOO_LONG_ADVICE.into(),
            400 | 422 if complaint.is_of_context() => TOO_LONG_ADVICE.into(),
            429 => "the endpoint limits how much it is asked: ask less at once, or later".into(),
            500..=599 => "the endpoint is busy or broken: try again later".into(),
            _ => return None,
        };
        Some(advice)
    }

    fn next(&self, exchange: &mut Exchange, watch: &dyn Watch) -> Result<Part, Failure> {
        exchange.next(watch).map_err(|stopped| match stopped {
            Stopped::Cancelled => Failure::Lasting(Error::Cancelled),
            Stopped::TimedOut(reason) => Failure::passing(self.unreachable(reason)),
        })
    }

    fn unreachable(&self, reason: impl Into<String>) -> Error {
        Error::Connection {
            endpoint: self.endpoint.to_string(),
            reason: reason.into(),
        }
    }

    fn unusable(&self, fault: AnswerFault) -> Failure {
        let passes = fault.passes();
        let error = Error::Answer {
            endpoint: self.endpoint.to_string(),
            fault,
        };
        if passes {
            Failure::passing(error)
        } else {
            Failure::Lasting(error)
        }
    }
}

const TOO_LONG_ADVICE: &str = "the request is longer than the model can read: give it less of the paper with \
                               --context, or ask a model that reads more";

impl ChatModel for Client {
    fn name(&self) -> &str {
        self.endpoint.name()
    }

    fn identity(&self) -> String {
        format!("{} {}", self.endpoint.base_url(), self.endpoint.model())
    }

    fn complete(&self, request: &ChatRequest, watch: &dyn Watch) -> Result<ChatAnswer, Error> {
        let attempts = self.options.attempts.max(1);
        let mut attempt = 1;
        let mut dialect = *self.dialect.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (error, asked) = match self.ask(request, dialect, watch) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Complaint { error, complaint }) => {
                    let Some((adapted, note)) = dialect.adapted(request, &complaint) else {
                        return Err(error);
                    };
                    watch.note(&format!("{} {note}", self.endpoint));
                    // Each field is given up once, so that this comes to an end.
                    dialect = adapted;
                    *self.dialect.lock().unwrap_or_else(PoisonError::into_inner) = adapted;
                    continue;
                }
                Err(Failure::Passing { error, asked }) => (error, asked),
            };
            if attempt == attempts {
                return Err(Error::GaveUp {
                    endpoint: self.endpoint.to_string(),
                    attempts,
                    source: Box::new(error),
                });
            }
            let clock = self.clock.as_ref();
            let delay = retry::delay(attempt, self.options.first_delay, asked, clock);
            attempt += 1;
            watch.note(&format!(
                "{error}; trying again in {:.1} s (try {attempt} of {attempts})",
                delay.as_secs_f64()
            ));
            clock.wait(delay, watch)?;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Why a try failed, and what to do.
enum Failure {
    /// Nothing.
    Lasting(Error),
    /// Try again, after the wait that the endpoint asked for if it did.
    Passing {
        error: Error,
        asked: Option<Duration>,
    },
    /// Ask without what the endpoint complains of, if it is something that can be left out.
    Complaint {
        error: Error,
        complaint: Box<Complaint>,
    },
}

impl Failure {
    fn passing(error: Error) -> Self {
        Self::Passing { error, asked: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}
