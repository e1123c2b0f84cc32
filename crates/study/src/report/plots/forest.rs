//! One measure of the variants of an ablation: means with their intervals, below one another.

use kinvert_metrics::statistics::Interval;

use super::axis::Axis;
use super::{Anchor, Canvas, Font, Ink, Look, Stroke};
use crate::analysis::{Better, MeasureInfo};
use crate::report::numbers;
use crate::report::text::cut_to_width;

/// What is drawn.
pub(in crate::report) struct Forest<'a> {
    /// The ablation.
    pub(in crate::report) title: &'a str,
    pub(in crate::report) measure: &'a MeasureInfo,
    /// The baseline first.
    pub(in crate::report) rows: Vec<ForestRow<'a>>,
}

/// A variant.
pub(in crate::report) struct ForestRow<'a> {
    pub(in crate::report) name: &'a str,
    pub(in crate::report) mean: Option<f64>,
    pub(in crate::report) interval: Option<Interval>,
    pub(in crate::report) is_baseline: bool,
    pub(in crate::report) is_best: bool,
}

const WIDTH: f64 = 380.0;
const LEFT: f64 = 10.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 50.0;
const ROW: f64 = 38.0;
/// Room for the word beside the best interval.
const BEST: f64 = 36.0;
/// Sizes of type, and the room that their letters and digits take at most, in shares of them.
const NAME_SIZE: f64 = 12.5;
const VALUE_SIZE: f64 = 11.5;
const BROAD: f64 = 0.65;
const BROAD_BOLD: f64 = 0.7;
/// Where marks lie in a row, and how far reference lines reach around them.
const MARK: f64 = 25.0;
const REACH: f64 = 8.0;

