//! Where the sprite is in a clip, and how well two paths agree.
//!
//! The world's palette is known, so a pixel is explained as a mixture: of the sprite's colour by some share,
//! and of a colour between the background's two ([`Palette::coverage`]). A pattern, panning or not, is
//! background by that account. The sprite of a frame is the heaviest patch of pixels that are mostly
//! sprite, and its place is their centroid ([`centroid_path`]). For generated clips, whose colours are a little
//! off, the palette is first moved to the colours found in the clip ([`Palette::adapted`]).
//!
//! Places are in pixels from the frame's upper left corner, as in [`Scene::centre_px`](crate::Scene::centre_px).
//! Lengths below are given for frames of 64 pixels and grow with the frame.

use image::RgbImage;

use crate::look::Rgb;
use crate::path::Point;
use crate::{Background, Colour, Look, SIZE, Shape};

/// The colours that a clip is made of, RGB in 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Palette {
    /// The sprite's colour.
    pub sprite: Rgb,
    /// The two colours between which the background runs; equal for a plain one.
    pub background: [Rgb; 2],
}

/// A pixel as a mixture of the three colours of a palette.
struct Mixture {
    /// Share of the sprite's colour, 0..1.
    sprite: f64,
    /// Place of the rest between the two background colours, 0..1.
    pattern: f64,
    /// Squared distance of the mixture from the pixel.
    residual: f64,
}

impl Palette {
    /// The palette of the world.
    pub fn new(colour: Colour, background: Background) -> Self {
        Self {
            sprite: colour.rgb(),
            background: background.colours(),
        }
    }

    /// The share of the sprite's colour in a pixel, 0..1: that of the nearest mixture of the palette's colours.
    pub fn coverage(&self, pixel: [u8; 3]) -> f64 {
        self.explain(unit(pixel)).sprite
    }

    /// How surely each pixel of a frame is sprite, row by row: 0 for a coverage up to 0.3, 1 from 0.7 on and
    /// linear between, so that noise in the background weighs nothing.
    pub fn foreground(&self, frame: &RgbImage) -> Vec<f64> {
        frame
            .pixels()
            .map(|pixel| emphasise(self.coverage(pixel.0)))
            .collect()
    }

    /// Moves each colour to the median of the pixels that are mostly of it, unless these are too few or the
    /// median is another colour altogether.
    pub fn adapted(&self, frames: &[RgbImage]) -> Self {
        let mut palette = *self;
        for _ in 0..2 {
            palette = palette.adapted_once(frames, self);
        }
        palette
    }

    fn adapted_once(&self, frames: &[RgbImage], original: &Self) -> Self {
        let mut sprite = Histogram::new();
        let mut behind = BackgroundLevels::new();
        for pixel in frames.iter().flat_map(|frame| frame.pixels()) {
            let mixture = self.explain(unit(pixel.0));
            if mixture.sprite > 0.7 {
                sprite.count(pixel.0);
            } else if mixture.sprite < 0.3 {
                behind.count(pixel.0, mixture.pattern);
            }
        }
        Self {
            sprite: sprite.median_near(original.sprite, enough_of(frames)),
            background: behind.medians_near(original.background, enough_of(frames)),
        }
    }

