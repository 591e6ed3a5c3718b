//! The files that are imported: their lines, and the texts in them.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

/// The longest note for operators that the configuration takes, bytes.
const LONGEST_COMMENT: usize = 500;

/// A file of another server, read whole.
pub(super) struct SourceFile {
    /// Its path, as it was given.
    pub(super) name: String,
    /// Its content.
    pub(super) bytes: Vec<u8>,
}

impl SourceFile {
    /// The lines that are not empty and not a comment, with their numbers from 1. Line ends of
    /// Windows and a byte order mark are removed.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.all_lines().filter(|(_, line)| {
            let text = line.trim_ascii_start();
            !text.is_empty() && !text.starts_with(b"#")
        })
    }

    /// All lines, with their numbers from 1.
    pub(super) fn all_lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf");
        let bytes = bytes.unwrap_or(&self.bytes);
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        lines.map(|(index, line)| (index + 1, line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// A line as it is named in messages.
    pub(super) fn line(&self, number: usize) -> String {
        format!("{}, line {number}", shown(&self.name))
    }

    /// The last part of its path.
    pub(super) fn file_name(&self) -> &str {
        let name = Path::new(&self.name).file_name();
        name.and_then(|name| name.to_str()).unwrap_or(&self.name)
    }
}

/// The fields of a line between colons.
pub(super) fn fields(line: &[u8]) -> Vec<String> {
    line.split(|byte| *byte == b':').map(text).collect()
}

/// What is lost of a name in Latin-1, if the first field of the line is one.
pub(super) fn name_in_latin_1(line: &[u8]) -> Option<&'static str> {
    let name = line.split(|byte| *byte == b':').next();
    let is_utf_8 = name.is_none_or(|name| std::str::from_utf8(name).is_ok());
    let lost = "the name is in Latin-1, and is in UTF-8 now: clients must send it so";
    (!is_utf_8).then_some(lost)
}

/// A text: UTF-8, else Latin-1, in which each byte is a letter.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// A text for a comment in a file or a message: nothing in it ends a line or hides something.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        match letter {
            letter if is_unseen(letter) => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

/// A note for operators as the configuration takes it: one line, at most 500 bytes.
pub(super) fn comment(text: &str) -> Option<String> {
    let letters = text.chars();
    let mut line: String = letters
        .map(|c| if is_unseen(c) { ' ' } else { c })
        .collect();
    let mut end = line.len().min(LONGEST_COMMENT);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A network as the configuration takes it: an address, or an address with a prefix length or a
/// mask. Bits after the prefix are removed.
pub(super) fn network(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(network.trunc().to_string());
    }
    let (address, mask) = text.split_once('/')?;
    let network = IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok()?;
    Some(network.trunc().to_string())
}

/// Whether a character is a control character, or changes how the line is shown.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_windows_and_of_latin_1() {
        let file = SourceFile {
            name: "passwd".to_owned(),
            bytes: b"\xef\xbb\xbfa:1\r\n\r\n  # x\nM\xfcller:2".to_vec(),
        };
        let lines: Vec<_> = file
            .lines()
            .map(|(number, line)| (number, fields(line)))
            .collect();
        let expected = [(1, ["a", "1"]), (4, ["M\u{fc}ller", "2"])];
        assert_eq!(
            lines,
            expected.map(|(n, f)| (n, f.map(str::to_owned).to_vec()))
        );
    }

    #[test]
    fn comments_are_one_line() {
        assert_eq!(comment(" a\n\u{7}b\u{2028} "), Some("a  b".to_owned()));
        assert_eq!(comment("\r\n"), None);
        assert_eq!(
            comment(&"\u{fc}".repeat(400)).map(|line| line.len()),
            Some(500)
        );
        assert_eq!(shown("a\nb\u{202e}"), "a\\nb\\u{202e}");
    }
}
