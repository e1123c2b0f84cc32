//! Video out of MP4 and QuickTime files (ISO/IEC 14496-12 and -15), plain or fragmented.
//!
//! The boxes are parsed by `mp4-atom`; this file turns the sample tables into a list of coded frames with
//! byte range and presentation time, and feeds H.264 to OpenH264. Nothing is allocated for a number in the
//! file before that number has been held against the length of the file or a bound of the options.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use image::{RgbImage, imageops};
use mp4_atom::{Atom, Codec, Colr, DecodeAtom, Edts, FourCC, Moof, Mvex, Mvhd, StszSamples, Trak};
use mp4_atom::{Header, ReadFrom};
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use crate::clip::Size;
use crate::h264::{Sps, nal_type, nal_unit_type, push_annex_b, split_sample};
use crate::read::{ClipInfo, Timeline};
use crate::select::{Collector, Selector, check_pixels};
use crate::yuv::{self, Colour, Matrix};
use crate::{Clip, Error, ReadOptions};

/// Largest index (`moov` or `moof`) that is read: enough for some ten hours of video.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// Most coded frames in a file, about two days at 24 frames per second.
const MAX_SAMPLES: usize = 1 << 22;

/// An opened MP4 file with its first video track.
pub(crate) struct Mp4<'a> {
    path: &'a Path,
    file: File,
    file_bytes: u64,
    track: Trak,
    movie_timescale: u32,
    samples: Vec<Sample>,
}

/// One coded frame.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    offset: u64,
    bytes: u32,
    /// When it is shown, in units of the track's timescale.
    shown_at: i64,
    duration: u32,
    /// Whether decoding can start here.
    sync: bool,
}

impl<'a> Mp4<'a> {
    /// Reads the index of a file; the frames stay on disk.
    pub(crate) fn open(path: &'a Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let file_bytes = file.metadata().map_err(Error::io("read", path))?.len();
        let mut boxes = Boxes {
            path,
            file,
            file_bytes,
            position: 0,
        };

        let mut movie = None;
        let mut fragments = Vec::new();
        let mut cut = None;
        while let Some(found) = boxes.next()? {
            // A box that promises more than the file holds: whatever lies before it can still be read.
            cut = (found.end > file_bytes).then_some(found.end);
            match &<[u8; 4]>::from(found.kind) {
                b"moov" if movie.is_none() => movie = Some(boxes.read_body(&found)?),
                b"moof" => {
                    let body = boxes.read_body(&found)?;
                    fragments.push((found.start, decode::<Moof>(path, &body)?));
                }
                _ => {}
            }
            boxes.position = found.end;
        }
        let Some(movie) = movie else {
            return Err(match cut {
                Some(needed) => {
                    let part = "the part before the index (moov)".into();
                    Error::Truncated {
                        path: path.to_owned(),
                        part,
                        needed,
                        found: file_bytes,
                    }
                }
                None => Error::mp4(path, "found no index (moov box)"),
            });
        };
        let movie = Movie::parse(path, &movie)?;
        let mut samples = tabulated_samples(path, file_bytes, &movie.track)?;
        append_fragments(path, &movie, &fragments, &mut samples)?;
        let Movie { header, track, .. } = movie;
        Ok(Self {
            path,
            file: boxes.file,
            file_bytes,
            track,
            movie_timescale: header.timescale,
            samples,
        })
    }

