//! The name that was probably meant.

/// `, did you mean …?` with the known name that is nearest to a misspelt one; empty if none is near.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let most = found.chars().count().div_ceil(3);
    let nearest = known
        .into_iter()
        .filter(|known| known.len().abs_diff(found.len()) <= 3 * most) // bounds the work below
        .map(|known| (edits(found, known), known))
        .min()
        .filter(|(distance, _)| *distance <= most);
    nearest.map_or_else(String::new, |(_, name)| format!(", did you mean `{name}`?"))
}

/// Insertions, deletions and replacements that make one word of the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["inversion.values", "inversion.query_key"];
        assert_eq!(
            did_you_mean("inversion.value", known),
            ", did you mean `inversion.values`?"
        );
        assert_eq!(did_you_mean("colour", known), "");
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
