//! Times on the wire: `YYYYMMDDHHMMSS[.sss]`, always UTC (RFC 3659, 2.3).

use jiff::Timestamp;

/// Parses a time-val; `None` where it is none.
pub fn parse(text: &str) -> Option<Timestamp> {
    let _ = text;
    todo!()
}

/// `YYYYMMDDHHMMSS`, in UTC, fractions cut.
pub fn format(time: Timestamp) -> String {
    let _ = time;
    todo!()
}
