//! The argument of LIST, NLST and STAT. RFC 959 has only a path; clients also send options of `ls`.

use super::ListArgument;

impl ListArgument {
    /// Parses the options at the start of `argument`. The rest is the path, with its spaces.
    ///
    /// A word of options is a `-` with letters or digits; unknown ones are ignored, and `--` ends
    /// the options. So `-report.csv` is a name, and `./-report` or `-- -report` lists `-report`.
    /// One space separates options and path; further ones belong to the name. Double quotes around
    /// the whole path are removed (doubled ones within become one), since some clients quote names
    /// with spaces.
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

/// `"a ""b"""` → `a "b"`; `None` if the text is not quoted as a whole.
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
