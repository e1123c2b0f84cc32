//! What is sent and received: the JSON of OpenAI's chat completions
//! (<https://platform.openai.com/docs/api-reference/chat>), read as leniently as endpoints write it.

mod answer;
mod complaint;
mod fault;
mod request;

pub(super) use answer::Draft;
pub(super) use complaint::Complaint;
pub use fault::AnswerFault;
pub(super) use request::{Dialect, request_body};

/// Most bytes of an answer's text.
pub(super) const MAX_TEXT: usize = 4 << 20;

/// Most bytes of an answer that comes as one piece of JSON: its text, escapes, and what the model thought.
pub(super) const MAX_JSON: usize = 2 * MAX_TEXT;

/// Most characters of what an endpoint said that are shown.
pub(super) const SHOWN_CHARS: usize = 300;

#[cfg(test)]
mod tests;
