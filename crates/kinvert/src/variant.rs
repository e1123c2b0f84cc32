//! One way to learn and to generate, told apart from others by a hash of its content.
//!
//! The hash is the SHA-256 of the variant's JSON with every field written out and the fields of every object in
//! alphabetical order. Neither the order of fields in a file nor defaults that it leaves out matter, and no
//! field can change without the hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::pipeline::fingerprint;
use crate::settings::{GenerationSettings, InversionSettings};

/// Everything that decides what is learned from a clip and made of it, except clip, caption, prompt and seed of
/// generation. The default is the published method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variant {
    /// How a motion is learned, with the seed of learning.
    pub inversion: InversionSettings,
    /// How it is replayed.
    pub generation: GenerationSettings,
}

impl Variant {
    /// Refuses values that cannot work, alone or with each other.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first of them.
    pub fn check(&self) -> Result<(), Error> {
        self.inversion.check()?;
        self.generation.check()?;
        if let Some(integration) = self.generation.integration {
            integration.check_replays(self.inversion.integration)?;
        }
        match self.generation.frames {
            Some(frames) => self.generation.check_frames(frames),
            None => Ok(()), // those of the motion, which has not been learned yet
        }
    }

    /// The hash of all fields, 64 hexadecimal digits.
    pub fn hash(&self) -> String {
        fingerprint(&ordered(to_json(self)))
    }

    /// The hash of what decides learning: variants in which it is the same can share what is learned from a clip.
    pub fn inversion_hash(&self) -> String {
        fingerprint(&ordered(to_json(&self.inversion)))
    }

    /// The fields in which this variant differs from another, by name: `inversion.values` for example, the value
    /// in `base`, and the value here. Lists and what is absent count as one value.
    pub fn differences(&self, base: &Self) -> Vec<(String, Value, Value)> {
        let [theirs, mut ours] = [base, self].map(|variant| {
            let mut fields = BTreeMap::new();
            collect_fields(to_json(variant), String::new(), &mut fields);
            fields
        });
        // A field may be missing on one side where the other's value is an object.
        let names: Vec<String> = theirs.keys().chain(ours.keys()).cloned().collect();
        let mut differences = BTreeMap::new();
        for name in names {
            let theirs = theirs.get(&name).cloned().unwrap_or(Value::Null);
            let ours = ours.get(&name).cloned().unwrap_or(Value::Null);
            if theirs != ours {
                differences.insert(name, (theirs, ours));
            }
        }
        ours.clear();
        let flat = |(name, (theirs, ours))| (name, theirs, ours);
        differences.into_iter().map(flat).collect()
    }
}

fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("settings have string keys and plain values")
}

/// The same value with the fields of every object in alphabetical order, whichever order the map keeps.
fn ordered(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            let fields = fields.into_iter().map(|(name, value)| (name, ordered(value)));
            Value::Object(fields.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(ordered).collect()),
        value => value,
    }
}
