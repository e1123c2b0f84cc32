//! Tracks drawn over their clip.
//!
//! Every track that moves has a colour of its own, by where it starts, a dot at its present place and a tail
//! that tapers off towards the past. A track ends where its point is lost. Tracks that stay where they are show
//! as faint dots.

use image::{Rgb, RgbImage};
use kinvert_video::{Clip, Size};
use rayon::prelude::*;

use crate::Error;
use crate::tracks::{Place, Tracks};

/// Small clips are enlarged until their short side has at least this many pixels.
const MIN_SHORT_SIDE: u32 = 256;

/// No clip is enlarged to a longer side than this.
const MAX_LONG_SIDE: u32 = 2048;

/// A track that never gets further away from its start than this is still, in pixels of the clip.
const STILL_PX: f32 = 1.0;

/// How much of the frame a still track hides.
const STILL_OPACITY: f32 = 0.35;

/// The clip with the tracks over it, enlarged by a whole number if it is small.
///
/// # Errors
/// [`Error::Argument`] if the tracks are of a clip of another size or length.
pub fn draw_tracks(clip: &Clip, tracks: &Tracks) -> Result<Clip, Error> {
    let painter = Painter::new(clip, tracks)?;
    let frames = (0..clip.len())
        .into_par_iter()
        .map(|frame| painter.picture(frame))
        .collect();
    Ok(Clip::new(frames, clip.fps())?)
}

/// One frame of [`draw_tracks`]: the last one shows the whole way of every track that was not lost.
///
/// # Errors
/// As [`draw_tracks`], and if there is no such frame.
pub fn draw_tracks_in(clip: &Clip, tracks: &Tracks, frame: usize) -> Result<RgbImage, Error> {
    let painter = Painter::new(clip, tracks)?;
    if frame >= clip.len() {
        let expected = format!("a frame before {}", clip.len());
        return Err(Error::argument("frame", frame, expected));
    }
    Ok(painter.picture(frame))
}

struct Painter<'a> {
    clip: &'a Clip,
    tracks: &'a Tracks,
    enlargement: u32,
    /// Radius of a dot, in pixels of the picture; widths follow it.
    dot_px: f32,
    /// Still tracks first, then in the order of their lengths, so that the longest are on top.
    order: Vec<Drawn>,
}

/// How a track is drawn.
struct Drawn {
    track: usize,
    reach_px: f32,
    colour: Rgb<u8>,
}

impl<'a> Painter<'a> {
    fn new(clip: &'a Clip, tracks: &'a Tracks) -> Result<Self, Error> {
        if (clip.size(), clip.len()) != (tracks.size(), tracks.frames()) {
            return Err(Error::argument(
                "tracks",
                format!("{} frames of {}", tracks.frames(), tracks.size()),
                format!("the clip's {} frames of {}", clip.len(), clip.size()),
            ));
        }
        let enlargement = enlargement(clip.size());
        let (width, height) = (clip.width() * enlargement, clip.height() * enlargement);
        // A fifth of the distance between neighbours, but neither invisible nor clumsy.
        let spacing = (f64::from(width) * f64::from(height) / tracks.len().max(1) as f64).sqrt();
        let largest = width.min(height) as f32 / 100.0;
        let mut order: Vec<Drawn> = (0..tracks.len())
            .map(|track| Drawn {
                track,
                reach_px: reach_px(tracks.places(track), tracks.visible(track)),
                colour: colour(tracks.places(track)[0], clip.size()),
            })
            .collect();
        order.sort_by(|a, b| a.reach_px.total_cmp(&b.reach_px));
        Ok(Self {
            clip,
            tracks,
            enlargement,
            dot_px: (spacing as f32 / 5.0).clamp(1.5, largest.max(1.5)),
            order,
        })
    }

    fn picture(&self, frame: usize) -> RgbImage {
        let small = &self.clip.frames()[frame];
        let factor = self.enlargement;
        let mut canvas = RgbImage::from_fn(
            small.width() * factor,
            small.height() * factor,
            |column, row| *small.get_pixel(column / factor, row / factor),
        );
        for drawn in &self.order {
            self.draw(&mut canvas, drawn, frame);
        }
        canvas
    }

