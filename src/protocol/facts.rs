//! Lines of MLSD and MLST (RFC 3659, 7).

use jiff::Timestamp;

/// Which facts a session wants (OPTS MLST).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactSet(u8);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactType {
    /// file
    File,
    /// dir
    Directory,
    /// cdir: the listed directory
    Current,
    /// pdir: its parent
    Parent,
}

/// The facts of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Name (MLSD) or path (MLST).
    pub name: &'a str,
    /// type
    pub kind: FactType,
    /// size, files only
    pub size: Option<u64>,
    /// modify, where known
    pub modified: Option<Timestamp>,
    /// perm letters, in the order of RFC 3659, e.g. `adfrw`, `elcmp`
    pub perm: String,
    /// unique
    pub unique: Option<String>,
}

impl FactSet {
    /// All facts: type, size, modify, perm, unique, UNIX.mode.
    pub fn all() -> Self {
        FactSet(0x3f)
    }
    /// The known ones among `names`, in any case; unknown ones are ignored (RFC 3659, 7.9).
    pub fn select(names: &[String]) -> Self {
        let _ = names;
        todo!()
    }
    /// `type;size;…` in canonical order: the reply to OPTS MLST.
    pub fn chosen(&self) -> String {
        todo!()
    }
    /// `type*;size*;modify;…`: the FEAT line, chosen ones starred.
    pub fn feat(&self) -> String {
        todo!()
    }
}

/// Appends `facts name` without a line end. UNIX.mode follows from `perm`: 0644/0444, 0755/0555.
pub fn fact_line(out: &mut Vec<u8>, facts: &Facts<'_>, set: &FactSet) {
    let _ = (out, facts, set);
    todo!()
}
