//! Images through a convolutional network tile by tile, so that memory does not grow with their size.
//!
//! Source: `tiled_encode` and `tiled_decode` of diffusers' `AutoencoderKL`, whose numbers it matches. Tiles overlap by a
//! quarter and are blended linearly over it. Norms see a tile instead of the image, so results differ from those of
//! whole images, by little where tiles are large.

use burn::prelude::*;

use crate::kernels::NetBackend;
use crate::layers::apply::cast_like;

/// Share of a tile that overlaps the next, as one in so many.
const OVERLAP: usize = 4;

/// Side of the tiles, before and after the network: `[64, 512]` for a decoder that enlarges eight times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileSides {
    /// Rows and columns of a tile that goes in.
    pub input: usize,
    /// Rows and columns of what comes out.
    pub output: usize,
}

/// Runs `network` over overlapping tiles of `[images, channels, height, width]` and joins the results.
///
/// # Panics
/// If a side is less than four.
pub fn by_tiles<B: NetBackend>(
    images: Tensor<B, 4>,
    sides: TileSides,
    network: impl Fn(Tensor<B, 4>) -> Tensor<B, 4>,
) -> Tensor<B, 4> {
    assert!(
        sides.input >= OVERLAP && sides.output >= OVERLAP,
        "tiles of {sides:?}"
    );
    let [_, _, height, width] = images.dims();
    let step = sides.input - sides.input / OVERLAP;
    let blended = sides.output / OVERLAP;
    let kept = sides.output - blended;

    let mut rows: Vec<Tensor<B, 4>> = Vec::new();
    let mut above: Vec<Tensor<B, 4>> = Vec::new();
    for top in (0..height).step_by(step) {
        let tiles: Vec<_> = (0..width)
            .step_by(step)
            .map(|left| {
                let rows = sides.input.min(height - top);
                let columns = sides.input.min(width - left);
                network(images.clone().narrow(2, top, rows).narrow(3, left, columns))
            })
            .collect();
        let mut joined: Vec<Tensor<B, 4>> = Vec::new();
        let mut before: Option<Tensor<B, 4>> = None;
        let mut blended_row = Vec::with_capacity(tiles.len());
        for (index, tile) in tiles.into_iter().enumerate() {
            let tile = match above.get(index) {
                Some(above) => blend(above, tile, 2, blended),
                None => tile,
            };
            let tile = match &before {
                Some(before) => blend(before, tile, 3, blended),
                None => tile,
            };
            let [_, _, tile_rows, tile_columns] = tile.dims();
            let shown = tile.clone().narrow(2, 0, kept.min(tile_rows));
            joined.push(shown.narrow(3, 0, kept.min(tile_columns)));
            before = Some(tile.clone());
            blended_row.push(tile);
        }
        rows.push(Tensor::cat(joined, 3));
        above = blended_row;
    }
    Tensor::cat(rows, 2)
}

/// `tile` with its first places along an axis faded in from the last ones of the tile `before` it.
fn blend<B: NetBackend>(
    before: &Tensor<B, 4>,
    tile: Tensor<B, 4>,
    axis: usize,
    extent: usize,
) -> Tensor<B, 4> {
    let (size_before, size) = (before.dims()[axis], tile.dims()[axis]);
    let extent = extent.min(size_before).min(size);
    if extent == 0 {
        return tile;
    }
    let fading: Vec<f32> = (0..extent).map(|at| at as f32 / extent as f32).collect();
    let mut shape = [1; 4];
    shape[axis] = extent;
    let device = tile.device();
    let weight: Tensor<B, 4> = Tensor::from_data(TensorData::new(fading, shape), &device);
    let weight = cast_like(weight, &tile);
    let from = before.clone().narrow(axis, size_before - extent, extent);
    let to = tile.clone().narrow(axis, 0, extent);
    let faded = from.clone() + (to - from) * weight;
    match size - extent {
        0 => faded,
        rest => Tensor::cat(vec![faded, tile.narrow(axis, extent, rest)], axis),
    }
}
