//! Single NumPy arrays (`.npy`), as far as feature statistics need them.
//!
//! Source: the format's description in `numpy.lib.format`, versions 1.0 to 3.0: a magic number, the version, the
//! length of a header, the header as a Python dictionary, and the bare values. Read are little-endian floats of 4
//! and 8 bytes and integers of 4 and 8, in C or Fortran order; written are `<f8` and `<u8` in C order.
//!
//! Errors are in words that fit behind the name of the array.

use std::io::Read;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header that is read. Those of plain arrays have 128 bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// Headers are padded so that the values begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// What an array holds and how it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    kind: Kind,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Bytes before the first value.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F32,
    F64,
    I32,
    U32,
    I64,
    U64,
}

/// The values of an array in C order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

impl Header {
    /// Reads up to the first value.
    pub(super) fn read(source: &mut impl Read) -> Result<Self, String> {
        let mut preamble = [0; 8];
        fill(source, &mut preamble)?;
        if !preamble.starts_with(MAGIC) {
            return Err("does not begin as a NumPy array does".into());
        }
        let length_bytes = match preamble[6] {
            1 => 2,
            2 | 3 => 4,
            version => {
                return Err(format!(
                    "has the format version {version}, expected 1, 2 or 3"
                ));
            }
        };
        let mut length = [0; 4];
        fill(source, &mut length[..length_bytes])?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEADER_BYTES {
            return Err(format!(
                "has a header of {length} bytes, expected at most {MAX_HEADER_BYTES}"
            ));
        }
        let mut text = vec![0; length];
        fill(source, &mut text)?;
        let text = std::str::from_utf8(&text).map_err(|_| "has a header that is no text")?;
        let mut header = Self::parse(text)?;
        header.bytes = preamble.len() + length_bytes + length;
        Ok(header)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let unreadable = || format!("has the header {text:?}, expected a plain array's");
        let entries = dictionary(text).ok_or_else(unreadable)?;
        let entry = |name: &str| {
            let mut found = entries.iter().filter(|(key, _)| *key == name);
            match (found.next(), found.next()) {
                (Some((_, value)), None) => Ok(*value),
                _ => Err(unreadable()),
            }
        };
        let kind = match entry("descr")? {
            Value::Text("<f4") => Kind::F32,
            Value::Text("<f8") => Kind::F64,
            Value::Text("<i4") => Kind::I32,
            Value::Text("<u4") => Kind::U32,
            Value::Text("<i8") => Kind::I64,
            Value::Text("<u8") => Kind::U64,
            Value::Text(other) => {
                return Err(format!(
                    "has values of the type `{other}`, expected `<f8` or `<f4` (or `<i8` for a count)"
                ));
            }
            _ => return Err(unreadable()),
        };
        let (Value::Truth(fortran_order), Value::Tuple(shape)) =
            (entry("fortran_order")?, entry("shape")?)
        else {
            return Err(unreadable());
        };
        Ok(Self {
            kind,
            fortran_order,
            shape: lengths(shape).ok_or_else(unreadable)?,
            bytes: 0,
        })
    }

    /// Lengths of the axes; none for a single value.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Size of the array as it is stored, header included; `None` if no memory could hold it.
    pub(super) fn file_bytes(&self) -> Option<u64> {
        let bytes = self
            .shape
            .iter()
            .try_fold(self.kind.bytes() as u64, |product, &length| {
                product.checked_mul(length as u64)
            })?;
        bytes.checked_add(self.bytes as u64)
    }

    /// Reads the values, which must be all that is left.
    ///
    /// The caller has checked [`file_bytes`](Self::file_bytes): so much memory is taken.
    pub(super) fn read_values(&self, source: &mut impl Read) -> Result<Values, String> {
        let values = match self.kind {
            Kind::F32 => Values::Floats(self.decode(source, |b| f32::from_le_bytes(b).into())?),
            Kind::F64 => Values::Floats(self.decode(source, f64::from_le_bytes)?),
            Kind::I32 => Values::Integers(self.decode(source, |b| i32::from_le_bytes(b).into())?),
            Kind::U32 => Values::Integers(self.decode(source, |b| u32::from_le_bytes(b).into())?),
            Kind::I64 => Values::Integers(self.decode(source, |b| i64::from_le_bytes(b).into())?),
            Kind::U64 => Values::Integers(self.decode(source, |b| u64::from_le_bytes(b).into())?),
        };
        // A ZIP archive compares its checksum at the end, which therefore has to be read.
        match source.read(&mut [0]) {
            Ok(0) => Ok(values),
            Ok(_) => Err("goes on after its last value".into()),
            Err(error) => Err(format!("is damaged: {error}")),
        }
    }

    fn decode<T: Copy, const BYTES: usize>(
        &self,
        source: &mut impl Read,
        value: impl Fn([u8; BYTES]) -> T,
    ) -> Result<Vec<T>, String> {
        let count = self.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut buffer = vec![[0; BYTES]; count.min(8192)];
        while values.len() < count {
            let part = buffer.len().min(count - values.len());
            fill(source, buffer[..part].as_flattened_mut())?;
            values.extend(buffer[..part].iter().map(|&bytes| value(bytes)));
        }
        Ok(match *self.shape {
            [rows, columns] if self.fortran_order => (0..rows)
                .flat_map(|row| (0..columns).map(move |column| row + column * rows))
                .map(|at| values[at])
                .collect(),
            _ => values, // one axis lies the same in both orders
        })
    }
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

/// An array of floats, C order, format version 1.0.
pub(super) fn floats(shape: &[usize], values: &[f64]) -> Vec<u8> {
    let mut bytes = header("<f8", shape);
    bytes.reserve_exact(8 * values.len());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// A single whole number, format version 1.0.
pub(super) fn whole_number(value: u64) -> Vec<u8> {
    let mut bytes = header("<u8", &[]);
    bytes.extend(value.to_le_bytes());
    bytes
}

fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let mut text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({lengths}), }}");
    let before = MAGIC.len() + 2 + 2;
    let end = (before + text.len() + 1).next_multiple_of(ALIGNMENT);
    text.extend(std::iter::repeat_n(' ', end - before - text.len() - 1));
    text.push('\n');

    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes()); // at most two axes: far below 2^16
    bytes.extend(text.into_bytes());
    bytes
}

