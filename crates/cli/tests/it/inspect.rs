//! `kinvert inspect` and `kinvert models`.

use crate::support::*;

#[test]
fn motions_clips_and_models_are_told_apart() {
    let told = kinvert(["inspect", motion()]).ended(0).stdout;
    assert!(
        told.starts_with("motion    4 frames of 64x64 at 8 fps"),
        "{told}"
    );
    assert!(
        told.contains("caption   \"a red circle on a gray background\""),
        "{told}"
    );
    assert!(
        told.contains("up_blocks.2.temp_attentions.1.transformer_blocks.0: grid [8, 8]"),
        "{told}"
    );

    let json = kinvert(["inspect", motion(), "--json"]).ended(0).json();
    assert_eq!(
        (&json["kind"], &json["metadata"]["frames"]),
        (&"motion".into(), &4.into())
    );
    assert_eq!(json["sites"].as_array().unwrap().len(), 6);
    assert_eq!(json["sites"][0]["query_key"], serde_json::json!([1, 4, 64]));
    assert_eq!(
        json["sites"][0]["values"][1],
        serde_json::json!([64, 4, 64])
    );
    assert_eq!(json["inverted_latents"], serde_json::json!([1, 4, 4, 8, 8]));

    let told = kinvert(["inspect", &bounce()]).ended(0).stdout;
    assert_eq!(
        told,
        "clip      16 frames of 64x64 at 8 fps, 2.00 s\ncoding    H.264 in MP4\n"
    );
    let json = kinvert(["inspect", &bounce(), "--json"]).ended(0).json();
    assert_eq!(
        (&json["kind"], &json["frames"]),
        (&"clip".into(), &16.into())
    );

    let folder = temp();
    let model = model_copy(folder.path());
    let told = kinvert(["inspect", text(&model)]).ended(0).stdout;
    assert!(
        told.starts_with("sprites\n  clips     16 frames of 64x64"),
        "{told}"
    );
    let json = kinvert(["inspect", text(&model), "--json"]).ended(0).json();
    assert_eq!(
        (&json["kind"], &json["prediction_type"]),
        (&"model".into(), &"epsilon".into())
    );
    assert!(json["sites"].as_array().unwrap().len() > 6);
}

#[test]
fn models_lists_the_built_in_one_folders_and_those_of_the_variable() {
    let folder = temp();
    model_copy(folder.path());
    let output = program(["models", "--json"])
        .env("KINVERT_MODELS", folder.path())
        .output()
        .unwrap();
    let list = Outcome::of(&output).ended(0).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["path"], serde_json::Value::Null);
    assert_eq!(
        list[0]["sha256"], list[1]["sha256"],
        "the same files have the same hash"
    );
    assert!(list[1]["path"].as_str().unwrap().ends_with("model"));
    for field in [
        "name",
        "frames",
        "size",
        "fps",
        "prediction_type",
        "sites",
        "inversion",
        "generation",
    ] {
        assert!(!list[0][field].is_null(), "{field}");
    }

    let broken = kinvert(["models", text(folder.path())]).ended(1);
    assert!(
        broken
            .stdout
            .contains("unusable  cannot load the base model"),
        "{broken:#?}"
    );
    assert!(
        broken.stdout.starts_with("sprites\n"),
        "the others are listed: {broken:#?}"
    );
    let output = program(["models"])
        .env("KINVERT_MODELS", folder.path().join("missing"))
        .output()
        .unwrap();
    Outcome::of(&output)
        .ended(1)
        .saying(&["missing: cannot list the models (KINVERT_MODELS)"]);
}

#[test]
fn help_is_complete() {
    for command in [
        "transfer",
        "invert",
        "generate",
        "inspect",
        "models",
        "models list",
        "models pull",
        "models inspect",
        "models verify",
        "sprites render",
    ] {
        let help = kinvert_line(command, &["--help"]).ended(0).stdout;
        assert!(help.contains("Examples:\n  kinvert"), "{command}");
        assert!(help.contains("With --json, stdout carries"), "{command}");
        assert!(
            !help.contains('\u{1b}'),
            "{command}: colours without a terminal"
        );
    }
    kinvert(["--version"]).ended(0);
    kinvert([""; 0]).ended(2).saying(&["Usage: kinvert"]);
}
