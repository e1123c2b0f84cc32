//! Where the sprite went: the way in the reference, dashed, and the way in a result, solid.

use kinvert_world::Point;

use super::{Canvas, Ink, Look, Stroke};

/// Sides of the frame that paths are given in.
const SIDE: f64 = 64.0;

/// A drawing for the page; `result` is none beside the reference itself.
pub(in crate::report) fn paths(
    reference: &[Option<Point>],
    result: Option<&[Option<Point>]>,
    id: &str,
    title: &str,
) -> String {
    let mut canvas = Canvas::new(Look::Page);
    way(&mut canvas, reference, Ink::Muted, Stroke::Dashed);
    if let Some(result) = result {
        way(&mut canvas, result, Ink::Accent, Stroke::Solid);
    }
    let found = |way: &[Option<Point>]| way.iter().flatten().count();
    let description = match result {
        None => "The way in the reference, dashed; the ring is its start.".to_owned(),
        Some(result) => format!(
            "The way in the reference, dashed, and in the result, solid, found in {} of {} frames; a ring and a dot \
             are their starts.",
            found(result),
            result.len()
        ),
    };
    canvas.finish([SIDE, SIDE], id, title, &description)
}

/// Lines through the frames in which the sprite was found, and a mark where it was first.
fn way(canvas: &mut Canvas, way: &[Option<Point>], ink: Ink, stroke: Stroke) {
    let is_drawn = |point: &Point| point.iter().all(|part| part.is_finite());
    let points: Vec<Option<Point>> = way.iter().map(|point| point.filter(is_drawn)).collect();
    for part in points.split(Option::is_none) {
        let part: Vec<Point> = part.iter().copied().flatten().collect();
        canvas.polyline(&part, ink, 1.2, stroke);
    }
    if let Some(start) = points.into_iter().flatten().next() {
        match stroke {
            Stroke::Dashed => canvas.circle(start, 2.4, Ink::Ground, ink),
            Stroke::Solid => canvas.circle(start, 1.6, ink, ink),
        }
    }
}
