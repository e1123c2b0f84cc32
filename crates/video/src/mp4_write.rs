//! H.264 in MP4, written for small clips: quality before size, and the index before the frames so that a
//! browser can play while it loads.

use std::path::Path;

use mp4_atom::{
    Avc1, Avcc, Codec, Colr, Dinf, Dref, DrefEntry, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Mdhd,
    Mdia, Minf, Moov, Mvhd, Stbl, Stco, Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples, Stts,
    SttsEntry, Tkhd, Trak, Url, Visual, Vmhd,
};
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    QpRange, RateControlMode, VuiConfig,
};
use rayon::prelude::*;

use crate::clip::Size;
use crate::h264::{nal_type, nal_unit_type};
use crate::yuv::Picture;
use crate::{Clip, Error};

/// Quantisation step, from 0 (finest) to 51. At 12, the finest that OpenH264 takes, the loss on small sprite
/// clips is that of 4:2:0 chroma alone.
const QP: u8 = 12;

/// Frames between those that decoding can start at.
const SYNC_EVERY: u32 = 48;

/// Writes a clip as H.264 (High profile, BT.601, limited range) in MP4.
///
/// H.264 in 4:2:0 has even sizes of 16 pixels and more here: other clips are padded at the right and bottom
/// by repeating their edges, and the file declares the true size, which [`read_clip`](crate::read_clip)
/// restores; other players show the padding.
///
/// # Errors
/// If the frames are larger than 3840×2160 (or 2160×3840), or the file cannot be written.
pub fn write_mp4(clip: &Clip, path: &Path) -> Result<(), Error> {
    let size = clip.size();
    let limit = if size.width >= size.height {
        Size {
            width: 3840,
            height: 2160,
        }
    } else {
        Size {
            width: 2160,
            height: 3840,
        }
    };
    if size.width > limit.width || size.height > limit.height {
        return Err(Error::TooLargeToWrite {
            path: path.to_owned(),
            format: "H.264",
            size,
            limit,
        });
    }
    let video = encode(clip, path)?;
    let bytes = mux(clip, &video).map_err(|source| Error::Encoding {
        path: path.to_owned(),
        format: "MP4",
        frame: 0,
        source: Box::new(source),
    })?;
    kinvert_base::write_file(path, &bytes).map_err(Error::io("write", path))
}

/// A coded clip.
struct Video {
    sps: Vec<u8>,
    pps: Vec<u8>,
    /// All frames, one after the other, in the form of MP4 samples.
    data: Vec<u8>,
    sample_sizes: Vec<u32>,
    /// Numbers of the frames that decoding can start at, from 1.
    sync: Vec<u32>,
}

fn encode(clip: &Clip, path: &Path) -> Result<Video, Error> {
    let fault = |frame: usize, source: Box<dyn std::error::Error + Send + Sync>| Error::Encoding {
        path: path.to_owned(),
        format: "H.264",
        frame,
        source,
    };
    let config = EncoderConfig::new()
        .profile(Profile::High)
        .complexity(Complexity::High)
        .rate_control_mode(RateControlMode::Bufferbased)
        .qp(QpRange::new(QP, QP))
        // Quality is fixed by the quantiser; the rate only sets the level, whose limits this never meets.
        .bitrate(BitRate::from_bps(20_000_000))
        .max_frame_rate(FrameRate::from_hz(clip.fps().clamp(1.0, 60.0) as f32))
        .skip_frames(false)
        .adaptive_quantization(false)
        .background_detection(false)
        .scene_change_detect(false)
        .intra_frame_period(IntraFramePeriod::from_num_frames(SYNC_EVERY))
        .num_threads(1) // the same bits on every machine
        .vui(VuiConfig::bt601());
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
        .map_err(|source| fault(0, Box::new(source)))?;

    let mut video = Video {
        sps: Vec::new(),
        pps: Vec::new(),
        data: Vec::new(),
        sample_sizes: Vec::new(),
        sync: Vec::new(),
    };
    // Converting colours costs about as much as encoding and runs on all cores, some frames ahead.
    const AHEAD: usize = 16;
    for (batch, images) in clip.frames().chunks(AHEAD).enumerate() {
        let pictures: Vec<Picture> = images.par_iter().map(Picture::from_rgb).collect();
        for (i, picture) in pictures.iter().enumerate() {
            let frame = batch * AHEAD + i;
            let coded = encoder
                .encode(picture)
                .map_err(|source| fault(frame, Box::new(source)))?;
            let before = video.data.len();
            for layer in (0..coded.num_layers()).filter_map(|i| coded.layer(i)) {
                for nal in (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i)) {
                    video.push(without_start_code(nal));
                }
            }
            let bytes = video.data.len() - before;
            if bytes == 0 {
                return Err(fault(frame, "the encoder left the frame out".into()));
            }
            video.sample_sizes.push(bytes as u32);
            if coded.frame_type() == FrameType::IDR {
                video.sync.push(frame as u32 + 1);
            }
        }
    }
    Ok(video)
}

impl Video {
    fn push(&mut self, nal: &[u8]) {
        match nal_unit_type(nal) {
            nal_type::SPS => self.sps = nal.to_vec(),
            nal_type::PPS => self.pps = nal.to_vec(),
            _ => {
                self.data
                    .extend_from_slice(&(nal.len() as u32).to_be_bytes());
                self.data.extend_from_slice(nal);
            }
        }
    }
}

fn without_start_code(nal: &[u8]) -> &[u8] {
    nal.strip_prefix(&[0, 0, 0, 1])
        .or(nal.strip_prefix(&[0, 0, 1]))
        .unwrap_or(nal)
}

