//! `kinvert tracks`.

use kinvert_video::{ReadOptions, probe, read_clip};

use crate::support::*;

#[test]
fn tracks_are_drawn_as_clip_and_as_picture() {
    let folder = temp();
    for name in ["tracks.gif", "tracks.mp4"] {
        let path = folder.path().join(name);
        let outcome = kinvert(["tracks", &bounce(), "-o", text(&path), "--grid", "16"]).ended(0);
        assert!(outcome.stdout.contains("256 tracks by klt"), "{outcome:?}");
        let info = probe(&path).unwrap();
        assert_eq!((info.frames, info.width, info.height), (16, 384, 384));
    }
    let path = folder.path().join("ways.png");
    kinvert(["tracks", &bounce(), "-o", text(&path)]).ended(0);
    let picture = read_clip(&path, &ReadOptions::default()).unwrap();
    assert_eq!((picture.len(), picture.width()), (1, 384));
}

#[test]
fn places_are_told_on_request() {
    let folder = temp();
    let path = folder.path().join("ways.png");
    let line = [
        "tracks",
        &bounce(),
        "-o",
        text(&path),
        "--grid",
        "3",
        "--json",
    ];
    let report = kinvert(line).ended(0).json();
    assert_eq!(
        (&report["tracks"], &report["frames"]),
        (&9.into(), &16.into())
    );
    assert_eq!(report["tracker"]["name"], "klt");
    assert!(report.get("points").is_none(), "{report}");
    let report = kinvert(line.iter().chain(&["--points"])).ended(0).json();
    let points = report["points"].as_array().unwrap();
    assert_eq!(
        (points.len(), points[0]["places"].as_array().unwrap().len()),
        (9, 16)
    );
    assert_eq!(points[0]["places"][0][0], 1.0);
}

#[test]
fn a_single_frame_has_tracks_that_stay() {
    let folder = temp();
    let path = folder.path().join("one.png");
    let one = first_frames(1, folder.path());
    let outcome = kinvert(["tracks", &one, "-o", text(&path)]).ended(0);
    assert!(
        outcome.stdout.contains("no motion magnitude"),
        "{outcome:?}"
    );
}

#[test]
fn what_cannot_be_tracked_or_written_is_refused() {
    let folder = temp();
    let path = folder.path().join("tracks.webm");
    kinvert(["tracks", &bounce(), "-o", text(&path)])
        .ended(2)
        .saying(&[".gif, .mp4 or .png"]);
    kinvert(["tracks", "absent.mp4"])
        .ended(1)
        .saying(&["absent.mp4"]);
    let path = folder.path().join("tracks.gif");
    kinvert([
        "tracks",
        &bounce(),
        "-o",
        text(&path),
        "--tracker",
        "cotracker3",
        "--tracker-weights",
        &bounce(),
    ])
    .ended(1)
    .saying(&["cannot load CoTracker3"]);
    assert!(!path.exists());
}
