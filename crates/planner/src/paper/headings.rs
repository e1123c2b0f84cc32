//! Headings of texts that have no markup for them, or uneven one: numbers, well-known names, and a paper put together
//! from them.

use super::{Paper, Section, SectionKind};

/// The number in front of a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// `4` or `4.3`.
    Arabic(Vec<u32>),
    /// `IV`.
    Roman(u32),
    /// `B` or `B.2`, of appendices, or of subsections below roman numbers.
    Letter(char, Vec<u32>),
}

impl Number {
    /// Splits `4.3 Title` into number and title. A letter or a roman number has to be followed by a full stop, unless it
    /// cannot be a word.
    pub(super) fn split(title: &str) -> Option<(Self, &str)> {
        let title = title.trim_start().trim_start_matches('§').trim_start();
        let title = strip_word(title, "section").unwrap_or(title);
        let (mark, rest) = title.split_once([' ', '\t'])?;
        let rest = rest.trim();
        if !rest.chars().any(char::is_alphabetic) {
            return None;
        }
        let ended = mark.ends_with(['.', ':', ')']);
        let mark = mark.trim_end_matches(['.', ':', ')']);
        let mut parts = mark.split('.');
        let first = parts.next()?;
        let below = parts
            .map(|part| part.parse().ok().filter(|_| part.len() <= 2))
            .collect::<Option<Vec<u32>>>()?;
        if below.len() > 4 {
            return None;
        }
        if first.len() <= 2 && first.bytes().all(|b| b.is_ascii_digit()) {
            let mut numbers = vec![first.parse().ok()?];
            numbers.extend(below);
            return Some((Self::Arabic(numbers), rest));
        }
        if below.is_empty()
            && (ended || first.len() > 1)
            && let Some(value) = roman(first)
        {
            return Some((Self::Roman(value), rest));
        }
        let mut letters = first.chars();
        let (letter, None) = (letters.next()?, letters.next()) else {
            return None;
        };
        // "A Simple Method" is a title, "I think" is a sentence.
        let word = matches!(letter, 'A' | 'I') && !ended && below.is_empty();
        let capital = rest.starts_with(|c: char| c.is_uppercase() || c.is_numeric());
        (letter.is_ascii_uppercase() && !word && capital)
            .then_some((Self::Letter(letter, below), rest))
    }
}

fn roman(text: &str) -> Option<u32> {
    const NUMBERS: [&str; 15] = [
        "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV",
        "XV",
    ];
    let index = NUMBERS.iter().position(|number| *number == text)?;
    Some(index as u32 + 1)
}

/// What follows a first word, in whatever case, if it is this one.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len())?;
    let rest = text.get(word.len()..)?;
    (head.eq_ignore_ascii_case(word) && rest.starts_with(' ')).then(|| rest.trim_start())
}

/// Names that stand over sections without a number as well.
pub(super) fn is_well_known(title: &str) -> bool {
    const NAMES: [&str; 38] = [
        "abstract",
        "introduction",
        "related work",
        "related works",
        "background",
        "preliminaries",
        "method",
        "methods",
        "methodology",
        "approach",
        "our approach",
        "our method",
        "proposed method",
        "the proposed method",
        "experiments",
        "experimental setup",
        "experimental results",
        "evaluation",
        "results",
        "ablation study",
        "ablation studies",
        "ablations",
        "discussion",
        "discussions",
        "limitations",
        "conclusion",
        "conclusions",
        "conclusion and future work",
        "conclusions and future work",
        "discussion and conclusion",
        "references",
        "bibliography",
        "acknowledgements",
        "acknowledgments",
        "acknowledgement",
        "acknowledgment",
        "appendix",
        "supplementary material",
    ];
    let title = title.trim().trim_end_matches([':', '.']).to_lowercase();
    NAMES.contains(&title.as_str())
        || matches!(
            title.as_str(),
            "appendices" | "results and discussion" | "experiments and results"
        )
}

/// Whether a title is the one of the abstract.
pub(super) fn is_abstract(title: &str) -> bool {
    title
        .trim()
        .trim_end_matches([':', '.', '—', '–', '-'])
        .eq_ignore_ascii_case("abstract")
}

/// What follows "Abstract—", "Abstract." or "Abstract:" at the beginning of a paragraph.
pub(super) fn after_abstract(text: &str) -> Option<&str> {
    let head = text.get(.."abstract".len())?;
    if !head.eq_ignore_ascii_case("abstract") {
        return None;
    }
    let rest = text["abstract".len()..].trim_start();
    let text = rest.trim_start_matches(['—', '–', '-', ':', '.']);
    (text.len() < rest.len()).then(|| text.trim_start())
}

/// A paper that is put together heading by heading.
#[derive(Default)]
pub(super) struct Outline {
    pub(super) paper: Paper,
    in_abstract: bool,
    /// Sections have roman numbers, so that letters number subsections.
    roman: bool,
    /// Conclusion or references have come, so that letters number appendices.
    past_end: bool,
    in_appendix: bool,
    /// Level of the last heading with a number.
    numbered: Option<usize>,
}

