//! What Kinvert's programs share: progress on a terminal, Ctrl-C, how errors are told, and how values are named.
//!
//! * [`TerminalProgress`] draws bars, or writes a line now and then where there is no terminal.
//! * [`listen_for_interrupts`] makes Ctrl-C a wish to stop, which [`is_interrupted`] and
//!   [`TerminalProgress`] tell.
//! * [`error_message`] and the exit codes are those of every program.
//! * [`named`] reads an argument by the name that its value has in files.

mod arguments;
mod exit;
mod interrupt;
mod progress;

pub use arguments::named;
pub use exit::{FAILED, INTERRUPTED, USAGE, error_message};
pub use interrupt::{is_interrupted, listen_for_interrupts};
pub use progress::TerminalProgress;

use std::io::Write;

/// A line on stderr. A closed stderr is no reason to fail.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
