//! Work in steps, after each of which it can be stopped.

use std::ops::{ControlFlow, Range};

/// Counts steps and tells whoever watches.
pub(super) struct Steps<'a> {
    done: usize,
    watch: &'a mut dyn FnMut(usize) -> ControlFlow<()>,
}

impl<'a> Steps<'a> {
    /// No step is done yet.
    pub(super) fn new(watch: &'a mut dyn FnMut(usize) -> ControlFlow<()>) -> Self {
        Self { done: 0, watch }
    }

    /// One more step is done; breaks if the watcher wants to stop.
    pub(super) fn advance(&mut self) -> ControlFlow<()> {
        self.done += 1;
        (self.watch)(self.done)
    }
}

/// `0..total` in ranges of `size`; the last one may be shorter.
pub(super) fn chunks(total: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..total)
        .step_by(size)
        .map(move |start| start..(start + size).min(total))
}
