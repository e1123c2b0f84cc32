//! Text files within bounds.

use std::{fs::File, io::Read, path::Path};

use crate::error::Error;

/// Far more than any plan or study needs.
const MAX_BYTES: u64 = 16 << 20;

/// The bytes of a file.
pub(crate) fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(Error::io(path, "reading"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::TooLarge {
            name: path.display().to_string(),
            what,
            most: MAX_BYTES,
        });
    }
    Ok(bytes)
}

/// Bytes as text, without a byte order mark.
pub(crate) fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        Error::NotText {
            name: name.into(),
            offset,
            line: bytes[..offset].iter().filter(|b| **b == b'\n').count() + 1,
        }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
