//! A square cut out of one image, and where it is in another.

use super::pyramid::{Image, Pixel};
use super::structure::Tensor;
use crate::tracks::Place;

/// Steps of Newton's method after which a patch that has not settled is given up.
const MAX_STEPS: usize = 20;

/// A step shorter than this is the last one, in pixels.
const SETTLED_PX: f64 = 0.02;

/// Root mean square difference up to which a fit is good: pixels that differ by much more than the patch does
/// as a whole, and by more than this, show something else and count little.
const GOOD_FIT: f32 = 0.04;

/// How surely a patch has kept its size, as an eigenvalue: enough to settle what its pixels leave open.
const SIZE_PRIOR: f64 = 1e-5;

/// By how much a patch may grow or shrink.
const MAX_GROWTH: f32 = 3.0;

/// Pixels around a place and their slopes. Near the border of the frame they are a rectangle, since those
/// outside do not count.
pub struct Patch<'a> {
    radius: i32,
    area: Area,
    values: Vec<Pixel>,      // [side, side]
    slopes: Vec<[Pixel; 2]>, // [side, side], along x and along y
    weights: &'a [f32],      // [side, side]
}

/// Where a patch was found.
#[derive(Clone, Copy, Debug)]
pub struct Match {
    /// Place of its centre.
    pub place: Place,
    /// Its size, in multiples of that in the other image.
    pub scale: f32,
    /// Root mean square of its difference, in 0..1.
    pub difference: f32,
}

impl<'a> Patch<'a> {
    /// The pixels of `image` up to `radius` pixels away from `place` along each axis.
    pub fn cut(image: &Image, place: Place, radius: u32, bells: &'a Bells) -> Self {
        let weights = bells.of_radius(radius);
        let radius = radius as i32;
        let mut patch = Self {
            radius,
            area: Area::new(image, place, 1.0, radius, 1),
            values: vec![[0.0; 4]; weights.len()],
            slopes: vec![[[0.0; 4]; 2]; weights.len()],
            weights,
        };
        let Area { columns, rows } = patch.area;
        let (width, height) = (patch.area.width(), patch.area.height());
        if width * height == 0 {
            return patch;
        }
        let wide = width + 2; // with the neighbours that slopes need
        let mut around = vec![[0.0; 4]; wide * (height + 2)];
        for (line, row) in around.chunks_exact_mut(wide).zip(rows[0] - 1..) {
            let start = [place[0] + (columns[0] - 1) as f32, place[1] + row as f32];
            image.sample_line(start, 1.0, line);
        }
        for row in 0..height {
            let first = patch.index(columns[0], rows[0] + row as i32);
            for column in 0..width {
                let near = |i: usize, j: usize| around[(row + j) * wide + column + i];
                patch.values[first + column] = around[(row + 1) * wide + column + 1];
                patch.slopes[first + column] = scharr(near);
            }
        }
        patch
    }

    /// Looks for the patch in `image` from `guess` on. `None` if it leaves the frame, does not settle, or does
    /// not hold on to anything: if the smaller eigenvalue of its [`Tensor`] is below `min_eigenvalue`.
    pub fn find(&self, image: &Image, guess: Place, min_eigenvalue: f64) -> Option<Match> {
        self.fit::<false>(image, guess, 1.0, min_eigenvalue)
    }

    /// As [`find`](Self::find), where the patch may also have grown or shrunk: by about `scale`.
    pub fn find_grown(
        &self,
        image: &Image,
        guess: Place,
        scale: f32,
        min_eigenvalue: f64,
    ) -> Option<Match> {
        self.fit::<true>(image, guess, scale, min_eigenvalue)
    }