    /// The point of the triangle of the three colours (a line, if the background is plain) next to a colour.
    fn explain(&self, colour: Rgb) -> Mixture {
        let [first, second] = self.background;
        let along_pattern = sub(second, first);
        let to_sprite = sub(self.sprite, first);
        let offset = sub(colour, first);

        let (aa, ab, bb) = (
            dot(to_sprite, to_sprite),
            dot(to_sprite, along_pattern),
            dot(along_pattern, along_pattern),
        );
        let determinant = aa * bb - ab * ab;
        if determinant > 1e-9 {
            let (oa, ob) = (dot(offset, to_sprite), dot(offset, along_pattern));
            let sprite = (oa * bb - ob * ab) / determinant;
            let pattern = (ob * aa - oa * ab) / determinant;
            if sprite >= 0.0 && pattern >= 0.0 && sprite + pattern <= 1.0 {
                let rest = sub(
                    offset,
                    add(scale(to_sprite, sprite), scale(along_pattern, pattern)),
                );
                return Mixture {
                    sprite,
                    pattern: pattern / (1.0 - sprite).max(1e-9),
                    residual: dot(rest, rest),
                };
            }
        }

        let mut nearest = {
            let (pattern, residual) = nearest_on_line(first, second, colour);
            Mixture {
                sprite: 0.0,
                pattern,
                residual,
            }
        };
        for (end, pattern) in [(first, 0.0), (second, 1.0)] {
            let (sprite, residual) = nearest_on_line(end, self.sprite, colour);
            if residual < nearest.residual {
                nearest = Mixture {
                    sprite,
                    pattern,
                    residual,
                };
            }
        }
        nearest
    }
}

/// The look that fits a clip best. Something is always found; in a clip without a sprite its colour and shape
/// mean nothing.
///
/// The background is the one whose colours most pixels are near to. The colour is then judged by the pixels
/// that this background, its colours adapted to the clip, leaves unexplained, and the shape by the outline
/// that best covers what is of that colour.
pub fn recognise(frames: &[RgbImage]) -> Look {
    let (colour, background) = recognise_colours(frames);
    let palette = Palette::new(colour, background).adapted(frames);
    let sprites = find_sprites(&palette, frames);
    let shape = least(Shape::ALL, |shape| {
        let misfits = sprites.iter().filter_map(|(foreground, blob)| {
            let blob = blob.as_ref()?;
            Some(foreground.misfit(shape, blob.centroid, blob.radius(shape)))
        });
        misfits.sum()
    });
    Look {
        colour,
        shape,
        background,
    }
}

fn recognise_colours(frames: &[RgbImage]) -> (Colour, Background) {
    // Beyond this distance a pixel does not fit at all, and how far it is off says nothing more.
    const MISFIT: f64 = 0.15;
    // Noise of a deviation of 0.05 in each channel stays below this; the palette's sprites are at 0.3 and more.
    const UNEXPLAINED: f64 = 0.2;

    let pixels = || frames.iter().flat_map(|frame| frame.pixels());
    let background = least(Background::ALL, |background| {
        let [first, second] = background.colours();
        let misfit = |pixel: &image::Rgb<u8>| nearest_on_line(first, second, unit(pixel.0)).1;
        pixels()
            .map(|pixel| misfit(pixel).min(MISFIT * MISFIT))
            .sum()
    });

    let behind = adapted_background(background.colours(), frames);
    let foreground: Vec<Rgb> = pixels()
        .map(|pixel| unit(pixel.0))
        .filter(|colour| {
            nearest_on_line(behind[0], behind[1], *colour).1 > UNEXPLAINED * UNEXPLAINED
        })
        .collect();
    let colour = least(Colour::ALL, |colour| {
        let palette = Palette {
            sprite: colour.rgb(),
            background: behind,
        };
        foreground
            .iter()
            .map(|&colour| palette.explain(colour).residual)
            .sum()
    });
    (colour, background)
}

/// The two colours of a background moved to those of a clip, without regard to the sprite.
fn adapted_background(colours: [Rgb; 2], frames: &[RgbImage]) -> [Rgb; 2] {
    let mut ends = BackgroundLevels::new();
    for pixel in frames.iter().flat_map(|frame| frame.pixels()) {
        let (pattern, residual) = nearest_on_line(colours[0], colours[1], unit(pixel.0));
        if residual < 0.2 * 0.2 {
            ends.count(pixel.0, pattern);
        }
    }
    ends.medians_near(colours, enough_of(frames))
}

