//! What wordings ask for.

use kinvert_study::{Plan, explain, resolve};

use crate::fixture;

/// The names of the variants of each ablation.
fn variants(plan: &Plan) -> Vec<Vec<String>> {
    let resolution = resolve(plan);
    let names = |ablation: &kinvert_study::resolve::Resolved| {
        ablation
            .variants()
            .map(|variant| variant.name.clone())
            .collect()
    };
    resolution.ablations.iter().map(names).collect()
}

/// Everything is understood, and asks for these variants.
#[track_caller]
fn check(name: &str, expected: &[&[&str]]) {
    let plan = fixture(name);
    let resolution = resolve(&plan);
    let report = explain(&plan, &resolution);
    assert_eq!(variants(&plan), expected, "{report}");
    assert!(resolution.strict().is_ok(), "{report}");
}

#[test]
fn the_published_plan() {
    check(
        "published_plan.md",
        &[
            &["query-key only", "values only", "neither embedding"],
            &["integration add-after"],
        ],
    );
    let plan = fixture("published_plan.md");
    let metrics = [
        "text_similarity",
        "motion_fidelity",
        "temporal_consistency",
        "fid",
        "user_preference",
    ];
    for ablation in resolve(&plan).ablations {
        assert_eq!(ablation.metrics, metrics);
    }
}

#[test]
fn embeddings_left_out_and_given_space() {
    check(
        "plans/embeddings.jsonl",
        &[
            &["values only"],
            &["query-key only"],
            &["query-key only", "values only", "neither embedding"],
            &["query-key 2d", "query-key grid-2x2"],
        ],
    );
}

#[test]
fn ways_of_integration() {
    check(
        "plans/integration.md",
        &[
            &["integration concat", "integration multiply-before"],
            &[
                "integration add-after",
                "integration multiply-before",
                "integration multiply-after",
            ],
            &["debias none"],
        ],
    );
}

#[test]
fn difference_and_its_alternatives() {
    let windows = [
        "difference over 2 frames",
        "difference over 3 frames",
        "difference over 5 frames",
    ];
    check(
        "plans/inference.toml",
        &[
            &windows,
            &["debias normalize", "debias none"],
            &["flat and slow"],
        ],
    );
}

#[test]
fn shapes_one_by_one_and_together() {
    check(
        "plans/shapes.jsonl",
        &[
            &["query-key 2d"],
            &["query-key 2d", "values 1d", "query-key 2d, values 1d"],
            &["values 1d"],
            &[
                "difference over 2 frames",
                "difference over 3 frames",
                "difference over 5 frames",
            ],
        ],
    );
}

#[test]
fn learning_and_noise() {
    check(
        "plans/training.md",
        &[
            &["objective base"],
            &["steps 100", "steps 200", "steps 800"],
            &["learning rate 0.01", "learning rate 0.005"],
            &["noise none", "noise prior 1.0"],
            &["sites all", "sites up:*"],
            &["timesteps from 400, timesteps to 999"],
        ],
    );
}

#[test]
fn additions_and_a_wish_that_is_understood_in_part() {
    let plan = fixture("plans/additions.toml");
    let resolution = resolve(&plan);
    let report = explain(&plan, &resolution);
    assert_eq!(
        variants(&plan),
        [
            vec!["query-key 2d"],
            vec!["query-key only", "values only", "neither embedding"],
            vec!["debias normalize", "debias none"],
            vec!["integration multiply-before", "integration concat"],
        ],
        "{report}"
    );
    let open: Vec<_> = resolution.unresolved().map(|(_, wish)| wish).collect();
    assert_eq!(open.len(), 1, "{report}");
    assert_eq!(open[0].nearest_axis.as_deref(), Some("integration"));
    assert!(
        open[0].not_understood.contains(&"cross".to_owned()),
        "{report}"
    );
    assert!(
        resolution
            .strict()
            .unwrap_err()
            .to_string()
            .contains("cross")
    );
}

