//! One way to learn and to generate, told apart from others by a hash of its content.
//!
//! The hash is the SHA-256 of one JSON object without spaces that has every field under its full name, such as
//! `"inversion.values"`, in alphabetical order. Neither the order of fields in a file nor defaults that it leaves
//! out matter, and no field can change without the hash.

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
        fingerprint(&self.fields())
    }

    /// The hash of the fields that decide learning: variants that agree in them can share what is learned from a
    /// clip.
    pub fn inversion_hash(&self) -> String {
        let mut fields = self.fields();
        fields.retain(|name, _| name.starts_with("inversion."));
        fingerprint(&fields)
    }

    /// The fields in which this variant differs from another, in alphabetical order: the name, such as
    /// `inversion.values`, the value in `base`, and the value here.
    pub fn differences(&self, base: &Self) -> Vec<(String, Value, Value)> {
        let mut theirs = base.fields();
        let differs = |(name, ours): (String, Value)| {
            let theirs = theirs.remove(&name).unwrap_or(Value::Null);
            (theirs != ours).then_some((name, theirs, ours))
        };
        self.fields().into_iter().filter_map(differs).collect()
    }

    /// Every field by its name, with dots between the names of structures; a list counts as one value.
    pub fn fields(&self) -> BTreeMap<String, Value> {
        let value = serde_json::to_value(self).expect("settings have string keys and plain values");
        let mut fields = BTreeMap::new();
        collect(value, String::new(), &mut fields);
        fields
    }
}

