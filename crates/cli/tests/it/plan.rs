//! `kinvert plan`.

use kinvert_testkit::fixtures_dir;

use crate::support::kinvert;

#[test]
fn a_plan_needs_configurations_alone() {
    let folder = fixtures_dir().join("published/zeroscope_v2_576w");
    let model = folder.to_str().unwrap();
    let plan = kinvert(["plan", "--model", model, "--dtype", "bf16", "--json"])
        .ended(0)
        .json();
    assert_eq!(
        (&plan["frames"], &plan["size"][0]),
        (&24.into(), &576.into())
    );
    assert_eq!(plan["parameters"]["unet"], 1_411_233_860_u64);
    assert_eq!(plan["precision"], "bf16");
    let bytes = |name: &str| plan["learning"][name].as_u64().unwrap();
    assert!(bytes("bytes_if_recomputed") < bytes("bytes_if_kept"));

    let low = kinvert([
        "plan",
        "--model",
        model,
        "--dtype",
        "bf16",
        "--low-memory",
        "--json",
    ])
    .ended(0)
    .json();
    assert_eq!(low["recompute"], true);
    assert!(low["bytes"].as_u64() < plan["bytes"].as_u64());
    assert!(low["flops"].as_u64() > plan["flops"].as_u64());
}

#[test]
fn what_does_not_fit_is_told_with_what_would() {
    let text = kinvert(["plan", "--frames", "4000", "--size", "4096x4096"])
        .ended(0)
        .stdout;
    assert!(text.contains("this does not fit; "), "{text}");
    assert!(
        text.contains("frames of 4096x4096") || text.contains("4000 frames of"),
        "{text}"
    );
}