#[test]
fn what_the_method_does_not_have_is_not_guessed() {
    let plan = fixture("plans/others.jsonl");
    let resolution = resolve(&plan);
    let report = explain(&plan, &resolution);
    for ablation in &resolution.ablations {
        assert_eq!(ablation.variants().count(), 0, "{report}");
        assert!(ablation.unresolved().count() > 0, "{report}");
    }
    assert!(resolution.strict().is_err());
}

/// One replacement, within an ablation of what it is about.
#[track_caller]
fn check_wish(part: &str, wish: &str, expected: &[&str]) {
    let line = serde_json::json!({
        "name": "x", "ablated_part": part, "action": "REPLACE", "replacement": [wish], "metrics": ["FID"],
    });
    let plan = Plan::parse("plan", &line.to_string(), None).unwrap();
    assert_eq!(
        variants(&plan),
        [expected],
        "{}",
        explain(&plan, &resolve(&plan))
    );
}

/// One part that is removed.
#[track_caller]
fn check_removal(part: &str, expected: &[&str]) {
    let line = serde_json::json!({
        "name": "x", "ablated_part": part, "action": "REMOVE", "metrics": ["FID"],
    });
    let plan = Plan::parse("plan", &line.to_string(), None).unwrap();
    assert_eq!(
        variants(&plan),
        [expected],
        "{}",
        explain(&plan, &resolve(&plan))
    );
}

#[test]
fn integration_in_many_words() {
    let part = "Adding motion embeddings to F before the Q/K/V projection (Equation 3)";
    let after = ["integration add-after"];
    for wish in [
        "Add embeddings after Q/K/V projection",
        "Add the motion embeddings directly to Q, K, and V",
        "Adding the embeddings to the projected query, key and value matrices",
        "Post-projection addition",
        "Integrate the embeddings after the linear projections",
        "Addition (after projection rather than before it)",
        "Replace pre-projection addition with post-projection addition",
    ] {
        check_wish(part, wish, &after);
    }
    for wish in [
        "Element-wise multiplication",
        "multiply F by the embeddings",
        "Use multiplicative modulation instead of additive",
        "F ⊙ M",
        "Hadamard product of features and embeddings before projection",
    ] {
        check_wish(part, wish, &["integration multiply-before"]);
    }
    check_wish(
        part,
        "Multiply with Q, K and V after projection",
        &["integration multiply-after"],
    );
    check_wish(
        part,
        "Concatenate the embeddings with the features along the channel dimension",
        &["integration concat"],
    );
    check_wish(
        part,
        "direct addition / concatenation / multiplication",
        &["integration concat", "integration multiply-before"],
    );
    check_wish(
        part,
        "add or multiply after projection",
        &["integration add-after", "integration multiply-after"],
    );
    check_wish(
        part,
        "Addition before projection (the original method)",
        &[],
    );
}

#[test]
fn removal_in_many_words() {
    for part in [
        "MQK",
        "Motion Query-Key Embedding",
        "the query-key motion embedding of the temporal attention layers",
        "Motion Query-Key embedding (MQK) in addition to the motion value embedding",
    ] {
        check_removal(part, &["values only"]);
    }
    for part in [
        "MV",
        "2D Motion Value (MV) Embedding",
        "Motion value embeddings used to capture local motion",
    ] {
        check_removal(part, &["query-key only"]);
    }
    for part in [
        "Combination of MQK and MV embeddings",
        "Both motion embeddings",
        "MQK & MV",
    ] {
        check_removal(
            part,
            &["query-key only", "values only", "neither embedding"],
        );
    }
    check_removal("Motion embeddings", &["neither embedding"]);
    for part in [
        "Debiasing of the motion value embeddings",
        "Inference strategy to debias appearance from the Motion Value embedding",
        "Frame differencing of MV",
        "Temporal difference operation on the motion value embedding",
    ] {
        check_removal(part, &["debias none"]);
    }
    check_removal("Spatial dimensions in MV", &["values 1d"]);
    check_removal(
        "Exclusion of spatial dimensions from MQK",
        &["query-key 2d"],
    );
    check_removal("DDIM inversion for the initial noise", &["noise none"]);
}

