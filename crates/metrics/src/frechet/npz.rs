//! Feature statistics as files: the `.npz` archives of pytorch-fid, with a mean `mu` of `[dimension]` and a
//! covariance `sigma` of `[dimension, dimension]`.
//!
//! Written are stored entries with `<f8` values, and the number of samples, if it is known, as `count`. Read is what
//! `numpy.savez` and `numpy.savez_compressed` write, see the array format in `npy`; the number of samples may also
//! be called `num_images`, and other arrays are passed over.

use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use kinvert_base::write_file;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::npy::{self, Header, Values};
use super::{FeatureStatistics, MAX_DIMENSION};
use crate::Error;

/// Names under which a file may tell the number of samples; the first is written.
const COUNT_NAMES: [&str; 2] = ["count", "num_images"];

/// The largest file that is read: the largest covariance, as it is, and a mebibyte for all else.
const MAX_FILE_BYTES: u64 = 8 * (MAX_DIMENSION * MAX_DIMENSION) as u64 + (1 << 20);

/// From this size on an array may not be [`MAX_RATIO`] times larger than its compressed form: so large and so
/// empty are no statistics.
const LARGE_BYTES: u64 = 64 << 20;
const MAX_RATIO: u64 = 100;

impl FeatureStatistics {
    /// Reads statistics from an `.npz` file, as pytorch-fid, NumPy or [`save`](Self::save) write them.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or holds what [`new`](Self::new) refuses; the error names the
    /// array. No memory is taken for arrays before their declared size has been checked.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::reading(path))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::reading(path))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Error::file(
                path,
                format!("it has more than the {MAX_FILE_BYTES} bytes of the largest covariance"),
            ));
        }
        parse(&bytes).map_err(|reason| Error::file(path, reason))
    }

    /// Writes statistics to an `.npz` file that pytorch-fid and NumPy read.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let dimension = self.dimension();
        let mut arrays = vec![
            ("mu", npy::floats(&[dimension], self.mean())),
            (
                "sigma",
                npy::floats(&[dimension, dimension], &self.covariance()),
            ),
        ];
        arrays.extend(
            self.count()
                .map(|count| (COUNT_NAMES[0], npy::whole_number(count))),
        );
        let bytes = archive_of(&arrays).map_err(|e| Error::writing(path)(e.into()))?;
        write_file(path, &bytes).map_err(Error::writing(path))
    }
}

fn archive_of(arrays: &[(&str, Vec<u8>)]) -> Result<Vec<u8>, ZipError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default()); // equal statistics make equal files
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        writer.start_file(format!("{name}.npy"), options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

fn parse(bytes: &[u8]) -> Result<FeatureStatistics, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|error| format!("no NumPy archive (.npz): {error}"))?;

    let mean = floats(&mut archive, "mu", |shape| match shape {
        [dimension] if (1..=MAX_DIMENSION).contains(dimension) => Ok(()),
        _ => Err(format!("[dimension] with 1 to {MAX_DIMENSION}")),
    })?;
    let dimension = mean.len();
    let covariance = floats(&mut archive, "sigma", |shape| {
        match shape == [dimension, dimension] {
            true => Ok(()),
            false => Err(format!("[{dimension}, {dimension}] as `mu` has it")),
        }
    })?;
    let count = count(&mut archive)?;
    FeatureStatistics::new(count, mean, covariance).map_err(|error| match error {
        Error::Argument {
            name,
            found,
            expected,
        } => {
            let array = match name {
                "mean" | "dimension" => "mu",
                "covariance" => "sigma",
                _ => COUNT_NAMES[0],
            };
            format!("`{array}` is {found}, expected {expected}")
        }
        other => other.to_string(),
    })
}

fn floats(
    archive: &mut Archive<'_>,
    name: &str,
    check_shape: impl Fn(&[usize]) -> Result<(), String>,
) -> Result<Vec<f64>, String> {
    match array(archive, name, check_shape)? {
        Some(Values::Floats(values)) => Ok(values),
        Some(Values::Integers(_)) => Err(format!(
            "`{name}` has whole numbers, expected `<f8` or `<f4`"
        )),
        None => Err(format!(
            "it has no array `{name}`, expected `mu` and `sigma`"
        )),
    }
}

fn count(archive: &mut Archive<'_>) -> Result<Option<u64>, String> {
    for name in COUNT_NAMES {
        let single = |shape: &[usize]| match shape {
            [] | [1] => Ok(()),
            _ => Err("a single number".to_owned()),
        };
        let Some(values) = array(archive, name, single)? else {
            continue;
        };
        let count = match values {
            Values::Integers(values) => values.first().and_then(|&n| u64::try_from(n).ok()),
            Values::Floats(_) => None,
        };
        return match count {
            Some(count) => Ok(Some(count)),
            None => Err(format!("`{name}` is no whole number of samples")),
        };
    }
    Ok(None)
}

