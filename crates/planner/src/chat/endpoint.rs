//! Where a model is asked, and with which key.
//!
//! All endpoints speak the protocol of OpenAI's chat completions, those of Anthropic and Google through a second door
//! that they keep for it, so that one client serves all. Facts of the table are from their documentation:
//!
//! * OpenAI: <https://platform.openai.com/docs/api-reference/chat/create> (`max_tokens` is deprecated there, and newer
//!   models refuse it: the bound is `max_completion_tokens`);
//! * Anthropic: <https://platform.claude.com/docs/en/api/openai-sdk> (base URL, and that `max_tokens` and
//!   `stream_options` are supported);
//! * Gemini: <https://ai.google.dev/gemini-api/docs/openai>;
//! * OpenRouter: <https://openrouter.ai/docs/api-reference/overview>;
//! * Mistral: <https://docs.mistral.ai/api/>; DeepSeek: <https://api-docs.deepseek.com/>;
//! * Ollama: <https://github.com/ollama/ollama/blob/main/docs/openai.md>;
//! * llama.cpp: <https://github.com/ggml-org/llama.cpp/tree/master/tools/server>;
//! * vLLM: <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use crate::Error;

/// The variable of the environment with the key of an endpoint that the user named, or that runs locally.
pub const KEY_VARIABLE: &str = "KINVERT_API_KEY";

/// The field of a request that bounds the tokens of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BoundField {
    MaxTokens,
    MaxCompletionTokens,
}

struct Provider {
    prefix: &'static str,
    base_url: &'static str,
    /// None for those that run locally and want no key.
    key_variable: Option<&'static str>,
    bound_field: BoundField,
}

const fn provider(
    prefix: &'static str,
    base_url: &'static str,
    key_variable: Option<&'static str>,
    bound_field: BoundField,
) -> Provider {
    Provider {
        prefix,
        base_url,
        key_variable,
        bound_field,
    }
}

#[rustfmt::skip] // a table
const PROVIDERS: [Provider; 9] = {
    use BoundField::{MaxCompletionTokens, MaxTokens};
    [
        provider("openai", "https://api.openai.com/v1", Some("OPENAI_API_KEY"), MaxCompletionTokens),
        provider("anthropic", "https://api.anthropic.com/v1", Some("ANTHROPIC_API_KEY"), MaxTokens),
        provider("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", Some("GEMINI_API_KEY"), MaxTokens),
        provider("openrouter", "https://openrouter.ai/api/v1", Some("OPENROUTER_API_KEY"), MaxTokens),
        provider("mistral", "https://api.mistral.ai/v1", Some("MISTRAL_API_KEY"), MaxTokens),
        provider("deepseek", "https://api.deepseek.com/v1", Some("DEEPSEEK_API_KEY"), MaxTokens),
        provider("ollama", "http://localhost:11434/v1", None, MaxTokens),
        provider("llamacpp", "http://localhost:8080/v1", None, MaxTokens),
        provider("vllm", "http://localhost:8000/v1", None, MaxTokens),
    ]
};

/// The prefixes of models' names that are known, for people: `openai/`, `anthropic/`, ….
pub fn known_prefixes() -> String {
    PROVIDERS
        .map(|provider| format!("{}/", provider.prefix))
        .join(", ")
}

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

struct Address {
    url: String,
    encrypted: bool,
    private: bool,
}

impl Address {
    fn parse(text: &str) -> Result<Self, Error> {
        let fault = |reason: &str| Error::BaseUrl {
            url: without_credentials(text),
            reason: reason.to_string(),
        };
        let url = text.trim().trim_end_matches('/');
        let url = url.strip_suffix("/chat/completions").unwrap_or(url);
        if url.contains('@') {
            return Err(fault("it holds credentials, expected none"));
        }
        if url.contains(['?', '#']) {
            return Err(fault("it holds a query or a fragment, expected none"));
        }
        let uri: Uri = url
            .parse()
            .map_err(|_| fault("it is no URL, expected http://… or https://…"))?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(fault("expected http://… or https://…")),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(fault("it names no host"));
        }
        Ok(Self {
            url: url.to_string(),
            encrypted,
            private: is_private(host),
        })
    }
}

/// A URL fit for an error: without what stands before an `@` or behind a `?`, where credentials are.
fn without_credentials(url: &str) -> String {
    let url = url.trim();
    let url = match url.rsplit_once('@') {
        Some((before, after)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{after}"),
            None => format!("…@{after}"),
        },
        None => url.to_string(),
    };
    match url.split_once(['?', '#']) {
        Some((before, _)) => format!("{before}?…"),
        None => url,
    }
}

