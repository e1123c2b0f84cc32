//! Reading PyTorch archives (`.bin`, `.pth`, `.pt`): dictionaries from names to tensors.
//!
//! A PyTorch file is a pickle, which in Python may run any code. Here it is read by a parser that knows tensors
//! and nothing else. Before it sees a file, every size that the archive declares is held against the size of
//! the file; files from before PyTorch 1.6, which are no archives, are read too.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn_store::TensorSnapshot;
use burn_store::pytorch::PytorchReader;

use crate::error::Error;

/// Bounds on what is read. The largest published files are shards of 10 GB with a few thousand tensors.
const MAX_FILE_BYTES: u64 = 64 << 30;
const MAX_ENTRIES: usize = 100_000;

/// What an archive starts with; anything else is a file of the older kind.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// A tensor in a PyTorch file, not yet read.
pub struct PytorchTensor {
    snapshot: TensorSnapshot,
    /// Size of the file: no tensor can hold more elements.
    file_bytes: u64,
}

impl PytorchTensor {
    /// Lengths of its axes.
    pub fn shape(&self) -> Vec<usize> {
        self.snapshot.shape.to_vec()
    }

    /// Its values, row-major.
    ///
    /// # Errors
    /// Why it cannot be used: it is no float tensor, damaged, or holds a value that is not finite.
    pub fn values(&self) -> Result<Vec<f32>, String> {
        let dtype = self.snapshot.dtype;
        if !dtype.is_float() {
            return Err(format!("has dtype {dtype:?}, expected a float"));
        }
        let shape = &self.snapshot.shape;
        let elements = shape
            .iter()
            .try_fold(1_u64, |n, side| n.checked_mul(*side as u64));
        if elements.is_none_or(|elements| elements > self.file_bytes) {
            return Err(format!(
                "claims more elements ({shape:?}) than its file has bytes"
            ));
        }
        let data = catch_unwind(AssertUnwindSafe(|| self.snapshot.to_data()))
            .map_err(|_| "is damaged".to_string())?
            .map_err(|source| format!("is damaged: {source}"))?;
        let values: Vec<f32> = data.iter::<f32>().collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!(
                "holds {} at element {at}, expected finite values",
                values[at]
            )),
            None => Ok(values),
        }
    }
}

/// Lists the tensors of a PyTorch file; no code in it is run.
///
/// # Errors
/// If it is missing, no PyTorch file, or damaged.
pub fn read_pytorch(path: &Path) -> Result<BTreeMap<String, PytorchTensor>, Error> {
    let unusable = |reason: String| Error::Pytorch {
        path: path.display().to_string(),
        reason,
    };
    let file_bytes = check_file(path)?;
    // The parser is written for files that are well formed; whatever it stumbles over is a fault of the file.
    let parsed = catch_unwind(AssertUnwindSafe(|| PytorchReader::new(path)));
    let tensors = match parsed {
        Ok(Ok(reader)) => reader.into_tensors(),
        Ok(Err(source)) => return Err(unusable(format!("no dictionary of tensors: {source}"))),
        Err(_) => return Err(unusable("not well formed".into())),
    };
    let tensor = |(name, snapshot)| {
        let tensor = PytorchTensor {
            snapshot,
            file_bytes,
        };
        (name, tensor)
    };
    Ok(tensors.into_iter().map(tensor).collect())
}

/// Refuses a file whose declared sizes do not fit it. Returns its size.
fn check_file(path: &Path) -> Result<u64, Error> {
    use std::io::{Read, Seek};
    let unusable = |reason: String| Error::Pytorch {
        path: path.display().to_string(),
        reason,
    };
    let mut file = File::open(path).map_err(|e| Error::unreadable(path, e))?;
    let bytes = file
        .metadata()
        .map_err(|e| Error::unreadable(path, e))?
        .len();
    if bytes > MAX_FILE_BYTES {
        return Err(unusable(format!(
            "it has {bytes} bytes, expected at most {MAX_FILE_BYTES}"
        )));
    }
    let mut start = [0; 4];
    let magic = file.read_exact(&mut start).and_then(|()| file.rewind());
    if magic.is_err() || start != ZIP_MAGIC {
        // A pickle begins with the opcode that says its version.
        return match start[0] == 0x80 {
            true => Ok(bytes),
            false => Err(unusable("it is neither an archive nor a pickle".into())),
        };
    }
    let mut archive =
        zip::ZipArchive::new(file).map_err(|e| unusable(format!("a damaged archive: {e}")))?;
    if archive.len() > MAX_ENTRIES {
        return Err(unusable(format!(
            "it has {} entries, expected at most {MAX_ENTRIES}",
            archive.len()
        )));
    }
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let entry = archive
            .by_index_raw(index)
            .map_err(|e| unusable(format!("a damaged entry: {e}")))?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(unusable(format!(
                "`{}` is compressed, which PyTorch never does",
                entry.name()
            )));
        }
        total = total.saturating_add(entry.size());
    }
    match total > bytes {
        true => Err(unusable(format!(
            "its entries claim {total} bytes, the file has {bytes}"
        ))),
        false => Ok(bytes),
    }
}
