//! The tracker `klt` on sprite clips, whose true paths are known. The whole table is in the crate's README.

use kinvert_metrics::klt::Klt;
use kinvert_sprites::{Background, Motion};

use crate::sprite_truth::{Scores, scene, score};

#[test]
fn points_of_sprites_and_of_their_backgrounds_are_followed() {
    let klt = Klt::default();
    for background in [Background::Gray, Background::Checkered, Background::Striped] {
        for motion in Motion::ALL {
            let mut scores = Scores::default();
            let seeds: &[u64] = if background.is_patterned() {
                &[2, 5]
            } else {
                &[5]
            };
            for &seed in seeds {
                scores.add(score(&klt, &scene(motion, background, seed)));
            }
            let case = format!("{motion} over {background}");
            let Scores {
                sprite,
                resting,
                panning,
                covered,
                given_up,
            } = scores;

            let (mean_px, kept) = (sprite.mean_px(), sprite.kept_share());
            assert!(mean_px < 0.8, "{case}: sprite off by {mean_px} px");
            assert!(kept > 0.1, "{case}: {kept} of the sprite kept");

            let (mean_px, kept) = (resting.mean_px(), resting.kept_share());
            assert!(
                mean_px < 0.2,
                "{case}: background at rest off by {mean_px} px"
            );
            assert!(kept > 0.4, "{case}: {kept} of the background at rest kept");

            match background {
                Background::Checkered => {
                    let (mean_px, kept) = (panning.mean_px(), panning.kept_share());
                    assert!(
                        mean_px < 0.5,
                        "{case}: panning background off by {mean_px} px"
                    );
                    assert!(kept > 0.2, "{case}: {kept} of the panning background kept");
                }
                // Nobody can tell how stripes move along themselves: no track is better than a wrong one.
                Background::Striped => {
                    let kept = panning.kept_share();
                    assert!(kept < 0.08, "{case}: {kept} of the panning stripes kept");
                }
                _ => assert_eq!(panning.started, 0),
            }

            let given_up = given_up as f64 / covered.max(1) as f64;
            assert!(
                covered < 100 || given_up > 0.8,
                "{case}: {given_up} of covered points given up"
            );
        }
    }
}
