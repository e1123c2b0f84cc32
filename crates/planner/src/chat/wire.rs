//! What is sent and received: the JSON of OpenAI's chat completions
//! (<https://platform.openai.com/docs/api-reference/chat>), read as leniently as endpoints write it.
//!
//! Of an answer only the first choice counts. What models think (`reasoning_content`, which is DeepSeek's field, or
//! `reasoning`, which is OpenRouter's) is no part of it, and is only counted.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Prices;
use super::endpoint::{BoundField, Endpoint};
use super::events::{MAX_LINE, TooLong};
use super::{ChatAnswer, ChatRequest, Role, Usage};

/// Most bytes of an answer's text.
pub(super) const MAX_TEXT: usize = 4 << 20;

/// Most bytes of an answer that comes as one piece of JSON: its text, escapes, and what the model thought.
pub(super) const MAX_JSON: usize = 2 * MAX_TEXT;

/// Most characters of what an endpoint said that are shown.
pub(super) const SHOWN_CHARS: usize = 300;

/// Characters that make a token, roughly and for English, where the endpoint does not count them.
const CHARS_PER_TOKEN: u64 = 4;

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerFault {
    /// It ended in the middle.
    #[error("the answer was cut off before its end")]
    CutOff,
    /// It is something else, such as a page for people.
    #[error("the answer is of the type `{found}`, expected text/event-stream or application/json")]
    ContentType {
        /// What it calls itself.
        found: String,
    },
    /// It is not what the protocol says.
    #[error("the answer is no chat completion: {reason}")]
    Malformed {
        /// Where it differs.
        reason: String,
    },
    /// It holds no choice.
    #[error("the answer has no choices, expected one")]
    NoChoices,
    /// It holds a choice without text.
    #[error("the answer is empty, expected text")]
    Empty,
    /// It reached the bound on its tokens.
    #[error(
        "the answer is not whole: it reached its max tokens ({})",
        bound.map_or("the model's own".into(), |bound| bound.to_string())
    )]
    Length {
        /// The bound that was asked for.
        bound: Option<u32>,
    },
    /// A filter of the endpoint stopped it.
    #[error("the endpoint's content filter stopped the answer")]
    Filtered,
    /// The model does not want to answer.
    #[error("the model refused to answer: {reason}")]
    Refused {
        /// What it said instead.
        reason: String,
    },
    /// It is larger than anything that was asked for.
    #[error("the answer exceeds {limit} bytes {of}, the rest was not read")]
    TooLong {
        /// The bound.
        limit: usize,
        /// Of what.
        of: &'static str,
    },
    /// The endpoint failed while it answered.
    #[error("the endpoint failed while it answered: {message}")]
    Reported {
        /// What it said.
        message: String,
        /// Whether it may do better another time.
        passes: bool,
    },
}

impl AnswerFault {
    /// What the user can do about it, if anything is known.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ContentType { .. } | Self::Malformed { .. } | Self::NoChoices => {
                "check that the base URL leads to chat completions as OpenAI speaks them"
            }
            Self::Empty | Self::Length { .. } => {
                "let the answer have more tokens; what a model thinks counts as well"
            }
            Self::Filtered | Self::Refused { .. } => "ask another model",
            Self::TooLong { .. } => "bound the answer's tokens",
            Self::CutOff | Self::Reported { .. } => "try again later, or ask another endpoint",
        };
        Some(hint.into())
    }

    /// Whether the same request may be answered later.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::CutOff | Self::Reported { passes: true, .. })
    }
}

impl From<TooLong> for AnswerFault {
    fn from(_: TooLong) -> Self {
        Self::TooLong {
            limit: MAX_LINE,
            of: "in one event",
        }
    }
}

/// What an endpoint takes of the optional fields of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    bound_field: BoundField,
    /// The other field for the bound was refused, so that there is none left to try.
    swapped: bool,
    temperature: bool,
    stream_options: bool,
}

impl Dialect {
    /// All of them, until the endpoint complains.
    pub(super) fn new(bound_field: BoundField) -> Self {
        Self {
            bound_field,
            swapped: false,
            temperature: true,
            stream_options: true,
        }
    }