    /// Newton's method on the weighted sum of squared differences.
    fn fit<const GROWS: bool>(
        &self,
        image: &Image,
        guess: Place,
        scale: f32,
        min_eigenvalue: f64,
    ) -> Option<Match> {
        let (mut place, mut scale) = (guess, scale);
        let mut tolerance = f32::INFINITY; // all pixels count until something is known of the fit
        let mut settled = false;
        for _ in 0..MAX_STEPS {
            let area = self.area_in(image, place, scale)?;
            let equations = self.equations::<GROWS>(image, place, scale, area, tolerance);
            if settled {
                let difference = equations.difference;
                return Some(Match {
                    place,
                    scale,
                    difference,
                });
            }
            tolerance = equations.difference.max(GOOD_FIT);
            if equations.tensor.eigenvalues()[0] < min_eigenvalue {
                return None;
            }
            let [x, y, growth] = if GROWS {
                equations.solve_grown(f64::from(self.radius), f64::from(scale))?
            } else {
                equations.solve()?
            };
            let step_px = x.hypot(y);
            if step_px > 2.0 * f64::from(self.radius) {
                return None;
            }
            settled = step_px.hypot(growth * f64::from(self.radius)) < SETTLED_PX;
            place = [place[0] + scale * x as f32, place[1] + scale * y as f32];
            scale *= 1.0 + growth as f32;
            if !(1.0 / MAX_GROWTH..MAX_GROWTH).contains(&scale) {
                return None;
            }
        }
        None
    }

    /// Compares the patch with `image` around `place`, enlarged by `scale`. A pixel that differs by much more
    /// than `tolerance` counts little (weights after Geman and McClure).
    fn equations<const GROWS: bool>(
        &self,
        image: &Image,
        place: Place,
        scale: f32,
        area: Area,
        tolerance: f32,
    ) -> Equations {
        let mut products = [[0.0; 4]; 3]; // of slopes along x and y: xx, xy, yy
        let mut growth = [[0.0; 4]; 3]; // of the change by growing with: x, y, itself
        let mut sides = [[0.0; 4]; 3]; // of the difference with: x, y, growth
        let (mut weight_sum, mut trusted, mut squares) = (0.0, 0.0, 0.0);
        let doubt = 1.0 / (3.0 * tolerance * tolerance);
        let width = area.width();
        let mut line = vec![[0.0; 4]; width];
        for row in area.rows[0]..=area.rows[1] {
            let start = [
                place[0] + scale * area.columns[0] as f32,
                place[1] + scale * row as f32,
            ];
            image.sample_line(start, scale, &mut line);
            let first = self.index(area.columns[0], row);
            let values = &self.values[first..][..width];
            let slopes = &self.slopes[first..][..width];
            let weights = &self.weights[first..][..width];
            for index in 0..width {
                let (value, pixel) = (values[index], line[index]);
                let mut off = [0.0; 4];
                for lane in 0..4 {
                    off[lane] = value[lane] - pixel[lane];
                }
                let square = dot(off, off);
                let trust = 1.0 / (1.0 + square * doubt);
                let weight = weights[index] * trust * trust;
                weight_sum += weights[index];
                trusted += weight;
                squares += weights[index] * square;
                let [x, y] = slopes[index];
                for lane in 0..4 {
                    let (weighted_x, weighted_y) = (weight * x[lane], weight * y[lane]);
                    products[0][lane] += weighted_x * x[lane];
                    products[1][lane] += weighted_x * y[lane];
                    products[2][lane] += weighted_y * y[lane];
                    sides[0][lane] += weighted_x * off[lane];
                    sides[1][lane] += weighted_y * off[lane];
                }
                if GROWS {
                    let (right, down) = ((area.columns[0] + index as i32) as f32, row as f32);
                    for lane in 0..4 {
                        let outwards = right * x[lane] + down * y[lane];
                        growth[0][lane] += weight * x[lane] * outwards;
                        growth[1][lane] += weight * y[lane] * outwards;
                        growth[2][lane] += weight * outwards * outwards;
                        sides[2][lane] += weight * outwards * off[lane];
                    }
                }
            }
        }
        let mean = |lanes: Pixel| f64::from(lanes.iter().sum::<f32>() / trusted);
        let [xx, xy, yy] = products.map(mean);
        Equations {
            tensor: Tensor { xx, xy, yy },
            growth: growth.map(mean),
            sides: sides.map(mean),
            difference: (squares / weight_sum / 3.0).sqrt(),
        }
    }

