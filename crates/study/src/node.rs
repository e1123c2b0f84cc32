//! Values with the place where they were written: what JSON, Markdown and TOML have in common.

use toml::de::{DeTable, DeValue};

use crate::fault::{Faults, Location};
use crate::spelling::did_you_mean;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub at: Location,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Null,
    Text(String),
    Integer(i64),
    Number(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// What no plan or study holds: dates, and integers beyond 64 bits.
    Other(&'static str),
}

impl Node {
    pub fn text(at: Location, text: impl Into<String>) -> Self {
        Self {
            at,
            content: Content::Text(text.into()),
        }
    }

    pub fn list(at: Location, items: Vec<Node>) -> Self {
        Self {
            at,
            content: Content::List(items),
        }
    }

    /// Everything in a JSON value is taken to stand where the value begins.
    pub fn of_json(at: Location, value: serde_json::Value) -> Self {
        use serde_json::Value;
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(value) => Content::Bool(value),
            Value::String(text) => Content::Text(text),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Content::Integer(integer),
                (None, Some(number)) => Content::Number(number),
                (None, None) => Content::Other("a number beyond 64 bits"),
            },
            Value::Array(items) => Content::List(
                items
                    .into_iter()
                    .map(|item| Self::of_json(at, item))
                    .collect(),
            ),
            Value::Object(fields) => Content::Table(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, Self::of_json(at, value)))
                    .collect(),
            ),
        };
        Self { at, content }
    }

    /// A whole TOML document, or where and why it is none.
    pub fn of_toml(text: &str) -> Result<Self, (Location, String)> {
        let lines = Lines::of(text);
        let document = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            (Location::of_byte(text, offset), error.message().to_owned())
        })?;
        Ok(Self {
            at: Location::line(1),
            content: lines.table(document.get_ref()),
        })
    }

    /// What is in it that no plan or study holds.
    pub fn odd(&self) -> Option<&'static str> {
        match &self.content {
            Content::Other(what) => Some(what),
            Content::List(items) => items.iter().find_map(Self::odd),
            Content::Table(fields) => fields.iter().find_map(|(_, node)| node.odd()),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "null",
            Content::Text(_) => "text",
            Content::Integer(_) => "an integer",
            Content::Number(_) => "a number",
            Content::Bool(_) => "true or false",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
            Content::Other(what) => what,
        }
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(newlines).collect())
    }

    fn at(&self, offset: usize) -> Location {
        Location::line(self.0.partition_point(|start| *start <= offset))
    }

    fn table(&self, table: &DeTable<'_>) -> Content {
        // The parser sorts keys; people read them in the order of the file.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let node = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
            let at = self.at(key.span().start);
            let content = self.content(value.get_ref());
            (key.get_ref().to_string(), Node { at, content })
        };
        Content::Table(entries.into_iter().map(node).collect())
    }

    fn content(&self, value: &DeValue<'_>) -> Content {
        match value {
            DeValue::String(text) => Content::Text(text.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or(
                    Content::Other("an integer beyond 64 bits"),
                    Content::Integer,
                ),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(Content::Other("a number beyond 64 bits"), Content::Number),
            DeValue::Boolean(value) => Content::Bool(*value),
            DeValue::Datetime(_) => Content::Other("a date"),
            DeValue::Array(items) => Content::List(
                items
                    .iter()
                    .map(|item| Node {
                        at: self.at(item.span().start),
                        content: self.content(item.get_ref()),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => self.table(table),
        }
    }
}

/// The fields of a table, taken one by one; what is left in the end is a fault.
pub(crate) struct Fields {
    pub at: Location,
    fields: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Of a table; anything else is a fault, and reads as an empty one.
    pub fn of(node: Node, what: &str, faults: &mut Faults) -> Self {
        let at = node.at;
        let kind = node.kind();
        let fields = match node.content {
            Content::Table(fields) => fields,
            _ => {
                faults.push(at, format!("{what} is {kind}, expected a table"));
                Vec::new()
            }
        };
        let known = Vec::new();
        Self { at, fields, known }
    }

    /// A field, unless it is absent or null.
    pub fn take(&mut self, name: &'static str) -> Option<Node> {
        self.known.push(name);
        let place = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, node) = self.fields.remove(place);
        (!matches!(node.content, Content::Null)).then_some(node)
    }

    /// A field of text.
    pub fn text(&mut self, name: &'static str, faults: &mut Faults) -> Option<(Location, String)> {
        let node = self.take(name)?;
        let (at, kind) = (node.at, node.kind());
        match node.content {
            Content::Text(text) => Some((at, text)),
            _ => {
                faults.push(at, format!("`{name}` is {kind}, expected text"));
                None
            }
        }
    }

    /// A field that is a list; absent is empty.
    pub fn list(&mut self, name: &'static str, faults: &mut Faults) -> Vec<Node> {
        let Some(node) = self.take(name) else {
            return Vec::new();
        };
        let (at, kind) = (node.at, node.kind());
        match node.content {
            Content::List(items) => items,
            _ => {
                faults.push(at, format!("`{name}` is {kind}, expected a list"));
                Vec::new()
            }
        }
    }

    /// A field that is a list of texts; absent is empty.
    pub fn texts(&mut self, name: &'static str, faults: &mut Faults) -> Vec<String> {
        let mut texts = Vec::new();
        for node in self.list(name, faults) {
            let (at, kind) = (node.at, node.kind());
            match node.content {
                Content::Text(text) => texts.push(text),
                _ => faults.push(at, format!("`{name}` holds {kind}, expected texts")),
            }
        }
        texts
    }

    /// What was not taken.
    pub fn rest(self) -> Vec<(String, Node)> {
        self.fields
    }

    /// Faults for all that was not taken.
    pub fn finish(self, what: &str, faults: &mut Faults) {
        for (name, node) in &self.fields {
            let near = did_you_mean(name, self.known.iter().copied());
            faults.push(node.at, format!("{what} has no field `{name}`{near}"));
        }
    }
}
