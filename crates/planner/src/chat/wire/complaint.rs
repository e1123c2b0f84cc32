//! What an endpoint says of a failure.

use serde_json::Value;

/// What an endpoint says of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::chat) struct Complaint {
    pub(in crate::chat) message: String,
    /// `code` and `type`, as far as they are words.
    words: Vec<String>,
    /// `code`, if it is an HTTP status.
    pub(super) status: Option<u16>,
    /// The parameter that it is about.
    param: Option<String>,
}

impl Complaint {
    /// Reads the body of a refusal, whatever it is.
    pub(in crate::chat) fn read(bytes: &[u8]) -> Self {
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

    pub(super) fn of(value: &Value) -> Self {
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
    pub(in crate::chat) fn is_of_quota(&self) -> bool {
        self.says("insufficient_quota")
    }

    /// Whether the conversation is longer than the model can read.
    pub(in crate::chat) fn is_of_context(&self) -> bool {
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
    pub(super) fn is_unsupported(&self, param: &str) -> bool {
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
