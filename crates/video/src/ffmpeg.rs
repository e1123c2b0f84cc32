//! Containers and codings that only the `ffmpeg` program reads.
//!
//! Two runs: the first copies the coded frames to the `framecrc` muxer, which prints coding, size and times
//! as text without decoding; the second decodes to PPM images, each of which carries its own size. The
//! program gets an argument list, no shell; may open nothing but local files and pipes; and is stopped as
//! soon as a bound of the options is met.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use image::RgbImage;

use crate::clip::Size;
use crate::read::{ClipInfo, Timeline};
use crate::select::{Collector, Selector, check_pixels};
use crate::{Clip, Error, ReadOptions};

/// Most lines of the first run that are read: one for each coded frame.
const MAX_LINES: usize = 1 << 22;

pub(crate) fn read(path: &Path, content: &str, options: &ReadOptions) -> Result<Clip, Error> {
    let index = Index::of(path, content, options)?;
    let fps = options.frames.fps.unwrap_or(index.timeline.fps());
    let bound = options
        .max_frames
        .saturating_mul(options.frames.step)
        .saturating_add(options.frames.start);
    let frames = options
        .frames
        .frames_to_see()
        .unwrap_or(usize::MAX)
        .min(bound.saturating_add(1));

    let arguments = ["-map", "0:v:0", "-an", "-sn", "-dn", "-vf"].map(OsString::from);
    let mut arguments = arguments.to_vec();
    arguments.push(format!("fps={fps}").into());
    arguments.extend(["-frames:v".into(), frames.to_string().into()]);
    arguments.extend(
        [
            "-pix_fmt",
            "rgb24",
            "-c:v",
            "ppm",
            "-f",
            "image2pipe",
            "pipe:1",
        ]
        .map(OsString::from),
    );
    let mut run = Run::start(path, content, options, &arguments)?;

    // ffmpeg has resampled already: here every frame counts as one.
    let choice = crate::FrameChoice {
        fps: None,
        ..options.frames.clone()
    };
    let mut selector = Selector::new(&choice);
    let mut collector = None;
    while !selector.is_done() {
        let Some(frame) = run.next_image(options)? else {
            break;
        };
        let collector = match &mut collector {
            Some(collector) => collector,
            None => collector.insert(Collector::new(path, options, Size::of(&frame))?),
        };
        collector.keep(selector.next(0.0), || Ok(frame))?;
    }
    // Stopping early because enough was seen is no fault; running dry may be one.
    if !selector.is_done() {
        run.finish()?;
    }
    match collector {
        Some(collector) => collector.finish(selector.seen(), fps),
        None => Err(Error::NoFrames {
            path: path.to_owned(),
        }),
    }
}

pub(crate) fn info(path: &Path, content: &str, options: &ReadOptions) -> Result<ClipInfo, Error> {
    let index = Index::of(path, content, options)?;
    ClipInfo::of_timeline(path, content, index.codec, index.size, &index.timeline, 0)
}

/// What the first run tells.
struct Index {
    codec: String,
    size: Size,
    timeline: Timeline,
}

