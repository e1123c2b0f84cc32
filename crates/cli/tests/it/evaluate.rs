//! `kinvert evaluate`.

use std::path::Path;

use kinvert_video::{Clip, ReadOptions, read_clip, write_gif, write_mp4};
use serde_json::Value;

use crate::support::*;

/// A sprite clip that moves as another clip of the same seed and motion does, whatever it looks like.
fn sprite(folder: &Path, name: &str, look: &str) -> String {
    let path = folder.join(name).display().to_string();
    kinvert_line(
        &format!("sprites render --seed 5 --motion arc {look} -o"),
        &[&path],
    )
    .ended(0);
    path
}

fn record<'a>(records: &'a Value, measure: &str) -> &'a Value {
    let of = |record: &&Value| record["measure"] == measure;
    records
        .as_array()
        .unwrap()
        .iter()
        .find(of)
        .unwrap_or_else(|| panic!("no {measure} in {records}"))
}

fn value(records: &Value, measure: &str) -> f64 {
    record(records, measure)["value"]
        .as_f64()
        .unwrap_or_else(|| panic!("{measure} in {records}"))
}

#[test]
fn a_clip_is_measured_against_prompt_and_reference() {
    let folder = temp();
    let reference = sprite(
        folder.path(),
        "reference.gif",
        "--shape circle --colour red --background gray",
    );
    let result = sprite(
        folder.path(),
        "result.gif",
        "--shape star --colour yellow --background black",
    );
    let arguments = ["evaluate", &result, "--reference", &reference, "--no-cache"];
    let prompt = ["--prompt", "a yellow star on a black background"];
    let all = arguments
        .iter()
        .chain(&prompt)
        .chain(&["--metrics", "all", "--json"]);
    let records = kinvert(all).ended(0).json();
    let names: Vec<&str> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["measure"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 11, "{names:?}");
    for record in records.as_array().unwrap() {
        for field in [
            "value",
            "model",
            "preprocessing",
            "samples",
            "beside",
            "warnings",
            "kinvert_version",
        ] {
            assert!(
                record.get(field).is_some() || field == "beside",
                "{field} in {record}"
            );
        }
        assert!(record.get("detail").is_none(), "{record}");
    }
    assert!(value(&records, "path_correlation") > 0.99, "{records}");
    assert!(value(&records, "end_point_error") < 1.0, "{records}");
    assert!(value(&records, "motion_fidelity") > 0.9, "{records}");
    assert!(value(&records, "temporal_consistency") > 0.5, "{records}");
    let consistency = record(&records, "temporal_consistency");
    assert!(
        consistency["beside"]["motion_magnitude"].as_f64().unwrap() > 0.0,
        "{consistency}"
    );

    // The right prompt fits better than a wrong one.
    let wrong = [
        "--prompt",
        "a purple square on a striped background",
        "--json",
    ];
    let wrong = kinvert(arguments.iter().chain(&wrong)).ended(0).json();
    assert!(value(&records, "text_similarity") > value(&wrong, "text_similarity"));

    let table = kinvert(arguments.iter().chain(&prompt)).ended(0).stdout;
    assert!(table.starts_with("measure"), "{table}");
    assert!(
        table.contains("motion magnitude") && !table.contains("fid "),
        "{table}"
    );

    let detail = ["--metrics", "text_similarity", "--detail", "--json"];
    let detailed = kinvert(arguments.iter().chain(&prompt).chain(&detail))
        .ended(0)
        .json();
    assert_eq!(
        detailed[0]["detail"]["per_frame"].as_array().unwrap().len(),
        16
    );
}

#[test]
fn a_clip_against_itself_is_perfect() {
    let records = kinvert([
        "evaluate",
        &bounce(),
        "--reference",
        &bounce(),
        "--metrics",
        "all",
        "--json",
        "--no-cache",
    ])
    .ended(0)
    .json();
    for measure in [
        "motion_fidelity",
        "motion_fidelity.moving",
        "motion_fidelity.hybrid",
        "path_correlation",
    ] {
        assert!(
            (value(&records, measure) - 1.0).abs() < 1e-6,
            "{measure}: {records}"
        );
    }
    assert_eq!(value(&records, "end_point_error"), 0.0);
    assert!(value(&records, "fid").abs() < 1e-4, "{records}");
    // Without a prompt there is no text similarity.
    assert!(
        !records.to_string().contains("text_similarity"),
        "{records}"
    );
}

