//! The scheduler's settings, as a published model keeps them in `scheduler_config.json`.
//!
//! The fields and their defaults are those of the diffusers library (0.42.1). What the file says about the
//! *noise schedule* is read and honoured, whichever of the library's schedulers wrote it; what it says about
//! the *sampler* (solver order, Karras sigmas and the like) is not, because the sampler is the user's choice.
//! One default differs: without `clip_sample` nothing is clipped, since latents have no range to clip to.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::Error;

/// The largest configuration that is read, in bytes; real ones have less than a thousand, and one with a
/// list of a thousand betas has about twenty thousand.
const MAX_CONFIG_BYTES: usize = 4 << 20;

/// The longest schedule that is built; published models have 1000 steps.
const MAX_TRAIN_TIMESTEPS: usize = 100_000;

/// Settings of a noise schedule, named as in `scheduler_config.json`.
///
/// ```
/// use kinvert_diffusion::{PredictionType, SchedulerConfig};
///
/// let json = br#"{
///     "_class_name": "DDIMScheduler",
///     "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
///     "prediction_type": "v_prediction", "lambda_min_clipped": -Infinity
/// }"#;
/// let config = SchedulerConfig::from_json(json, "scheduler_config.json")?;
/// assert_eq!(config.prediction_type, PredictionType::VPrediction);
/// assert_eq!(config.num_train_timesteps, 1000);
/// # Ok::<(), kinvert_diffusion::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedulerConfig {
    /// The library's class that wrote the file, if it says so.
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,
    /// Number of timesteps the model was trained with.
    pub num_train_timesteps: usize,
    /// Variance added at the first timestep.
    pub beta_start: f64,
    /// Variance added at the last timestep.
    pub beta_end: f64,
    /// How the variances between them run.
    pub beta_schedule: BetaSchedule,
    /// The variances themselves, one per training timestep, instead of the three fields above.
    pub trained_betas: Option<Vec<f64>>,
    /// What the model predicts.
    pub prediction_type: PredictionType,
    /// Added to every timestep of the `leading` spacing.
    pub steps_offset: usize,
    /// Whether the step below timestep 0 has no noise at all; otherwise it has that of timestep 0.
    pub set_alpha_to_one: bool,
    /// How sampling steps spread over the training timesteps. Without it each sampler takes its own
    /// default, as in the library: leading for DDIM, linspace for DPM-Solver++.
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Whether the schedule is stretched until nothing of the signal is left at the last timestep.
    pub rescale_betas_zero_snr: bool,
}

/// How the variances run from `beta_start` to `beta_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// In equal steps.
    Linear,
    /// Their square roots in equal steps; the schedule of Stable Diffusion and its descendants.
    ScaledLinear,
    /// From a squared cosine (*Improved DDPM*, arXiv:2102.09672, Eq. 17), capped at 0.999; ignores both ends.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
}

/// What a model predicts from a noisy sample `alpha x0 + sigma epsilon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise `epsilon`.
    Epsilon,
    /// The velocity `alpha epsilon - sigma x0` (*Progressive Distillation*, arXiv:2202.00512, Appendix D).
    VPrediction,
}

/// How sampling steps spread over the training timesteps (*Common Diffusion Noise Schedules and Sample Steps
/// are Flawed*, arXiv:2305.08891, Table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Whole strides up from `steps_offset`; leaves out the noisiest timesteps.
    Leading,
    /// Equal fractions down from the last timestep.
    Trailing,
    /// Equal fractions from the last timestep to the first.
    Linspace,
}

impl Default for SchedulerConfig {
    /// The library's defaults, which are those of the DDPM paper; hardly any latent model has them.
    fn default() -> Self {
        Self {
            class_name: None,
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            prediction_type: PredictionType::Epsilon,
            steps_offset: 0,
            set_alpha_to_one: true,
            timestep_spacing: None,
            rescale_betas_zero_snr: false,
        }
    }
}

/// Schedulers of the library whose models follow a noise schedule of betas.
const KNOWN_CLASSES: [&str; 12] = [
    "DDIMScheduler",
    "DDIMInverseScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
];

