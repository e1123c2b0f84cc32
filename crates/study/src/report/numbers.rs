//! Numbers as people read them: fixed digits, a real minus sign, times and dates in words.

use kinvert_metrics::statistics::Interval;

/// Where there is no number.
pub(super) const NONE: &str = "—";

/// A number with so many digits after the point.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    let text = format!("{:.*}", digits.min(12), value.abs());
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    match value < 0.0 && !is_zero {
        true => format!("\u{2212}{text}"),
        false => text,
    }
}

/// A number with its sign, which zero has not.
pub(super) fn signed(value: f64, digits: usize) -> String {
    let text = fixed(value, digits);
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    match value > 0.0 && value.is_finite() && !is_zero {
        true => format!("+{text}"),
        false => text,
    }
}

/// An interval in brackets.
pub(super) fn interval(interval: Interval, digits: usize) -> String {
    let [low, high] = [interval.low, interval.high].map(|end| fixed(end, digits));
    format!("[{low}, {high}]")
}

/// A p-value with three digits.
pub(super) fn p_value(p: f64) -> String {
    match p {
        p if !p.is_finite() => NONE.into(),
        p if p < 0.001 => "< 0.001".into(),
        p => format!("{p:.3}"),
    }
}

/// A time in seconds, in the units that suit it.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => {
            let minutes = (seconds / 60.0).round() as u64;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// The day of a time in seconds since 1970, in UTC, such as `2026-03-01`.
pub(super) fn day(unix_s: u64) -> String {
    // Years are counted from March, so that a leap day is the last of its year; eras have 400 years.
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A number of things: `1 cell`, `2 cells`.
pub(super) fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_fixed_digits_and_a_real_minus() {
        assert_eq!(fixed(-0.1234, 3), "−0.123");
        assert_eq!(fixed(-0.0001, 3), "0.000");
        assert_eq!(fixed(12.0, 0), "12");
        assert_eq!(fixed(f64::NAN, 2), NONE);
        assert_eq!(signed(0.5, 1), "+0.5");
        assert_eq!(signed(-0.5, 1), "−0.5");
        assert_eq!(signed(0.0001, 2), "0.00");
        assert_eq!(signed(f64::INFINITY, 2), NONE);
        let ends = Interval {
            low: -1.0,
            high: 2.0,
        };
        assert_eq!(interval(ends, 1), "[−1.0, 2.0]");
    }

    #[test]
    fn p_values_are_never_zero() {
        assert_eq!(p_value(0.0124), "0.012");
        assert_eq!(p_value(0.0), "< 0.001");
        assert_eq!(p_value(1.0), "1.000");
    }

    #[test]
    fn times_are_in_the_units_that_suit_them() {
        assert_eq!(duration(0.42), "0.4 s");
        assert_eq!(duration(59.4), "59 s");
        assert_eq!(duration(59.6), "1 min 0 s");
        assert_eq!(duration(3599.7), "1 h 0 min");
        assert_eq!(duration(7501.0), "2 h 5 min");
        assert_eq!(duration(f64::NAN), NONE);
    }

    #[test]
    fn days_follow_the_calendar() {
        for (unix_s, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_772_323_200, "2026-03-01"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(unix_s), expected);
        }
    }
}
