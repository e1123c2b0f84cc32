//! Plans as published trajectories show them: a heading for each ablation, and its fields as a list.
//!
//! This reads lines, and no full Markdown: fields are bullets with a bold label, alternatives are bullets below
//! them, and everything else is either the reasoning before the first ablation or of no interest. Wrappers of
//! HTML that fill whole lines are skipped; HTML within a name or a field is data.

use super::Draft;
use crate::fault::{Faults, Location};
use crate::node::{Content, Node};

pub(super) fn read(text: &str, faults: &mut Faults) -> Draft {
    let mut reader = Reader::default();
    let mut skipped_until = None;
    for (index, line) in text.lines().enumerate() {
        let lower = line.trim().to_ascii_lowercase();
        if let Some(end) = skipped_until {
            if lower.contains(end) {
                skipped_until = None;
            }
            continue;
        }
        let invisible = [
            ("<style", "</style>"),
            ("<script", "</script>"),
            ("<!--", "-->"),
        ];
        if let Some((_, end)) = invisible.iter().find(|(start, _)| lower.starts_with(start)) {
            skipped_until = (!lower.contains(end)).then_some(*end);
            continue;
        }
        reader.line(Location::line(index + 1), line, faults);
    }
    reader.finish(faults)
}

#[derive(Default)]
struct Reader {
    title: Option<String>,
    /// Lines before the first ablation.
    before: Vec<String>,
    heading: Option<Heading>,
    /// Level of the headings of ablations.
    ablation_level: Option<usize>,
    ablations: Vec<Ablation>,
}

struct Heading {
    at: Location,
    level: usize,
    text: String,
    /// Lines that came before it.
    before: usize,
}

struct Ablation {
    at: Location,
    fields: Vec<Field>,
    /// Whether the list of fields may still go on.
    open: bool,
}

struct Field {
    at: Location,
    name: &'static str,
    indent: usize,
    inline: String,
    items: Vec<Node>,
}

impl Reader {
    fn line(&mut self, at: Location, line: &str, faults: &mut Faults) {
        if let Some((level, text)) = heading(line) {
            self.close_heading(faults);
            if level == 1 && self.title.is_none() && self.ablations.is_empty() {
                self.title = Some(text.clone());
            } else if self.ablations.is_empty() {
                self.before.push(text.clone());
            }
            if let Some(ablation) = self.ablations.last_mut() {
                ablation.open = false;
            }
            self.heading = Some(Heading {
                at,
                level,
                text,
                before: self.before.len().saturating_sub(1),
            });
            return;
        }
        if is_wrapper(line) {
            return;
        }
        let indent = line.len() - line.trim_start().len();
        let bullet = bullet(line);
        if let Some((label, rest)) = bullet.and_then(labelled) {
            match field_name(label) {
                Some("name") => {
                    self.begin(at, rest.to_owned());
                    return;
                }
                Some(name) if self.can_take(indent) => {
                    self.field(at, name, indent, rest);
                    return;
                }
                // A label of no interest ends the field above it.
                None if self.deepest().is_some_and(|field| indent <= field.indent) => {
                    self.field(at, "", indent, rest);
                    return;
                }
                _ => {}
            }
        }
        if self.ablations.is_empty() {
            self.before.push(line.to_owned());
            return;
        }
        match (self.open_field(), bullet) {
            (Some(field), Some(item)) if indent > field.indent => {
                field.items.push(Node::text(at, decoded(plain(item))));
            }
            (Some(field), None) if !line.trim().is_empty() && indent > field.indent => {
                field.append(&decoded(line.trim()));
            }
            _ => {}
        }
    }

    /// Whether a field may stand here: below a heading, or beside the fields of an ablation.
    fn can_take(&mut self, indent: usize) -> bool {
        match self.deepest() {
            Some(field) => indent <= field.indent,
            None => self.heading.is_some() || self.ablations.last().is_some_and(|a| a.open),
        }
    }

    fn deepest(&mut self) -> Option<&mut Field> {
        self.open_field()
    }

    fn open_field(&mut self) -> Option<&mut Field> {
        let ablation = self.ablations.last_mut().filter(|ablation| ablation.open)?;
        ablation.fields.last_mut()
    }