/// Fields that must be off: each of them makes another model or another sample of it.
const MUST_BE_OFF: [&str; 4] = [
    "clip_sample",
    "thresholding",
    "use_dynamic_shifting",
    "use_flow_sigmas",
];

/// Fields that choose or tune a sampler, or tune something that is off, and say nothing about the model.
const SAMPLER_FIELDS: [&str; 25] = [
    "algorithm_type",
    "clip_sample_range",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "lambda_min_clipped",
    "lower_order_final",
    "predict_x0",
    "sample_max_value",
    "sigma_max",
    "sigma_min",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "time_shift_type",
    "timestep_type",
    "use_beta_sigmas",
    "use_exponential_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
];

impl SchedulerConfig {
    /// Reads a `scheduler_config.json`; `origin` is its path or another name for it in errors.
    ///
    /// The library writes `-Infinity` into some of these files, which is not JSON; it is understood.
    ///
    /// # Errors
    /// If the bytes are no JSON object, if a field has a value that is not supported, or if an unknown field
    /// is set to anything but `null` or `false`.
    pub fn from_json(bytes: &[u8], origin: &str) -> Result<Self, Error> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(Error::ConfigTooLarge {
                origin: origin.to_owned(),
                found: bytes.len(),
                limit: MAX_CONFIG_BYTES,
            });
        }
        let fields = serde_json::from_slice(&null_for_non_finite(bytes)).map_err(|source| {
            let origin = origin.to_owned();
            Error::Json { origin, source }
        })?;
        let mut fields = Fields { fields, origin };
        let default = Self::default();
        let config = Self {
            class_name: fields.take("_class_name", "the name of a scheduler")?,
            num_train_timesteps: fields
                .take("num_train_timesteps", "a whole number")?
                .unwrap_or(default.num_train_timesteps),
            beta_start: fields
                .take("beta_start", "a number")?
                .unwrap_or(default.beta_start),
            beta_end: fields
                .take("beta_end", "a number")?
                .unwrap_or(default.beta_end),
            beta_schedule: fields
                .take(
                    "beta_schedule",
                    "linear, scaled_linear or squaredcos_cap_v2",
                )?
                .unwrap_or(default.beta_schedule),
            trained_betas: fields.take("trained_betas", "a list of numbers")?,
            prediction_type: fields
                .take("prediction_type", "epsilon or v_prediction")?
                .unwrap_or(default.prediction_type),
            steps_offset: fields
                .take("steps_offset", "a whole number")?
                .unwrap_or(default.steps_offset),
            set_alpha_to_one: fields
                .take("set_alpha_to_one", "true or false")?
                .unwrap_or(default.set_alpha_to_one),
            timestep_spacing: fields.take("timestep_spacing", "leading, trailing or linspace")?,
            rescale_betas_zero_snr: fields
                .take("rescale_betas_zero_snr", "true or false")?
                .unwrap_or(default.rescale_betas_zero_snr),
        };
        for field in MUST_BE_OFF {
            if fields.take(field, "false")?.unwrap_or(false) {
                return Err(fields.refuse(field, "true", "false"));
            }
        }
        fields.finish()?;
        config.validate(origin)?;
        Ok(config)
    }

    /// Checks that a schedule can be built from these values.
    pub(crate) fn validate(&self, origin: &str) -> Result<(), Error> {
        let refuse = |field, found: String, expected: String| {
            Err(Error::Config {
                origin: origin.to_owned(),
                field,
                found,
                expected,
            })
        };
        if let Some(class) = &self.class_name
            && !KNOWN_CLASSES.contains(&class.as_str())
        {
            let expected = format!("one of {}", KNOWN_CLASSES.join(", "));
            return refuse("_class_name", class.clone(), expected);
        }
        let timesteps = self.num_train_timesteps;
        if !(2..=MAX_TRAIN_TIMESTEPS).contains(&timesteps) {
            let expected = format!("2 to {MAX_TRAIN_TIMESTEPS}");
            return refuse("num_train_timesteps", timesteps.to_string(), expected);
        }
        if self.steps_offset >= timesteps {
            let expected = format!("less than `num_train_timesteps`, {timesteps}");
            return refuse("steps_offset", self.steps_offset.to_string(), expected);
        }
        let is_variance = |beta: f64| beta > 0.0 && beta < 1.0;
        let variance = || "between 0 and 1, both excluded".to_owned();
        match &self.trained_betas {
            Some(betas) => {
                if betas.len() != timesteps {
                    let found = format!("a list of {}", betas.len());
                    let expected = format!("{timesteps} numbers, as `num_train_timesteps` says");
                    return refuse("trained_betas", found, expected);
                }
                if let Some(beta) = betas.iter().find(|beta| !is_variance(**beta)) {
                    let found = format!("a list with {beta}");
                    return refuse("trained_betas", found, variance());
                }
            }
            None => {
                let ends = [("beta_start", self.beta_start), ("beta_end", self.beta_end)];
                for (field, beta) in ends {
                    if !is_variance(beta) {
                        return refuse(field, beta.to_string(), variance());
                    }
                }
            }
        }
        if self.rescale_betas_zero_snr && self.prediction_type == PredictionType::Epsilon {
            let expected = "false with `prediction_type` epsilon, because noise alone tells nothing \
                            of the signal";
            return refuse("rescale_betas_zero_snr", "true".into(), expected.into());
        }
        Ok(())
    }
}

