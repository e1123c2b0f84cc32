//! The authors' own macros.

use std::collections::BTreeMap;

use super::scan::{Cursor, has_command};

/// Most bytes that macros may make of a text.
const MAX_EXPANDED: usize = 64 << 20;

/// Longest text that a macro stands for.
const MAX_MACRO: usize = 400;

/// The authors' macros without arguments, behind which the names of methods hide.
#[derive(Debug, Default)]
pub(super) struct Macros(BTreeMap<String, String>);

impl Macros {
    /// Those that a document defines.
    pub(super) fn of(text: &str) -> Self {
        let mut macros = BTreeMap::new();
        let mut cursor = Cursor::new(text);
        while let Some(name) = cursor.next_command() {
            let is_new = matches!(
                name,
                "newcommand" | "providecommand" | "DeclareRobustCommand" | "def"
            );
            if !is_new && name != "renewcommand" {
                continue;
            }
            let after = cursor.position();
            let Some((defined, text)) = cursor.definition(name) else {
                cursor.at = cursor.at.max(after);
                continue;
            };
            let simple = text.len() <= MAX_MACRO
                && !text.contains(['#', '@'])
                && !text.contains("\\begin")
                && !text.contains("\\def")
                && !text.contains("\\newcommand");
            let letters = !defined.is_empty() && defined.bytes().all(|b| b.is_ascii_alphabetic());
            // Those that LaTeX has already are redefined for looks.
            let known = is_new || macros.contains_key(defined);
            if simple && letters && known {
                macros.insert(defined.to_string(), text.trim().to_string());
            }
        }
        Self(macros).flattened()
    }

    /// With what the macros in macros stand for. Those that grow too long, or never end, are left alone.
    fn flattened(mut self) -> Self {
        for _ in 0..8 {
            let expanded: BTreeMap<_, _> = self
                .0
                .iter()
                .map(|(name, text)| (name.clone(), self.expand_within(text, 4 * MAX_MACRO)))
                .collect();
            let is_done = expanded == self.0;
            self.0 = expanded;
            self.0
                .retain(|name, text| text.len() <= MAX_MACRO && !has_command(text, name));
            if is_done {
                break;
            }
        }
        let names: Vec<String> = self.0.keys().cloned().collect();
        self.0
            .retain(|_, text| !names.iter().any(|name| has_command(text, name)));
        self
    }

    /// A text with what its macros stand for.
    pub(super) fn expand(&self, text: &str) -> String {
        self.expand_within(text, MAX_EXPANDED)
    }

    fn expand_within(&self, text: &str, max_bytes: usize) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut cursor = Cursor::new(text);
        while !cursor.is_at_end() {
            expanded.push_str(cursor.take_until('\\'));
            if cursor.is_at_end() || expanded.len() > max_bytes {
                break;
            }
            if let Some(verbatim) = cursor.verbatim() {
                expanded.push_str(verbatim);
                continue;
            }
            let start = cursor.position();
            let name = cursor.command();
            if matches!(
                name,
                "newcommand" | "renewcommand" | "providecommand" | "DeclareRobustCommand" | "def"
            ) {
                cursor.skip_definition(name); // its own name stays
                expanded.push_str(cursor.since(start));
                continue;
            }
            let Some(meaning) = self.0.get(name) else {
                expanded.push_str(cursor.since(start));
                continue;
            };
            let meaning = meaning.replace("\\xspace", "");
            expanded.push_str(meaning.trim_end());
            let rest = cursor.rest();
            if rest.starts_with("{}") {
                cursor.at += 2;
            } else if let Some(rest) = rest.strip_prefix("\\ ") {
                cursor.at = text.len() - rest.len();
                expanded.push(' ');
            } else if meaning.ends_with(|c: char| c.is_ascii_alphabetic())
                && last_is_command(&meaning)
                && rest.starts_with(|c: char| c.is_ascii_alphabetic())
            {
                expanded.push(' '); // or two commands would become one
            }
        }
        expanded.push_str(cursor.rest());
        expanded
    }
}

/// Whether the last word is a command.
fn last_is_command(text: &str) -> bool {
    text.trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_stand_for_what_they_say() {
        let check = |text: &str, expected: &str| {
            let macros = Macros::of(text);
            let body = text.rsplit("BODY").next().unwrap();
            assert_eq!(macros.expand(body), expected);
        };
        check(
            r"\newcommand{\m}{MI\xspace}\def\x{the \m}BODY\x, \m is \m{}, \m\ good",
            "the MI, MI is MI, MI good",
        );
        check(
            r"\newcommand{\p}[1]{#1}\renewcommand{\section}{no}BODY\p{a} \section",
            r"\p{a} \section",
        );
        check(
            r"\newcommand*\m{MI}\renewcommand{\m}{MJ}BODY\m \mm",
            r"MJ \mm",
        );
        check(r"\def\a{\b\b}\def\b{\a\a}BODY\a", r"\a");
        check(
            r"\newcommand{\R}{\mathbb}BODY\R R \R{R}",
            r"\mathbb R \mathbb{R}",
        );
    }

    #[test]
    fn macros_cannot_grow_without_end() {
        let mut text = r"\def\a{xxxxxxxxxx}".to_string();
        for pair in b"abcdefghijklmnop".windows(2) {
            let (from, to) = (char::from(pair[0]), char::from(pair[1]));
            text.push_str(&format!(r"\def\{to}{{\{from}\{from}\{from}\{from}}}"));
        }
        let macros = Macros::of(&text);
        assert!(macros.expand(r"\p \o \n").len() < 2000);
    }
}