    /// The dialect without what the endpoint complains of, and what to tell the user; none if its complaint is of
    /// something else.
    pub(super) fn adapted(
        self,
        request: &ChatRequest,
        complaint: &Complaint,
    ) -> Option<(Self, String)> {
        let sends_bound = request.max_output_tokens.is_some() && !self.swapped;
        if self.stream_options && complaint.is_unsupported("stream_options") {
            let dialect = Self {
                stream_options: false,
                ..self
            };
            let note = "takes no `stream_options`; asking without, its tokens may be estimated";
            Some((dialect, note.into()))
        } else if self.temperature
            && request.temperature.is_some()
            && complaint.is_unsupported("temperature")
        {
            let dialect = Self {
                temperature: false,
                ..self
            };
            let note = "does not take this `temperature`; asking without, at the model's own";
            Some((dialect, note.into()))
        } else if sends_bound && complaint.is_unsupported(self.bound_field.name()) {
            let bound_field = self.bound_field.other();
            let (refused, other) = (self.bound_field.name(), bound_field.name());
            let note = format!("takes no `{refused}`; asking with `{other}`");
            let dialect = Self {
                bound_field,
                swapped: true,
                ..self
            };
            Some((dialect, note))
        } else {
            None
        }
    }
}

impl BoundField {
    fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}

#[derive(Serialize)]
struct RequestBody<'a> {
    model: &'a str,
    messages: Vec<RequestMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct RequestMessage<'a> {
    role: &'static str,
    content: &'a str,
}

/// The body of a request.
pub(super) fn request_body(
    model: &str,
    request: &ChatRequest,
    dialect: Dialect,
) -> serde_json::Result<String> {
    let system = (!request.system.is_empty()).then_some(RequestMessage {
        role: "system",
        content: &request.system,
    });
    let turns = request.turns.iter().map(|turn| RequestMessage {
        role: match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        content: &turn.text,
    });
    let bound = |field| {
        request
            .max_output_tokens
            .filter(|_| dialect.bound_field == field)
    };
    serde_json::to_string(&RequestBody {
        model,
        messages: system.into_iter().chain(turns).collect(),
        stream: true,
        stream_options: dialect.stream_options.then_some(StreamOptions {
            include_usage: true,
        }),
        temperature: request.temperature.filter(|_| dialect.temperature),
        max_tokens: bound(BoundField::MaxTokens),
        max_completion_tokens: bound(BoundField::MaxCompletionTokens),
    })
}

/// What an endpoint says of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    /// `code` and `type`, as far as they are words.
    words: Vec<String>,
    /// `code`, if it is an HTTP status.
    status: Option<u16>,
    /// The parameter that it is about.
    param: Option<String>,
}

