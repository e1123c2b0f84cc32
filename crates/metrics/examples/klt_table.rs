//! Prints how well the tracker `klt` follows points of sprite clips: every motion over every background, eight
//! clips each. The README of this crate holds the result.
//!
//! `cargo run --release -p kinvert-metrics --example klt_table`

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a program that prints, on clips that are known to be good

#[path = "../tests/it/sprite_truth.rs"]
mod sprite_truth;

use kinvert_metrics::klt::Klt;
use kinvert_world::{Background, Motion};
use sprite_truth::{Score, Scores, scene, score};

const SEEDS: u64 = 8;

fn main() {
    println!(
        "| motion | background | sprite: kept | error px | at rest: kept | error px | panning: kept | error px | covered: given up |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|"
    );
    let klt = Klt::default();
    let mut all = Scores::default();
    for motion in Motion::ALL {
        for background in Background::ALL {
            let mut scores = Scores::default();
            for seed in 0..SEEDS {
                scores.add(score(&klt, &scene(motion, background, seed)));
            }
            println!("{}", row(motion.name(), background.name(), &scores));
            all.add(scores);
        }
    }
    println!("{}", row("**all**", "", &all));
}

fn row(motion: &str, background: &str, scores: &Scores) -> String {
    let Scores {
        sprite,
        resting,
        panning,
        covered,
        given_up,
    } = scores;
    let [sprite, resting, panning] = [sprite, resting, panning].map(cells);
    let given_up = match covered {
        0 => "–".into(),
        _ => percent(*given_up as f64 / *covered as f64),
    };
    format!("| {motion} | {background} | {sprite} | {resting} | {panning} | {given_up} |")
}

/// The share of points that were kept, and the mean error of those that count as seen.
fn cells(score: &Score) -> String {
    if score.started == 0 {
        return "– | –".into();
    }
    format!("{} | {:.2}", percent(score.kept_share()), score.mean_px())
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
