//! Clips beside each other, and contact sheets.

use std::path::Path;

use image::imageops;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use rayon::prelude::*;

use crate::clip::{Size, check_size};
use crate::resize::{Fit, resize};
use crate::{Clip, Error};

/// Pixels between clips and frames.
const GUTTER: u32 = 4;

const BACKGROUND: Rgb<u8> = Rgb([255; 3]);

/// Clips playing beside each other, from left to right: scaled to the height of the tallest, with a thin
/// white gutter. The result has the highest rate of them all; a clip that ends before the others holds its
/// last frame.
///
/// # Errors
/// If there is no clip, or the result would be wider than 32768 pixels.
pub fn side_by_side(clips: &[&Clip]) -> Result<Clip, Error> {
    let fps = clips.iter().map(|clip| clip.fps()).fold(0.0, f64::max);
    let duration_s = clips
        .iter()
        .map(|clip| clip.duration_s())
        .fold(0.0, f64::max);
    if clips.is_empty() {
        return Err(Error::EmptyClip);
    }
    let cells = equal_heights(clips)?;
    let size = row_size(&cells)?;
    let count = ((duration_s * fps).round() as usize).max(1);
    let scaled: Vec<Vec<RgbImage>> = clips
        .iter()
        .zip(&cells)
        .map(|(clip, &cell)| scale(clip.frames(), cell))
        .collect();
    let frames = (0..count)
        .into_par_iter()
        .map(|i| {
            let images = clips
                .iter()
                .zip(&scaled)
                .map(|(clip, frames)| &frames[clip.index_at(i as f64 / fps)]);
            let mut canvas = RgbImage::from_pixel(size.width, size.height, BACKGROUND);
            place_row(&mut canvas, images, 0, 0);
            canvas
        })
        .collect();
    Clip::new(frames, fps)
}

/// One row for each clip: its label, and `columns` of its frames in order, from the first to the last and
/// evenly spaced between (all of them where there are fewer). Frames are scaled to the height of the tallest
/// clip. Labels are drawn in a small font that knows ASCII, `?` standing for anything else; one that is too
/// long is cut.
///
/// # Errors
/// If there is no row or column, or the sheet would be larger than 32768 pixels a side.
///
/// ```
/// use image::RgbImage;
/// use kinvert_video::{Clip, contact_sheet};
///
/// let clip = Clip::new(vec![RgbImage::new(64, 64); 16], 8.0)?;
/// let sheet = contact_sheet(&[("reference", &clip), ("result", &clip)], 4)?;
/// assert_eq!(sheet.width(), 4 * 64 + 3 * 4);
/// # Ok::<(), kinvert_video::Error>(())
/// ```
pub fn contact_sheet(rows: &[(&str, &Clip)], columns: usize) -> Result<RgbImage, Error> {
    if columns == 0 {
        return Err(Error::InvalidArgument {
            field: "columns",
            found: "0".into(),
            expected: "1 or more",
        });
    }
    if rows.is_empty() {
        return Err(Error::EmptyClip);
    }
    let clips: Vec<&Clip> = rows.iter().map(|(_, clip)| *clip).collect();
    let cells = equal_heights(&clips)?;
    let mut width = 1;
    for (clip, &cell) in clips.iter().zip(&cells) {
        width = width.max(row_size(&vec![cell; columns.min(clip.len())])?.width);
    }
    let label_height = RasterHeight::Size16.val() as u32;
    let row_height = label_height + cells[0].height + GUTTER;
    let height = u64::from(row_height) * rows.len() as u64 - u64::from(GUTTER);
    let size = Size {
        width,
        height: u32::try_from(height).unwrap_or(u32::MAX),
    };
    check_size(size)?;

    let mut sheet = RgbImage::from_pixel(size.width, size.height, BACKGROUND);
    for (i, ((label, clip), &cell)) in rows.iter().zip(&cells).enumerate() {
        let top = i as u32 * row_height;
        draw_label(&mut sheet, label, top);
        let chosen: Vec<RgbImage> = evenly(clip.len(), columns)
            .into_iter()
            .map(|i| clip.frames()[i].clone())
            .collect();
        place_row(
            &mut sheet,
            scale(&chosen, cell).iter(),
            0,
            top + label_height,
        );
    }
    Ok(sheet)
}

