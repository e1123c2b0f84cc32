//! Lines, columns and paragraphs, found from where glyphs stand.
//!
//! Distances are in points; a size is that of the font. The thresholds are those of typesetting: words are a fifth of
//! the size apart and more, columns more than one size.

use std::collections::{HashMap, HashSet};

use super::page::{Glyph, PageText};
use crate::paper::plain::Block;

/// Part of the page's height at which running heads and page numbers stand, at the top and at the bottom.
const MARGIN: f64 = 0.1;

/// On how many pages a running head stands at least.
const REPEATED: usize = 3;

/// How many numbers above one another are those of lines.
const LINE_NUMBERS: usize = 15;

/// Glyphs on one line without a wide gap.
#[derive(Clone, Debug)]
struct Segment {
    x0: f64,
    x1: f64,
    y: f64,
    size: f64,
    bold: bool,
    text: String,
}

/// A line of a column.
#[derive(Clone, Debug)]
struct Line {
    segment: Segment,
    page: usize,
    /// Left and right end of the column.
    left: f64,
    right: f64,
    /// The usual distance of the column's lines.
    distance: f64,
    begins_column: bool,
}

/// The title, if one stands out, and the paragraphs and headings in reading order.
pub(super) fn blocks(pages: &[PageText]) -> (Option<String>, Vec<Block>) {
    let mut segmented: Vec<Vec<Segment>> = pages.iter().map(segments).collect();
    drop_running_heads(pages, &mut segmented);
    let mut lines = Vec::new();
    for (index, (page, mut segments)) in pages.iter().zip(segmented).enumerate() {
        drop_line_numbers(&mut segments);
        for column in columns(page, segments) {
            lines.extend(column_lines(column, index));
        }
    }
    let body = body_size(&lines);
    let title = take_title(&mut lines, body);
    (title, paragraphs(&lines, body))
}

/// Glyphs in the order of the file, put together where they stand side by side.
fn segments(page: &PageText) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut open: Option<(Segment, usize, f64)> = None; // with its letters, of which so many are bold
    let mut last: Option<&Glyph> = None;
    for glyph in &page.glyphs {
        // Bold by printing twice.
        let again = last.is_some_and(|last| {
            let near = (glyph.x - last.x).abs() + (glyph.y - last.y).abs() < 0.15 * glyph.size;
            last.text == glyph.text && near && glyph.width > 0.3 * glyph.size
        });
        if again {
            continue;
        }
        last = Some(glyph);
        let letters = glyph.text.trim().chars().count();
        let joined = open.as_mut().is_some_and(|(segment, count, bold)| {
            let size = segment.size.max(glyph.size);
            let gap = glyph.x - segment.x1;
            let beside =
                (glyph.y - segment.y).abs() < 0.5 * size && gap > -0.7 * size && gap < 1.1 * size;
            if !beside {
                return false;
            }
            let spaced = segment.text.ends_with(' ') || glyph.text.starts_with(' ');
            if gap > 0.16 * size.min(glyph.size * 1.5) && !spaced {
                segment.text.push(' ');
            }
            segment.text.push_str(&glyph.text);
            segment.x1 = segment.x1.max(glyph.x + glyph.width);
            if letters > 0 {
                let total = (*count + letters) as f64;
                // The size is the mean, and the baseline that of the larger glyphs.
                if glyph.size > segment.size * 1.15 {
                    segment.y = glyph.y;
                }
                segment.size += (glyph.size - segment.size) * letters as f64 / total;
                *count += letters;
                *bold += if glyph.bold { letters as f64 } else { 0.0 };
            }
            true
        });
        if !joined {
            segments.extend(open.take().map(finished));
            let segment = Segment {
                x0: glyph.x,
                x1: glyph.x + glyph.width,
                y: glyph.y,
                size: glyph.size,
                bold: false,
                text: glyph.text.clone(),
            };
            open = Some((
                segment,
                letters,
                if glyph.bold { letters as f64 } else { 0.0 },
            ));
        }
    }
    segments.extend(open.map(finished));
    segments.retain(|segment| !segment.text.is_empty());
    segments
}

fn finished((mut segment, letters, bold): (Segment, usize, f64)) -> Segment {
    segment.bold = letters > 0 && bold >= 0.9 * letters as f64;
    segment.text = segment
        .text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    segment
}

