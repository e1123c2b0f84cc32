//! GIF, WebP and PNG, animated or not, and other still images.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{
    AnimationDecoder, DynamicImage, Frame, Frames, ImageDecoder, ImageFormat, ImageReader,
    RgbImage, RgbaImage,
};

use crate::clip::Size;
use crate::read::{ClipInfo, Timeline};
use crate::select::{Collector, Selector, check_pixels};
use crate::{Clip, Error, ReadOptions};

/// How long a frame without a time of its own is shown, as in browsers.
const UNTIMED_S: f64 = 0.1;

pub(crate) fn read(path: &Path, format: ImageFormat, options: &ReadOptions) -> Result<Clip, Error> {
    let Some((size, frames)) = open(path, format, options)? else {
        return read_one(path, options);
    };
    let mut selector = Selector::new(&options.frames);
    let mut collector = Collector::new(path, options, size)?;
    let mut durations_s = Vec::new();
    let mut end_s = 0.0;
    // All frames are visited even if the last ones are not kept, because together they tell the rate.
    for frame in frames {
        let frame = frame.map_err(Error::image(path))?;
        let duration_s = duration_s(&frame);
        durations_s.push(duration_s);
        end_s += duration_s;
        collector.keep(selector.next(end_s), || Ok(over_white(frame.buffer())))?;
    }
    collector.finish(selector.seen(), Timeline::in_order(durations_s, 0.0).fps())
}

pub(crate) fn info(
    path: &Path,
    format: ImageFormat,
    options: &ReadOptions,
) -> Result<ClipInfo, Error> {
    let (container, codec) = match format {
        ImageFormat::Gif => ("GIF", "GIF"),
        ImageFormat::Png => ("PNG", "PNG"),
        ImageFormat::WebP => ("WebP", "WebP"),
        _ => ("JPEG", "JPEG"),
    };
    let (size, durations_s, quantum_s) = match open(path, format, options)? {
        None => (
            Size::of(&read_still(path, options)?),
            vec![1.0 / options.image_fps],
            0.0,
        ),
        Some((size, _)) if format == ImageFormat::Gif => (size, gif_durations_s(path)?, 0.01),
        Some((size, frames)) => {
            let durations_s: Result<Vec<f64>, _> =
                frames.map(|frame| frame.map(|f| duration_s(&f))).collect();
            (size, durations_s.map_err(Error::image(path))?, 0.001)
        }
    };
    ClipInfo::of_timeline(
        path,
        container,
        codec.to_owned(),
        size,
        &Timeline::in_order(durations_s, quantum_s),
        0,
    )
}

/// Reads a still image, over white where it is transparent, turned as its metadata asks.
pub(crate) fn read_still(path: &Path, options: &ReadOptions) -> Result<RgbImage, Error> {
    let fault = Error::image(path);
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io("open", path))?;
    reader.limits(options.image_limits());
    let mut decoder = reader.into_decoder().map_err(&fault)?;
    let (width, height) = decoder.dimensions();
    check_pixels(path, Size { width, height }, options)?;
    let orientation = decoder.orientation().map_err(&fault)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(&fault)?;
    image.apply_orientation(orientation);
    Ok(if image.color().has_alpha() {
        over_white(&image.to_rgba8())
    } else {
        image.into_rgb8()
    })
}

/// A still image as a clip of one frame.
fn read_one(path: &Path, options: &ReadOptions) -> Result<Clip, Error> {
    let image = read_still(path, options)?;
    let mut selector = Selector::new(&options.frames);
    let mut collector = Collector::new(path, options, Size::of(&image))?;
    collector.keep(selector.next(1.0 / options.image_fps), || Ok(image))?;
    collector.finish(selector.seen(), options.image_fps)
}

/// Opens an animation; `None` for a still image. The canvas is checked before any frame is decoded.
fn open(
    path: &Path,
    format: ImageFormat,
    options: &ReadOptions,
) -> Result<Option<(Size, Frames<'static>)>, Error> {
    let fault = Error::image(path);
    let file = BufReader::new(File::open(path).map_err(Error::io("open", path))?);
    let checked = |dimensions: (u32, u32)| {
        let size = Size {
            width: dimensions.0,
            height: dimensions.1,
        };
        check_pixels(path, size, options).map(|()| size)
    };
    let opened = match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(file).map_err(&fault)?;
            let size = checked(decoder.dimensions())?;
            decoder.set_limits(options.image_limits()).map_err(&fault)?;
            (size, decoder.into_frames())
        }
        ImageFormat::WebP => {
            let mut decoder = WebPDecoder::new(file).map_err(&fault)?;
            if !decoder.has_animation() {
                return Ok(None);
            }
            let size = checked(decoder.dimensions())?;
            decoder.set_limits(options.image_limits()).map_err(&fault)?;
            (size, decoder.into_frames())
        }
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(file, options.image_limits()).map_err(&fault)?;
            let size = checked(decoder.dimensions())?;
            if !decoder.is_apng().map_err(&fault)? {
                return Ok(None);
            }
            (size, decoder.apng().map_err(&fault)?.into_frames())
        }
        _ => return Ok(None),
    };
    Ok(Some(opened))
}

fn duration_s(frame: &Frame) -> f64 {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    if numerator == 0 {
        UNTIMED_S
    } else {
        f64::from(numerator) / f64::from(denominator.max(1)) / 1000.0
    }
}

/// How long the frames of a GIF are shown, without decoding them.
fn gif_durations_s(path: &Path) -> Result<Vec<f64>, Error> {
    let fault = |e: gif::DecodingError| match e {
        gif::DecodingError::Io(e) => Error::image(path)(image::ImageError::IoError(e)),
        e => {
            let hint = image::error::ImageFormatHint::Exact(ImageFormat::Gif);
            Error::image(path)(image::ImageError::Decoding(
                image::error::DecodingError::new(hint, e),
            ))
        }
    };
    let file = BufReader::new(File::open(path).map_err(Error::io("open", path))?);
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let mut decoder = options.read_info(file).map_err(fault)?;
    let mut durations_s = Vec::new();
    while let Some(frame) = decoder.next_frame_info().map_err(fault)? {
        durations_s.push(if frame.delay == 0 {
            UNTIMED_S
        } else {
            f64::from(frame.delay) / 100.0
        });
    }
    Ok(durations_s)
}

fn over_white(image: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0.map(u32::from);
        image::Rgb([r, g, b].map(|c| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparency_shows_white() {
        let flatten = |rgba| {
            over_white(&RgbaImage::from_pixel(1, 1, image::Rgba(rgba)))
                .get_pixel(0, 0)
                .0
        };
        assert_eq!(flatten([10, 20, 30, 255]), [10, 20, 30]);
        assert_eq!(flatten([10, 20, 30, 0]), [255; 3]);
        assert_eq!(flatten([0, 0, 0, 51]), [204; 3]);
    }
}
