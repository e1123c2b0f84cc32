//! The words of studies are those of the method's own settings.

use kinvert::{GenerationSettings, InversionSettings};
use kinvert_study::Settings;
use toml::Value;

fn with(field: &str, value: impl Into<Value>) -> Settings {
    let mut settings = Settings::default();
    settings.set(field, value).unwrap();
    settings
}

#[test]
fn every_word_of_learning_is_known_to_the_method() {
    let base = InversionSettings::default();
    let words = [
        ("inversion.query_key", &["off", "1d", "2d", "grid-2x2"][..]),
        ("inversion.values", &["2d", "1d", "off"]),
        (
            "inversion.integration",
            &[
                "add-before",
                "add-after",
                "multiply-before",
                "multiply-after",
                "concat",
            ],
        ),
        (
            "inversion.objective",
            &["debiased-temporal", "base", "debiased-hybrid"],
        ),
        ("inversion.sites", &["published", "all", "up:1280"]),
    ];
    let mut seen = Vec::new();
    for (field, words) in words {
        for word in words {
            let applied = with(field, *word).applied_to("inversion", &base);
            let applied: InversionSettings =
                applied.unwrap_or_else(|error| panic!("{field} = {word}: {error}"));
            applied.check().unwrap();
            seen.push((field, applied));
        }
    }
    // The first word of all but the shapes is the method's own; every other one changes something.
    let changed = seen.iter().filter(|(_, applied)| *applied != base).count();
    assert_eq!(changed, seen.len() - words.len());
    for (field, value) in [
        ("inversion.steps", Value::from(7)),
        ("inversion.learning_rate", Value::from(0.5)),
        ("inversion.weight_decay", Value::from(0.5)),
        ("inversion.timesteps.first", Value::from(400)),
        ("inversion.ddim_inversion_steps", Value::from(7)),
        ("inversion.lora_rank", Value::from(8)),
        ("inversion.lora_learning_rate", Value::from(0.001)),
        ("inversion.lora_dropout", Value::from(0.0)),
        ("inversion.lora_probability", Value::from(0.5)),
    ] {
        let applied: InversionSettings = with(field, value).applied_to("inversion", &base).unwrap();
        assert_ne!(applied, base, "{field}");
    }
}

#[test]
fn every_word_of_generating_is_known_to_the_method() {
    let base = GenerationSettings::default();
    for (field, words) in [
        ("generation.kind", &["object", "camera", "hybrid"][..]),
        ("generation.debias", &["difference", "normalize", "none"]),
        ("generation.integration", &["add-after", "concat"]),
        (
            "generation.sampler",
            &["ddim", "dpmpp-2m", "dpmpp-2m-karras"],
        ),
        (
            "generation.noise",
            &["blend", "none", "freq", "blend-freq", "fft"],
        ),
    ] {
        for word in words {
            let applied = with(field, *word).applied_to("generation", &base);
            let _: GenerationSettings =
                applied.unwrap_or_else(|error| panic!("{field} = {word}: {error}"));
        }
    }
    for (field, value) in [
        ("generation.difference_frames", Value::from(3)),
        ("generation.difference_gain", Value::from(6.0)),
        ("generation.strength", Value::from(0.5)),
        ("generation.lora_strength", Value::from(0.5)),
        ("generation.steps", Value::from(7)),
        ("generation.guidance", Value::from(3.0)),
        ("generation.negative_prompt", Value::from("blurred")),
        ("generation.noise_prior", Value::from(0.25)),
        ("generation.frames", Value::from(8)),
    ] {
        let applied: GenerationSettings =
            with(field, value).applied_to("generation", &base).unwrap();
        assert_ne!(applied, base, "{field}");
    }
}
