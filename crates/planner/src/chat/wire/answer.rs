//! An answer, as it comes.
//!
//! Only the first choice counts. What models think (`reasoning_content`, which is DeepSeek's field, or `reasoning`, which
//! is OpenRouter's) is no part of it, and is only counted.

use serde::Deserialize;
use serde_json::Value;

use super::{AnswerFault, Complaint, MAX_TEXT, SHOWN_CHARS};
use crate::chat::client::Prices;
use crate::chat::endpoint::Endpoint;
use crate::chat::{ChatAnswer, ChatRequest, Usage, retry};

/// Characters that make a token, roughly and for English, where the endpoint does not count them.
const CHARS_PER_TOKEN: u64 = 4;

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
pub(in crate::chat) struct Draft<'a> {
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
    pub(in crate::chat) fn new(endpoint: &'a Endpoint) -> Self {
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
    pub(in crate::chat) fn chars(&self) -> usize {
        self.text_chars + self.reasoning_chars
    }

    /// Whether nothing follows.
    pub(in crate::chat) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the text is whole. How many tokens it took may still follow.
    pub(in crate::chat) fn is_finished(&self) -> bool {
        self.done || self.finish_reason.is_some()
    }

    /// Takes the data of an event.
    pub(in crate::chat) fn take_event(&mut self, data: &[u8]) -> Result<(), AnswerFault> {
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
    pub(in crate::chat) fn take_whole(&mut self, json: &[u8]) -> Result<(), AnswerFault> {
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
                passes: !complaint.is_of_quota() && complaint.status.is_none_or(retry::passes),
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
    pub(in crate::chat) fn finish(
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
