//! Clips in and out: decode, resize, encode, contact sheets, GIF.
//!
//! [`read_clip`] takes a video, an animation, an image or a folder of images and gives a [`Clip`]: RGB frames
//! of one size at a constant rate. [`write_mp4`] and [`write_gif`] write one; [`side_by_side`] and
//! [`contact_sheet`] show several at once. H.264 in MP4, GIF, WebP, PNG and JPEG are read by this crate
//! itself; for everything else it runs `ffmpeg` where that is installed.
//!
//! All that is read comes from outside: sizes and counts are held against [`ReadOptions`] before anything is
//! allocated for them, and every fault is an [`Error`] that names the file. Files are written whole or not at
//! all.
//!
//! ```
//! use image::{Rgb, RgbImage};
//! use kinvert_video::{Clip, Fit, ReadOptions, probe, read_clip, write_mp4};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("clip.mp4");
//! let frames = (0..16).map(|i| RgbImage::from_pixel(64, 64, Rgb([i * 15, 128, 0]))).collect();
//! write_mp4(&Clip::new(frames, 8.0)?, &path)?;
//!
//! assert_eq!(probe(&path)?.codec, "H.264");
//! let clip = read_clip(&path, &ReadOptions::default())?.resized(32, 32, Fit::Crop)?;
//! assert_eq!((clip.len(), clip.width(), clip.fps()), (16, 32, 8.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod animation;
mod clip;
mod error;
mod ffmpeg;
mod folder;
mod gif;
mod h264;
mod mp4_read;
mod mp4_write;
mod read;
mod resize;
mod select;
mod sheet;
mod yuv;

pub use clip::{Clip, MAX_FPS, Size};
pub use error::Error;
pub use gif::write_gif;
pub use mp4_write::write_mp4;
pub use read::{ClipInfo, ReadOptions, probe, probe_with, read_clip};
pub use resize::Fit;
pub use select::FrameChoice;
pub use sheet::{contact_sheet, side_by_side, write_png};
