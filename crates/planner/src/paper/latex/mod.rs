//! Papers in LaTeX: the sources put together, and taken apart into sections.
//!
//! This is no TeX. What it knows is what papers are written with: files that include others, comments, simple macros,
//! headings, figures. Everything else stays as its authors wrote it, which language models read well.

mod comments;
mod include;
mod macros;
mod scan;

use std::path::Path;

use self::macros::Macros;
use self::scan::{Cursor, plain_title};
use super::headings::appendix;
use super::source::Sources;
use super::{Paper, Section};
use crate::Error;
use crate::clean::clean;

/// Headings, and their levels.
const HEADINGS: [(&str, usize); 7] = [
    ("part", 1),
    ("chapter", 1),
    ("section", 1),
    ("subsection", 2),
    ("subsubsection", 3),
    ("paragraph", 4),
    ("subparagraph", 5),
];

/// Commands that say nothing about the content, and how many arguments go with them.
const DROPPED: [(&str, usize); 26] = [
    ("maketitle", 0),
    ("author", 1),
    ("affil", 1),
    ("affiliation", 1),
    ("institute", 1),
    ("address", 1),
    ("email", 1),
    ("date", 1),
    ("thanks", 1),
    ("title", 1),
    ("titlerunning", 1),
    ("authorrunning", 1),
    ("icmltitle", 1),
    ("icmltitlerunning", 1),
    ("icmlauthor", 2),
    ("icmlaffiliation", 2),
    ("icmlcorrespondingauthor", 2),
    ("printAffiliationsAndNotice", 1),
    ("bibliographystyle", 1),
    ("includegraphics", 1),
    ("includesvg", 1),
    ("includepdf", 1),
    ("tableofcontents", 0),
    ("clearpage", 0),
    ("newpage", 0),
    ("pagestyle", 1),
];

/// Environments of figures: their captions are kept.
const FIGURES: [&str; 8] = [
    "figure",
    "figure*",
    "wrapfigure",
    "SCfigure",
    "teaserfigure",
    "tikzpicture",
    "marginfigure",
    "sidewaysfigure",
];

/// Reads the paper of these sources; `path` is what the user named.
pub(super) fn read(path: &Path, mut sources: Sources) -> Result<Paper, Error> {
    for text in sources.files.values_mut() {
        *text = clean(text);
    }
    let whole = include::put_together(path, &mut sources)?;
    let mut paper = parse(&whole);
    paper.lost.splice(0..0, include::bounded(sources.lost));
    Ok(paper)
}

/// Reads a document without comments.
fn parse(text: &str) -> Paper {
    let (preamble, body) = scan::split_document(text);
    let macros = Macros::of(text);
    let preamble = macros.expand(preamble);
    let body = macros.expand(body);
    let mut reading = Reading::default();
    reading.paper.title = title(&preamble).or_else(|| title(&body));
    reading.has_chapters = scan::has_command(&body, "chapter");
    reading.paper.abstract_text = scan::argument_of(&preamble, "abstract").map(str::to_string);
    reading.body(&body);
    reading.finish()
}

fn title(text: &str) -> Option<String> {
    ["icmltitle", "title"].iter().find_map(|command| {
        let title = plain_title(scan::argument_of(text, command)?);
        (!title.is_empty()).then_some(title)
    })
}

/// A paper that is being read.
#[derive(Default)]
struct Reading {
    paper: Paper,
    text: String,
    has_chapters: bool,
    figures: usize,
    references: usize,
    has_references: bool,
}

impl Reading {
    fn body(&mut self, body: &str) {
        let mut cursor = Cursor::new(body);
        while !cursor.is_at_end() {
            let before = cursor.take_until('\\');
            self.text.push_str(before);
            if cursor.is_at_end() {
                break;
            }
            if let Some(verbatim) = cursor.verbatim() {
                self.text.push_str(verbatim);
                continue;
            }
            let start = cursor.position();
            let name = cursor.command();
            match name {
                "begin" => self.environment(&mut cursor, start),
                "appendix" | "appendices" => self.begin_appendix(),
                "bibliography" | "printbibliography" | "putbib" => {
                    cursor.arguments(1);
                    self.has_references = true;
                }
                "abstract" if cursor.is_at_brace() => {
                    let text = cursor.argument().unwrap_or("");
                    self.set_abstract(text);
                }
                "newcommand"
                | "renewcommand"
                | "providecommand"
                | "def"
                | "DeclareMathOperator" => {
                    cursor.skip_definition(name);
                }
                _ if HEADINGS.iter().any(|(heading, _)| *heading == name) => {
                    let level = HEADINGS.iter().find(|(heading, _)| *heading == name);
                    cursor.skip_star();
                    cursor.optional();
                    match cursor.argument() {
                        Some(title) => {
                            self.heading(name, level.map_or(1, |(_, level)| *level), title)
                        }
                        None => self.text.push_str(cursor.since(start)),
                    }
                }
                _ if let Some((_, count)) =
                    DROPPED.iter().find(|(dropped, _)| *dropped == name) =>
                {
                    cursor.skip_star();
                    cursor.arguments(*count);
                }
                _ => self.text.push_str(cursor.since(start)),
            }
        }
    }

