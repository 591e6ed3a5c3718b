//! Sizes and lengths of time as people write and read them.

use std::time::Duration;

/// 1,024 bytes.
pub(crate) const KIB: u64 = 1024;

/// 1,024 KiB.
pub(crate) const MIB: u64 = 1024 * KIB;

/// 1,024 MiB.
pub(crate) const GIB: u64 = 1024 * MIB;

/// 1,024 GiB.
pub(crate) const TIB: u64 = 1024 * GIB;

/// A length of time as the configuration writes it, for the command line.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    seconds(text)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a number of seconds, or a text such as 30s, 12h, 7d".to_owned())
}

pub(crate) fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// The inner `None`: too large for any computer.
pub(crate) fn parse_size(text: &str) -> Option<Option<u64>> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => KIB,
        "mib" => MIB,
        "gib" => GIB,
        "tib" => TIB,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if number.contains('.') {
        return None;
    }
    Some(
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor)),
    )
}

/// `8 MiB` → (`8`, `MiB`).
fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim()))
}

/// A size as people read it: the largest unit that shows it as a whole number.
pub(crate) fn human_bytes(size: u64) -> String {
    for (unit, name) in [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if size >= unit && size.is_multiple_of(unit) {
            return format!("{} {name}", size / unit);
        }
    }
    format!("{size} bytes")
}

/// A size in the largest unit that it reaches, cut to one decimal: what is read at a glance.
pub(crate) fn about_bytes(size: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| size >= *unit) else {
        return human_bytes(size);
    };
    match (size % unit) / (unit / 10) {
        0 => format!("{} {name}", size / unit),
        tenths => format!("{}.{} {name}", size / unit, tenths.min(9)),
    }
}
