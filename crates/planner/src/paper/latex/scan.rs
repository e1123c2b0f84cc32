//! Commands, arguments and environments of LaTeX.

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
pub(super) const MAX_BROKEN: usize = 200;

/// Longest text between the delimiters of `\verb`.
const MAX_VERB: usize = 1000;

/// A place in a text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    pub(super) at: usize,
    endless: Endless,
    /// Arguments that did not end.
    broken: usize,
}

/// Ends of environments that no longer come, so that nobody looks for them again.
#[derive(Default)]
pub(super) struct Endless(Vec<String>);

impl Endless {
    /// Where a text has this, which is looked for from the front to the back of one text.
    pub(super) fn find(&mut self, text: &str, end: &str) -> Option<usize> {
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

    pub(super) fn rest(&self) -> &'a str {
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

    /// Moves behind the name of the next command that is not in verbatim text.
    pub(super) fn next_command(&mut self) -> Option<&'a str> {
        loop {
            self.take_until('\\');
            if self.is_at_end() {
                return None;
            }
            if self.verbatim().is_none() {
                return Some(self.command());
            }
        }
    }

    /// Spaces, and at most one end of a line.
    pub(super) fn skip_spaces(&mut self) {
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
    pub(super) fn definition(&mut self, name: &str) -> Option<(&'a str, &'a str)> {
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
pub(super) fn group_length(text: &str, open: u8, close: u8, longest: usize) -> Option<usize> {
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
pub(super) fn verbatim_length(text: &str, endless: &mut Endless) -> Option<usize> {
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

/// Whether a command of this name stands at the beginning.
pub(super) fn is_command(rest: &str, name: &str) -> bool {
    rest.strip_prefix('\\')
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
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
    while let Some(name) = cursor.next_command() {
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
    fn titles_lose_their_markup() {
        let check = |title: &str, expected: &str| assert_eq!(plain_title(title), expected);
        check(r"\textbf{A} \& {\it B}~C\footnote{no {x}}", "A & B C");
        check(r"\texorpdfstring{$\alpha$}{alpha}-net", "alpha-net");
        check(r"The $L_{2}$ loss\label{s}", "The $L_{2}$ loss");
        check(r"{\color{red} Red} \\[2pt] line", "Red line");
        check(r"open {brace", "open brace");
    }
}