impl Complaint {
    /// Reads the body of a refusal, whatever it is.
    pub(super) fn read(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(Value::Array(list)) => Self::of(list.first().unwrap_or(&Value::Null)), // Google's
            Ok(value) => Self::of(&value),
            Err(_) => {
                let text = String::from_utf8_lossy(bytes);
                let text = text.trim();
                let message = match text.chars().next() {
                    None => "without a reason",
                    Some('<') => "a page for people, expected JSON",
                    Some(_) => text,
                };
                Self {
                    message: message.into(),
                    ..Self::default()
                }
            }
        }
    }

    fn of(value: &Value) -> Self {
        let error = value.get("error").unwrap_or(value);
        // `detail` is what servers built on FastAPI say, such as vLLM.
        let message = [error.get("message"), value.get("detail"), Some(error)];
        let message = message.into_iter().flatten().find(|value| !value.is_null());
        let word = |name| error.get(name).and_then(Value::as_str).map(str::to_string);
        let code = error.get("code").and_then(Value::as_u64);
        Self {
            message: match message {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => "without a reason".into(),
            },
            words: [word("code"), word("type")].into_iter().flatten().collect(),
            status: code
                .and_then(|code| u16::try_from(code).ok())
                .filter(|code| (400..600).contains(code)),
            param: word("param"),
        }
    }

    /// Whether the account has no credit left, which no waiting mends.
    pub(super) fn is_of_quota(&self) -> bool {
        self.says("insufficient_quota")
    }

    /// Whether the conversation is longer than the model can read.
    pub(super) fn is_of_context(&self) -> bool {
        let message = self.message.to_lowercase();
        let phrases = [
            "context length",
            "context window",
            "context size",
            "maximum context",
            "prompt is too long",
            "too many tokens",
        ];
        self.says("context_length_exceeded") || phrases.iter().any(|said| message.contains(said))
    }

    fn says(&self, word: &str) -> bool {
        self.words.iter().any(|said| said == word) || self.message.contains(word)
    }

    /// Whether the endpoint does not take this parameter, or not with our value.
    fn is_unsupported(&self, param: &str) -> bool {
        let named = match &self.param {
            Some(named) => named.split('.').next() == Some(param),
            None => self
                .message
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == param),
        };
        let message = self.message.to_lowercase();
        let phrases = [
            "unsupported",
            "not support", // `is not supported`, `does not support`
            "not permitted",
            "not allowed",
            "unrecognized",
            "unknown",
            "unexpected",
            "deprecated",
        ];
        let unsupported = |text: &str| phrases.iter().any(|said| text.contains(said));
        named && (unsupported(&message) || self.words.iter().any(|word| unsupported(word)))
    }
}

// Everything is optional: endpoints leave out what they have not got, or write `null`.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    /// In an event of a stream.
    delta: Option<Message>,
    /// In an answer that comes at once.
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
    reasoning_content: Option<Value>,
    reasoning: Option<Value>,
    refusal: Option<String>,
}

