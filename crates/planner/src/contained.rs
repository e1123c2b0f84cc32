//! Readers of file formats that other people wrote, and that may panic or never end on a damaged file.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Name of the threads that they run on.
const THREAD: &str = "contained";

/// Stack of such a thread: objects of a PDF nest up to 512 deep, which the usual one does not allow.
const STACK_BYTES: usize = 64 << 20;

/// Why a reader gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It took longer than it may. Its thread is left to itself.
    Stuck,
    /// It panicked, with these words.
    Panicked(String),
    /// There is no thread for it.
    NoThread(std::io::Error),
}

/// What `work` gives, run on a thread of its own for `patience` at most.
pub(crate) fn contained<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(THREAD.into())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // The other side may have given up.
            let _ = sender.send(work());
        })
        .map_err(Failure::NoThread)?;
    receiver
        .recv_timeout(patience)
        .map_err(|error| match error {
            RecvTimeoutError::Timeout => Failure::Stuck,
            RecvTimeoutError::Disconnected => {
                let panic = thread.join().err();
                let panic = panic.as_deref();
                let text = panic.and_then(|panic| {
                    let text = panic.downcast_ref::<&str>().copied();
                    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                });
                Failure::Panicked(text.unwrap_or("no reason").to_owned())
            }
        })
}

/// Keeps panics of contained readers, which become errors, off stderr: they go to the log. A program calls it once, at
/// its start; panics elsewhere are told as before.
pub fn log_contained_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        match std::thread::current().name() == Some(THREAD) {
            true => tracing::debug!(%panic, "A reader of a file panicked."),
            false => tell(panic),
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_does_wrong_is_an_error() {
        let second = Duration::from_secs(1);
        assert_eq!(contained(60 * second, || 7).unwrap(), 7);
        let panicked = contained(60 * second, || -> u8 { panic!("byte {}", 3) }).unwrap_err();
        assert!(matches!(panicked, Failure::Panicked(text) if text == "byte 3"));
        let stuck = contained(second / 100, move || std::thread::sleep(60 * second)).unwrap_err();
        assert!(matches!(stuck, Failure::Stuck));
    }
}
