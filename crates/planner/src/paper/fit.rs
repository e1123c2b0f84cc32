//! Papers within so many tokens, cut by importance.

use super::{Cut, Fitted, Paper, Section, SectionKind};

/// Stands where the end of a section was cut.
const REST_LEFT_OUT: &str = "[the rest of this section was left out]";

/// Stands in place of sections that were left out one after the other.
const LEFT_OUT: &str = "[sections were left out here]";

/// An upper estimate of the tokens of a text, without a tokenizer.
///
/// Tokenizers of language models split text into words first, and those into pieces that are the shorter the rarer the
/// word is. English has about 1.3 pieces a word of 4.7 letters on average; four letters a piece errs on the safe side.
/// Digits, signs and line ends are counted one by one, which makes formulas and tables as expensive as they are. Letters
/// outside of ASCII cost one piece less than they have bytes, where one for each byte is the most that is possible.
///
/// Held against OpenAI's `o200k_base` it was 26 to 48 % above the true number for English prose, LaTeX sources and text
/// from PDFs, and never below.
pub fn estimate_tokens(text: &str) -> usize {
    let mut estimate = Estimate::default();
    for c in text.chars() {
        estimate.add(c);
    }
    estimate.tokens
}

/// The estimate for text that comes in letter by letter.
#[derive(Default)]
struct Estimate {
    tokens: usize,
    /// Letters, or spaces, that stood directly before.
    letters: usize,
    spaces: usize,
}

impl Estimate {
    fn add(&mut self, c: char) {
        self.letters = if c.is_ascii_alphabetic() {
            self.letters + 1
        } else {
            0
        };
        self.spaces = if c == ' ' { self.spaces + 1 } else { 0 };
        self.tokens += match c {
            ' ' => usize::from(self.spaces.is_multiple_of(4)), // one space belongs to the word after it
            c if c.is_ascii_alphabetic() => usize::from(self.letters % 4 == 1),
            c if c.is_ascii() => 1,
            c => c.len_utf8() - 1,
        };
    }
}

/// All of a paper, under Markdown headings.
pub(super) fn render(paper: &Paper) -> String {
    let mut blocks = front(paper);
    blocks.extend(paper.sections.iter().map(block));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n\n")
}

pub(super) fn fit(paper: &Paper, max_tokens: usize) -> Fitted {
    let text = render(paper);
    let tokens = estimate_tokens(&text);
    if tokens <= max_tokens {
        let cuts = Vec::new();
        return Fitted { text, tokens, cuts };
    }
    let plan = Plan::new(paper, max_tokens);
    plan.fitted()
}

/// What is left of each section.
#[derive(Clone, Debug, PartialEq)]
enum Left {
    All,
    Beginning(String),
    Nothing,
}

/// Which parts of a paper are left.
struct Plan<'a> {
    paper: &'a Paper,
    /// Title and abstract.
    front: Vec<String>,
    front_cuts: Vec<Cut>,
    sections: Vec<Left>,
}

impl<'a> Plan<'a> {
    fn new(paper: &'a Paper, max_tokens: usize) -> Self {
        let mut plan = Self {
            paper,
            front: front(paper),
            front_cuts: Vec::new(),
            sections: vec![Left::All; paper.sections.len()],
        };
        // Two line ends stand between blocks.
        let cost = |text: &str| {
            if text.is_empty() {
                0
            } else {
                estimate_tokens(text) + 2
            }
        };
        let costs: Vec<usize> = paper.sections.iter().map(|s| cost(&block(s))).collect();
        let front_cost: usize = plan.front.iter().map(|block| cost(block)).sum();
        let mut total = front_cost + costs.iter().sum::<usize>();
        for index in by_importance(paper) {
            if total <= max_tokens {
                return plan;
            }
            let section = &paper.sections[index];
            let heading = heading(section);
            let rest = format!("{REST_LEFT_OUT}\n\n");
            let around = cost(&heading) + cost(&rest) + 2;
            let room = (max_tokens + costs[index]).saturating_sub(total + around);
            let beginning = beginning(&section.text, room);
            if !beginning.is_empty() && beginning.len() < section.text.len() {
                let mut blocks = vec![heading, beginning.to_string(), REST_LEFT_OUT.into()];
                blocks.retain(|block| !block.is_empty());
                plan.sections[index] = Left::Beginning(blocks.join("\n\n"));
                return plan;
            }
            // Neighbours that are left out as well share one line about it.
            let gone = |index: Option<usize>| {
                index.is_some_and(|i| plan.sections.get(i) == Some(&Left::Nothing))
            };
            let lines_before =
                usize::from(gone(index.checked_sub(1))) + usize::from(gone(Some(index + 1)));
            total = total + cost(LEFT_OUT) - lines_before * cost(LEFT_OUT) - costs[index];
            plan.sections[index] = Left::Nothing;
        }
        if total > max_tokens {
            let line = if paper.sections.is_empty() {
                0
            } else {
                cost(LEFT_OUT)
            };
            plan.cut_front(max_tokens.saturating_sub(line));
        }
        plan
    }