    /// The coding of the video, or the name of one that is not decoded here.
    fn h264(&self) -> Result<H264Entry<'_>, String> {
        let name = match &self.track.mdia.minf.stbl.stsd.codecs[..] {
            [Codec::Avc1(entry)] => {
                return Ok(H264Entry {
                    visual: &entry.visual,
                    avcc: &entry.avcc,
                    colr: entry.colr.as_ref(),
                });
            }
            [Codec::Avc3(entry)] => {
                return Ok(H264Entry {
                    visual: &entry.visual,
                    avcc: &entry.avcc,
                    colr: entry.colr.as_ref(),
                });
            }
            [codec] => codec_name(codec),
            several => format!("video in {} codings", several.len()),
        };
        Err(format!("{name} in MP4"))
    }

    /// The samples that are shown, by time: their indices, start and duration in seconds.
    fn timeline(&self) -> Timeline {
        let timescale = f64::from(self.track.mdia.mdhd.timescale.max(1));
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by_key(|&i| self.samples[i].shown_at); // stable: ties keep the order of the file
        if let Some(edit) = self.edit() {
            let middle = |i: usize| {
                let Sample {
                    shown_at, duration, ..
                } = self.samples[i];
                shown_at as f64 + f64::from(duration) / 2.0
            };
            let inside: Vec<usize> = order
                .iter()
                .copied()
                .filter(|&i| edit.contains(&middle(i)))
                .collect();
            if inside.is_empty() {
                tracing::warn!(path = %self.path.display(), "The edit list hides every frame and is ignored.");
            } else {
                order = inside;
            }
        }
        let starts: Vec<i64> = order.iter().map(|&i| self.samples[i].shown_at).collect();
        let mut durations_s: Vec<f64> = starts
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]) as f64 / timescale)
            .collect();
        if let Some(&last) = order.last() {
            let mean = durations_s.iter().sum::<f64>() / durations_s.len().max(1) as f64;
            let own = f64::from(self.samples[last].duration) / timescale;
            durations_s.push(if own > 0.0 { own } else { mean });
        }
        Timeline {
            order,
            durations_s,
            quantum_s: 1.0 / timescale,
        }
    }

    /// The part of the track that is shown, in units of its timescale: the only edit of the edit list that
    /// shows anything. Empty edits before it delay the track and do not matter here.
    fn edit(&self) -> Option<Range<f64>> {
        let Some(Edts { elst: Some(list) }) = &self.track.edts else {
            return None;
        };
        let shown: Vec<_> = list
            .entries
            .iter()
            .filter_map(|e| Some((e.media_time?, e.segment_duration)))
            .collect();
        match shown[..] {
            [] => None,
            [(start, duration)] => {
                let start = start as f64;
                let scale = f64::from(self.track.mdia.mdhd.timescale)
                    / f64::from(self.movie_timescale.max(1));
                // Zero means until the end, as in fragmented files.
                let end = if duration == 0 {
                    f64::INFINITY
                } else {
                    start + duration as f64 * scale
                };
                Some(start..end)
            }
            _ => {
                tracing::warn!(path = %self.path.display(), "An edit list of several parts is ignored.");
                None
            }
        }
    }

    /// What the file says of itself; no frame is decoded.
    pub(crate) fn info(&self) -> Result<ClipInfo, Error> {
        let timeline = self.timeline();
        let (codec, mut size) = match self.h264() {
            Ok(entry) => {
                let sps = entry
                    .avcc
                    .sequence_parameter_sets
                    .first()
                    .and_then(|nal| Sps::parse(nal));
                (
                    "H.264".to_owned(),
                    entry.shown_size(sps.map_or(entry.declared_size(), |sps| sps.size)),
                )
            }
            Err(_) => match &self.track.mdia.minf.stbl.stsd.codecs[..] {
                [codec, ..] => {
                    let header = &self.track.tkhd;
                    let track = Size {
                        width: header.width.integer().into(),
                        height: header.height.integer().into(),
                    };
                    (
                        codec_name(codec),
                        codec.visual().map_or(track, declared_size),
                    )
                }
                [] => {
                    return Err(Error::mp4(
                        self.path,
                        "the video track says nothing of its coding (stsd)",
                    ));
                }
            },
        };
        let rotation_degrees = self.rotation();
        if rotation_degrees % 180 == 90 {
            size = Size {
                width: size.height,
                height: size.width,
            };
        }
        ClipInfo::of_timeline(self.path, "MP4", codec, size, &timeline, rotation_degrees)
    }

    /// Degrees clockwise by which the frames are to be turned.
    fn rotation(&self) -> u32 {
        let matrix = &self.track.tkhd.matrix;
        match [matrix.a, matrix.b, matrix.c, matrix.d].map(i32::signum) {
            [0, 1, -1, 0] => 90,
            [-1, 0, 0, -1] => 180,
            [0, -1, 1, 0] => 270,
            [1, 0, 0, 1] => 0,
            other => {
                tracing::warn!(path = %self.path.display(), matrix = ?other, "The track matrix is ignored.");
                0
            }
        }
    }

    /// Decodes the chosen frames. The outer error is final; the inner one names a coding that needs another
    /// decoder.
    pub(crate) fn read(mut self, options: &ReadOptions) -> Result<Result<Clip, String>, Error> {
        let timeline = self.timeline();
        if timeline.order.is_empty() {
            return Err(Error::NoFrames {
                path: self.path.to_owned(),
            });
        }
        let (avcc, declared, colr) = match self.h264() {
            Ok(entry) => (
                entry.avcc.clone(),
                entry.declared_size(),
                entry.colr.cloned(),
            ),
            Err(name) => return Ok(Err(name)),
        };
        check_pixels(self.path, declared, options)?;
        let mut stream = Stream::new(self.path, options, avcc.length_size)?;
        for nal in avcc
            .sequence_parameter_sets
            .iter()
            .chain(&avcc.picture_parameter_sets)
        {
            if let Err(feature) = stream.push(nal)? {
                return Ok(Err(feature));
            }
        }

        let mut selector = Selector::new(&options.frames);
        let times: Vec<usize> = timeline
            .ends_s()
            .map(|end_s| selector.next(end_s))
            .collect();
        let needed = match (
            times.iter().position(|&n| n > 0),
            times.iter().rposition(|&n| n > 0),
        ) {
            (Some(first), Some(last)) => &timeline.order[first..=last],
            _ => &timeline.order[..0],
        };
        let range = self.samples_to_decode(needed);
        // What comes out of the decoder, in the order it is shown: how often each picture is kept.
        let mut kept = vec![0; self.samples.len()];
        for (&sample, &times) in timeline.order.iter().zip(&times) {
            kept[sample] = times;
        }
        let mut order: Vec<usize> = range.clone().collect();
        order.sort_by_key(|&i| self.samples[i].shown_at);

        let rotation = self.rotation();
        let mut collector = None;
        let mut found = 0;
        let mut take = |picture: &DecodedYUV<'_>, sps: Option<&Sps>| -> Result<(), Error> {
            let times = order.get(found).map_or(0, |&sample| kept[sample]);
            found += 1;
            let (width, height) = picture.dimensions();
            let decoded = Size {
                width: width as u32,
                height: height as u32,
            };
            let size = crop(declared, decoded);
            let colour = colour(sps, colr.as_ref(), decoded);
            let turned = if rotation % 180 == 90 {
                Size {
                    width: size.height,
                    height: size.width,
                }
            } else {
                size
            };
            let collector = match &mut collector {
                Some(collector) => collector,
                None => {
                    let new = Collector::new(self.path, options, turned)?;
                    new.check_room(times_sum(&kept))?;
                    collector.insert(new)
                }
            };
            collector.keep(times, || {
                Ok(rotate(yuv::to_rgb(picture, size, colour), rotation))
            })
        };
        for index in range.clone() {
            let sample = read_sample(
                self.path,
                &mut self.file,
                self.file_bytes,
                index,
                &self.samples[index],
            )?;
            let nals = split_sample(&sample, stream.length_size).ok_or_else(|| {
                Error::mp4(
                    self.path,
                    format!("frame {index} holds a unit that is longer than the frame"),
                )
            })?;
            for nal in nals {
                if let Err(feature) = stream.push(nal)? {
                    return Ok(Err(feature));
                }
            }
            stream.decode(index, &mut take)?;
        }
        stream.finish(range.end, &mut take)?;
        if found != order.len() {
            return Err(Error::FramesLost {
                path: self.path.to_owned(),
                expected: order.len(),
                found,
            });
        }
        match collector {
            Some(collector) => collector.finish(selector.seen(), timeline.fps()).map(Ok),
            None => Err(Error::NothingChosen {
                path: self.path.to_owned(),
                start: options.frames.start,
                available: selector.seen(),
            }),
        }
    }

    /// Which samples to decode for the needed ones, which are given in the order they are shown: from the
    /// last sync sample before them all, to the last one that is shown before the end.
    fn samples_to_decode(&self, needed: &[usize]) -> Range<usize> {
        let (Some(&earliest), Some(&last)) = (needed.iter().min(), needed.last()) else {
            return 0..0;
        };
        let start = (0..=earliest)
            .rev()
            .find(|&i| self.samples[i].sync)
            .unwrap_or(0);
        let shown_at = self.samples[last].shown_at;
        let end = (last..self.samples.len())
            .rev()
            .find(|&i| self.samples[i].shown_at <= shown_at)
            .unwrap_or(last);
        start..end + 1
    }
}

