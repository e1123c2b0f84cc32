//! Text from outside, without what neither terminals nor prompts should get.

use unicode_normalization::UnicodeNormalization;

/// The text in NFC with `\n` at the ends of lines; without control characters, escape sequences of terminals, marks that
/// turn the direction of writing, and characters that take no room on a page.
pub(crate) fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                kept.push('\n');
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => kept.push('\n'),
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    skip_control_sequence(&mut chars);
                }
                Some(']' | 'P' | '^' | '_') => {
                    chars.next();
                    skip_string(&mut chars);
                }
                _ => {}
            },
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\n' | '\t' => kept.push(c),
            '\u{a0}' => kept.push(' '),
            c if c.is_control() || is_unseen(c) => {}
            c => kept.push(c),
        }
    }
    kept.nfc().collect()
}

/// Whether a text has characters that command terminals, or that nobody sees.
pub(crate) fn is_unclean(text: &str) -> bool {
    text.chars()
        .any(|c| (c.is_control() && c != '\n' && c != '\t') || is_unseen(c))
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips the rest of `ESC [ 31 m`: parameters up to one letter or sign.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

/// Skips the rest of `ESC ] 0 ; title BEL`, which ends with the line at the latest.
fn skip_string(chars: &mut Chars<'_>) {
    while chars
        .next_if(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}' | '\n' | '\r'))
        .is_some()
    {}
}

/// Characters that are there without being seen, some of which change how others are shown.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}'                                      // hyphens that only show at the end of a line
        | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
        | '\u{e000}'..='\u{f8ff}'                     // private use: nobody knows what it stands for
        | '\u{e0000}'..='\u{e007f}'                   // tags, in which text can hide
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unseen_is_left() {
        let text = "a\u{1b}[31mred\u{1b}[0m \u{202e}evil\u{202c}\0 e\u{301}\r\nx\u{1b}]0;title\u{7}y\u{feff}";
        assert_eq!(clean(text), "ared evil é\nxy");
        assert_eq!(
            clean("one\rtwo\u{2028}three\tfour"),
            "one\ntwo\nthree\tfour"
        );
        assert_eq!(clean("a\u{e0041}\u{e0042}b\u{9b}31mc"), "abc");
    }

    proptest::proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(text in "(?s).{0,60}") {
            let once = clean(&text);
            proptest::prop_assert_eq!(&clean(&once), &once);
            proptest::prop_assert!(once.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }
}
