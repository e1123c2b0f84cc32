//! Reading a `motion_embed.pt`, as the method's published code writes it.
//!
//! Such a file is a PyTorch archive of a dictionary from names to parameters: `{site}.pos_embed` `[1, 32,
//! channels]` and `{site}.attn1.vSpatial`, `{site}.attn2.vSpatial` `[rows * columns, 32, channels]`. Only as many of
//! the 32 rows are trained as the reference had frames; the others stay zero. The file names neither its
//! model nor its size.
//!
//! The archive is read by a parser that builds tensors and runs no code. Before it sees the file, every size
//! that the archive declares is held against the size of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn_store::TensorSnapshot;
use burn_store::pytorch::PytorchReader;
use kinvert_nets::unet3d::TemporalSite;

use crate::embedding::{Embedding, SiteEmbeddings};
use crate::error::Error;

/// Bounds on what is read; the published files have tens of megabytes and a thousand entries at most.
const MAX_FILE_BYTES: u64 = 4 << 30;
const MAX_ENTRIES: usize = 10_000;

/// Reads the embeddings of a published file for a network with the given sites, learned on latents of the given
/// height and width. `frames` says how many rows were trained; without it, rows of zeros at the end are left
/// out.
///
/// # Errors
/// [`Error::MotionFile`] if the file is something else or damaged, names a site that the network lacks, or
/// holds embeddings of other shapes than its sites have.
pub fn read_published_embeddings(
    path: &Path,
    sites: &[TemporalSite],
    latent_size: [usize; 2],
    frames: Option<usize>,
) -> Result<Vec<SiteEmbeddings>, Error> {
    let unusable = |reason: String| Error::MotionFile {
        path: path.to_path_buf(),
        reason,
    };
    let bytes = check_archive(path)?;
    // The parser is written for files that are well formed; whatever it stumbles over is a fault of the file.
    let parsed = catch_unwind(AssertUnwindSafe(|| PytorchReader::new(path)));
    let tensors = match parsed {
        Ok(Ok(reader)) => reader.into_tensors(),
        Ok(Err(source)) => {
            return Err(unusable(format!("no PyTorch archive of tensors: {source}")));
        }
        Err(_) => return Err(unusable("no well-formed PyTorch archive".into())),
    };
    let tensors: BTreeMap<String, TensorSnapshot> = tensors.into_iter().collect();
    convert(&tensors, sites, latent_size, frames, bytes).map_err(unusable)
}

/// Refuses an archive whose declared sizes do not fit its file. Returns the file's size.
fn check_archive(path: &Path) -> Result<u64, Error> {
    let unusable = |reason: String| Error::MotionFile {
        path: path.to_path_buf(),
        reason,
    };
    let file = File::open(path).map_err(Error::reading(path))?;
    let bytes = file.metadata().map_err(Error::reading(path))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(unusable(format!(
            "it has {bytes} bytes, expected at most {MAX_FILE_BYTES}"
        )));
    }
    let mut archive =
        zip::ZipArchive::new(file).map_err(|e| unusable(format!("no PyTorch archive: {e}")))?;
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

fn convert(
    tensors: &BTreeMap<String, TensorSnapshot>,
    sites: &[TemporalSite],
    latent_size: [usize; 2],
    frames: Option<usize>,
    bytes: u64,
) -> Result<Vec<SiteEmbeddings>, String> {
    let mut unread: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
    let mut found = Vec::new();
    for site in sites {
        let [rows, columns] = site.grid(latent_size);
        let mut read = |name: &str, positions: usize| {
            let key = format!("{}.{name}", site.name);
            let Some(tensor) = tensors.get(&key) else {
                return Ok(None);
            };
            unread.remove(key.as_str());
            let shape = &tensor.shape;
            let fits = shape.num_dims() == 3 && shape[0] == positions && shape[2] == site.channels;
            let elements = shape
                .iter()
                .try_fold(1_u64, |product, n| product.checked_mul(*n as u64));
            if !fits || elements.is_none_or(|n| n > bytes) {
                let expected = format!("[{positions}, frames, {}]", site.channels);
                return Err(format!(
                    "`{key}` has the shape {:?}, expected {expected}",
                    shape.to_vec()
                ));
            }
            let data = catch_unwind(AssertUnwindSafe(|| tensor.to_data()))
                .map_err(|_| format!("`{key}` is damaged"))?
                .map_err(|e| format!("`{key}` is damaged: {e}"))?;
            let values: Vec<f32> = data.iter::<f32>().collect();
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!("`{key}` holds a value that is not finite"));
            }
            Ok(Some(Embedding::new([shape[0], shape[1], shape[2]], values)))
        };
        let parts = (
            read("pos_embed", 1)?,
            read("attn1.vSpatial", rows * columns)?,
            read("attn2.vSpatial", rows * columns)?,
        );
        match parts {
            (None, None, None) => {}
            (Some(query_key), Some(value1), Some(value2)) => found.push(SiteEmbeddings {
                site: site.name.clone(),
                grid: [rows, columns],
                query_key,
                values: [value1, value2],
            }),
            _ => {
                return Err(format!(
                    "`{}` has some of its three embeddings only",
                    site.name
                ));
            }
        }
    }
    if let Some(name) = unread.first() {
        return Err(format!("this model has no site for `{name}`"));
    }
    if found.is_empty() {
        return Err("it holds no embeddings".into());
    }
    cut_to_trained_frames(found, frames)
}

/// Keeps the rows that were trained.
fn cut_to_trained_frames(
    sites: Vec<SiteEmbeddings>,
    frames: Option<usize>,
) -> Result<Vec<SiteEmbeddings>, String> {
    let embeddings = || {
        sites
            .iter()
            .flat_map(|site| [&site.query_key, &site.values[0], &site.values[1]])
    };
    let rows = embeddings().map(Embedding::frames).min().unwrap_or(0);
    if embeddings().any(|embedding| embedding.frames() != rows) {
        return Err("its embeddings differ in their number of rows".into());
    }
    let trained = embeddings()
        .map(Embedding::trained_frames)
        .max()
        .unwrap_or(0);
    let frames = frames.unwrap_or(trained);
    if !(1..=rows).contains(&frames) {
        return Err(format!(
            "it has {rows} rows of which {trained} are trained, {frames} frames were asked for"
        ));
    }
    let cut = |site: SiteEmbeddings| SiteEmbeddings {
        query_key: site.query_key.first_frames(frames),
        values: site.values.map(|value| value.first_frames(frames)),
        ..site
    };
    Ok(sites.into_iter().map(cut).collect())
}