impl Index {
    fn of(path: &Path, content: &str, options: &ReadOptions) -> Result<Self, Error> {
        let arguments =
            ["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "pipe:1"].map(OsString::from);
        let mut run = Run::start(path, content, options, &arguments)?;
        let mut codec = "unknown".to_owned();
        let mut size = Size {
            width: 0,
            height: 0,
        };
        let mut unit_s = None;
        let mut frames: Vec<(i64, i64)> = Vec::new(); // shown at, duration
        let mut line = String::new();
        for _ in 0..MAX_LINES {
            line.clear();
            // No line of this format is anywhere near as long as this.
            let read = run.stdout.by_ref().take(4096).read_line(&mut line);
            if read.map_err(|e| run.fault(e.to_string()))? == 0 {
                break;
            }
            if let Some(rest) = line.strip_prefix("#codec_id 0:") {
                codec = rest.trim().to_owned();
            } else if let Some(rest) = line.strip_prefix("#dimensions 0:") {
                size = parse_size(rest)
                    .ok_or_else(|| run.fault(format!("unexpected line `{}`", line.trim())))?;
            } else if let Some(rest) = line.strip_prefix("#tb 0:") {
                unit_s = parse_ratio(rest);
            } else if !line.starts_with('#') {
                frames.extend(parse_frame(&line));
            }
        }
        run.finish()?;
        if frames.is_empty() {
            return Err(Error::NoFrames {
                path: path.to_owned(),
            });
        }
        check_pixels(path, size, options)?;
        let unit_s = unit_s.unwrap_or(1.0);
        frames.sort_unstable();
        let mut durations_s: Vec<f64> = frames
            .windows(2)
            .map(|pair| pair[1].0.saturating_sub(pair[0].0) as f64 * unit_s)
            .collect();
        durations_s.extend(frames.last().map(|last| last.1 as f64 * unit_s));
        Ok(Self {
            codec,
            size,
            timeline: Timeline::in_order(durations_s, unit_s),
        })
    }
}

fn parse_size(text: &str) -> Option<Size> {
    let (width, height) = text.trim().split_once('x')?;
    Some(Size {
        width: width.parse().ok()?,
        height: height.parse().ok()?,
    })
}

fn parse_ratio(text: &str) -> Option<f64> {
    let (numerator, denominator) = text.trim().split_once('/')?;
    let ratio = numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?;
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

/// Time and duration of a line `stream, dts, pts, duration, size, checksum`. Old containers have no time
/// of presentation, but then frames are stored in that order.
fn parse_frame(line: &str) -> Option<(i64, i64)> {
    let mut fields = line.split(',').map(str::trim);
    let (_, decoded_at, shown_at, duration) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let shown_at = shown_at.parse().or_else(|_| decoded_at.parse()).ok()?;
    Some((shown_at, duration.parse::<i64>().unwrap_or(0).max(0)))
}

/// A running ffmpeg. It is stopped when this is dropped.
struct Run<'a> {
    path: &'a Path,
    program: &'a Path,
    child: Child,
    stdout: BufReader<ChildStdout>,
    messages: Option<JoinHandle<String>>,
}

impl<'a> Run<'a> {
    fn start(
        path: &'a Path,
        content: &str,
        options: &'a ReadOptions,
        output: &[OsString],
    ) -> Result<Self, Error> {
        let program = options.ffmpeg.as_path();
        // With the protocol in front, no name is taken for an option or another protocol.
        let mut input = OsString::from("file:");
        input.push(path);
        let started = Command::new(program)
            .args([
                "-nostdin",
                "-hide_banner",
                "-v",
                "error",
                "-protocol_whitelist",
                "file,pipe",
                "-i",
            ])
            .arg(input)
            .args(output)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NeedsFfmpeg {
                path: path.to_owned(),
                content: content.to_owned(),
                program: program.to_owned(),
            },
            _ => Error::Io {
                action: "run",
                path: program.to_owned(),
                source,
            },
        })?;
        let pipes = (child.stdout.take(), child.stderr.take());
        let (Some(stdout), Some(stderr)) = pipes else {
            unreachable!("both were asked for above");
        };
        // Read beside the frames, or a talkative program would block on a full pipe.
        let messages = std::thread::spawn(move || last_line(stderr));
        Ok(Self {
            path,
            program,
            child,
            stdout: BufReader::new(stdout),
            messages: Some(messages),
        })
    }

    fn fault(&self, message: String) -> Error {
        self.failure("running".into(), message)
    }

    fn failure(&self, status: String, message: String) -> Error {
        Error::FfmpegFailed {
            path: self.path.to_owned(),
            program: self.program.to_owned(),
            status,
            message,
        }
    }

    /// The next image of a stream of binary PPM images; `None` at the end.
    fn next_image(&mut self, options: &ReadOptions) -> Result<Option<RgbImage>, Error> {
        let ended = self.stdout.fill_buf().map(<[u8]>::is_empty);
        if ended.map_err(|e| self.fault(e.to_string()))? {
            return Ok(None);
        }
        let mut header = Vec::new();
        for _ in 0..3 {
            let read = self.stdout.by_ref().take(64).read_until(b'\n', &mut header);
            read.map_err(|e| self.fault(e.to_string()))?;
        }
        let size = str::from_utf8(&header).ok().and_then(parse_ppm_header);
        let size = size.ok_or_else(|| self.fault("its output is no PPM image".into()))?;
        check_pixels(self.path, size, options)?;
        let mut pixels = vec![0; size.rgb_bytes() as usize];
        if self.stdout.read_exact(&mut pixels).is_err() {
            self.finish()?; // tells why, if the program knows
            return Err(self.fault("its output ends inside an image".into()));
        }
        Ok(RgbImage::from_raw(size.width, size.height, pixels))
    }

    /// Waits for the end and reports a failure.
    fn finish(&mut self) -> Result<(), Error> {
        let status = self.child.wait().map_err(Error::io("run", self.program))?;
        if status.success() {
            return Ok(());
        }
        let message = self
            .messages
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        Err(self.failure(
            status.to_string(),
            if message.is_empty() {
                "no message".into()
            } else {
                message
            },
        ))
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to do about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `P6`, width and height, and the largest value, each on its line.
fn parse_ppm_header(header: &str) -> Option<Size> {
    let mut lines = header.lines();
    let size = match (lines.next()?, lines.next()?, lines.next()?) {
        ("P6", size, "255") => size,
        _ => return None,
    };
    parse_size(&size.replace(' ', "x")).filter(|size| size.pixels() > 0)
}

/// Drains a pipe and returns the last line of its first part.
fn last_line(mut pipe: impl Read) -> String {
    const KEPT: u64 = 1 << 16;
    let mut bytes = Vec::new();
    // What cannot be read is only a message; the exit status tells of the failure itself.
    let _ = pipe.by_ref().take(KEPT).read_to_end(&mut bytes);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_the_first_run() {
        assert_eq!(
            parse_frame("0,      -4096,          0,     2048,    51079, 0x6e42de49\n"),
            Some((0, 2048))
        );
        assert_eq!(
            parse_frame("0, 7, NOPTS, 1, 51079, 0x6e42de49, F=0x0"),
            Some((7, 1))
        );
        assert_eq!(parse_ratio(" 1/16384\n"), Some(1.0 / 16384.0));
        assert_eq!(parse_ratio(" 1/0\n"), None);
        assert_eq!(
            parse_ppm_header("P6\n64 48\n255\n"),
            Some(Size {
                width: 64,
                height: 48
            })
        );
        assert_eq!(parse_ppm_header("P6\n0 48\n255\n"), None);
    }

    proptest! {
        #[test]
        fn no_line_causes_a_panic(line in ".{0,60}") {
            let _ = (parse_frame(&line), parse_ratio(&line), parse_size(&line), parse_ppm_header(&line));
        }
    }
}