/// A value in the header's dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Text(&'a str),
    Truth(bool),
    /// What stands between the parentheses.
    Tuple(&'a str),
}

/// The entries of a Python dictionary of texts, truths and flat tuples; `None` if it holds anything else.
fn dictionary(text: &str) -> Option<Vec<(&str, Value<'_>)>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (key, behind) = quoted(rest)?;
        let (value, behind) = value(behind.trim_start().strip_prefix(':')?.trim_start())?;
        entries.push((key, value));
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(behind) => behind.trim_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    Some(entries)
}

/// A value and what stands behind it.
fn value(text: &str) -> Option<(Value<'_>, &str)> {
    if let Some(behind) = text.strip_prefix("True") {
        return Some((Value::Truth(true), behind));
    }
    if let Some(behind) = text.strip_prefix("False") {
        return Some((Value::Truth(false), behind));
    }
    if let Some(inner) = text.strip_prefix('(') {
        let (inner, behind) = inner.split_once(')')?;
        return Some((Value::Tuple(inner), behind));
    }
    let (inner, behind) = quoted(text)?;
    Some((Value::Text(inner), behind))
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// The numbers of a tuple. Python 2 wrote some with an `L` behind.
fn lengths(tuple: &str) -> Option<Vec<usize>> {
    let tuple = tuple.trim();
    let tuple = tuple.strip_suffix(',').unwrap_or(tuple);
    if tuple.is_empty() {
        return Some(Vec::new());
    }
    tuple
        .split(',')
        .map(|length| length.trim().trim_end_matches('L').parse().ok())
        .collect()
}

fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), String> {
    source
        .read_exact(buffer)
        .map_err(|error| format!("is cut short or damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array of a version with a header and values.
    fn array(version: u8, header: &str, values: &[u8]) -> Vec<u8> {
        let length = header.len() as u32;
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        bytes.extend(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        bytes
    }

    fn read(mut bytes: &[u8]) -> Result<(Vec<usize>, Values), String> {
        let header = Header::read(&mut bytes)?;
        let values = header.read_values(&mut bytes)?;
        Ok((header.shape, values))
    }

    #[test]
    fn what_is_written_is_read() {
        let values = [1.5, -2.0, 0.0, f64::MAX, 1e-300, 7.0];
        let bytes = floats(&[2, 3], &values);
        assert_eq!((bytes.len() - 8 * values.len()) % ALIGNMENT, 0);
        assert_eq!(
            read(&bytes).unwrap(),
            (vec![2, 3], Values::Floats(values.to_vec()))
        );
        assert_eq!(
            read(&whole_number(50_000)).unwrap(),
            (vec![], Values::Integers(vec![50_000]))
        );
    }

    #[test]
    fn all_versions_orders_and_spellings_are_read() {
        let f32s: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
        for version in 1..=3 {
            for (header, expected) in [
                (
                    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n",
                    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
                ),
                (
                    "{\"shape\":(2L,3L),\"fortran_order\":True,\"descr\":\"<f4\"}",
                    [0.0, 2.0, 4.0, 1.0, 3.0, 5.0],
                ),
            ] {
                let (shape, values) = read(&array(version, header, &f32s)).unwrap();
                assert_eq!(shape, [2, 3]);
                assert_eq!(values, Values::Floats(expected.to_vec()));
            }
        }
    }

    #[test]
    fn other_headers_are_refused_with_words() {
        for (header, words) in [
            ("", "plain array"),
            ("{}", "plain array"),
            ("{'descr': '<f8', 'fortran_order': False}", "plain array"),
            (
                "{'descr': '>f8', 'fortran_order': False, 'shape': ()}",
                "`>f8`",
            ),
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': ()}",
                "`|O`",
            ),
            (
                "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': ()}",
                "plain array",
            ),
            (
                "{'descr': '<f8', 'fortran_order': 'no', 'shape': ()}",
                "plain array",
            ),
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
                "plain array",
            ),
            (
                "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': ()}",
                "plain array",
            ),
        ] {
            let error = read(&array(1, header, &[0; 8])).unwrap_err();
            assert!(error.contains(words), "{header}: {error}");
        }
        let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 9999999999)}";
        let header = Header::read(&mut array(1, huge, &[]).as_slice()).unwrap();
        assert_eq!(header.file_bytes(), None);
    }

    #[test]
    fn arrays_that_are_damaged_or_too_long_are_refused_with_words() {
        let whole = floats(&[2], &[1.0, 2.0]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).unwrap_err().contains("cut short"));
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(read(&longer).unwrap_err().contains("goes on"));
        let mut other = whole.clone();
        other[0] = b'P';
        assert!(read(&other).unwrap_err().contains("begin"));
        let mut newer = whole.clone();
        newer[6] = 4;
        assert!(read(&newer).unwrap_err().contains("version 4"));
        let endless = [&MAGIC[..], &[2, 0, 255, 255, 255, 255]].concat();
        assert!(read(&endless).unwrap_err().contains("4294967295 bytes"));
    }
}
