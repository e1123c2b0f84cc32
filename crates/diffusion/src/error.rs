//! What can go wrong between a scheduler's configuration and a sample.

/// An error of this crate. The text says where, what was found and what was expected; [`Error::hint`] says
/// what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration is larger than anything of its kind.
    #[error("{origin}: has {found} bytes, expected at most {limit}")]
    ConfigTooLarge {
        /// Where the configuration came from.
        origin: String,
        /// Its size in bytes.
        found: usize,
        /// The bound in bytes.
        limit: usize,
    },
    /// A configuration is not a JSON object.
    #[error("{origin}: not the expected JSON object")]
    Json {
        /// Where the configuration came from.
        origin: String,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// A field of a configuration has a value that this crate does not support.
    #[error("{origin}: `{field}` is {found}, expected {expected}")]
    Config {
        /// Where the configuration came from.
        origin: String,
        /// The field in it.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A configuration switches something on that this crate has never heard of.
    #[error("{origin}: `{field}` is {found}, expected no such field")]
    UnknownField {
        /// Where the configuration came from.
        origin: String,
        /// The field in it.
        field: String,
        /// Its value.
        found: String,
    },
    /// A sampler cannot take that many steps.
    #[error("number of sampling steps is {found}, expected {expected}")]
    Steps {
        /// The number asked for.
        found: usize,
        /// What would have been accepted.
        expected: String,
    },
    /// A setting is not a number of the range in which it means something.
    #[error("{name} is {found}, expected {expected}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A sampler or an initial noise is called by a name that none has.
    #[error("{what} is `{found}`, expected one of {expected}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// The name found.
        found: String,
        /// The names there are.
        expected: String,
    },
    /// Latents are too small to have a low-frequency band.
    #[error(
        "latents are {height}x{width}, expected at least 4x4 for initial noise `{initial_noise}`"
    )]
    GridTooSmall {
        /// The initial noise asked for.
        initial_noise: &'static str,
        /// Rows of the latents.
        height: usize,
        /// Columns of the latents.
        width: usize,
    },
}

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ConfigTooLarge { .. } | Self::Json { .. } => {
                "pass the `scheduler_config.json` of a published model in the diffusers layout"
            }
            Self::Config {
                field: "clip_sample" | "thresholding",
                ..
            } => "models that clip their samples work on pixels; take a latent diffusion model",
            Self::Config {
                field: "_class_name" | "use_flow_sigmas" | "use_dynamic_shifting",
                ..
            } => {
                "flow-matching models follow another noise schedule; take a model trained with DDPM betas"
            }
            Self::Config { .. } => {
                "the scheduler's configuration does not describe a supported model"
            }
            Self::UnknownField { .. } => {
                "remove the field if the model works without it; nobody here can tell what it changes"
            }
            Self::Steps { .. } => "30 to 50 steps are usual",
            Self::OutOfRange { .. } | Self::UnknownName { .. } => return None,
            Self::GridTooSmall { .. } => "use `blend`, `fft` or `none`, or larger frames",
        };
        Some(hint.to_owned())
    }
}