/// The fields of a configuration that have not been read yet.
struct Fields<'a> {
    fields: Map<String, Value>,
    origin: &'a str,
}

impl Fields<'_> {
    /// Takes a field out; one that is `null` counts as absent.
    fn take<T: DeserializeOwned>(
        &mut self,
        field: &'static str,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let found = excerpt(&value);
                let read = serde_json::from_value(value);
                read.map(Some)
                    .map_err(|_| self.refuse(field, &found, expected))
            }
        }
    }

    fn refuse(&self, field: &'static str, found: &str, expected: &str) -> Error {
        Error::Config {
            origin: self.origin.to_owned(),
            field,
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// Refuses whatever is left, unless it is off, a note of the library's own (`_diffusers_version`) or
    /// known to concern samplers only.
    fn finish(self) -> Result<(), Error> {
        for (field, value) in self.fields {
            let is_off = matches!(value, Value::Null | Value::Bool(false));
            if !is_off && !field.starts_with('_') && !SAMPLER_FIELDS.contains(&field.as_str()) {
                return Err(Error::UnknownField {
                    origin: self.origin.to_owned(),
                    found: excerpt(&value),
                    field,
                });
            }
        }
        Ok(())
    }
}

/// A value as it stands in the file, cut to what fits into a message.
fn excerpt(value: &Value) -> String {
    const MAX_CHARS: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Replaces the numbers that Python writes and JSON lacks by `null`, outside of strings.
fn null_for_non_finite(json: &[u8]) -> Vec<u8> {
    const NON_FINITE: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut valid = Vec::with_capacity(json.len());
    let mut rest = json;
    let mut in_string = false;
    while let [byte, tail @ ..] = rest {
        let word = NON_FINITE.iter().find(|word| rest.starts_with(word));
        match (in_string, byte, word) {
            (false, _, Some(word)) => {
                valid.extend_from_slice(b"null");
                rest = &rest[word.len()..];
                continue;
            }
            (true, b'\\', _) => {
                // The escaped byte may be a quote, so it is taken along.
                let escape = &rest[..rest.len().min(2)];
                valid.extend_from_slice(escape);
                rest = &rest[escape.len()..];
                continue;
            }
            (_, b'"', _) => in_string = !in_string,
            _ => {}
        }
        valid.push(*byte);
        rest = tail;
    }
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_finite_numbers_become_null_outside_of_strings_only() {
        let check = |input: &str, expected: &str| {
            let valid = null_for_non_finite(input.as_bytes());
            assert_eq!(String::from_utf8(valid).unwrap(), expected);
        };
        check(
            r#"{"a": -Infinity, "b":Infinity}"#,
            r#"{"a": null, "b":null}"#,
        );
        check(r#"[NaN,-1]"#, "[null,-1]");
        check(r#"{"NaN": "\"Infinity"}"#, r#"{"NaN": "\"Infinity"}"#);
        check(r#""ends in \"#, r#""ends in \"#);
    }
}
