//! Tracks drawn over their clip, as people look at them.
//!
//! Every track has the colour of the place it starts from, a dot where its point is now, and a tail over the
//! frames before. Points that stay where they are get a small grey dot, and lost ones nothing. Small clips
//! are enlarged.

use image::{Rgb, RgbImage, imageops};
use kinvert_video::Clip;

use crate::Error;
use crate::tracks::{Place, Tracks};

/// Height or width, whichever is shorter, that small clips are enlarged to at least, in pixels.
const SHORT_SIDE: u32 = 384;

/// Frames that a tail goes back in a clip.
const TAIL_FRAMES: usize = 8;

/// Tracks that get less far from their start than this are still, in fractions of the frame's diagonal.
const STILL_REACH: f32 = 0.01;

/// Most still points that are shown: they form a grid that would hide the clip.
const MOST_STILL: usize = 400;

const STILL_COLOUR: Rgb<u8> = Rgb([170, 170, 170]);

/// The clip with the tracks of its points over it.
///
/// # Errors
/// If the tracks are not those of a clip of this length and size.
pub fn draw_tracks(clip: &Clip, tracks: &Tracks) -> Result<Clip, Error> {
    let canvas = Canvas::new(clip, tracks)?;
    let frames = (0..clip.len())
        .map(|frame| canvas.draw(frame, TAIL_FRAMES))
        .collect();
    Ok(Clip::new(frames, clip.fps())?)
}

/// The last frame of the clip with the whole way of every point that was seen until then.
///
/// # Errors
/// As [`draw_tracks`].
pub fn draw_ways(clip: &Clip, tracks: &Tracks) -> Result<RgbImage, Error> {
    let canvas = Canvas::new(clip, tracks)?;
    Ok(canvas.draw(clip.len() - 1, clip.len()))
}

/// What is drawn upon.
struct Canvas<'a> {
    clip: &'a Clip,
    tracks: &'a Tracks,
    /// How many times the clip is enlarged.
    scale: u32,
    moving: Vec<usize>,
    still: Vec<usize>,
}

impl<'a> Canvas<'a> {
    fn new(clip: &'a Clip, tracks: &'a Tracks) -> Result<Self, Error> {
        if (clip.len(), clip.size()) != (tracks.frames(), tracks.size()) {
            return Err(Error::argument(
                "tracks",
                format!("{} frames of {}", tracks.frames(), tracks.size()),
                format!("{} frames of {}, as the clip has", clip.len(), clip.size()),
            ));
        }
        let short_side = clip.width().min(clip.height());
        let diagonal = (clip.width() as f32).hypot(clip.height() as f32);
        let is_still = |track: &usize| reach_px(tracks, *track) < STILL_REACH * diagonal;
        let (still, moving): (Vec<usize>, Vec<usize>) = (0..tracks.len()).partition(is_still);
        let every = still.len().div_ceil(MOST_STILL).max(1);
        Ok(Self {
            clip,
            tracks,
            scale: SHORT_SIDE.div_ceil(short_side),
            moving,
            still: still.into_iter().step_by(every).collect(),
        })
    }

    /// A frame, with tails over at most `tail` frames before it.
    fn draw(&self, frame: usize, tail: usize) -> RgbImage {
        let [width, height] = [self.clip.width(), self.clip.height()].map(|side| side * self.scale);
        let shown = &self.clip.frames()[frame];
        let mut image = imageops::resize(shown, width, height, imageops::FilterType::Nearest);
        let thickness = (self.scale as f32 * 0.25).clamp(0.7, 1.5);
        for &track in self
            .still
            .iter()
            .filter(|track| self.tracks.visible(**track)[frame])
        {
            let at = self.enlarged(self.tracks.places(track)[frame]);
            stroke(&mut image, at, at, thickness, STILL_COLOUR, 0.6);
        }
        for &track in self
            .moving
            .iter()
            .filter(|track| self.tracks.visible(**track)[frame])
        {
            let places = self.tracks.places(track);
            let colour = self.colour(places[0]);
            let first = frame.saturating_sub(tail);
            for (age, pair) in places[first..=frame].windows(2).rev().enumerate() {
                let opacity = 0.9 * (1.0 - age as f32 / tail as f32);
                let [from, to] = [pair[0], pair[1]].map(|place| self.enlarged(place));
                stroke(&mut image, from, to, thickness, colour, opacity);
            }
            let at = self.enlarged(places[frame]);
            stroke(&mut image, at, at, 2.0 * thickness, colour, 1.0);
        }
        image
    }

    /// A place of the clip in the enlarged picture, whose pixels are blocks.
    fn enlarged(&self, place: Place) -> Place {
        place.map(|coordinate| (coordinate + 0.5) * self.scale as f32 - 0.5)
    }

