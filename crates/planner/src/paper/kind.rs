//! What sections are about, as far as their titles and their places tell.

use super::Section;

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// What it is all about.
    Introduction,
    /// Related work.
    Related,
    /// Preliminaries and statements of the problem.
    Background,
    /// The method.
    Method,
    /// Experiments, evaluations and results.
    Experiments,
    /// Ablations, also inside of other sections.
    Ablation,
    /// Discussion, limitations, conclusion.
    Discussion,
    /// Everything after the main text.
    Appendix,
    /// The bibliography.
    References,
    /// Thanks and funding.
    Acknowledgements,
    /// Anything else.
    Other,
}

impl SectionKind {
    /// The kind that a title alone tells.
    pub fn of_title(title: &str) -> Self {
        let title = words(title);
        let title = title.as_str();
        let has = |parts: &[&str]| parts.iter().any(|part| title.contains(part));
        let is = |titles: &[&str]| titles.contains(&title);
        let starts = |parts: &[&str]| parts.iter().any(|part| title.starts_with(part));
        if has(&["ablat"]) {
            return Self::Ablation;
        }
        if is(&[
            "references",
            "reference",
            "bibliography",
            "literature",
            "literature cited",
            "works cited",
        ]) {
            return Self::References;
        }
        if starts(&[
            "acknowledg",
            "funding",
            "author contribution",
            "contributions of authors",
        ]) {
            return Self::Acknowledgements;
        }
        if starts(&[
            "appendix",
            "appendices",
            "supplement",
            "supporting information",
        ]) {
            return Self::Appendix;
        }
        if has(&[
            "related",
            "prior work",
            "previous work",
            "literature review",
            "earlier work",
        ]) {
            return Self::Related;
        }
        let of_theory = has(&[
            "policy evaluation",
            "theoretical result",
            "convergence result",
        ]);
        if !of_theory
            && (has(&[
                "experiment",
                "evaluation",
                "empirical",
                "user study",
                "user studies",
                "case stud",
            ]) || has(&[
                "quantitative",
                "qualitative",
                "benchmarking",
                "numerical example",
            ]) || has(&[
                "comparison with",
                "comparison to",
                "comparisons with",
                "comparisons to",
            ]) || is(&[
                "comparison",
                "comparisons",
                "applications",
                "simulations",
                "simulation study",
            ]) || title
                .split(' ')
                .any(|word| word == "results" || word == "result"))
        {
            return Self::Experiments;
        }
        if starts(&["introduction", "motivation"]) || is(&["intro"]) {
            return Self::Introduction;
        }
        if starts(&[
            "limitations of existing",
            "limitations of previous",
            "limitations of current",
        ]) {
            return Self::Background;
        }
        if has(&[
            "discussion",
            "limitation",
            "conclusion",
            "concluding",
            "future work",
            "broader impact",
        ]) || has(&[
            "impact statement",
            "ethic",
            "societal",
            "reproducibility statement",
        ]) || starts(&["conclud", "summary"])
        {
            return Self::Discussion;
        }
        if has(&["background", "preliminar", "notation"])
            || starts(&[
                "problem statement",
                "problem formulation",
                "problem setting",
                "problem setup",
            ])
            || starts(&["problem definition", "task definition"])
        {
            return Self::Background;
        }
        if has(&[
            "method",
            "approach",
            "proposed",
            "architecture",
            "framework",
            "algorithm",
        ]) || title
            .split(' ')
            .any(|word| word == "model" || word == "models")
        {
            return Self::Method;
        }
        Self::Other
    }
}

impl Section {
    /// What it is about, as its title alone tells; [`Paper::kinds`](super::Paper::kinds) knows more.
    pub fn kind(&self) -> SectionKind {
        SectionKind::of_title(&self.title)
    }
}