/// Drops what stands at the top or the bottom of several pages, but for its numbers, and numbers that stand there alone.
fn drop_running_heads(pages: &[PageText], segments: &mut [Vec<Segment>]) {
    let key = |segment: &Segment| {
        let text = segment.text.chars();
        text.map(|c| if c.is_ascii_digit() { '#' } else { c })
            .collect::<String>()
    };
    let at_edge = |page: &PageText, segment: &Segment| {
        segment.y > page.height * (1.0 - MARGIN) || segment.y < page.height * MARGIN
    };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (page, segments) in pages.iter().zip(segments.iter()) {
        let edge = segments.iter().filter(|segment| at_edge(page, segment));
        for key in edge.map(key).collect::<HashSet<_>>() {
            *seen.entry(key).or_default() += 1;
        }
    }
    for (page, segments) in pages.iter().zip(segments) {
        segments.retain(|segment| {
            let key = key(segment);
            let number = key
                .chars()
                .all(|c| matches!(c, '#' | ' ' | '-' | '–' | '/'));
            let repeated = seen.get(&key).is_some_and(|count| *count >= REPEATED);
            !(at_edge(page, segment) && (number || repeated))
        });
    }
}

/// Drops the numbers of lines beside the text, as manuscripts under review have them.
fn drop_line_numbers(segments: &mut Vec<Segment>) {
    let is_number = |segment: &Segment| {
        segment.text.len() <= 4 && segment.text.bytes().all(|b| b.is_ascii_digit())
    };
    let place = |x: f64| (x / 3.0).round() as i64;
    let mut counts: HashMap<i64, usize> = HashMap::new();
    for segment in segments.iter().filter(|segment| is_number(segment)) {
        *counts.entry(place(segment.x1)).or_default() += 1;
    }
    segments.retain(|segment| {
        let at = place(segment.x1);
        let around: usize = (at - 1..=at + 1).filter_map(|at| counts.get(&at)).sum();
        !is_number(segment) || around < LINE_NUMBERS
    });
}

/// The columns of a page in reading order: what spans the page divides it into bands, in which left comes before right.
fn columns(page: &PageText, mut segments: Vec<Segment>) -> Vec<Vec<Segment>> {
    segments.sort_by(|a, b| b.y.total_cmp(&a.y).then(a.x0.total_cmp(&b.x0)));
    let Some(gutter) = gutter(page, &segments) else {
        return vec![segments];
    };
    let mut columns: Vec<Vec<Segment>> = Vec::new();
    let (mut left, mut right, mut spanning) = (Vec::new(), Vec::new(), Vec::new());
    for segment in segments {
        if crosses(&segment, gutter) {
            columns.extend([std::mem::take(&mut left), std::mem::take(&mut right)]);
            spanning.push(segment);
            continue;
        }
        if !spanning.is_empty() {
            columns.push(std::mem::take(&mut spanning));
        }
        let is_left = (segment.x0 + segment.x1) / 2.0 < gutter;
        if is_left {
            left.push(segment)
        } else {
            right.push(segment)
        }
    }
    columns.extend([spanning, left, right]);
    columns.retain(|column| !column.is_empty());
    columns
}

fn crosses(segment: &Segment, x: f64) -> bool {
    segment.x0 < x - 3.0 && segment.x1 > x + 3.0
}

/// Where the page is divided into two columns, if it is: few lines cross, and there are several on both sides.
fn gutter(page: &PageText, segments: &[Segment]) -> Option<f64> {
    let long: Vec<&Segment> = segments
        .iter()
        .filter(|s| s.x1 - s.x0 > 0.15 * page.width)
        .collect();
    let candidates = (35..=65).map(|percent| page.width * f64::from(percent) / 100.0);
    let crossing = |x: f64| long.iter().filter(|segment| crosses(segment, x)).count();
    // Of places that are as good, the one in the middle of them.
    let counts: Vec<(f64, usize)> = candidates.map(|x| (x, crossing(x))).collect();
    let fewest = counts.iter().map(|(_, count)| *count).min()?;
    let best: Vec<f64> = counts
        .iter()
        .filter(|(_, count)| *count == fewest)
        .map(|(x, _)| *x)
        .collect();
    let x = *best.get(best.len() / 2)?;
    let left = long.iter().filter(|segment| segment.x1 <= x + 3.0).count();
    let right = long.iter().filter(|segment| segment.x0 >= x - 3.0).count();
    let is_divided = left >= 3 && right >= 3 && left + right >= 8 && fewest * 2 <= left + right;
    is_divided.then_some(x)
}

