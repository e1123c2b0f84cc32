//! Reading any kind of clip: the content decides, not the name.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use image::ImageFormat;

use crate::clip::{MAX_FPS, Size, check_fps};
use crate::mp4_read::Mp4;
use crate::{Clip, Error, FrameChoice, animation, ffmpeg, folder};

/// What to read of a clip, and how much at most.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadOptions {
    /// Which frames to keep.
    pub frames: FrameChoice,
    /// Most frames that are kept (4096 by default); more are an error, found before they are decoded where
    /// the file tells.
    pub max_frames: usize,
    /// Most pixels in a frame (2²⁴ by default, as in 4096×4096).
    pub max_pixels: u64,
    /// Most bytes that the kept frames may take, at three a pixel (2 GiB by default).
    pub max_bytes: u64,
    /// Rate at which the images of a folder follow each other, in frames per second (8 by default).
    pub image_fps: f64,
    /// The program that decodes what this crate does not; looked up on `PATH` if it is a bare name.
    pub ffmpeg: PathBuf,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            frames: FrameChoice::default(),
            max_frames: 4096,
            max_pixels: 1 << 24,
            max_bytes: 2 << 30,
            image_fps: 8.0,
            ffmpeg: "ffmpeg".into(),
        }
    }
}

impl ReadOptions {
    fn check(&self) -> Result<(), Error> {
        self.frames.check()?;
        check_fps("image_fps", self.image_fps)
    }

    /// Limits for the image decoders: working memory in proportion to the pixels allowed.
    pub(crate) fn image_limits(&self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(self.max_pixels.saturating_mul(16).saturating_add(1 << 24));
        limits
    }
}

/// What a file says of its video.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ClipInfo {
    /// The container, for example `MP4` or `folder of images`.
    pub container: String,
    /// The coding of the frames, for example `H.264`.
    pub codec: String,
    /// Width as shown, after rotation, in pixels.
    pub width: u32,
    /// Height as shown, after rotation, in pixels.
    pub height: u32,
    /// Number of frames shown.
    pub frames: usize,
    /// Frames per second; the mean if the rate varies.
    pub fps: f64,
    /// Duration in seconds.
    pub duration_s: f64,
    /// Degrees clockwise by which the stored frames are turned before they are shown.
    pub rotation_degrees: u32,
    /// Whether frames are shown for different times. They are read one after the other all the same,
    /// unless [`FrameChoice::fps`] asks for resampling.
    pub variable_frame_rate: bool,
}

impl ClipInfo {
    pub(crate) fn of_timeline(
        path: &Path,
        container: &str,
        codec: String,
        size: Size,
        timeline: &Timeline,
        rotation_degrees: u32,
    ) -> Result<Self, Error> {
        if timeline.durations_s.is_empty() {
            return Err(Error::NoFrames {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            container: container.to_owned(),
            codec,
            width: size.width,
            height: size.height,
            frames: timeline.durations_s.len(),
            fps: timeline.fps(),
            duration_s: timeline.total_s(),
            rotation_degrees,
            variable_frame_rate: timeline.is_variable(),
        })
    }
}

/// When the frames of a video are shown.
pub(crate) struct Timeline {
    /// Indices of the coded frames in the order they are shown.
    pub(crate) order: Vec<usize>,
    /// How long each is shown, in the same order.
    pub(crate) durations_s: Vec<f64>,
    /// The smallest difference of times that the file can express.
    pub(crate) quantum_s: f64,
}

impl Timeline {
    /// For frames that are stored in the order they are shown.
    pub(crate) fn in_order(durations_s: Vec<f64>, quantum_s: f64) -> Self {
        Self {
            order: (0..durations_s.len()).collect(),
            durations_s,
            quantum_s,
        }
    }

    /// Duration of the whole in seconds, without the noise of summing.
    fn total_s(&self) -> f64 {
        let total_s: f64 = self.durations_s.iter().sum();
        (total_s * 1e9).round() / 1e9
    }