    /// What stands after `\begin`.
    fn environment(&mut self, cursor: &mut Cursor<'_>, start: usize) {
        let Some(name) = cursor.argument() else {
            self.text.push_str(cursor.since(start));
            return;
        };
        match name {
            "abstract" | "onecolabstract" => {
                let text = cursor.until_end_of(name);
                self.set_abstract(text);
            }
            "thebibliography" => {
                let text = cursor.until_end_of(name);
                self.references += text.matches("\\bibitem").count();
                self.has_references = true;
            }
            "appendices" | "appendix" | "subappendices" => self.begin_appendix(),
            "document" => {}
            "icmlauthorlist" | "keywords" | "IEEEkeywords" | "CCSXML" => {
                cursor.until_end_of(name);
            }
            name if FIGURES.contains(&name) => {
                let content = cursor.until_end_of(name);
                self.figures += 1;
                for caption in scan::arguments_of(content, &["caption", "captionof", "caption*"]) {
                    let caption = caption.trim();
                    if !caption.is_empty() {
                        self.text.push_str(&format!("[Figure: {caption}]\n"));
                    }
                }
            }
            _ => self.text.push_str(cursor.since(start)),
        }
    }

    fn set_abstract(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.paper
                .abstract_text
                .get_or_insert_with(|| text.to_string());
        }
    }

    fn heading(&mut self, name: &str, level: usize, title: &str) {
        self.end_section();
        let below_chapters = usize::from(self.has_chapters && !matches!(name, "part" | "chapter"));
        self.paper.sections.push(Section {
            level: level + below_chapters,
            title: plain_title(title),
            text: String::new(),
        });
    }

    fn begin_appendix(&mut self) {
        self.end_section();
        let is_there = |section: &Section| section.title == "Appendix";
        if !self.paper.sections.iter().any(is_there) {
            self.paper.sections.push(appendix());
        }
    }

    /// Gives the text so far to the section that it stands in.
    fn end_section(&mut self) {
        let text = scan::tidy(&std::mem::take(&mut self.text));
        match self.paper.sections.last_mut() {
            Some(section) => section.text = text,
            None if text.is_empty() => {}
            None => self.paper.sections.push(Section {
                level: 1,
                title: String::new(),
                text,
            }),
        }
    }

    fn finish(mut self) -> Paper {
        self.end_section();
        let mut paper = self.paper;
        paper.abstract_text = paper.abstract_text.map(|text| scan::tidy(&text));
        // An appendix without anything in it.
        let empty = |section: &Section| section.title == "Appendix" && section.text.is_empty();
        while paper.sections.last().is_some_and(empty) {
            paper.sections.pop();
        }
        match self.figures {
            0 => {}
            1 => paper
                .lost
                .push("1 figure was left out, except for its caption".into()),
            count => paper.lost.push(format!(
                "{count} figures were left out, except for their captions"
            )),
        }
        if self.references > 0 {
            paper
                .lost
                .push(format!("{} references were left out", self.references));
        } else if self.has_references {
            paper.lost.push("the references were left out".into());
        }
        paper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_taken_apart() {
        let paper = parse(
            r"\documentclass{article}
\newcommand{\method}{MotionInv\xspace}
\title[Short]{Motion \textbf{Inversion}\\ with \method\thanks{Equal} for $N$ frames}
\begin{document}
\maketitle
\begin{abstract} We show \method. \end{abstract}
\section*{Introduction} Hello.
\section[Short]{The \method{} \emph{loss} {\it of} $L_{2}$}\label{sec:m}
Text \verb|\section{no}| here.
\begin{figure}[t] \includegraphics[width=1]{a.png} \caption{A \textbf{nice} picture of {\it it}.} \end{figure}
\begin{verbatim}
\section{not one}
\end{verbatim}
\paragraph{Details.} More.
\appendix
\section{Proofs} QED.
\begin{thebibliography}{9}\bibitem{a} A.\bibitem{b} B.\end{thebibliography}
\end{document}
after",
        );
        assert_eq!(
            paper.title.unwrap(),
            "Motion Inversion with MotionInv for $N$ frames"
        );
        assert_eq!(paper.abstract_text.unwrap(), "We show MotionInv.");
        let found: Vec<_> = paper
            .sections
            .iter()
            .map(|s| (s.level, s.title.as_str()))
            .collect();
        let expected = [
            (1, "Introduction"),
            (1, "The MotionInv loss of $L_{2}$"),
            (4, "Details."),
            (1, "Appendix"),
            (1, "Proofs"),
        ];
        assert_eq!(found, expected);
        let method = &paper.sections[1].text;
        assert!(
            method.contains(r"\verb|\section{no}|") && method.contains("not one"),
            "{method}"
        );
        assert!(
            method.contains(r"[Figure: A \textbf{nice} picture of {\it it}.]"),
            "{method}"
        );
        assert!(
            !method.contains("includegraphics") && !method.contains("a.png"),
            "{method}"
        );
        assert_eq!(
            paper.lost,
            [
                "1 figure was left out, except for its caption",
                "2 references were left out"
            ]
        );
        assert_eq!(paper.sections[4].text, "QED.");
    }
}
