//! What is asked, in the dialect of the endpoint.

use serde::Serialize;

use super::Complaint;
use crate::chat::endpoint::BoundField;
use crate::chat::{ChatRequest, Role};

/// What an endpoint takes of the optional fields of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Dialect {
    pub(super) bound_field: BoundField,
    /// The other field for the bound was refused, so that there is none left to try.
    pub(super) swapped: bool,
    pub(super) temperature: bool,
    pub(super) stream_options: bool,
}

impl Dialect {
    /// All of them, until the endpoint complains.
    pub(in crate::chat) fn new(bound_field: BoundField) -> Self {
        Self {
            bound_field,
            swapped: false,
            temperature: true,
            stream_options: true,
        }
    }

    /// The dialect without what the endpoint complains of, and what to tell the user; none if its complaint is of
    /// something else.
    pub(in crate::chat) fn adapted(
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
pub(in crate::chat) fn request_body(
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