impl Forest<'_> {
    /// The drawing; none if no variant has a value.
    pub(in crate::report) fn draw(&self, look: Look, id: &str) -> Option<String> {
        let values = self.rows.iter().flat_map(|row| {
            let ends = row.interval.map(|ends| [ends.low, ends.high]);
            row.mean.into_iter().chain(ends.into_iter().flatten())
        });
        let axis = Axis::of(values, [LEFT + 6.0, RIGHT - BEST])?;
        let mut canvas = Canvas::new(look);
        self.heading(&mut canvas);
        for (index, row) in self.rows.iter().enumerate() {
            let top = TOP + ROW * index as f64;
            self.reference(&mut canvas, &axis, top);
            self.row(&mut canvas, &axis, row, top);
        }
        let bottom = TOP + ROW * self.rows.len() as f64;
        scale(&mut canvas, &axis, bottom);
        let title = format!("{}: {}", self.measure.label, self.title);
        let size = [WIDTH, bottom + 42.0];
        Some(canvas.finish(size, id, &title, &self.description()))
    }

    fn heading(&self, canvas: &mut Canvas) {
        let font = Font {
            size: 15.0,
            bold: true,
        };
        let label = cut_to_width(&self.measure.label, 36.0);
        canvas.text([LEFT, 18.0], Anchor::Start, Ink::Text, font, &label);
        let small = Font {
            size: 12.0,
            bold: false,
        };
        let direction = match self.measure.better {
            Better::More => "more is better →",
            Better::Less => "← less is better",
            Better::Neither => "neither more nor less is better",
        };
        canvas.text([LEFT, 36.0], Anchor::Start, Ink::Muted, small, direction);
    }

    /// The part of grid, baseline and its interval that lies behind one row.
    fn reference(&self, canvas: &mut Canvas, axis: &Axis, top: f64) {
        let (from, to) = (top + MARK - REACH, top + MARK + REACH);
        for tick in axis.ticks() {
            let x = tick.pixel;
            canvas.line([x, from], [x, to], Ink::Hair, 1.0, Stroke::Solid);
        }
        let Some(baseline) = self.rows.iter().find(|row| row.is_baseline) else {
            return;
        };
        if let Some(ends) = baseline.interval {
            let [low, high] = [ends.low, ends.high].map(|end| axis.pixel(end));
            let size = [high - low, to - from];
            canvas.rect([low, from], size, Ink::Accent, 0.1);
        }
        if let Some(mean) = baseline.mean.filter(|mean| mean.is_finite()) {
            let x = axis.pixel(mean);
            canvas.line([x, from], [x, to], Ink::Accent, 1.5, Stroke::Dashed);
        }
    }

    fn row(&self, canvas: &mut Canvas, axis: &Axis, row: &ForestRow<'_>, top: f64) {
        let digits = self.measure.digits;
        let mut value = row
            .mean
            .map_or("no value".into(), |mean| numbers::fixed(mean, digits));
        if let Some(ends) = row.interval {
            value = format!("{value} {}", numbers::interval(ends, digits));
        }
        let letter = NAME_SIZE * if row.is_best { BROAD_BOLD } else { BROAD };
        let room = RIGHT - LEFT - 10.0 - VALUE_SIZE * BROAD * value.chars().count() as f64;
        let name = cut_to_width(row.name, room / letter);
        let font = Font {
            size: NAME_SIZE,
            bold: row.is_best,
        };
        canvas.text([LEFT, top + 12.0], Anchor::Start, Ink::Text, font, &name);
        let ink = match row.mean {
            Some(_) => Ink::Text,
            None => Ink::Muted,
        };
        let font = Font {
            size: VALUE_SIZE,
            bold: false,
        };
        canvas.text([RIGHT, top + 12.0], Anchor::End, ink, font, &value);

        let y = top + MARK;
        if let Some(ends) = row.interval {
            let [low, high] = [ends.low, ends.high].map(|end| axis.pixel(end));
            canvas.line([low, y], [high, y], Ink::Text, 1.5, Stroke::Solid);
            for end in [low, high] {
                let (from, to) = ([end, y - 4.0], [end, y + 4.0]);
                canvas.line(from, to, Ink::Text, 1.5, Stroke::Solid);
            }
        }
        let Some(mean) = row.mean.filter(|mean| mean.is_finite()) else {
            return;
        };
        let at = [axis.pixel(mean), y];
        match row.is_baseline {
            true => canvas.diamond(at, 5.5, Ink::Ground, Ink::Accent),
            false => canvas.circle(at, 4.0, Ink::Text, Ink::Text),
        }
        if row.is_best {
            let high = row.interval.map_or(mean, |ends| ends.high);
            let at = [axis.pixel(high) + 9.0, y + 4.0];
            let font = Font {
                size: VALUE_SIZE,
                bold: true,
            };
            canvas.text(at, Anchor::Start, Ink::Text, font, "best");
        }
    }

    /// All values in words.
    fn description(&self) -> String {
        let digits = self.measure.digits;
        let rows = self.rows.iter().map(|row| {
            let value = row
                .mean
                .map_or("no value".into(), |mean| numbers::fixed(mean, digits));
            let ends = row.interval.map_or(String::new(), |ends| {
                format!(" {}", numbers::interval(ends, digits))
            });
            format!("{}: {value}{ends}", row.name)
        });
        let rows: Vec<_> = rows.collect();
        format!("Mean and 95 % interval. {}.", rows.join("; "))
    }
}

fn scale(canvas: &mut Canvas, axis: &Axis, y: f64) {
    canvas.line([LEFT, y], [RIGHT, y], Ink::Muted, 1.0, Stroke::Solid);
    let font = Font {
        size: VALUE_SIZE,
        bold: false,
    };
    for tick in axis.ticks() {
        let x = tick.pixel;
        canvas.line([x, y], [x, y + 4.0], Ink::Muted, 1.0, Stroke::Solid);
        let label = numbers::fixed(tick.value, tick.digits);
        let x = x.clamp(LEFT + 12.0, RIGHT - 12.0);
        canvas.text([x, y + 16.0], Anchor::Middle, Ink::Muted, font, &label);
    }
    let legend = "◇ and dashed line: the method · bars: 95 % interval";
    canvas.text([LEFT, y + 34.0], Anchor::Start, Ink::Muted, font, legend);
}