fn times_sum(kept: &[usize]) -> usize {
    kept.iter().fold(0, |sum, &n| sum.saturating_add(n))
}

/// The H.264 stream on its way into the decoder.
struct Stream<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    length_size: u8,
    decoder: Decoder,
    pending: Vec<u8>, // in Annex B form
    sps: Option<Sps>,
}

impl<'a> Stream<'a> {
    fn new(path: &'a Path, options: &'a ReadOptions, length_size: u8) -> Result<Self, Error> {
        // Flushing after every picture would break the order of B-frames.
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder =
            Decoder::with_api_config(OpenH264API::from_source(), config).map_err(|source| {
                Error::BrokenStream {
                    path: path.to_owned(),
                    frame: 0,
                    source,
                }
            })?;
        Ok(Self {
            path,
            options,
            length_size,
            decoder,
            pending: Vec::new(),
            sps: None,
        })
    }

    /// Queues a NAL unit. Parameter sets are read first, because the decoder allocates what they say; the
    /// inner error is a feature that it lacks.
    fn push(&mut self, nal: &[u8]) -> Result<Result<(), String>, Error> {
        if nal_unit_type(nal) == nal_type::SPS {
            let sps = Sps::parse(nal).ok_or_else(|| {
                Error::mp4(
                    self.path,
                    "the H.264 sequence parameter set cannot be understood",
                )
            })?;
            check_pixels(self.path, sps.coded, self.options)?;
            if let Some(feature) = sps.unsupported() {
                return Ok(Err(format!("{feature} H.264 video in MP4")));
            }
            if let Some(before) = &self.sps
                && before.size != sps.size
            {
                let path = self.path.to_owned();
                return Err(Error::SizeChanges {
                    path,
                    found: sps.size,
                    expected: before.size,
                });
            }
            self.sps = Some(sps);
        }
        push_annex_b(nal, &mut self.pending);
        Ok(Ok(()))
    }

