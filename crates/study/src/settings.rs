//! The settings of the method that a variant may change, by dotted name.
//!
//! Values are kept as they are written in files. [`Settings::set`] knows names, kinds and ranges, and
//! [`Settings::applied_to`] puts the values into the method's own types, which have the last word.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use toml::Value;

use crate::error::Error;
use crate::fault::Faults;
use crate::node::{Content, Node};
use crate::spelling::did_you_mean;

/// Every field that a study may change, with what it takes. Seeds, frames and size belong to the study.
const FIELDS: [(&str, Kind); 25] = [
    ("model", Kind::Text),
    ("inversion.query_key", Kind::Shape),
    ("inversion.values", Kind::Words(&["2d", "1d", "off"])),
    ("inversion.integration", Kind::Words(&INTEGRATIONS)),
    (
        "inversion.objective",
        Kind::Words(&["debiased-temporal", "base"]),
    ),
    ("inversion.sites", Kind::Text),
    ("inversion.steps", Kind::Integer(1, 1_000_000)),
    ("inversion.learning_rate", Kind::Number(1e-12, 1e3)),
    ("inversion.weight_decay", Kind::Number(0.0, 1e3)),
    ("inversion.timesteps.first", Kind::Integer(0, 100_000)),
    ("inversion.timesteps.last", Kind::Integer(0, 100_000)),
    ("inversion.ddim_inversion_steps", Kind::Integer(1, 100_000)),
    (
        "generation.kind",
        Kind::Words(&["object", "camera", "hybrid"]),
    ),
    (
        "generation.debias",
        Kind::Words(&["difference", "normalize", "none"]),
    ),
    ("generation.difference_frames", Kind::Integer(1, 4096)),
    ("generation.difference_gain", Kind::Number(-1e6, 1e6)),
    ("generation.strength", Kind::Number(-1e6, 1e6)),
    ("generation.integration", Kind::Words(&INTEGRATIONS)),
    ("generation.steps", Kind::Integer(1, 100_000)),
    ("generation.sampler", Kind::Text),
    ("generation.guidance", Kind::Number(-1e6, 1e6)),
    ("generation.negative_prompt", Kind::AnyText),
    (
        "generation.noise",
        Kind::Words(&["blend", "none", "freq", "blend-freq", "fft"]),
    ),
    ("generation.noise_prior", Kind::Number(0.0, 1.0)),
    ("generation.frames", Kind::Integer(1, 4096)),
];

const INTEGRATIONS: [&str; 5] = [
    "add-before",
    "add-after",
    "multiply-before",
    "multiply-after",
    "concat",
];

/// What a field takes.
enum Kind {
    /// One of these words.
    Words(&'static [&'static str]),
    /// `off`, `1d`, `2d`, or a coarse grid such as `grid-2x2`.
    Shape,
    /// Text that says something.
    Text,
    /// Any text.
    AnyText,
    /// An integer from the first to the second.
    Integer(i64, i64),
    /// A number from the first to the second.
    Number(f64, f64),
}

