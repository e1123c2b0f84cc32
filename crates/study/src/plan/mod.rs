//! Plans: ranked lists of ablations, in the words of whoever planned them.

mod json_lines;
mod markdown;
mod toml_form;
mod write;

use std::{collections::HashMap, fmt, path::Path, str::FromStr};

use crate::error::Error;
use crate::fault::{Faults, Location};
use crate::input;
use crate::node::{Content, Fields, Node};
use crate::settings::Settings;

pub use write::{markdown_block, markdown_line};

/// Bounds on what a plan may hold: far beyond what anybody would run.
const MAX_ABLATIONS: usize = 10_000;
const MAX_NAME_CHARS: usize = 500;
const MAX_TEXT_CHARS: usize = 10_000;
const MAX_ITEMS: usize = 200;

/// A ranked list of ablations of one method.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its title, if it has one.
    pub title: Option<String>,
    /// The reasoning that came with it.
    pub discussion: Option<String>,
    /// Its ablations, the most important first; never empty.
    pub ablations: Vec<Ablation>,
}

/// One ablation: what is taken out, put in, or put in its place, and how the effect is to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Ablation {
    /// Its name, unique within the plan.
    pub name: String,
    /// The part of the method that it is about.
    pub ablated_part: String,
    /// What is done to that part.
    pub action: Action,
    /// What is put in, an alternative each. Tables are flattened to `key: value`.
    pub replacement: Vec<String>,
    /// The names of the measures; never empty.
    pub metrics: Vec<String>,
    /// Where it begins in the file.
    pub at: Location,
    /// Exactly what to run, for those who want to say so (TOML form only).
    pub variants: Vec<ExplicitVariant>,
}

/// What is done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is left out.
    Remove,
    /// Something else takes its place.
    Replace,
    /// Something new joins it.
    Add,
}

/// A variant that a person wrote out.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplicitVariant {
    /// Its name.
    pub name: String,
    /// The settings that differ from the method's.
    pub settings: Settings,
}

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object for each ablation, perhaps wrapped in `<discussion>` and `<predictions>`.
    JsonLines,
    /// A heading for each ablation, and a list of its fields.
    Markdown,
    /// `[[ablation]]` tables.
    Toml,
}

impl Plan {
    /// Reads a plan; the form is found from the content unless it is given.
    ///
    /// # Errors
    /// If the file cannot be read, has more than 16 MiB, or is no valid plan.
    pub fn read(path: &Path, form: Option<Form>) -> Result<Self, Error> {
        let bytes = input::read(path, "plan")?;
        Self::from_bytes(&path.display().to_string(), &bytes, form)
    }

    /// Reads a plan from the bytes of a file; `name` stands in messages.
    ///
    /// # Errors
    /// If the bytes are no UTF-8 text or no valid plan.
    pub fn from_bytes(name: &str, bytes: &[u8], form: Option<Form>) -> Result<Self, Error> {
        Self::parse(name, input::text(name, bytes)?, form)
    }

    /// Reads a plan from text; `name` stands in messages. All faults are told at once.
    ///
    /// # Errors
    /// [`Error::Faulty`] if it is no valid plan.
    pub fn parse(name: &str, text: &str, form: Option<Form>) -> Result<Self, Error> {
        let mut faults = Faults::default();
        let draft = match form.unwrap_or_else(|| Form::detect(text)) {
            Form::JsonLines => json_lines::read(text, &mut faults),
            Form::Markdown => markdown::read(text, &mut faults),
            Form::Toml => toml_form::read(text, &mut faults),
        };
        let plan = draft.check(&mut faults);
        if faults.count() > 0 {
            let (name, what) = (name.into(), "plan");
            return Err(Error::Faulty { name, what, faults });
        }
        Ok(plan)
    }
}

impl Form {
    /// The form that a text looks like.
    pub fn detect(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let wrapped = ["<discussion>", "<predictions>"]
            .iter()
            .any(|tag| text.contains(tag));
        if text.starts_with('{') || wrapped {
            return Self::JsonLines;
        }
        if text.lines().any(is_toml) {
            return Self::Toml;
        }
        Self::Markdown
    }
}

