//! Sources put together: the main file, and in it what it includes.

use std::collections::BTreeMap;
use std::path::Path;

use super::comments::without_comments;
use super::scan::{Cursor, split_document};
use crate::Error;
use crate::paper::source::{MAX_TOTAL_BYTES, Sources, extension, too_much};

/// Deepest inclusion.
const MAX_DEPTH: usize = 32;

/// Most inclusions of a document.
const MAX_INCLUSIONS: usize = 5000;

/// Most sentences about files that are missing and the like.
const MAX_LOST: usize = 20;

/// The document without comments, with everything in it that it includes.
pub(super) fn put_together(path: &Path, sources: &mut Sources) -> Result<String, Error> {
    let mut including = Including {
        stripped: BTreeMap::new(),
        sources,
        active: Vec::new(),
        inclusions: 0,
        lost: Vec::new(),
    };
    let names: Vec<String> = including.sources.files.keys().cloned().collect();
    let is_tex = |name: &&String| matches!(extension(name).as_str(), "tex" | "ltx" | "latex");
    let names: Vec<String> = names.iter().filter(is_tex).cloned().collect();
    let mains: Vec<&String> = names
        .iter()
        .filter(|name| including.is_main(name))
        .collect();
    let candidates = if mains.is_empty() {
        names.iter().collect()
    } else {
        mains.clone()
    };
    // Of several documents the paper is the one that all the text is in. Names settle the rest, the shortest first.
    let mut best: Option<(String, String, Vec<String>)> = None;
    for name in &candidates {
        including.inclusions = 0;
        including.lost.clear();
        let Some(text) = including.document(name) else {
            let found = format!(
                "`{name}` grows beyond {} MiB by what it includes",
                MAX_TOTAL_BYTES >> 20
            );
            return Err(too_much(path, found, "at most that much"));
        };
        let better = best.as_ref().is_none_or(|(other, longest, _)| {
            let (new, old) = (text.len(), longest.len());
            new > old || new == old && (name.len(), name.as_str()) < (other.len(), other.as_str())
        });
        if better {
            best = Some(((*name).clone(), text, including.lost.clone()));
        }
    }
    let Some((name, text, lost)) = best else {
        return Err(Error::Paper {
            path: path.to_owned(),
            found: "no .tex file".into(),
            expected: "the sources of a paper".into(),
            advice: "pass the folder in which the paper's main .tex file lies".into(),
        });
    };
    sources.lost.extend(lost);
    if mains.is_empty() && names.len() > 1 {
        let missing = "no file has \\documentclass and \\begin{document}";
        sources.lost.push(format!(
            "{missing}; {name} was read, which has the most text"
        ));
    } else if mains.len() > 1 {
        sources
            .lost
            .push(format!("{} other documents beside {name}", mains.len() - 1));
    }
    Ok(text)
}

/// As many of these sentences as are worth reading.
pub(super) fn bounded(mut lost: Vec<String>) -> Vec<String> {
    let more = lost.len().saturating_sub(MAX_LOST);
    lost.truncate(MAX_LOST);
    if more > 0 {
        lost.push(format!("{more} more files were not read"));
    }
    lost
}

struct Including<'a> {
    sources: &'a mut Sources,
    /// Texts without comments, by name.
    stripped: BTreeMap<String, String>,
    /// The files that are being included into one another.
    active: Vec<String>,
    inclusions: usize,
    lost: Vec<String>,
}

