//! Which frames of a video are kept.

use std::path::Path;

use image::RgbImage;

use crate::clip::{Size, check_fps};
use crate::{Clip, Error, ReadOptions};

/// Which frames to keep; the default keeps all.
///
/// With `fps` the video is first resampled by time: frame `j` becomes the one that is shown at
/// `j / fps` seconds, so that frames repeat or fall away. Of these, or of the frames as they are, number
/// `start` is kept and every `step`-th after it, `count` in all or as many as there are. The clip plays at
/// the speed of the video: its rate is the video's, or `fps`, divided by `step`.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameChoice {
    /// Index of the first frame kept.
    pub start: usize,
    /// Distance between frames kept, at least 1.
    pub step: usize,
    /// How many frames to keep at most; at least 1.
    pub count: Option<usize>,
    /// Rate to resample to beforehand, in frames per second.
    pub fps: Option<f64>,
}

impl Default for FrameChoice {
    fn default() -> Self {
        Self {
            start: 0,
            step: 1,
            count: None,
            fps: None,
        }
    }
}

impl FrameChoice {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let at_least_one = |field, value: usize| match value {
            0 => Err(Error::InvalidArgument {
                field,
                found: value.to_string(),
                expected: "1 or more",
            }),
            _ => Ok(()),
        };
        at_least_one("step", self.step)?;
        at_least_one("count", self.count.unwrap_or(1))?;
        self.fps.map_or(Ok(()), |fps| check_fps("fps", fps))
    }

    /// Frames to look at, after resampling, until the last one kept; `None` if all.
    pub(crate) fn frames_to_see(&self) -> Option<usize> {
        let steps = self.count?.saturating_sub(1).saturating_mul(self.step);
        Some(self.start.saturating_add(steps).saturating_add(1))
    }
}

/// Walks over the frames of a video in the order they are shown and says how often each is kept.
pub(crate) struct Selector<'a> {
    choice: &'a FrameChoice,
    seen: usize, // frames so far, after resampling
}

impl<'a> Selector<'a> {
    pub(crate) fn new(choice: &'a FrameChoice) -> Self {
        Self { choice, seen: 0 }
    }

    /// How often the next frame is kept, which is shown until `end_s` seconds after the start of the video.
    pub(crate) fn next(&mut self, end_s: f64) -> usize {
        let before = self.seen;
        self.seen = match self.choice.fps {
            None => before + 1,
            // Times below `end_s`: a time that equals it, but for rounding, belongs to the next frame. The
            // cast saturates, and a frame without duration is not shown.
            Some(fps) => before.max((end_s * fps - 1e-6).ceil() as usize),
        };
        self.kept_below(self.seen) - self.kept_below(before)
    }

    /// Frames seen so far, after resampling.
    pub(crate) fn seen(&self) -> usize {
        self.seen
    }

    /// Whether no later frame will be kept.
    pub(crate) fn is_done(&self) -> bool {
        self.choice
            .frames_to_see()
            .is_some_and(|last| self.seen >= last)
    }

    /// How many of the first `index` frames are kept.
    fn kept_below(&self, index: usize) -> usize {
        let kept = index
            .saturating_sub(self.choice.start)
            .div_ceil(self.choice.step);
        kept.min(self.choice.count.unwrap_or(usize::MAX))
    }
}

/// Gathers the kept frames of one video within the bounds of the [`ReadOptions`].
pub(crate) struct Collector<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    size: Size,
    frames: Vec<RgbImage>,
}

impl<'a> Collector<'a> {
    /// For a video whose frames, as they are shown, have `size` pixels.
    pub(crate) fn new(path: &'a Path, options: &'a ReadOptions, size: Size) -> Result<Self, Error> {
        check_pixels(path, size, options)?;
        Ok(Self {
            path,
            options,
            size,
            frames: Vec::new(),
        })
    }

    /// Refuses `count` more frames if they would exceed a bound.
    pub(crate) fn check_room(&self, count: usize) -> Result<(), Error> {
        let (path, found) = (
            self.path.to_owned(),
            self.frames.len().saturating_add(count),
        );
        if found > self.options.max_frames {
            return Err(Error::TooManyFrames {
                path,
                found,
                limit: self.options.max_frames,
            });
        }
        let bytes = self.size.rgb_bytes().saturating_mul(found as u64);
        if bytes > self.options.max_bytes {
            return Err(Error::TooManyBytes {
                path,
                bytes,
                limit: self.options.max_bytes,
            });
        }
        Ok(())
    }

    /// Keeps the next frame `times` times; it is not even made if that is never.
    pub(crate) fn keep(
        &mut self,
        times: usize,
        frame: impl FnOnce() -> Result<RgbImage, Error>,
    ) -> Result<(), Error> {
        if times == 0 {
            return Ok(());
        }
        self.check_room(times)?;
        let frame = frame()?;
        let found = Size::of(&frame);
        if found != self.size {
            let path = self.path.to_owned();
            return Err(Error::SizeChanges {
                path,
                found,
                expected: self.size,
            });
        }
        self.frames.extend(std::iter::repeat_n(frame, times));
        Ok(())
    }