    fn decode(
        &mut self,
        frame: usize,
        take: &mut impl FnMut(&DecodedYUV<'_>, Option<&Sps>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let fault = |source| Error::BrokenStream {
            path: self.path.to_owned(),
            frame,
            source,
        };
        if let Some(picture) = self.decoder.decode(&self.pending).map_err(fault)? {
            take(&picture, self.sps.as_ref())?;
        }
        self.pending.clear();
        Ok(())
    }

    /// Hands out the pictures that wait for their turn.
    fn finish(
        &mut self,
        frame: usize,
        take: &mut impl FnMut(&DecodedYUV<'_>, Option<&Sps>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let fault = |source| Error::BrokenStream {
            path: self.path.to_owned(),
            frame,
            source,
        };
        for picture in self.decoder.flush_remaining().map_err(fault)? {
            take(&picture, self.sps.as_ref())?;
        }
        Ok(())
    }
}

/// The parts of a sample entry that matter, common to `avc1` and `avc3`.
struct H264Entry<'a> {
    visual: &'a mp4_atom::Visual,
    avcc: &'a mp4_atom::Avcc,
    colr: Option<&'a Colr>,
}

impl H264Entry<'_> {
    fn declared_size(&self) -> Size {
        declared_size(self.visual)
    }

    fn shown_size(&self, decoded: Size) -> Size {
        crop(self.declared_size(), decoded)
    }
}

