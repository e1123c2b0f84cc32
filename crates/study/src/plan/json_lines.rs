//! The interchange form: one JSON object for each ablation.
//!
//! A planner's raw answer may wrap them in `<discussion>…</discussion><predictions>…</predictions>` and put
//! fences of code around them. An object may also run over several lines, as long as it begins one.

use super::Draft;
use crate::fault::{Faults, Location};
use crate::node::Node;

pub(super) fn read(text: &str, faults: &mut Faults) -> Draft {
    let discussion = between(text, "discussion").map(|(_, inside)| inside.trim().to_owned());
    // Objects come after the discussion, even if it quotes the other tag.
    let after = text
        .find("</discussion>")
        .filter(|_| discussion.is_some())
        .unwrap_or(0);
    let (start, objects) = match between(&text[after..], "predictions") {
        Some((start, inside)) => (after + start, inside),
        None if after > 0 => (after + "</discussion>".len(), {
            &text[after + "</discussion>".len()..]
        }),
        None => (0, text),
    };
    let first_line = text[..start].matches('\n').count() + 1;
    let mut ablations = Vec::new();
    for (line, object) in chunks(objects, first_line) {
        match serde_json::from_str(object) {
            Ok(value) => ablations.push(Node::of_json(Location::line(line), value)),
            Err(error) => {
                let at = Location {
                    line: line + error.line().saturating_sub(1),
                    column: Some(error.column()),
                };
                let message = error.to_string();
                // The parser counts lines from the beginning of the object.
                let reason = message.split(" at line ").next().unwrap_or_default();
                faults.push(at, format!("no JSON object: {reason}"));
            }
        }
    }
    Draft {
        title: None,
        discussion,
        ablations,
    }
}

/// Where the content of the first such element begins, and the content; to the end if it is not closed.
fn between<'a>(text: &'a str, tag: &str) -> Option<(usize, &'a str)> {
    let open = format!("<{tag}>");
    let start = text.find(&open)? + open.len();
    let inside = &text[start..];
    let end = inside.find(&format!("</{tag}>")).unwrap_or(inside.len());
    Some((start, &inside[..end]))
}

/// The objects, each with its first line: a new one begins wherever a line begins with a brace. Lines before
/// the first are kept as one, so that the parser says what is wrong with them.
fn chunks(text: &str, first_line: usize) -> Vec<(usize, &str)> {
    let mut chunks: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let (start, end) = (offset, offset + line.len());
        offset = end;
        let content = line.trim();
        let is_noise = content.is_empty() || content.starts_with("```");
        // A new object, unless the brace is indented as one inside another is.
        let begins = line.starts_with('{') || (content.starts_with('{') && content.ends_with('}'));
        match chunks.last_mut() {
            _ if is_noise => {}
            Some((_, range)) if !begins => range.end = end,
            _ => chunks.push((first_line + index, start..end)),
        }
    }
    chunks
        .into_iter()
        .map(|(line, range)| (line, &text[range]))
        .collect()
}
