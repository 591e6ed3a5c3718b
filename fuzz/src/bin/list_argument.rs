//! The arguments of LIST and their globs: bounded time for any pattern, and matches that have the
//! literal prefix. The input is an argument and a name, separated by NUL.

#![no_main]

use ftp_proto::Command;
use ftp_proto::glob::Glob;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (argument, name) = text.split_once('\0').unwrap_or((text, "a.csv"));
    let list = Command::parse(format!("LIST {argument}").as_bytes());
    let Ok(Command::List(list)) = list else {
        assert!(argument.contains('\0'));
        return;
    };
    let Some(path) = list.path else { return };
    assert!(!path.is_empty() && path.len() <= argument.len());

    let wild = path.contains(['*', '?', '[']);
    let Some(glob) = Glob::new(&path) else {
        assert!(!path.contains(['*', '?']));
        return;
    };
    assert!(wild, "a glob has a wildcard");
    let matches = glob.matches(name);
    assert!(!matches || name.starts_with(glob.literal_prefix()));
    assert_eq!(matches, glob.matches(name), "a match changes nothing");

    // With `*` before it, a pattern matches each name that ends in a match.
    let anywhere = Glob::new(&format!("*{path}")).expect("a glob");
    if matches {
        assert!(anywhere.matches(&format!("any{name}")));
        assert!(anywhere.matches(name));
    }
    // A completely escaped name matches only itself.
    let escaped: String = name
        .chars()
        .flat_map(|character| ['\\', character])
        .collect();
    if let Some(literal) = Glob::new(&escaped) {
        assert!(literal.matches(name) && literal.literal_prefix() == name);
        assert!(!literal.matches(&format!("{name}x")));
    }
});
