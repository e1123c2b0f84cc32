//! Whose models have names, and where these are asked.
//!
//! Facts of the table are from the providers' documentation:
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

/// The field of a request that bounds the tokens of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chat) enum BoundField {
    MaxTokens,
    MaxCompletionTokens,
}

pub(super) struct Provider {
    pub(super) prefix: &'static str,
    pub(super) base_url: &'static str,
    /// None for those that run locally and want no key.
    pub(super) key_variable: Option<&'static str>,
    pub(super) bound_field: BoundField,
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
pub(super) const PROVIDERS: [Provider; 9] = {
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
