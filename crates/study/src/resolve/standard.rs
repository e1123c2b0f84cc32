//! The ablations that the axes themselves suggest: leave one part out, or put something else in its place.

use super::axes::AXES;
use super::read::concepts;
use super::words::{fold, lex};
use crate::fault::Location;
use crate::plan::{Ablation, Action};

/// An ablation on one axis of the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Standard {
    /// The axis, as it is named in what [`super::resolve`] gives.
    pub axis: &'static str,
    /// The ablation, in words that are all understood.
    pub ablation: Ablation,
    /// What it would tell, in a sentence.
    pub question: &'static str,
}

struct Row {
    axis: &'static str,
    name: &'static str,
    part: &'static str,
    /// What takes the part's place; nothing if it is left out.
    instead: &'static [&'static str],
    question: &'static str,
}

/// The most telling first: whole parts of the method, then how they are made, then numbers.
const ROWS: [Row; 12] = [
    Row {
        axis: "contribution",
        name: "Contribution of each motion embedding",
        part: "Using both motion embeddings, query-key (MQK) and value (MV)",
        instead: &[],
        question: "Are both embeddings needed, and what does each of them carry?",
    },
    Row {
        axis: "debias",
        name: "Debiasing of the motion value embedding",
        part: "Debiasing of the motion value (MV) embedding by differences of adjacent frames",
        instead: &["normalization over the frames", "no debiasing"],
        question: "Does the difference keep the reference's appearance out, and at which price in motion?",
    },
    Row {
        axis: "integration",
        name: "Integration of the motion embeddings",
        part: "Adding the motion embeddings to the features before the Q/K/V projection",
        instead: &[
            "add after the projection",
            "multiply before the projection",
            "multiply after the projection",
            "concatenate",
        ],
        question: "Does it matter where and how the embeddings enter temporal attention?",
    },
    Row {
        axis: "embedding shape",
        name: "Spatial dimensions of the motion embeddings",
        part: "1D motion query-key embedding (MQK) and 2D motion value embedding (MV)",
        instead: &["2D MQK", "1D MV", "2D MQK and 1D MV"],
        question: "Which of the embeddings has to know positions in the frame?",
    },
    Row {
        axis: "initial noise",
        name: "Initial noise",
        part: "Blending the inverted noise of the reference with random noise",
        instead: &[
            "random noise",
            "inverted noise alone",
            "low frequencies of the inverted noise",
        ],
        question: "How much of the motion comes from the initial noise and not from the embeddings?",
    },
    Row {
        axis: "objective",
        name: "Learning objective",
        part: "Debiased temporal loss",
        instead: &["standard loss"],
        question: "Does the objective keep appearance out of the embeddings?",
    },
    Row {
        axis: "sites",
        name: "Sites of the motion embeddings",
        part: "Sites at which the motion embeddings are learned",
        instead: &["all sites", "up only", "down only", "mid only"],
        question: "Which temporal attention layers have to be modulated?",
    },
    Row {
        axis: "debias",
        name: "Frames of the difference",
        part: "Difference of the motion value (MV) embedding over adjacent frames",
        instead: &["2 frames", "3 frames", "5 frames"],
        question: "Is motion between neighbouring frames enough?",
    },
    Row {
        axis: "noise prior",
        name: "Weight of the noise prior",
        part: "Noise prior",
        instead: &["0.1", "0.7", "0.9"],
        question: "How does the share of inverted noise trade motion for the freedom of the prompt?",
    },
    Row {
        axis: "guidance",
        name: "Guidance scale",
        part: "Classifier-free guidance scale",
        instead: &["3", "6", "15"],
        question: "Does the prompt win over the motion with more guidance?",
    },
    Row {
        axis: "learning rate",
        name: "Learning rate",
        part: "Learning rate",
        instead: &["0.001", "0.01", "0.05"],
        question: "How sensitive is learning to its rate?",
    },
    Row {
        axis: "learning steps",
        name: "Learning steps",
        part: "Number of learning steps",
        instead: &["50", "100", "400"],
        question: "How long does the motion have to be learned?",
    },
];

/// The measures that every study on the method reports.
const METRICS: [&str; 5] = [
    "Text Similarity",
    "Motion Fidelity",
    "Temporal Consistency",
    "FID",
    "User Preference",
];

/// Clarity of an axis's words in a sentence from which on it is taken to be about that axis.
const CLEAR: u32 = 5;

/// An ablation for every axis that can be run on any model, the most telling first.
pub fn standard_ablations() -> Vec<Standard> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let rows = ROWS.iter().enumerate();
    rows.map(|(index, row)| Standard {
        axis: row.axis,
        ablation: Ablation {
            name: row.name.into(),
            ablated_part: row.part.into(),
            action: match row.instead.is_empty() {
                true => Action::Remove,
                false => Action::Replace,
            },
            replacement: owned(row.instead),
            metrics: owned(&METRICS),
            at: Location::line(index + 1),
            variants: Vec::new(),
        },
        question: row.question,
    })
    .collect()
}

/// The axis that a sentence speaks of most clearly, if it clearly speaks of one.
pub fn axis_of_sentence(sentence: &str) -> Option<&'static str> {
    let said = concepts(&lex(&fold(sentence)));
    let clarity = |axis: &super::axes::Axis| -> u32 {
        let anchored =
            axis.anchors.is_empty() || axis.anchors.iter().any(|anchor| said.contains(anchor));
        let topics = axis.topics.iter().filter(|(topic, _)| said.contains(topic));
        match anchored {
            true => topics.map(|(_, clarity)| clarity).sum(),
            false => 0,
        }
    };
    let most = AXES.iter().map(clarity).max()?;
    let mut clearest = AXES.iter().filter(|axis| clarity(axis) == most);
    let first = clearest.next().filter(|_| most >= CLEAR)?;
    clearest.next().is_none().then_some(first.name)
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, resolve};
    use super::*;
    use crate::plan::Plan;

    /// A plan of them asks for something on the axis that each names, and leaves no word behind.
    #[test]
    fn every_standard_ablation_can_be_run() {
        let standard = standard_ablations();
        let plan = Plan {
            title: None,
            discussion: None,
            ablations: standard.iter().map(|row| row.ablation.clone()).collect(),
        };
        let resolution = resolve(&plan);
        let report = crate::explain(&plan, &resolution);
        resolution.strict().expect(&report);
        for (row, resolved) in standard.iter().zip(&resolution.ablations) {
            for reading in &resolved.readings {
                let Outcome::Understood {
                    axis,
                    variants,
                    own,
                } = &reading.outcome
                else {
                    panic!("{report}");
                };
                assert_eq!(*axis, row.axis, "{report}");
                assert_eq!(own.len(), 0, "{report}");
                let expected = if row.ablation.replacement.is_empty() {
                    3
                } else {
                    1
                };
                assert_eq!(variants.len(), expected, "{report}");
            }
        }
    }

    #[test]
    fn sentences_are_about_an_axis_only_if_they_clearly_are() {
        let check = |sentence: &str, expected: Option<&str>| {
            assert_eq!(axis_of_sentence(sentence), expected, "{sentence}");
        };
        check(
            "We compare 1D and 2D shapes of the motion query-key and value embeddings.",
            Some("embedding shape"),
        );
        check(
            "Without debiasing the motion value embedding, the appearance of the reference leaks.",
            Some("debias"),
        );
        check("We also vary the learning rate.", Some("learning rate"));
        check("The method works well on all clips.", None);
        check("", None);
    }
}