    fn field(&mut self, at: Location, name: &'static str, indent: usize, inline: &str) {
        if let Some(heading) = self.heading.take() {
            self.ablation_level.get_or_insert(heading.level);
            if self.ablations.is_empty() {
                self.before.truncate(heading.before);
            }
            self.begin(heading.at, heading.text);
        }
        if let Some(ablation) = self.ablations.last_mut() {
            ablation.fields.push(Field {
                at,
                name,
                indent,
                inline: decoded(plain(inline)),
                items: Vec::new(),
            });
        }
    }

    fn begin(&mut self, at: Location, name: String) {
        self.heading = None;
        self.ablations.push(Ablation {
            at,
            fields: vec![Field {
                at,
                name: "name",
                indent: 0,
                inline: decoded(plain(&name)),
                items: Vec::new(),
            }],
            open: true,
        });
    }

    /// A heading like those of the ablations with nothing below it is an ablation that cannot be read.
    fn close_heading(&mut self, faults: &mut Faults) {
        if let Some(heading) = self.heading.take()
            && self.ablation_level == Some(heading.level)
        {
            let text = super::shortened(&heading.text);
            faults.push(
                heading.at,
                format!("`{text}` has no fields, expected a list with **Ablated Part**, **Action** and **Metrics**"),
            );
        }
    }

    fn finish(mut self, faults: &mut Faults) -> Draft {
        self.close_heading(faults);
        let before: Vec<&str> = self
            .before
            .iter()
            .map(String::as_str)
            .filter(|line| !is_section_title(line))
            .collect();
        Draft {
            title: self.title.map(|title| decoded(&title)),
            discussion: Some(decoded(before.join("\n").trim())),
            ablations: self.ablations.into_iter().map(|a| a.node(faults)).collect(),
        }
    }
}

impl Ablation {
    fn node(self, faults: &mut Faults) -> Node {
        let mut fields: Vec<(String, Node)> = Vec::new();
        for field in self.fields {
            if field.name.is_empty() {
                continue;
            }
            if fields.iter().any(|(name, _)| name == field.name) {
                faults.push(field.at, format!("`{}` for the second time", field.name));
                continue;
            }
            fields.push((field.name.to_owned(), field.node()));
        }
        Node {
            at: self.at,
            content: Content::Table(fields),
        }
    }
}

