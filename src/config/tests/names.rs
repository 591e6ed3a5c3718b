//! Which files may come to be in a mount.

use super::*;
use crate::namespace::names::{NameCase, NameChange, NameGlob, NameRules};

fn mount(more: &str) -> String {
    format!("mounts.m = {{ store = \"main\", bucket = \"files\", {more} }}\n")
}

#[test]
fn rules_of_names_and_sizes_are_read() {
    let user = format!("[users.u]\npassword = \"{HASH}\"\nmounts = {{ \"/\" = \"m\" }}\n");
    let read = |more: &str| {
        let config = with(&(mount(more) + &user)).unwrap();
        (**config.users["u"].mounts.values().next().unwrap()).clone()
    };
    let rules = read(
        "max_file_size = \"2GiB\", allow_names = [\"*.csv\", \"READY\"], deny_names = [\"~*\"], \
         names = { case = \"lower\", replace = { \" \" = \"_\", \"ä\" = \"ae\" } }",
    );
    assert_eq!(rules.max_file_size, Some(2 << 30));
    let replace = [(' ', "_".to_owned()), ('ä', "ae".to_owned())];
    let expected = NameRules {
        allow: vec![NameGlob::new("*.csv"), NameGlob::new("READY")],
        deny: vec![NameGlob::new("~*")],
        change: NameChange {
            case: NameCase::Lower,
            replace: replace.into_iter().collect(),
        },
    };
    assert_eq!(*rules.names, expected);
    let none = read("permissions = [\"list\"]");
    assert!(none.max_file_size.is_none() && none.names.is_empty());
}

#[test]
fn wrong_rules_are_errors() {
    for (more, error) in [
        ("allow_names = []", "mounts.m.allow_names: is empty"),
        ("deny_names = [\"a/b\"]", "\"a/b\" has a \"/\""),
        ("deny_names = \"*.exe\"", "mounts.m.deny_names: "),
        (
            "max_file_size = 0",
            "mounts.m.max_file_size: 0 is out of range",
        ),
        (
            "names = { case = \"small\" }",
            "mounts.m.names.case: \"small\" is unknown",
        ),
        ("names = { cases = 1 }", "mounts.m.names.cases"),
        (
            "names = { replace = { ab = \"c\" } }",
            "\"ab\" is not a character",
        ),
        (
            "names = { replace = { \"/\" = \"c\" } }",
            "\"/\" is not a character",
        ),
        (
            "names = { replace = { \" \" = \"\" } }",
            "mounts.m.names.replace",
        ),
        (
            "names = { replace = { \" \" = \"/\" } }",
            "\"/\" can't stand in a changed name",
        ),
        (
            "names = { replace = { \" \" = \"_ \" } }",
            "\"_ \" can't stand",
        ),
        (
            "names = { case = \"lower\", replace = { \" \" = \"X\" } }",
            "\"X\" can't stand",
        ),
        (
            "names = { case = \"upper\", replace = { a = \"X\" } }",
            "\"a\" never occurs",
        ),
    ] {
        let lines = lines(with(&mount(more)));
        assert_eq!(lines.len(), 1, "{more}: {lines:?}");
        assert!(lines[0].contains(error), "{more}: {lines:?}");
    }
}