    /// The part of the patch that an image has; `None` if that is less than a third.
    fn area_in(&self, image: &Image, place: Place, scale: f32) -> Option<Area> {
        let area = self
            .area
            .and(Area::new(image, place, scale, self.radius, 0));
        (3 * area.width() * area.height() >= self.values.len()).then_some(area)
    }

    fn index(&self, column: i32, row: i32) -> usize {
        ((row + self.radius) * (2 * self.radius + 1) + column + self.radius) as usize
    }
}

/// Normal equations of a step, divided by the sum of the weights.
struct Equations {
    tensor: Tensor,
    growth: [f64; 3],
    sides: [f64; 3],
    /// Root mean square difference over pixels and channels; here every pixel counts.
    difference: f32,
}

impl Equations {
    /// The step along x and y; the growth is 0.
    fn solve(&self) -> Option<[f64; 3]> {
        let Tensor { xx, xy, yy } = self.tensor;
        let [x, y, _] = self.sides;
        let determinant = xx * yy - xy * xy;
        let step = [
            (yy * x - xy * y) / determinant,
            (xx * y - xy * x) / determinant,
            0.0,
        ];
        step.iter().all(|value| value.is_finite()).then_some(step)
    }

    /// The step along x and y and the growth, for a patch of a radius that has been enlarged by `scale` so far.
    fn solve_grown(&self, radius: f64, scale: f64) -> Option<[f64; 3]> {
        let prior = SIZE_PRIOR * radius * radius;
        let Tensor { xx, xy, yy } = self.tensor;
        let [x_growth, y_growth, growth] = self.growth;
        let [x, y, out] = self.sides;
        // Growth is eliminated first, which leaves the equations of a plain step.
        let pivot = growth + prior;
        let out = out - prior * (scale - 1.0);
        let reduced = Self {
            tensor: Tensor {
                xx: xx - x_growth * x_growth / pivot,
                xy: xy - x_growth * y_growth / pivot,
                yy: yy - y_growth * y_growth / pivot,
            },
            sides: [x - x_growth * out / pivot, y - y_growth * out / pivot, 0.0],
            ..*self
        };
        let [x, y, _] = reduced.solve()?;
        Some([x, y, (out - x_growth * x - y_growth * y) / pivot])
    }
}

/// Offsets from the centre of a patch, both ends included; empty where an end precedes its start.
#[derive(Clone, Copy)]
struct Area {
    columns: [i32; 2],
    rows: [i32; 2],
}

impl Area {
    /// The offsets up to `radius` that are in an image, and `margin` pixels away from its border, when they are
    /// enlarged by `scale` and put around a place.
    fn new(image: &Image, [x, y]: Place, scale: f32, radius: i32, margin: i32) -> Self {
        let range = |at: f32, length: usize| {
            let first = ((margin as f32 - at) / scale).ceil() as i32;
            let last = ((length as i32 - 1 - margin) as f32 - at) / scale;
            [first.max(-radius), (last.floor() as i32).min(radius)]
        };
        Self {
            columns: range(x, image.width),
            rows: range(y, image.height),
        }
    }

    fn and(self, other: Self) -> Self {
        let common = |a: [i32; 2], b: [i32; 2]| [a[0].max(b[0]), a[1].min(b[1])];
        Self {
            columns: common(self.columns, other.columns),
            rows: common(self.rows, other.rows),
        }
    }

    fn width(self) -> usize {
        (self.columns[1] - self.columns[0] + 1).max(0) as usize
    }

    fn height(self) -> usize {
        (self.rows[1] - self.rows[0] + 1).max(0) as usize
    }
}

/// Weights of the pixels of a patch, a bell over its square, for every radius.
pub struct Bells {
    by_radius: Vec<Vec<f32>>,
}

impl Bells {
    pub fn up_to(max_radius: u32) -> Self {
        Self {
            by_radius: (0..=max_radius as i32).map(bell).collect(),
        }
    }