#[test]
fn debias_in_many_words() {
    let part = "Debiasing the motion value embedding by frame differencing";
    for wish in [
        "Normalization",
        "subtract the temporal mean",
        "mean-centering of MV",
        "difference from the mean",
    ] {
        check_wish(part, wish, &["debias normalize"]);
    }
    for wish in [
        "None",
        "no differencing",
        "Use the raw motion value embeddings",
        "without debiasing",
        "leave it out",
    ] {
        check_wish(part, wish, &["debias none"]);
    }
    check_wish(
        part,
        "normalization or no debiasing",
        &["debias normalize", "debias none"],
    );
    check_wish(
        part,
        "two-frame difference ($M_i - M_{i-2}$)",
        &["difference over 2 frames"],
    );
    check_wish(
        part,
        "a longer window of 3 or 5 frames",
        &["difference over 3 frames", "difference over 5 frames"],
    );
    check_wish(part, "1-frame difference", &[]);
    check_wish(part, "difference between consecutive frames", &[]);
}

#[test]
fn shapes_in_many_words() {
    let part = "1D motion query-key embedding (no spatial dimensions)";
    for wish in [
        "2D",
        "include spatial dimensions",
        "2D motion query-key embedding",
        "MQK with full spatial dimensions",
    ] {
        check_wish(part, wish, &["query-key 2d"]);
    }
    for wish in [
        "partially include spatial dimensions",
        "a coarse spatial grid",
        "low-resolution spatial dimensions",
    ] {
        check_wish(part, wish, &["query-key grid-2x2"]);
    }
    check_wish(part, "coarse 4x4 grid", &["query-key grid-4x4"]);
    check_wish(part, "1D", &[]);
    check_wish(
        part,
        "spatial dimensions included or partially included",
        &["query-key 2d", "query-key grid-2x2"],
    );
    // Which of the two is not said.
    check_wish("Shapes of MQK and MV", "1D", &[]);
}

#[test]
fn wordings_of_other_planners() {
    for (part, wish, expected) in [
        (
            "Motion Embedding Integration Method",
            "Direct addition to the feature map; concatenation with features; element-wise multiplication",
            &["integration concat", "integration multiply-before"][..],
        ),
        (
            "How motion embeddings are injected into temporal transformers",
            "Concatenate embeddings to the features",
            &["integration concat"],
        ),
        (
            "Motion Query-Key Embedding spatial dimensions",
            "Spatial dimensions partially included (e.g., only height)",
            &[],
        ),
        (
            "Spatial dimensions of motion query-key embeddings (excluded)",
            "Included",
            &["query-key 2d"],
        ),
        (
            "Spatial dimensions of motion query-key embeddings (excluded)",
            "Partially included",
            &["query-key grid-2x2"],
        ),
        (
            "Inference strategy: differencing of Motion Value Embedding",
            "Replace with normalization",
            &["debias normalize"],
        ),
        (
            "Differential operation for debiasing motion value embeddings",
            "No differential operation",
            &["debias none"],
        ),
        (
            "Differential operation for debiasing motion value embeddings",
            "Mean subtraction",
            &["debias normalize"],
        ),
        (
            "Differential operation on motion value embeddings",
            "Differences over 2 frames, 3 frames and 5 frames",
            &[
                "difference over 2 frames",
                "difference over 3 frames",
                "difference over 5 frames",
            ],
        ),
        (
            "Differential operation on motion value embeddings",
            "k = 3",
            &["difference over 3 frames"],
        ),
        ("Dimensionality of motion query-key embedding", "1D", &[]),
        (
            "Dimensionality of motion query-key embedding",
            "2D motion query-key embedding (H × W)",
            &["query-key 2d"],
        ),
        (
            "Motion Value Embedding",
            "1D motion value embedding",
            &["values 1d"],
        ),
        (
            "Use of both motion query-key and motion value embeddings",
            "Use only the motion query-key embedding",
            &["query-key only"],
        ),
        (
            "Use of both motion query-key and motion value embeddings",
            "Motion value embedding only (without MQK)",
            &["values only"],
        ),
        (
            "Use of both motion query-key and motion value embeddings",
            "MQK only, MV only",
            &["query-key only", "values only"],
        ),
        (
            "Base model",
            "ZeroScope, ModelScope, AnimateDiff",
            &[
                "model cerspense/zeroscope_v2_576w",
                "model ali-vilab/text-to-video-ms-1.7b",
            ],
        ),
        (
            "Classifier-free guidance scale of 12",
            "7.5",
            &["guidance 7.5"],
        ),
        (
            "Noise prior of the initial noise",
            "noise prior strength of 0.2 or 0.8",
            &["noise prior 0.2", "noise prior 0.8"],
        ),
        (
            "Initial noise",
            "Frequency-domain mixing of DDIM inverted noise",
            &["noise blend-freq"],
        ),
        (
            "Debiased temporal loss function",
            "Standard MSE denoising loss",
            &["objective base"],
        ),
        (
            "Debiased temporal loss function",
            "Debiased hybrid loss",
            &["objective debiased-hybrid"],
        ),
        (
            "Debiased temporal loss",
            "Hybrid loss",
            &["objective debiased-hybrid"],
        ),
    ] {
        check_wish(part, wish, expected);
    }
}

