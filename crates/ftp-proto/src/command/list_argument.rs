//! The argument of LIST, NLST and STAT. RFC 959 knows a path only; clients send the options of `ls` as well.

use super::ListArgument;

impl ListArgument {
    /// Takes the options off the beginning of `argument`; what is left is the path, its spaces and all.
    ///
    /// A word is options where it is a `-` and letters or digits, of which unknown ones are ignored; `--` ends them.
    /// So a name such as `-report.csv` needs nothing, `-report` is listed by `./-report` or `-- -report`. One space
    /// separates options and path, more belong to the name. Double quotes around the whole path are taken off
    /// (doubled ones within stand for one), as some clients quote names with spaces.
    pub(super) fn parse(argument: &str) -> ListArgument {
        let mut parsed = ListArgument::default();
        let mut rest = argument;
        loop {
            let word_on = rest.trim_start_matches(' ');
            if word_on.is_empty() {
                return parsed;
            }
            let (word, after) = word_on.split_once(' ').unwrap_or((word_on, ""));
            if word == "--" {
                rest = after;
                break;
            }
            let Some(letters) = option_letters(word) else {
                break;
            };
            for letter in letters.chars() {
                match letter {
                    'a' | 'A' => parsed.all = true,
                    'R' => parsed.recursive = true,
                    'd' => parsed.directory = true,
                    'l' => parsed.long = true,
                    _ => {}
                }
            }
            rest = after;
        }
        let path = unquote(rest.trim_matches(' ')).unwrap_or_else(|| rest.to_owned());
        parsed.path = Some(path).filter(|path| !path.is_empty());
        parsed
    }
}

fn option_letters(word: &str) -> Option<&str> {
    word.strip_prefix('-').filter(|letters| {
        !letters.is_empty() && letters.bytes().all(|letter| letter.is_ascii_alphanumeric())
    })
}

/// `"a ""b"""` → `a "b"`; `None` where it is not quoted as a whole.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let well_formed = !inner.replace("\"\"", "").contains('"');
    well_formed.then(|| inner.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_paths() {
        for (argument, options, path) in [
            ("", "", None),
            ("  ", "", None),
            ("dir", "", Some("dir")),
            ("some dir", "", Some("some dir")),
            (" dir ", "", Some(" dir ")),
            ("-la", "la", None),
            ("-la ", "la", None),
            ("-l -a", "la", None),
            ("-al path", "la", Some("path")),
            (" -al path", "la", Some("path")),
            ("-l  -R some dir", "lR", Some("some dir")),
            ("-l  dir", "l", Some(" dir")),
            ("-A1tFhd", "ad", None),
            ("-la some dir -x", "la", Some("some dir -x")),
            ("dir -la", "", Some("dir -la")),
            ("-- -la", "", Some("-la")),
            ("-R -- -l x", "R", Some("-l x")),
            ("--", "", None),
            ("-- ", "", None),
            ("-", "", Some("-")),
            ("- x", "", Some("- x")),
            ("./-x", "", Some("./-x")),
            ("-report.csv", "", Some("-report.csv")),
            ("-*.csv", "", Some("-*.csv")),
            ("-l *.csv", "l", Some("*.csv")),
            ("\"some dir\"", "", Some("some dir")),
            ("-la \"some dir\"", "la", Some("some dir")),
            ("-la  \"some dir\" ", "la", Some("some dir")),
            ("\"-la\"", "", Some("-la")),
            ("\"a \"\"b\"\"\"", "", Some("a \"b\"")),
            ("\"\"", "", None),
            ("\"", "", Some("\"")),
            ("\"a", "", Some("\"a")),
            ("\"a\" \"b\"", "", Some("\"a\" \"b\"")),
            ("a\"b", "", Some("a\"b")),
            ("-é", "", Some("-é")),
        ] {
            let expected = ListArgument {
                all: options.contains('a'),
                recursive: options.contains('R'),
                directory: options.contains('d'),
                long: options.contains('l'),
                path: path.map(str::to_owned),
            };
            assert_eq!(ListArgument::parse(argument), expected, "{argument:?}");
        }
    }
}