/// Writes an image as PNG.
///
/// # Errors
/// If the image has no pixels, or the file cannot be written.
pub fn write_png(image: &RgbImage, path: &Path) -> Result<(), Error> {
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(
            image.as_raw(),
            image.width(),
            image.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|source| Error::Encoding {
            path: path.to_owned(),
            format: "PNG",
            frame: 0,
            source: Box::new(source),
        })?;
    kinvert_base::write_file(path, &bytes).map_err(Error::io("write", path))
}

/// Sizes of the clips at the height of the tallest.
fn equal_heights(clips: &[&Clip]) -> Result<Vec<Size>, Error> {
    let height = clips.iter().map(|clip| clip.height()).max().unwrap_or(1);
    clips
        .iter()
        .map(|clip| {
            let width = f64::from(clip.width()) * f64::from(height) / f64::from(clip.height());
            let size = Size {
                width: width.round().max(1.0) as u32,
                height,
            };
            check_size(size).map(|()| size)
        })
        .collect()
}

/// Size of a row of cells with gutters between them.
fn row_size(cells: &[Size]) -> Result<Size, Error> {
    let gutters = u64::from(GUTTER) * (cells.len() as u64).saturating_sub(1);
    let width = cells.iter().map(|cell| u64::from(cell.width)).sum::<u64>() + gutters;
    let height = cells.iter().map(|cell| cell.height).max().unwrap_or(1);
    let size = Size {
        width: u32::try_from(width).unwrap_or(u32::MAX),
        height,
    };
    check_size(size).map(|()| size)
}

fn scale(frames: &[RgbImage], size: Size) -> Vec<RgbImage> {
    let unchanged = |frame: &RgbImage| Size::of(frame) == size;
    frames
        .par_iter()
        .map(|f| {
            if unchanged(f) {
                f.clone()
            } else {
                resize(f, size, Fit::Stretch)
            }
        })
        .collect()
}

fn place_row<'a>(
    canvas: &mut RgbImage,
    images: impl Iterator<Item = &'a RgbImage>,
    left: u32,
    top: u32,
) {
    let mut left = left;
    for image in images {
        imageops::replace(canvas, image, left.into(), top.into());
        left += image.width() + GUTTER;
    }
}

/// Up to `count` indices below `len`, the first and last among them, evenly spaced.
fn evenly(len: usize, count: usize) -> Vec<usize> {
    let count = count.min(len);
    match count {
        0 => Vec::new(),
        1 => vec![0],
        _ => (0..count)
            .map(|i| (i * (len - 1) + (count - 1) / 2) / (count - 1))
            .collect(),
    }
}

