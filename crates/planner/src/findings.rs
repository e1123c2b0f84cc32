//! What a study has shown, as something to plan the next ablations with.

use std::fmt::Write;

use kinvert_study::{Analysis, Results, Settings};

/// The results of a study in words, and what was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    text: String,
    run: Vec<Settings>,
}

impl Findings {
    /// What a study has shown so far.
    pub fn of(results: &Results, analysis: &Analysis) -> Self {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if let Some(title) = &results.study.title {
            let _ = writeln!(text, "Study: {title}");
        }
        let model = &results.stamp.model.name;
        let _ = writeln!(
            text,
            "{} clips, {} prompts, {} seeds, on {model}.",
            results.references.len(),
            results.study.prompts.len(),
            results.study.seeds.len(),
        );
        for note in &analysis.notes {
            let _ = writeln!(text, "{note}");
        }
        text.push_str("\nMeasures:\n");
        for measure in &analysis.measures {
            let _ = writeln!(text, "- {}: {}", measure.label, measure.meaning);
        }
        for table in &analysis.tables {
            let _ = writeln!(text, "\n## {}\n", table.title);
            for row in &table.rows {
                let _ = writeln!(text, "- {}: {}", row.name, numbers(analysis, row));
            }
            text.push('\n');
            for reading in &table.readings {
                let _ = writeln!(text, "{reading}");
            }
        }
        let variants = results.study.variants.iter();
        Self {
            text,
            run: variants.map(|variant| variant.settings.clone()).collect(),
        }
    }

    /// The results as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a variant with these settings was in the study.
    pub fn has_run(&self, settings: &Settings) -> bool {
        self.run.contains(settings)
    }
}

/// `Text similarity 0.73 (+0.16)`: means, and differences to the method where they are compared.
fn numbers(analysis: &Analysis, row: &kinvert_study::analysis::Row) -> String {
    let values = analysis.measures.iter().zip(&row.estimates);
    let told = values.filter_map(|(measure, estimate)| {
        let summary = estimate.summary.as_ref()?;
        let digits = measure.digits;
        let mut told = format!("{} {:.digits$}", measure.label, summary.mean);
        if let Some(compared) = &estimate.comparison {
            let _ = write!(told, " ({:+.digits$})", compared.difference);
        }
        Some(told)
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true => "nothing measured".into(),
        false => told.join(", "),
    }
}
