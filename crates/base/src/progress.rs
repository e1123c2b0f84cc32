//! How long work tells what it is doing, and hears that it should stop.

/// Receives the progress of long work. The program draws bars with it, a server fills a row, tests pass
/// [`Quiet`].
pub trait Progress {
    /// A stage of `total` steps begins.
    fn start(&mut self, stage: &str, total: usize);

    /// A stage of `total` bytes begins; [`advance`](Self::advance) then counts bytes.
    fn start_bytes(&mut self, stage: &str, total: u64) {
        self.start(stage, usize::try_from(total).unwrap_or(usize::MAX));
    }

    /// `done` steps of the stage are done; `detail` is a short remark such as the latest loss.
    fn advance(&mut self, done: usize, detail: &str);

    /// The stage is over.
    fn finish(&mut self);

    /// Something the user should know, such as a prompt that was cut short.
    fn note(&mut self, message: &str);

    /// Whether the user asked to stop. Long work looks at it after every step, saves what it has and returns the
    /// `Cancelled` error of its crate.
    fn is_cancelled(&self) -> bool;
}

/// Progress of a part of a stage: it hears that it should stop, and shows nothing.
pub struct Within<'a>(pub &'a dyn Progress);

impl Progress for Within<'_> {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn advance(&mut self, _done: usize, _detail: &str) {}
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Shows nothing and never stops.
#[derive(Debug, Default, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn start(&mut self, _stage: &str, _total: usize) {}
    fn advance(&mut self, _done: usize, _detail: &str) {}
    fn finish(&mut self) {}
    fn note(&mut self, _message: &str) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}