/// The place of the sprite in each frame, in pixels, or `None` where there is none.
///
/// Without a `look` it is [recognised](recognise) first. In either case the palette is
/// [adapted](Palette::adapted) to the clip. Where the frame's border may cut the sprite, the centroid of what is
/// visible lies too far inside; there the outline of the look's shape is fitted to what is visible.
pub fn centroid_path(frames: &[RgbImage], look: Option<Look>) -> Vec<Option<Point>> {
    let look = look.unwrap_or_else(|| recognise(frames));
    let palette = Palette::new(look.colour, look.background).adapted(frames);
    let sprites = find_sprites(&palette, frames);

    // Sizes relative to the frame's, so that frames of different sizes do not confuse each other.
    let whole: Vec<(usize, f64)> = sprites
        .iter()
        .enumerate()
        .filter_map(|(i, (foreground, blob))| {
            let blob = blob.as_ref()?;
            let radius = blob.radius(look.shape);
            let is_whole = foreground.holds(blob.centroid, radius);
            is_whole.then_some((i, radius / foreground.scale))
        })
        .collect();
    sprites
        .iter()
        .enumerate()
        .map(|(i, (foreground, blob))| {
            let blob = blob.as_ref()?;
            let radius = blob.radius(look.shape);
            if foreground.holds(blob.centroid, radius) {
                return Some(blob.centroid);
            }
            // The mass of a cut sprite tells too small a size.
            let nearest = whole.iter().min_by_key(|(frame, _)| frame.abs_diff(i));
            let radius = nearest.map_or(radius, |(_, radius)| radius * foreground.scale);
            Some(foreground.fit(look.shape, blob.centroid, radius))
        })
        .collect()
}

fn find_sprites(palette: &Palette, frames: &[RgbImage]) -> Vec<(Foreground, Option<Blob>)> {
    frames
        .iter()
        .map(|frame| {
            let foreground = Foreground::new(palette, frame);
            let blob = foreground.sprite();
            (foreground, blob)
        })
        .collect()
}

/// How well one path follows another: the mean over x and y of Pearson's correlation, in −1..1.
///
/// Both paths have one entry per frame, a [`Point`] or an `Option<Point>`. These rules keep noise out:
/// * An axis counts if the reference's standard deviation on it is at least [`MOVING_PX`].
/// * An axis that counts, but on which `path` stays within [`STILL_PX`], contributes 0.
/// * If no axis counts, the reference is still: the result is 1 if `path` is still by the same rule, else 0.
/// * Frames in which either place is unknown are left out. If fewer than three, or fewer than half of
///   all, are left, the result is 0: what cannot be found does not follow.
///
/// ```
/// use kinvert_world::track::path_correlation;
///
/// let reference: Vec<[f64; 2]> = (0..16).map(|f| [10.0 + 2.0 * f as f64, 32.0]).collect();
/// let mirrored: Vec<[f64; 2]> = reference.iter().map(|[x, y]| [64.0 - x, *y]).collect();
/// assert!((path_correlation(&reference, &reference) - 1.0).abs() < 1e-12);
/// assert!((path_correlation(&reference, &mirrored) + 1.0).abs() < 1e-12); // y does not count
/// ```
///
/// # Panics
/// If the paths have different numbers of frames.
pub fn path_correlation<A, B>(reference: &[A], path: &[B]) -> f64
where
    A: Copy + Into<Option<Point>>,
    B: Copy + Into<Option<Point>>,
{
    let pairs = known_pairs(reference, path);
    if pairs.len() < 3 || 2 * pairs.len() < reference.len() {
        return 0.0;
    }
    let axes = [0, 1].map(|axis| {
        let values = pairs.iter().map(|(a, b)| [a[axis], b[axis]]);
        Moments::of(values, pairs.len() as f64)
    });
    let counting: Vec<&Moments> = axes
        .iter()
        .filter(|axis| axis.deviations[0] >= MOVING_PX)
        .collect();
    if counting.is_empty() {
        let still = axes.iter().all(|axis| axis.deviations[1] < MOVING_PX);
        return if still { 1.0 } else { 0.0 };
    }
    let sum: f64 = counting.iter().map(|axis| axis.correlation()).sum();
    sum / counting.len() as f64
}