/// Whether a host is this machine or one in a network of one's own: addresses of RFC 1918, RFC 4193 and the local link,
/// names that are reserved for such networks, and names of one word, which no public server has.
fn is_private(host: &str) -> bool {
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => is_private_v4(address),
            None => is_private_v6(address),
        },
        Err(_) => {
            let reserved = [".localhost", ".local", ".internal", ".home.arpa"];
            // `0x8080808` and `134744072` are ways to write an address.
            let one_word =
                !host.contains('.') && host.starts_with(|c: char| c.is_ascii_lowercase());
            one_word || reserved.iter().any(|ending| host.ends_with(ending))
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
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
mod tests {
    use super::*;

    const SECRET: &str = "sk-not-to-be-seen";

    fn resolve(name: &str, base_url: Option<&str>, set: &[&str]) -> Result<Endpoint, Error> {
        let variable = |name: &str| {
            set.contains(&name)
                .then(|| format!("{SECRET}-{name}-{SECRET}"))
        };
        Endpoint::resolve(name, base_url, &variable)
    }

    #[test]
    fn every_prefix_leads_to_its_endpoint() {
        for provider in &PROVIDERS {
            let name = format!("{}/some/model:7b", provider.prefix);
            let set: Vec<&str> = provider.key_variable.into_iter().collect();
            let endpoint = resolve(&name, None, &set).unwrap();
            assert_eq!(endpoint.model(), "some/model:7b");
            assert_eq!(endpoint.base_url(), provider.base_url);
            assert_eq!(endpoint.has_key(), provider.key_variable.is_some());
            assert_eq!(endpoint.is_private(), provider.key_variable.is_none());
        }
    }

    #[test]
    fn a_base_url_takes_any_name() {
        let url = Some("http://127.0.0.1:8000/v1/");
        let plain = resolve("my-model", url, &["OPENAI_API_KEY"]).unwrap();
        assert_eq!(
            (plain.model(), plain.base_url()),
            ("my-model", "http://127.0.0.1:8000/v1")
        );
        assert!(!plain.has_key(), "a key goes only where it was meant to go");
        let unknown = resolve("org/my-model", url, &[KEY_VARIABLE]).unwrap();
        assert_eq!(unknown.model(), "org/my-model");
        assert!(unknown.has_key());
        let known = resolve("vllm/openai/gpt-oss-20b", url, &[]).unwrap();
        assert_eq!(known.model(), "openai/gpt-oss-20b");
        let url = Some("https://eu.example.com/v1/chat/completions");
        let both = resolve("openai/gpt-5", url, &["OPENAI_API_KEY", KEY_VARIABLE]).unwrap();
        assert_eq!(both.base_url(), "https://eu.example.com/v1");
        assert_eq!(both.key_variable(), KEY_VARIABLE);
        let theirs = resolve("openai/gpt-5", url, &["OPENAI_API_KEY"]).unwrap();
        assert_eq!(theirs.key_variable(), "OPENAI_API_KEY");
        assert!(theirs.has_key());
    }

    #[test]
    fn names_that_say_no_endpoint_are_refused() {
        for name in ["gpt-5", "acme/gpt-5", "openai/", "", "openai/gpt 5"] {
            let error = resolve(name, None, &["OPENAI_API_KEY"]).unwrap_err();
            assert!(
                matches!(error, Error::ModelName { .. }),
                "{name}: {error:?}"
            );
            let hint = error.hint().unwrap();
            assert!(hint.contains("openrouter/") && hint.contains("--base-url"));
        }
    }

    #[test]
    fn a_missing_or_broken_key_names_its_variable() {
        let error = resolve("openai/gpt-5", None, &["MISTRAL_API_KEY", KEY_VARIABLE]).unwrap_err();
        assert!(error.to_string().contains("OPENAI_API_KEY"), "{error}");
        for broken in ["sk-a sk-b", "sk-ä", "sk\u{7}"] {
            let variable = |_: &str| Some(broken.to_string());
            let error = Endpoint::resolve("openai/gpt-5", None, &variable).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("sk"), "{error:?}");
        }
        let blank = |_: &str| Some(" \n".to_string());
        assert!(Endpoint::resolve("openai/gpt-5", None, &blank).is_err());
        assert!(
            !Endpoint::resolve("ollama/llama3", None, &blank)
                .unwrap()
                .has_key()
        );
    }

    #[test]
    fn addresses_that_are_none_are_refused_without_their_credentials() {
        let addresses = [
            "127.0.0.1:8000/v1",
            "ftp://host/v1",
            "http://",
            "http:///v1",
            "not a url",
            "http://user:hunter2@host/v1",
            "user:hunter2@host",
            "https://host/v1?key=hunter2",
            "https://host/v1#hunter2",
        ];
        for address in addresses {
            let error = resolve("model", Some(address), &[]).unwrap_err();
            assert!(matches!(error, Error::BaseUrl { .. }), "{address}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_key_travels_encrypted_or_to_a_private_host() {
        let private = [
            "localhost:1",
            "gpu-box",
            "127.0.0.1",
            "10.1.2.3:8000",
            "192.168.0.9",
            "172.31.0.1",
            "[::1]:8080",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "models.internal",
            "printer.local",
        ];
        for host in private {
            resolve("model", Some(&format!("http://{host}/v1")), &[KEY_VARIABLE]).unwrap();
        }
        let public = [
            "example.com",
            "8.8.8.8",
            "172.32.0.1",
            "134744072",
            "0x8080808",
            "[2001:4860::8888]",
            "[::ffff:8.8.8.8]",
            "127.0.0.1.example.com",
            "localhost.",
        ];
        for host in public {
            let url = format!("http://{host}/v1");
            let error = resolve("model", Some(&url), &[KEY_VARIABLE]).unwrap_err();
            assert!(error.to_string().contains("unencrypted"), "{host}: {error}");
            resolve("model", Some(&url), &[]).unwrap();
            resolve(
                "model",
                Some(&url.replace("http:", "https:")),
                &[KEY_VARIABLE],
            )
            .unwrap();
        }
    }

    #[test]
    fn a_key_shows_nowhere() {
        let endpoint = resolve("openai/gpt-5", None, &["OPENAI_API_KEY"]).unwrap();
        let authorization = endpoint.authorization().unwrap();
        let echoed = endpoint.tidy(&format!("bad key\n\u{1b}[2J {authorization}!"), 100);
        assert_eq!(echoed, "bad key [2J Bearer …!");
        for shown in [format!("{endpoint:?}"), endpoint.to_string(), echoed] {
            assert!(!shown.contains(SECRET), "{shown}");
        }
        assert_eq!(endpoint.tidy("räksmörgås", 4), "räks…");
    }
}
