//! A frame at several resolutions, sampled between its pixels.

use image::RgbImage;
use rayon::prelude::*;

use crate::tracks::Place;

/// Red, green and blue in 0..1; the fourth lane is 0 and fills a vector register.
pub type Pixel = [f32; 4];

/// Smooths before every second pixel is left out.
const BINOMIAL: [f32; 5] = [1.0 / 16.0, 0.25, 0.375, 0.25, 1.0 / 16.0];

/// Smooths the frame itself: edges as sharp as a pixel are not what bilinear sampling can follow.
const LIGHT: [f32; 5] = [0.0, 0.25, 0.5, 0.25, 0.0];

/// A frame, half its size, a quarter and so on. A place `[x, y]` of one level is at `[x / 2, y / 2]` of the next.
pub struct Pyramid {
    levels: Vec<Image>,
}

impl Pyramid {
    /// A pyramid of `levels` levels, at least one, of the frame with `light` added to its channels.
    pub fn new(frame: &RgbImage, levels: usize, light: [f32; 3]) -> Self {
        let mut all = vec![Image::of(frame, light).smoothed(LIGHT, 1)];
        for level in 1..levels {
            all.push(all[level - 1].smoothed(BINOMIAL, 2));
        }
        Self { levels: all }
    }

    /// One of the levels; 0 has the size of the frame.
    pub fn level(&self, level: usize) -> &Image {
        &self.levels[level]
    }
}

/// One level: the centre of its first pixel is at `[0, 0]`.
pub struct Image {
    pub width: usize,
    pub height: usize,
    /// Rows of `width + 1` pixels, `height + 1` of them: the last of both are repeated, so that a place on the
    /// last pixel has a right and a lower neighbour.
    pixels: Vec<Pixel>,
}

impl Image {
    fn of(frame: &RgbImage, light: [f32; 3]) -> Self {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let raw = frame.as_raw();
        Self::from_fn(width, height, |column, row| {
            let first = 3 * (row * width + column);
            let [red, green, blue] =
                [0, 1, 2].map(|channel| f32::from(raw[first + channel]) / 255.0 + light[channel]);
            [red, green, blue, 0.0]
        })
    }

