//! Papers in Markdown, as people and converters of PDFs write it.
//!
//! Converters give headings uneven levels, and bold text in them, so that a number says more about a heading's level
//! than its signs do.

use super::headings::{Number, Outline, after_abstract, is_abstract, is_well_known};
use super::{Paper, SectionKind};

/// Reads clean text.
pub(super) fn parse(text: &str) -> Paper {
    let (front, text) = front_matter(text);
    let text = without_comments(text);
    let lines: Vec<&str> = text.lines().collect();
    let lines = marked(&lines);
    let mut outline = Outline::default();
    outline.paper.title = front;
    let has_title = outline.paper.title.is_none() && title_index(&lines).is_some();
    let title_at = if has_title { title_index(&lines) } else { None };
    let depths = lines
        .iter()
        .enumerate()
        .filter_map(|(index, line)| match line {
            Line::Heading { depth, .. } if Some(index) != title_at => Some(*depth),
            _ => None,
        });
    let top = depths.min().unwrap_or(1);
    let mut images = 0;
    for (index, line) in lines.iter().enumerate() {
        match line {
            Line::Heading { title, .. } if Some(index) == title_at => {
                outline.paper.title = Some(plain(title));
            }
            Line::Heading { title, depth } => outline.heading(&plain(title), Some(depth + 1 - top)),
            Line::Code(text) => {
                outline.text(text);
                outline.text("\n");
            }
            Line::Text(text) => {
                let unmarked = text.trim_start_matches(['*', '_', ' ']);
                let begins_abstract = outline.paper.abstract_text.is_none()
                    && unmarked.len() < text.len()
                    && bold_name(text).is_some_and(|(name, _)| is_abstract(&name));
                let text = if begins_abstract {
                    outline.begin_abstract();
                    bold_name(text).map_or("", |(_, rest)| rest)
                } else if outline.paper.abstract_text.is_none()
                    && let Some(rest) = after_abstract(text)
                {
                    outline.begin_abstract();
                    rest
                } else {
                    text
                };
                let (text, count) = without_images(text);
                images += count;
                if count == 0 || !text.trim().is_empty() {
                    outline.text(&text);
                    outline.text("\n");
                }
            }
        }
    }
    let mut paper = outline.paper;
    if images > 0 {
        paper.lost.push(match images {
            1 => "1 image was left out".into(),
            _ => format!("{images} images were left out"),
        });
    }
    paper
}

/// A line, and what it is.
enum Line<'a> {
    Heading { title: &'a str, depth: usize },
    Code(&'a str),
    Text(&'a str),
}

fn marked<'a>(lines: &[&'a str]) -> Vec<Line<'a>> {
    let mut marked = Vec::with_capacity(lines.len());
    let mut fence: Option<&str> = None;
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index];
        index += 1;
        let trimmed = line.trim_start();
        if let Some(open) = fence {
            if trimmed.starts_with(open) && trimmed.trim_matches(['`', '~']).trim().is_empty() {
                fence = None;
            }
            marked.push(Line::Code(line));
            continue;
        }
        let signs = trimmed.len() - trimmed.trim_start_matches(['`', '~']).len();
        if signs >= 3 && (trimmed.starts_with("```") || trimmed.starts_with("~~~")) {
            fence = trimmed.get(..signs);
            marked.push(Line::Code(line));
            continue;
        }
        let blank_before = index < 2 || lines[index - 2].trim().is_empty();
        let next = lines.get(index).copied().unwrap_or("");
        if let Some((depth, title)) = atx(line) {
            marked.push(Line::Heading { title, depth });
        } else if let Some(depth) =
            underline(next).filter(|_| blank_before && may_be_underlined(line))
        {
            marked.push(Line::Heading { title: line, depth });
            index += 1;
        } else if let Some(title) = bold_heading(line).filter(|_| blank_before) {
            marked.push(Line::Heading { title, depth: 2 });
        } else {
            marked.push(Line::Text(line));
        }
    }
    marked
}

/// `## Title ##`
fn atx(line: &str) -> Option<(usize, &str)> {
    let trimmed = line.trim_start_matches(' ');
    if line.len() - trimmed.len() > 3 {
        return None;
    }
    let title = trimmed.trim_start_matches('#');
    let depth = trimmed.len() - title.len();
    if !(1..=6).contains(&depth) || !title.starts_with([' ', '\t']) {
        return None;
    }
    let title = title.trim().trim_end_matches('#').trim_end();
    (!title.is_empty()).then_some((depth, title))
}

/// The depth that a line of `=` or `-` gives to the line above.
fn underline(line: &str) -> Option<usize> {
    let line = line.trim();
    let all = |c: char| line.len() >= 3 && line.chars().all(|x| x == c);
    match (all('='), all('-')) {
        (true, _) => Some(1),
        (_, true) => Some(2),
        _ => None,
    }
}

fn may_be_underlined(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty()
        && line.len() <= 150
        && !line.starts_with(['|', '>', '-', '+', '=', '<', '!', '*'])
}

