//! Each refusal has a reply that a client can read.

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
