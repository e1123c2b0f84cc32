//! LoRAs: learned beside a motion, kept, exported, loaded.

use std::path::Path;

use crate::support::*;

fn generated(folder: &Path, name: &str, flags: &str) -> serde_json::Value {
    let out = folder.join(name);
    let line = format!("generate --steps 1 --json {flags} -o {}", text(&out));
    kinvert_line(&line, &["--prompt", "a star"]).ended(0).json()
}

#[test]
fn a_kept_lora_is_inspected_exported_and_loaded() {
    let folder = temp();
    let motion = folder.path().join("a.motion.safetensors");
    let line = format!(
        "invert {} --json -o {} --frames 2 --steps 2 --ddim-inversion-steps 1 --objective debiased-hybrid \
         --keep-lora --lora-rank 4 --lora-lr 0.05 --lora-dropout 0 --lora-probability 1",
        bounce(),
        text(&motion)
    );
    let report = kinvert_line(&line, &[]).ended(0).json();
    let metadata = &report["metadata"];
    assert_eq!(metadata["lora_losses"].as_array().unwrap().len(), 2);
    let settings = &metadata["settings"];
    assert_eq!(settings["objective"], "debiased-hybrid");
    assert_eq!(
        (&settings["lora_rank"], &settings["lora_learning_rate"]),
        (&4.into(), &0.05.into())
    );
    assert_eq!(
        (&settings["lora_dropout"], &settings["lora_probability"]),
        (&0.0.into(), &1.0.into())
    );
    let told = kinvert(["inspect", text(&motion)]).ended(0).stdout;
    assert!(told.contains("\nlora      "), "{told}");

    let lora = folder.path().join("looks.safetensors");
    let exported = kinvert(["export", text(&motion), "--lora", text(&lora), "--json"])
        .ended(0)
        .json();
    let inspected = kinvert(["inspect", text(&motion), "--json"])
        .ended(0)
        .json();
    assert_eq!(exported["sha256"], inspected["lora"]["sha256"]);
    let layers = exported["layers"].as_array().unwrap();
    assert_eq!(inspected["lora"]["layers"], layers.len());
    assert!(
        layers
            .iter()
            .all(|layer| layer["rank"] == 4 && layer["alpha"] == 4.0)
    );

    let replay = format!("--motion {}", text(&motion));
    let load = format!("{replay} --lora {}", text(&lora));
    let sha256 = |name, flags: &str| {
        let report = generated(folder.path(), name, flags);
        report["results"][0]["sha256"].as_str().unwrap().to_string()
    };
    let plain = sha256("plain.gif", &replay);
    let kept = sha256("kept.gif", &format!("{replay} --lora-strength 1"));
    assert_ne!(plain, kept);
    assert_eq!(
        sha256("off.gif", &format!("{load} --lora-strength 0")),
        plain
    );
    let report = generated(folder.path(), "loaded.gif", &load);
    assert_eq!(report["results"][0]["sha256"], kept);
    assert_eq!(report["lora"]["sha256"], exported["sha256"]);
    assert_eq!(report["lora"]["name"], text(&lora));
}

#[test]
fn impossible_loras_are_refused() {
    let folder = temp();
    let out = folder.path().join("x.safetensors");
    kinvert(["export", motion(), "--lora", text(&out)])
        .ended(1)
        .saying(&["holds no LoRA", "--keep-lora"]);
    assert!(!out.exists());

    let generate = format!(
        "generate --motion {} --prompt x -o {}.gif",
        motion(),
        text(&out)
    );
    let other = repository().join("tests/fixtures/unet3d_lora/alpha_4/older_form.safetensors");
    for (flags, expected) in [
        (
            format!("--lora {}", text(&other)),
            "not a usable LoRA file: ",
        ),
        (format!("--lora {}", motion()), "is no part of a LoRA"),
        ("--lora /no/such/file".into(), "reading failed"),
        (
            "--lora-strength 0.5".into(),
            "`lora strength` is 0.5, expected 0, for neither",
        ),
        ("--lora-strength nan".into(), "`lora strength` is NaN"),
    ] {
        kinvert_line(&format!("{generate} {flags}"), &[])
            .ended(1)
            .saying(&[expected]);
    }
    let learn = format!("invert {} -o {} --frames 2", bounce(), text(&out));
    for (flags, expected) in [
        ("--lora-rank 0", "`lora rank` is 0, expected between 1 and"),
        ("--lora-dropout 1", "`lora dropout` is 1"),
        ("--lora-probability 2", "`lora probability` is 2"),
        ("--lora-lr 0", "`lora learning rate` is 0"),
    ] {
        let outcome = kinvert_line(&format!("{learn} {flags}"), &[]);
        assert_ne!(outcome.code, Some(0), "{flags}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
    }
}

#[test]
fn a_lora_that_no_objective_learns_is_told_of() {
    let folder = temp();
    let out = folder.path().join("x.motion.safetensors");
    let line = format!(
        "invert {} -o {} --frames 2 --steps 1 --ddim-inversion-steps 1 --keep-lora",
        bounce(),
        text(&out)
    );
    kinvert_line(&line, &[])
        .ended(0)
        .saying(&["there is no LoRA to keep"]);
}
