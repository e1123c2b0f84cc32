//! A sign of life while one answer is waited for.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kinvert_planner::Watch;
use kinvert_terminal::{is_interrupted, say};

/// What is shown while one answer is waited for.
pub struct Spinner {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Spinner {
    /// Shows `what` is waited for, if there is a terminal.
    pub fn new(quiet: bool, what: &str) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner()
                .with_style(style)
                .with_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, quiet }
    }
}

impl Watch for Spinner {
    fn is_cancelled(&self) -> bool {
        is_interrupted()
    }

    fn received(&self, chars: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{chars} characters"));
        }
    }

    fn note(&self, message: &str) {
        let tell = || say(&format!("note: {message}"));
        match &self.bar {
            Some(bar) => bar.suspend(tell),
            None if !self.quiet => tell(),
            None => {}
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