#[test]
fn clips_of_another_length_size_and_rate_are_measured_with_warnings() {
    let folder = temp();
    let clip = read_clip(Path::new(&bounce()), &ReadOptions::default()).unwrap();
    let other = clip.resized(96, 80, kinvert_video::Fit::Stretch).unwrap();
    let frames = other.frames()[..12].to_vec();
    let path = folder.path().join("other.mp4");
    write_mp4(&Clip::new(frames, 12.0).unwrap(), &path).unwrap();
    let records = kinvert([
        "evaluate",
        text(&path),
        "--reference",
        &bounce(),
        "--json",
        "--no-cache",
    ])
    .ended(0)
    .json();
    let warnings = record(&records, "motion_fidelity")["warnings"].to_string();
    for word in ["12", "16", "frames per second"] {
        assert!(warnings.contains(word), "{word} in {warnings}");
    }
}

#[test]
fn clips_in_which_nothing_happens_are_measured() {
    let folder = temp();
    let black = folder.path().join("black.gif");
    write_gif(
        &Clip::new(vec![image::RgbImage::new(64, 64); 5], 8.0).unwrap(),
        &black,
    )
    .unwrap();
    let one = first_frames(1, folder.path());
    for (result, reference) in [
        (text(&black), bounce()),
        (&one, bounce()),
        (&bounce(), one.clone()),
    ] {
        let line = [
            "evaluate",
            result,
            "--reference",
            &reference,
            "--prompt",
            "x",
            "--metrics",
            "all",
            "--json",
            "--no-cache",
        ];
        let records = kinvert(line).ended(0).json();
        for record in records.as_array().unwrap() {
            let explained = !record["warnings"].as_array().unwrap().is_empty();
            assert!(record["value"].is_number() || explained, "{record}");
        }
    }
    let records = kinvert(["evaluate", text(&black), "--json", "--no-cache"])
        .ended(0)
        .json();
    let consistency = record(&records, "temporal_consistency");
    assert!(
        consistency["warnings"].to_string().contains("hardly moves"),
        "{consistency}"
    );
}

