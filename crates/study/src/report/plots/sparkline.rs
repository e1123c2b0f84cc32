//! A curve without axes, for beside a number.

use super::axis::Axis;
use super::{Canvas, Ink, Look, Stroke};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 32.0;
/// Most points that are drawn: each is the mean of those it stands for.
const MOST_POINTS: usize = 60;

/// A curve in the page; none if fewer than two values are numbers.
pub(in crate::report) fn sparkline(values: &[f64], id: &str, title: &str) -> Option<String> {
    let chunks = values.chunks(values.len().div_ceil(MOST_POINTS).max(1));
    let means = chunks.map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64);
    let means: Vec<f64> = means.filter(|mean| mean.is_finite()).collect();
    if means.len() < 2 {
        return None;
    }
    let axis = Axis::of(means.iter().copied(), [HEIGHT - 2.0, 2.0])?;
    let step = (WIDTH - 4.0) / (means.len() - 1) as f64;
    let points = means.iter().enumerate();
    let points: Vec<_> = points
        .map(|(index, mean)| [2.0 + step * index as f64, axis.pixel(*mean)])
        .collect();
    let mut canvas = Canvas::new(Look::Page);
    canvas.line(
        [0.0, HEIGHT - 1.0],
        [WIDTH, HEIGHT - 1.0],
        Ink::Hair,
        1.0,
        Stroke::Solid,
    );
    canvas.polyline(&points, Ink::Accent, 1.5, Stroke::Solid);
    Some(canvas.finish([WIDTH, HEIGHT], id, title, "Loss by step"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_needs_two_numbers_and_is_thinned() {
        assert!(sparkline(&[], "a", "").is_none());
        assert!(sparkline(&[1.0, f64::NAN], "a", "").is_none());
        let long: Vec<f64> = (0..10_000).map(f64::from).collect();
        let drawn = sparkline(&long, "a", "").unwrap();
        assert!(drawn.matches(',').count() < 2 * MOST_POINTS, "{drawn}");
    }
}
