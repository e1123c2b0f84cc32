//! What can go wrong in this crate.

/// An error of the sprite world.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A word that names no shape, colour, background or motion.
    #[error("`{found}` is not a {what}, expected one of {expected}")]
    UnknownName {
        /// What the word should have named: `shape`, `colour`, `background` or `motion`.
        what: &'static str,
        /// The word.
        found: String,
        /// All names that would do, separated by commas.
        expected: String,
    },

    /// A sentence that is not a caption of the sprite world.
    #[error(
        "`{found}` is not a sprite caption, expected `a <colour> <shape> on a <background> background`"
    )]
    NotACaption {
        /// The sentence.
        found: String,
    },

    /// A clip that cannot be rendered with so many frames or pixels.
    #[error("a sprite clip has {found} {what}, expected {min} to {max}")]
    OutOfRange {
        /// What is out of range: `frames` or `pixels a side`.
        what: &'static str,
        /// The number asked for.
        found: usize,
        /// The smallest that is accepted.
        min: usize,
        /// The largest that is accepted.
        max: usize,
    },
}

impl Error {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownName { what, .. } => Some(format!(
                "names are in lower case; pick a {what} from the list"
            )),
            Self::NotACaption { .. } => {
                Some("write it like `a red circle on a gray background`".to_owned())
            }
            Self::OutOfRange { .. } => Some(format!(
                "the built-in model uses {} frames of {} pixels a side",
                crate::FRAMES,
                crate::SIZE
            )),
        }
    }
}
