//! Work on many papers at once: threads do it, and one shows progress and hears that it should stop.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use kinvert_base::Progress;

use crate::{Error, Watch};

/// How often progress is shown, and how often it is asked whether to stop.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Does `work` on each item, `parallel` at a time and in their order, and gives what came of those that were finished,
/// in the order of the items. `detail` is told of what was finished so far and says it in a few words.
///
/// If the user asks to stop, no item is begun any more, what is at work hears it, and what it still finishes counts.
/// What fails for one item alone is part of its result; an error of `work` concerns all of them and stops them.
///
/// # Errors
/// [`Error::Cancelled`] if the user asked to stop; the first error of `work`.
pub(super) fn each<T: Sync, R: Send>(
    stage: &str,
    items: &[T],
    parallel: NonZeroUsize,
    work: impl Fn(&T, &dyn Watch) -> Result<R, Error> + Sync,
    mut detail: impl FnMut(&R) -> String,
    progress: &mut dyn Progress,
) -> Result<Vec<R>, Error> {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let (next, is_stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failure = Mutex::new(None);
    let stop = |error: Error| {
        is_stopped.store(true, Ordering::Relaxed);
        if let Ok(mut failure) = failure.lock() {
            failure.get_or_insert(error);
        }
    };
    let (sender, news) = channel();
    progress.start(stage, items.len());
    std::thread::scope(|scope| {
        for _ in 0..parallel.get().min(items.len()) {
            let (sender, stop) = (sender.clone(), &stop);
            let (work, next, is_stopped) = (&work, &next, &is_stopped);
            scope.spawn(move || {
                let watch = Notes {
                    is_stopped,
                    sender: sender.clone(),
                };
                while !is_stopped.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        break;
                    };
                    match work(item, &watch) {
                        // If nobody listens any more, it does not matter.
                        Ok(result) => drop(sender.send(News::Finished(index, result))),
                        Err(error) => stop(error),
                    }
                }
            });
        }
        drop(sender);
        let (mut finished, mut told) = (0, String::new());
        loop {
            match news.recv_timeout(SHOW_EVERY) {
                Ok(News::Finished(index, result)) => {
                    finished += 1;
                    told = detail(&result);
                    results[index] = Some(result);
                }
                Ok(News::Note(note)) => progress.note(&note),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress.advance(finished, &told);
            if progress.is_cancelled() {
                stop(Error::Cancelled);
            }
        }
    });
    progress.finish();
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(results.into_iter().flatten().collect()),
    }
}

/// What a thread tells the one that shows progress.
enum News<R> {
    Finished(usize, R),
    Note(String),
}

/// What work on one item looks at.
struct Notes<'a, R> {
    is_stopped: &'a AtomicBool,
    sender: Sender<News<R>>,
}

impl<R: Send> Watch for Notes<'_, R> {
    fn is_cancelled(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn note(&self, message: &str) {
        let _ = self.sender.send(News::Note(message.into())); // likewise
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use kinvert_base::Quiet;

    use super::*;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[derive(Default)]
    struct Told {
        notes: Vec<String>,
        details: Vec<String>,
        done: usize,
        stop_after: Option<usize>,
    }

    impl Progress for Told {
        fn start(&mut self, _stage: &str, _total: usize) {}
        fn advance(&mut self, done: usize, detail: &str) {
            self.done = done;
            self.details.push(detail.into());
        }
        fn finish(&mut self) {}
        fn note(&mut self, message: &str) {
            self.notes.push(message.into());
        }
        fn is_cancelled(&self) -> bool {
            self.stop_after.is_some_and(|after| self.done >= after)
        }
    }

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let together = Barrier::new(3); // passes only if three are at work at the same time
        let mut told = Told::default();
        let mut sum = 0;
        let work = |item: &usize, watch: &dyn Watch| {
            together.wait();
            watch.note(&format!("item {item}"));
            Ok(item * 2)
        };
        let detail = |result: &usize| {
            sum += result;
            format!("sum {sum}")
        };
        let results = each("work", &[1, 2, 3], threads(3), work, detail, &mut told).unwrap();
        assert_eq!(results, [2, 4, 6]);
        told.notes.sort();
        assert_eq!(told.notes, ["item 1", "item 2", "item 3"]);
        assert_eq!(told.details.last().unwrap(), "sum 12");
    }

    #[test]
    fn an_error_stops_all() {
        let work = |item: &usize, _: &dyn Watch| match item {
            1 => Err(Error::io("file".as_ref(), "writing")(
                std::io::ErrorKind::StorageFull.into(),
            )),
            _ => Ok(()),
        };
        let items: Vec<usize> = (0..1000).collect();
        let error = each(
            "work",
            &items,
            threads(1),
            work,
            |_| String::new(),
            &mut Quiet,
        );
        assert!(matches!(error, Err(Error::Io { .. })));
    }

    #[test]
    fn who_asks_to_stop_stops_what_is_at_work() {
        let mut told = Told {
            stop_after: Some(1),
            ..Told::default()
        };
        let work = |item: &usize, watch: &dyn Watch| {
            while *item > 0 && !watch.is_cancelled() {
                std::thread::yield_now(); // all but the first would go on for ever
            }
            Ok(())
        };
        let error = each(
            "work",
            &[0, 1, 2],
            threads(2),
            work,
            |_| String::new(),
            &mut told,
        );
        assert!(matches!(error, Err(Error::Cancelled)));
        assert!(told.done >= 1);
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        let work = |(): &(), _: &dyn Watch| Ok(());
        let results = each(
            "work",
            &[],
            threads(4),
            work,
            |()| String::new(),
            &mut Quiet,
        );
        assert_eq!(results.unwrap(), []);
    }
}