impl Field {
    /// A line that goes on with the text above it.
    fn append(&mut self, line: &str) {
        let text = match self.items.last_mut() {
            Some(Node {
                content: Content::Text(text),
                ..
            }) => text,
            _ => &mut self.inline,
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(line);
    }

    fn node(mut self) -> Node {
        match self.name {
            "replacement" | "metrics" if !self.items.is_empty() => {
                if !self.inline.is_empty() {
                    let first = Node::text(self.at, std::mem::take(&mut self.inline));
                    self.items.insert(0, first);
                }
                Node::list(self.at, self.items)
            }
            "replacement" => {
                let parts = self.inline.split(';').map(str::trim);
                let items = parts.map(|part| Node::text(self.at, part)).collect();
                Node::list(self.at, items)
            }
            _ => {
                for item in std::mem::take(&mut self.items) {
                    if let Content::Text(text) = item.content {
                        let separator = if self.inline.is_empty() { "" } else { ", " };
                        self.inline = format!("{}{separator}{text}", self.inline);
                    }
                }
                Node::text(self.at, self.inline)
            }
        }
    }
}

/// Level and text of a heading, in Markdown or as an HTML element on its own line.
fn heading(line: &str) -> Option<(usize, String)> {
    let trimmed = line.trim();
    let level = trimmed.bytes().take_while(|byte| *byte == b'#').count();
    if (1..=6).contains(&level) && trimmed[level..].starts_with([' ', '\t']) {
        let text = trimmed[level..].trim();
        let open = text.trim_end_matches('#');
        let text = match open.is_empty() || open.ends_with([' ', '\t']) {
            true => open.trim_end(), // a heading may be closed as it was opened
            false => text,
        };
        return Some((level, plain(text).to_owned()));
    }
    let element = trimmed
        .strip_prefix("<h")
        .or_else(|| trimmed.strip_prefix("<H"))?;
    let level = element.chars().next()?.to_digit(10)? as usize;
    let (_, inside) = element.split_once('>')?;
    let (text, _) = inside.rsplit_once("</")?;
    Some((level, text.trim().to_owned()))
}

/// Whether a line holds nothing but tags: `<div …>`, `</div>`, `<br/>`.
fn is_wrapper(line: &str) -> bool {
    let mut rest = line.trim();
    let starts_tag = |text: &str| {
        let mut chars = text.strip_prefix('<').unwrap_or_default().chars();
        matches!(chars.next(), Some('/' | 'a'..='z' | 'A'..='Z'))
    };
    if !starts_tag(rest) {
        return false;
    }
    while starts_tag(rest) {
        let Some((_, after)) = rest.split_once('>') else {
            return false;
        };
        rest = after.trim_start();
    }
    rest.is_empty()
}

/// The text of a bullet or a numbered item.
fn bullet(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix(['-', '*', '+']) {
        return rest.starts_with([' ', '\t']).then(|| rest.trim());
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line[digits..].strip_prefix(['.', ')'])?;
    (digits > 0 && rest.starts_with([' ', '\t'])).then(|| rest.trim())
}

/// Label and text of `**Label**: text`, `**Label:** text` or `Label: text`.
fn labelled(text: &str) -> Option<(&str, &str)> {
    for mark in ["**", "__"] {
        if let Some((label, rest)) = text
            .strip_prefix(mark)
            .and_then(|inside| inside.split_once(mark))
        {
            let rest = rest.trim_start().trim_start_matches(':').trim();
            return Some((label.trim().trim_end_matches(':').trim(), rest));
        }
    }
    let (label, rest) = text.split_once(':')?;
    field_name(label).map(|_| (label, rest.trim()))
}

fn field_name(label: &str) -> Option<&'static str> {
    match label.trim().to_lowercase().replace('_', " ").as_str() {
        "name" => Some("name"),
        "ablated part" | "ablated component" | "part" => Some("ablated_part"),
        "action" => Some("action"),
        "replacement" | "replacements" => Some("replacement"),
        "metrics" | "metric" => Some("metrics"),
        _ => None,
    }
}

/// A text without marks around the whole of it.
pub(super) fn plain(text: &str) -> &str {
    let text = text.trim();
    for mark in ["**", "__", "`"] {
        if let Some(inside) = text
            .strip_prefix(mark)
            .and_then(|rest| rest.strip_suffix(mark))
            && !inside.contains(mark)
        {
            return inside.trim();
        }
    }
    text
}

/// What a line of a text is to this reader.
pub(super) enum Line {
    /// A line of text.
    Text,
    /// Something that it would take for a part of the layout, or skip.
    Layout,
}

/// What a line of a discussion would be read as if it were written as it is.
pub(super) fn line(line: &str) -> Line {
    let is_field = bullet(line)
        .and_then(labelled)
        .is_some_and(|(label, _)| field_name(label).is_some());
    match heading(line).is_some() || is_field || is_section_title(line) || super::is_toml(line) {
        true => Line::Layout,
        false => Line::Text,
    }
}

/// Bytes of the longest entity behind its `&`: `#1114111;`.
const LONGEST_ENTITY: usize = 9;

/// A text with the characters that its entities stand for. Names are those that XML knows.
fn decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        // Looked for no further than the longest entity goes, lest a text full of `&` takes forever.
        let end = after.bytes().take(LONGEST_ENTITY).position(|b| b == b';');
        let entity = end.and_then(|end| {
            let (name, after) = (&after[..end], &after[end + 1..]);
            let char = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => name
                    .strip_prefix('#')?
                    .parse()
                    .ok()
                    .and_then(char::from_u32)?,
            };
            (!char.is_control()).then_some((char, after))
        });
        let (char, after) = entity.unwrap_or(('&', after));
        decoded.push(char);
        rest = after;
    }
    decoded + rest
}

/// Titles of the sections of a published trajectory.
fn is_section_title(line: &str) -> bool {
    let words: Vec<String> = line
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| word.len() > 1)
        .map(str::to_lowercase)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matches!(
        words.as_slice(),
        ["reasoning", "trace"]
            | ["reasoning"]
            | ["discussion"]
            | ["ablation", "plan"]
            | ["ablations"]
    )
}
