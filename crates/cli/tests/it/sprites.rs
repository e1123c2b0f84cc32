//! `kinvert sprites render`.

use kinvert_video::{ReadOptions, probe, read_clip};
use kinvert_world::track;

use crate::support::*;

#[test]
fn one_clip_has_its_caption_on_stdout() {
    let folder = temp();
    for name in ["a.mp4", "a.gif"] {
        let path = folder.path().join(name);
        let line = "sprites render --shape ring --colour orange --background navy --motion wave --seed 3 -o";
        let outcome = kinvert_line(line, &[text(&path)]).ended(0);
        assert_eq!(outcome.stdout, "an orange ring on a navy background\n");
        let info = probe(&path).unwrap();
        assert_eq!((info.frames, info.width, info.fps), (16, 64, 8.0));
    }
}

#[test]
fn several_clips_come_with_captions_and_true_paths() {
    let folder = temp();
    let out = folder.path().join("clips");
    kinvert_line(
        "sprites render --count 3 --seed 9 --motion arc --background gray -o",
        &[text(&out)],
    )
    .ended(0);
    let captions = std::fs::read_to_string(out.join("captions.jsonl")).unwrap();
    let captions: Vec<serde_json::Value> = captions
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(captions.len(), 3);
    for (caption, seed) in captions.iter().zip(9..) {
        assert_eq!(caption["seed"], seed);
        assert!(
            caption["caption"]
                .as_str()
                .unwrap()
                .ends_with("on a gray background")
        );
        let clip = read_clip(
            &out.join(caption["file"].as_str().unwrap()),
            &ReadOptions::default(),
        )
        .unwrap();
        let truth: Vec<[f64; 2]> = serde_json::from_value(caption["centres_px"].clone()).unwrap();
        let found = track::centroid_path(clip.frames(), None);
        assert!(track::path_correlation(&truth, &found) > 0.98, "{caption}");
    }
}

#[test]
fn words_that_are_not_of_this_world_are_refused() {
    kinvert_line("sprites render --shape blob -o a.mp4", &[])
        .ended(2)
        .saying(&["circle, ring, square"]);
    kinvert_line("sprites render --count 0 -o a.mp4", &[]).ended(2);
    kinvert_line("sprites render --count 2 -o a.mp4", &[])
        .ended(2)
        .saying(&["2 clips need a folder"]);
}