    /// Mean rate in frames per second, within what a [`Clip`] may have.
    pub(crate) fn fps(&self) -> f64 {
        let fps = self.durations_s.len() as f64 / self.total_s();
        // A total of zero is that of a single frame, or of a file that has no times at all. A rate within a millionth of a whole one is whole.
        let fps = if fps.is_finite() && fps > 0.0 {
            fps
        } else {
            1.0
        };
        let whole = fps.round();
        if (fps - whole).abs() < 1e-6 * fps {
            whole
        } else {
            fps.min(MAX_FPS)
        }
    }

    /// When each frame ends, in seconds after the start.
    pub(crate) fn ends_s(&self) -> impl Iterator<Item = f64> {
        self.durations_s.iter().scan(0.0, |end_s, duration_s| {
            *end_s += duration_s;
            Some(*end_s)
        })
    }

    /// Whether any frame but the last, whose end is often arbitrary, differs from the mean by more than a
    /// twentieth and by more than rounding explains.
    fn is_variable(&self) -> bool {
        let (_, durations_s) = self.durations_s.split_last().unwrap_or((&0.0, &[]));
        let mean = durations_s.iter().sum::<f64>() / durations_s.len().max(1) as f64;
        let tolerance = (mean / 20.0).max(self.quantum_s * 1.01);
        durations_s
            .iter()
            .any(|duration_s| (duration_s - mean).abs() > tolerance)
    }
}

/// What a path leads to.
enum Source {
    Folder,
    Mp4,
    Image(ImageFormat),
    /// A known container that only ffmpeg reads.
    Foreign(&'static str),
}

impl Source {
    fn of(path: &Path) -> Result<Self, Error> {
        let metadata = path.metadata().map_err(Error::io("open", path))?;
        if metadata.is_dir() {
            return Ok(Self::Folder);
        }
        let mut start = Vec::new();
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(200)
            .read_to_end(&mut start)
            .map_err(Error::io("read", path))?;
        Self::of_bytes(&start).map_err(|found| Error::UnknownFormat {
            path: path.to_owned(),
            found,
        })
    }