/// Settings that differ from the method's, by dotted name. Equal settings mean equal runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// Sets a field.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no such field, or it does not take such a value.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) -> Result<(), Error> {
        let value = value.into();
        check(field, &value).map_err(|reason| Error::setting(field, reason))?;
        self.0.insert(field.into(), value);
        Ok(())
    }

    /// A field, if it differs from the method's.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Fields and values in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(field, value)| (field.as_str(), value))
    }

    /// Whether this is the method as it is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These settings and others, which win.
    pub fn with(mut self, others: &Self) -> Self {
        let others = others.0.iter();
        self.0
            .extend(others.map(|(field, value)| (field.clone(), value.clone())));
        self
    }

    /// A readable name: what differs from the method.
    pub fn name(&self) -> String {
        let mut rest = self.0.clone();
        let off = |rest: &mut BTreeMap<String, Value>, field: &str| {
            let is_off = rest.get(field).and_then(Value::as_str) == Some("off");
            is_off && rest.remove(field).is_some()
        };
        let no_query_key = off(&mut rest, "inversion.query_key");
        let no_values = off(&mut rest, "inversion.values");
        let kept = match (no_query_key, no_values) {
            (true, true) => Some("neither embedding"),
            (true, false) => Some("values only"),
            (false, true) => Some("query-key only"),
            (false, false) => None,
        };
        let others = rest.iter().map(|(field, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            match field.as_str() {
                "inversion.query_key" => format!("query-key {value}"),
                "generation.difference_frames" => format!("difference over {value} frames"),
                "generation.steps" => format!("sampling steps {value}"),
                "generation.integration" => format!("integration {value} at generation"),
                "inversion.timesteps.first" => format!("timesteps from {value}"),
                "inversion.timesteps.last" => format!("timesteps to {value}"),
                field => {
                    let name = field.rsplit('.').next().unwrap_or(field);
                    format!("{} {value}", name.replace('_', " "))
                }
            }
        });
        let parts: Vec<String> = kept.map(str::to_owned).into_iter().chain(others).collect();
        match parts.is_empty() {
            true => "method".into(),
            false => parts.join(", "),
        }
    }

    /// These settings and one more, from the tables of this crate.
    pub(crate) fn and(mut self, field: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        debug_assert!(check(field, &value).is_ok(), "`{field}` takes no {value}");
        self.0.insert(field.into(), value);
        self
    }

    /// Whether two variants learn the same: they differ at most in what happens at generation.
    pub fn same_inversion(&self, other: &Self) -> bool {
        let learned = |settings: &Self| -> Vec<(String, Value)> {
            let fields = settings.0.iter();
            fields
                .filter(|(field, _)| !field.starts_with("generation."))
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect()
        };
        learned(self) == learned(other)
    }

    /// The method's own settings with those of one `section` (`inversion`, `generation`) put in. The type's own
    /// rules have the last word on every value.
    ///
    /// # Errors
    /// [`Error::Setting`] if the type does not accept the values.
    pub fn applied_to<T: Serialize + DeserializeOwned>(
        &self,
        section: &str,
        base: &T,
    ) -> Result<T, Error> {
        let refused = |error: serde_json::Error| Error::setting(section, error.to_string());
        let mut whole = serde_json::to_value(base).map_err(refused)?;
        for (field, value) in &self.0 {
            let Some(path) = field
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.'))
            else {
                continue;
            };
            let mut place = &mut whole;
            for name in path.split('.') {
                if !place.is_object() {
                    *place = serde_json::Value::Object(serde_json::Map::new());
                }
                place = &mut place[name];
            }
            *place = serde_json::to_value(value).map_err(refused)?;
        }
        serde_json::from_value(whole).map_err(refused)
    }

    /// From the fields of a table, nested as deeply as their names have dots; faults for those that are wrong.
    pub(crate) fn of_fields(fields: Vec<(String, Node)>, faults: &mut Faults) -> Self {
        let mut settings = Self::default();
        for (name, node) in fields {
            settings.take(name, node, faults);
        }
        settings
    }

    fn take(&mut self, field: String, node: Node, faults: &mut Faults) {
        let at = node.at;
        let kind = node.kind();
        let value = match node.content {
            Content::Table(fields) => {
                for (name, inner) in fields {
                    self.take(format!("{field}.{name}"), inner, faults);
                }
                return;
            }
            Content::Text(text) => Value::String(text),
            Content::Integer(integer) => Value::Integer(integer),
            Content::Number(number) => Value::Float(number),
            Content::Bool(value) => Value::Boolean(value),
            Content::Null | Content::List(_) | Content::Other(_) => {
                faults.push(at, format!("setting `{field}` is {kind}"));
                return;
            }
        };
        match check(&field, &value) {
            Ok(()) => {
                self.0.insert(field, value);
            }
            Err(reason) => faults.push(at, format!("setting `{field}`: {reason}")),
        }
    }
}

