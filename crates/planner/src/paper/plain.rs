//! Papers in plain text, whose headings only numbers and well-known names tell.

use std::collections::HashSet;

use super::Paper;
use super::headings::{Number, Outline, after_abstract, is_abstract, is_well_known};

/// A paragraph, or a heading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// Its lines.
    pub(super) lines: Vec<String>,
    /// Whether all of it is bold or larger than other text; none where nobody knows.
    pub(super) emphasised: Option<bool>,
}

/// Reads clean text, which keeps its lines.
pub(super) fn parse(text: &str) -> Paper {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            open = false;
        } else if let Some(block) = blocks.last_mut().filter(|_| open) {
            block.lines.push(line.trim_end().to_string());
        } else {
            open = true;
            blocks.push(Block {
                lines: vec![line.trim_end().to_string()],
                emphasised: None,
            });
        }
    }
    // A heading may stand directly over its text.
    let mut apart = Vec::with_capacity(blocks.len());
    for mut block in blocks {
        let first = block.lines[0].clone();
        if block.lines.len() > 1 && (is_well_known(&first) || numbered(&first).is_some()) {
            block.lines.remove(0);
            let emphasised = None;
            let lines = vec![first];
            apart.push(Block { lines, emphasised });
        }
        apart.push(block);
    }
    let title = apart.first().filter(|block| {
        let text = block.lines.join(" ");
        block.lines.len() <= 3
            && text.len() <= 250
            && !text.ends_with('.')
            && !is_heading_like(&text)
    });
    let title = title.map(|block| block.lines.join(" "));
    let rest = &apart[usize::from(title.is_some())..];
    let mut paper = from_blocks(rest, false);
    paper.title = title;
    paper
}

/// Puts a paper together from its paragraphs. Words that are hyphenated at the end of a line become whole; `join` puts
/// the lines of a paragraph into one.
pub(super) fn from_blocks(blocks: &[Block], join: bool) -> Paper {
    let words = Words::of(blocks);
    let mut outline = Outline::default();
    let mut sequence = Sequence::default();
    for block in blocks {
        let text = words.joined(&block.lines, join);
        let one_line = text.replace('\n', " ");
        let short = one_line.len() <= 120 && block.lines.len() <= 3;
        if short && let Some(title) = sequence.heading(&one_line, block.emphasised) {
            outline.heading(&title, None);
            continue;
        }
        let no_abstract = outline.paper.abstract_text.is_none();
        if let Some(rest) = after_abstract(&text).filter(|_| no_abstract) {
            outline.begin_abstract();
            outline.text(rest);
        } else {
            outline.text(&text);
        }
        outline.text("\n\n");
    }
    outline.paper
}

fn is_heading_like(text: &str) -> bool {
    is_abstract(text) || is_well_known(text) || numbered(text).is_some()
}

/// A line with a number and a short title.
fn numbered(line: &str) -> Option<(Number, &str)> {
    let (number, title) = Number::split(line)?;
    let words = title.split_whitespace().count();
    let begins = title.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
    let ends = title.ends_with(['.', ',', ';', ':']);
    let letters = title.chars().filter(|c| c.is_alphabetic()).count();
    // Rows of tables have a number in front too, but more numbers than words behind it.
    let is_title = letters * 2 >= title.chars().count();
    (begins && !ends && words <= 14 && title.len() <= 100 && letters >= 3 && is_title)
        .then_some((number, title))
}

/// Numbers of sections come in order, and those of lists and tables rarely fit in.
#[derive(Default)]
struct Sequence {
    last: Vec<u32>,
    roman: u32,
    past_end: bool,
}

impl Sequence {
    /// The heading, with its number, if this is one.
    fn heading(&mut self, line: &str, emphasised: Option<bool>) -> Option<String> {
        let line = line.trim();
        if let Some((number, title)) = numbered(line) {
            let capitals = title.chars().filter(|c| c.is_uppercase()).count() * 2 > title.len();
            let stands_out = emphasised.unwrap_or(true) || capitals || is_well_known(title);
            if stands_out && self.follows(&number) {
                self.note(title);
                return Some(line.to_string());
            }
            return None;
        }
        let known = (is_well_known(line) || is_abstract(line)) && emphasised != Some(false);
        let capitals = !line.chars().any(char::is_lowercase) && is_well_known(line);
        let appendix = self.past_end && emphasised.unwrap_or(false) && line.starts_with("A ");
        if known || capitals || appendix {
            self.note(line);
            return Some(line.to_string());
        }
        None
    }