    /// Tells by the first bytes; the error says what they look like.
    fn of_bytes(start: &[u8]) -> Result<Self, &'static str> {
        match start {
            [] => return Err("an empty file"),
            [b'G', b'I', b'F', b'8', ..] => return Ok(Self::Image(ImageFormat::Gif)),
            [0x89, b'P', b'N', b'G', ..] => return Ok(Self::Image(ImageFormat::Png)),
            [0xff, 0xd8, 0xff, ..] => return Ok(Self::Image(ImageFormat::Jpeg)),
            [b'R', b'I', b'F', b'F', _, _, _, _, kind @ ..] if kind.starts_with(b"WEBP") => {
                return Ok(Self::Image(ImageFormat::WebP));
            }
            [b'R', b'I', b'F', b'F', _, _, _, _, kind @ ..] if kind.starts_with(b"AVI ") => {
                return Ok(Self::Foreign("AVI"));
            }
            [_, _, _, _, kind @ ..]
                if [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"]
                    .iter()
                    .any(|k| kind.starts_with(*k)) =>
            {
                return Ok(Self::Mp4);
            }
            [0x1a, 0x45, 0xdf, 0xa3, ..] => return Ok(Self::Foreign("Matroska or WebM")),
            [b'O', b'g', b'g', b'S', ..] => return Ok(Self::Foreign("Ogg")),
            [b'F', b'L', b'V', 1, ..] => return Ok(Self::Foreign("Flash video")),
            [0x30, 0x26, 0xb2, 0x75, ..] => return Ok(Self::Foreign("Windows Media")),
            [0, 0, 1, 0xba | 0xb3, ..] => return Ok(Self::Foreign("MPEG program stream")),
            [b'D', b'K', b'I', b'F', ..] => return Ok(Self::Foreign("IVF")),
            _ => {}
        }
        if start.starts_with(b"YUV4MPEG2 ") {
            return Ok(Self::Foreign("YUV4MPEG2"));
        }
        // Packets of 188 bytes, each with its mark.
        if start.first() == Some(&0x47) && start.get(188) == Some(&0x47) {
            return Ok(Self::Foreign("MPEG transport stream"));
        }
        let text = !start.contains(&0)
            && str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true);
        Err(if text { "text" } else { "unknown content" })
    }
}

/// Reads a clip: an MP4 or QuickTime file with H.264, a GIF, WebP or PNG (animated or not), a JPEG, a folder
/// of images, or whatever else `ffmpeg` reads where it is installed.
///
/// Frames come in the order they are shown, turned as the file asks and with transparent parts over white.
/// Videos whose frames are shown for different times keep their frames, at the mean rate, unless
/// [`FrameChoice::fps`] asks for resampling; what is read through ffmpeg always has a constant rate.
///
/// # Errors
/// If the path leads nowhere, its content is unknown, broken, cut short, or larger than `options` allow, if
/// no frame is chosen, or ffmpeg is needed and missing.
pub fn read_clip(path: &Path, options: &ReadOptions) -> Result<Clip, Error> {
    options.check()?;
    match Source::of(path)? {
        Source::Folder => folder::read(path, options),
        Source::Image(format) => animation::read(path, format, options),
        Source::Foreign(container) => ffmpeg::read(path, container, options),
        Source::Mp4 => match Mp4::open(path)?.read(options)? {
            Ok(clip) => Ok(clip),
            Err(coding) => {
                tracing::debug!(path = %path.display(), coding, "The clip is read through ffmpeg.");
                ffmpeg::read(path, &coding, options)
            }
        },
    }
}

/// Says what a clip holds, with default [`ReadOptions`]; see [`probe_with`].
///
/// # Errors
/// As [`probe_with`].
pub fn probe(path: &Path) -> Result<ClipInfo, Error> {
    probe_with(path, &ReadOptions::default())
}

/// Says what a clip holds, without decoding more than the format demands. The choice of frames in `options`
/// does not matter.
///
/// For files that only ffmpeg reads, the size is that of the stored frames and the rotation is not known (0).
///
/// # Errors
/// If the path leads nowhere, its content is unknown or broken, or ffmpeg is needed and missing.
pub fn probe_with(path: &Path, options: &ReadOptions) -> Result<ClipInfo, Error> {
    options.check()?;
    match Source::of(path)? {
        Source::Folder => folder::info(path, options),
        Source::Image(format) => animation::info(path, format, options),
        Source::Foreign(container) => ffmpeg::info(path, container, options),
        Source::Mp4 => Mp4::open(path)?.info(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let found = |start: &[u8]| Source::of_bytes(start).err();
        assert_eq!(found(b""), Some("an empty file"));
        assert_eq!(found("Es war einmal ä".as_bytes()), Some("text"));
        assert_eq!(found(&[0x80, 0, 1, 2, 3]), Some("unknown content"));
        assert!(matches!(
            Source::of_bytes(b"\0\0\0\x20ftypisom"),
            Ok(Source::Mp4)
        ));
        assert!(matches!(
            Source::of_bytes(b"RIFF\0\0\0\0WEBPVP8 "),
            Ok(Source::Image(ImageFormat::WebP))
        ));
        assert!(matches!(
            Source::of_bytes(&[0x1a, 0x45, 0xdf, 0xa3]),
            Ok(Source::Foreign("Matroska or WebM"))
        ));
    }

    #[test]
    fn rounded_times_are_no_variable_rate() {
        let ms = |durations: &[u32]| {
            Timeline::in_order(
                durations.iter().map(|&d| f64::from(d) / 1000.0).collect(),
                0.001,
            )
        };
        assert!(
            !ms(&[33, 34, 33, 33, 34, 33, 900]).is_variable(),
            "the last one does not count"
        );
        assert!(ms(&[33, 66, 33, 33, 34, 33]).is_variable());
        assert!(!ms(&[40]).is_variable());
        assert_eq!(ms(&[125; 24]).fps(), 8.0);
        assert_eq!(ms(&[0]).fps(), 1.0);
    }
}
