//! The templates of the page, and how they are filled: what is not marked as safe is escaped by [`text`](super::text).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, escape_formatter};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Page, text};
use crate::error::Error;

const TEMPLATES: [(&str, &str); 9] = [
    ("page.html", include_str!("templates/page.html")),
    ("macros.html", include_str!("templates/macros.html")),
    ("head.html", include_str!("templates/head.html")),
    ("ablation.html", include_str!("templates/ablation.html")),
    ("clips.html", include_str!("templates/clips.html")),
    ("cell.html", include_str!("templates/cell.html")),
    ("preference.html", include_str!("templates/preference.html")),
    ("costs.html", include_str!("templates/costs.html")),
    ("again.html", include_str!("templates/again.html")),
];
const STYLE: &str = include_str!("templates/style.css");
const SCRIPT: &str = include_str!("templates/script.js");

/// The templates, ready to be filled.
pub(super) struct Templates(Environment<'static>);

impl Templates {
    pub(super) fn new() -> Result<Self, Error> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?;
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(|out, state, value| match value.as_str() {
            Some(text) if !value.is_safe() => Ok(out.write_str(&text::escaped(text))?),
            _ => escape_formatter(out, state, value),
        });
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        environment.add_global("style", safe(STYLE.into()));
        environment.add_global("script", safe(SCRIPT.into()));
        environment.add_global("style_hash", hash(STYLE));
        environment.add_global("script_hash", hash(SCRIPT));
        Ok(Self(environment))
    }

    /// The whole page.
    pub(super) fn page(&self, page: &Page<'_>) -> Result<String, Error> {
        Ok(self.0.get_template("page.html")?.render(Serde(page))?)
    }

    /// One row of clips.
    pub(super) fn cell(&self, cell: &impl Serialize) -> Result<String, Error> {
        Ok(self.0.get_template("cell.html")?.render(Serde(cell))?)
    }
}

/// Markup of this crate's own making, in which all foreign text is escaped already.
pub(super) fn safe(markup: String) -> Value {
    Value::from_safe_string(markup)
}

/// As a content security policy names the style or script that it allows.
fn hash(source: &str) -> Value {
    safe(format!(
        "sha256-{}",
        BASE64_STANDARD.encode(Sha256::digest(source))
    ))
}
