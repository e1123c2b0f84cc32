//! Papers in PDF: text with its place on the page, put back into reading order.
//!
//! A PDF knows glyphs and where they stand, but neither words nor paragraphs. hayro reads the objects and the fonts;
//! which glyph stands where is followed in [`page`], and lines, columns, paragraphs and headings are found in
//! [`layout`]. Formulas and tables come out garbled, and the paper says so.
//!
//! Files may be hostile. What their streams unpack to is counted before they are unpacked ([`budget`]), and reading runs
//! in a thread of its own, with a large stack and a limit of time; if it panics, that is an error.

mod budget;
mod layout;
mod page;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hayro_syntax::{LoadPdfError, Pdf};

use self::budget::Budget;
use super::{Paper, plain};
use crate::Error;
use crate::contained::{Failure, contained};

/// Most pages.
const MAX_PAGES: usize = 2000;

/// Longest time to read a file. A page takes milliseconds.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Why a PDF cannot be read.
#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Encrypted,
    Damaged,
    TooManyPages(usize),
    TooLarge(String),
    TooLong,
    NoText(usize),
    Panicked(String),
}

pub(super) fn read(path: &Path, bytes: Vec<u8>) -> Result<Paper, Error> {
    let deadline = Instant::now() + MAX_TIME;
    // The reader looks at the clock itself; a little later it is stuck where it cannot.
    let patience = MAX_TIME + Duration::from_secs(5);
    let read = match contained(patience, move || read_until(bytes, deadline)) {
        Ok(read) => read,
        Err(Failure::Stuck) => Err(Fault::TooLong),
        Err(Failure::Panicked(text)) => Err(Fault::Panicked(text)),
        Err(Failure::NoThread(error)) => return Err(Error::io(path, "reading")(error)),
    };
    read.map_err(|fault| fault.at(path))
}

fn read_until(bytes: Vec<u8>, deadline: Instant) -> Result<Paper, Fault> {
    budget::check_streams(&bytes, deadline)?;
    if is_encrypted(&bytes) {
        return Err(Fault::Encrypted);
    }
    let pdf = Pdf::new(Arc::new(bytes)).map_err(|error| match error {
        LoadPdfError::Decryption(_) => Fault::Encrypted,
        LoadPdfError::Invalid => Fault::Damaged,
    })?;
    let pages = pdf.pages();
    if pages.len() > MAX_PAGES {
        return Err(Fault::TooManyPages(pages.len()));
    }
    if pages.is_empty() {
        return Err(Fault::Damaged);
    }
    let mut budget = Budget::new(deadline);
    let mut reader = page::Reader::default();
    let mut glyphs = Vec::with_capacity(pages.len());
    for page in pages.iter() {
        glyphs.push(reader.page(page, &mut budget)?);
    }
    let without_text = glyphs.iter().filter(|page| page.glyphs.is_empty()).count();
    if without_text == glyphs.len() {
        return Err(Fault::NoText(glyphs.len()));
    }
    let (title, blocks) = layout::blocks(&glyphs);
    let mut paper = plain::from_blocks(&blocks, true);
    paper.title = title;
    paper
        .lost
        .push("formulas and tables of the PDF are garbled, and figures are missing".into());
    if without_text > 0 {
        let of = glyphs.len();
        paper
            .lost
            .push(format!("{without_text} of {of} pages hold no text"));
    }
    if reader.unknown > 0 {
        paper.lost.push(format!(
            "{} glyphs of which nobody knows what letters they are",
            reader.unknown
        ));
    }
    Ok(paper)
}

/// Whether a trailer names a dictionary of encryption. Even where no password is needed, nothing can be counted then.
fn is_encrypted(bytes: &[u8]) -> bool {
    const KEY: &[u8] = b"/Encrypt";
    let mut rest = bytes;
    while let Some(found) = budget::find(rest, KEY) {
        rest = &rest[found + KEY.len()..];
        let value = rest.trim_ascii_start();
        let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
        let is_reference = digits > 0 && value[digits..].starts_with(b" ");
        if is_reference || value.starts_with(b"<<") {
            return true;
        }
    }
    false
}

impl Fault {
    fn at(self, path: &Path) -> Error {
        let sources = "LaTeX sources or Markdown give better text";
        let (found, expected, advice) = match self {
            Self::Encrypted => (
                "an encrypted PDF".into(),
                "one that is open to read",
                "save it without encryption, or pass the paper's LaTeX sources",
            ),
            Self::Damaged => (
                "a damaged PDF".into(),
                "a whole one, with pages",
                "download it again, or pass the paper's LaTeX sources",
            ),
            Self::TooManyPages(pages) => (
                format!("{pages} pages"),
                "at most 2000",
                "pass the paper alone",
            ),
            Self::TooLarge(found) => (found, "the streams of a paper", sources),
            Self::TooLong => (
                "a PDF that takes more than a minute to read".into(),
                "one that takes seconds",
                sources,
            ),
            Self::NoText(pages) => (
                format!("{pages} pages that hold images only, or nothing"),
                "pages with text",
                "run a recognition of text (OCR) over it, or pass the paper's LaTeX sources",
            ),
            Self::Panicked(reason) => (
                format!("a PDF that its reader fails at ({reason})"),
                "one that can be read",
                "pass the paper's LaTeX sources, or convert it to Markdown",
            ),
        };
        Error::Paper {
            path: path.to_owned(),
            found,
            expected: expected.into(),
            advice: advice.into(),
        }
    }
}
