//! The form for people: `[[ablation]]` tables, with `[[ablation.variant]]` to say exactly what to run.

use super::Draft;
use crate::fault::Faults;
use crate::node::{Fields, Node};

pub(super) fn read(text: &str, faults: &mut Faults) -> Draft {
    let document = match Node::of_toml(text) {
        Ok(document) => document,
        Err((at, reason)) => {
            faults.push(at, format!("no TOML: {reason}"));
            return Draft::default();
        }
    };
    let mut fields = Fields::of(document, "the plan", faults);
    let title = fields.text("title", faults).map(|(_, text)| text);
    let discussion = fields.text("discussion", faults).map(|(_, text)| text);
    let ablations = fields.list("ablation", faults);
    fields.finish("the plan", faults);
    Draft {
        title,
        discussion,
        ablations,
    }
}
