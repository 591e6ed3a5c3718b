//! Globs in the last element of LIST and NLST: `*`, `?`, `[a-z]`, `[!a]`; `\` takes the next character literally.

/// A glob, ready to match; bounded time for any pattern.
#[derive(Debug, Clone)]
pub struct Glob {}

impl Glob {
    /// `None` where `pattern` holds no special character. A `[` without its end is literal.
    pub fn new(pattern: &str) -> Option<Glob> {
        let _ = pattern;
        todo!()
    }
    /// The literal text every match begins with: the listing's prefix.
    pub fn literal_prefix(&self) -> &str {
        todo!()
    }
    /// Whether it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }
}
