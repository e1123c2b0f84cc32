//! Commands, arguments, environments, comments and macros of LaTeX.

use std::collections::BTreeMap;

/// Environments whose content is no LaTeX.
const VERBATIM: [&str; 8] = [
    "verbatim",
    "verbatim*",
    "Verbatim",
    "lstlisting",
    "minted",
    "alltt",
    "filecontents",
    "filecontents*",
];

/// Longest argument.
const MAX_ARGUMENT: usize = 64 << 10;

/// Longest argument once many did not end, so that no text takes forever.
const MAX_ARGUMENT_OF_BROKEN: usize = 1 << 10;

/// How many arguments may not end before a text counts as broken.
const MAX_BROKEN: usize = 200;

/// Longest text between the delimiters of `\verb`.
const MAX_VERB: usize = 1000;

/// Most bytes that macros may make of a text.
const MAX_EXPANDED: usize = 64 << 20;

/// Longest text that a macro stands for.
const MAX_MACRO: usize = 400;

/// A place in a text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    endless: Endless,
    /// Arguments that did not end.
    broken: usize,
}

/// Ends of environments that no longer come, so that nobody looks for them again.
#[derive(Default)]
struct Endless(Vec<String>);

impl Endless {
    /// Where a text has this, which is looked for from the front to the back of one text.
    fn find(&mut self, text: &str, end: &str) -> Option<usize> {
        if self.0.iter().any(|missing| missing == end) {
            return None;
        }
        let found = text.find(end);
        if found.is_none() && self.0.len() < 1000 {
            self.0.push(end.to_string());
        }
        found
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            endless: Endless::default(),
            broken: 0,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Everything up to a character, or to the end.
    pub(super) fn take_until(&mut self, c: char) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(c).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// The name of the command here, which begins with a backslash: letters, or one other character.
    pub(super) fn command(&mut self) -> &'a str {
        let rest = &self.rest()[1..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '@')
                .len();
        let length = if letters > 0 {
            letters
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        self.at += 1 + length;
        &rest[..length]
    }

    /// A verbatim environment or `\verb|..|` that begins here, as a whole.
    pub(super) fn verbatim(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let length = verbatim_length(rest, &mut self.endless)?;
        let start = self.at;
        self.at += length;
        Some(self.since(start))
    }

    pub(super) fn skip_star(&mut self) {
        if self.rest().starts_with('*') {
            self.at += 1;
        }
    }

    /// Spaces, and at most one end of a line.
    fn skip_spaces(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        let space = &rest[..rest.len() - trimmed.len()];
        if space.matches('\n').count() <= 1 {
            self.at += space.len();
        }
    }

    pub(super) fn is_at_brace(&self) -> bool {
        self.rest().trim_start().starts_with('{')
    }

    /// Skips an argument in brackets.
    pub(super) fn optional(&mut self) -> Option<&'a str> {
        self.group(b'[', b']')
    }

