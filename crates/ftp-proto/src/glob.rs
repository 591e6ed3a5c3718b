//! Globs in the last element of LIST and NLST: `*`, `?`, `[a-z]`, `[!a]`; `\` makes the next
//! character literal.
//!
//! A pattern comes from a client and is matched with up to millions of names, so each pattern must
//! match in bounded time. If one `*` follows another, the first never needs a second attempt: the
//! second `*` reaches each position that a longer match of the first could reach. So the matcher
//! stores one position to return to, and takes at most length × length steps. The crate globset is
//! bounded too, but it has braces and `**`, refuses an unclosed `[`, and gives no literal prefix,
//! with which a listing asks the store for fewer keys.
//!
//! A leading dot of a name is an ordinary character, since FTP listings always show such names.

/// A compiled glob. It matches in bounded time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`
    Any,
    /// `?`
    One,
    /// A literal character.
    Literal(char),
    /// `[…]`, `[!…]`, `[^…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Compiles a pattern; `None` if it has no special character. A `[` without an end is literal,
    /// and so is a `\` at the end.
    ///
    /// A `\` alone does not make a glob, since names can have it, unless `*`, `?` or `[` follows:
    /// the pattern `a\*` is a glob that matches only the name `a*`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ftp_proto::glob::Glob;
    ///
    /// let glob = Glob::new("report-*.[ct]sv").unwrap();
    /// assert!(glob.matches("report-2024.csv"));
    /// assert!(!glob.matches("report-2024.csv.old"));
    /// // A listing asks the store only for keys with this prefix.
    /// assert_eq!(glob.literal_prefix(), "report-");
    ///
    /// assert!(Glob::new("report-2024.csv").is_none());
    /// ```
    pub fn new(pattern: &str) -> Option<Glob> {
        let characters: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::new();
        let mut special = false;
        let mut classes_end = true;
        let mut rest = characters.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            let token = match (first, after) {
                ('*', _) => Token::Any,
                ('?', _) => Token::One,
                ('\\', [escaped, after @ ..]) => {
                    special |= matches!(escaped, '*' | '?' | '[');
                    rest = after;
                    Token::Literal(*escaped)
                }
                ('[', _) if classes_end => match class(after) {
                    Some((token, after)) => {
                        rest = after;
                        token
                    }
                    None => {
                        // If one class has no end, no later one has. One search keeps the time
                        // linear.
                        classes_end = false;
                        Token::Literal('[')
                    }
                },
                (literal, _) => Token::Literal(*literal),
            };
            special |= !matches!(token, Token::Literal(_));
            if token != Token::Any || tokens.last() != Some(&Token::Any) {
                tokens.push(token);
            }
        }
        let prefix = tokens.iter().map_while(Token::literal).collect();
        special.then_some(Glob { tokens, prefix })
    }

    /// The literal text at the start of each match: the prefix for a listing.
    pub fn literal_prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the glob matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        let mut rest = name.chars();
        let mut at = 0;
        // The last `*`: the token after it, and the rest of the name at its last attempt.
        let mut star = None;
        loop {
            let before = rest.clone();
            let token = self.tokens.get(at);
            match (token, rest.next()) {
                (Some(Token::Any), _) => {
                    at += 1;
                    rest = before;
                    star = Some((at, rest.clone()));
                }
                (None, None) => return true,
                (Some(token), Some(character)) if token.matches(character) => at += 1,
                _ => {
                    // The last `*` takes one more character. Without a `*` there is no match.
                    let Some((after_star, tried)) = &mut star else {
                        return false;
                    };
                    if tried.next().is_none() {
                        return false;
                    }
                    at = *after_star;
                    rest = tried.clone();
                }
            }
        }
    }
}

impl Token {
    fn literal(&self) -> Option<char> {
        match self {
            Token::Literal(literal) => Some(*literal),
            _ => None,
        }
    }

    /// Whether the token matches this character. The caller handles [`Token::Any`].
    fn matches(&self, character: char) -> bool {
        match self {
            Token::Any => false,
            Token::One => true,
            Token::Literal(literal) => *literal == character,
            Token::Class { negated, ranges } => {
                let among = ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&character));
                among != *negated
            }
        }
    }
}

/// Parses a class after its `[`, and returns the rest of the text; `None` if it has no end. A `]`
/// at the start, and a `-` at the start or the end, are literal. A range with its ends swapped is
/// empty.
fn class(text: &[char]) -> Option<(Token, &[char])> {
    let (negated, mut rest) = match text {
        ['!' | '^', after @ ..] => (true, after),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if let [']', after @ ..] = rest
            && !ranges.is_empty()
        {
            return Some((Token::Class { negated, ranges }, after));
        }
        let (first, after) = member(rest)?;
        rest = after;
        let mut last = first;
        if let ['-', after @ ..] = rest
            && !matches!(after, [']', ..])
        {
            (last, rest) = member(after)?;
        }
        ranges.push((first, last));
    }
}

