//! Clips side by side as GIFs, for places where a page cannot stand.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kinvert_video::{Clip, ReadOptions, read_clip, side_by_side, write_gif};

use super::clips::{Spot, choice};
use crate::error::Error;
use crate::results::Results;

/// Writes up to `most` rows of the page, each as one GIF: the reference, the method and the variants, from left to
/// right in the study's order. Variants with equal settings are shown once; a row of which a clip was not kept is left
/// out.
pub(super) fn write_gifs(
    results: &Results,
    folder: &Path,
    most: usize,
) -> Result<Vec<PathBuf>, Error> {
    let mut written = Vec::new();
    for (index, spot) in choice(results, most).into_iter().enumerate() {
        let Some(files) = files(results, spot) else {
            continue;
        };
        let clips: Vec<Clip> = files
            .iter()
            .map(|file| read_clip(&results.folder.join(file), &ReadOptions::default()))
            .collect::<Result<_, _>>()?;
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "writing"))?;
        let path = folder.join(format!("{}.gif", index + 1));
        write_gif(&side_by_side(&clips.iter().collect::<Vec<_>>())?, &path)?;
        written.push(path);
    }
    Ok(written)
}

/// The clips of a row; none if one of them was not kept.
fn files(results: &Results, spot: Spot) -> Option<Vec<&Path>> {
    let mut files = vec![results.references.get(spot.reference)?.file.as_deref()?];
    let mut shown = HashSet::new();
    for variant in &results.variants {
        if !shown.insert(variant.hash.as_str()) {
            continue;
        }
        let cells = results.cells_of(variant);
        let cell = cells.get(&(spot.reference, spot.prompt, spot.seed))?;
        files.push(cell.outcome.measured()?.clip.as_deref()?);
    }
    Some(files)
}
