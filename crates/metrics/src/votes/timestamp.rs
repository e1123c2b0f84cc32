//! When a vote was given.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Unix seconds of the last moment of the year 9999, where RFC 3339 ends.
const MAX_UNIX_S: f64 = 253_402_300_799.0;

/// A moment, kept in the words in which it was given: a date and time of RFC 3339 such as `2026-03-01T12:00:00Z`, or
/// seconds since 1970 such as `1772366400` or `1772366400.5`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(String);

impl Timestamp {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_unix_time(text) || is_rfc3339(text).unwrap_or(false) {
            return Ok(Self(text.into()));
        }
        Err(format!(
            "{text:?}, expected a time such as 2026-03-01T12:00:00Z or Unix seconds"
        ))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_unix_time(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text
            .parse::<f64>()
            .is_ok_and(|seconds| seconds <= MAX_UNIX_S)
}

/// Section 5.6 of RFC 3339: `1985-04-12T23:20:50.52Z`; `None` if something is missing.
fn is_rfc3339(text: &str) -> Option<bool> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    let separator = text.as_bytes()[10];
    let (time, rest) = (rest.get(..8)?, rest.get(8..)?);
    let offset = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
            if offset.len() == fraction.len() {
                return None;
            }
            offset
        }
    };
    let [year, month, day] = numbers(date, "-", [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ":", [2, 2, 2])?;
    let is_offset = match offset.strip_prefix(['+', '-']) {
        None => matches!(offset, "Z" | "z"),
        Some(offset) => {
            let [hours, minutes] = numbers(offset, ":", [2, 2])?;
            hours < 24 && minutes < 60
        }
    };
    Some(
        matches!(separator, b'T' | b't' | b' ')
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60 // a leap second
            && is_offset,
    )
}

/// Numbers of so many digits each, and nothing but the separator between them.
fn numbers<const N: usize>(text: &str, separator: &str, digits: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(found)
}

/// Days of a month; 0 if there is no such month.
fn days_of(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_from_other_text() {
        for good in [
            "1985-04-12T23:20:50.52Z", // the examples of RFC 3339, section 5.8
            "1996-12-19T16:39:57-08:00",
            "1990-12-31T23:59:60Z",
            "1937-01-01T12:00:27.87+00:20",
            "2024-02-29 00:00:00z",
            "0",
            "1772366400",
            "1772366400.25",
        ] {
            assert_eq!(good.parse::<Timestamp>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "-5",
            "1e5",
            "1.2.3",
            "999999999999",
            "yesterday",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00+24:00",
            "2023-01-01T00:00:00+0100",
            "2023-01-01X00:00:00Z",
            "2023-1-01T00:00:00Z",
            "2023-01-01",
            "+023-01-01T00:00:00Z",
            "2023-01-01ä00:00:00Z",
            "ääääääääääääääääääää",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
