//! A folder of images as a clip.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use crate::animation::read_still;
use crate::clip::Size;
use crate::read::{ClipInfo, Timeline};
use crate::select::{Collector, Selector};
use crate::{Clip, Error, ReadOptions};

/// Reads the images of a folder in the natural order of their names.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<Clip, Error> {
    let files = images(path)?;
    let (Some(first), frame_s) = (files.first(), 1.0 / options.image_fps) else {
        return Err(Error::NoImages {
            path: path.to_owned(),
        });
    };
    let expected = Size::of(&read_still(first, options)?);
    let mut selector = Selector::new(&options.frames);
    let mut collector = Collector::new(path, options, expected)?;
    for (i, file) in files.iter().enumerate() {
        let times = selector.next((i + 1) as f64 * frame_s);
        collector.keep(times, || {
            let image = read_still(file, options)?;
            let found = Size::of(&image);
            if found != expected {
                return Err(Error::SizeChanges {
                    path: file.clone(),
                    found,
                    expected,
                });
            }
            Ok(image)
        })?;
        if selector.is_done() {
            break;
        }
    }
    collector.finish(selector.seen(), options.image_fps)
}

pub(crate) fn info(path: &Path, options: &ReadOptions) -> Result<ClipInfo, Error> {
    let files = images(path)?;
    let first = files.first().ok_or_else(|| Error::NoImages {
        path: path.to_owned(),
    })?;
    let size = Size::of(&read_still(first, options)?);
    let timeline = Timeline::in_order(vec![1.0 / options.image_fps; files.len()], 0.0);
    let codec = extension(first).unwrap_or_default().to_uppercase();
    ClipInfo::of_timeline(path, "folder of images", codec, size, &timeline, 0)
}

fn extension(path: &Path) -> Option<String> {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
}

/// The images of a folder, without hidden files, in natural order.
fn images(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
        let file = entry.map_err(Error::io("list", path))?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_image = matches!(
            extension(&file).as_deref(),
            Some("png" | "jpg" | "jpeg" | "webp")
        );
        if is_image && !name.starts_with('.') && file.is_file() {
            files.push(file);
        }
    }
    files.sort_by(|a, b| {
        let name = |path: &PathBuf| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        natural_order(&name(a), &name(b)).then_with(|| a.cmp(b))
    });
    Ok(files)
}

/// Compares names such that runs of digits count as numbers: `frame2` comes before `frame10`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (digits_a, digits_b) = (leading_digits(a), leading_digits(b));
        if digits_a.is_empty() || digits_b.is_empty() {
            match (a.chars().next(), b.chars().next()) {
                (Some(x), Some(y)) if x == y => {
                    a = &a[x.len_utf8()..];
                    b = &b[y.len_utf8()..];
                }
                (x, y) => return x.cmp(&y),
            }
            continue;
        }
        let number = |digits: &str| digits.trim_start_matches('0').to_owned();
        let (x, y) = (number(digits_a), number(digits_b));
        match x.len().cmp(&y.len()).then(x.cmp(&y)) {
            Ordering::Equal => {
                a = &a[digits_a.len()..];
                b = &b[digits_b.len()..];
            }
            order => return order,
        }
    }
}

fn leading_digits(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = [
            "frame10.png",
            "frame2.png",
            "frame01.png",
            "a.png",
            "frame2b.png",
            "10.png",
            "9.png",
        ];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            [
                "9.png",
                "10.png",
                "a.png",
                "frame01.png",
                "frame2.png",
                "frame2b.png",
                "frame10.png"
            ]
        );
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[a0-2]{0,5}", b in "[a0-2]{0,5}", c in "[a0-2]{0,5}") {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
                prop_assert!(natural_order(&a, &c).is_le());
            }
        }
    }
}