/// Whether a line tells that a text is TOML.
fn is_toml(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("[[ablation")
        || ["title", "discussion"].iter().any(|key| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        })
}

impl FromStr for Form {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "jsonl" => Ok(Self::JsonLines),
            "markdown" => Ok(Self::Markdown),
            "toml" => Ok(Self::Toml),
            _ => Err(Error::setting(
                "form",
                format!("found `{name}`, expected `jsonl`, `markdown` or `toml`"),
            )),
        }
    }
}

impl Action {
    /// As plans write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Remove => "REMOVE",
            Self::Replace => "REPLACE",
            Self::Add => "ADD",
        }
    }

    /// By its name, in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.trim_matches(|c: char| !c.is_alphanumeric());
        [Self::Remove, Self::Replace, Self::Add]
            .into_iter()
            .find(|action| action.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a reader found, before anything about ablations was checked.
#[derive(Default)]
struct Draft {
    title: Option<String>,
    discussion: Option<String>,
    ablations: Vec<Node>,
}

impl Draft {
    fn check(self, faults: &mut Faults) -> Plan {
        if self.ablations.len() > MAX_ABLATIONS {
            let found = self.ablations.len();
            let at = self.ablations[MAX_ABLATIONS].at;
            faults.push(
                at,
                format!("{found} ablations, expected at most {MAX_ABLATIONS}"),
            );
            return Plan::empty();
        }
        let broken = faults.count();
        let ablations: Vec<Ablation> = self
            .ablations
            .into_iter()
            .filter_map(|node| ablation(node, faults))
            .collect();
        if ablations.is_empty() && faults.count() == broken && broken == 0 {
            faults.push(Location::line(1), "the plan has no ablations");
        }
        let mut seen = HashMap::new();
        for ablation in &ablations {
            if let Some(first) = seen.insert(ablation.name.as_str(), ablation.at) {
                let name = &ablation.name;
                faults.push(
                    ablation.at,
                    format!("`{name}` is also the name of an ablation at {first}"),
                );
            }
        }
        let not_blank = |text: &String| !text.trim().is_empty();
        Plan {
            title: self.title.filter(not_blank),
            discussion: self.discussion.filter(not_blank),
            ablations,
        }
    }
}

impl Plan {
    fn empty() -> Self {
        Self {
            title: None,
            discussion: None,
            ablations: Vec::new(),
        }
    }
}

/// One ablation from its fields, with a fault for each that is missing or wrong.
fn ablation(node: Node, faults: &mut Faults) -> Option<Ablation> {
    let mut fields = Fields::of(node, "an ablation", faults);
    let at = fields.at;
    let name = required(&mut fields, "name", MAX_NAME_CHARS, faults);
    let ablated_part = required(&mut fields, "ablated_part", MAX_TEXT_CHARS, faults);
    let action = fields.text("action", faults).map(|(at, found)| {
        let action = Action::of_name(&found);
        if action.is_none() {
            let found = shortened(&found);
            faults.push(
                at,
                format!("action `{found}`, expected REMOVE, REPLACE or ADD"),
            );
        }
        action
    });
    if action.is_none() {
        faults.push(
            at,
            "an ablation without `action`, expected REMOVE, REPLACE or ADD",
        );
    }
    let replacement = fields
        .take("replacement")
        .map(|node| items(node, "replacement", faults))
        .unwrap_or_default();
    let metrics_node = fields.take("metrics");
    let metrics_at = metrics_node.as_ref().map_or(at, |node| node.at);
    let metrics = match metrics_node {
        Some(Node {
            content: Content::Text(text),
            ..
        }) => split_list(&text),
        Some(node) => items(node, "metrics", faults),
        None => Vec::new(),
    };
    if metrics.is_empty() {
        faults.push(
            metrics_at,
            "an ablation without `metrics`, expected at least one",
        );
    }
    let variants = fields
        .list("variant", faults)
        .into_iter()
        .filter_map(|node| explicit_variant(node, faults))
        .collect();
    fields.finish("an ablation", faults);
    Some(Ablation {
        name: name?,
        ablated_part: ablated_part?,
        action: action??,
        replacement,
        metrics,
        at,
        variants,
    })
}

/// A field of text that must be there and say something.
fn required(
    fields: &mut Fields,
    name: &'static str,
    most: usize,
    faults: &mut Faults,
) -> Option<String> {
    let missing = faults.count();
    let found = fields.text(name, faults);
    if found.is_none() && faults.count() == missing {
        faults.push(fields.at, format!("an ablation without `{name}`"));
    }
    let (at, text) = found?;
    let text = text.trim();
    if text.is_empty() {
        faults.push(at, format!("`{name}` is empty"));
        return None;
    }
    let chars = text.chars().count();
    if chars > most {
        faults.push(
            at,
            format!("`{name}` has {chars} characters, expected at most {most}"),
        );
        return None;
    }
    Some(text.to_owned())
}

/// The readable items of a list, a table or a single text.
fn items(node: Node, name: &str, faults: &mut Faults) -> Vec<String> {
    let at = node.at;
    if let Some(what) = node.odd() {
        faults.push(at, format!("`{name}` holds {what}, expected texts"));
        return Vec::new();
    }
    let mut items = Vec::new();
    match node.content {
        Content::List(list) => items.extend(list.into_iter().map(|node| readable(node.content))),
        content @ Content::Table(_) => flatten("", content, &mut items),
        content => items.push(readable(content)),
    }
    items.retain(|item| !item.trim().is_empty());
    if items.len() > MAX_ITEMS {
        let found = items.len();
        faults.push(
            at,
            format!("`{name}` has {found} items, expected at most {MAX_ITEMS}"),
        );
        return Vec::new();
    }
    if items
        .iter()
        .any(|item| item.chars().count() > MAX_TEXT_CHARS)
    {
        faults.push(
            at,
            format!("an item of `{name}` has more than {MAX_TEXT_CHARS} characters"),
        );
        return Vec::new();
    }
    items.iter().map(|item| item.trim().to_owned()).collect()
}

/// One item for each leaf: `key: value`, with the keys above it before its own.
fn flatten(key: &str, content: Content, items: &mut Vec<String>) {
    let separated = |inner: &str| match key {
        "" => inner.to_owned(),
        outer => format!("{outer}.{inner}"),
    };
    match content {
        Content::Table(fields) => {
            for (name, node) in fields {
                flatten(&separated(&name), node.content, items);
            }
        }
        Content::List(list) => {
            for node in list {
                flatten(key, node.content, items);
            }
        }
        leaf => items.push(format!("{key}: {}", readable(leaf))),
    }
}

/// A value in one line.
fn readable(content: Content) -> String {
    match content {
        Content::Null => String::new(),
        Content::Text(text) => text,
        Content::Integer(value) => value.to_string(),
        Content::Number(value) => value.to_string(),
        Content::Bool(value) => value.to_string(),
        Content::List(items) => {
            let items: Vec<_> = items.into_iter().map(|n| readable(n.content)).collect();
            items.join(", ")
        }
        table @ Content::Table(_) => {
            let mut items = Vec::new();
            flatten("", table, &mut items);
            items.join("; ")
        }
        Content::Other(what) => what.into(),
    }
}

/// Splits at commas, semicolons and line ends, but not within brackets.
fn split_list(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let parts = text.split(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(c, ',' | ';' | '\n')
    });
    parts
        .map(|part| part.trim().trim_end_matches('.').to_owned())
        .filter(|part| !part.is_empty())
        .take(MAX_ITEMS)
        .collect()
}

fn explicit_variant(node: Node, faults: &mut Faults) -> Option<ExplicitVariant> {
    let mut fields = Fields::of(node, "a variant", faults);
    let (at, name) = (
        fields.at,
        required(&mut fields, "name", MAX_NAME_CHARS, faults),
    );
    let settings = Settings::of_fields(fields.rest(), faults);
    if settings.is_empty() {
        faults.push(
            at,
            "a variant without settings, expected some that differ from the method's",
        );
    }
    Some(ExplicitVariant {
        name: name?,
        settings,
    })
}

/// The beginning of a text of others, for messages.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