/// Standard deviation, in pixels, from which on a reference is taken to move along an axis. A sprite that
/// crosses 7 pixels at constant speed just does; errors of [`centroid_path`] stay far below.
pub const MOVING_PX: f64 = 2.0;

/// Standard deviation, in pixels, below which a path does not move along an axis.
pub const STILL_PX: f64 = 0.25;

/// Mean distance of two paths in pixels, over the frames in which both places are known; `None` if there is no
/// such frame.
///
/// # Panics
/// If the paths have different numbers of frames.
pub fn end_point_error_px<A, B>(reference: &[A], path: &[B]) -> Option<f64>
where
    A: Copy + Into<Option<Point>>,
    B: Copy + Into<Option<Point>>,
{
    let pairs = known_pairs(reference, path);
    let sum: f64 = pairs
        .iter()
        .map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]))
        .sum();
    (!pairs.is_empty()).then(|| sum / pairs.len() as f64)
}

fn known_pairs<A, B>(reference: &[A], path: &[B]) -> Vec<(Point, Point)>
where
    A: Copy + Into<Option<Point>>,
    B: Copy + Into<Option<Point>>,
{
    assert_eq!(reference.len(), path.len(), "paths of one length");
    reference
        .iter()
        .zip(path)
        .filter_map(|(a, b)| Some(((*a).into()?, (*b).into()?)))
        .collect()
}

/// Second moments of pairs of values.
struct Moments {
    deviations: [f64; 2],
    covariance: f64,
}

impl Moments {
    fn of(pairs: impl Iterator<Item = [f64; 2]> + Clone, count: f64) -> Self {
        let mean = [0, 1].map(|i| pairs.clone().map(|pair| pair[i]).sum::<f64>() / count);
        let moment = |i: usize, j: usize| {
            let products = pairs
                .clone()
                .map(|pair| (pair[i] - mean[i]) * (pair[j] - mean[j]));
            products.sum::<f64>() / count
        };
        Self {
            deviations: [moment(0, 0).sqrt(), moment(1, 1).sqrt()],
            covariance: moment(0, 1),
        }
    }

    fn correlation(&self) -> f64 {
        let [reference, path] = self.deviations;
        if path < STILL_PX {
            0.0
        } else {
            (self.covariance / (reference * path)).clamp(-1.0, 1.0)
        }
    }
}

/// Half the side of the square in which the sprite is looked for: no sprite reaches further from its centre.
const WINDOW_PX: f64 = 18.0;
/// Least mass of a sprite, in pixels. The smallest sprite of the world, a star, has 43.
const MIN_MASS: f64 = 16.0;
/// Largest size of a sprite.
const MAX_RADIUS_PX: f64 = 15.0;

/// The sprite-likeness of a frame's pixels, see [`Palette::foreground`].
struct Foreground {
    weights: Vec<f64>,
    width: usize,
    height: usize,
    /// Size of the frame relative to 64 pixels.
    scale: f64,
}

/// Mass and centroid of weighted pixels.
struct Blob {
    mass: f64,
    centroid: Point,
}

impl Foreground {
    fn new(palette: &Palette, frame: &RgbImage) -> Self {
        Self {
            weights: palette.foreground(frame),
            width: frame.width() as usize,
            height: frame.height() as usize,
            scale: f64::from(frame.width().min(frame.height())) / f64::from(SIZE),
        }
    }

    /// What the frame shows of the sprite, if there is one.
    fn sprite(&self) -> Option<Blob> {
        self.settle(self.densest()?)
            .filter(|blob| blob.mass >= MIN_MASS * self.scale * self.scale)
    }