#[test]
fn what_stands_in_brackets_may_not_change_the_meaning_unseen() {
    let part = "Adding motion embeddings before projection";
    check_wish(part, "Concatenation (after projection)", &[]);
    check_wish(part, "Gated fusion (multiplication)", &[]);
    check_wish(
        part,
        "Another mechanism (e.g., element-wise multiplication)",
        &["integration multiply-before"],
    );
    check_wish(
        part,
        "Concatenation (cheap, simple and robust)",
        &["integration concat"],
    );
}

#[test]
fn an_ambiguous_wish_shows_what_it_could_mean() {
    let line = r#"{"name": "x", "ablated_part": "Shapes of MQK and MV", "action": "REPLACE",
        "replacement": ["1D"], "metrics": ["FID"]}"#;
    let plan = Plan::parse("plan", line, None).unwrap();
    let resolution = resolve(&plan);
    let (_, wish) = resolution.unresolved().next().unwrap();
    assert_eq!(wish.candidates.len(), 3);
    assert!(explain(&plan, &resolution).contains("could be any of"));
}

#[test]
fn the_report_shows_control_characters_and_does_not_send_them() {
    let line = serde_json::json!({
        "name": "\u{1b}[2J<script>alert(1)</script>", "ablated_part": "\u{202e}MV", "action": "REMOVE",
        "metrics": ["\u{7}"],
    });
    let plan = Plan::parse("plan", &line.to_string(), None).unwrap();
    let report = explain(&plan, &resolve(&plan));
    assert!(
        report.contains("<script>alert(1)</script>"),
        "names are data"
    );
    assert!(
        !report.contains(['\u{1b}', '\u{7}', '\u{202e}']),
        "{report:?}"
    );
}

#[test]
fn a_part_about_frames_names_no_embedding() {
    let windows = "Difference between adjacent frames";
    check_wish(
        windows,
        "difference over 2 frames",
        &["difference over 2 frames"],
    );
    check_wish(windows, "3-frame difference", &["difference over 3 frames"]);
    check_wish(windows, "5-frame window", &["difference over 5 frames"]);
    check_wish(
        "Additive integration of the motion embeddings",
        "concatenation along the channel dimension followed by a linear projection",
        &["integration concat"],
    );
}
