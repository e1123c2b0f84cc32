//! What the streams of a PDF unpack to, counted without keeping it.

use std::io::Read;
use std::time::Instant;

use hayro_syntax::Filter;
use hayro_syntax::object::{Dict, FromBytes, Name, Object, Stream};

use super::Fault;

/// Most bytes of one stream of the file. The largest images of papers stay below.
const MAX_STREAM: u64 = 256 << 20;

/// Most bytes of all streams of the file that are no images.
const MAX_STREAMS: u64 = 512 << 20;

/// Most bytes of one stream that is read: pages, forms, fonts.
const MAX_READ_STREAM: u64 = 64 << 20;

/// Most bytes of all streams that are read, as often as they are.
const MAX_READ: u64 = 512 << 20;

/// Longest row of a predictor. Whole rows are allocated.
const MAX_COLUMNS: i64 = 1 << 20;

/// Checks every stream that stands in the file, before anything follows references to them.
pub(super) fn check_streams(bytes: &[u8], deadline: Instant) -> Result<(), Fault> {
    let mut total = 0;
    let mut at = 0;
    while let Some(found) = find(&bytes[at..], b"obj") {
        let start = at + found + b"obj".len();
        at = start;
        if bytes[..start].ends_with(b"endobj") {
            continue;
        }
        if Instant::now() > deadline {
            return Err(Fault::TooLong);
        }
        let object = skip_spaces_and_comments(&bytes[start..]);
        if !object.starts_with(b"<<") {
            continue;
        }
        let Some(stream) = Stream::from_bytes(object) else {
            continue;
        };
        let dict = stream.dict();
        let is_image = dict
            .get::<Name<'_>>("Subtype")
            .is_some_and(|name| name.as_ref() == b"Image");
        let size = unpacked(&stream, MAX_STREAM, deadline)?;
        if !is_image {
            total += size;
        }
        if total > MAX_STREAMS {
            return Err(too_large(total));
        }
    }
    Ok(())
}

/// What may still be unpacked, and how long.
pub(super) struct Budget {
    left: u64,
    pub(super) deadline: Instant,
}

impl Budget {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            left: MAX_READ,
            deadline,
        }
    }

    /// Checks a stream that is about to be unpacked.
    pub(super) fn spend(&mut self, stream: &Stream<'_>) -> Result<(), Fault> {
        let size = unpacked(stream, MAX_READ_STREAM, self.deadline)?;
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| too_large(MAX_READ))?;
        self.check_time()
    }

    pub(super) fn check_time(&self) -> Result<(), Fault> {
        if Instant::now() > self.deadline {
            Err(Fault::TooLong)
        } else {
            Ok(())
        }
    }
}

fn too_large(bytes: u64) -> Fault {
    Fault::TooLarge(format!(
        "streams that unpack to more than {} MiB",
        bytes >> 20
    ))
}

/// How many bytes a stream unpacks to; images that have an encoding of their own count as nothing, for they are never
/// decoded.
fn unpacked(stream: &Stream<'_>, most: u64, deadline: Instant) -> Result<u64, Fault> {
    check_columns(stream.dict())?;
    let mut data = stream.raw_data().into_owned();
    let mut filters: Vec<Filter> = stream.filters().to_vec();
    let filter = stream.dict().contains_key("Filter") || stream.dict().contains_key("F");
    if filters.is_empty() && filter {
        filters.push(Filter::FlateDecode); // named elsewhere in the file
    }
    let mut size = data.len() as u64;
    for (index, filter) in filters.iter().enumerate() {
        let is_last = index + 1 == filters.len();
        size = match filter {
            Filter::AsciiHexDecode | Filter::Ascii85Decode => {
                data = match filter {
                    Filter::AsciiHexDecode => hex(&data),
                    _ => ascii85(&data),
                };
                data.len() as u64
            }
            Filter::Crypt => continue,
            Filter::FlateDecode => flate(&data, most, deadline)?,
            Filter::LzwDecode => lzw(&data, most),
            Filter::RunLengthDecode => run_length(&data),
            _ => return Ok(0),
        };
        if size > most {
            return Err(too_large(most));
        }
        let is_packed = !matches!(filter, Filter::AsciiHexDecode | Filter::Ascii85Decode);
        let next_is_image = filters.get(index + 1).is_some_and(is_image_filter);
        if is_packed && !is_last && !next_is_image {
            return Err(Fault::TooLarge("a stream that is packed twice".into()));
        }
    }
    Ok(size)
}

fn is_image_filter(filter: &Filter) -> bool {
    matches!(
        filter,
        Filter::DctDecode | Filter::JpxDecode | Filter::Jbig2Decode | Filter::CcittFaxDecode
    )
}

