//! Where a model is asked, and with which key.
//!
//! All endpoints speak the protocol of OpenAI's chat completions, those of Anthropic and Google through a second door
//! that they keep for it, so that one client serves all.

mod address;
mod providers;

use std::fmt;

use address::{Address, without_credentials};
pub(super) use providers::BoundField;
use providers::PROVIDERS;
pub use providers::known_prefixes;

use crate::Error;

/// The variable of the environment with the key of an endpoint that the user named, or that runs locally.
pub const KEY_VARIABLE: &str = "KINVERT_API_KEY";

/// Where a model is asked.
#[derive(Clone, Debug)]
pub struct Endpoint {
    name: String,
    model: String,
    base_url: String,
    key: Option<Key>,
    key_variable: &'static str,
    bound_field: BoundField,
    private: bool,
}

impl Endpoint {
    /// Finds the endpoint of a model's name such as `openai/gpt-5` or `openrouter/deepseek/deepseek-r1`.
    ///
    /// With a `base_url` the model is asked there, whatever its name; a known prefix is still cut off the name, and
    /// says the variable of the key. (A model that is itself called `openai/…` on a server of one's own is thus named
    /// `vllm/openai/…`.) [`KEY_VARIABLE`] comes before that variable, and no key at all is fine.
    ///
    /// `variable` reads the environment.
    ///
    /// # Errors
    /// [`Error::ModelName`] if the prefix is unknown or nothing follows it; [`Error::Key`] if the key is absent or no
    /// HTTP header can hold it; [`Error::BaseUrl`] if that is no http(s) URL, holds credentials, or a key would travel
    /// unencrypted to a host that is not private.
    pub fn resolve(
        name: &str,
        base_url: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let provider = name.split_once('/').and_then(|(prefix, model)| {
            let known = PROVIDERS.iter().find(|known| known.prefix == prefix)?;
            Some((known, model))
        });
        let model = provider.map_or(name, |(_, model)| model);
        if model.is_empty() || model.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Error::model_name(
                name,
                "expected `prefix/model`, without spaces",
            ));
        }
        let provider = provider.map(|(provider, _)| provider);
        let own_key = || Key::read(name, KEY_VARIABLE, variable);
        let (base_url, key_variable, key) = match (base_url, provider) {
            (None, None) => {
                let reason = match name.split_once('/') {
                    Some((prefix, _)) => format!("`{prefix}/` is no known prefix"),
                    None => "it has no prefix, which says whose model it is".into(),
                };
                return Err(Error::model_name(name, reason));
            }
            (None, Some(provider)) => match provider.key_variable {
                Some(variable_name) => {
                    let key = Key::read(name, variable_name, variable)?.ok_or(Error::Key {
                        model: name.to_string(),
                        variable: variable_name,
                        reason: "is not set, expected the endpoint's key",
                    })?;
                    (provider.base_url, variable_name, Some(key))
                }
                None => (provider.base_url, KEY_VARIABLE, own_key()?),
            },
            (Some(url), provider) => match (own_key()?, provider.and_then(|p| p.key_variable)) {
                (None, Some(variable_name)) => (
                    url,
                    variable_name,
                    Key::read(name, variable_name, variable)?,
                ),
                (key, _) => (url, KEY_VARIABLE, key),
            },
        };
        let address = Address::parse(base_url)?;
        if key.is_some() && !address.encrypted && !address.private {
            let reason = format!(
                "the key of {key_variable} would travel unencrypted, expected https or a private host"
            );
            return Err(Error::BaseUrl {
                url: without_credentials(base_url),
                reason,
            });
        }
        Ok(Self {
            name: name.to_string(),
            model: model.to_string(),
            base_url: address.url,
            key,
            key_variable,
            bound_field: provider.map_or(BoundField::MaxTokens, |provider| provider.bound_field),
            private: address.private,
        })
    }

    /// The model's name, as the user gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's name at the endpoint.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Where it is asked: the part of the address before `/chat/completions`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Whether a key goes with every request.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The variable of the environment that holds its key, or would.
    pub fn key_variable(&self) -> &'static str {
        self.key_variable
    }

    pub(super) fn bound_field(&self) -> BoundField {
        self.bound_field
    }

    /// Whether its host is this machine or in a private network.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// The value of the header `Authorization`. The only way in which a key leaves this file.
    pub(super) fn authorization(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("Bearer {}", key.0))
    }

    /// What an endpoint said, fit for an error: at most `limit` characters, on one line, and without the key, which
    /// some endpoints repeat in their complaints.
    pub(super) fn tidy(&self, text: &str, limit: usize) -> String {
        let text = match &self.key {
            Some(key) => text.replace(&key.0, "…"),
            None => text.to_string(),
        };
        let mut tidy = String::new();
        let words = text.split(|c: char| c.is_whitespace() || c.is_control());
        for word in words.filter(|word| !word.is_empty()) {
            if !tidy.is_empty() {
                tidy.push(' ');
            }
            tidy.push_str(word);
        }
        if let Some((end, _)) = tidy.char_indices().nth(limit) {
            tidy.truncate(end);
            tidy.push('…');
        }
        tidy
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.base_url)
    }
}

/// A key. It is neither shown nor written anywhere.
#[derive(Clone)]
struct Key(String);

impl Key {
    /// The key in a variable of the environment; none if that is unset or empty.
    fn read(
        model: &str,
        name: &'static str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Error> {
        let Some(value) = variable(name) else {
            return Ok(None);
        };
        let key = value.trim(); // files end with a line break
        if key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok((!key.is_empty()).then(|| Self(key.to_string())));
        }
        Err(Error::Key {
            model: model.to_string(),
            variable: name,
            reason: "holds spaces or characters that are not ASCII, expected a key",
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Error {
    fn model_name(model: &str, reason: impl Into<String>) -> Self {
        Self::ModelName {
            model: model.to_string(),
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests;