/// Whether a field exists and takes a value; if not, why.
fn check(field: &str, value: &Value) -> Result<(), String> {
    let Some((_, kind)) = FIELDS.iter().find(|(name, _)| *name == field) else {
        let near = did_you_mean(field, FIELDS.iter().map(|(name, _)| *name));
        return Err(format!("the method has no such setting{near}"));
    };
    let fits = match (kind, value) {
        (Kind::Words(words), Value::String(word)) => words.contains(&word.as_str()),
        (Kind::Shape, Value::String(word)) => {
            matches!(word.as_str(), "off" | "1d" | "2d") || is_grid(word)
        }
        (Kind::Text, Value::String(text)) => !text.trim().is_empty(),
        (Kind::AnyText, Value::String(_)) => true,
        (Kind::Integer(least, most), Value::Integer(value)) => (*least..=*most).contains(value),
        (Kind::Number(least, most), Value::Float(value)) => (*least..=*most).contains(value),
        (Kind::Number(least, most), Value::Integer(value)) => {
            (*least..=*most).contains(&(*value as f64))
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(format!("found {value}, expected {}", kind.expected()))
}

/// `grid-2x2`: rows and columns from 1 to 1024.
fn is_grid(word: &str) -> bool {
    let sides = word
        .strip_prefix("grid-")
        .and_then(|sides| sides.split_once('x'));
    let is_side = |side: &str| {
        side.parse()
            .is_ok_and(|n: u16| (1..=1024).contains(&n) && n.to_string() == side)
    };
    sides.is_some_and(|(rows, columns)| is_side(rows) && is_side(columns))
}

impl Kind {
    fn expected(&self) -> String {
        match self {
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::Shape => "one of off, 1d, 2d, or a grid such as grid-2x2".into(),
            Self::Text | Self::AnyText => "text".into(),
            Self::Integer(least, most) => format!("an integer from {least} to {most}"),
            Self::Number(least, most) => format!("a number from {least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn a_wrong_name_or_value_says_what_was_meant() {
        let mut settings = Settings::default();
        let error = |result: Result<(), Error>| result.unwrap_err().to_string();
        let misspelt = error(settings.set("inversion.value", "off"));
        assert!(
            misspelt.contains("did you mean `inversion.values`?"),
            "{misspelt}"
        );
        let word = error(settings.set("generation.debias", "differences"));
        assert!(
            word.contains("one of difference, normalize, none"),
            "{word}"
        );
        let range = error(settings.set("generation.noise_prior", 1.5));
        assert!(
            range.contains("found 1.5, expected a number from 0 to 1"),
            "{range}"
        );
        for grid in ["grid-0x2", "grid-2", "grid-+2x2", "grid-9999x1"] {
            assert!(settings.set("inversion.query_key", grid).is_err(), "{grid}");
        }
        assert!(settings.set("generation.noise_prior", f64::NAN).is_err());
        assert!(settings.is_empty());
    }

    #[test]
    fn settings_are_put_into_the_types_they_belong_to() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Range {
            first: usize,
            last: usize,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Learning {
            steps: usize,
            timesteps: Range,
        }
        let base = Learning {
            steps: 400,
            timesteps: Range {
                first: 0,
                last: 999,
            },
        };
        let mut settings = Settings::default();
        settings.set("inversion.steps", 50).unwrap();
        settings.set("inversion.timesteps.first", 400).unwrap();
        settings.set("generation.steps", 7).unwrap();
        let changed = settings.applied_to("inversion", &base).unwrap();
        assert_eq!(changed.steps, 50);
        assert_eq!(
            changed.timesteps,
            Range {
                first: 400,
                last: 999
            }
        );

        settings.set("inversion.values", "off").unwrap();
        let error = settings.applied_to("inversion", &base).unwrap_err();
        assert!(error.to_string().contains("values"), "{error}");
    }

    #[test]
    fn a_name_says_what_differs() {
        let name = |fields: &[(&str, &str)]| {
            let mut settings = Settings::default();
            for (field, value) in fields {
                settings.set(field, *value).unwrap();
            }
            settings.name()
        };
        assert_eq!(name(&[]), "method");
        assert_eq!(name(&[("inversion.values", "off")]), "query-key only");
        assert_eq!(
            name(&[("inversion.query_key", "off"), ("inversion.values", "1d")]),
            "values only, values 1d"
        );
    }

    #[test]
    fn variants_that_differ_at_generation_share_an_inversion() {
        let (mut one, mut other) = (Settings::default(), Settings::default());
        one.set("generation.debias", "none").unwrap();
        assert!(one.same_inversion(&other));
        other.set("inversion.values", "1d").unwrap();
        assert!(!one.same_inversion(&other));
    }
}
