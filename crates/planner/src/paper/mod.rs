//! Papers: read from whatever they come as, cut to what may be seen and to what fits.

use std::path::Path;

use crate::Error;

/// The text of a paper, section by section.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paper {
    /// Its title, if one was found.
    pub title: Option<String>,
    /// Its abstract, if one was found.
    pub abstract_text: Option<String>,
    /// Its sections in the paper's order, subsections among them, each with its own text alone.
    pub sections: Vec<Section>,
    /// What reading lost, a sentence each: "12 figures", "3 of 40 pages hold no text".
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
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// Its title.
    pub section: String,
    /// An estimate of its tokens.
    pub tokens: usize,
    /// How many of them are left; 0 if the section was left out.
    pub kept: usize,
}

impl Paper {
    /// Reads a paper: a folder or an archive (`.tar.gz`, `.tar`, `.zip`) of LaTeX sources, or a `.tex`, `.md`, `.txt` or
    /// `.pdf` file. What a file is is told by its first bytes, then by the end of its name.
    ///
    /// # Errors
    /// If it cannot be read, exceeds a bound, is hostile, or holds no text.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let _ = path;
        todo!()
    }

    /// The paper as its authors see it before their experiments: title, abstract, and the sections before the first of
    /// the kind of experiments.
    pub fn until_experiments(&self) -> Self {
        todo!()
    }

    /// The paper within so many tokens. Sections are cut by importance, the least important first, and not from the end:
    /// references and acknowledgements, then appendices, related work, and so on; method and ablations last.
    pub fn fit(&self, max_tokens: usize) -> Fitted {
        let _ = max_tokens;
        todo!()
    }
}

/// An upper estimate of the tokens of a text.
pub fn estimate_tokens(text: &str) -> usize {
    text.len().div_ceil(3)
}

/// stub
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    Ablation,
    Other,
}
impl Paper {
    pub fn kinds(&self) -> Vec<SectionKind> {
        vec![SectionKind::Other; self.sections.len()]
    }
}
impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.section)
    }
}