impl Outline {
    /// Begins a section. `level` is what the markup says, if there is any; numbers know better.
    pub(super) fn heading(&mut self, title: &str, level: Option<usize>) {
        let split = Number::split(title).or_else(|| {
            let (first, rest) = title.trim().split_once(' ')?;
            (self.past_end && first == "A").then_some((Number::Letter('A', vec![]), rest))
        });
        let (number, title) = match split {
            Some((number, rest)) => (Some(number), rest),
            None => (None, title.trim()),
        };
        let is_first = self.paper.abstract_text.is_none() && self.paper.sections.len() <= 1;
        if is_abstract(title) && is_first {
            self.in_abstract = true;
            return;
        }
        self.in_abstract = false;
        let level = match &number {
            Some(Number::Arabic(numbers)) => numbers.len(),
            Some(Number::Roman(_)) => {
                self.roman = true;
                1
            }
            Some(Number::Letter(_, below)) if self.roman && !self.past_end => below.len() + 2,
            Some(Number::Letter(_, below)) => {
                if self.past_end {
                    self.begin_appendix();
                }
                below.len() + 1
            }
            None if is_well_known(title) => 1,
            None => {
                let below_numbered = self.numbered.map_or(1, |level| level + 1);
                level.unwrap_or(1).max(below_numbered)
            }
        };
        if number.is_some() {
            self.numbered = Some(level);
        } else if level == 1 {
            self.numbered = None;
        }
        match SectionKind::of_title(title) {
            SectionKind::References => self.past_end = true,
            SectionKind::Discussion if level == 1 => self.past_end = true,
            SectionKind::Appendix => {
                self.past_end = true;
                self.in_appendix = true;
            }
            _ => {}
        }
        self.paper.sections.push(Section {
            level: level.clamp(1, 6),
            title: title.trim_end_matches(':').to_string(),
            text: String::new(),
        });
    }

    fn begin_appendix(&mut self) {
        if !self.in_appendix {
            self.in_appendix = true;
            self.paper.sections.push(appendix());
        }
    }

    /// Begins the abstract without a heading.
    pub(super) fn begin_abstract(&mut self) {
        self.in_abstract = true;
    }

    /// Adds to the section, or to the abstract. Text before the first heading is a section without a title.
    pub(super) fn text(&mut self, text: &str) {
        if self.in_abstract {
            self.paper
                .abstract_text
                .get_or_insert_default()
                .push_str(text);
            return;
        }
        if self.paper.sections.is_empty() {
            if text.trim().is_empty() {
                return;
            }
            self.paper.sections.push(Section {
                level: 1,
                title: String::new(),
                text: String::new(),
            });
        }
        if let Some(section) = self.paper.sections.last_mut() {
            section.text.push_str(text);
        }
    }
}

/// Stands before the first section of an appendix that has no heading of its own.
pub(super) fn appendix() -> Section {
    Section {
        level: 1,
        title: "Appendix".into(),
        text: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_split_from_titles() {
        let split = |title: &'static str| Number::split(title);
        assert_eq!(
            split("4.3 Loss"),
            Some((Number::Arabic(vec![4, 3]), "Loss"))
        );
        assert_eq!(
            split("4.3. Loss"),
            Some((Number::Arabic(vec![4, 3]), "Loss"))
        );
        assert_eq!(
            split("IV. EXPERIMENTS"),
            Some((Number::Roman(4), "EXPERIMENTS"))
        );
        assert_eq!(
            split("B.2 More"),
            Some((Number::Letter('B', vec![2]), "More"))
        );
        assert_eq!(
            split("A. Proofs"),
            Some((Number::Letter('A', vec![]), "Proofs"))
        );
        assert_eq!(
            split("Section 3 Method"),
            Some((Number::Arabic(vec![3]), "Method"))
        );
        assert_eq!(split("A Simple Method"), None);
        assert_eq!(split("3D reconstruction"), None);
        assert_eq!(split("2024 results"), None);
        assert_eq!(split("3.14159 and more"), None);
        assert_eq!(split("4.3"), None);
    }

    #[test]
    fn letters_number_subsections_below_roman_numbers_and_appendices_after_the_end() {
        let mut outline = Outline::default();
        for title in [
            "I. INTRODUCTION",
            "II. METHOD",
            "A. Loss",
            "V. CONCLUSION",
            "REFERENCES",
            "A Proofs",
        ] {
            outline.heading(title, None);
        }
        let sections = outline.paper.sections.iter();
        let found: Vec<_> = sections.map(|s| (s.level, s.title.as_str())).collect();
        let expected = [
            (1, "INTRODUCTION"),
            (1, "METHOD"),
            (2, "Loss"),
            (1, "CONCLUSION"),
            (1, "REFERENCES"),
            (1, "Appendix"),
            (1, "Proofs"),
        ];
        assert_eq!(found, expected);
    }
}