/// The values of an array, or `None` if there is no such array. `check_shape` says what was expected.
fn array(
    archive: &mut Archive<'_>,
    name: &str,
    check_shape: impl Fn(&[usize]) -> Result<(), String>,
) -> Result<Option<Values>, String> {
    let mut entry = match archive.by_name(&format!("{name}.npy")) {
        Ok(entry) => entry,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(format!("`{name}` is damaged: {error}")),
    };
    let method = entry.compression();
    if !matches!(
        method,
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return Err(format!(
            "`{name}` is packed with {method}, expected stored or deflated"
        ));
    }
    let (size, packed) = (entry.size(), entry.compressed_size());
    let told = |reason: String| format!("`{name}` {reason}");
    let header = Header::read(&mut entry).map_err(told)?;
    check_shape(header.shape()).map_err(|expected| {
        format!(
            "`{name}` has the shape {:?}, expected {expected}",
            header.shape()
        )
    })?;
    if header.file_bytes() != Some(size) {
        return Err(format!(
            "`{name}` has {size} bytes, which its shape {:?} does not give",
            header.shape()
        ));
    }
    if size > LARGE_BYTES && size / MAX_RATIO > packed {
        return Err(format!(
            "`{name}` grows from {packed} to {size} bytes, expected at most {MAX_RATIO} times"
        ));
    }
    header.read_values(&mut entry).map(Some).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("mu", npy::floats(&[2], &[1.0, 2.0])),
            ("sigma", npy::floats(&[2, 2], &[2.0, 0.5, 0.5, 1.0])),
            ("num_images", npy::whole_number(10)),
            ("remark", b"no array at all".to_vec()),
        ]
    }

    /// The sound archive with one array exchanged, or left out.
    fn with(name: &'static str, bytes: Option<Vec<u8>>) -> Result<FeatureStatistics, String> {
        let mut arrays = sound();
        arrays.retain(|(other, _)| *other != name);
        arrays.extend(bytes.map(|bytes| (name, bytes)));
        parse(&archive_of(&arrays).unwrap())
    }

    #[test]
    fn arrays_are_found_by_name() {
        let statistics = parse(&archive_of(&sound()).unwrap()).unwrap();
        assert_eq!(statistics.count(), Some(10));
        assert_eq!(statistics.mean(), [1.0, 2.0]);
        assert_eq!(statistics.covariance(), [2.0, 0.5, 0.5, 1.0]);
        assert_eq!(with("num_images", None).unwrap().count(), None);
        let counted = with("count", Some(npy::whole_number(11))).unwrap();
        assert_eq!(counted.count(), Some(11));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let sigma = |values: [f64; 4]| Some(npy::floats(&[2, 2], &values));
        for (name, bytes, words) in [
            ("mu", None, "no array `mu`"),
            ("sigma", None, "no array `sigma`"),
            ("mu", Some(b"nonsense".to_vec()), "`mu` does not begin"),
            ("mu", Some(npy::floats(&[0], &[])), "`mu` has the shape [0]"),
            ("mu", Some(npy::whole_number(2)), "`mu` has the shape []"),
            (
                "mu",
                Some(npy::floats(&[MAX_DIMENSION + 1], &[])),
                "`mu` has the shape [16385]",
            ),
            (
                "mu",
                Some(npy::floats(&[2], &[1.0])),
                "`mu` has 136 bytes, which its shape [2] does not give",
            ),
            (
                "mu",
                Some(npy::floats(&[2], &[1.0, f64::NAN])),
                "`mu` is NaN at [1]",
            ),
            (
                "sigma",
                Some(npy::floats(&[3, 3], &[0.0; 9])),
                "`sigma` has the shape [3, 3], expected [2, 2]",
            ),
            (
                "sigma",
                sigma([1.0, f64::INFINITY, 0.0, 1.0]),
                "`sigma` is inf at [0, 1]",
            ),
            (
                "sigma",
                sigma([1.0, 0.1, 0.2, 1.0]),
                "`sigma` is 0.2 at [1, 0] but 0.1 at [0, 1], expected a symmetric matrix",
            ),
            (
                "sigma",
                sigma([1.0, 0.0, 0.0, -1.0]),
                "`sigma` is -1 at [1, 1]",
            ),
            (
                "count",
                Some(npy::whole_number(1)),
                "`count` is 1, expected at least 2",
            ),
            (
                "count",
                Some(npy::floats(&[], &[2.5])),
                "`count` is no whole number",
            ),
            (
                "count",
                Some(npy::floats(&[2], &[2.0, 2.0])),
                "`count` has the shape [2], expected a single number",
            ),
        ] {
            let error = with(name, bytes).unwrap_err();
            assert!(error.contains(words), "expected {words}, found {error}");
        }
    }

    #[test]
    fn an_archive_that_grows_without_bounds_is_refused() {
        let dimension = 3000_usize;
        let mut arrays = sound();
        arrays[0].1 = npy::floats(&[dimension], &vec![0.0; dimension]);
        arrays[1].1 = npy::floats(&[dimension; 2], &vec![0.0; dimension * dimension]);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for (name, bytes) in arrays {
            writer.start_file(format!("{name}.npy"), options).unwrap();
            writer.write_all(&bytes).unwrap();
        }
        let archive = writer.finish().unwrap().into_inner();
        let error = parse(&archive).unwrap_err();
        assert!(error.contains("`sigma` grows from"), "{error}");
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic_or_another_value() {
        for name in ["stored.npz", "compressed_f32.npz"] {
            let path = kinvert_testkit::fixtures_dir().join("parity/frechet_npz");
            let whole = std::fs::read(path.join(name)).unwrap();
            let sound = parse(&whole).unwrap();
            for length in 0..whole.len() {
                assert!(parse(&whole[..length]).is_err(), "{name}: {length} bytes");
            }
            let mut refused = 0;
            for bit in 0..8 * whole.len() {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                match parse(&flipped) {
                    // Dates and attributes say nothing, and without its name a count is passed over.
                    Ok(read) => assert_eq!(
                        (read.mean(), read.covariance()),
                        (sound.mean(), sound.covariance()),
                        "{name}: bit {bit}"
                    ),
                    Err(_) => refused += 1,
                }
            }
            assert!(refused > 4 * whole.len(), "{name}: {refused}");
        }
    }
}