    fn draw(&self, canvas: &mut RgbImage, drawn: &Drawn, frame: usize) {
        let places = &self.tracks.places(drawn.track)[..=frame];
        let visible = &self.tracks.visible(drawn.track)[..=frame];
        if !visible[frame] {
            return;
        }
        let at = |index: usize| self.on_canvas(places[index]);
        if drawn.reach_px < STILL_PX {
            let dot = Stroke::dot(at(frame), self.dot_px / 2.0);
            dot.paint(canvas, drawn.colour, STILL_OPACITY);
            return;
        }
        let thickness = |index: usize| {
            let share = (index + 1) as f32 / (frame + 1) as f32;
            self.dot_px * (0.15 + 0.35 * share)
        };
        for index in 0..frame {
            if visible[index] && visible[index + 1] {
                let stroke = Stroke {
                    ends: [at(index), at(index + 1)],
                    radii_px: [thickness(index), thickness(index + 1)],
                };
                stroke.paint(canvas, drawn.colour, 1.0);
            }
        }
        let rim = Stroke::dot(at(frame), self.dot_px + 0.7);
        rim.paint(canvas, Rgb([0; 3]), 0.6); // so that a dot shows on its own colour too
        Stroke::dot(at(frame), self.dot_px).paint(canvas, drawn.colour, 1.0);
    }

    /// From the clip's pixels to the picture's; in both, centres of pixels have whole numbers.
    fn on_canvas(&self, place: Place) -> Place {
        let factor = self.enlargement as f32;
        place.map(|coordinate| (coordinate + 0.5) * factor - 0.5)
    }
}

fn enlargement(size: Size) -> u32 {
    let (short, long) = (size.width.min(size.height), size.width.max(size.height));
    MIN_SHORT_SIDE
        .div_ceil(short)
        .min(MAX_LONG_SIDE / long)
        .max(1)
}

/// How far a track gets from its start while it is seen.
fn reach_px(places: &[Place], visible: &[bool]) -> f32 {
    let seen = places.iter().zip(visible).filter(|(_, visible)| **visible);
    seen.map(|([x, y], _)| (x - places[0][0]).hypot(y - places[0][1]))
        .fold(0.0, f32::max)
}

/// The hue runs once around the colours from left to right; lower tracks are lighter.
fn colour([x, y]: Place, size: Size) -> Rgb<u8> {
    let share = |at: f32, length: u32| ((at + 0.5) / length as f32).clamp(0.0, 1.0);
    let hue = 0.9 * share(x, size.width); // red at one end, magenta at the other
    let white = 0.5 * share(y, size.height);
    let channel = |offset: f32| {
        let from_peak = 2.0 - (((hue + offset).fract() * 6.0) - 3.0).abs();
        let pure = 1.0 - from_peak.clamp(0.0, 1.0);
        ((pure + white * (1.0 - pure)) * 255.0).round() as u8
    };
    Rgb([channel(0.0), channel(2.0 / 3.0), channel(1.0 / 3.0)])
}

/// A line with round ends whose thickness changes evenly, or a dot.
struct Stroke {
    ends: [Place; 2],
    radii_px: [f32; 2],
}

impl Stroke {
    fn dot(at: Place, radius_px: f32) -> Self {
        Self {
            ends: [at; 2],
            radii_px: [radius_px; 2],
        }
    }