fn declared_size(visual: &mp4_atom::Visual) -> Size {
    Size {
        width: visual.width.into(),
        height: visual.height.into(),
    }
}

/// The size to show of decoded pictures. H.264 in 4:2:0 has even sizes only, and encoders work in blocks of
/// 16: a container that declares up to 15 pixels less means that the rest is padding.
fn crop(declared: Size, decoded: Size) -> Size {
    let side = |declared: u32, decoded: u32| {
        if (decoded.saturating_sub(15).max(1)..=decoded).contains(&declared) {
            declared
        } else {
            decoded
        }
    };
    Size {
        width: side(declared.width, decoded.width),
        height: side(declared.height, decoded.height),
    }
}

/// The stream's word counts first, then the container's, then what players assume.
fn colour(sps: Option<&Sps>, colr: Option<&Colr>, size: Size) -> Colour {
    let (container_matrix, container_range) = match colr {
        Some(Colr::Nclx {
            matrix_coefficients,
            full_range_flag,
            ..
        }) => (Matrix::from_code(*matrix_coefficients), *full_range_flag),
        Some(Colr::Nclc {
            matrix_coefficients,
            ..
        }) => (Matrix::from_code(*matrix_coefficients), false),
        _ => (None, false),
    };
    let stream_matrix = sps.and_then(|sps| sps.matrix);
    Colour {
        matrix: stream_matrix
            .or(container_matrix)
            .unwrap_or(Matrix::by_size(size)),
        full_range: sps.is_some_and(|sps| sps.full_range) || container_range,
    }
}

fn rotate(image: RgbImage, degrees: u32) -> RgbImage {
    match degrees {
        90 => imageops::rotate90(&image),
        180 => imageops::rotate180(&image),
        270 => imageops::rotate270(&image),
        _ => image,
    }
}

fn codec_name(codec: &Codec) -> String {
    match codec {
        Codec::Avc1(_) | Codec::Avc3(_) => "H.264".into(),
        Codec::Hev1(_) | Codec::Hvc1(_) => "HEVC".into(),
        Codec::Vp08(_) => "VP8".into(),
        Codec::Vp09(_) => "VP9".into(),
        Codec::Av01(_) => "AV1".into(),
        Codec::Jpeg(_) => "JPEG".into(),
        Codec::Unknown(kind, _) => match &<[u8; 4]>::from(*kind) {
            b"mp4v" => "MPEG-4 part 2".into(),
            b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "ProRes".into(),
            kind => format!("`{}`", String::from_utf8_lossy(kind).escape_debug()),
        },
        _ => "an unusual coding".into(),
    }
}

/// Reads one coded frame.
fn read_sample(
    path: &Path,
    file: &mut File,
    file_bytes: u64,
    index: usize,
    sample: &Sample,
) -> Result<Vec<u8>, Error> {
    let needed = sample.offset.saturating_add(sample.bytes.into());
    if needed > file_bytes {
        let part = format!("frame {index}");
        return Err(Error::Truncated {
            path: path.to_owned(),
            part,
            needed,
            found: file_bytes,
        });
    }
    let mut bytes = vec![0; sample.bytes as usize];
    file.seek(SeekFrom::Start(sample.offset))
        .map_err(Error::io("read", path))?;
    file.read_exact(&mut bytes)
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// Walks over the boxes at the top level of a file.
struct Boxes<'a> {
    path: &'a Path,
    file: File,
    file_bytes: u64,
    position: u64,
}

struct FoundBox {
    kind: FourCC,
    start: u64,
    body: u64,
    end: u64,
}