    /// Cuts the abstract, and if that is not enough the title, so that both have at most so many tokens.
    fn cut_front(&mut self, max_tokens: usize) {
        let mut left = max_tokens;
        let whole = std::mem::take(&mut self.front);
        let names = ["Title", "Abstract"];
        let names = &names[usize::from(self.paper.title.is_none())..];
        for (text, name) in whole.into_iter().zip(names) {
            let tokens = estimate_tokens(&text);
            let mut kept = text.as_str();
            let mut marked = String::new();
            if tokens + 2 > left {
                let room = left.saturating_sub(estimate_tokens(REST_LEFT_OUT) + 6);
                kept = match *name {
                    "Title" => whole_words(prefix(&text, room)),
                    _ => beginning(&text, room),
                };
                if !kept.is_empty() && *name == "Abstract" {
                    marked = format!("{kept}\n\n{REST_LEFT_OUT}");
                }
                self.front_cuts.push(Cut {
                    section: (*name).to_string(),
                    tokens,
                    kept: estimate_tokens(kept),
                });
            }
            let shown = if marked.is_empty() {
                kept.to_string()
            } else {
                marked
            };
            left = left.saturating_sub(estimate_tokens(&shown) + 2);
            self.front.push(shown);
        }
    }

    fn fitted(self) -> Fitted {
        let mut blocks = self.front;
        let mut cuts = self.front_cuts;
        let mut before_was_left_out = false;
        for (section, left) in self.paper.sections.iter().zip(&self.sections) {
            let whole = block(section);
            let kept = match left {
                Left::All => whole,
                Left::Beginning(beginning) => {
                    cuts.push(cut(section, &whole, estimate_tokens(beginning)));
                    beginning.clone()
                }
                Left::Nothing => {
                    cuts.push(cut(section, &whole, 0));
                    if !before_was_left_out {
                        blocks.push(LEFT_OUT.into());
                    }
                    before_was_left_out = true;
                    continue;
                }
            };
            before_was_left_out = false;
            blocks.push(kept);
        }
        blocks.retain(|block| !block.is_empty());
        let text = blocks.join("\n\n");
        let tokens = estimate_tokens(&text);
        Fitted { text, tokens, cuts }
    }
}

fn cut(section: &Section, whole: &str, kept: usize) -> Cut {
    let title = &section.title;
    Cut {
        section: if title.is_empty() {
            "(without a title)".into()
        } else {
            title.clone()
        },
        tokens: estimate_tokens(whole),
        kept,
    }
}

/// Sections, the least important first; of those that are about the same, the last first.
fn by_importance(paper: &Paper) -> Vec<usize> {
    let rank = |kind: SectionKind| match kind {
        SectionKind::References => 0,
        SectionKind::Acknowledgements => 1,
        SectionKind::Appendix => 2,
        SectionKind::Related => 3,
        SectionKind::Discussion => 4,
        SectionKind::Other => 5,
        SectionKind::Introduction => 6,
        SectionKind::Background => 7,
        SectionKind::Experiments => 8,
        SectionKind::Ablation => 9,
        SectionKind::Method => 10,
    };
    let kinds = paper.kinds();
    let mut order: Vec<usize> = (0..kinds.len()).rev().collect();
    order.sort_by_key(|&index| rank(kinds[index]));
    order
}

/// Title and abstract, where they are there.
fn front(paper: &Paper) -> Vec<String> {
    let title = paper.title.iter().map(|title| format!("# {title}"));
    let text = paper.abstract_text.iter();
    title
        .chain(text.map(|text| format!("## Abstract\n\n{text}")))
        .collect()
}

/// A section with its heading.
fn block(section: &Section) -> String {
    let heading = heading(section);
    match (heading.is_empty(), section.text.is_empty()) {
        (true, _) => section.text.clone(),
        (_, true) => heading,
        _ => format!("{heading}\n\n{}", section.text),
    }
}

fn heading(section: &Section) -> String {
    if section.title.is_empty() {
        return String::new();
    }
    let depth = section.level.clamp(1, 5) + 1; // below the title
    format!("{} {}", "#".repeat(depth), section.title)
}

/// The beginning of a text within so many tokens, up to the end of a paragraph or a sentence; nothing if its first
/// sentence is too long.
fn beginning(text: &str, max_tokens: usize) -> &str {
    let prefix = prefix(text, max_tokens);
    if prefix.len() == text.len() {
        return text;
    }
    let bytes = text.as_bytes();
    let ends = |end: &usize| {
        let end = *end;
        let paragraph = text[end..].starts_with("\n\n");
        let sentence = end > 0
            && matches!(bytes[end - 1], b'.' | b'?' | b'!')
            && matches!(bytes[end], b' ' | b'\n');
        paragraph || sentence
    };
    let end = (0..=prefix.len())
        .rev()
        .filter(|&end| text.is_char_boundary(end))
        .find(ends);
    text[..end.unwrap_or(0)].trim_end()
}

/// As much of the beginning as so many tokens hold.
fn prefix(text: &str, max_tokens: usize) -> &str {
    let mut estimate = Estimate::default();
    for (index, c) in text.char_indices() {
        estimate.add(c);
        if estimate.tokens > max_tokens {
            return &text[..index];
        }
    }
    text
}

/// Without the word at the end, which may have been cut.
fn whole_words(text: &str) -> &str {
    text.rfind(' ').map_or(text, |space| &text[..space])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_upper_ones() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("a motion"), 3);
        assert_eq!(estimate_tokens("x = 12\n"), 5);
        assert_eq!(estimate_tokens(r"\mathcal{L}"), 1 + 2 + 3);
        assert_eq!(estimate_tokens("é"), 1);
        assert_eq!(estimate_tokens("動"), 2);
    }

    #[test]
    fn beginnings_end_with_a_sentence() {
        let text = "One is short. Two is longer than that. Three\n\nFour.";
        assert_eq!(beginning(text, 9), "One is short.");
        assert_eq!(beginning(text, 2), "");
        assert_eq!(beginning(text, 100), text);
    }
}
