//! Ctrl-C.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{INTERRUPTED, say};

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C a wish to stop, heard after the step that is running; the second one ends the program.
///
/// # Errors
/// If the system refuses the handler, or there is one already.
pub fn listen_for_interrupts() -> io::Result<()> {
    let handler = || {
        if IS_INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        say("stopping after this step; Ctrl-C again stops at once");
    };
    ctrlc::set_handler(handler).map_err(io::Error::other)
}

/// Whether the user asked to stop.
pub fn is_interrupted() -> bool {
    IS_INTERRUPTED.load(Ordering::Relaxed)
}