impl Boxes<'_> {
    fn next(&mut self) -> Result<Option<FoundBox>, Error> {
        if self.file_bytes.saturating_sub(self.position) < 8 {
            return Ok(None); // the end, or padding too short for a box
        }
        let start = self.position;
        self.file
            .seek(SeekFrom::Start(start))
            .map_err(Error::io("read", self.path))?;
        let header = Header::read_from(&mut self.file).map_err(|e| {
            Error::mp4(
                self.path,
                format!("the box at byte {start} has no valid size: {e}"),
            )
        })?;
        let body = self
            .file
            .stream_position()
            .map_err(Error::io("read", self.path))?;
        let end = match header.size {
            Some(size) => body.saturating_add(size as u64),
            None => self.file_bytes,
        };
        Ok(Some(FoundBox {
            kind: header.kind,
            start,
            body,
            end,
        }))
    }

    fn read_body(&mut self, found: &FoundBox) -> Result<Vec<u8>, Error> {
        let bytes = found.end - found.body;
        if found.end > self.file_bytes {
            let part = format!("the index ({} box)", found.kind);
            let path = self.path.to_owned();
            return Err(Error::Truncated {
                path,
                part,
                needed: found.end,
                found: self.file_bytes,
            });
        }
        if bytes > MAX_INDEX_BYTES {
            let fault = format!(
                "the {} box has {bytes} bytes, expected at most {MAX_INDEX_BYTES}",
                found.kind
            );
            return Err(Error::mp4(self.path, fault));
        }
        self.file
            .seek(SeekFrom::Start(found.body))
            .map_err(Error::io("read", self.path))?;
        let mut body = vec![0; bytes as usize];
        self.file
            .read_exact(&mut body)
            .map_err(Error::io("read", self.path))?;
        Ok(body)
    }
}

/// Decodes the body of a box.
fn decode<T: Atom>(path: &Path, mut body: &[u8]) -> Result<T, Error> {
    T::decode_body(&mut body).map_err(|e| Error::mp4(path, format!("the {} box: {e}", T::KIND)))
}

/// The parts of a `moov` box that matter. Others are not even parsed, so that an odd tag or sound track does
/// not keep the video from being read.
struct Movie {
    header: Mvhd,
    track: Trak,
    fragment_defaults: Option<Mvex>,
}

impl Movie {
    fn parse(path: &Path, mut body: &[u8]) -> Result<Self, Error> {
        let (mut header, mut fragment_defaults, mut tracks) = (None, None, Vec::new());
        while body.len() >= 8 {
            let fault = |e: mp4_atom::Error| Error::mp4(path, format!("the index (moov box): {e}"));
            let child = Header::read_from(&mut body).map_err(fault)?;
            let size = child.size.unwrap_or(body.len());
            let (mut content, rest) = body.split_at_checked(size).ok_or_else(|| {
                let fault = format!("the index (moov box) ends inside its {} box", child.kind);
                Error::mp4(path, fault)
            })?;
            match &<[u8; 4]>::from(child.kind) {
                b"mvhd" => header = Some(Mvhd::decode_atom(&child, &mut content).map_err(fault)?),
                b"mvex" => {
                    fragment_defaults =
                        Some(Mvex::decode_atom(&child, &mut content).map_err(fault)?)
                }
                b"trak" => tracks.push(Trak::decode_atom(&child, &mut content)),
                _ => {}
            }
            body = rest;
        }
        let count = tracks.len();
        let mut broken = None;
        let mut videos = Vec::new();
        for track in tracks {
            match track {
                Ok(track) if track.mdia.hdlr.handler == FourCC::new(b"vide") => videos.push(track),
                Ok(_) => {}
                Err(error) => broken = Some(error),
            }
        }
        let Some(track) = videos.into_iter().next() else {
            return Err(match broken {
                Some(error) => Error::mp4(path, format!("a track (trak box): {error}")),
                None => Error::NoVideoTrack {
                    path: path.to_owned(),
                    tracks: count,
                },
            });
        };
        let header =
            header.ok_or_else(|| Error::mp4(path, "the index (moov box) has no header (mvhd)"))?;
        if track.mdia.mdhd.timescale == 0 {
            return Err(Error::mp4(
                path,
                "the video track has 0 units of time per second, expected 1 or more",
            ));
        }
        Ok(Self {
            header,
            track,
            fragment_defaults,
        })
    }
}