    /// An argument in braces, without them.
    pub(super) fn argument(&mut self) -> Option<&'a str> {
        self.group(b'{', b'}')
    }

    fn group(&mut self, open: u8, close: u8) -> Option<&'a str> {
        let start = self.at;
        self.skip_spaces();
        let rest = self.rest();
        if rest.as_bytes().first() == Some(&open) {
            let longest = if self.broken < MAX_BROKEN {
                MAX_ARGUMENT
            } else {
                MAX_ARGUMENT_OF_BROKEN
            };
            if let Some(length) = group_length(rest, open, close, longest) {
                self.at += length;
                return Some(&rest[1..length - 1]);
            }
            self.broken += 1;
        }
        self.at = start;
        None
    }

    /// A word on the same line, as in `\\input file`.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest().strip_prefix(' ')?.trim_start_matches(' ');
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '\\'))
            .unwrap_or(rest.len());
        self.at = self.text.len() - rest.len() + end;
        (end > 0).then(|| &rest[..end])
    }

    /// Skips so many arguments, and those in brackets before them.
    pub(super) fn arguments(&mut self, count: usize) {
        for _ in 0..count {
            while self.optional().is_some() {}
            self.argument();
        }
    }

    /// Everything up to the end of an environment, which is skipped; environments of the same name nest. One that does
    /// not end is empty.
    pub(super) fn until_end_of(&mut self, name: &str) -> &'a str {
        let (begin, end) = (format!("\\begin{{{name}}}"), format!("\\end{{{name}}}"));
        let rest = self.rest();
        let mut depth = 0_usize;
        let mut at = 0;
        while let Some(found) = self.endless.find(&rest[at..], &end) {
            depth += rest[at..at + found].matches(&begin).count();
            at += found + end.len();
            if depth == 0 {
                self.at += at;
                return &rest[..at - end.len()];
            }
            depth -= 1;
        }
        ""
    }

    /// Skips what follows `\newcommand` and its like.
    pub(super) fn skip_definition(&mut self, name: &str) {
        self.definition(name);
    }

    /// The name and the text of a macro without arguments, defined here. The cursor ends after the definition.
    fn definition(&mut self, name: &str) -> Option<(&'a str, &'a str)> {
        self.skip_star();
        self.skip_spaces();
        let start = self.at;
        let defined = if name == "def" || self.rest().starts_with('\\') {
            if !self.rest().starts_with('\\') {
                return None;
            }
            self.command()
        } else {
            let argument = self.argument()?.trim();
            argument.strip_prefix('\\').unwrap_or(argument)
        };
        if name == "def" {
            let parameters = self.take_until('{');
            if parameters.len() > 40 {
                self.at = start;
                return None;
            }
            let text = self.argument()?;
            return parameters.trim().is_empty().then_some((defined, text));
        }
        let mut takes_arguments = false;
        while self.optional().is_some() {
            takes_arguments = true;
        }
        let text = self.argument()?;
        (!takes_arguments).then_some((defined, text))
    }
}

/// How long a group in these brackets is that begins at the beginning, brackets included.
fn group_length(text: &str, open: u8, close: u8, longest: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut braces) = (0_usize, 0_usize);
    let mut at = 0;
    while at < bytes.len().min(longest) {
        let byte = bytes[at];
        if byte == b'\\' {
            at += 2;
            continue;
        }
        if byte == open && (open == b'{' || braces == 0) {
            depth += 1;
        } else if byte == close && (open == b'{' || braces == 0) {
            depth -= 1;
            if depth == 0 {
                return Some(at + 1);
            }
        } else if byte == b'{' {
            braces += 1;
        } else if byte == b'}' {
            braces = braces.checked_sub(1)?; // the group around ends first
        }
        at += 1;
    }
    None
}

/// How long the verbatim text is that begins at the beginning.
fn verbatim_length(text: &str, endless: &mut Endless) -> Option<usize> {
    if let Some(rest) = text.strip_prefix("\\begin{") {
        let name = &rest[..rest.find('}')?];
        if !VERBATIM.contains(&name) {
            return None;
        }
        let end = format!("\\end{{{name}}}");
        return endless.find(text, &end).map(|at| at + end.len());
    }
    let rest = text
        .strip_prefix("\\verb")
        .or_else(|| text.strip_prefix("\\lstinline"))?;
    let rest = rest.strip_prefix('*').unwrap_or(rest);
    let delimiter = rest.chars().next()?;
    if delimiter.is_alphanumeric() || delimiter.is_whitespace() || matches!(delimiter, '{' | '[') {
        return None;
    }
    let content = &rest[delimiter.len_utf8()..];
    let end = content
        .char_indices()
        .take(MAX_VERB)
        .take_while(|(_, c)| *c != '\n');
    let (end, _) = { end }.find(|(_, c)| *c == delimiter)?;
    Some(text.len() - content.len() + end + delimiter.len_utf8())
}