    fn of_radius(&self, radius: u32) -> &[f32] {
        &self.by_radius[radius as usize]
    }
}

fn bell(radius: i32) -> Vec<f32> {
    let sigma = 0.7 * radius.max(1) as f32;
    let weight = |offset: i32| (-(offset * offset) as f32 / (2.0 * sigma * sigma)).exp();
    (-radius..=radius)
        .flat_map(|row| (-radius..=radius).map(move |column| weight(row) * weight(column)))
        .collect()
}

/// Slopes along x and y at the middle of nine pixels, given by column and row, after Scharr.
pub fn scharr(pixel: impl Fn(usize, usize) -> Pixel) -> [Pixel; 2] {
    const ACROSS: [f32; 3] = [3.0 / 32.0, 10.0 / 32.0, 3.0 / 32.0];
    let mut slopes = [[0.0; 4]; 2];
    for (index, weight) in ACROSS.into_iter().enumerate() {
        let (left, right) = (pixel(0, index), pixel(2, index));
        let (above, below) = (pixel(index, 0), pixel(index, 2));
        for lane in 0..4 {
            slopes[0][lane] += weight * (right[lane] - left[lane]);
            slopes[1][lane] += weight * (below[lane] - above[lane]);
        }
    }
    slopes
}

pub fn dot(a: Pixel, b: Pixel) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::klt::pyramid::Pyramid;

    /// A texture without edges, seen through a window that is moved and scaled about `[32, 32]`.
    fn texture([shift_x, shift_y]: Place, scale: f32) -> Pyramid {
        let frame = RgbImage::from_fn(64, 64, |column, row| {
            let x = (column as f32 - 32.0 - shift_x) / scale;
            let y = (row as f32 - 32.0 - shift_y) / scale;
            let wave = |a: f32, b: f32| (127.5 + 100.0 * (a * x).sin() * (b * y).cos()) as u8;
            Rgb([wave(0.31, 0.23), wave(0.17, 0.39), wave(0.45, 0.11)])
        });
        Pyramid::new(&frame, 1, [0.0; 3])
    }

    #[test]
    fn a_shift_of_part_of_a_pixel_is_found() {
        let bells = Bells::up_to(6);
        let still = texture([0.0; 2], 1.0);
        let patch = Patch::cut(still.level(0), [30.5, 31.25], 6, &bells);
        for shift in [[0.0, 0.0], [0.3, -0.7], [1.45, 0.05], [-0.5, 1.5]] {
            let moved = texture(shift, 1.0);
            let found = patch.find(moved.level(0), [30.5, 31.25], 1e-5).unwrap();
            let off = (found.place[0] - 30.5 - shift[0]).hypot(found.place[1] - 31.25 - shift[1]);
            assert!(off < 0.02, "{shift:?}: {found:?}");
            assert!(found.difference < 0.01, "{shift:?}: {found:?}");
        }
    }

    #[test]
    fn growth_is_told_from_motion() {
        let bells = Bells::up_to(8);
        let still = texture([0.0; 2], 1.0);
        let patch = Patch::cut(still.level(0), [36.0, 30.0], 8, &bells);
        let grown = texture([0.5, 0.0], 1.1);
        let guess = [36.0, 30.0];
        let found = patch.find_grown(grown.level(0), guess, 1.0, 1e-5).unwrap();
        let truth = [32.5 + 1.1 * 4.0, 32.0 - 1.1 * 2.0];
        let off = (found.place[0] - truth[0]).hypot(found.place[1] - truth[1]);
        assert!(off < 0.05 && (found.scale - 1.1).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn what_holds_on_to_nothing_is_not_found() {
        let bells = Bells::up_to(3);
        let flat = Pyramid::new(&RgbImage::from_pixel(16, 16, Rgb([90; 3])), 1, [0.0; 3]);
        let patch = Patch::cut(flat.level(0), [8.0, 8.0], 3, &bells);
        assert!(patch.find(flat.level(0), [8.0, 8.0], 1e-5).is_none());
    }
}