#[test]
fn a_manifest_goes_on_where_it_was_stopped_and_tells_what_failed() {
    let folder = temp();
    sprite(folder.path(), "a.gif", "--colour red");
    sprite(folder.path(), "b.gif", "--colour blue");
    let manifest = folder.path().join("pairs.csv");
    let rows = "variant,result,reference,prompt\n\
                x,a.gif,b.gif,\"a red ring, moving\"\n\
                y,missing.gif,b.gif,\n\
                y,b.gif,,\n";
    std::fs::write(&manifest, rows).unwrap();
    let line = [
        "evaluate",
        "--manifest",
        text(&manifest),
        "--metrics",
        "main",
        "--no-cache",
    ];
    let first = kinvert(line)
        .ended(1)
        .saying(&["1 of 3 rows failed", "row 2", "missing.gif"]);
    assert!(
        first.stdout.contains("0 measured before, 1 failed"),
        "{first:?}"
    );

    let results = folder.path().join("pairs.results.jsonl");
    let lines: Vec<Value> = std::fs::read_to_string(&results)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines
            .iter()
            .map(|line| line["row"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(lines[0]["cells"]["variant"], "x");
    assert!(lines[1]["error"].as_str().unwrap().contains("missing.gif"));
    let table = std::fs::read_to_string(folder.path().join("pairs.results.csv")).unwrap();
    assert!(
        table.starts_with("variant,result,reference,prompt,text_similarity,"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 4);

    // A line that was cut off is measured again, and so is what failed.
    change_file(&results, |bytes| bytes.truncate(bytes.len() - 20));
    sprite(folder.path(), "missing.gif", "--colour green");
    let second = kinvert(line).ended(0);
    assert!(
        second.stdout.contains("1 measured before, 0 failed"),
        "{second:?}"
    );
    let third = kinvert(line).ended(0);
    assert!(
        third.stdout.contains("3 measured before, 0 failed"),
        "{third:?}"
    );

    // Other measures, other values.
    let other = kinvert([
        "evaluate",
        "--manifest",
        text(&manifest),
        "--metrics",
        "temporal-consistency",
        "--json",
        "--no-cache",
    ])
    .ended(0)
    .json();
    assert_eq!(other.as_array().unwrap().len(), 3);
    assert_eq!(other[2]["result"], "b.gif");
    assert_eq!(other[2]["row"], 3);
}

#[test]
fn manifests_that_cannot_be_read_are_refused_by_column_and_line() {
    let folder = temp();
    let path = folder.path().join("pairs.csv");
    for (contents, reason) in [
        ("", "no column `result`"),
        ("results,prompt\na,b\n", "no column `result`"),
        ("result,result\na,b\n", "`result` is there twice"),
        ("result\n", "no row"),
        ("result,prompt\na\n", "line: 2"),
        ("result\n\u{0}\n", "rows failed"),
    ] {
        std::fs::write(&path, contents).unwrap();
        kinvert(["evaluate", "--manifest", text(&path), "--no-cache"])
            .ended(1)
            .saying(&[reason]);
    }
    std::fs::write(&path, b"result\n\xff\xfe\n").unwrap();
    kinvert(["evaluate", "--manifest", text(&path)])
        .ended(1)
        .saying(&["UTF-8"]);
}

#[test]
fn sets_are_compared_and_their_statistics_kept() {
    let folder = temp();
    let (real, fake) = (folder.path().join("real"), folder.path().join("fake"));
    for (set, background) in [(&real, "gray"), (&fake, "striped")] {
        let line = format!("sprites render --count 3 --seed 2 --background {background} -o");
        kinvert_line(&line, &[text(set)]).ended(0); // captions.jsonl is passed over
    }
    let kept = folder.path().join("real.npz");
    let line = [
        "evaluate",
        "--fid",
        "--fake",
        text(&fake),
        "--json",
        "--no-cache",
    ];
    let first = kinvert(
        line.iter()
            .chain(&["--real", text(&real), "--keep-real", text(&kept)]),
    )
    .ended(0)
    .json();
    let fid = record(&first, "fid");
    assert_eq!(
        (
            &fid["samples"]["real_frames"],
            &fid["samples"]["real_files"]
        ),
        (&48.into(), &3.into())
    );
    assert!(fid["warnings"].to_string().contains("passed over"), "{fid}");
    assert!(
        value(&first, "fid") > 0.05 && value(&first, "kid") > 0.0,
        "{first}"
    );

    let second = kinvert(line.iter().chain(&["--real", text(&kept)]))
        .ended(0)
        .json();
    assert!(
        (value(&second, "fid") - value(&first, "fid")).abs() < 1e-5,
        "{second}"
    );
    assert!(record(&second, "kid")["value"].is_null(), "{second}");

    let same = kinvert(line.iter().chain(&["--real", text(&fake)]))
        .ended(0)
        .json();
    assert!(value(&same, "fid").abs() < 1e-5, "{same}");
}

#[test]
fn sets_that_are_none_are_refused() {
    let folder = temp();
    let (empty, one, broken) = (
        folder.path().join("empty"),
        folder.path().join("one"),
        folder.path().join("broken"),
    );
    for set in [&empty, &one, &broken] {
        std::fs::create_dir(set).unwrap();
    }
    std::fs::copy(first_frames(1, folder.path()), one.join("a.gif")).unwrap();
    std::fs::copy(bounce(), broken.join("a.mp4")).unwrap();
    std::fs::write(broken.join("b.png"), b"no image").unwrap();
    for (real, reason) in [
        (&empty, "no clips and no images"),
        (&one, "one frame, expected at least 2"),
        (&broken, "b.png"),
        (&folder.path().join("absent"), "absent"),
        (&folder.path().join("absent.npz"), "absent.npz"),
    ] {
        kinvert([
            "evaluate",
            "--fid",
            "--real",
            text(real),
            "--fake",
            text(&one),
            "--no-cache",
        ])
        .ended(1)
        .saying(&[reason]);
    }
}

#[test]
fn the_folder_of_a_transfer_is_measured_as_a_whole() {
    let folder = temp();
    std::fs::copy(bounce(), folder.path().join("reference.mp4")).unwrap();
    std::fs::copy(bounce(), folder.path().join("result.mp4")).unwrap();
    let run = |name: &str| {
        let run = format!(
            r#"{{"results": [{{"prompt": "a red circle on a gray background", "files": ["{name}"]}}], "files": {{"reference": "reference.mp4"}}}}"#
        );
        std::fs::write(folder.path().join("run.json"), run).unwrap();
        kinvert(["evaluate", text(folder.path()), "--json", "--no-cache"])
    };
    let records = run("some/where/result.mp4").ended(0).json();
    assert_eq!(value(&records, "path_correlation"), 1.0);
    assert!(value(&records, "text_similarity") > 0.0);
    assert!(folder.path().join("evaluation.csv").is_file());
    run("/etc/absent.mp4")
        .ended(1)
        .saying(&["row 1", "absent.mp4"]);
    run("..").ended(1).saying(&["a result without a file"]);
    run("result.mp4").ended(0);
    kinvert(["evaluate", text(folder.path()), "--prompt", "x"])
        .ended(2)
        .saying(&["its own reference"]);
}

#[test]
fn what_was_computed_before_is_taken_from_the_cache() {
    let folder = temp();
    let cache = folder.path().join("cache");
    let run = |more: &[&str]| {
        let line = ["evaluate", &bounce(), "--json"];
        let output = program(line.iter().chain(more))
            .env("KINVERT_CACHE", &cache)
            .output()
            .unwrap();
        Outcome::of(&output).ended(0).json()
    };
    let first = run(&[]);
    let entries = || std::fs::read_dir(&cache).map_or(0, Iterator::count);
    assert_eq!(entries(), 2, "embeddings and tracks");
    assert_eq!(run(&[]), first);
    assert_eq!(entries(), 2);
    run(&["--grid", "4"]);
    assert_eq!(entries(), 3);
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(run(&["--no-cache"]), first);
    assert_eq!(entries(), 0);
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let clip = bounce();
    kinvert(["evaluate"]).ended(2);
    kinvert(["evaluate", &clip, "--metrics", "fvd"])
        .ended(2)
        .saying(&["text_similarity"]);
    kinvert([
        "evaluate",
        &clip,
        "--metrics",
        "text_similarity",
        "--no-cache",
    ])
    .ended(2)
    .saying(&["a prompt"]);
    kinvert(["evaluate", &clip, "--metrics", "fid", "--no-cache"])
        .ended(2)
        .saying(&["a reference"]);
    kinvert(["evaluate", &clip, "--fid"]).ended(2);
    kinvert(["evaluate", "--fid", "--real", "x"]).ended(2);
    kinvert(["evaluate", &clip, "--grid", "0"]).ended(2);
    kinvert(["evaluate", "absent.mp4", "--no-cache"])
        .ended(1)
        .saying(&["absent.mp4"]);
    kinvert([
        "evaluate",
        &clip,
        "--clip-model",
        "openai/absent",
        "--no-cache",
    ])
    .ended(1)
    .saying(&[
        "openai/absent",
        "hint: run `kinvert models pull openai/absent`",
    ]);
    kinvert([
        "evaluate",
        &clip,
        "--tracker",
        "cotracker3",
        "--tracker-weights",
        "absent.pth",
    ])
    .ended(1)
    .saying(&["absent.pth"]);
    kinvert([
        "evaluate",
        &clip,
        "--features",
        "inception",
        "--inception-weights",
        "absent.pth",
    ])
    .ended(1)
    .saying(&["absent.pth"]);
}