/// A whole line in bold that has a number or is a well-known name: a heading that a converter did not recognize.
fn bold_heading(line: &str) -> Option<&str> {
    let line = line.trim();
    let title = line.strip_prefix("**")?.strip_suffix("**")?.trim();
    let fits = !title.contains("**") && title.len() <= 100 && !is_abstract(title);
    (fits && (Number::split(title).is_some() || is_well_known(title))).then_some(line)
}

/// A name in bold or italics at the beginning of a line, and what follows it.
fn bold_name(line: &str) -> Option<(String, &str)> {
    let line = line.trim_start();
    let inner = line.trim_start_matches(['*', '_']);
    if inner.len() == line.len() {
        return None;
    }
    let end = inner.find(['*', '_'])?;
    let rest = inner[end..].trim_start_matches(['*', '_']);
    let rest = rest
        .trim_start()
        .trim_start_matches(['—', '–', '-', ':', '.']);
    Some((inner[..end].to_string(), rest.trim_start()))
}

/// Where the title stands: a heading of the first level before all others, that is no section's.
fn title_index(lines: &[Line<'_>]) -> Option<usize> {
    let index = lines
        .iter()
        .position(|line| matches!(line, Line::Heading { .. }))?;
    let Line::Heading { title, depth: 1 } = lines[index] else {
        return None;
    };
    let title = plain(title);
    let is_section = is_abstract(&title)
        || is_well_known(&title)
        || matches!(Number::split(&title), Some((Number::Arabic(_), rest)) if is_well_known(rest));
    let text_before = lines[..index].iter().any(|line| match line {
        Line::Text(text) => text.split_whitespace().count() > 30,
        _ => false,
    });
    (!is_section && !text_before && SectionKind::of_title(&title) != SectionKind::References)
        .then_some(index)
}

/// The title in a block of YAML at the beginning, and the text after it.
fn front_matter(text: &str) -> (Option<String>, &str) {
    let trimmed = text.trim_start();
    let Some(rest) = trimmed.strip_prefix("---\n") else {
        return (None, text);
    };
    let Some(end) = rest.find("\n---\n") else {
        return (None, text);
    };
    let title = rest[..end]
        .lines()
        .find_map(|line| line.strip_prefix("title:"));
    let title = title.map(|title| title.trim().trim_matches(['"', '\'']).to_string());
    (
        title.filter(|title| !title.is_empty()),
        &rest[end + "\n---\n".len()..],
    )
}

/// A heading without emphasis, tags and links.
fn plain(title: &str) -> String {
    let mut text = String::with_capacity(title.len());
    let mut rest = title;
    while let Some(open) = rest.find('<') {
        text.push_str(&rest[..open]);
        let tag = &rest[open..];
        let is_tag = tag[1..].starts_with(|c: char| c == '/' || c.is_ascii_alphabetic());
        match tag.find('>').filter(|_| is_tag) {
            Some(close) => rest = &tag[close + 1..],
            None => {
                text.push('<');
                rest = &tag[1..];
            }
        }
    }
    text.push_str(rest);
    let text = text.replace("**", "").replace("__", "").replace("\\*", "*");
    let text = text.trim().trim_matches('*').trim();
    // A link keeps its words.
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]("))
    {
        Some((words, link)) if link.ends_with(')') => words.to_string(),
        _ => text.to_string(),
    }
}

/// A line without its images, and how many those were.
fn without_images(line: &str) -> (String, usize) {
    let mut kept = String::with_capacity(line.len());
    let mut count = 0;
    let mut rest = line;
    loop {
        let markdown = rest.find("![");
        let html = rest.find("<img");
        let Some(start) = markdown.into_iter().chain(html).min() else {
            break;
        };
        let image = &rest[start..];
        let end = if image.starts_with("![") {
            image
                .find("](")
                .and_then(|link| closing_paren(&image[link + 1..]).map(|end| link + 1 + end))
        } else {
            image.find('>').map(|end| end + 1)
        };
        let Some(end) = end else {
            break;
        };
        kept.push_str(&rest[..start]);
        rest = &image[end..];
        count += 1;
    }
    kept.push_str(rest);
    (kept, count)
}

/// Just after the parenthesis that closes the one at the beginning.
fn closing_paren(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Without `<!-- -->` and the anchors that converters leave.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("<!--") {
        let Some(end) = rest[start..].find("-->") else {
            break;
        };
        kept.push_str(&rest[..start]);
        rest = &rest[start + end + 3..];
    }
    kept.push_str(rest);
    let mut text = String::with_capacity(kept.len());
    let mut rest = kept.as_str();
    while let Some(start) = rest.find("<span id=") {
        let Some(end) = rest[start..].find("></span>") else {
            break;
        };
        text.push_str(&rest[..start]);
        rest = &rest[start + end + "></span>".len()..];
    }
    text.push_str(rest);
    text
}