    /// Whether no sprite of this size at this place reaches the frame's border.
    fn holds(&self, [x, y]: Point, radius: f64) -> bool {
        let reach = Shape::REACH * radius + 1.0;
        let within = |at: f64, end: usize| at >= reach && at + reach <= end as f64;
        within(x, self.width) && within(y, self.height)
    }

    /// The middle of the square window that holds the most weight.
    fn densest(&self) -> Option<Point> {
        let half = (12.0 * self.scale).round() as usize;
        let rows = box_sums(&self.weights, self.width, 1, self.height, half);
        let sums = box_sums(&rows, self.height, self.width, self.width, half);
        let (best, _) = sums
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some([
            (best % self.width) as f64 + 0.5,
            (best / self.width) as f64 + 0.5,
        ])
    }

    /// Moves a window to the centroid of what is in it until it rests.
    fn settle(&self, mut centre: Point) -> Option<Blob> {
        let mut blob = self.blob_near(centre)?;
        for _ in 0..12 {
            let step = (blob.centroid[0] - centre[0]).hypot(blob.centroid[1] - centre[1]);
            if step < 0.05 {
                break;
            }
            centre = blob.centroid;
            blob = self.blob_near(centre)?;
        }
        Some(blob)
    }

    fn blob_near(&self, [x, y]: Point) -> Option<Blob> {
        let reach = WINDOW_PX * self.scale;
        let range = |middle: f64, end: usize| {
            let first = (middle - reach).max(0.0) as usize;
            first..((middle + reach).ceil().max(0.0) as usize).min(end)
        };
        let columns = range(x, self.width);
        let pixels = range(y, self.height).flat_map(|row| columns.clone().map(move |c| (c, row)));
        blob_of(pixels, |column, row| {
            self.weights[row * self.width + column]
        })
    }

    /// Squared difference from a sprite of this shape, place and size.
    fn misfit(&self, shape: Shape, [x, y]: Point, radius: f64) -> f64 {
        let differences = self.weights.iter().enumerate().map(|(i, weight)| {
            let column = (i % self.width) as f64 + 0.5;
            let row = (i / self.width) as f64 + 0.5;
            let coverage = shape.coverage(column - x, row - y, radius);
            (weight - emphasise(coverage)).powi(2)
        });
        differences.sum()
    }

    /// The place of the sprite that differs least, searched downhill from a place and a size.
    fn fit(&self, shape: Shape, [x, y]: Point, radius: f64) -> Point {
        let mut best = [x, y, radius];
        let mut least = self.misfit(shape, [x, y], radius);
        let mut step = 2.0 * self.scale;
        while step > 0.05 * self.scale {
            let start = least;
            for parameter in 0..3 {
                for sign in [-1.0, 1.0] {
                    let mut candidate = best;
                    candidate[parameter] += sign * step;
                    let [x, y, radius] = candidate;
                    if !(0.0..=MAX_RADIUS_PX * self.scale).contains(&radius) {
                        continue;
                    }
                    let misfit = self.misfit(shape, [x, y], radius);
                    if misfit < least {
                        (best, least) = (candidate, misfit);
                    }
                }
            }
            if least >= start {
                step /= 2.0;
            }
        }
        [best[0], best[1]]
    }
}

impl Blob {
    /// Size of the sprite that has this mass.
    fn radius(&self, shape: Shape) -> f64 {
        (self.mass / shape.area(1.0)).sqrt()
    }
}

/// Mass and centroid of pixels (column, row), or `None` if they weigh nothing.
fn blob_of(
    pixels: impl Iterator<Item = (usize, usize)>,
    weight: impl Fn(usize, usize) -> f64,
) -> Option<Blob> {
    let (mut mass, mut moment) = (0.0, [0.0; 2]);
    for (column, row) in pixels {
        let weight = weight(column, row);
        mass += weight;
        moment[0] += weight * (column as f64 + 0.5);
        moment[1] += weight * (row as f64 + 0.5);
    }
    (mass > 0.0).then(|| Blob {
        mass,
        centroid: moment.map(|m| m / mass),
    })
}