/// The samples that the sample tables list.
fn tabulated_samples(path: &Path, file_bytes: u64, track: &Trak) -> Result<Vec<Sample>, Error> {
    let tables = &track.mdia.minf.stbl;
    let count = match &tables.stsz.samples {
        StszSamples::Identical { count, .. } => *count as usize,
        StszSamples::Different { sizes } => sizes.len(),
    };
    // Every coded frame takes a byte at least, so no file has more frames than bytes.
    if count > MAX_SAMPLES || count as u64 > file_bytes {
        let fault = format!(
            "the sample sizes (stsz box) list {count} frames in a file of {file_bytes} bytes"
        );
        return Err(Error::mp4(path, fault));
    }
    let size_of = |i: usize| match &tables.stsz.samples {
        StszSamples::Identical { size, .. } => *size,
        StszSamples::Different { sizes } => sizes[i],
    };
    let mut durations = tables
        .stts
        .entries
        .iter()
        .flat_map(|e| std::iter::repeat_n(e.sample_delta, e.sample_count as usize));
    let offsets = tables.ctts.iter().flat_map(|table| &table.entries);
    let mut offsets =
        offsets.flat_map(|e| std::iter::repeat_n(e.sample_offset, e.sample_count as usize));
    let mut places = ChunkWalk::new(tables);
    let mut samples = Vec::with_capacity(count);
    let (mut decoded_at, mut last_duration) = (0_i64, 0);
    for index in 0..count {
        let bytes = size_of(index);
        let offset = places.next(bytes).ok_or_else(|| {
            Error::mp4(
                path,
                format!("the chunk tables (stsc, stco) end before frame {index} of {count}"),
            )
        })?;
        let duration = durations.next().unwrap_or(last_duration); // some muxers leave out the last one
        let shown_at = decoded_at.saturating_add(offsets.next().unwrap_or(0));
        samples.push(Sample {
            offset,
            bytes,
            shown_at,
            duration,
            sync: false,
        });
        decoded_at = decoded_at.saturating_add(duration.into());
        last_duration = duration;
    }
    if let Some(table) = &tables.stss {
        for &number in &table.entries {
            if let Some(sample) = (number as usize)
                .checked_sub(1)
                .and_then(|i| samples.get_mut(i))
            {
                sample.sync = true;
            }
        }
    }
    Ok(samples)
}

/// Byte offsets of consecutive samples, from the `stsc` and `stco` or `co64` tables.
struct ChunkWalk<'a> {
    tables: &'a mp4_atom::Stbl,
    run: usize,   // in stsc
    chunk: usize, // from 0
    left: u32,    // samples in this chunk
    offset: u64,
}

impl<'a> ChunkWalk<'a> {
    fn new(tables: &'a mp4_atom::Stbl) -> Self {
        Self {
            tables,
            run: 0,
            chunk: 0,
            left: 0,
            offset: 0,
        }
    }

    fn next(&mut self, bytes: u32) -> Option<u64> {
        while self.left == 0 {
            let runs = &self.tables.stsc.entries;
            if runs
                .get(self.run + 1)
                .is_some_and(|next| next.first_chunk as usize <= self.chunk + 1)
            {
                self.run += 1;
                continue;
            }
            self.offset = match (&self.tables.co64, &self.tables.stco) {
                (Some(table), _) => *table.entries.get(self.chunk)?,
                (None, Some(table)) => (*table.entries.get(self.chunk)?).into(),
                (None, None) => return None,
            };
            self.left = runs.get(self.run)?.samples_per_chunk;
            self.chunk += 1;
        }
        self.left -= 1;
        let offset = self.offset;
        self.offset = offset.checked_add(bytes.into())?;
        Some(offset)
    }
}