/// An answer, as far as it came.
pub(super) struct Draft<'a> {
    endpoint: &'a Endpoint,
    text: String,
    text_chars: usize,
    reasoning_chars: usize,
    refusal: String,
    has_choice: bool,
    finish_reason: Option<String>,
    usage: Option<Value>,
    /// The endpoint said that nothing follows.
    done: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(endpoint: &'a Endpoint) -> Self {
        Self {
            endpoint,
            text: String::new(),
            text_chars: 0,
            reasoning_chars: 0,
            refusal: String::new(),
            has_choice: false,
            finish_reason: None,
            usage: None,
            done: false,
        }
    }

    /// Characters that came, those of the model's thoughts among them.
    pub(super) fn chars(&self) -> usize {
        self.text_chars + self.reasoning_chars
    }

    /// Whether nothing follows.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the text is whole. How many tokens it took may still follow.
    pub(super) fn is_finished(&self) -> bool {
        self.done || self.finish_reason.is_some()
    }

    /// Takes the data of an event.
    pub(super) fn take_event(&mut self, data: &[u8]) -> Result<(), AnswerFault> {
        match data.trim_ascii() {
            b"" => Ok(()),
            _ if self.done => Ok(()),
            b"[DONE]" => {
                self.done = true;
                Ok(())
            }
            data => self.take(data),
        }
    }

    /// Takes an answer that came at once.
    pub(super) fn take_whole(&mut self, json: &[u8]) -> Result<(), AnswerFault> {
        self.take(json)?;
        self.done = true;
        Ok(())
    }

    fn take(&mut self, json: &[u8]) -> Result<(), AnswerFault> {
        let completion: Completion = serde_json::from_slice(json).map_err(|error| {
            if error.is_eof() {
                return AnswerFault::CutOff;
            }
            let reason = self.endpoint.tidy(&error.to_string(), SHOWN_CHARS);
            AnswerFault::Malformed { reason }
        })?;
        if let Some(error) = completion.error {
            let complaint = Complaint::of(&error);
            return Err(AnswerFault::Reported {
                message: self.endpoint.tidy(&complaint.message, SHOWN_CHARS),
                // It took the request, so that what failed is its own, unless it says otherwise.
                passes: !complaint.is_of_quota()
                    && complaint.status.is_none_or(super::retry::passes),
            });
        }
        if completion.usage.is_some() {
            self.usage = completion.usage;
        }
        let choices = completion.choices.unwrap_or_default();
        let first = |choice: &Choice| choice.index.unwrap_or(0) == 0;
        for choice in choices.into_iter().filter(first).take(1) {
            self.has_choice = true;
            self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
            if let Some(message) = choice.delta.or(choice.message) {
                self.take_message(&message)?;
            }
        }
        Ok(())
    }

    fn take_message(&mut self, message: &Message) -> Result<(), AnswerFault> {
        for text in texts(message.content.as_ref()) {
            append(&mut self.text, text)?;
            self.text_chars += text.chars().count();
        }
        append(
            &mut self.refusal,
            message.refusal.as_deref().unwrap_or_default(),
        )?;
        let thoughts = message.reasoning_content.as_ref();
        for text in texts(thoughts.or(message.reasoning.as_ref())) {
            self.reasoning_chars += text.chars().count();
        }
        Ok(())
    }

    /// The answer, once nothing follows.
    pub(super) fn finish(
        self,
        request: &ChatRequest,
        prices: Option<Prices>,
    ) -> Result<ChatAnswer, AnswerFault> {
        if !self.is_finished() {
            return Err(AnswerFault::CutOff);
        }
        if !self.refusal.trim().is_empty() {
            let reason = self.endpoint.tidy(&self.refusal, SHOWN_CHARS);
            return Err(AnswerFault::Refused { reason });
        }
        match self.finish_reason.as_deref() {
            Some("content_filter") => return Err(AnswerFault::Filtered),
            Some("length") => {
                let bound = request.max_output_tokens;
                return Err(AnswerFault::Length { bound });
            }
            Some("error") => return Err(AnswerFault::CutOff), // OpenRouter's, when its provider broke off
            _ if !self.has_choice => return Err(AnswerFault::NoChoices),
            _ if self.text.trim().is_empty() => return Err(AnswerFault::Empty),
            _ => {}
        }
        let usage = self.usage(request, prices);
        Ok(ChatAnswer {
            text: self.text,
            usage,
        })
    }

    fn usage(&self, request: &ChatRequest, prices: Option<Prices>) -> Usage {
        let said = |name| self.usage.as_ref()?.get(name)?.as_u64();
        let (input, output) = (said("prompt_tokens"), said("completion_tokens"));
        // Some leave what the model thought out of `completion_tokens`, but not out of the total.
        let output = output.map(|output| {
            let rest = said("total_tokens").zip(input);
            output.max(rest.map_or(0, |(total, input)| total.saturating_sub(input)))
        });
        let asked = request.turns.iter().map(|turn| turn.text.chars().count());
        let asked = request.system.chars().count() + asked.sum::<usize>();
        let estimate = |chars: usize| (chars as u64).div_ceil(CHARS_PER_TOKEN);
        let input_tokens = input.unwrap_or_else(|| estimate(asked));
        let output_tokens = output.unwrap_or_else(|| estimate(self.chars()));
        let charged = self
            .usage
            .as_ref()
            .and_then(|usage| usage.get("cost")?.as_f64())
            .filter(|cost| cost.is_finite() && *cost >= 0.0);
        Usage {
            answers: 1,
            from_cache: 0,
            input_tokens,
            output_tokens,
            cost_usd: charged.or(prices.map(|prices| prices.cost(input_tokens, output_tokens))),
            estimated: u64::from(input.is_none() || output.is_none()),
        }
    }
}

/// The pieces of text of a field: itself, or, where it is a list of parts, those of them that are text.
fn texts(field: Option<&Value>) -> impl Iterator<Item = &str> {
    let (whole, parts) = match field {
        Some(Value::String(text)) => (Some(text.as_str()), [].as_slice()),
        Some(Value::Array(parts)) => (None, parts.as_slice()),
        _ => (None, [].as_slice()),
    };
    let parts = parts.iter().filter_map(|part| part.get("text")?.as_str());
    whole.into_iter().chain(parts)
}