/// A text without comments, without what never shows, and without what follows `\endinput`.
pub(super) fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut endless = Endless::default();
    let mut open_conditionals = 0;
    while let Some(at) = rest.find(['\\', '%']) {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('%') {
            rest = after_comment(rest, &mut kept);
        } else if let Some(length) = verbatim_length(rest, &mut endless) {
            kept.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if let Some(after) = after_comment_environment(rest, &mut endless) {
            rest = after;
        } else if open_conditionals < MAX_BROKEN && is_command(rest, "iffalse") {
            match after_iffalse(rest) {
                Some(after) => rest = after,
                None => {
                    open_conditionals += 1;
                    kept.push_str("\\iffalse");
                    rest = &rest["\\iffalse".len()..];
                }
            }
        } else if is_command(rest, "endinput") {
            return kept;
        } else {
            let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            kept.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    kept.push_str(rest);
    kept
}

/// Skips a comment. A line that is nothing but one goes as a whole; behind text, the line goes on with the next.
fn after_comment<'a>(rest: &'a str, kept: &mut String) -> &'a str {
    let Some(end) = rest.find('\n') else {
        return "";
    };
    let next = &rest[end + 1..];
    let before = kept.rsplit('\n').next().unwrap_or("");
    if before.trim().is_empty() {
        kept.truncate(kept.len() - before.len());
        return next;
    }
    let trimmed = next.trim_start_matches([' ', '\t']);
    if trimmed.starts_with('\n') {
        &rest[end..]
    } else {
        trimmed
    }
}

fn after_comment_environment<'a>(rest: &'a str, endless: &mut Endless) -> Option<&'a str> {
    let content = rest.strip_prefix("\\begin{comment}")?;
    let end = "\\end{comment}";
    Some(&content[endless.find(content, end)? + end.len()..])
}

/// What follows `\iffalse .. \fi`, or its `\else`; nothing if it does not end.
fn after_iffalse(rest: &str) -> Option<&str> {
    let mut cursor = Cursor::new(rest);
    cursor.command();
    let mut depth = 0_usize;
    while !cursor.is_at_end() {
        cursor.take_until('\\');
        if cursor.is_at_end() {
            return None;
        }
        match cursor.command() {
            "newif" => {
                cursor.skip_spaces();
                if cursor.rest().starts_with('\\') {
                    cursor.command();
                }
            }
            "fi" if depth == 0 => return Some(cursor.rest()),
            // Its \fi stays behind, where it means nothing.
            "else" if depth == 0 => return Some(cursor.rest()),
            "fi" => depth -= 1,
            "iff" | "ifthenelse" => {}
            name if name.starts_with("if") => depth += 1,
            _ => {}
        }
    }
    None
}

/// Whether a command of this name stands at the beginning.
fn is_command(rest: &str, name: &str) -> bool {
    rest.strip_prefix('\\')
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// What stands before and in `document`; everything is in it if it is not there.
pub(super) fn split_document(text: &str) -> (&str, &str) {
    const BEGIN: &str = "\\begin{document}";
    let Some(begin) = text.find(BEGIN) else {
        return ("", text);
    };
    let body = &text[begin + BEGIN.len()..];
    let end = body.find("\\end{document}").unwrap_or(body.len());
    (&text[..begin], &body[..end])
}

pub(super) fn has_command(text: &str, name: &str) -> bool {
    let command = format!("\\{name}");
    text.match_indices(&command)
        .any(|(at, _)| is_command(&text[at..], name))
}

/// The argument of the first command of this name.
pub(super) fn argument_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    arguments_of(text, &[name]).into_iter().next()
}

/// The arguments of all commands of these names.
pub(super) fn arguments_of<'a>(text: &'a str, names: &[&str]) -> Vec<&'a str> {
    let mut arguments = Vec::new();
    let mut cursor = Cursor::new(text);
    while !cursor.is_at_end() {
        cursor.take_until('\\');
        if cursor.is_at_end() {
            break;
        }
        if cursor.verbatim().is_some() {
            continue;
        }
        let name = cursor.command();
        if !names.contains(&name) {
            continue;
        }
        cursor.skip_star();
        if name == "captionof" {
            cursor.argument(); // of what kind the caption is
        }
        cursor.optional();
        arguments.extend(cursor.argument());
    }
    arguments
}

/// The authors' macros without arguments, behind which the names of methods hide.
#[derive(Debug, Default)]
pub(super) struct Macros(BTreeMap<String, String>);

