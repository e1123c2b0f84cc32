//! A decoded clip.

use std::fmt;

use image::RgbImage;

use crate::Error;

/// The highest frame rate accepted anywhere, in frames per second: above it, numbers are mistakes.
pub const MAX_FPS: f64 = 1000.0;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Size {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    pub(crate) fn of(image: &RgbImage) -> Self {
        let (width, height) = image.dimensions();
        Self { width, height }
    }

    pub(crate) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Bytes of an RGB frame of this size.
    pub(crate) fn rgb_bytes(self) -> u64 {
        self.pixels() * 3
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A decoded clip: one or more RGB frames of one size (sRGB, 8 bits), played at a constant rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    frames: Vec<RgbImage>, // never empty, all of one size: `new` is the only way in
    fps: f64,
}

impl Clip {
    /// Makes a clip of frames that follow each other at `fps` frames per second.
    ///
    /// # Errors
    /// If there is no frame, a frame has no pixels or another size than the first, or `fps` is not in
    /// `0 < fps <= 1000`.
    ///
    /// ```
    /// use image::RgbImage;
    /// use kinvert_video::Clip;
    ///
    /// let clip = Clip::new(vec![RgbImage::new(64, 48); 16], 8.0)?;
    /// assert_eq!((clip.len(), clip.width(), clip.height()), (16, 64, 48));
    /// assert!(Clip::new(vec![], 8.0).is_err());
    /// # Ok::<(), kinvert_video::Error>(())
    /// ```
    pub fn new(frames: Vec<RgbImage>, fps: f64) -> Result<Self, Error> {
        check_fps("fps", fps)?;
        let Some(first) = frames.first() else {
            return Err(Error::EmptyClip);
        };
        let expected = Size::of(first);
        check_size(expected)?;
        for (frame, found) in frames.iter().map(Size::of).enumerate() {
            if found != expected {
                return Err(Error::UnequalFrames {
                    frame,
                    found,
                    expected,
                });
            }
        }
        Ok(Self { frames, fps })
    }

    /// The frames, in the order they are shown.
    pub fn frames(&self) -> &[RgbImage] {
        &self.frames
    }

    /// Gives the frames away.
    pub fn into_frames(self) -> Vec<RgbImage> {
        self.frames
    }

    /// Frames per second.
    pub fn fps(&self) -> f64 {
        self.fps
    }

    /// Number of frames, at least one.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Always false: a clip has at least one frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Width of every frame in pixels.
    pub fn width(&self) -> u32 {
        self.frames[0].width()
    }

    /// Height of every frame in pixels.
    pub fn height(&self) -> u32 {
        self.frames[0].height()
    }

    /// Width and height of every frame.
    pub fn size(&self) -> Size {
        Size::of(&self.frames[0])
    }

    /// How long the clip plays, in seconds.
    pub fn duration_s(&self) -> f64 {
        self.frames.len() as f64 / self.fps
    }

    /// Index of the frame that is shown `time_s` seconds after the start; the last one afterwards.
    pub(crate) fn index_at(&self, time_s: f64) -> usize {
        // The small addend keeps a time that was computed as i / fps on frame i.
        ((time_s * self.fps + 1e-6) as usize).min(self.frames.len() - 1)
    }
}

/// Checks a frame rate that comes from outside.
pub(crate) fn check_fps(field: &'static str, fps: f64) -> Result<(), Error> {
    if fps.is_finite() && fps > 0.0 && fps <= MAX_FPS {
        return Ok(());
    }
    Err(Error::InvalidArgument {
        field,
        found: fps.to_string(),
        expected: "a number above 0 and up to 1000",
    })
}

/// Checks the size of an image that is to be made.
pub(crate) fn check_size(size: Size) -> Result<(), Error> {
    if (1..=1 << 15).contains(&size.width) && (1..=1 << 15).contains(&size.height) {
        return Ok(());
    }
    Err(Error::InvalidArgument {
        field: "size",
        found: size.to_string(),
        expected: "1 to 32768 pixels a side",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rates_are_refused() {
        for fps in [0.0, -8.0, f64::NAN, f64::INFINITY, 1e9] {
            let error = Clip::new(vec![RgbImage::new(2, 2)], fps).unwrap_err();
            assert!(
                matches!(error, Error::InvalidArgument { field: "fps", .. }),
                "{fps}: {error}"
            );
        }
    }

    #[test]
    fn frames_of_two_sizes_are_refused() {
        let error = Clip::new(vec![RgbImage::new(2, 2), RgbImage::new(2, 3)], 8.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame 1 has 2x3 pixels, expected 2x2 as in frame 0"
        );
    }

    #[test]
    fn frames_without_pixels_are_refused() {
        let error = Clip::new(vec![RgbImage::new(0, 2)], 8.0).unwrap_err();
        assert!(
            matches!(error, Error::InvalidArgument { field: "size", .. }),
            "{error}"
        );
    }

    #[test]
    fn every_frame_is_found_at_its_own_time() {
        for fps in [8.0, 24.0, 29.97, 1000.0 / 3.0] {
            let clip = Clip::new(vec![RgbImage::new(1, 1); 50], fps).unwrap();
            for i in 0..50 {
                assert_eq!(clip.index_at(i as f64 / fps), i);
            }
            assert_eq!(clip.index_at(1e12), 49);
        }
    }
}
