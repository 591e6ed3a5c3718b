//! The codes and texts of all replies: [`Refusal`] for what does not work, [`success`] for the rest.

mod errors;
mod refusal;
pub(super) mod success;

pub(super) use refusal::Refusal;

use crate::data::DataError;
use crate::namespace::{Permission, VirtualPath};
use crate::object::ObjectError;
use ftp_proto::{CommandError, Reply};

/// What a handler answers.
pub(super) type Handled = Result<Reply, Refusal>;

/// No store holds an object of this size (1 PiB). Offsets beyond it never reach a store: what stores make of numbers near
/// 2^63 in a Range differs, and some ignore a Range that they cannot read.
const BEYOND_ANY_OBJECT: u64 = 1 << 50;

/// An offset of REST or RANG that no file reaches (RFC 3659, 5.3).
pub(super) fn check_offset(path: &VirtualPath, offset: u64) -> Result<(), Refusal> {
    if offset < BEYOND_ANY_OBJECT {
        return Ok(());
    }
    Err(Refusal::BeyondAnyFile(path.clone()))
}

// The session and its transfers still hand on replies; these go when they return refusals.

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Refusal {
        Refusal::Made(reply)
    }
}

pub(super) fn command_error(error: &CommandError) -> Reply {
    Refusal::from(error.clone()).into()
}

pub(super) fn forbidden(path: &VirtualPath, permission: Permission) -> Reply {
    Refusal::PermissionDenied(path.clone(), permission).into()
}

pub(super) fn object_error(path: &VirtualPath, error: &ObjectError) -> Reply {
    Refusal::store(path, error).into()
}

pub(super) fn data_error(error: &DataError) -> Reply {
    Refusal::from(error).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A value for the data of a variant.
    pub(super) trait Sample {
        fn sample() -> Self;
    }

    impl Sample for VirtualPath {
        fn sample() -> Self {
            VirtualPath::root()
        }
    }

    impl Sample for Permission {
        fn sample() -> Self {
            Permission::Overwrite
        }
    }

    impl Sample for String {
        fn sample() -> Self {
            "Something".to_owned()
        }
    }

    impl Sample for &'static str {
        fn sample() -> Self {
            "HOST"
        }
    }

    impl Sample for u64 {
        fn sample() -> Self {
            40
        }
    }

    impl Sample for u16 {
        fn sample() -> Self {
            22
        }
    }

    impl Sample for u8 {
        fn sample() -> Self {
            2
        }
    }

    impl Sample for Box<Refusal> {
        fn sample() -> Self {
            Box::new(Refusal::StoreTimeout(VirtualPath::root()))
        }
    }

    impl Sample for Reply {
        fn sample() -> Self {
            Reply::new(550, "Made")
        }
    }

    #[test]
    fn each_refusal_is_one_line_with_a_code_of_refusals() {
        for (name, refusal) in Refusal::samples() {
            let reply = Reply::from(refusal);
            assert!((400..600).contains(&reply.code), "{name}: {}", reply.code);
            let [text] = reply.lines.as_slice() else {
                panic!("{name}: {:?}", reply.lines);
            };
            assert!(text.len() < 200, "{name}: {text}");
            let begins = text.starts_with(|first: char| first == '/' || first.is_uppercase());
            assert!(begins, "{name}: {text}");
            assert!(!text.ends_with(['.', ' ', ',']), "{name}: {text}");
            assert!(
                !text.contains("  ") && !text.contains('\n'),
                "{name}: {text}"
            );
        }
    }

    #[test]
    fn no_two_refusals_have_one_text() {
        // A PORT with the wrong protocol is 501, an EPRT 522, in the same words; as are refusals whose text the
        // parser gives.
        let alike = ["PortNetworkProtocol", "Syntax", "ParameterNotOffered"];
        let mut texts = BTreeSet::new();
        for (name, refusal) in Refusal::samples() {
            let new = texts.insert(refusal.to_string());
            assert!(new || alike.contains(&name), "{name}: {refusal}");
        }
    }
}
