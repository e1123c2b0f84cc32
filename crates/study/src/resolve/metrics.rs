//! The names that people give to the measures.

use super::words::{Meaning, Separator, fold, lex};

/// Measures as they are named in results, and their other names.
const MEASURES: [(&str, &str); 8] = [
    (
        "text_similarity",
        "text similarity | clip score | clip t | clip text | clip text similarity | clip similarity | text alignment | \
         prompt alignment | text video alignment | text video similarity | text to video alignment | \
         text to video similarity | prompt fidelity | prompt adherence | prompt following | textual alignment | \
         textual similarity | text fidelity | text faithfulness | clip text alignment | text image similarity | \
         clip text score | prompt similarity | text prompt alignment | text consistency | clip alignment",
    ),
    (
        "temporal_consistency",
        "temporal consistency | frame consistency | temporal coherence | frame coherence | temporal smoothness | \
         inter frame consistency | frame to frame consistency | temporal stability | video consistency | \
         clip f | clip frame consistency | frame similarity | consecutive frame similarity | temporal clip similarity",
    ),
    (
        "motion_fidelity",
        "motion fidelity | motion fidelity score | motion similarity | motion accuracy | motion alignment | \
         motion preservation | motion faithfulness | motion transfer fidelity | mf | tracklet similarity | \
         motion transfer accuracy | motion fidelity metric",
    ),
    (
        "fid",
        "fid | frechet inception distance | fid score | frechet distance | inception distance",
    ),
    (
        "kid",
        "kid | kernel inception distance | kid score | kernel distance",
    ),
    (
        "user_preference",
        "user preference | user study | human evaluation | human preference | user evaluation | human study | \
         user rating | human rating | preference rate | user preference score | user preference rate | \
         human judgement | human judgment | user survey | preference study | user preference study",
    ),
    (
        "path_correlation",
        "path correlation | trajectory correlation | centroid path correlation | motion correlation",
    ),
    (
        "end_point_error",
        "end point error | endpoint error | epe | trajectory error | centroid error",
    ),
];

/// The measures that a name stands for, as they are named in results; or the parts of it that name none.
///
/// A name may hold several (`FID and KID`), and say the same thing twice (`Fréchet Inception Distance (FID)`).
pub(super) fn measures(name: &str) -> Result<Vec<&'static str>, Vec<String>> {
    let folded = fold(name);
    let inside: Vec<&str> = folded
        .split(['(', '['])
        .skip(1)
        .filter_map(|part| part.split([')', ']']).next())
        .collect();
    let outside: String = folded
        .split(['(', '['])
        .enumerate()
        .map(|(index, part)| match index {
            0 => part,
            _ => part.split_once([')', ']']).map_or("", |(_, rest)| rest),
        })
        .collect();
    if let Some(measure) = measure(&outside) {
        return Ok(vec![measure]);
    }
    let parts: Vec<&str> = outside
        .split([',', ';', '/', '&', '+'])
        .flat_map(|part| part.split(" and "))
        .filter(|part| !part.trim().is_empty())
        .collect();
    let found: Vec<_> = parts.iter().filter_map(|part| measure(part)).collect();
    if !found.is_empty() && found.len() == parts.len() {
        return Ok(found);
    }
    // An abbreviation in brackets may be the only known name.
    if parts.len() == 1
        && let [only] = inside.as_slice()
        && let Some(measure) = measure(only)
    {
        return Ok(vec![measure]);
    }
    let unknown = parts.iter().filter(|part| measure(part).is_none());
    let unknown: Vec<_> = unknown.map(|part| part.trim().to_owned()).collect();
    Err(match unknown.is_empty() {
        true => vec![name.trim().to_owned()],
        false => unknown,
    })
}

fn measure(folded: &str) -> Option<&'static str> {
    let words = |text: &str| -> Vec<String> {
        let tokens = lex(text);
        let spoken = tokens
            .into_iter()
            .filter(|token| !matches!(token.meaning, Meaning::Separator(s) if s != Separator::And));
        let words: Vec<String> = spoken.map(|token| token.words).collect();
        let words = words.join(" ");
        words
            .split(' ')
            .map(|word| word.trim_end_matches('s').to_owned())
            .collect()
    };
    let asked = words(folded);
    let names = |listed: &str| listed.split('|').any(|name| words(name) == asked);
    let (measure, _) = MEASURES.iter().find(|(_, listed)| names(listed))?;
    Some(measure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_of_a_study_has_names() {
        let named = MEASURES.map(|(measure, _)| measure);
        assert_eq!(named, crate::study::METRICS);
    }

    #[test]
    fn measures_are_known_by_many_names() {
        for (name, measure) in [
            ("FID", "fid"),
            ("FID ↓", "fid"),
            ("Fréchet Inception Distance (FID)", "fid"),
            ("Distance of features (FID)", "fid"),
            ("CLIP-T", "text_similarity"),
            ("CLIP score (text)", "text_similarity"),
            ("Text Similarity", "text_similarity"),
            ("Frame consistency", "temporal_consistency"),
            ("User Study", "user_preference"),
            ("Motion-Fidelity", "motion_fidelity"),
            ("EPE", "end_point_error"),
        ] {
            assert_eq!(measures(name), Ok(vec![measure]), "{name}");
        }
        assert_eq!(measures("FID and KID"), Ok(vec!["fid", "kid"]));
        for name in ["BLEU", "accuracy", "", "FVD", "inference time"] {
            assert!(measures(name).is_err(), "{name}");
        }
        assert_eq!(measures("FID and BLEU"), Err(vec!["bleu".to_owned()]));
    }
}
