//! [`VirtualPath`]: an absolute, normalised path that can't leave its root.

/// An absolute path in a user's tree: no `.`, `..` or empty element, no control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtualPath {
    elements: Vec<String>,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A C0 control character or DEL.
    #[error("the name holds a control character")]
    ControlCharacter,
    /// Longer than a key can be (1,024 bytes).
    #[error("the path is longer than 1024 bytes")]
    TooLong,
}

impl VirtualPath {
    /// `/`.
    pub fn root() -> Self {
        Self::default()
    }
    /// `argument` seen from `self`: absolute where it begins with `/`; `.`, `..` and doubled slashes resolved,
    /// `..` at the root stays there.
    pub fn join(&self, argument: &str) -> Result<VirtualPath, PathError> {
        let _ = argument;
        todo!()
    }
    /// One element more; `name` must be a valid single element.
    pub fn child(&self, name: &str) -> Result<VirtualPath, PathError> {
        let _ = name;
        todo!()
    }
    /// Its parent; `None` for the root.
    pub fn parent(&self) -> Option<VirtualPath> {
        todo!()
    }
    /// The last element; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.elements.last().map(String::as_str)
    }
    /// The elements.
    pub fn elements(&self) -> &[String] {
        &self.elements
    }
    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        self.elements.is_empty()
    }
    /// The rest of `self` below `ancestor` (empty where equal); `None` where it is not below it. By whole elements.
    pub fn strip_prefix(&self, ancestor: &VirtualPath) -> Option<&[String]> {
        self.elements.strip_prefix(ancestor.elements.as_slice())
    }
    /// Whether a key's element can be named by FTP: not empty, `.`, `..`, no `/`, no control character.
    pub fn nameable(element: &str) -> bool {
        let _ = element;
        todo!()
    }
}

impl std::fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.elements.join("/"))
    }
}