impl Macros {
    /// Those that a document defines.
    pub(super) fn of(text: &str) -> Self {
        let mut macros = BTreeMap::new();
        let mut cursor = Cursor::new(text);
        while !cursor.is_at_end() {
            cursor.take_until('\\');
            if cursor.is_at_end() {
                break;
            }
            if cursor.verbatim().is_some() {
                continue;
            }
            let name = cursor.command();
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

/// A title without markup: `\textbf{x}` is x, notes and labels are gone, formulas stay.
pub(super) fn plain_title(title: &str) -> String {
    let mut text = String::new();
    plain_into(title, &mut text, 0);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain_into(title: &str, text: &mut String, depth: usize) {
    if depth > 16 {
        return;
    }
    let mut cursor = Cursor::new(title);
    while !cursor.is_at_end() {
        let rest = cursor.rest();
        let Some(at) = rest.find(['\\', '{', '}', '~', '$']) else {
            text.push_str(rest);
            return;
        };
        text.push_str(&rest[..at]);
        cursor.at += at;
        let rest = &rest[at..];
        match rest.as_bytes()[0] {
            b'~' => {
                text.push(' ');
                cursor.at += 1;
            }
            b'{' | b'}' => cursor.at += 1,
            b'$' => {
                let end = rest[1..].find('$').map_or(rest.len(), |end| end + 2);
                text.push_str(&rest[..end]);
                cursor.at += end;
            }
            _ => match cursor.command() {
                "\\" | "newline" | "linebreak" | " " | "," | ";" | "quad" | "break" | "protect" => {
                    text.push(' ');
                    cursor.optional();
                }
                "footnote" | "thanks" | "label" | "vspace" | "hspace" | "footnotemark"
                | "vskip" | "footnotetext" | "raisebox" | "includegraphics" | "fontsize"
                | "color" | "textcolor" => {
                    cursor.skip_star();
                    cursor.optional();
                    cursor.argument();
                }
                "texorpdfstring" => {
                    cursor.argument();
                    plain_into(cursor.argument().unwrap_or(""), text, depth + 1);
                }
                "xspace" | "bf" | "it" | "em" | "sc" | "rm" | "bfseries" | "itshape"
                | "scshape" | "Large" | "large" | "LARGE" | "huge" | "Huge" | "small"
                | "centering" | "selectfont" | "boldmath" | "sf" | "sffamily" | "rmfamily"
                | "ttfamily" | "normalfont" | "/" | "-" | "!" | "@" => cursor.skip_spaces(),
                name @ ("&" | "%" | "#" | "_" | "{" | "}" | "$") => text.push_str(name),
                name => match cursor.argument() {
                    Some(argument) => plain_into(argument, text, depth + 1),
                    None if name.bytes().all(|b| b.is_ascii_alphabetic()) => {
                        text.push('\\');
                        text.push_str(name);
                    }
                    None => {}
                },
            },
        }
    }
}

/// Without spaces at the ends of lines and more than one empty line in a row.
pub(super) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        let line = line.trim_end();
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty <= 1 {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    tidy.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_percent_signs_stay() {
        let check = |text: &str, expected: &str| assert_eq!(without_comments(text), expected);
        check("a 5\\% gain % secret\nb", "a 5\\% gain b");
        check("a\n  % secret\nb", "a\nb");
        check("line\\\\% secret\n\nb", "line\\\\\n\nb");
        check("\\verb|50%| of % secret\n x", "\\verb|50%| of x");
        check(
            "\\begin{verbatim}\n% kept\n\\end{verbatim}",
            "\\begin{verbatim}\n% kept\n\\end{verbatim}",
        );
        check("a\\begin{comment}secret\\end{comment}b", "ab");
        check("a\\iffalse secret \\ifx x \\fi secret\\fi b", "a b");
        check("a\\iffalse secret \\else kept", "a kept");
        check("p \\iff q \\iffalse open", "p \\iff q \\iffalse open");
        check("a\\endinput secret", "a");
        check("a %", "a ");
    }

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

    #[test]
    fn titles_lose_their_markup() {
        let check = |title: &str, expected: &str| assert_eq!(plain_title(title), expected);
        check(r"\textbf{A} \& {\it B}~C\footnote{no {x}}", "A & B C");
        check(r"\texorpdfstring{$\alpha$}{alpha}-net", "alpha-net");
        check(r"The $L_{2}$ loss\label{s}", "The $L_{2}$ loss");
        check(r"{\color{red} Red} \\[2pt] line", "Red line");
        check(r"open {brace", "open brace");
    }
}