impl Including<'_> {
    fn is_main(&mut self, name: &str) -> bool {
        let text = self.stripped(name).unwrap_or_default();
        let class = text.contains("\\documentclass") || text.contains("\\documentstyle");
        class && text.contains("\\begin{document}")
    }

    /// A file with what it includes; nothing if that is too much.
    fn document(&mut self, name: &str) -> Option<String> {
        let mut document = String::new();
        let folder = name
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_string();
        self.append(name, &folder, false, &mut document)?;
        Some(document)
    }

    fn append(
        &mut self,
        name: &str,
        root: &str,
        is_part: bool,
        document: &mut String,
    ) -> Option<()> {
        let text = self.stripped(name).unwrap_or_default();
        // Parts that are documents of their own as well are only wanted for what is in them.
        let text = if is_part {
            split_document(&text).1
        } else {
            text.as_str()
        };
        self.active.push(name.to_string());
        let mut cursor = Cursor::new(text);
        while !cursor.is_at_end() {
            document.push_str(cursor.take_until('\\'));
            if document.len() as u64 > MAX_TOTAL_BYTES {
                return None;
            }
            if cursor.is_at_end() {
                break;
            }
            if let Some(verbatim) = cursor.verbatim() {
                document.push_str(verbatim);
                continue;
            }
            let start = cursor.position();
            let command = cursor.command();
            let Some((folder, file)) = inclusion(command, &mut cursor) else {
                document.push_str(cursor.since(start));
                continue;
            };
            match self.find(&folder, &file, name, root) {
                Ok(Some(found)) => {
                    let is_cycle = self.active.contains(&found);
                    self.inclusions += 1;
                    if is_cycle || self.active.len() > MAX_DEPTH || self.inclusions > MAX_INCLUSIONS
                    {
                        self.lose(format!("{found} is included into itself, or too deeply"));
                    } else {
                        document.push('\n');
                        self.append(&found, root, true, document)?;
                        document.push('\n');
                    }
                }
                Ok(None) => {
                    // Drawings and styles are included too.
                    if !matches!(
                        extension(&file).as_str(),
                        "pgf" | "tikz" | "sty" | "cls" | "pdf_tex"
                    ) {
                        self.lose(format!("{folder}{file} is not there"));
                    }
                }
                Err(Outside) => self.lose(format!(
                    "{folder}{file} lies outside of the paper and was not read"
                )),
            }
        }
        self.active.pop();
        Some(())
    }

    fn lose(&mut self, sentence: String) {
        if !self.lost.contains(&sentence) {
            self.lost.push(sentence);
        }
    }

    /// The file that is meant, as seen from the main file's folder, or from the folder of the file that includes it.
    fn find(
        &mut self,
        folder: &str,
        file: &str,
        from: &str,
        root: &str,
    ) -> Result<Option<String>, Outside> {
        let near = from.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut is_outside = true;
        for base in [root, near, ""] {
            for end in [".tex", ""] {
                let path = format!("{base}/{folder}/{file}{end}");
                let Some(name) =
                    normalized(&path, file.starts_with('/') || folder.starts_with('/'))
                else {
                    continue;
                };
                is_outside = false;
                if self.sources.files.contains_key(&name) {
                    return Ok(Some(name));
                }
                if self.sources.fetch(&name).is_some() && self.sources.files.contains_key(&name) {
                    if let Some(text) = self.sources.files.get_mut(&name) {
                        *text = crate::clean::clean(text);
                    }
                    return Ok(Some(name));
                }
            }
        }
        if is_outside { Err(Outside) } else { Ok(None) }
    }

    fn stripped(&mut self, name: &str) -> Option<String> {
        if let Some(text) = self.stripped.get(name) {
            return Some(text.clone());
        }
        let text = without_comments(self.sources.files.get(name)?);
        self.stripped.insert(name.to_string(), text.clone());
        Some(text)
    }
}

/// A path that leads out of the paper.
struct Outside;

/// The folder and the file that a command includes.
fn inclusion(command: &str, cursor: &mut Cursor<'_>) -> Option<(String, String)> {
    let (folder, file) = match command {
        "input" | "include" | "subfile" | "subfileinclude" | "InputIfFileExists" => {
            let file = match cursor.argument() {
                Some(file) => file,
                None if command == "input" => cursor.word()?,
                None => return None,
            };
            (String::new(), file)
        }
        "import" | "subimport" | "inputfrom" | "subinputfrom" | "includefrom" => {
            (cursor.argument()?.trim().to_string(), cursor.argument()?)
        }
        _ => return None,
    };
    let file = file.trim().trim_matches('"');
    (!file.is_empty() && file.len() <= 500).then(|| (folder, file.to_string()))
}

/// A path without `.` and `..`; nothing if it leads out of the root.
fn normalized(path: &str, is_absolute: bool) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let first_is_drive = parts.iter().any(|part| part.contains(['\\', ':', '\0']));
    (!is_absolute && !first_is_drive).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normalized("a/./b/../c.tex", false).unwrap(), "a/c.tex");
        assert_eq!(normalized("../etc/passwd", false), None);
        assert_eq!(normalized("a/../../etc/passwd", false), None);
        assert_eq!(normalized("/etc/passwd", true), None);
    }
}