    fn note(&mut self, title: &str) {
        use super::SectionKind::{Appendix, Discussion, References};
        let kind = super::SectionKind::of_title(title);
        self.past_end |= matches!(kind, Appendix | Discussion | References);
    }

    /// Whether a number can come next; one may have been missed in between.
    fn follows(&mut self, number: &Number) -> bool {
        let next = |last: u32, number: u32| number == last + 1 || number == last + 2;
        match number {
            Number::Roman(number) => {
                let follows = next(self.roman, *number);
                if follows {
                    self.roman = *number;
                }
                follows
            }
            Number::Letter(..) => self.roman > 0 || self.past_end,
            Number::Arabic(numbers) => {
                let shared = numbers
                    .iter()
                    .zip(&self.last)
                    .take_while(|(a, b)| a == b)
                    .count();
                let follows = match numbers.get(shared..) {
                    Some([number]) => next(self.last.get(shared).copied().unwrap_or(0), *number),
                    // A section whose heading was missed, with its first subsection.
                    Some([number, 1]) => next(self.last.get(shared).copied().unwrap_or(0), *number),
                    _ => false,
                };
                if follows {
                    self.last.clone_from(numbers);
                }
                follows
            }
        }
    }
}

/// The words of a text, by which a hyphen at the end of a line is told from one that belongs there.
struct Words(HashSet<String>);

impl Words {
    fn of(blocks: &[Block]) -> Self {
        let lines = blocks.iter().flat_map(|block| &block.lines);
        let words = lines.flat_map(|line| line.split_whitespace());
        let words = words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
        Self(
            words
                .filter(|word| word.contains('-'))
                .map(str::to_lowercase)
                .collect(),
        )
    }

    /// The lines as one text.
    fn joined(&self, lines: &[String], join: bool) -> String {
        let mut text = String::new();
        for line in lines {
            let line = if join { line.trim() } else { line.as_str() };
            if text.is_empty() {
                text.push_str(line);
                continue;
            }
            let broken = text.ends_with('-')
                && text[..text.len() - 1].ends_with(char::is_alphabetic)
                && line.trim_start().starts_with(char::is_lowercase);
            if !broken {
                text.push(if join { ' ' } else { '\n' });
                text.push_str(line);
                continue;
            }
            let line = line.trim_start();
            let first = text
                .rsplit(|c: char| c.is_whitespace() || c == '(')
                .next()
                .unwrap_or("");
            let second: String = line
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '-')
                .collect();
            let compound = format!("{first}{second}").to_lowercase();
            if !self.0.contains(&compound) {
                text.pop();
            }
            let (end, rest) = line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()));
            text.push_str(end);
            if !rest.trim().is_empty() {
                text.push(if join { ' ' } else { '\n' });
                text.push_str(rest.trim_start());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lines: &[&str], all: &[&str]) -> String {
        let block = |lines: &[&str]| Block {
            lines: lines.iter().map(|line| line.to_string()).collect(),
            emphasised: None,
        };
        let words = Words::of(&[block(all), block(lines)]);
        words.joined(&block(lines).lines, true)
    }

    #[test]
    fn hyphens_at_line_ends_go_unless_they_belong_there() {
        assert_eq!(
            joined(&["cus-", "tomization of", "videos"], &[]),
            "customization of videos"
        );
        assert_eq!(
            joined(&["the self-", "attention."], &["self-attention"]),
            "the self-attention."
        );
        assert_eq!(joined(&["a -", "b", "x-", "Y"], &[]), "a - b x- Y");
    }

    #[test]
    fn numbers_in_order_make_headings() {
        let mut sequence = Sequence::default();
        for (line, is_heading) in [
            ("1 Introduction", true),
            ("1 apple", false),
            ("7 Large Items", false),
            ("2 Related Work", true),
            ("3 Method", true),
            ("3.1. Motion Embeddings", true),
            ("3.1 12.5 33.2 Ours", false),
            ("3.3 Loss", true),
            ("5.1 Setup", true),
            ("References", true),
        ] {
            assert_eq!(sequence.heading(line, None).is_some(), is_heading, "{line}");
        }
    }
}
