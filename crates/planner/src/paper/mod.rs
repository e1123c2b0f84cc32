//! Papers: read from whatever they come as, cut to what may be seen and to what fits.
//!
//! [`Paper::read`] tells by the first bytes what a file is. Archives are read in memory and never unpacked onto the
//! disk, and everything from outside is bounded before it is kept: files, entries, what they unpack to, pages, time.
//! All texts of a paper are free of control characters and of characters that nobody sees, since they end up in
//! terminals and in prompts; they are NFC, and their lines end with `\n`.

mod archive;
mod fit;
mod headings;
mod kind;
mod latex;
mod markdown;
mod pdf;
mod plain;
mod source;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::clean::clean;

pub use fit::estimate_tokens;
pub use kind::SectionKind;

/// The text of a paper, section by section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paper {
    /// Its title, if one was found.
    pub title: Option<String>,
    /// Its abstract, if one was found.
    pub abstract_text: Option<String>,
    /// Its sections in the paper's order, subsections among them, each with its own text alone.
    pub sections: Vec<Section>,
    /// What reading lost, a sentence each: "3 of 40 pages hold no text".
    pub lost: Vec<String>,
}

/// A section or a subsection.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// 1 for a section, 2 for a subsection, and so on; text before the first heading is a section without a title.
    pub level: usize,
    /// Its title, without its number.
    pub title: String,
    /// The text up to the next heading of any level: LaTeX or Markdown as written, without comments.
    pub text: String,
}

/// The text of a paper that fits into so many tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Title, abstract and sections under Markdown headings; where something was cut it says so.
    pub text: String,
    /// An estimate of its tokens.
    pub tokens: usize,
    /// What was cut, in the paper's order.
    pub cuts: Vec<Cut>,
}

/// A section that was cut or left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Its title.
    pub section: String,
    /// An estimate of its tokens.
    pub tokens: usize,
    /// How many of them are left; 0 if the section was left out.
    pub kept: usize,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            section,
            tokens,
            kept,
        } = self;
        match kept {
            0 => write!(f, "\"{section}\" was left out"),
            _ => write!(
                f,
                "\"{section}\" was cut to about {kept} of {tokens} tokens"
            ),
        }
    }
}

impl Paper {
    /// Reads a paper: a folder or an archive (`.tar.gz`, `.tar`, `.zip`, or the `.gz` of one file) of LaTeX sources, or
    /// a `.tex`, `.md`, `.txt` or `.pdf` file. What a file is is told by its first bytes, then by the end of its name.
    /// Other text is read as plain text.
    ///
    /// # Errors
    /// If it cannot be read, exceeds a bound, is hostile, or holds no text.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let paper = source::read(path)?.cleaned();
        if paper.abstract_text.is_none() && paper.sections.iter().all(|s| s.text.is_empty()) {
            return Err(Error::Paper {
                path: path.to_owned(),
                found: "no text in it".into(),
                expected: "a paper".into(),
                advice: "check that it is the paper's own file, and that its sources are complete"
                    .into(),
            });
        }
        Ok(paper)
    }

    /// A paper written in Markdown, as people or converters write it.
    pub fn parse_markdown(text: &str) -> Self {
        markdown::parse(&clean(text)).cleaned()
    }

    /// The paper as its authors see it before their experiments: title, abstract, and the sections before the first of
    /// the kind of experiments. Where there is none, everything before discussion, references and appendix is kept, and
    /// [`lost`](Self::lost) says so.
    pub fn until_experiments(&self) -> Self {
        let kinds = self.kinds();
        let mut lost = self.lost.clone();
        let end = kind::first_of_experiments(&self.sections, &kinds).unwrap_or_else(|| {
            lost.push(
                "no section of experiments was found; everything before the discussion is kept"
                    .into(),
            );
            let after = |kind: &SectionKind| {
                use SectionKind::{Acknowledgements, Appendix, Discussion, References};
                matches!(kind, Acknowledgements | Appendix | Discussion | References)
            };
            kinds.iter().position(after).unwrap_or(kinds.len())
        });
        let hidden = |kind: SectionKind| {
            use SectionKind::{Ablation, Acknowledgements, Appendix, Experiments, References};
            matches!(
                kind,
                Ablation | Acknowledgements | Appendix | Experiments | References
            )
        };
        let before = self.sections.iter().zip(&kinds).take(end);
        Self {
            title: self.title.clone(),
            abstract_text: self.abstract_text.clone(),
            sections: before
                .filter(|(_, kind)| !hidden(**kind))
                .map(|(section, _)| section.clone())
                .collect(),
            lost,
        }
    }

    /// The paper within so many tokens. Sections are cut by importance, the least important first, and not from the end:
    /// references and acknowledgements, then appendices, related work, and so on; method and ablations last. Each is
    /// left out before the next is touched, but the last is kept up to the end of a sentence.
    pub fn fit(&self, max_tokens: usize) -> Fitted {
        fit::fit(self, max_tokens)
    }

    /// All of its text, under Markdown headings.
    pub fn text(&self) -> String {
        fit::render(self)
    }

    /// What each section is about, by its title, by the section that it is part of, and by where it stands.
    pub fn kinds(&self) -> Vec<SectionKind> {
        kind::kinds(&self.sections)
    }

    /// The same paper with texts that are fit for terminals and prompts, and without empty ends.
    fn cleaned(mut self) -> Self {
        let line = |text: &str| clean(&text.split_whitespace().collect::<Vec<_>>().join(" "));
        self.title = self.title.map(|title| line(&title));
        self.title = self.title.filter(|title| !title.is_empty());
        let block = |text: &str| clean(text.trim()).trim().to_string();
        self.abstract_text = self.abstract_text.map(|text| block(&text));
        self.abstract_text = self.abstract_text.filter(|text| !text.is_empty());
        for section in &mut self.sections {
            section.title = line(&section.title);
            section.text = block(&section.text);
        }
        self.sections
            .retain(|section| !section.title.is_empty() || !section.text.is_empty());
        for lost in &mut self.lost {
            *lost = line(lost); // names of files stand there
        }
        self
    }
}