    /// Hues go round the middle of the frame.
    fn colour(&self, [x, y]: Place) -> Rgb<u8> {
        let right = x / self.clip.width() as f32 - 0.5;
        let down = y / self.clip.height() as f32 - 0.5;
        let turn = down.atan2(right) / std::f32::consts::TAU;
        Rgb([0.0, 1.0 / 3.0, 2.0 / 3.0].map(|phase| {
            let level = 0.6 + 0.4 * ((turn + phase) * std::f32::consts::TAU).cos();
            (255.0 * level) as u8
        }))
    }
}

/// The greatest distance of a point from its start while it is seen.
fn reach_px(tracks: &Tracks, track: usize) -> f32 {
    let places = tracks.places(track);
    let seen = places
        .iter()
        .zip(tracks.visible(track))
        .filter(|(_, visible)| **visible);
    let distance = |[x, y]: &Place| (x - places[0][0]).hypot(y - places[0][1]);
    seen.map(|(place, _)| distance(place)).fold(0.0, f32::max)
}

/// Lays a line with round ends over an image; a line from a place to itself is a dot.
fn stroke(
    image: &mut RgbImage,
    from: Place,
    to: Place,
    radius: f32,
    colour: Rgb<u8>,
    opacity: f32,
) {
    let [columns, rows] = [0, 1].map(|axis| {
        let length = [image.width(), image.height()][axis] as f32;
        let low = (from[axis].min(to[axis]) - radius - 1.0).clamp(0.0, length);
        let high = (from[axis].max(to[axis]) + radius + 2.0).clamp(0.0, length);
        low as u32..high as u32
    });
    let along = [to[0] - from[0], to[1] - from[1]];
    let length_squared = along[0] * along[0] + along[1] * along[1];
    for y in rows {
        for x in columns.clone() {
            let offset = [x as f32 - from[0], y as f32 - from[1]];
            let share = match length_squared > 0.0 {
                true => {
                    ((offset[0] * along[0] + offset[1] * along[1]) / length_squared).clamp(0.0, 1.0)
                }
                false => 0.0,
            };
            let distance = (offset[0] - share * along[0]).hypot(offset[1] - share * along[1]);
            let coverage = opacity * (radius + 0.5 - distance).clamp(0.0, 1.0);
            if coverage > 0.0 {
                for (level, &ink) in image.get_pixel_mut(x, y).0.iter_mut().zip(&colour.0) {
                    *level =
                        (f32::from(*level) + coverage * (f32::from(ink) - f32::from(*level))) as u8;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kinvert_video::Size;

    use super::*;

    const SIZE: Size = Size {
        width: 32,
        height: 16,
    };

    fn clip(frames: usize) -> Clip {
        Clip::new(vec![RgbImage::new(SIZE.width, SIZE.height); frames], 8.0).unwrap()
    }

    fn brightest(image: &RgbImage, [x, y]: Place, scale: u32) -> u8 {
        let at = |coordinate: f32| ((coordinate + 0.5) * scale as f32) as u32;
        *image.get_pixel(at(x), at(y)).0.iter().max().unwrap()
    }

    #[test]
    fn a_moving_point_has_a_dot_and_a_tail_and_a_lost_one_has_nothing() {
        let places = vec![
            [4.0, 4.0],
            [12.0, 4.0],
            [20.0, 4.0],
            [4.0, 12.0],
            [12.0, 12.0],
            [12.0, 12.0],
        ];
        let visible = vec![true, true, true, true, true, false];
        let tracks = Tracks::new(3, SIZE, places, visible).unwrap();
        let drawn = draw_tracks(&clip(3), &tracks).unwrap();
        assert_eq!((drawn.width(), drawn.height(), drawn.len()), (768, 384, 3));
        let last = &drawn.frames()[2];
        for place in [[20.0, 4.0], [16.0, 4.0], [8.0, 4.0]] {
            assert!(brightest(last, place, 24) > 50, "{place:?}");
        }
        for place in [[12.0, 12.0], [4.0, 12.0], [20.0, 8.0]] {
            assert_eq!(brightest(last, place, 24), 0, "{place:?}");
        }
        assert!(brightest(&drawn.frames()[1], [12.0, 12.0], 24) > 50);
        assert_eq!(
            draw_ways(&clip(3), &tracks).unwrap().dimensions(),
            (768, 384)
        );
    }

    #[test]
    fn places_outside_the_frame_are_cut_off() {
        let places = vec![[-50.0, 4.0], [500.0, -90.0]];
        let tracks = Tracks::new(2, SIZE, places, vec![true; 2]).unwrap();
        assert_eq!(draw_tracks(&clip(2), &tracks).unwrap().len(), 2);
    }

    #[test]
    fn tracks_of_another_clip_are_refused() {
        let tracks = Tracks::new(2, SIZE, vec![[0.0; 2]; 2], vec![true; 2]).unwrap();
        assert!(draw_tracks(&clip(3), &tracks).is_err());
        assert!(
            draw_ways(
                &clip(2).resized(8, 8, kinvert_video::Fit::Stretch).unwrap(),
                &tracks
            )
            .is_err()
        );
    }
}
