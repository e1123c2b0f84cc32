//! Foreign text in the page: escaped for HTML and XML, cut, and made into file names.

use crate::explain::is_direction;

/// Text as the content of an element or the value of an attribute, in HTML and XML alike.
///
/// Control characters, which XML cannot hold, become a replacement character, and marks that change the direction of
/// what follows are written out.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c if is_direction(c) => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The first characters of a text, with an ellipsis if there are more.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut chars = text.char_indices().skip(most.saturating_sub(1));
    match (chars.next(), chars.next()) {
        (Some((end, _)), Some(_)) => format!("{}…", text[..end].trim_end()),
        _ => text.to_owned(),
    }
}

/// A text with its middle left out, so that it is as wide as so many letters, of which wide characters take nearly
/// two. Names of variants often differ only at their end.
pub(super) fn cut_to_width(text: &str, letters: f64) -> String {
    let width = |c: char| if c >= '\u{1100}' { 1.7 } else { 1.0 };
    if text.chars().map(width).sum::<f64>() <= letters {
        return text.to_owned();
    }
    let fitting = |chars: &mut dyn Iterator<Item = char>, most: f64| {
        let mut sum = 0.0;
        let chars = chars.take_while(|&c| {
            sum += width(c);
            sum <= most
        });
        chars.collect::<Vec<char>>()
    };
    let half = (letters - 1.0) / 2.0;
    let start: String = fitting(&mut text.chars(), half).into_iter().collect();
    let end = fitting(&mut text.chars().rev(), half).into_iter().rev();
    let end: String = end.collect();
    format!("{}…{}", start.trim_end(), end.trim_start())
}

/// A part of a file name: lower-case letters, digits and single hyphens, never empty.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
        if slug.len() == 40 {
            break;
        }
    }
    match slug.trim_end_matches('-') {
        "" => "plot".to_owned(),
        slug => slug.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_markup_knows_survives() {
        assert_eq!(
            escaped("<a b=\"c\" d='e'>&\u{0}\u{1b}\u{202e}é\n"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\u{fffd}\u{fffd}\\u{202e}é\n"
        );
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("", 3), "");
        assert_eq!(cut_to_width("query-key only", 14.0), "query-key only");
        assert_eq!(cut_to_width("variant number 12", 10.0), "vari…r 12");
        assert_eq!(cut_to_width("any", 0.0), "…");
        assert_eq!(cut_to_width("動き動き動き", 8.0), "動き…動き");
    }

    #[test]
    fn file_names_are_plain() {
        assert_eq!(slug("Debiasing (of MV)"), "debiasing-of-mv");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("動き"), "plot");
        assert!(slug(&"x y".repeat(100)).len() <= 40);
    }
}
