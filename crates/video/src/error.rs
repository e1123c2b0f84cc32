//! The one error type of this crate.

use std::path::{Path, PathBuf};

use crate::clip::Size;

/// What can go wrong when clips are read, changed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file or folder.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was attempted, as a verb: `open`, `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The content is no known kind of video or image.
    #[error("{}: found {found}, expected a video, an animation or an image", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        found: &'static str,
    },
    /// A folder holds no image.
    #[error("{}: the folder holds no image, expected files named *.png, *.jpg, *.jpeg or *.webp", path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// The content needs an external decoder that is not installed.
    #[error("{}: {content} is not decoded by this program itself, and `{}` was not found", path.display(), program.display())]
    NeedsFfmpeg {
        /// The file.
        path: PathBuf,
        /// Codec or container, for example `HEVC video in MP4`.
        content: String,
        /// The program that was looked for.
        program: PathBuf,
    },
    /// The external decoder ran and failed.
    #[error("{}: `{}` failed ({status}): {message}", path.display(), program.display())]
    FfmpegFailed {
        /// The file.
        path: PathBuf,
        /// The program that ran.
        program: PathBuf,
        /// Its exit status.
        status: String,
        /// The last line it wrote to stderr, or what was wrong with its output.
        message: String,
    },
    /// The container contradicts itself or its format.
    #[error("{}: broken {container} file: {fault}", path.display())]
    BrokenContainer {
        /// The file.
        path: PathBuf,
        /// The container, for example `MP4`.
        container: &'static str,
        /// Which part, what was found and what was expected.
        fault: String,
    },
    /// The file ends before the data it declares.
    #[error("{}: the file is cut short: {part} ends at byte {needed}, but the file has {found} bytes", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What lies beyond the end, for example `frame 12`.
        part: String,
        /// Bytes the file would need.
        needed: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The file holds no video track.
    #[error("{}: found no video track among {tracks} tracks", path.display())]
    NoVideoTrack {
        /// The file.
        path: PathBuf,
        /// Tracks of any kind.
        tracks: usize,
    },
    /// The file holds a video without a single frame.
    #[error("{}: the video has no frames", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
    },
    /// An image or animation cannot be decoded.
    #[error("{}: cannot decode the image", path.display())]
    BrokenImage {
        /// The file.
        path: PathBuf,
        /// What the decoder found.
        #[source]
        source: image::ImageError,
    },
    /// An H.264 stream cannot be decoded.
    #[error("{}: cannot decode the H.264 picture of frame {frame}", path.display())]
    BrokenStream {
        /// The file.
        path: PathBuf,
        /// Index of the coded frame, in the order of the file.
        frame: usize,
        /// What the decoder found.
        #[source]
        source: openh264::Error,
    },
    /// The decoder gave fewer or more pictures than the container declares.
    #[error("{}: {found} pictures were decoded, expected {expected}", path.display())]
    FramesLost {
        /// The file.
        path: PathBuf,
        /// Pictures that the container declares.
        expected: usize,
        /// Pictures that came out.
        found: usize,
    },
    /// One frame has another size than those before it.
    #[error("{}: found {found} pixels, expected {expected} as in the frames before", path.display())]
    SizeChanges {
        /// The file (in a folder: the image).
        path: PathBuf,
        /// Its size.
        found: Size,
        /// The size of the frames before.
        expected: Size,
    },
    /// A frame is larger than [`ReadOptions::max_pixels`](crate::ReadOptions::max_pixels).
    #[error("{}: frames of {size} pixels exceed the limit of {limit} pixels", path.display())]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// The declared size.
        size: Size,
        /// Largest number of pixels allowed.
        limit: u64,
    },
    /// More frames than [`ReadOptions::max_frames`](crate::ReadOptions::max_frames) would be kept.
    #[error("{}: {found} frames or more would be read, the limit is {limit}", path.display())]
    TooManyFrames {
        /// The file.
        path: PathBuf,
        /// Frames that would be kept so far.
        found: usize,
        /// Largest number allowed.
        limit: usize,
    },
    /// The kept frames would take more than [`ReadOptions::max_bytes`](crate::ReadOptions::max_bytes).
    #[error("{}: the frames would take {bytes} bytes of memory, the limit is {limit}", path.display())]
    TooManyBytes {
        /// The file.
        path: PathBuf,
        /// Bytes needed.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// No frame of the file was chosen.
    #[error("{}: no frame is chosen: the choice starts at frame {start}, the video has {available}", path.display())]
    NothingChosen {
        /// The file.
        path: PathBuf,
        /// First frame asked for.
        start: usize,
        /// Frames there are, at the rate asked for.
        available: usize,
    },
    /// An option or argument lies outside its range.
    #[error("`{field}` is {found}, expected {expected}")]
    InvalidArgument {
        /// Name of the option or argument.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A clip must have frames.
    #[error("the clip has no frames, expected one or more")]
    EmptyClip,
    /// All frames of a clip must have one size.
    #[error("frame {frame} has {found} pixels, expected {expected} as in frame 0")]
    UnequalFrames {
        /// Index of the first frame that differs.
        frame: usize,
        /// Its size.
        found: Size,
        /// Size of frame 0.
        expected: Size,
    },
    /// The frames are too large for the format they are written to.
    #[error("{}: {format} holds at most {limit} pixels, the frames have {size}", path.display())]
    TooLargeToWrite {
        /// The file to be written.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// Size of the frames.
        size: Size,
        /// Largest size of the format.
        limit: Size,
    },
    /// A frame could not be encoded.
    #[error("{}: cannot encode frame {frame} as {format}", path.display())]
    Encoding {
        /// The file to be written.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// Index of the frame.
        frame: usize,
        /// What the encoder said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// What the user can do about it, as a sentence, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => "check the path for a typing error".into(),
                std::io::ErrorKind::PermissionDenied => {
                    "check who may read and write there, or choose another folder".into()
                }
                std::io::ErrorKind::StorageFull => {
                    "free some disk space, or choose another folder".into()
                }
                _ => return None,
            },
            Self::UnknownFormat { .. } => {
                "give an MP4, GIF, WebP or PNG file or a folder of images; \
                 WebM, MKV, AVI and others are read through ffmpeg"
                    .into()
            }
            Self::NoImages { .. } => {
                "name the folder that holds the frames as images, or a video file".into()
            }
            Self::NeedsFfmpeg { .. } => {
                "install ffmpeg so that it is found on PATH, or convert the clip to H.264 in MP4"
                    .into()
            }
            Self::FfmpegFailed { .. } => {
                "see whether a player shows the file; if it does, convert it to H.264 in MP4".into()
            }
            Self::BrokenContainer { .. } | Self::BrokenStream { .. } | Self::FramesLost { .. } => {
                "see whether a player shows the file; if it does, convert it to H.264 in MP4 anew"
                    .into()
            }
            Self::Truncated { .. } => {
                "fetch or export the file again, or choose only frames that lie before the cut"
                    .into()
            }
            Self::NoVideoTrack { .. } => "this looks like a sound file; give a video".into(),
            Self::NoFrames { .. } | Self::BrokenImage { .. } => {
                "fetch or export the file again".into()
            }
            Self::SizeChanges { .. } => "bring all frames to one size first".into(),
            Self::TooManyPixels { .. } => "scale the video down first".into(),
            Self::TooManyFrames { .. } | Self::TooManyBytes { .. } => {
                "choose fewer frames: a count, a larger step or a lower rate".into()
            }
            Self::NothingChosen { .. } => "start at an earlier frame".into(),
            Self::InvalidArgument { .. } | Self::EmptyClip | Self::UnequalFrames { .. } => {
                return None;
            }
            Self::TooLargeToWrite { .. } => "resize the clip before writing it".into(),
            Self::Encoding { .. } => return None,
        };
        Some(hint)
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn image(path: &Path) -> impl Fn(image::ImageError) -> Self {
        let path = path.to_owned();
        move |source| match source {
            image::ImageError::IoError(source) if source.raw_os_error().is_some() => Self::Io {
                action: "read",
                path: path.clone(),
                source,
            },
            source => Self::BrokenImage {
                path: path.clone(),
                source,
            },
        }
    }

    pub(crate) fn mp4(path: &Path, fault: impl Into<String>) -> Self {
        Self::BrokenContainer {
            path: path.to_owned(),
            container: "MP4",
            fault: fault.into(),
        }
    }
}