    /// The clip, of a video that has `video_fps` frames per second, of which `seen` (after resampling) were
    /// there.
    pub(crate) fn finish(self, seen: usize, video_fps: f64) -> Result<Clip, Error> {
        let choice = &self.options.frames;
        if seen == 0 {
            return Err(Error::NoFrames {
                path: self.path.to_owned(),
            });
        }
        if self.frames.is_empty() {
            let path = self.path.to_owned();
            return Err(Error::NothingChosen {
                path,
                start: choice.start,
                available: seen,
            });
        }
        Clip::new(
            self.frames,
            choice.fps.unwrap_or(video_fps) / choice.step as f64,
        )
    }
}

/// Refuses frames larger than the options allow, before anything is allocated for them.
pub(crate) fn check_pixels(path: &Path, size: Size, options: &ReadOptions) -> Result<(), Error> {
    if size.pixels() > options.max_pixels {
        return Err(Error::TooManyPixels {
            path: path.to_owned(),
            size,
            limit: options.max_pixels,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Indices of the frames kept of a video with the given frame durations.
    fn kept(choice: &FrameChoice, durations_s: &[f64]) -> Vec<usize> {
        let mut selector = Selector::new(choice);
        let mut end_s = 0.0;
        let mut kept = Vec::new();
        for (index, duration_s) in durations_s.iter().enumerate() {
            end_s += duration_s;
            kept.extend(std::iter::repeat_n(index, selector.next(end_s)));
        }
        kept
    }

    #[test]
    fn start_step_and_count() {
        let choice = FrameChoice {
            start: 3,
            step: 4,
            count: Some(3),
            fps: None,
        };
        assert_eq!(kept(&choice, &[0.125; 24]), [3, 7, 11]);
        assert_eq!(kept(&choice, &[0.125; 8]), [3, 7]);
        assert_eq!(kept(&choice, &[0.125; 3]), [0; 0]);
        assert_eq!(choice.frames_to_see(), Some(12));
    }

    #[test]
    fn resampling_shows_what_was_on_screen() {
        let at = |fps| FrameChoice {
            fps: Some(fps),
            ..FrameChoice::default()
        };
        assert_eq!(
            kept(&at(8.0), &[0.125; 6]),
            [0, 1, 2, 3, 4, 5],
            "the same rate changes nothing"
        );
        assert_eq!(kept(&at(16.0), &[0.125; 3]), [0, 0, 1, 1, 2, 2]);
        assert_eq!(kept(&at(4.0), &[0.125; 6]), [0, 2, 4]);
        assert_eq!(
            kept(&at(10.0), &[0.1, 0.3, 0.05, 0.15]),
            [0, 1, 1, 1, 2, 3],
            "varying durations"
        );
        assert_eq!(kept(&at(1.0), &[0.01]), [0], "a single short frame is kept");
    }

    #[test]
    fn impossible_choices_are_refused() {
        let check = |choice: FrameChoice, expected_field| match choice.check().unwrap_err() {
            Error::InvalidArgument { field, .. } => assert_eq!(field, expected_field),
            other => panic!("{other}"),
        };
        check(
            FrameChoice {
                step: 0,
                ..FrameChoice::default()
            },
            "step",
        );
        check(
            FrameChoice {
                count: Some(0),
                ..FrameChoice::default()
            },
            "count",
        );
        for fps in [0.0, -1.0, f64::NAN, 1e6] {
            check(
                FrameChoice {
                    fps: Some(fps),
                    ..FrameChoice::default()
                },
                "fps",
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_lies_within_the_video(
            start in 0_usize..60,
            step in 1_usize..10,
            count in proptest::option::of(1_usize..40),
            fps in proptest::option::of(0.1_f64..120.0),
            durations_s in proptest::collection::vec(0.0_f64..0.5, 0..50),
        ) {
            let choice = FrameChoice { start, step, count, fps };
            let kept = kept(&choice, &durations_s);
            prop_assert!(kept.iter().all(|&index| index < durations_s.len()));
            prop_assert!(kept.is_sorted());
            prop_assert!(kept.len() <= count.unwrap_or(usize::MAX));
            if fps.is_none() {
                let expected: Vec<usize> =
                    (start..durations_s.len()).step_by(step).take(count.unwrap_or(usize::MAX)).collect();
                prop_assert_eq!(kept, expected);
            }
        }

        #[test]
        fn a_walk_may_stop_when_it_is_done(
            start in 0_usize..20, step in 1_usize..5, count in 1_usize..10, frames in 1_usize..60,
        ) {
            let choice = FrameChoice { start, step, count: Some(count), fps: None };
            let mut selector = Selector::new(&choice);
            let mut late = 0;
            for _ in 0..frames {
                let done = selector.is_done();
                let kept = selector.next(0.0);
                late += if done { kept } else { 0 };
            }
            prop_assert_eq!(late, 0);
        }
    }
}