    fn from_fn(width: usize, height: usize, pixel: impl Fn(usize, usize) -> Pixel + Sync) -> Self {
        let mut pixels = vec![[0.0; 4]; (width + 1) * (height + 1)];
        let lines = pixels.par_chunks_exact_mut(width + 1).enumerate();
        lines.for_each(|(row, line)| {
            for (column, value) in line.iter_mut().enumerate() {
                *value = pixel(column.min(width - 1), row.min(height - 1));
            }
        });
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Every `step`-th pixel of what a kernel makes of the image, along both axes.
    fn smoothed(&self, kernel: [f32; 5], step: usize) -> Self {
        let tap = |index: usize, tap: usize, length: usize| {
            (index * step + tap).saturating_sub(2).min(length - 1)
        };
        let narrow = Self::from_fn(self.width.div_ceil(step), self.height, |column, row| {
            weighted_sum(kernel, |i| self.pixel(tap(column, i, self.width), row))
        });
        Self::from_fn(narrow.width, self.height.div_ceil(step), |column, row| {
            weighted_sum(kernel, |i| narrow.pixel(column, tap(row, i, self.height)))
        })
    }

    /// The pixel in a column and a row.
    pub fn pixel(&self, column: usize, row: usize) -> Pixel {
        self.pixels[row * (self.width + 1) + column]
    }

    /// Root mean square difference from an image of the same size, in a square around the pixel nearest to a
    /// place that is in the frame.
    pub fn difference(&self, other: &Self, [x, y]: Place, radius: u32) -> f32 {
        let range = |at: f32, length: usize| {
            let at = (at.round().max(0.0) as usize).min(length - 1);
            at.saturating_sub(radius as usize)..(at + radius as usize + 1).min(length)
        };
        let (columns, rows) = (range(x, self.width), range(y, self.height));
        let (mut squares, count) = (0.0, 3 * columns.len() * rows.len());
        for row in rows {
            for column in columns.clone() {
                let pixels = self.pixel(column, row).into_iter();
                let differences = pixels.zip(other.pixel(column, row)).map(|(a, b)| a - b);
                squares += differences.map(|value| value * value).sum::<f32>();
            }
        }
        (squares / count as f32).sqrt()
    }

    /// The colours at places `step` pixels apart, the first at `[x, y]`. All of them are in the image, from
    /// `[0, 0]` to `[width - 1, height - 1]`.
    ///
    /// # Panics
    /// If there are more places than columns, one pixel apart.
    pub fn sample_line(&self, [x, y]: Place, step: f32, colours: &mut [Pixel]) {
        let row = (y as usize).min(self.height - 1);
        let low = y - row as f32;
        if step == 1.0 {
            let column = (x as usize).min(self.width - colours.len());
            let right = x - column as f32;
            let [upper, lower] = self.lines(row, column, colours.len() + 1);
            for ((colour, upper), lower) in
                (colours.iter_mut().zip(upper.windows(2))).zip(lower.windows(2))
            {
                *colour = blend(upper, lower, right, low);
            }
        } else {
            for (index, colour) in colours.iter_mut().enumerate() {
                let x = x + step * index as f32;
                let column = (x as usize).min(self.width - 1);
                let [upper, lower] = self.lines(row, column, 2);
                *colour = blend(upper, lower, x - column as f32, low);
            }
        }
    }

    /// Parts of a row and of the next.
    fn lines(&self, row: usize, column: usize, count: usize) -> [&[Pixel]; 2] {
        [row, row + 1].map(|row| &self.pixels[row * (self.width + 1) + column..][..count])
    }
}

/// The colour between the first two pixels of two lines, `right` and `low` of the way from the first.
#[inline]
fn blend(upper: &[Pixel], lower: &[Pixel], right: f32, low: f32) -> Pixel {
    let mut colour = [0.0; 4]; // a loop over lanes becomes one instruction, `array::from_fn` does not
    for lane in 0..4 {
        let above = upper[0][lane] + right * (upper[1][lane] - upper[0][lane]);
        let below = lower[0][lane] + right * (lower[1][lane] - lower[0][lane]);
        colour[lane] = above + low * (below - above);
    }
    colour
}

fn weighted_sum(kernel: [f32; 5], pixel: impl Fn(usize) -> Pixel) -> Pixel {
    let mut sum = [0.0; 4];
    for (index, weight) in kernel.into_iter().enumerate() {
        let pixel = pixel(index);
        for (sum, value) in sum.iter_mut().zip(pixel) {
            *sum += weight * value;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Red grows to the right, green downwards.
    fn ramp(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([8 * x as u8, 8 * y as u8, 7]))
    }

    #[test]
    fn places_are_between_the_pixels_and_between_the_levels() {
        let pyramid = Pyramid::new(&ramp(30, 26), 3, [0.0; 3]);
        assert_eq!((pyramid.level(2).width, pyramid.level(2).height), (8, 7));
        for (level, factor) in [(0, 8.0), (1, 16.0), (2, 32.0)] {
            let check = |step: f32| {
                let mut colours = [[0.0; 4]; 3];
                let image = pyramid.level(level);
                image.sample_line([2.25, 2.5], step, &mut colours);
                for (index, [red, green, ..]) in colours.into_iter().enumerate() {
                    let x = 2.25 + step * index as f32;
                    assert!((red * 255.0 - factor * x).abs() < 0.01, "{level} {index}");
                    assert!((green * 255.0 - factor * 2.5).abs() < 0.01);
                }
            };
            check(1.0);
            check(0.75);
        }
    }

    #[test]
    fn the_last_pixel_can_be_sampled() {
        let pyramid = Pyramid::new(&ramp(1, 5), 2, [0.0; 3]);
        let last = pyramid.level(0).pixel(0, 4);
        for step in [1.0, 0.5] {
            let mut colours = [[0.0; 4]];
            let image = pyramid.level(0);
            image.sample_line([0.0, 4.0], step, &mut colours);
            assert_eq!(colours, [last]);
        }
        assert_eq!((pyramid.level(1).width, pyramid.level(1).height), (1, 3));
    }
}