/// Appends the samples of movie fragments (ISO/IEC 14496-12, 8.8), each given with its position.
fn append_fragments(
    path: &Path,
    movie: &Movie,
    fragments: &[(u64, Moof)],
    samples: &mut Vec<Sample>,
) -> Result<(), Error> {
    const NOT_SYNC: u32 = 1 << 16; // sample_is_non_sync_sample
    let track_id = movie.track.tkhd.track_id;
    let defaults = movie.fragment_defaults.iter().flat_map(|mvex| &mvex.trex);
    let defaults = defaults
        .into_iter()
        .find(|trex| trex.track_id == track_id)
        .cloned()
        .unwrap_or_default();
    let mut decoded_at = 0_i64;
    for (moof_start, moof) in fragments {
        for traf in moof
            .traf
            .iter()
            .filter(|traf| traf.tfhd.track_id == track_id)
        {
            let header = &traf.tfhd;
            if let Some(time) = &traf.tfdt {
                decoded_at = i64::try_from(time.base_media_decode_time).unwrap_or(i64::MAX);
            }
            let base = header.base_data_offset.unwrap_or(*moof_start);
            let mut offset = base;
            for run in &traf.trun {
                if let Some(data_offset) = run.data_offset {
                    offset = base.saturating_add_signed(data_offset.into());
                }
                if samples.len().saturating_add(run.samples.len()) > MAX_SAMPLES {
                    let fault = format!("the fragments list more than {MAX_SAMPLES} frames");
                    return Err(Error::mp4(path, fault));
                }
                for entry in run.samples.iter() {
                    let or = |own: Option<u32>, of_fragment: Option<u32>, of_track| {
                        own.or(of_fragment).unwrap_or(of_track)
                    };
                    let bytes = or(
                        entry.size,
                        header.default_sample_size,
                        defaults.default_sample_size,
                    );
                    let duration = or(
                        entry.duration,
                        header.default_sample_duration,
                        defaults.default_sample_duration,
                    );
                    let flags = or(
                        entry.flags,
                        header.default_sample_flags,
                        defaults.default_sample_flags,
                    );
                    let shown_at = decoded_at.saturating_add(entry.cts.unwrap_or(0));
                    samples.push(Sample {
                        offset,
                        bytes,
                        shown_at,
                        duration,
                        sync: flags & NOT_SYNC == 0,
                    });
                    offset = offset.saturating_add(bytes.into());
                    decoded_at = decoded_at.saturating_add(duration.into());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cropped_and_nothing_else() {
        let size = |width, height| Size { width, height };
        assert_eq!(crop(size(63, 47), size(64, 48)), size(63, 47));
        assert_eq!(crop(size(1920, 1080), size(1920, 1088)), size(1920, 1080));
        assert_eq!(
            crop(size(0, 0), size(64, 48)),
            size(64, 48),
            "nothing declared"
        );
        assert_eq!(
            crop(size(640, 480), size(64, 48)),
            size(64, 48),
            "a wrong declaration"
        );
        assert_eq!(crop(size(1, 1), size(16, 16)), size(1, 1));
    }

    #[test]
    fn samples_are_placed_chunk_by_chunk() {
        let run = |first_chunk, samples_per_chunk| mp4_atom::StscEntry {
            first_chunk,
            samples_per_chunk,
            sample_description_index: 1,
        };
        let tables = mp4_atom::Stbl {
            stsc: mp4_atom::Stsc {
                entries: vec![run(1, 2), run(3, 1)],
            },
            stco: Some(mp4_atom::Stco {
                entries: vec![100, 200, 300, 400],
            }),
            ..Default::default()
        };
        let mut walk = ChunkWalk::new(&tables);
        let offsets: Vec<u64> = std::iter::from_fn(|| walk.next(10)).collect();
        assert_eq!(offsets, [100, 110, 200, 210, 300, 400]);
    }
}
