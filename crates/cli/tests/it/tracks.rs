//! `kinvert tracks`.

use std::process::Stdio;

use kinvert_video::{ReadOptions, probe, read_clip};

use crate::support::*;

#[test]
fn the_whole_clip_or_its_last_frame_is_drawn() {
    let folder = temp();
    for (name, frames) in [("a.gif", 16), ("new/a.MP4", 16), ("a.png", 1)] {
        let path = folder.path().join(name);
        let outcome = kinvert(["tracks", &bounce(), "-o", text(&path)]).ended(0);
        assert!(
            outcome
                .stdout
                .contains("of 1024 points are followed through 16 frames of 64x64 by klt"),
            "{outcome:?}"
        );
        let info = probe(&path).unwrap();
        assert_eq!(
            (info.frames, info.width, info.height),
            (frames, 256, 256),
            "{name}"
        );
        let drawn = read_clip(&path, &ReadOptions::default()).unwrap();
        let shown = drawn.frames().last().unwrap().pixels();
        // Neither the red circle nor grey.
        let tails = shown.map(|pixel| pixel.0).filter(|[red, green, blue]| {
            *red.max(green).max(blue) > 150 && *red.min(blue) < 100 && *green.max(blue) > 150
        });
        assert!(tails.count() > 200, "{name} shows tails");
    }
}

#[test]
fn the_picture_is_put_into_the_current_folder_and_named_after_the_clip() {
    let folder = temp();
    let output = program(["tracks", "--quiet", &bounce()])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let outcome = Outcome::of(&output).ended(0);
    assert!(
        outcome.stdout.starts_with("bounce-tracks.gif: "),
        "{outcome:?}"
    );
    assert_eq!(outcome.stderr, "");
    assert!(folder.path().join("bounce-tracks.gif").is_file());
}

#[test]
fn json_tells_how_much_moves_and_on_request_where() {
    let folder = temp();
    let path = folder.path().join("a.png");
    let clip = bounce();
    let line = ["tracks", &clip, "--json", "--grid", "12", "-o", text(&path)];
    let told = kinvert(line).ended(0).json();
    assert_eq!(told["path"], text(&path));
    assert_eq!(told["clip"], clip.as_str());
    assert_eq!(told["tracker"]["name"], "klt");
    assert_eq!(
        (&told["tracks"], &told["frames"]),
        (&144.into(), &16.into())
    );
    assert_eq!(told["size"], serde_json::json!([64, 64]));
    assert!(told["points"].is_null());
    let surviving = told["surviving"].as_u64().unwrap();
    assert!((20..144).contains(&surviving), "{told}");
    let magnitude = told["motion_magnitude"].as_f64().unwrap();
    assert!(magnitude > 0.005 && magnitude < 1.0, "{told}");

    let told = kinvert(line.into_iter().chain(["--points"]))
        .ended(0)
        .json();
    let points = told["points"].as_array().unwrap();
    assert_eq!(points.len(), 144);
    let whole = |point: &&serde_json::Value| {
        assert_eq!(point["places"].as_array().unwrap().len(), 16);
        let visible = point["visible"].as_array().unwrap();
        visible.iter().all(|visible| visible == true)
    };
    assert_eq!(points.iter().filter(whole).count() as u64, surviving);
    assert_eq!(points[0]["places"][0], serde_json::json!([1.0, 1.0]));
}

#[test]
fn what_cannot_be_tracked_is_refused() {
    let folder = temp();
    let at = |name: &str| folder.path().join(name);
    let (missing, good, bad) = (at("missing.mp4"), at("a.gif"), at("a.jpg"));
    kinvert(["tracks", text(&missing), "-o", text(&good)])
        .ended(1)
        .saying(&["missing.mp4: cannot open", "hint: "]);
    kinvert(["tracks", &bounce(), "-o", text(&bad)])
        .ended(2)
        .saying(&["a.jpg: expected a name that ends in .gif, .mp4 or .png"]);
    let one = first_frames(1, folder.path());
    kinvert(["tracks", &one, "-o", text(&good)])
        .ended(1)
        .saying(&["first-1.gif: one frame has no motion"]);
    for (more, expected) in [
        ("--grid 0", "1..=256"),
        ("--tracker nobody", "klt"),
        ("--points", "--json"),
    ] {
        kinvert_line("tracks clip.mp4", &more.split(' ').collect::<Vec<_>>())
            .ended(2)
            .saying(&[expected]);
    }
    assert!(!good.exists() && !bad.exists());
}
