//! The tracker `klt` on sprite clips, whose true paths are known. The whole table is in the crate's README.

use kinvert_metrics::klt::Klt;
use kinvert_world::{Background, Motion};

use crate::sprite_truth::{Score, Scores, scene, score};

/// Scores of every motion over a background, each held against `check`, and all of them together.
fn scores(background: Background, seeds: &[u64], check: impl Fn(&str, &Scores)) -> Scores {
    let mut all = Scores::default();
    for motion in Motion::ALL {
        let mut scores = Scores::default();
        for &seed in seeds {
            scores.add(score(&Klt::default(), &scene(motion, background, seed)));
        }
        check(&format!("{motion} over {background}"), &scores);
        all.add(scores);
    }
    all
}

fn check_error(case: &str, what: &str, score: &Score, limit_px: f64) {
    let mean_px = score.mean_px();
    assert!(mean_px < limit_px, "{case}: {what} off by {mean_px} px");
}

fn check_kept(background: Background, what: &str, score: &Score, least: f64) {
    let kept = score.kept_share();
    assert!(kept > least, "{background}: {kept} of {what} kept");
}

fn check_given_up(background: Background, scores: &Scores) {
    let given_up = scores.given_up as f64 / scores.covered as f64;
    assert!(
        given_up > 0.9,
        "{background}: {given_up} of what is covered given up"
    );
}

#[test]
fn points_are_followed_over_a_plain_background() {
    let all = scores(Background::Gray, &[5], |case, scores| {
        check_error(case, "sprite", &scores.sprite, 0.5);
        check_error(case, "background", &scores.resting, 0.2);
    });
    check_kept(Background::Gray, "sprites", &all.sprite, 0.75);
    check_kept(Background::Gray, "background", &all.resting, 0.6);
    check_given_up(Background::Gray, &all);
}

#[test]
fn points_are_followed_over_squares_that_rest_or_pan() {
    let all = scores(Background::Checkered, &[2, 5], |case, scores| {
        check_error(case, "sprite", &scores.sprite, 1.0);
        check_error(case, "background at rest", &scores.resting, 0.2);
        check_error(case, "panning background", &scores.panning, 0.5);
    });
    check_kept(Background::Checkered, "sprites", &all.sprite, 0.7);
    check_kept(
        Background::Checkered,
        "background at rest",
        &all.resting,
        0.6,
    );
    check_kept(
        Background::Checkered,
        "panning background",
        &all.panning,
        0.3,
    );
    check_given_up(Background::Checkered, &all);
}

#[test]
fn nobody_can_tell_how_stripes_move_along_themselves() {
    let all = scores(Background::Striped, &[2, 5], |case, scores| {
        check_error(case, "sprite", &scores.sprite, 1.0);
        check_error(case, "background at rest", &scores.resting, 0.2);
    });
    check_kept(Background::Striped, "sprites", &all.sprite, 0.7);
    check_kept(Background::Striped, "background at rest", &all.resting, 0.5);
    check_given_up(Background::Striped, &all);
    let kept = all.panning.kept_share();
    // No track is better than a wrong one. What is let through as noise is a slow pan.
    assert!(kept < 0.08, "{kept} of the panning stripes kept");
}
