//! Plots as SVG: the same drawing for the page, where it takes on the page's colours, and as a file of its own.

mod axis;
mod forest;
mod paths;
mod sparkline;

use std::fmt::Write;

pub(super) use forest::{Forest, ForestRow};
pub(super) use paths::paths;
pub(super) use sparkline::sparkline;

use super::text::escaped;

/// Where a drawing is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// In the page, in its colours, light or dark.
    Page,
    /// Alone, dark on white.
    File,
}

/// What a colour is for.
#[derive(Clone, Copy)]
enum Ink {
    /// What is to be read.
    Text,
    /// What stands back.
    Muted,
    /// Lines that carry nothing.
    Hair,
    /// What the eye is to find.
    Accent,
    /// What is behind.
    Ground,
}

impl Ink {
    fn colour(self, look: Look) -> &'static str {
        match (look, self) {
            (Look::Page, Self::Text) => "currentColor",
            (Look::Page, Self::Muted) => "var(--muted)",
            (Look::Page, Self::Hair) => "var(--hair)",
            (Look::Page, Self::Accent) => "var(--accent)",
            (Look::Page, Self::Ground) => "var(--ground)",
            (Look::File, Self::Text) => "#1c1e21",
            (Look::File, Self::Muted) => "#565b63",
            (Look::File, Self::Hair) => "#d5d7d3",
            (Look::File, Self::Accent) => "#1f5fa8",
            (Look::File, Self::Ground) => "#ffffff",
        }
    }
}

/// Where a text begins or ends.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy)]
enum Stroke {
    Solid,
    Dashed,
}

/// A drawing in the making. Coordinates are pixels from the upper left corner.
struct Canvas {
    look: Look,
    body: String,
}

impl Canvas {
    fn new(look: Look) -> Self {
        let body = String::new();
        Self { look, body }
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], ink: Ink, width: f64, stroke: Stroke) {
        let ([x1, y1], [x2, y2]) = (from, to);
        let (colour, dash) = (ink.colour(self.look), stroke.dash(width));
        self.put(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"{dash}/>"#
        ));
    }

    /// Lines from point to point; nothing for fewer than two.
    fn polyline(&mut self, points: &[[f64; 2]], ink: Ink, width: f64, stroke: Stroke) {
        if points.len() < 2 {
            return;
        }
        let points = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}"));
        let points = points.collect::<Vec<_>>().join(" ");
        let (colour, dash) = (ink.colour(self.look), stroke.dash(width));
        self.put(format_args!(
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dash}/>"#
        ));
    }

    fn circle(&mut self, [x, y]: [f64; 2], radius: f64, fill: Ink, edge: Ink) {
        let [fill, edge] = [fill, edge].map(|ink| ink.colour(self.look));
        self.put(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{edge}" stroke-width="1.5"/>"#
        ));
    }

    fn diamond(&mut self, [x, y]: [f64; 2], radius: f64, fill: Ink, edge: Ink) {
        let [fill, edge] = [fill, edge].map(|ink| ink.colour(self.look));
        let (left, right, top, bottom) = (x - radius, x + radius, y - radius, y + radius);
        self.put(format_args!(
            r#"<path d="M{x:.1} {top:.1}L{right:.1} {y:.1}L{x:.1} {bottom:.1}L{left:.1} {y:.1}Z" fill="{fill}" stroke="{edge}" stroke-width="1.5"/>"#
        ));
    }

    fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], ink: Ink, opacity: f64) {
        let colour = ink.colour(self.look);
        self.put(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}" fill-opacity="{opacity}"/>"#
        ));
    }

    fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, ink: Ink, font: Font, text: &str) {
        let colour = ink.colour(self.look);
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if font.bold { 650 } else { 400 };
        let (size, text) = (font.size, escaped(text));
        self.put(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" font-weight="{weight}">{text}</text>"#
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element); // writing to a string cannot fail
    }

    /// The drawing with what it shows in words; `id` is unique in the page.
    fn finish(self, [width, height]: [f64; 2], id: &str, title: &str, description: &str) -> String {
        let (body, title, description) = (self.body, escaped(title), escaped(description));
        let (namespace, ground) = match self.look {
            Look::Page => (String::new(), String::new()),
            Look::File => (
                format!(
                    r#" xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}""#
                ),
                format!(
                    r#"<rect width="100%" height="100%" fill="{}"/>"#,
                    Ink::Ground.colour(self.look)
                ),
            ),
        };
        format!(
            r#"<svg{namespace} viewBox="0 0 {width:.0} {height:.0}" role="img" aria-labelledby="{id}-title" aria-describedby="{id}-desc" font-family="system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"><title id="{id}-title">{title}</title><desc id="{id}-desc">{description}</desc>{ground}{body}</svg>"#
        )
    }
}

impl Stroke {
    fn dash(self, width: f64) -> String {
        match self {
            Self::Solid => String::new(),
            Self::Dashed => format!(
                r#" stroke-dasharray="{:.1} {:.1}""#,
                3.0 * width,
                2.0 * width
            ),
        }
    }
}

/// How a text is set.
#[derive(Clone, Copy)]
struct Font {
    size: f64,
    bold: bool,
}
