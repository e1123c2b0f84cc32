//! Progress on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kinvert_base::Progress;

use crate::{is_interrupted, say};

/// Time between two lines where there is no terminal to draw on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A stage that was over sooner is not spoken of.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// Bars on a terminal, a line now and then elsewhere, nothing if the user wants quiet.
pub struct TerminalProgress {
    display: Display,
    stage: Option<Stage>,
    last_note: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Display {
    Bars,
    Lines,
    Nothing,
}

/// The stage that is running.
struct Stage {
    name: String,
    total: usize,
    started: Instant,
    /// Steps that an earlier run had done, which say nothing of the rate.
    done_before: Option<usize>,
    /// Whether steps are bytes.
    of_bytes: bool,
    detail: String,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl TerminalProgress {
    /// Progress that shows something unless the user wants `quiet`. Notes are held back with it.
    pub fn new(quiet: bool) -> Self {
        let display = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Display::Nothing,
            (false, true) => Display::Bars,
            (false, false) => Display::Lines,
        };
        Self {
            display,
            stage: None,
            last_note: String::new(),
        }
    }

    fn begin(&mut self, stage: &str, total: usize, of_bytes: bool) {
        let now = Instant::now();
        self.stage = Some(Stage {
            name: stage.into(),
            total,
            started: now,
            done_before: None,
            of_bytes,
            detail: String::new(),
            last_line: now,
            bar: self.bar(total, stage, of_bytes),
        });
    }

    fn bar(&self, total: usize, stage: &str, of_bytes: bool) -> Option<ProgressBar> {
        if self.display != Display::Bars {
            return None;
        }
        let template = match of_bytes {
            true => {
                "{prefix:<20} {bar:24} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left  {msg}"
            }
            false => "{prefix:<20} {bar:24} {pos}/{len}  {per_sec}  {eta} left  {msg}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total as u64)
            .with_style(style)
            .with_prefix(stage.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }
}

impl Progress for TerminalProgress {
    fn start(&mut self, stage: &str, total: usize) {
        self.begin(stage, total, false);
    }

    fn start_bytes(&mut self, stage: &str, total: u64) {
        self.begin(stage, usize::try_from(total).unwrap_or(usize::MAX), true);
    }

    fn advance(&mut self, done: usize, detail: &str) {
        let Some(stage) = &mut self.stage else { return };
        stage.detail = detail.into();
        let first = stage.done_before.is_none();
        if first && detail.is_empty() {
            stage.done_before = Some(done); // a stage that resumes says first where it stands
        }
        if let Some(bar) = &stage.bar {
            bar.set_position(done as u64);
            bar.set_message(detail.to_string());
            if first {
                bar.reset_eta();
            }
        } else if self.display == Display::Lines && stage.last_line.elapsed() >= LINE_EVERY {
            stage.last_line = Instant::now();
            say(&stage.line(done));
        }
    }

    fn finish(&mut self) {
        let Some(stage) = self.stage.take() else {
            return;
        };
        if let Some(bar) = &stage.bar {
            bar.finish_and_clear();
        }
        if self.display != Display::Nothing && stage.started.elapsed() >= WORTH_A_LINE {
            say(&stage.last_words());
        }
    }

    fn note(&mut self, message: &str) {
        if self.display == Display::Nothing || self.last_note == message {
            return;
        }
        self.last_note = message.into();
        let tell = || say(&format!("note: {message}"));
        match self.stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    fn is_cancelled(&self) -> bool {
        is_interrupted()
    }
}

impl Drop for TerminalProgress {
    /// An error may leave a stage unfinished; its bar must not stay on the screen.
    fn drop(&mut self) {
        if let Some(bar) = self.stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            bar.finish_and_clear();
        }
    }
}

impl Stage {
    /// `learning the motion: 30/300, 4.1/s, 65 s left, loss 0.4`.
    fn line(&self, done: usize) -> String {
        let mut line = format!(
            "{}: {}/{}",
            self.name,
            self.count(done),
            self.count(self.total)
        );
        let elapsed_s = self.started.elapsed().as_secs_f64();
        let rate = done.saturating_sub(self.done_before.unwrap_or(0)) as f64 / elapsed_s;
        if rate > 0.0 && rate.is_finite() {
            let left_s = self.total.saturating_sub(done) as f64 / rate;
            let rate = match self.of_bytes {
                true => self.count(rate as usize),
                false => format!("{rate:.2}"),
            };
            line += &format!(", {rate}/s, {left_s:.0} s left");
        }
        if !self.detail.is_empty() {
            line += &format!(", {}", self.detail);
        }
        line
    }

    /// `learning the motion: 300 steps in 73.4 s, loss 0.4`.
    fn last_words(&self) -> String {
        let detail = if self.detail.is_empty() {
            String::new()
        } else {
            format!(", {}", self.detail)
        };
        format!(
            "{}: {} in {:.1} s{detail}",
            self.name,
            self.count(self.total),
            self.started.elapsed().as_secs_f64()
        )
    }

    /// Steps as a number, bytes as megabytes.
    fn count(&self, steps: usize) -> String {
        match self.of_bytes {
            true => format!("{:.1} MB", steps as f64 / 1e6),
            false => steps.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_stage_is_rated_by_its_own_steps() {
        let mut progress = TerminalProgress::new(true);
        progress.start("learning", 100);
        progress.advance(90, "");
        progress.advance(92, "loss 0.5");
        let stage = progress.stage.as_mut().unwrap();
        stage.started = Instant::now().checked_sub(Duration::from_secs(4)).unwrap();
        assert_eq!(
            stage.line(92),
            "learning: 92/100, 0.50/s, 16 s left, loss 0.5"
        );
        assert_eq!(stage.last_words(), "learning: 100 in 4.0 s, loss 0.5");
        progress.finish();
        assert!(progress.stage.is_none());
    }

    #[test]
    fn bytes_are_told_in_megabytes() {
        let mut progress = TerminalProgress::new(true);
        progress.start_bytes("fetching", 5_000_000_000);
        progress.advance(1_000_000_000, "");
        progress.advance(3_000_000_000, "a.safetensors");
        let stage = progress.stage.as_mut().unwrap();
        stage.started = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
        assert_eq!(
            stage.line(3_000_000_000),
            "fetching: 3000.0 MB/5000.0 MB, 100.0 MB/s, 20 s left, a.safetensors"
        );
    }
}
