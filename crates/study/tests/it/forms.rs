//! The three forms say the same.

use std::fmt::Write;

use kinvert_study::{Action, Form, Plan};

use crate::fixture;

const PLANS: [&str; 8] = [
    "published_plan.md",
    "plans/embeddings.jsonl",
    "plans/integration.md",
    "plans/shapes.jsonl",
    "plans/training.md",
    "plans/additions.toml",
    "plans/others.jsonl",
    "plans/inference.toml",
];

fn json_lines(plan: &Plan) -> String {
    let line = |a: &kinvert_study::Ablation| {
        serde_json::json!({
            "name": a.name, "ablated_part": a.ablated_part, "action": a.action.name(),
            "replacement": a.replacement, "metrics": a.metrics,
        })
        .to_string()
    };
    let lines: Vec<_> = plan.ablations.iter().map(line).collect();
    lines.join("\n")
}

fn markdown(plan: &Plan) -> String {
    let mut text = String::from("# A plan\n\n");
    for a in &plan.ablations {
        writeln!(
            text,
            "### {}\n- **Ablated Part**: {}",
            a.name, a.ablated_part
        )
        .unwrap();
        writeln!(text, "- **Action**: {}\n- **Replacement**:", a.action).unwrap();
        a.replacement
            .iter()
            .for_each(|item| writeln!(text, "  - {item}").unwrap());
        writeln!(text, "- **Metrics**: {}\n", a.metrics.join(", ")).unwrap();
    }
    text
}

fn toml(plan: &Plan) -> String {
    let mut text = String::new();
    for a in &plan.ablations {
        let table = toml_table(a);
        write!(text, "[[ablation]]\n{table}\n").unwrap();
    }
    text
}

fn toml_table(a: &kinvert_study::Ablation) -> String {
    let quoted = |text: &String| serde_json::Value::String(text.clone()).to_string();
    let list = |items: &[String]| items.iter().map(quoted).collect::<Vec<_>>().join(", ");
    format!(
        "name = {}\nablated_part = {}\naction = \"{}\"\nreplacement = [{}]\nmetrics = [{}]\n",
        quoted(&a.name),
        quoted(&a.ablated_part),
        a.action,
        list(&a.replacement),
        list(&a.metrics)
    )
}

#[test]
fn every_plan_reads_the_same_in_every_form() {
    for name in PLANS {
        let plan = fixture(name);
        for (form, text) in [
            (Form::JsonLines, json_lines(&plan)),
            (Form::Markdown, markdown(&plan)),
            (Form::Toml, toml(&plan)),
        ] {
            assert_eq!(Form::detect(&text), form, "{name}");
            let read = Plan::parse(name, &text, None).unwrap();
            assert_eq!(read.ablations.len(), plan.ablations.len());
            for (read, original) in read.ablations.iter().zip(&plan.ablations) {
                assert_eq!(read.name, original.name, "{form:?}");
                assert_eq!(read.ablated_part, original.ablated_part, "{form:?}");
                assert_eq!(read.action, original.action, "{form:?}");
                assert_eq!(read.replacement, original.replacement, "{form:?}");
                assert_eq!(read.metrics, original.metrics, "{form:?}");
            }
        }
    }
}

#[test]
fn the_published_plan_as_it_is() {
    let plan = fixture("published_plan.md");
    assert_eq!(
        plan.title.as_deref(),
        Some("lm-planner/gemini-2.5-flash/Motion_Inversion_for_Video_Customization")
    );
    let discussion = plan.discussion.unwrap();
    assert!(
        discussion.starts_with("The paper \"Motion Inversion"),
        "{discussion}"
    );
    assert!(
        discussion.ends_with("evaluating these ablations."),
        "{discussion}"
    );
    assert!(!discussion.contains("<div"));
    let [contribution, integration] = plan.ablations.as_slice() else {
        panic!("{} ablations", plan.ablations.len());
    };
    assert_eq!(
        contribution.name,
        "Ablation of Individual Motion Embedding Contribution"
    );
    assert_eq!(
        contribution.ablated_part,
        "Using both Motion Query-Key (MQK) and Motion Value (MV) embeddings"
    );
    assert_eq!(
        (contribution.action, contribution.replacement.len()),
        (Action::Remove, 0)
    );
    assert_eq!((contribution.at.line, contribution.metrics.len()), (32, 5));
    assert_eq!(integration.action, Action::Replace);
    assert_eq!(
        integration.replacement,
        ["Add embeddings after Q/K/V projection"]
    );
}

#[test]
fn discussion_and_flattened_replacements() {
    let plan = fixture("plans/embeddings.jsonl");
    assert!(
        plan.discussion
            .unwrap()
            .starts_with("The paper compares shapes")
    );
    let flattened = &plan.ablations[3].replacement;
    assert_eq!(
        flattened[0],
        "option_a: Include full spatial dimensions (2D)"
    );
    assert_eq!(plan.ablations[0].at.line, 5);
}

#[test]
fn an_object_may_run_over_several_lines_and_stand_in_a_fence() {
    let text = "<predictions>\n```json\n{\n  \"name\": \"a\",\n  \"ablated_part\": \"MV\",\n  \"action\": \"remove\",\n  \
                \"replacement\": null,\n  \"metrics\": \"FID, KID\"\n}\n```\n</predictions>";
    let plan = Plan::parse("plan", text, None).unwrap();
    assert_eq!(plan.ablations[0].metrics, ["FID", "KID"]);
    assert_eq!(plan.ablations[0].at.line, 3);
}

#[test]
fn html_in_a_name_is_data() {
    let name = "<script>alert(\"x\")</script> & <b>bold</b>";
    let text = format!(
        "### {name}\n- **Ablated Part**: <i>MV</i>\n- **Action**: REMOVE\n- **Metrics**: FID\n"
    );
    let plan = Plan::parse("plan", &text, Some(Form::Markdown)).unwrap();
    assert_eq!(plan.ablations[0].name, name);
    assert_eq!(plan.ablations[0].ablated_part, "<i>MV</i>");
}
