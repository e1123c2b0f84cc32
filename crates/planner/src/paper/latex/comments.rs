//! What never shows: comments, and what conditionals leave out.

use super::scan::{Cursor, Endless, MAX_BROKEN, is_command, verbatim_length};

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
}
