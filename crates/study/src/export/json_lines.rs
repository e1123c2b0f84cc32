//! Everything that is known of the cells.

use serde_json::json;

use super::state;
use crate::results::{Outcome, Results};

/// One object a line for each cell, in the order in which they are run: what it is, how far it is, all of its records,
/// its clip and the time it took.
pub fn json_lines(results: &Results) -> String {
    let mut text = String::new();
    for cell in &results.cells {
        let id = &cell.id;
        let variants = results.variants.iter();
        let names: Vec<&str> = variants
            .filter(|variant| variant.hash == id.variant_hash)
            .map(|variant| variant.name.as_str())
            .collect();
        let clip = results.references.get(id.reference);
        let mut object = json!({
            "variants": names,
            "variant_hash": id.variant_hash,
            "clip": clip.map(|clip| &clip.path),
            "clip_sha256": clip.map(|clip| &clip.sha256),
            "prompt": results.study.prompts.get(id.prompt),
            "seed": id.seed,
            "state": state(&cell.outcome),
        });
        match &cell.outcome {
            Outcome::Waiting | Outcome::Running => {}
            Outcome::Failed { error } => object["error"] = json!(error),
            Outcome::Done(measured) => {
                object["records"] = json!(measured.records);
                object["file"] = json!(measured.clip);
                object["paths"] = json!(measured.paths);
                object["generation_s"] = json!(measured.generation_s);
                object["measuring_s"] = json!(measured.measuring_s);
            }
        }
        text += &object.to_string();
        text.push('\n');
    }
    text
}
