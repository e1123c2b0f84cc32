//! How the light of whole frames changes, and how much their pixels differ for no reason.
//!
//! Generated clips flicker and recordings are noisy. Both show in the differences of pixels from one frame to the
//! next: their median is the change of the light, if it stands out from their spread around it, and that spread is
//! noise.

use image::RgbImage;

/// What a median absolute deviation is multiplied with to be a standard deviation, for normal noise.
const NORMAL: f32 = 1.4826;

/// The change from one frame to the next, colours being 0..1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// By how much each channel is brighter; 0 if that is not more than other pixels differ from it.
    pub brighter: [f32; 3],
    /// Standard deviation of what else changes in most pixels, over the channels.
    pub noise: f32,
}

impl Change {
    /// Compares two frames of one size.
    pub fn between(before: &RgbImage, after: &RgbImage) -> Self {
        let mut counts = [[0_u32; 511]; 3]; // differences from -255 to 255
        for (before, after) in before.pixels().zip(after.pixels()) {
            for (counts, (before, after)) in counts.iter_mut().zip(before.0.iter().zip(after.0)) {
                counts[255 + usize::from(after) - usize::from(*before)] += 1;
            }
        }
        let mut change = Self::default();
        for (channel, counts) in counts.iter().enumerate() {
            let median = median_index(counts);
            let mut deviations = [0_u32; 511];
            for (difference, count) in counts.iter().enumerate() {
                deviations[difference.abs_diff(median)] += count;
            }
            let deviation = median_index(&deviations);
            // A texture that moves as a whole changes most pixels, on average by next to nothing.
            if median.abs_diff(255) > deviation {
                change.brighter[channel] = (median as f32 - 255.0) / 255.0;
            }
            change.noise += NORMAL * deviation as f32 / 255.0 / 3.0;
        }
        change
    }
}

/// The index at which half of all counts are reached.
fn median_index(counts: &[u32; 511]) -> usize {
    let half = counts.iter().sum::<u32>().div_ceil(2);
    let mut reached = 0;
    let is_half = |count: &u32| {
        reached += count;
        reached >= half
    };
    counts.iter().position(is_half).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_passing_object_is_no_change_of_light() {
        let frame = |left: u32| {
            RgbImage::from_fn(20, 10, |x, _| {
                Rgb(if (left..left + 8).contains(&x) {
                    [250, 10, 10]
                } else {
                    [90, 90, 90]
                })
            })
        };
        assert_eq!(Change::between(&frame(0), &frame(4)), Change::default());
    }

    #[test]
    fn a_change_of_light_is_found_by_channel() {
        let before = RgbImage::from_fn(16, 16, |x, y| Rgb([(x * 9) as u8, (y * 9) as u8, 60]));
        let mut after = before.clone();
        for pixel in after.pixels_mut() {
            pixel.0 = [pixel.0[0] + 20, pixel.0[1], pixel.0[2] - 40];
        }
        let change = Change::between(&before, &after);
        assert_eq!(change.brighter, [20.0 / 255.0, 0.0, -40.0 / 255.0]);
        assert_eq!(change.noise, 0.0);
    }

    #[test]
    fn noise_is_measured_and_not_taken_for_light() {
        let grey = RgbImage::from_pixel(32, 32, Rgb([100; 3]));
        let noisy = RgbImage::from_fn(32, 32, |x, y| Rgb([96 + ((x * 7 + y * 5) % 9) as u8; 3]));
        let change = Change::between(&grey, &noisy);
        assert_eq!(change.brighter, [0.0; 3]);
        assert!(
            (change.noise - NORMAL * 2.0 / 255.0).abs() < 1e-6,
            "{change:?}"
        );
    }
}
