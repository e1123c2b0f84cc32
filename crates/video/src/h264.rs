//! What the container layer needs to know of an H.264 stream (ITU-T H.264, clauses 7.3 and Annex B and E).

use crate::clip::Size;
use crate::yuv::Matrix;

/// NAL unit types that matter here.
pub(crate) mod nal_type {
    pub(crate) const SPS: u8 = 7;
    pub(crate) const PPS: u8 = 8;
}

/// The type of a NAL unit.
pub(crate) fn nal_unit_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// Appends a NAL unit with its Annex B start code.
pub(crate) fn push_annex_b(nal: &[u8], stream: &mut Vec<u8>) {
    stream.extend_from_slice(&[0, 0, 0, 1]);
    stream.extend_from_slice(nal);
}

/// Splits a sample of an MP4 file into NAL units, each preceded by its length in `length_size` bytes.
/// `None` if a length points beyond the sample.
pub(crate) fn split_sample(mut sample: &[u8], length_size: u8) -> Option<Vec<&[u8]>> {
    let mut nals = Vec::new();
    while !sample.is_empty() {
        let (length, rest) = sample.split_at_checked(length_size.into())?;
        let length = length
            .iter()
            .fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        nals.push(nal);
        sample = rest;
    }
    Some(nals)
}

/// A sequence parameter set, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sps {
    /// Size of the pictures, cropped.
    pub(crate) size: Size,
    /// Size of the pictures as they are coded: what the decoder allocates.
    pub(crate) coded: Size,
    /// 0 is grey, 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    pub(crate) chroma_format: u32,
    /// Bits of luma and chroma, whichever is more.
    pub(crate) bit_depth: u32,
    /// Whether pictures may be interlaced.
    pub(crate) interlaced: bool,
    /// Whether luma spans 0–255.
    pub(crate) full_range: bool,
    /// The colour matrix, where the stream says so.
    pub(crate) matrix: Option<Matrix>,
}

impl Sps {
    /// Reads a NAL unit of type 7. `None` if it ends early or holds impossible values.
    pub(crate) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = without_emulation_prevention(nal.get(1..)?);
        let mut bits = Bits {
            bytes: &payload,
            position: 0,
        };
        let profile = bits.read(8)?;
        bits.read(16)?; // constraint flags, level
        bits.unsigned()?; // id
        let (mut chroma_format, mut bit_depth, mut separate_planes) = (1, 8, false);
        if matches!(
            profile,
            100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
        ) {
            chroma_format = bits.unsigned()?;
            separate_planes = chroma_format == 3 && bits.flag()?;
            bit_depth = 8 + bits.unsigned()?.max(bits.unsigned()?).min(6);
            bits.flag()?; // lossless bypass
            if bits.flag()? {
                for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if bits.flag()? {
                        bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.unsigned()?; // log2_max_frame_num
        match bits.unsigned()? {
            0 => {
                bits.unsigned()?;
            }
            1 => {
                bits.flag()?;
                bits.unsigned()?; // signed ones have the same length
                bits.unsigned()?;
                for _ in 0..bits.unsigned().filter(|&count| count < 256)? {
                    bits.unsigned()?;
                }
            }
            _ => {}
        }
        bits.unsigned()?; // reference frames
        bits.flag()?; // gaps in frame_num
        let width_in_mbs = bits.unsigned()?.checked_add(1)?;
        let height_in_map_units = bits.unsigned()?.checked_add(1)?;
        let interlaced = !bits.flag()?;
        if interlaced {
            bits.flag()?; // macroblock-adaptive
        }
        bits.flag()?; // direct 8x8 inference
        let fields = if interlaced { 2 } else { 1 };
        let coded = Size {
            width: width_in_mbs.checked_mul(16)?,
            height: height_in_map_units.checked_mul(16)?.checked_mul(fields)?,
        };
        let mut size = coded;
        if bits.flag()? {
            let (unit_x, unit_y) = match chroma_format {
                1 if !separate_planes => (2, 2 * fields),
                2 => (2, fields),
                _ => (1, fields),
            };
            let mut crop = |unit: u32| {
                bits.unsigned()?
                    .checked_add(bits.unsigned()?)?
                    .checked_mul(unit)
            };
            size.width = size.width.checked_sub(crop(unit_x)?)?;
            size.height = size.height.checked_sub(crop(unit_y)?)?;
        }
        if size.pixels() == 0 {
            return None;
        }
        let (full_range, matrix) = bits.colour().unwrap_or((false, None)); // broken usability data is harmless
        Some(Self {
            size,
            coded,
            chroma_format,
            bit_depth,
            interlaced,
            full_range,
            matrix,
        })
    }

    /// Which feature of the stream the built-in decoder lacks.
    pub(crate) fn unsupported(&self) -> Option<&'static str> {
        match self {
            Self {
                chroma_format: 0, ..
            } => Some("grey"),
            Self {
                chroma_format: 2, ..
            } => Some("4:2:2"),
            Self {
                chroma_format: 3.., ..
            } => Some("4:4:4"),
            Self { bit_depth: 9.., .. } => Some("10-bit"),
            Self {
                interlaced: true, ..
            } => Some("interlaced"),
            _ => None,
        }
    }
}

/// Removes the bytes that keep start codes from appearing inside a NAL unit.
fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(nal.len());
    for (i, &byte) in nal.iter().enumerate() {
        if !(byte == 3 && i >= 2 && nal[i - 2..i] == [0, 0]) {
            payload.push(byte);
        }
    }
    payload
}

struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        self.read(1).map(|bit| bit == 1)
    }

    /// An Exp-Golomb code of up to 31 bits.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros > 31 {
            return None;
        }
        self.read(zeros)?.checked_add((1_u32 << zeros) - 1)
    }

    fn signed(&mut self) -> Option<i64> {
        let code = i64::from(self.unsigned()?);
        Some(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -code / 2
        })
    }

    fn skip_scaling_list(&mut self, entries: usize) -> Option<()> {
        let (mut last, mut next) = (8, 8);
        for _ in 0..entries {
            if next != 0 {
                next = (last + self.signed()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }

    /// Full range and matrix from the video usability information.
    fn colour(&mut self) -> Option<(bool, Option<Matrix>)> {
        if !self.flag()? {
            return None;
        }
        if self.flag()? && self.read(8)? == 255 {
            self.read(32)?; // aspect ratio of pixels
        }
        if self.flag()? {
            self.flag()?; // overscan
        }
        if !self.flag()? {
            return None;
        }
        self.read(3)?; // video format
        let full_range = self.flag()?;
        let mut matrix = None;
        if self.flag()? {
            self.read(16)?; // primaries, transfer
            matrix = Matrix::from_code(self.read(8)? as u16);
        }
        Some((full_range, matrix))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The SPS that x264 wrote for a clip of 864×480 pixels, High profile.
    const X264: &[u8] = &[
        0x67, 0x64, 0x00, 0x16, 0xac, 0xd9, 0x40, 0xd8, 0x3d, 0xa1, 0x00, 0x00, 0x03, 0x00, 0x01,
        0x00, 0x00, 0x03, 0x00, 0x10, 0x0f, 0x16, 0x2d, 0x96,
    ];

    #[test]
    fn a_published_encoder_is_understood() {
        let sps = Sps::parse(X264).unwrap();
        assert_eq!(
            sps.size,
            Size {
                width: 864,
                height: 480
            }
        );
        assert_eq!(
            (sps.chroma_format, sps.bit_depth, sps.interlaced),
            (1, 8, false)
        );
        assert_eq!((sps.full_range, sps.matrix), (false, None));
        assert_eq!(sps.unsupported(), None);
    }

    #[test]
    fn samples_are_split_at_their_lengths() {
        let sample = [0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x06];
        assert_eq!(split_sample(&sample, 4).unwrap(), [&[0x65, 1][..], &[0x06]]);
        assert_eq!(split_sample(&sample[..8], 4), None, "a length is cut");
        assert_eq!(
            split_sample(&[0, 9, 1], 2),
            None,
            "a length points beyond the sample"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), length_size in 1_u8..5) {
            let _ = Sps::parse(&bytes);
            let mut high = vec![0x67, 100, 0, 30];
            high.extend(&bytes);
            let _ = Sps::parse(&high);
            let _ = split_sample(&bytes, length_size);
        }
    }
}