/// Units of time per second, and units per frame: exact for whole rates and the NTSC ones, within a
/// millionth otherwise.
fn time_units(fps: f64) -> (u32, u32) {
    let exact = (1..=1001_u32).find(|&unit| {
        let scale = fps * f64::from(unit);
        scale >= 1.0 && (scale - scale.round()).abs() < 1e-9 * scale
    });
    match exact {
        // Players like fine units: at least a few thousand per second.
        Some(unit) => {
            let scale = (fps * f64::from(unit)).round() as u32;
            let finer = 10_000_u32.div_ceil(scale).next_power_of_two();
            (scale * finer, unit * finer)
        }
        None if fps >= 1.0 => ((fps * 1e6).round() as u32, 1_000_000),
        None => (
            1_000_000,
            (1e6 / fps).round().min(f64::from(u32::MAX)) as u32,
        ),
    }
}

fn mux(clip: &Clip, video: &Video) -> Result<Vec<u8>, mp4_atom::Error> {
    let brand = |name| FourCC::new(name);
    let file_type = Ftyp {
        major_brand: brand(b"isom"),
        minor_version: 0x200,
        compatible_brands: vec![
            brand(b"isom"),
            brand(b"iso2"),
            brand(b"avc1"),
            brand(b"mp41"),
        ],
    };
    let mut bytes = Vec::new();
    file_type.encode(&mut bytes)?;
    // The index has the same length whatever offset it holds.
    let mut index = Vec::new();
    movie(clip, video, 0)?.encode(&mut index)?;
    let data_at = bytes.len() + index.len() + 8;
    movie(clip, video, data_at as u32)?.encode(&mut bytes)?;
    let data_bytes = u32::try_from(video.data.len() + 8)
        .map_err(|_| mp4_atom::Error::TooLarge(brand(b"mdat")))?;
    bytes.extend_from_slice(&data_bytes.to_be_bytes());
    bytes.extend_from_slice(b"mdat");
    bytes.extend_from_slice(&video.data);
    Ok(bytes)
}

fn movie(clip: &Clip, video: &Video, data_at: u32) -> Result<Moov, mp4_atom::Error> {
    let (timescale, frame_duration) = time_units(clip.fps());
    let frames = clip.len() as u32;
    let duration = u64::from(frame_duration) * u64::from(frames);
    // The sides were checked against the limits of H.264 and fit 16 bits.
    let (width, height) = (clip.width() as u16, clip.height() as u16);
    let tables = Stbl {
        stsd: Stsd {
            codecs: vec![Codec::Avc1(Avc1 {
                visual: Visual {
                    data_reference_index: 1,
                    width,
                    height,
                    ..Visual::default()
                },
                avcc: Avcc {
                    ext: Some(Default::default()),
                    ..Avcc::new(&video.sps, &video.pps)?
                },
                colr: Some(Colr::new(6, 6, 6, false)?),
                ..Avc1::default()
            })],
        },
        stts: Stts {
            entries: vec![SttsEntry {
                sample_count: frames,
                sample_delta: frame_duration,
            }],
        },
        stss: Some(Stss {
            entries: video.sync.clone(),
        }),
        stsc: Stsc {
            entries: vec![StscEntry {
                first_chunk: 1,
                samples_per_chunk: frames,
                sample_description_index: 1,
            }],
        },
        stsz: Stsz {
            samples: StszSamples::Different {
                sizes: video.sample_sizes.clone(),
            },
        },
        stco: Some(Stco {
            entries: vec![data_at],
        }),
        ..Stbl::default()
    };
    let track = Trak {
        tkhd: Tkhd {
            track_id: 1,
            duration,
            enabled: true,
            in_movie: true,
            width: FixedPoint::from(width),
            height: FixedPoint::from(height),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd {
                timescale,
                duration,
                language: "und".into(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: FourCC::new(b"vide"),
                name: "VideoHandler".into(),
            },
            minf: Minf {
                vmhd: Some(Vmhd::default()),
                dinf: Dinf {
                    dref: Dref {
                        entries: vec![DrefEntry::Url(Url::default())],
                    },
                },
                stbl: tables,
                ..Minf::default()
            },
        },
        ..Trak::default()
    };
    let header = Mvhd {
        creation_time: 0,
        modification_time: 0,
        timescale,
        duration,
        rate: FixedPoint::from(1),
        volume: FixedPoint::from(1),
        matrix: Default::default(),
        next_track_id: 2,
    };
    Ok(Moov {
        mvhd: header,
        trak: vec![track],
        ..Moov::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_rates_are_exact() {
        for (fps, numerator, denominator) in [
            (8.0, 8, 1),
            (24.0, 24, 1),
            (12.5, 25, 2),
            (30_000.0 / 1001.0, 30_000, 1001),
            (0.5, 1, 2),
        ] {
            let (scale, unit) = time_units(fps);
            assert_eq!(
                u64::from(scale) * denominator,
                u64::from(unit) * numerator,
                "{fps}: {scale}/{unit}"
            );
            assert!(scale >= 10_000, "{fps}: {scale}");
        }
    }

    #[test]
    fn other_rates_are_close() {
        for fps in [std::f64::consts::PI, 23.456_789, 999.999, 0.001_234_567] {
            let (scale, unit) = time_units(fps);
            let found = f64::from(scale) / f64::from(unit);
            assert!((found / fps - 1.0).abs() < 1e-6, "{fps}: {found}");
        }
    }
}