fn column_lines(segments: Vec<Segment>, page: usize) -> Vec<Line> {
    let mut rows: Vec<Segment> = Vec::new();
    for segment in segments {
        let row = rows
            .last_mut()
            .filter(|row| (row.y - segment.y).abs() < 0.4 * row.size.max(segment.size));
        match row {
            Some(row) => {
                let (first, second) = if segment.x0 < row.x0 {
                    (&segment, &*row)
                } else {
                    (&*row, &segment)
                };
                let (a, b) = (
                    row.text.chars().count() as f64,
                    segment.text.chars().count() as f64,
                );
                let joined = Segment {
                    x0: first.x0,
                    x1: row.x1.max(segment.x1),
                    y: if a >= b { row.y } else { segment.y },
                    size: (row.size * a + segment.size * b) / (a + b),
                    bold: row.bold && segment.bold,
                    text: format!("{} {}", first.text, second.text),
                };
                *row = joined;
            }
            None => rows.push(segment),
        }
    }
    let left = rows.iter().map(|row| row.x0).fold(f64::INFINITY, f64::min);
    let right = rows
        .iter()
        .map(|row| row.x1)
        .fold(f64::NEG_INFINITY, f64::max);
    let mut distances: Vec<f64> = rows.windows(2).map(|pair| pair[0].y - pair[1].y).collect();
    distances.sort_by(f64::total_cmp);
    let distance = distances
        .get(distances.len() / 2)
        .copied()
        .unwrap_or(f64::INFINITY);
    let line = |(index, segment)| Line {
        segment,
        page,
        left,
        right,
        distance,
        begins_column: index == 0,
    };
    rows.into_iter().enumerate().map(line).collect()
}

/// The size that most letters have, to half a point.
fn body_size(lines: &[Line]) -> f64 {
    let mut letters: HashMap<i64, usize> = HashMap::new();
    for line in lines {
        let size = (line.segment.size * 2.0).round() as i64;
        *letters.entry(size).or_default() += line.segment.text.len();
    }
    let most = letters
        .into_iter()
        .max_by_key(|(size, count)| (*count, *size));
    most.map_or(10.0, |(size, _)| size as f64 / 2.0)
}

/// Takes the lines of the title out: the largest of the first page, if they are larger than the text.
fn take_title(lines: &mut Vec<Line>, body: f64) -> Option<String> {
    let on_first = |line: &Line| line.page == 0 && line.segment.text.chars().count() >= 4;
    let sizes = lines
        .iter()
        .filter(|line| on_first(line))
        .map(|line| line.segment.size);
    let largest = sizes.fold(0.0, f64::max);
    if largest < 1.15 * body {
        return None;
    }
    let is_title = |line: &Line| line.page == 0 && line.segment.size > 0.93 * largest;
    let first = lines.iter().position(is_title)?;
    let count = lines[first..]
        .iter()
        .take_while(|line| is_title(line))
        .count();
    let texts = lines
        .drain(first..first + count.min(6))
        .map(|line| line.segment.text);
    let title = texts.collect::<Vec<_>>().join(" ");
    (title.len() <= 400).then_some(title)
}

fn paragraphs(lines: &[Line], body: f64) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut before: Option<&Line> = None;
    for line in lines {
        let segment = &line.segment;
        match (blocks.last_mut(), before) {
            (Some(block), Some(before)) if !breaks(before, line) => {
                block.lines.push(segment.text.clone())
            }
            _ => blocks.push(Block {
                lines: vec![segment.text.clone()],
                emphasised: Some(segment.bold || segment.size > 1.08 * body),
            }),
        }
        before = Some(line);
    }
    blocks
}

/// Whether a paragraph ends between two lines.
fn breaks(before: &Line, line: &Line) -> bool {
    let (a, b) = (&before.segment, &line.segment);
    let size = a.size.max(b.size);
    if a.bold != b.bold || (a.size - b.size).abs() > 0.12 * size {
        return true;
    }
    let ended = a.text.ends_with(['.', '!', '?', ':']);
    if line.begins_column {
        return ended
            || b.text
                .starts_with(|c: char| c.is_uppercase() || c.is_numeric());
    }
    let gap = a.y - b.y;
    let indent = |line: &Line| line.segment.x0 - line.left;
    let indented = indent(line) > 0.7 * size && indent(before) < 0.4 * size;
    let short = a.x1 < before.right - 0.2 * (before.right - before.left);
    gap > 1.3 * line.distance.max(size) || gap < -size || (indented && ended) || (short && ended)
}