fn draw_label(sheet: &mut RgbImage, label: &str, top: u32) {
    let (weight, height) = (FontWeight::Regular, RasterHeight::Size16);
    let advance = get_raster_width(weight, height);
    for (i, character) in label.chars().enumerate() {
        let left = i * advance;
        if left + advance > sheet.width() as usize {
            break;
        }
        let Some(glyph) =
            get_raster(character, weight, height).or_else(|| get_raster('?', weight, height))
        else {
            continue;
        };
        for (y, row) in glyph.rows().enumerate() {
            for (x, &ink) in row.iter().enumerate() {
                sheet.put_pixel((left + x) as u32, top + y as u32, Rgb([255 - ink; 3]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grey(width: u32, height: u32, levels: &[u8], fps: f64) -> Clip {
        let frame = |&level| RgbImage::from_pixel(width, height, Rgb([level; 3]));
        Clip::new(levels.iter().map(frame).collect(), fps).unwrap()
    }

    #[test]
    fn the_shorter_clip_holds_its_last_frame() {
        let (long, short) = (
            grey(8, 8, &[0, 10, 20, 30], 8.0),
            grey(4, 4, &[100, 110], 8.0),
        );
        let both = side_by_side(&[&long, &short]).unwrap();
        assert_eq!(
            (both.width(), both.height(), both.len(), both.fps()),
            (8 + 4 + 8, 8, 4, 8.0)
        );
        let levels: Vec<[u8; 3]> = both
            .frames()
            .iter()
            .map(|frame| [0, 9, 15].map(|x| frame.get_pixel(x, 4).0[0]))
            .collect();
        assert_eq!(
            levels,
            [
                [0, 255, 100],
                [10, 255, 110],
                [20, 255, 110],
                [30, 255, 110]
            ]
        );
    }

    #[test]
    fn rates_are_met_by_time() {
        let (slow, fast) = (
            grey(8, 8, &[0, 10], 4.0),
            grey(8, 8, &[100, 110, 120, 130], 8.0),
        );
        let both = side_by_side(&[&slow, &fast]).unwrap();
        let levels: Vec<[u8; 2]> = both
            .frames()
            .iter()
            .map(|frame| [1, 14].map(|x| frame.get_pixel(x, 4).0[0]))
            .collect();
        assert_eq!(
            (levels, both.fps()),
            (vec![[0, 100], [0, 110], [10, 120], [10, 130]], 8.0)
        );
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(matches!(side_by_side(&[]), Err(Error::EmptyClip)));
        assert!(matches!(contact_sheet(&[], 4), Err(Error::EmptyClip)));
        let clip = grey(8, 8, &[0; 9], 8.0);
        assert!(matches!(
            contact_sheet(&[("", &clip)], 0),
            Err(Error::InvalidArgument {
                field: "columns",
                ..
            })
        ));
        let wide = grey(8000, 1, &[0; 9], 8.0);
        assert!(matches!(
            contact_sheet(&[("", &wide)], 9),
            Err(Error::InvalidArgument { field: "size", .. })
        ));
        let flat = grey(30_000, 1, &[0], 8.0);
        let tall = grey(1, 30_000, &[0], 8.0);
        assert!(matches!(
            side_by_side(&[&flat, &tall]),
            Err(Error::InvalidArgument { field: "size", .. })
        ));
    }

    #[test]
    fn a_sheet_has_labels_and_evenly_chosen_frames() {
        let clip = grey(32, 16, &[0, 10, 20, 30, 40, 50, 60], 8.0);
        let sheet = contact_sheet(&[("result ü", &clip), ("", &clip)], 3).unwrap();
        assert_eq!(sheet.dimensions(), (3 * 32 + 2 * 4, 2 * (16 + 16) + 4));
        let levels = [0, 36, 72].map(|x| sheet.get_pixel(x, 20).0[0]);
        assert_eq!(levels, [0, 30, 60]);
        let has_ink =
            |top: u32| (0..16).any(|y| (0..104).any(|x| sheet.get_pixel(x, top + y).0[0] < 64));
        assert!(has_ink(0), "the first row has a label");
        assert!(!has_ink(36), "the second has none");
    }

    proptest! {
        #[test]
        fn choices_are_even(len in 1_usize..100, count in 1_usize..20) {
            let chosen = evenly(len, count);
            prop_assert_eq!(chosen.len(), count.min(len));
            prop_assert_eq!(chosen[0], 0);
            prop_assert!(chosen.last() == Some(&(len - 1)) || count == 1);
            let steps: Vec<usize> = chosen.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) = (steps.iter().min(), steps.iter().max());
            prop_assert!(most.unwrap_or(&1) - least.unwrap_or(&1) <= 1);
            prop_assert!(least.is_none_or(|&least| least >= 1));
        }
    }
}