/// For each value the sum of those up to `half` places before and after it on its line. A line has `length`
/// values, `stride` apart; `lines` lines make up the list.
fn box_sums(values: &[f64], length: usize, stride: usize, lines: usize, half: usize) -> Vec<f64> {
    let mut sums = vec![0.0; values.len()];
    for line in 0..lines {
        let start = if stride == 1 { line * length } else { line };
        for i in 0..length {
            let window = i.saturating_sub(half)..(i + half + 1).min(length);
            sums[start + i * stride] = window.map(|j| values[start + j * stride]).sum();
        }
    }
    sums
}

/// Coverage to weight, see [`Palette::foreground`].
fn emphasise(coverage: f64) -> f64 {
    ((coverage - 0.3) / 0.4).clamp(0.0, 1.0)
}

/// Pixels that must be of one colour for its median to mean something: a sprite of the smallest size and
/// thinnest shape fills one percent of each frame.
fn enough_of(frames: &[RgbImage]) -> usize {
    frames
        .iter()
        .map(|frame| frame.pixels().len())
        .sum::<usize>()
        / 200
}

/// Levels of the pixels near either end of a background.
struct BackgroundLevels {
    ends: [Histogram; 2],
}

impl BackgroundLevels {
    fn new() -> Self {
        Self {
            ends: [Histogram::new(), Histogram::new()],
        }
    }

    /// Counts a pixel at a place between the two colours, 0..1, for the end that it is near to, if any.
    fn count(&mut self, pixel: [u8; 3], pattern: f64) {
        if pattern < 0.3 {
            self.ends[0].count(pixel);
        } else if pattern > 0.7 {
            self.ends[1].count(pixel);
        }
    }

    /// See [`Histogram::median_near`]; the ends of a plain background stay equal.
    fn medians_near(&self, [first, second]: [Rgb; 2], enough: usize) -> [Rgb; 2] {
        let [low, high] = &self.ends;
        let median = low.median_near(first, enough);
        if first == second {
            [median; 2]
        } else {
            [median, high.median_near(second, enough)]
        }
    }
}

/// Counts of the 256 levels of three channels.
struct Histogram {
    levels: [[usize; 256]; 3],
    total: usize,
}

impl Histogram {
    fn new() -> Self {
        Self {
            levels: [[0; 256]; 3],
            total: 0,
        }
    }

    fn count(&mut self, pixel: [u8; 3]) {
        self.total += 1;
        for (levels, value) in self.levels.iter_mut().zip(pixel) {
            levels[usize::from(value)] += 1;
        }
    }

    /// The median of each channel, or `expected` if there are too few pixels or it lies elsewhere.
    fn median_near(&self, expected: Rgb, enough: usize) -> Rgb {
        const FAR: f64 = 0.25;
        if self.total <= enough {
            return expected;
        }
        let median = self.levels.each_ref().map(|levels| {
            let mut below = 0;
            let level = levels.iter().position(|count| {
                below += count;
                2 * below >= self.total
            });
            level.unwrap_or(0) as f64 / 255.0
        });
        let move_by = sub(median, expected);
        if dot(move_by, move_by) <= FAR * FAR {
            median
        } else {
            expected
        }
    }
}

/// The candidate of least cost.
fn least<T: Copy, const N: usize>(candidates: [T; N], cost: impl Fn(T) -> f64) -> T {
    let mut best = (candidates[0], f64::INFINITY);
    for candidate in candidates {
        let cost = cost(candidate);
        if cost < best.1 {
            best = (candidate, cost);
        }
    }
    best.0
}