fn collect(value: Value, name: String, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) => {
            for (field, value) in object {
                let name = match name.as_str() {
                    "" => field,
                    outer => format!("{outer}.{field}"),
                };
                collect(value, name, fields);
            }
        }
        value => {
            fields.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kinvert_diffusion::{InitialNoise, SamplerKind};

    use super::*;
    use crate::{
        Contribution, Debias, EmbeddingShape, Integration, MotionKind, Objective, SiteSelection,
    };

    /// These numbers stand in the results of studies: they change only with the settings that there are. They
    /// were computed from the description above with another language's JSON and SHA-256.
    #[test]
    fn hashes_are_pinned() {
        let method = Variant::default();
        assert_eq!(
            method.hash(),
            "099d8af28230c522be13c22f63fed5bf1ec5380c0833d7722b4368ac0b50857f"
        );
        assert_eq!(
            method.inversion_hash(),
            "c1093279414866b45652c951e1c35f4885dfda26e2f5f8f4274f4db5a4184dbc"
        );
    }

    /// The default with each field changed in turn.
    fn changed() -> Vec<(&'static str, Variant)> {
        type Change = fn(&mut InversionSettings, &mut GenerationSettings);
        let changes: [(&str, Change); 33] = [
            ("inversion.steps", |i, _| i.steps = 7),
            ("inversion.learning_rate", |i, _| i.learning_rate = 0.021),
            ("inversion.weight_decay", |i, _| i.weight_decay = 0.0),
            ("inversion.objective", |i, _| i.objective = Objective::Base),
            ("inversion.timesteps.first", |i, _| i.timesteps.first = 1),
            ("inversion.timesteps.last", |i, _| i.timesteps.last = 998),
            ("inversion.sites", |i, _| i.sites = SiteSelection::All),
            ("inversion.query_key", |i, _| {
                i.query_key = EmbeddingShape::Grid([2, 2])
            }),
            ("inversion.values", |i, _| i.values = EmbeddingShape::Off),
            ("inversion.integration", |i, _| {
                i.integration = Integration::Concat
            }),
            ("inversion.ddim_inversion_steps", |i, _| {
                i.ddim_inversion_steps = 10
            }),
            ("inversion.lora_rank", |i, _| i.lora_rank = 16),
            ("inversion.lora_learning_rate", |i, _| {
                i.lora_learning_rate = 1e-4
            }),
            ("inversion.lora_dropout", |i, _| i.lora_dropout = 0.0),
            ("inversion.lora_probability", |i, _| {
                i.lora_probability = 0.5
            }),
            ("inversion.keep_lora", |i, _| i.keep_lora = true),
            ("inversion.seed", |i, _| i.seed = 1),
            ("generation.kind", |_, g| g.kind = MotionKind::Camera),
            ("generation.contribution", |_, g| {
                g.contribution = Contribution::Values
            }),
            ("generation.debias", |_, g| g.debias = Debias::None),
            ("generation.difference_frames", |_, g| {
                g.difference_frames = 2
            }),
            ("generation.strength", |_, g| g.strength = 0.5),
            ("generation.lora_strength", |_, g| {
                g.lora_strength = Some(0.5)
            }),
            ("generation.difference_gain", |_, g| g.difference_gain = 6.0),
            ("generation.integration", |_, g| {
                g.integration = Some(Integration::AddBefore)
            }),
            ("generation.steps", |_, g| g.steps = 15),
            ("generation.sampler", |_, g| {
                g.sampler = SamplerKind::DpmSolverPp2M
            }),
            ("generation.guidance", |_, g| g.guidance = 7.5),
            ("generation.negative_prompt", |_, g| {
                g.negative_prompt = "still".into()
            }),
            ("generation.noise", |_, g| g.noise = InitialNoise::None),
            ("generation.noise_prior", |_, g| g.noise_prior = 0.25),
            ("generation.frames", |_, g| g.frames = Some(8)),
            ("generation.size", |_, g| g.size = Some([64, 32])),
        ];
        let change = |(name, change): (&'static str, Change)| {
            let mut variant = Variant::default();
            change(&mut variant.inversion, &mut variant.generation);
            (name, variant)
        };
        changes.into_iter().map(change).collect()
    }

    #[test]
    fn every_field_changes_the_hash_and_is_named() {
        let method = Variant::default();
        let (mut hashes, mut names) = (BTreeSet::from([method.hash()]), BTreeSet::new());
        for (name, variant) in changed() {
            assert!(hashes.insert(variant.hash()), "{name}");
            let is_learned_alike = variant.inversion_hash() == method.inversion_hash();
            assert_eq!(is_learned_alike, name.starts_with("generation."), "{name}");
            let differences = variant.differences(&method);
            let [(found, theirs, ours)] = &differences[..] else {
                panic!("{name}: {differences:?}")
            };
            assert_eq!(found, name);
            assert_eq!(
                (theirs, ours),
                (&method.fields()[name], &variant.fields()[name])
            );
            names.insert(name.to_string());
        }
        let all: BTreeSet<String> = method.fields().into_keys().collect();
        assert_eq!(names, all, "every field is tried");
        assert!(method.differences(&method).is_empty());
    }

    #[test]
    fn neither_order_nor_defaults_matter() {
        let read = |text: &str| serde_json::from_str::<Variant>(text).unwrap();
        let short = read(r#"{"inversion": {"values": "1d", "steps": 9}}"#);
        let long = read(
            r#"{"generation": {"guidance": 12, "debias": "difference"},
                "inversion": {"steps": 9, "seed": 0, "values": "1d", "query_key": "1d"}}"#,
        );
        assert_eq!(short.hash(), long.hash());
        assert_eq!(short, read(&serde_json::to_string(&short).unwrap()));
        assert!(serde_json::from_str::<Variant>(r#"{"inversion": {"value": "1d"}}"#).is_err());
    }

    #[test]
    fn what_cannot_work_together_is_refused() {
        for (_, variant) in changed() {
            variant.check().unwrap();
        }
        let refusal = |change: fn(&mut Variant)| {
            let mut variant = Variant::default();
            change(&mut variant);
            variant.check().unwrap_err().to_string()
        };
        type Change = fn(&mut Variant);
        let cases: [(&str, Change); 4] = [
            ("`steps` is 0", |v| v.inversion.steps = 0),
            ("`strength` is NaN", |v| v.generation.strength = f64::NAN),
            ("`integration` is concat, expected another way", |v| {
                v.generation.integration = Some(Integration::Concat)
            }),
            ("`difference frames` is 5, expected between 1 and 3", |v| {
                v.generation.difference_frames = 5;
                v.generation.frames = Some(4);
            }),
        ];
        for (expected, change) in cases {
            let message = refusal(change);
            assert!(message.contains(expected), "{message}");
        }
    }
}