fn check_columns(dict: &Dict<'_>) -> Result<(), Fault> {
    let mut parameters: Vec<Dict<'_>> = Vec::new();
    for key in ["DecodeParms", "DP"] {
        match dict.get::<Object<'_>>(key) {
            Some(Object::Dict(dict)) => parameters.push(dict),
            Some(Object::Array(array)) => parameters.extend(array.iter::<Dict<'_>>().take(8)),
            _ => {}
        }
    }
    let columns = parameters
        .iter()
        .filter_map(|dict| dict.get::<i32>("Columns"));
    if columns
        .into_iter()
        .any(|columns| i64::from(columns) > MAX_COLUMNS || columns < 0)
    {
        return Err(Fault::TooLarge(
            "a stream with rows of no sensible length".into(),
        ));
    }
    Ok(())
}

/// The larger one of what the data is as a zlib stream and as a bare one, since readers try both.
fn flate(data: &[u8], most: u64, deadline: Instant) -> Result<u64, Fault> {
    let zlib = count(flate2::read::ZlibDecoder::new(data), most, deadline)?;
    if zlib > 0 {
        // A damaged sum at the end is no reason to begin again, for the data is the same.
        return Ok(zlib);
    }
    count(flate2::read::DeflateDecoder::new(data), most, deadline)
}

/// How much comes out of a reader, up to a little more than `most`, or up to its first error.
fn count(mut reader: impl Read, most: u64, deadline: Instant) -> Result<u64, Fault> {
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    while size <= most {
        match reader.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => size += read as u64,
        }
        if Instant::now() > deadline {
            return Err(Fault::TooLong);
        }
    }
    Ok(size)
}

/// How much comes out of LZW: every code of 9 to 12 bits stands for one byte more than an earlier one.
fn lzw(data: &[u8], most: u64) -> u64 {
    const CLEAR: usize = 256;
    const END: usize = 257;
    let mut lengths: Vec<u64> = vec![1; 258];
    let mut last: Option<u64> = None;
    let (mut bits, mut held, mut size) = (0_u32, 0_u32, 0_u64);
    for byte in data {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        let width = match lengths.len() + 1 {
            ..512 => 9,
            512..1024 => 10,
            1024..2048 => 11,
            _ => 12,
        };
        if held < width {
            continue;
        }
        held -= width;
        let code = (bits >> held) as usize & ((1 << width) - 1);
        match code {
            CLEAR => {
                lengths.truncate(258);
                last = None;
            }
            END => break,
            code => {
                let length = lengths
                    .get(code)
                    .copied()
                    .or(last.map(|last| last + 1))
                    .unwrap_or(1);
                size += length;
                if let Some(last) = last.filter(|_| lengths.len() < 4096) {
                    lengths.push(last + 1);
                }
                last = Some(length);
            }
        }
        if size > most {
            break;
        }
    }
    size
}

fn run_length(data: &[u8]) -> u64 {
    let (mut at, mut size) = (0, 0);
    while let Some(&length) = data.get(at) {
        match length {
            128 => break,
            0..128 => {
                size += u64::from(length) + 1;
                at += usize::from(length) + 2;
            }
            _ => {
                size += 257 - u64::from(length);
                at += 2;
            }
        }
    }
    size
}

fn hex(data: &[u8]) -> Vec<u8> {
    let digits = data.iter().take_while(|b| **b != b'>');
    let digits: Vec<u8> = digits
        .filter_map(|b| char::from(*b).to_digit(16).map(|d| d as u8))
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0))
        .collect()
}

fn ascii85(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() / 5 * 4 + 4);
    let mut group: Vec<u32> = Vec::with_capacity(5);
    let decode = |group: &[u32]| {
        let padded = group.iter().copied().chain(std::iter::repeat(84)).take(5);
        padded
            .fold(0_u32, |value, digit| {
                value.wrapping_mul(85).wrapping_add(digit)
            })
            .to_be_bytes()
    };
    for byte in data {
        match byte {
            b'~' => break,
            b'z' if group.is_empty() => bytes.extend([0; 4]),
            b'!'..=b'u' => {
                group.push(u32::from(byte - b'!'));
                if group.len() == 5 {
                    bytes.extend(decode(&group));
                    group.clear();
                }
            }
            _ => {}
        }
    }
    if group.len() > 1 {
        bytes.extend(&decode(&group)[..group.len() - 1]);
    }
    bytes
}

/// Where a text first stands.
pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle[0];
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|b| *b == first) {
        if bytes[at + found..].starts_with(needle) {
            return Some(at + found);
        }
        at += found + 1;
    }
    None
}

fn skip_spaces_and_comments(mut bytes: &[u8]) -> &[u8] {
    loop {
        let skipped = bytes
            .iter()
            .position(|b| !b.is_ascii_whitespace() && *b != 0);
        bytes = &bytes[skipped.unwrap_or(bytes.len())..];
        if !bytes.starts_with(b"%") {
            return bytes;
        }
        let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r'));
        bytes = &bytes[end.unwrap_or(bytes.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_undone_and_counted() {
        assert_eq!(hex(b"61 62 6>zz"), b"ab`");
        assert_eq!(ascii85(b"87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(run_length(&[4, 10, 11, 12, 13, 14, 253, 3, 128, 9]), 9);
        // The example of the specification: 45 45 45 45 45 65 45 45 45 66.
        let packed = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
        assert_eq!(lzw(&packed, u64::MAX), 10);
    }
}