/// What each section is about. Subsections are about what their section is, but an ablation is one wherever it stands.
/// Between introduction and experiments, sections that are nothing else are about the method, which has a name there.
pub(super) fn kinds(sections: &[Section]) -> Vec<SectionKind> {
    use SectionKind::{
        Ablation, Acknowledgements, Appendix, Experiments, Method, Other, References,
    };
    let mut kinds: Vec<SectionKind> = Vec::with_capacity(sections.len());
    let mut parents: Vec<usize> = Vec::new(); // the section, its subsection, and so on, around this place
    let mut own_place: Vec<bool> = Vec::with_capacity(sections.len());
    let mut in_appendix = false;
    for section in sections {
        while parents
            .last()
            .is_some_and(|&p| sections[p].level >= section.level)
        {
            parents.pop();
        }
        let own = section.kind();
        let parent = parents.last().map(|&p| kinds[p]);
        in_appendix |= own == Appendix;
        let kind = match (own, parent) {
            (Ablation, _) | (_, Some(Ablation)) => Ablation,
            (References | Acknowledgements, _) => own,
            _ if in_appendix => Appendix,
            (Experiments, Some(Method | Other)) => Experiments,
            (_, Some(Other) | None) => own,
            (_, Some(parent)) => parent,
        };
        own_place.push(parent.is_none_or(|parent| parent == Other));
        parents.push(kinds.len());
        kinds.push(kind);
    }
    let opens = |kind: &SectionKind| {
        use SectionKind::{Background, Introduction, Related};
        matches!(kind, Introduction | Related | Background)
    };
    let Some(start) = kinds.iter().position(opens) else {
        return kinds;
    };
    let closes = |kind: &SectionKind| {
        use SectionKind::Discussion;
        matches!(
            kind,
            Experiments | Ablation | Discussion | Appendix | References | Acknowledgements
        )
    };
    let end = first_of_experiments(sections, &kinds)
        .or_else(|| kinds.iter().position(closes))
        .unwrap_or(kinds.len());
    for index in start..end.max(start) {
        if kinds[index] == Other && own_place[index] && !sections[index].title.is_empty() {
            kinds[index] = Method;
        }
    }
    kinds
}

/// Where the experiments begin: the first section about them at the top, or one inside of another section that can be
/// nothing else, since converters get levels wrong.
pub(super) fn first_of_experiments(sections: &[Section], kinds: &[SectionKind]) -> Option<usize> {
    let titled = sections.iter().filter(|section| !section.title.is_empty());
    let top = titled.map(|section| section.level).min()?;
    let unmistakable = |section: &Section| {
        let title = words(&section.title);
        let names = [
            "experiments",
            "experiment",
            "experimental results",
            "experimental setup",
            "results",
        ];
        names.contains(&title.as_str())
            || ["evaluation", "experiments and results", "empirical study"]
                .contains(&title.as_str())
    };
    sections
        .iter()
        .zip(kinds)
        .position(|(section, kind)| match kind {
            SectionKind::Experiments => section.level == top || unmistakable(section),
            SectionKind::Ablation => section.level == top,
            _ => false,
        })
}

/// The words of a title in lower case, without markup and signs.
fn words(title: &str) -> String {
    let mut words = String::with_capacity(title.len());
    for c in title.chars() {
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        } else if !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words.truncate(words.trim_end().len());
    words
}

#[cfg(test)]
mod tests {
    use super::SectionKind::*;
    use super::*;

    fn section(level: usize, title: &str) -> Section {
        Section {
            level,
            title: title.into(),
            text: String::new(),
        }
    }

    #[test]
    fn titles_tell_kinds() {
        for (title, kind) in [
            ("Introduction", Introduction),
            ("RELATED WORK", Related),
            ("Background and Related Work", Related),
            ("Preliminaries", Background),
            ("Problem Formulation", Background),
            ("Our Approach", Method),
            ("Experiments and Results", Experiments),
            ("Experimental Setup", Experiments),
            ("An Empirical Study", Experiments),
            ("Comparison with the State of the Art", Experiments),
            ("Results and Discussion", Experiments),
            ("Off-Policy Evaluation", Other),
            ("Ablation Studies", Ablation),
            ("What matters? Ablating the loss", Ablation),
            ("Conclusion and Limitations", Discussion),
            ("Limitations of existing methods", Background),
            ("Supplementary Material", Appendix),
            ("Acknowledgments", Acknowledgements),
            ("**References**", References),
            ("MotionInv", Other),
        ] {
            assert_eq!(SectionKind::of_title(title), kind, "{title}");
        }
    }

    #[test]
    fn places_tell_the_rest() {
        let sections = [
            section(1, "Introduction"),
            section(2, "Results at a glance"),
            section(1, "Related Work"),
            section(1, "MotionInv"),
            section(2, "Embeddings"),
            section(1, "Experiments"),
            section(2, "Setup"),
            section(2, "Ablation study"),
            section(3, "Loss"),
            section(1, "Analysis"),
            section(1, "Conclusion"),
            section(1, "References"),
            section(1, "Appendix"),
            section(1, "Proofs"),
            section(1, "Further ablations"),
            section(1, "More experiments"),
        ];
        let expected = [
            Introduction,
            Introduction,
            Related,
            Method,
            Method,
            Experiments,
            Experiments,
            Ablation,
            Ablation,
            Other,
            Discussion,
            References,
            Appendix,
            Appendix,
            Ablation,
            Appendix,
        ];
        assert_eq!(kinds(&sections), expected);
    }

    #[test]
    fn levels_that_are_wrong_do_not_hide_experiments() {
        let sections = [
            section(1, "Introduction"),
            section(1, "Method"),
            section(2, "Loss"),
            section(2, "Experiments"),
            section(2, "Datasets"),
        ];
        let kinds = kinds(&sections);
        assert_eq!(first_of_experiments(&sections, &kinds), Some(3));
    }
}
