//! Values as people read them on the page.

use std::time::Duration;

use crate::units::{GIB, KIB, MIB};

/// A text of a client or a store, so that each character of it shows as itself and in its place:
/// control characters, and those that change the direction of the text or are not seen, are
/// written as escapes. The page escapes HTML besides.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_hidden(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A size: `17 B`, `1.4 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let units = [(GIB * KIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// Bytes a second.
pub(super) fn rate(bytes: f64) -> String {
    format!("{}/s", size(bytes.max(0.0) as u64))
}

/// A length of time in its two largest units: `3 d 4 h`, `12 min 5 s`, `4 s`.
pub(super) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86400, "d"), (3600, "h"), (60, "min")];
    let Some(place) = units.iter().position(|(unit, _)| seconds >= *unit) else {
        return format!("{seconds} s");
    };
    let (unit, name) = units[place];
    let (smaller, smaller_name) = units.get(place + 1).copied().unwrap_or((1, "s"));
    let rest = seconds % unit / smaller;
    match rest {
        0 => format!("{} {name}", seconds / unit),
        _ => format!("{} {name} {rest} {smaller_name}", seconds / unit),
    }
}

/// A number with a separator between groups of three digits.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_moves_text_is_written_out() {
        for (text, expected) in [
            ("/in/Bericht März.pdf", "/in/Bericht März.pdf"),
            ("a\u{202e}fdp.exe", "a\\u{202e}fdp.exe"),
            ("a\r\nb\u{0}", "a\\u{d}\\u{a}b\\u{0}"),
            ("a\u{200b}b\u{2066}", "a\\u{200b}b\\u{2066}"),
            ("<b>&\"'", "<b>&\"'"),
            ("日本", "日本"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 * GIB), "5.0 GiB");
        assert_eq!(rate(2048.7), "2.0 KiB/s");
        let seconds = Duration::from_secs;
        assert_eq!(length(seconds(0)), "0 s");
        assert_eq!(length(seconds(60)), "1 min");
        assert_eq!(length(seconds(3725)), "1 h 2 min");
        assert_eq!(length(seconds(90000)), "1 d 1 h");
        assert_eq!(number(0), "0");
        assert_eq!(number(1234567), "1,234,567");
        assert_eq!(number(100), "100");
    }
}
