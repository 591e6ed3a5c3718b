//! The output of `s3ftpd demo`: commands to try, and the events in the store.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::cli::demo::{BUCKET, PASSWORD, USER};
use s3_embedded::Event;

/// The prefix of the gateway's own records of interrupted uploads.
const STATE_PREFIX: &str = ".s3ftpd/";

/// Commands to try.
pub(super) fn instructions(ftp: SocketAddr, endpoint: &str, key: &str, secret: &str) -> String {
    let host = reachable(ftp.ip());
    let port = ftp.port();
    format!(
        "FTP server on {ftp}, user {USER}, password {PASSWORD}. Try:\n\
         \n  curl -T file ftp://{USER}:{PASSWORD}@{host}:{port}/\
         \n  curl ftp://{USER}:{PASSWORD}@{host}:{port}/\
         \n  curl --ssl-reqd --insecure -T file ftp://{USER}:{PASSWORD}@{host}:{port}/\
         \n  lftp -e 'set ssl:verify-certificate no' -u {USER},{PASSWORD} ftp://{host}:{port}\
         \n\
         \nThe same objects through S3, at {endpoint}:\n\
         \n  export AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_REGION=us-east-1\
         \n  aws --endpoint-url {endpoint} s3 ls s3://{BUCKET}\n\
         \nCtrl-C ends it. What happens in the bucket:"
    )
}

/// An address as part of a URL; a loopback address for a wildcard, to which not every system can
/// connect.
pub(super) fn reachable(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Prints a line. If standard output is closed, no more lines are printed, and the server
/// continues.
pub(super) fn say(line: &str) {
    let _nobody_reads = writeln!(std::io::stdout(), "{line}");
}

/// Turns events into lines.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    /// Source and destination of the last copy: a rename is a copy and the source's deletion.
    last_copy: Option<(ShownName, ShownName)>,
}

type ShownName = (String, String);

impl Narrator {
    /// Prints each event until the store is gone. Drop the future to cancel it.
    pub(super) async fn narrate(mut self, mut events: Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let Some(line) = self.line(event) {
                        say(&line);
                    }
                }
                Err(RecvError::Lagged(missed)) => say(&format!("({missed} more)")),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn line(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Landed { bucket, key, size } => {
                let object = (bucket, key);
                is_shown(&object)
                    .then(|| format!("landed   {}  {} bytes", url(&object), grouped(size)))
            }
            Event::Copied { from, to } => {
                let line =
                    is_shown(&to).then(|| format!("copied   {} -> {}", url(&from), url(&to)));
                self.last_copy = Some((from, to));
                line
            }
            Event::Deleted { bucket, key } => {
                let object = (bucket, key);
                match self.last_copy.take_if(|(from, _)| *from == object) {
                    Some((from, to)) => Some(format!("renamed  {} -> {}", url(&from), url(&to))),
                    None => is_shown(&object).then(|| format!("deleted  {}", url(&object))),
                }
            }
        }
    }
}

fn is_shown((_, key): &ShownName) -> bool {
    !key.starts_with(STATE_PREFIX)
}

/// A key can contain anything, including a terminal's control sequences.
fn url((bucket, key): &ShownName) -> String {
    let safe: String = key
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    format!("s3://{bucket}/{safe}")
}

/// A number with a comma between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn object(key: &str) -> ShownName {
        ("demo".to_owned(), key.to_owned())
    }

    fn deleted(key: &str) -> Event {
        let (bucket, key) = object(key);
        Event::Deleted { bucket, key }
    }

    fn landed(key: &str, size: u64) -> Event {
        let (bucket, key) = object(key);
        Event::Landed { bucket, key, size }
    }

    #[test]
    fn lines() {
        let mut narrator = Narrator::default();
        let mut line = |event| narrator.line(event).unwrap_or_default();
        assert_eq!(
            line(landed("dir/file", 12345)),
            "landed   s3://demo/dir/file  12,345 bytes"
        );
        assert_eq!(
            line(landed("a\u{1b}[2J", 1)),
            "landed   s3://demo/a\u{fffd}[2J  1 bytes"
        );
        assert_eq!(line(landed(".s3ftpd/abc", 1)), "");
        assert_eq!(line(deleted(".s3ftpd/abc")), "");
        assert_eq!(
            line(Event::Copied {
                from: object("a"),
                to: object("b")
            }),
            "copied   s3://demo/a -> s3://demo/b"
        );
        assert_eq!(line(deleted("c")), "deleted  s3://demo/c");
        assert_eq!(line(deleted("a")), "renamed  s3://demo/a -> s3://demo/b");
        assert_eq!(line(deleted("a")), "deleted  s3://demo/a");
    }

    #[test]
    fn thousands() {
        let numbers = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn instructions_name_an_address_that_can_be_reached() {
        let text = instructions(
            "0.0.0.0:2121".parse().unwrap(),
            "http://127.0.0.1:9",
            "k",
            "s",
        );
        assert!(text.contains("curl -T file ftp://demo:demo@127.0.0.1:2121/"));
        let text = instructions(
            "[::1]:2121".parse().unwrap(),
            "http://127.0.0.1:9",
            "k",
            "s",
        );
        assert!(text.contains("ftp://demo:demo@[::1]:2121/"));
    }
}