    /// How much of a pixel is covered, about.
    fn coverage(&self, [x, y]: Place) -> f32 {
        let [[x0, y0], [x1, y1]] = self.ends;
        let (along_x, along_y) = (x1 - x0, y1 - y0);
        let length_squared = along_x * along_x + along_y * along_y;
        let share = if length_squared > 0.0 {
            (((x - x0) * along_x + (y - y0) * along_y) / length_squared).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let distance = (x - x0 - share * along_x).hypot(y - y0 - share * along_y);
        let radius = self.radii_px[0] + share * (self.radii_px[1] - self.radii_px[0]);
        (radius + 0.5 - distance).clamp(0.0, 1.0)
    }

    fn paint(&self, canvas: &mut RgbImage, colour: Rgb<u8>, opacity: f32) {
        let reach = self.radii_px[0].max(self.radii_px[1]) + 1.0;
        let range = |axis: usize, length: u32| {
            let (a, b) = (self.ends[0][axis], self.ends[1][axis]);
            let first = (a.min(b) - reach).floor().max(0.0) as u32;
            first..((a.max(b) + reach).ceil().max(-1.0) + 1.0).min(length as f32) as u32
        };
        for row in range(1, canvas.height()) {
            for column in range(0, canvas.width()) {
                let alpha = opacity * self.coverage([column as f32, row as f32]);
                if alpha > 0.0 {
                    let pixel = canvas.get_pixel_mut(column, row);
                    for (value, ink) in pixel.0.iter_mut().zip(colour.0) {
                        let (under, over) = (f32::from(*value), f32::from(ink));
                        *value = (under + alpha * (over - under)).round() as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Rgb<u8> = Rgb([90; 3]);

    fn clip(width: u32, height: u32) -> Clip {
        Clip::new(vec![RgbImage::from_pixel(width, height, GREY); 3], 8.0).unwrap()
    }

    fn tracks(clip: &Clip, places: [Place; 3], visible: [bool; 3]) -> Tracks {
        Tracks::new(3, clip.size(), places.to_vec(), visible.to_vec()).unwrap()
    }

    /// The colour in the middle of a pixel of a clip of 64 pixels, in its picture of 256.
    fn at(picture: &RgbImage, x: u32, y: u32) -> Rgb<u8> {
        *picture.get_pixel(4 * x + 2, 4 * y + 2)
    }

    #[test]
    fn a_moving_point_has_a_dot_and_a_tail() {
        let clip = clip(64, 64);
        let path = [[10.0, 20.0], [20.0, 20.0], [30.0, 20.0]];
        let drawn = draw_tracks(&clip, &tracks(&clip, path, [true; 3])).unwrap();
        assert_eq!((drawn.len(), drawn.width(), drawn.fps()), (3, 256, 8.0));
        let [first, .., last] = drawn.frames() else {
            panic!("three frames")
        };
        assert_ne!(at(first, 10, 20), GREY);
        assert_eq!(at(first, 20, 20), GREY, "what comes later is not known yet");
        for x in [15, 25, 30] {
            assert_ne!(at(last, x, 20), GREY, "{x}");
        }
        assert_eq!(at(last, 35, 20), GREY);
        assert_eq!(at(last, 20, 25), GREY);
        assert_eq!(
            &draw_tracks_in(&clip, &tracks(&clip, path, [true; 3]), 2).unwrap(),
            last
        );
    }

    #[test]
    fn a_lost_point_ends() {
        let clip = clip(64, 64);
        let path = [[10.0, 20.0], [20.0, 20.0], [20.0, 20.0]];
        let drawn = draw_tracks(&clip, &tracks(&clip, path, [true, true, false])).unwrap();
        assert_ne!(at(&drawn.frames()[1], 20, 20), GREY);
        assert!(drawn.frames()[2].pixels().all(|pixel| *pixel == GREY));
    }

    #[test]
    fn a_still_point_is_fainter_than_a_moving_one() {
        let clip = clip(64, 64);
        let ink = |path| {
            let picture = draw_tracks_in(&clip, &tracks(&clip, path, [true; 3]), 2).unwrap();
            let difference = |pixel: &Rgb<u8>| {
                let channels = pixel.0.iter().zip(GREY.0);
                channels.map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>()
            };
            picture.pixels().map(difference).sum::<u64>()
        };
        let still = ink([[9.0, 9.0], [9.2, 9.0], [9.0, 9.0]]);
        let moving = ink([[9.0, 9.0], [9.0, 9.0], [11.0, 9.0]]);
        assert!(still > 0 && 4 * still < moving, "{still} {moving}");
    }

    #[test]
    fn sizes_are_bounded() {
        let of = |width, height| enlargement(Size { width, height });
        assert_eq!((of(64, 64), of(100, 60), of(864, 480)), (4, 5, 1));
        assert_eq!((of(1, 1), of(1, 2000), of(4000, 3)), (256, 1, 1));
    }

    #[test]
    fn tracks_of_another_clip_are_refused() {
        let (clip, other) = (clip(64, 64), clip(64, 32));
        let tracks = tracks(&other, [[1.0; 2]; 3], [true; 3]);
        assert!(draw_tracks(&clip, &tracks).is_err());
        assert!(draw_tracks_in(&other, &tracks, 3).is_err());
        assert!(draw_tracks_in(&other, &tracks, 2).is_ok());
    }

    #[test]
    fn places_far_outside_do_no_harm() {
        let clip = clip(8, 8);
        let path = [[-1e30, 4.0], [4.0, 1e30], [1e30, -1e30]];
        assert!(draw_tracks(&clip, &tracks(&clip, path, [true; 3])).is_ok());
    }
}
