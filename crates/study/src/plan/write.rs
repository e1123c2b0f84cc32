//! Plans as files: what [`super::json_lines`] reads.

use serde_json::{Map, Value, json};

use super::{Ablation, Plan};

impl Plan {
    /// The plan in the interchange form: one JSON object a line, the most important ablation first. Title, discussion
    /// and variants that a person wrote out have no place in it.
    pub fn to_json_lines(&self) -> String {
        let lines = self.ablations.iter().map(Ablation::to_json);
        lines.map(|object| format!("{object}\n")).collect()
    }
}

impl Ablation {
    /// As one object of the interchange form.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("name".into(), json!(self.name));
        fields.insert("ablated_part".into(), json!(self.ablated_part));
        fields.insert("action".into(), json!(self.action.name()));
        if !self.replacement.is_empty() {
            fields.insert("replacement".into(), json!(self.replacement));
        }
        fields.insert("metrics".into(), json!(self.metrics));
        Value::Object(fields)
    }
}
