//! Laws of scenes and captions.

use kinvert_world::{Background, Colour, Look, MAX_POSITION, Path, SIZE, Scene, Shape};
use proptest::prelude::*;
use proptest::sample::select;

fn looks() -> impl Strategy<Value = Look> {
    let all: Vec<Look> = Look::all().collect();
    select(all)
}

proptest! {
    #[test]
    fn captions_round_trip_with_either_article_and_any_spacing(
        look in looks(), an in any::<bool>(), space in "[ \t]{1,3}", upper in any::<bool>(),
    ) {
        let caption = look.caption();
        let (article, rest) = caption.split_once(' ').unwrap();
        prop_assert_eq!(article == "an", look.colour == Colour::Orange);
        let other = format!("{} {rest}", if an { "an" } else { "a" }).replace(' ', &space);
        let other = if upper { other.to_uppercase() } else { other };
        prop_assert_eq!(Look::parse(&other).unwrap(), look);
    }

    #[test]
    fn no_sentence_makes_parsing_panic(sentence in "\\PC{0,60}") {
        if let Ok(look) = Look::parse(&sentence) {
            prop_assert_eq!(Look::parse(&look.caption()).unwrap(), look);
        }
    }

    #[test]
    fn coverage_is_a_share_and_falls_with_distance(
        shape in select(Shape::ALL.to_vec()), x in -40.0..40.0f64, y in -40.0..40.0f64, radius in 4.0..15.0f64,
    ) {
        let coverage = shape.coverage(x, y, radius);
        prop_assert!((0.0..=1.0).contains(&coverage));
        if x.hypot(y) > Shape::REACH * radius + 1.0 {
            prop_assert_eq!(coverage, 0.0);
        }
    }

    #[test]
    fn centres_stay_within_the_clipped_square(seed in any::<u64>()) {
        let scene = Scene::random(seed);
        for [x, y] in scene.centre_path() {
            let half = f64::from(SIZE) / 2.0;
            for coordinate in [x, y] {
                prop_assert!((coordinate - half).abs() <= MAX_POSITION * half + 1e-9);
            }
        }
        let [first, last] = scene.radius_px;
        prop_assert!((7.5..=11.5).contains(&first));
        prop_assert!((0.65 * 7.5..=14.0).contains(&last));
        prop_assert!((0.649..=1.501).contains(&(last / first)));
    }
}

#[test]
fn one_seed_renders_one_clip() {
    for seed in [0, 1, u64::MAX] {
        assert_eq!(Scene::random(seed).render(), Scene::random(seed).render());
    }
    assert_ne!(Scene::random(0).render(), Scene::random(1).render());
}

#[test]
fn the_painted_area_is_that_of_the_formula() {
    for shape in Shape::ALL {
        let look = Look {
            colour: Colour::White,
            shape,
            background: Background::Black,
        };
        let scene = Scene {
            look,
            radius_px: [10.0, 10.0],
            path: Path::Still { at: [0.0, 0.0] },
            pan_px: [0.0; 2],
        };
        let frame = &scene.render()[0];
        let painted: f64 = frame
            .pixels()
            .map(|pixel| (f64::from(pixel.0[0]) - 8.0) / (245.0 - 8.0)) // levels of black and white
            .sum();
        let expected = shape.area(10.0);
        assert!(
            (painted / expected - 1.0).abs() < 0.02,
            "{shape}: {painted} {expected}"
        );
    }
}

#[test]
fn a_pan_moves_the_pattern_by_whole_pixels_when_asked() {
    let still = Scene {
        look: Look::parse("a red circle on a checkered background").unwrap(),
        path: Path::Still { at: [-0.72, -0.72] },
        radius_px: [2.0, 2.0], // out of the way
        pan_px: [0.0; 2],
    };
    let panned = Scene {
        pan_px: [2.0, -1.0],
        ..still
    };
    let (still, panned) = (still.render(), panned.render());
    for y in 16..56 {
        for x in 16..56 {
            let (before, after) = (still[3].get_pixel(x, y), panned[3].get_pixel(x + 6, y - 3));
            for (a, b) in before.0.iter().zip(after.0) {
                assert!(a.abs_diff(b) <= 1, "({x}, {y})");
            }
        }
    }
}
