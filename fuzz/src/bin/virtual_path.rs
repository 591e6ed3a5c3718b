//! Virtual paths: no argument leaves the root, and none reaches a key outside the mount's prefix or
//! the server's state. The input is a working directory and an argument, separated by NUL.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use s3ftpd::namespace::{MAX_KEY, Namespace, VirtualPath};
use test_support::in_memory::InMemoryGateway;

/// `/` is `alice/` of a bucket, where `alice-archive/` must stay out of reach; `/in` is a whole
/// bucket.
static NAMESPACE: LazyLock<Namespace> = LazyLock::new(InMemoryGateway::namespace);

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (from, argument) = text.split_once('\0').unwrap_or(("", text));
    let Ok(from) = VirtualPath::root().join(from) else {
        return;
    };
    let Ok(path) = from.join(argument) else {
        assert!(argument.contains(char::is_control) || text.len() > MAX_KEY);
        return;
    };
    let written = path.to_string();
    assert!(written.starts_with('/') && written.len() <= MAX_KEY + 1);
    assert!(
        path.elements()
            .iter()
            .all(|element| VirtualPath::nameable(element))
    );
    for again in [".", "", "/./", &written, "x/..", "../../../"] {
        let joined = path.join(again);
        match again {
            "/./" => assert_eq!(joined, Ok(VirtualPath::root())),
            "../../../" => {
                assert!(joined.expect("shorter").elements().len() <= path.elements().len())
            }
            "x/.." if joined.is_err() => unreachable!("only the result's length counts"),
            _ => assert_eq!(joined.as_ref(), Ok(&path), "{again}"),
        }
    }
    if let Some(parent) = path.parent() {
        assert_eq!(
            parent.child(path.name().expect("not the root")),
            Ok(path.clone())
        );
        assert!(path.strip_prefix(&parent).is_some());
        assert_eq!(parent.strip_prefix(&path), None);
    }

    let resolved = NAMESPACE.resolve(&path);
    let prefix = match path.elements().first().map(String::as_str) {
        Some("in") => "",
        _ => "alice/",
    };
    for location in [resolved.object(), resolved.directory()]
        .into_iter()
        .flatten()
    {
        assert!(location.key.starts_with(prefix) && location.key.len() <= MAX_KEY);
        assert_eq!(
            &*location.bucket,
            if prefix.is_empty() { "inbox" } else { "files" }
        );
        let below = location.key[prefix.len()..].trim_end_matches('/');
        assert!(below.is_empty() || below.split('/').all(VirtualPath::nameable));
    }
});
