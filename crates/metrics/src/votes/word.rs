//! Values that have a fixed word in files.

/// A choice among a few values, each with its word.
pub(super) trait Word: Copy + 'static {
    /// All of them with their words.
    const WORDS: &'static [(&'static str, Self)];

    /// The value of a word, in upper or lower case.
    fn of(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        let (_, value) = words.find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some(*value)
    }

    /// `left, right or equal`.
    fn choices() -> String {
        let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        match words.split_last() {
            Some((last, [])) => (*last).into(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}