/// The next character of a class, without its `\`.
fn member(text: &[char]) -> Option<(char, &[char])> {
    match text {
        ['\\', character, after @ ..] | [character, after @ ..] => Some((*character, after)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_matches() {
        for (pattern, matching, others) in [
            ("*", &["", "a", ".hidden", "日本"][..], &[][..]),
            (
                "*.csv",
                &[".csv", "a.csv", "a.csv.csv"],
                &["a.csv ", "csv", "a.CSV"],
            ),
            ("a*b*c", &["abc", "aXbXc", "abbcc"], &["ab", "acb", "abcd"]),
            ("**a**", &["a", "bab"], &["", "b"]),
            ("?", &["a", "é", "日"], &["", "ab"]),
            ("??.*", &["ab.", "ab.c"], &["a.b", "abc.d"]),
            ("[a-c]x", &["ax", "bx", "cx"], &["dx", "x", "aax"]),
            ("[!a-c]x", &["dx", "éx"], &["ax", "x"]),
            ("[^a]", &["b"], &["a"]),
            ("[]]", &["]"], &["a", "[]]"]),
            ("[!]]", &["a"], &["]"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[-a]", &["a", "-"], &["b"]),
            ("[\\]a]", &["]", "a"], &["\\"]),
            ("[a\\-z]", &["a", "-", "z"], &["b"]),
            ("[z-a]", &[], &["a", "z", "m"]),
            ("[!z-a]", &["a"], &[]),
            ("[а-я]", &["ж"], &["z"]),
            ("[a*", &["[a", "[abc"], &["a"]),
            ("*[", &["[", "a["], &["a"]),
            ("[]*", &["[]", "[]x"], &["]"]),
            ("\\*", &["*"], &["a", "\\*"]),
            ("a\\?*", &["a?", "a?b"], &["ab"]),
            ("\\a*", &["a", "ab"], &["\\a"]),
            ("*\\", &["\\", "a\\"], &["a"]),
            ("\\[a]", &["[a]"], &["a"]),
            ("\\\\*", &["\\", "\\a"], &["a"]),
        ] {
            let glob = Glob::new(pattern).expect(pattern);
            for name in matching {
                assert!(glob.matches(name), "{pattern} matches {name}");
            }
            for name in others {
                assert!(!glob.matches(name), "{pattern} does not match {name}");
            }
        }
    }

    #[test]
    fn what_is_no_glob() {
        for pattern in [
            "", "a", "a.csv", "[a", "a]", "[", "[]", "[!]", "a\\b", "\\", "a\\", "\\\\", "{a,b}",
        ] {
            assert!(Glob::new(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn literal_prefixes() {
        for (pattern, prefix) in [
            ("*", ""),
            ("a*", "a"),
            ("2020-?", "2020-"),
            ("a[bc]", "a"),
            ("[a*", "[a"),
            ("a\\*b", "a*b"),
            ("é日*x", "é日"),
        ] {
            assert_eq!(
                Glob::new(pattern).expect(pattern).literal_prefix(),
                prefix,
                "{pattern}"
            );
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let name = "a".repeat(1024);
        let begin = Instant::now();
        for pattern in [
            "*a".repeat(2000) + "b",
            "*".repeat(4096) + "b",
            "[a".repeat(2000) + "*",
            "*[!b]?".repeat(600),
        ] {
            assert!(!Glob::new(&pattern).unwrap().matches(&name));
        }
        // Some 10 ms if time is bounded; years if it is not.
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?}",
            begin.elapsed()
        );
    }

    /// The literal definition of a match; it takes exponential time.
    fn naive(tokens: &[Token], name: &[char]) -> bool {
        match (tokens, name) {
            ([], _) => name.is_empty(),
            ([Token::Any, rest @ ..], _) => {
                (0..=name.len()).any(|taken| naive(rest, &name[taken..]))
            }
            ([token, tokens @ ..], [first, name @ ..]) => {
                token.matches(*first) && naive(tokens, name)
            }
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_naive_matcher(pattern in "[ab*?\\[\\]!\\\\-]{0,10}", name in "[ab*?\\[\\]\\\\-]{0,8}") {
            if let Some(glob) = Glob::new(&pattern) {
                let characters: Vec<char> = name.chars().collect();
                let expected = naive(&glob.tokens, &characters);
                prop_assert_eq!(glob.matches(&name), expected, "{} on {}", pattern, name);
                if expected {
                    prop_assert!(name.starts_with(glob.literal_prefix()));
                }
            }
        }

        #[test]
        fn an_escaped_name_matches_itself_alone(name in "[ab*?\\[\\]\\\\é]{1,10}", other in "[ab*?\\[\\]\\\\é]{0,10}") {
            let escaped: String = name.chars().flat_map(|character| ['\\', character]).collect();
            match Glob::new(&escaped) {
                Some(glob) => {
                    prop_assert!(glob.matches(&name));
                    prop_assert_eq!(glob.matches(&other), other == name);
                    prop_assert_eq!(glob.literal_prefix(), &name);
                }
                None => prop_assert!(!name.contains(['*', '?', '['])),
            }
        }

        #[test]
        fn a_glob_is_a_pattern_with_a_wildcard(pattern in any::<String>()) {
            let plain = !pattern.contains(['*', '?', '[']);
            prop_assert!(!(plain && Glob::new(&pattern).is_some()));
            prop_assert!(plain || !pattern.contains(['*', '?']) || Glob::new(&pattern).is_some());
        }
    }
}
