//! Times on the wire: `YYYYMMDDHHMMSS[.sss]`, always UTC (RFC 3659, 2.3).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Digits of a time-val before its fraction.
const DIGITS: usize = 14;

/// Parses a time-val; `None` if the text is not one.
///
/// Years are 1970 to 9999, except the last day, which a [`Timestamp`] can't represent. RFC 3659
/// allows the second 60 of a leap second; it becomes 59. A fraction is cut after nanoseconds.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (digits, fraction) = match text.split_once('.') {
        Some((digits, fraction)) => (digits, Some(fraction)),
        None => (text, None),
    };
    if digits.len() != DIGITS || !all_digits(digits) {
        return None;
    }
    let nanoseconds = fraction.map_or(Some(0), nanoseconds)?;
    let year: i16 = digits[..4].parse().ok()?;
    if year < 1970 {
        return None;
    }
    let two = |at: usize| digits[at..at + 2].parse::<i8>().ok();
    let second = match two(12)? {
        60 => 59,
        second => second,
    };
    let time = DateTime::new(
        year,
        two(4)?,
        two(6)?,
        two(8)?,
        two(10)?,
        second,
        nanoseconds,
    )
    .ok()?;
    Offset::UTC.to_timestamp(time).ok()
}

/// `YYYYMMDDHHMMSS` in UTC, without a fraction. A time before year 0, which a time-val can't
/// represent, becomes the first second of year 0.
pub fn format(time: Timestamp) -> String {
    let time = Offset::UTC
        .to_datetime(time)
        .max(DateTime::constant(0, 1, 1, 0, 0, 0, 0));
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn nanoseconds(fraction: &str) -> Option<i32> {
    if !all_digits(fraction) {
        return None;
    }
    let nine: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    nine.parse().ok()
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_vals() {
        for (text, expected) in [
            ("19700101000000", "1970-01-01T00:00:00Z"),
            ("20200102030405", "2020-01-02T03:04:05Z"),
            ("20200229235959", "2020-02-29T23:59:59Z"),
            ("20161231235960", "2016-12-31T23:59:59Z"),
            ("20200102030405.6", "2020-01-02T03:04:05.6Z"),
            ("20200102030405.006", "2020-01-02T03:04:05.006Z"),
            (
                "20200102030405.1234567891234",
                "2020-01-02T03:04:05.123456789Z",
            ),
            ("99991230000000", "9999-12-30T00:00:00Z"),
        ] {
            assert_eq!(parse(text), Some(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn texts_that_are_not_a_time_val() {
        for text in [
            "",
            "2020010203040",
            "202001020304055",
            "20200102030405.",
            "20200102030405.x",
            "20200102030405.1.2",
            "20200102030405 ",
            "+2020010203040",
            "20201302030405",
            "20200230030405",
            "20210229030405",
            "20200102240405",
            "20200102036005",
            "20200102030461",
            "19691231235959",
            "00000101000000",
            "2020010203040é",
            "２０２００１０２０３０４０５",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn formatted_times() {
        for (time, expected) in [
            ("1970-01-01T00:00:00Z", "19700101000000"),
            ("2020-01-02T03:04:05.999Z", "20200102030405"),
            ("1969-12-31T23:59:59.5Z", "19691231235959"),
            ("0007-01-02T03:04:05Z", "00070102030405"),
            ("-000007-01-02T03:04:05Z", "00000101000000"),
        ] {
            assert_eq!(format(time.parse().unwrap()), expected, "{time}");
        }
    }

    proptest! {
        #[test]
        fn a_time_comes_back(second in 0_i64..253_402_000_000) {
            let time = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(parse(&format(time)), Some(time));
        }

        #[test]
        fn any_text_is_parsed_without_a_panic(text in "\\PC{0,20}|[0-9]{12,16}(\\.[0-9]{0,12})?") {
            let _ = parse(&text);
        }
    }
}
