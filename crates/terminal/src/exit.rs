//! How programs end: the codes, and what is said of an error.

use std::error::Error;

/// Exit code of a program that failed.
pub const FAILED: u8 = 1;

/// Exit code of a program that was asked for something impossible; the code that clap uses too.
pub const USAGE: u8 = 2;

/// Exit code of a program that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// `error: …`, a line `because: …` for every cause, and `hint: …` if there is one, each with its line's end.
pub fn error_message(error: &(dyn Error + 'static), hint: Option<String>) -> String {
    let mut text = format!("error: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!("  because: {cause}\n");
        source = cause.source();
    }
    if let Some(hint) = hint {
        text += &format!("hint: {hint}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{says}")]
    struct Told {
        says: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn causes_and_hints_stand_on_lines_of_their_own() {
        let inner = Told {
            says: "no such file",
            source: None,
        };
        let outer = Told {
            says: "cannot load",
            source: Some(Box::new(inner)),
        };
        assert_eq!(
            error_message(&outer, Some("look again".into())),
            "error: cannot load\n  because: no such file\nhint: look again\n"
        );
        assert_eq!(
            error_message(outer.source().unwrap(), None),
            "error: no such file\n"
        );
    }
}
