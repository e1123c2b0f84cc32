//! Writes a picture of the whole world: every shape in every colour over every background, and below them the
//! frames of one clip per motion.
//!
//! `cargo run --release -p kinvert-world --example contact_sheet -- sheet.png`

use image::{ImageResult, RgbImage, imageops};
use kinvert_world::{Colour, Look, Motion, Path, SIZE, Scene};

fn main() -> ImageResult<()> {
    let path = std::env::args().nth(1).unwrap_or("sheet.png".to_owned());
    let mut rows: Vec<Vec<RgbImage>> = Vec::new();
    let looks: Vec<Look> = Look::all().collect();
    for row in looks.chunks(2 * Colour::ALL.len()) {
        let picture = |look: &Look| {
            let scene = Scene {
                look: *look,
                path: Path::Still { at: [0.0, 0.0] },
                radius_px: [11.0; 2],
                pan_px: [0.0; 2],
            };
            scene.render().swap_remove(0)
        };
        rows.push(row.iter().map(picture).collect());
    }
    for (seed, motion) in Motion::ALL.into_iter().enumerate() {
        rows.push(Scene::random_with_motion(motion, seed as u64).render());
    }

    let columns = 2 * Colour::ALL.len() as u32;
    let mut sheet = RgbImage::new(columns * (SIZE + 2), rows.len() as u32 * (SIZE + 2));
    for (j, row) in rows.iter().enumerate() {
        for (i, picture) in row.iter().enumerate() {
            let (x, y) = (i as i64 * (SIZE as i64 + 2), j as i64 * (SIZE as i64 + 2));
            imageops::replace(&mut sheet, picture, x, y);
        }
    }
    sheet.save(path)
}
