//! The settings of the method that a variant may change, by dotted name.
//!
//! Values are kept as they are written in files. Which fields there are and what they take is known to the method's
//! own types alone ([`kinvert::Variant`]): [`Settings::set`] asks them, and [`Settings::applied_to`] puts the values
//! into them.

use std::collections::BTreeMap;

use kinvert::{GenerationSettings, InversionSettings};
use serde::{Serialize, de::DeserializeOwned};
use toml::Value;

use crate::error::Error;
use crate::fault::Faults;
use crate::node::{Content, Node};
use crate::spelling::did_you_mean;

/// The model, which is no setting of the method and may differ all the same.
pub(crate) const MODEL: &str = "model";

/// Fields of the method that belong to the study.
const OF_THE_STUDY: [&str; 2] = ["inversion.seed", "generation.size"];

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

    /// Applies the settings of a section to the method's own, and has the result checked.
    fn checked<T: Serialize + DeserializeOwned>(
        &self,
        section: &str,
        base: &T,
        check: impl Fn(&T) -> Result<(), kinvert::Error>,
    ) -> Result<(), String> {
        let applied = self
            .applied_to(section, base)
            .map_err(|error| match error {
                Error::Setting { reason, .. } => reason,
                error => error.to_string(),
            })?;
        check(&applied).map_err(|error| error.to_string())
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

/// Whether a field exists and takes a value; if not, why. The method's own types say so.
fn check(field: &str, value: &Value) -> Result<(), String> {
    if field == MODEL {
        let is_name = value.as_str().is_some_and(|name| !name.trim().is_empty());
        return if is_name {
            Ok(())
        } else {
            Err(format!("found {value}, expected a name"))
        };
    }
    let method = kinvert::Variant::default();
    let fields = method.fields();
    if !fields.contains_key(field) || OF_THE_STUDY.contains(&field) {
        let near = did_you_mean(field, fields.keys().map(String::as_str));
        return Err(format!(
            "no setting of the method that a study can change{near}"
        ));
    }
    let single = Settings(BTreeMap::from([(field.to_owned(), value.clone())]));
    let checked = match field.starts_with("inversion.") {
        true => single.checked("inversion", &method.inversion, InversionSettings::check),
        false => single.checked("generation", &method.generation, GenerationSettings::check),
    };
    checked.map_err(|reason| format!("found {value}: {reason}"))
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
            word.contains("expected one of `difference`, `normalize`, `none`"),
            "{word}"
        );
        let range = error(settings.set("generation.noise_prior", 1.5));
        assert!(
            range.contains("found 1.5: `noise prior` is 1.5, expected"),
            "{range}"
        );
        for grid in ["grid-0x2", "grid-2", "grid-9999x1"] {
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
