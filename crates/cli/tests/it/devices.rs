//! `kinvert devices`, and the number format of the base model.

use crate::support::{kinvert_line, motion, temp, text};

#[test]
fn the_processor_is_listed_with_what_it_can_do() {
    let devices = kinvert_line("devices --json", &[]).ended(0).json();
    let devices = devices.as_array().unwrap();
    let cpu = devices.iter().find(|device| device["device"] == "cpu");
    let cpu = cpu.unwrap();
    assert_eq!(cpu["kind"], "cpu");
    assert_eq!(cpu["dtypes"], serde_json::json!(["f32", "f16", "bf16"]));
    if cfg!(target_os = "linux") {
        let memory = &cpu["memory"];
        let [total, free] = ["total_bytes", "free_bytes"].map(|field| memory[field].as_u64());
        assert!(free > Some(0) && free <= total, "{memory}");
    }
    let told = kinvert_line("devices", &[]).ended(0);
    assert!(told.stdout.starts_with("cpu\n  name "), "{told:#?}");
}

#[test]
fn clips_are_generated_in_sixteen_bits() {
    let folder = temp();
    for dtype in ["f16", "bf16"] {
        let clip = folder.path().join(format!("{dtype}.gif"));
        let line = format!(
            "generate --device cpu --dtype {dtype} --motion {} --prompt x --steps 1 --json -o {}",
            motion(),
            text(&clip)
        );
        let report = kinvert_line(&line, &[]).ended(0).json();
        assert_eq!(report["dtype"], dtype);
        assert_eq!(report["device"], "cpu");
        assert!(clip.is_file());
    }
}
