//! Language models that answer a conversation.
//!
//! A [`ChatModel`] is asked a [`ChatRequest`] and gives a [`ChatAnswer`]. [`Client`] asks any [`Endpoint`] that speaks
//! the protocol of OpenAI's chat completions, [`Cached`] keeps the answers of any model.
//!
//! ```no_run
//! use kinvert_planner::chat::{Cached, Client, ClientOptions, Endpoint};
//!
//! let variable = |name: &str| std::env::var(name).ok();
//! let endpoint = Endpoint::resolve("ollama/llama3", None, &variable)?;
//! let client = Client::new(endpoint, ClientOptions::default());
//! let model = match kinvert_base::cache_folder() {
//!     Some(folder) => Cached::in_folder(client, folder.join("answers")),
//!     None => Cached::off(client),
//! };
//! # Ok::<(), kinvert_planner::Error>(())
//! ```

mod cache;
mod client;
mod endpoint;
mod events;
mod exchange;
mod retry;
mod wire;

pub use cache::Cached;
pub use client::{Client, ClientOptions, Prices};
pub use endpoint::{Endpoint, KEY_VARIABLE, known_prefixes};
pub use retry::{Clock, SystemClock};
pub use wire::AnswerFault;

use std::fmt;
use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Something that answers a conversation. Requests may come from several threads at once.
pub trait ChatModel: Sync {
    /// Its name, as the user gave it: `openai/gpt-…`.
    fn name(&self) -> &str;

    /// What tells its answers from those of any other model: its name and, if it is asked over a network, where. Never
    /// a key. Part of what answers are kept under.
    fn identity(&self) -> String {
        self.name().to_string()
    }

    /// Answers. Blocks until the answer is whole; failures that may pass are tried again.
    ///
    /// # Errors
    /// If no whole answer came, or the user asked to stop.
    fn complete(&self, request: &ChatRequest, watch: &dyn Watch) -> Result<ChatAnswer, Error>;
}

/// Who looks on while an answer is made.
pub trait Watch: Sync {
    /// Whether the user asked to stop; looked at several times a second.
    fn is_cancelled(&self) -> bool;

    /// So many characters of the answer came, all together. Begins anew with every try.
    fn received(&self, _chars: usize) {}

    /// Something the user should know, such as that a request is tried again in so many seconds.
    fn note(&self, _message: &str) {}
}

/// A conversation that waits for an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// What the model is told to be.
    pub system: String,
    /// Turns, the user's first and last.
    pub turns: Vec<Turn>,
    /// Randomness of the answer from 0 on; the model's own if absent (some models take no other).
    pub temperature: Option<f32>,
    /// Most tokens of the answer; the model's own bound if absent.
    pub max_output_tokens: Option<u32>,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatAnswer {
    /// What was said.
    pub text: String,
    /// What it took.
    pub usage: Usage,
}

/// What answers took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Answers that a model gave.
    pub answers: u64,
    /// Answers that were kept from before, which take nothing else.
    pub from_cache: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written, those of hidden reasoning among them.
    pub output_tokens: u64,
    /// Their price in US dollars, where it is known of all of them.
    pub cost_usd: Option<f64>,
    /// Answers for which the endpoint did not say the tokens; they are estimated.
    pub estimated: u64,
}

impl Usage {
    /// The price in US dollars of all answers: nothing if nobody had to be asked, and none where it is not known.
    pub fn price_usd(&self) -> Option<f64> {
        match self.answers {
            0 => Some(0.0),
            _ => self.cost_usd,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let cost = |usage: &Self| (usage.answers > 0).then_some(usage.cost_usd);
        self.cost_usd = match (cost(self), cost(&other)) {
            (Some(one), Some(other)) => one.zip(other).map(|(one, other)| one + other),
            (one, other) => one.or(other).flatten(),
        };
        self.answers += other.answers;
        self.from_cache += other.from_cache;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.estimated += other.estimated;
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |mut all, usage| {
            all += usage;
            all
        })
    }
}

impl fmt::Display for Usage {
    /// `2 answers, 31200 tokens read, 2100 written, 0.12 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| match count {
            1 => "1 answer".to_owned(),
            count => format!("{count} answers"),
        };
        write!(f, "{}", plural(self.answers))?;
        if self.from_cache > 0 {
            write!(f, " and {} from the cache", self.from_cache)?;
        }
        if self.answers > 0 {
            let (input, output) = (self.input_tokens, self.output_tokens);
            write!(f, ", {input} tokens read, {output} written")?;
        }
        if self.estimated > 0 {
            write!(f, " (estimated for {})", plural(self.estimated))?;
        }
        match self.cost_usd {
            Some(cost) => write!(f, ", {cost:.4} USD"),
            None => Ok(()),
        }
    }
}