fn append(text: &mut String, piece: &str) -> Result<(), AnswerFault> {
    if text.len() + piece.len() > MAX_TEXT {
        return Err(AnswerFault::TooLong {
            limit: MAX_TEXT,
            of: "of text",
        });
    }
    text.push_str(piece);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::Turn;

    fn endpoint() -> Endpoint {
        Endpoint::resolve("ollama/llama3", None, &|_| None).unwrap()
    }

    fn request() -> ChatRequest {
        ChatRequest {
            system: "Be brief.".into(),
            turns: vec![Turn {
                role: Role::User,
                text: "Hello".into(),
            }],
            temperature: Some(0.7),
            max_output_tokens: Some(100),
        }
    }

    fn complaint(error: Value) -> Complaint {
        Complaint::read(json!({ "error": error }).to_string().as_bytes())
    }

    #[test]
    fn a_request_is_written_in_the_dialect_of_its_endpoint() {
        let dialect = Dialect::new(BoundField::MaxCompletionTokens);
        let body = request_body("m", &request(), dialect).unwrap();
        assert_eq!(
            body,
            r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.7,"max_completion_tokens":100}"#
        );
        let plain = ChatRequest {
            system: String::new(),
            temperature: None,
            max_output_tokens: None,
            ..request()
        };
        let quiet = Dialect {
            stream_options: false,
            ..dialect
        };
        assert_eq!(
            request_body("m", &plain, quiet).unwrap(),
            r#"{"model":"m","messages":[{"role":"user","content":"Hello"}],"stream":true}"#
        );
    }

    #[test]
    fn what_an_endpoint_does_not_take_is_known_from_its_complaint() {
        let openai = complaint(json!({
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
        }));
        let (dialect, note) = Dialect::new(BoundField::MaxTokens)
            .adapted(&request(), &openai)
            .unwrap();
        assert!(note.contains("`max_completion_tokens`"), "{note}");
        assert_eq!(dialect.bound_field, BoundField::MaxCompletionTokens);
        // Neither a second time, nor where the field was not sent.
        assert_eq!(dialect.adapted(&request(), &openai), None);
        let new = Dialect::new(BoundField::MaxCompletionTokens);
        assert_eq!(new.adapted(&request(), &openai), None);

        let temperature = complaint(json!({
            "message": "Unsupported value: 'temperature' does not support 0.7 with this model.",
            "param": "temperature", "code": "unsupported_value",
        }));
        let (dialect, _) = new.adapted(&request(), &temperature).unwrap();
        assert!(!dialect.temperature && dialect.stream_options);
        assert_eq!(dialect.adapted(&request(), &temperature), None);

        let fastapi = br#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
        let (dialect, _) = new.adapted(&request(), &Complaint::read(fastapi)).unwrap();
        assert!(!dialect.stream_options && dialect.temperature);

        let other = [
            json!({ "message": "max_completion_tokens is too large: 100", "param": "max_completion_tokens" }),
            json!({ "message": "'tools' is not supported", "param": "tools" }),
            json!({ "message": "this model does not support images" }),
        ];
        for other in other {
            assert_eq!(new.adapted(&request(), &complaint(other)), None);
        }
    }

    #[test]
    fn complaints_are_read_in_every_form() {
        let message = |text: &str| Complaint::read(text.as_bytes()).message;
        assert_eq!(message(r#"{"error":{"message":"no"}}"#), "no");
        assert_eq!(message(r#"[{"error":{"message":"no","code":429}}]"#), "no");
        assert_eq!(message(r#"{"error":"no"}"#), "no");
        assert_eq!(message(r#"{"message":"no"}"#), "no");
        assert_eq!(message(r#"{"detail":"no"}"#), "no");
        assert_eq!(message("no"), "no");
        assert_eq!(
            message("<html>no</html>"),
            "a page for people, expected JSON"
        );
        assert_eq!(message(" "), "without a reason");
        assert_eq!(message("null"), "without a reason");
        assert_eq!(message("[]"), "without a reason");
        assert!(
            complaint(json!({ "message": "x", "code": "context_length_exceeded" })).is_of_context()
        );
        assert!(complaint(json!({ "message": "x", "type": "insufficient_quota" })).is_of_quota());
    }

    #[test]
    fn thoughts_are_counted_but_not_kept_and_parts_are_joined() {
        let endpoint = endpoint();
        let mut draft = Draft::new(&endpoint);
        let events = [
            json!({ "choices": [{ "delta": { "role": "assistant", "content": null, "reasoning_content": "Hm." } }] }),
            json!({ "choices": [{ "delta": { "content": [
                { "type": "thinking", "thinking": [] }, { "type": "text", "text": "He" },
            ] } }] }),
            json!({ "choices": [{ "index": 1, "delta": { "content": "other choice" } }] }),
            json!({ "choices": [{ "index": 0, "delta": { "content": "y" }, "finish_reason": "stop" }], "error": null }),
            json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17, "cost": 0.5 } }),
        ];
        for event in events {
            draft.take_event(event.to_string().as_bytes()).unwrap();
        }
        assert_eq!(draft.chars(), 6);
        let prices = Prices {
            input_per_million: 1e6,
            output_per_million: 0.0,
        };
        let answer = draft.finish(&request(), Some(prices)).unwrap();
        assert_eq!(answer.text, "Hey");
        let expected = Usage {
            answers: 1,
            from_cache: 0,
            input_tokens: 5,
            output_tokens: 12, // ten of them thoughts, by the total
            cost_usd: Some(0.5),
            estimated: 0,
        };
        assert_eq!(answer.usage, expected);
    }

    #[test]
    fn tokens_that_nobody_counted_are_estimated_and_priced() {
        let endpoint = endpoint();
        let mut draft = Draft::new(&endpoint);
        let whole = json!({ "choices": [{ "message": { "content": "äöüäöüäöü" } }] });
        draft.take_whole(whole.to_string().as_bytes()).unwrap();
        let prices = Prices {
            input_per_million: 2.0,
            output_per_million: 10.0,
        };
        let usage = draft.finish(&request(), Some(prices)).unwrap().usage;
        assert_eq!((usage.input_tokens, usage.output_tokens), (4, 3));
        assert_eq!(usage.estimated, 1);
        assert!((usage.cost_usd.unwrap() - 38e-6).abs() < 1e-12);
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        let fault = |json: Value| {
            let endpoint = endpoint();
            let mut draft = Draft::new(&endpoint);
            match draft.take_whole(json.to_string().as_bytes()) {
                Ok(()) => draft.finish(&request(), None).unwrap_err(),
                Err(fault) => fault,
            }
        };
        let choice = |content: &str, reason: &str| json!({ "choices": [{ "message": { "content": content }, "finish_reason": reason }] });
        assert_eq!(fault(json!({})), AnswerFault::NoChoices);
        assert_eq!(fault(json!({ "choices": [] })), AnswerFault::NoChoices);
        assert_eq!(fault(choice(" \n", "stop")), AnswerFault::Empty);
        assert_eq!(fault(json!({ "choices": [{}] })), AnswerFault::Empty);
        let length = fault(choice("x", "length"));
        assert_eq!(length, AnswerFault::Length { bound: Some(100) });
        assert!(length.to_string().contains("max tokens (100)"), "{length}");
        assert_eq!(fault(choice("x", "content_filter")), AnswerFault::Filtered);
        let refusal = json!({ "choices": [{ "message": { "refusal": "No\u{7}." } }] });
        let reason = "No .".to_string();
        assert_eq!(fault(refusal), AnswerFault::Refused { reason });
        assert!(matches!(fault(json!([1])), AnswerFault::Malformed { .. }));
        assert!(matches!(
            fault(json!({ "choices": [{ "message": "x" }] })),
            AnswerFault::Malformed { .. }
        ));
        let reported = |error| fault(json!({ "error": error })).passes();
        assert!(reported(json!({ "message": "overloaded", "code": 502 })));
        assert!(reported(json!({ "message": "server_error" })));
        assert!(!reported(json!({ "message": "no", "code": 400 })));
        assert!(!reported(
            json!({ "message": "no", "code": "insufficient_quota" })
        ));
    }
}