/// Place (0..1) of the point between `from` and `to` next to `colour`, and its squared distance.
fn nearest_on_line(from: Rgb, to: Rgb, colour: Rgb) -> (f64, f64) {
    let (line, offset) = (sub(to, from), sub(colour, from));
    let place = (dot(offset, line) / dot(line, line).max(1e-12)).clamp(0.0, 1.0);
    let rest = sub(offset, scale(line, place));
    (place, dot(rest, rest))
}

fn unit(pixel: [u8; 3]) -> Rgb {
    pixel.map(|value| f64::from(value) / 255.0)
}

fn add(a: Rgb, b: Rgb) -> Rgb {
    std::array::from_fn(|i| a[i] + b[i])
}

fn sub(a: Rgb, b: Rgb) -> Rgb {
    std::array::from_fn(|i| a[i] - b[i])
}

fn scale(a: Rgb, factor: f64) -> Rgb {
    a.map(|value| value * factor)
}

fn dot(a: Rgb, b: Rgb) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Motion, Scene};

    fn line(step: Point) -> Vec<Point> {
        (0..16)
            .map(|f| [20.0 + step[0] * f as f64, 20.0 + step[1] * f as f64])
            .collect()
    }

    /// A fixed jitter of about one pixel.
    fn jitter(path: &[Point]) -> Vec<Point> {
        path.iter()
            .enumerate()
            .map(|(f, [x, y])| [x + (7.3 * f as f64).sin(), y + (3.1 * f as f64).cos()])
            .collect()
    }

    #[test]
    fn mixtures_are_taken_apart() {
        for background in Background::ALL {
            for colour in Colour::ALL {
                let palette = Palette::new(colour, background);
                for (share, pattern) in [(0.0, 0.3), (0.25, 0.0), (0.5, 0.5), (1.0, 0.0)] {
                    let [first, second] = palette.background;
                    let behind = crate::look::mix(first, second, pattern);
                    let mixture = palette.explain(crate::look::mix(behind, palette.sprite, share));
                    assert!(
                        (mixture.sprite - share).abs() < 1e-9,
                        "{colour} {background}"
                    );
                    assert!(mixture.residual < 1e-18);
                }
            }
        }
    }

    #[test]
    fn a_colour_outside_the_palette_goes_to_the_nearest_mixture() {
        let palette = Palette {
            sprite: [1.0, 0.0, 0.0],
            background: [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        };
        let mixture = palette.explain([1.2, -0.1, 0.3]);
        assert_eq!(mixture.sprite, 1.0);
        let mixture = palette.explain([-0.5, 0.4, 0.0]);
        assert_eq!((mixture.sprite, mixture.pattern), (0.0, 0.4));
    }

    #[test]
    fn an_axis_on_which_the_reference_hardly_moves_does_not_count() {
        let reference = line([2.0, 0.1]); // y moves by 1.5 px: deviation 0.46
        let noisy = jitter(&reference);
        assert!(path_correlation(&reference, &noisy) > 0.98);
        let only_y = line([0.0, 2.0]);
        assert_eq!(path_correlation(&reference, &only_y), 0.0); // still where it should move
    }

    #[test]
    fn correlation_is_the_mean_of_both_axes() {
        let reference = line([2.0, 1.0]);
        let half_right = line([1.0, -3.0]);
        assert!(path_correlation(&reference, &half_right).abs() < 1e-12);
        assert!((path_correlation(&reference, &line([0.5, 0.2])) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_still_reference_is_followed_by_standing_still() {
        let still = line([0.0, 0.0]);
        assert_eq!(path_correlation(&still, &jitter(&still)), 1.0);
        assert_eq!(path_correlation(&still, &line([0.0, 1.0])), 0.0);
        assert_eq!(path_correlation(&line([0.0, 1.0]), &still), 0.0);
    }

    #[test]
    fn unknown_frames_are_left_out_and_too_many_mean_no_agreement() {
        let reference = line([2.0, 1.0]);
        let mut found: Vec<Option<Point>> = reference.iter().copied().map(Some).collect();
        found[3] = None;
        assert!((path_correlation(&reference, &found) - 1.0).abs() < 1e-12);
        assert_eq!(end_point_error_px(&reference, &found), Some(0.0));
        found[4..].fill(None);
        assert_eq!(path_correlation(&reference, &found), 0.0);
        found.fill(None);
        assert_eq!(end_point_error_px(&reference, &found), None);
        assert_eq!(path_correlation::<Point, Point>(&[], &[]), 0.0);
    }

    #[test]
    fn end_point_error_is_the_mean_distance() {
        let reference = line([1.0, 1.0]);
        let moved: Vec<Point> = reference.iter().map(|[x, y]| [x + 3.0, y - 4.0]).collect();
        assert_eq!(end_point_error_px(&reference, &moved), Some(5.0));
    }

    #[test]
    fn a_frame_without_a_sprite_has_no_place() {
        let look = Look::parse("a cyan star on a striped background").unwrap();
        let scene = Scene {
            look,
            radius_px: [0.0, 0.0], // a dot at most
            ..Scene::random(1)
        };
        let nowhere = vec![None; 16];
        assert_eq!(centroid_path(&scene.render(), Some(look)), nowhere);
        assert_eq!(centroid_path(&scene.render(), None), nowhere);
        assert_eq!(centroid_path(&[RgbImage::new(0, 0)], None), [None]);
        assert_eq!(centroid_path(&[], None), []);
    }

    #[test]
    fn a_stray_patch_of_the_sprites_colour_does_not_pull_the_centre() {
        let look = Look::parse("a red square on a black background").unwrap();
        let scene = Scene {
            look,
            path: crate::Path::Still { at: [-0.5, -0.5] },
            radius_px: [8.0, 8.0],
            pan_px: [0.0; 2],
        };
        let mut frames = scene.render();
        for frame in &mut frames {
            for i in 0..25 {
                frame.put_pixel(50 + i % 5, 50 + i / 5, image::Rgb([230, 41, 41]));
            }
        }
        let found = centroid_path(&frames, Some(look));
        let error = end_point_error_px(&scene.centre_path(), &found).unwrap();
        assert!(error < 0.1, "{error}");
    }

    #[test]
    fn a_sprite_that_leaves_through_a_corner_is_not_pulled_inside() {
        for shape in Shape::ALL {
            let look = Look {
                shape,
                colour: Colour::Green,
                background: Background::Striped,
            };
            let scene = Scene {
                look,
                path: crate::Path::Line {
                    from: [0.0, 0.0],
                    to: [0.72, -0.72], // the corner is 9 px away
                },
                radius_px: [11.0, 14.0],
                pan_px: [1.5, 0.5],
            };
            let (frames, truth) = (scene.render(), scene.centre_path());
            // Of a square in the corner one sees a rectangle, which tells neither its size nor its centre.
            let limit = if shape == Shape::Square { 2.0 } else { 0.5 };
            for look in [Some(look), None] {
                let found = centroid_path(&frames, look);
                let distance =
                    |(a, b): (&Point, &Option<Point>)| end_point_error_px(&[*a], &[*b]).unwrap();
                let error = truth.iter().zip(&found).map(distance).fold(0.0, f64::max);
                assert!(error < limit, "{shape}: {error} px");
            }
        }
    }

    #[test]
    fn other_sizes_are_measured_in_their_own_pixels() {
        let scene = Scene::random_with_motion(Motion::Wave, 5);
        let frames = scene.render_at(4, 160).unwrap();
        let truth: Vec<Point> = (0..4)
            .map(|f| scene.centre_at(f as f64 / 3.0, 160))
            .collect();
        let found = centroid_path(&frames, Some(scene.look));
        assert!(end_point_error_px(&truth, &found).unwrap() < 1.0);
    }
}
