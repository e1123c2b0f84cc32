//! Parts of a frame in which tracks may start.

use std::path::Path;

use image::RgbImage;
use kinvert_video::{ReadOptions, Size, read_clip};

use crate::tracks::Place;
use crate::{Error, Tracks};

/// Which pixels of a frame count: those whose brightest channel is 128 or more, so that masks drawn in a colour,
/// as segmentation data sets have them, work like white ones. What is transparent counts as white.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    size: Size,
    inside: Vec<bool>, // row by row
}

impl Mask {
    /// The mask that an image draws.
    pub fn new(image: &RgbImage) -> Self {
        let (width, height) = image.dimensions();
        let bright = |pixel: &image::Rgb<u8>| pixel.0.iter().any(|value| *value >= 128);
        Self {
            size: Size { width, height },
            inside: image.pixels().map(bright).collect(),
        }
    }

    /// Reads the mask from an image file.
    ///
    /// # Errors
    /// If the file cannot be read or is no single image.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let clip = read_clip(path, &ReadOptions::default())?;
        match clip.frames() {
            [image] => Ok(Self::new(image)),
            frames => Err(Error::file(
                path,
                format!(
                    "{} frames, expected the single image of a mask",
                    frames.len()
                ),
            )),
        }
    }

    /// Width and height.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Whether no pixel counts.
    pub fn is_empty(&self) -> bool {
        !self.inside.contains(&true)
    }

    /// The tracks whose place in the first frame lies on a pixel that counts.
    ///
    /// # Errors
    /// If the mask is not of the size of the tracks' clip.
    pub fn tracks_inside(&self, tracks: &Tracks) -> Result<Tracks, Error> {
        if self.size != tracks.size() {
            return Err(Error::argument(
                "mask",
                self.size,
                format!("{} as the clip", tracks.size()),
            ));
        }
        Ok(tracks.filtered(|track| self.holds(tracks.places(track)[0])))
    }

    /// Pixel centres lie at whole numbers, so pixel 0 reaches from −0.5 to 0.5.
    fn holds(&self, [x, y]: Place) -> bool {
        let index = |at: f32, length: u32| {
            let pixel = (at + 0.5).floor();
            (pixel >= 0.0 && pixel < length as f32).then_some(pixel as usize)
        };
        match (index(x, self.size.width), index(y, self.size.height)) {
            (Some(column), Some(row)) => self.inside[row * self.size.width as usize + column],
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn starts(places: &[Place]) -> Tracks {
        let size = Size {
            width: 4,
            height: 2,
        };
        Tracks::new(1, size, places.to_vec(), vec![true; places.len()]).unwrap()
    }

    /// Columns 2 and 3 of the second row, in red.
    fn mask() -> Mask {
        let mut image = RgbImage::new(4, 2);
        image.put_pixel(2, 1, Rgb([128, 0, 0]));
        image.put_pixel(3, 1, Rgb([255, 0, 0]));
        image.put_pixel(0, 0, Rgb([127, 127, 127]));
        Mask::new(&image)
    }

    #[test]
    fn tracks_stay_if_they_start_on_a_pixel_that_counts() {
        let tracks = starts(&[
            [2.0, 1.0],
            [1.5, 0.5],
            [3.4, 1.4],
            [1.4, 1.0],
            [3.5, 1.0],
            [0.0, 0.0],
            [2.0, -7.0],
            [1e30, 1.0],
        ]);
        let inside = mask().tracks_inside(&tracks).unwrap();
        let places: Vec<Place> = inside.iter().map(|places| places[0]).collect();
        assert_eq!(places, [[2.0, 1.0], [1.5, 0.5], [3.4, 1.4]]);
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let error = Mask::new(&RgbImage::new(2, 4))
            .tracks_inside(&starts(&[[0.0; 2]]))
            .unwrap_err();
        assert_eq!(error.to_string(), "`mask` is 2x4, expected 4x2 as the clip");
    }

    #[test]
    fn a_black_mask_holds_nothing() {
        let black = Mask::new(&RgbImage::new(4, 2));
        assert!(black.is_empty() && !mask().is_empty());
        assert!(
            black
                .tracks_inside(&starts(&[[2.0, 1.0]]))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn masks_are_read_from_images_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let mut image = RgbImage::new(4, 2);
        image.put_pixel(2, 1, Rgb([200; 3]));
        image.save(&path).unwrap();
        assert_eq!(Mask::read(&path).unwrap(), Mask::new(&image));

        image.save(folder.path().join("second.png")).unwrap();
        let error = Mask::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("2 frames"), "{error}");
        assert!(Mask::read(&folder.path().join("none.png")).is_err());
        std::fs::write(folder.path().join("text.png"), "no image").unwrap();
        assert!(Mask::read(&folder.path().join("text.png")).is_err());
    }
}
