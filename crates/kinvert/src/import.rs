//! Reading a `motion_embed.pt`, as the method's published code writes it.
//!
//! Such a file is a PyTorch archive of a dictionary from names to parameters: `{site}.pos_embed` `[1, 32,
//! channels]` and `{site}.attn1.vSpatial`, `{site}.attn2.vSpatial` `[rows * columns, 32, channels]`. Only as many of
//! the 32 rows are trained as the reference had frames; the others stay zero. The file names neither its
//! model nor its size.
//!
//! The archive is read by a parser that builds tensors and runs no code ([`Weights::open_file`]).

use std::collections::BTreeSet;
use std::path::Path;

use kinvert_nets::TemporalSite;
use kinvert_nets::Weights;

use crate::embedding::{Embedding, SiteEmbeddings};
use crate::error::Error;

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
    std::fs::metadata(path).map_err(Error::reading(path))?; // names the file as one of the user's, not of a model's
    let tensors = Weights::open_file(path).map_err(|error| match error {
        // The kind of file is wrong or the file is damaged: say what was expected of it.
        kinvert_nets::Error::PyTorch { reason, .. } => unusable(reason),
        error => error.into(),
    })?;
    convert(&tensors, sites, latent_size, frames).map_err(unusable)
}

fn convert(
    tensors: &Weights,
    sites: &[TemporalSite],
    latent_size: [usize; 2],
    frames: Option<usize>,
) -> Result<Vec<SiteEmbeddings>, String> {
    let mut unread: BTreeSet<&str> = tensors.names().collect();
    let mut found = Vec::new();
    for site in sites {
        let grid = site.grid(latent_size);
        let mut read = |name: &str, embedding_grid: [usize; 2]| {
            let positions = embedding_grid[0] * embedding_grid[1];
            let key = format!("{}.{name}", site.name);
            let Some(shape) = tensors.shape(&key) else {
                return Ok(None);
            };
            unread.remove(key.as_str());
            let fits = shape.len() == 3 && shape[0] == positions && shape[2] == site.channels;
            if !fits {
                let expected = format!("[{positions}, frames, {}]", site.channels);
                return Err(format!(
                    "`{key}` has the shape {shape:?}, expected {expected}"
                ));
            }
            let values = tensors
                .values(&key)
                .map_err(|reason| format!("`{key}` {reason}"))?;
            let [rows, columns] = embedding_grid;
            Ok(Some(Embedding::new(
                [rows, columns, shape[1], shape[2]],
                values,
            )))
        };
        let parts = (
            read("pos_embed", [1, 1])?,
            read("attn1.vSpatial", grid)?,
            read("attn2.vSpatial", grid)?,
        );
        match parts {
            (None, None, None) => {}
            (query_key @ Some(_), value1 @ Some(_), value2 @ Some(_)) => {
                found.push(SiteEmbeddings {
                    site: site.name.clone(),
                    grid,
                    query_key,
                    values: [value1, value2],
                    projections: [None, None, None],
                });
            }
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
            .flat_map(|site| site.embeddings().into_iter().flatten())
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
    let cut = |site: &SiteEmbeddings| site.map(|embedding| embedding.first_frames(frames));
    Ok(sites.iter().map(cut).collect())
}
