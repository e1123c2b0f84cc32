//! What is tried again, and when.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Watch;
use super::exchange::Head;
use crate::Error;

/// How often it is looked whether the user asked to stop.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// Longest wait between two tries of which the endpoint says nothing.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Longest wait that an endpoint can ask for; it is asked again then, even if it asked for a longer one.
const MAX_ASKED_DELAY: Duration = Duration::from_secs(300);

/// Time, as a client sees it.
pub trait Clock: Send + Sync {
    /// The time of day, against which an endpoint's dates are held.
    fn now(&self) -> SystemTime;

    /// A number in `0.0..1.0`, by which waits differ, so that clients that failed together do not come back together.
    fn jitter(&self) -> f64;

    /// Waits.
    ///
    /// # Errors
    /// [`Error::Cancelled`] as soon as the user asks to stop.
    fn wait(&self, duration: Duration, watch: &dyn Watch) -> Result<(), Error>;
}

/// The time of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn jitter(&self) -> f64 {
        // The standard library's only source of chance; nothing that is computed depends on it.
        let random = RandomState::new().build_hasher().finish();
        (random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn wait(&self, duration: Duration, watch: &dyn Watch) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            if watch.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let left = duration.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(POLL));
        }
    }
}

/// Whether a request may succeed later that was refused with this status: the endpoint is busy or broken. 425 is Too
/// Early, and 529, which Anthropic uses for an overload, lies among the 5xx.
pub(super) fn passes(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429 | 500..=599)
}

/// How long to wait after the failed try number `attempt`, counted from 1: what the endpoint asked for, else twice as
/// long each time, less up to half by chance.
pub(super) fn delay(
    attempt: u32,
    first: Duration,
    asked: Option<Duration>,
    clock: &dyn Clock,
) -> Duration {
    if let Some(asked) = asked {
        return asked.min(MAX_ASKED_DELAY);
    }
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    let most = first.saturating_mul(doubled).min(MAX_DELAY);
    most.mul_f64(0.5 + 0.5 * clock.jitter().clamp(0.0, 1.0))
}

/// The wait that an endpoint asks for: `Retry-After` of RFC 9110 in seconds or as a date, or `retry-after-ms`, which is
/// OpenAI's and exact.
pub(super) fn asked_delay(head: &Head, now: SystemTime) -> Option<Duration> {
    let number = |text: &str, unit: f64| {
        let seconds = text.trim().parse::<f64>().ok()? * unit;
        // Too long a wait is one that is cut, not one that was not asked for.
        (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(1e9)))
    };
    let exact = head
        .header("retry-after-ms")
        .and_then(|ms| number(ms, 1e-3));
    exact.or_else(|| {
        let text = head.header("retry-after")?;
        number(text, 1.0).or_else(|| {
            let date = http_date(text.trim())?;
            Some(date.duration_since(now).unwrap_or_default()) // it may lie in the past
        })
    })
}

/// A date as RFC 9110 wants them written: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = text.split_once(", ")?;
    let mut fields = date.split([' ', ':']);
    let mut field = || fields.next();
    let number = |text: &str, range: std::ops::RangeInclusive<u64>| {
        let number = text.parse().ok()?;
        range.contains(&number).then_some(number)
    };
    let day = number(field()?, 1..=31)?;
    let name = field()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year = number(field()?, 1970..=9999)?;
    let hour = number(field()?, 0..=23)?;
    let minute = number(field()?, 0..=59)?;
    let second = number(field()?, 0..=60)?;
    if field()? != "GMT" || field().is_some() {
        return None;
    }
    // Years are counted from March, so that the leap day is a year's last: 153 days are five months.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?; // those before 1970-01-01
    Some(UNIX_EPOCH + Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(f64);

    impl Clock for Fixed {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH
        }
        fn jitter(&self) -> f64 {
            self.0
        }
        fn wait(&self, _: Duration, _: &dyn Watch) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let seconds = |attempt, jitter| {
            delay(attempt, Duration::from_secs(1), None, &Fixed(jitter)).as_secs_f64()
        };
        assert_eq!(
            [1, 2, 3, 7, 40].map(|n| seconds(n, 1.0)),
            [1.0, 2.0, 4.0, 60.0, 60.0]
        );
        assert_eq!([1, 2, 7].map(|n| seconds(n, 0.0)), [0.5, 1.0, 30.0]);
        let asked = |seconds| {
            let asked = Some(Duration::from_secs(seconds));
            delay(1, Duration::from_secs(1), asked, &Fixed(1.0)).as_secs()
        };
        assert_eq!([0, 7, 299, 4000].map(asked), [0, 7, 299, 300]);
    }

    #[test]
    fn chance_lies_in_its_range_and_varies() {
        let drawn: Vec<f64> = (0..50).map(|_| SystemClock.jitter()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value != drawn[0]));
    }

    #[test]
    fn dates_are_read() {
        let seconds =
            |text| http_date(text).map(|date| date.duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            seconds("Thu, 29 Feb 2024 23:59:59 GMT"),
            Some(1_709_251_199)
        );
        assert_eq!(
            seconds("Fri, 01 Mar 2024 00:00:00 GMT"),
            Some(1_709_251_200)
        );
        for bad in [
            "",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT 1",
            "Sun, 40 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn statuses_that_may_pass_are_known() {
        let passing = [408, 409, 425, 429, 500, 502, 503, 504, 529];
        assert!(passing.into_iter().all(passes));
        let lasting = [200, 302, 400, 401, 402, 403, 404, 413, 422, 600];
        assert!(!lasting.into_iter().any(passes));
    }

    #[test]
    fn a_wait_ends_when_the_user_asks_to_stop() {
        struct Stopped;
        impl Watch for Stopped {
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let waited = SystemClock.wait(Duration::from_secs(3600), &Stopped);
        assert!(matches!(waited, Err(Error::Cancelled)));
    }
}
