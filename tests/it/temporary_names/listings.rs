//! Listings show the user's temporary files among the others.

use std::collections::BTreeSet;

use super::{PATTERNS, builder, rename};
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};

async fn names(ftp: &mut Ftp, command: &str) -> BTreeSet<String> {
    let (text, reply) = ftp.list(command).await;
    assert_eq!(reply.code, 226, "{command}");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let different: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(different.len(), lines.len(), "a name twice: {text}");
    different
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn each_listing_shows_both_kinds_of_files_once() {
    let gateway = builder().start().await;
    let store = &gateway.store;
    for key in ["in/a", "in/z", "in/sub/k", "in/foreign.tmp", "in/dir.tmp/k"] {
        store.put_before(BUCKET, key, "other");
    }
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for name in ["in/m.tmp", "in/.in.b", "in/sub/deep.filepart"] {
        assert_eq!(ftp.store(name, b"12345").await.code, 226);
    }
    let all = set([
        "in/a",
        "in/z",
        "in/sub",
        "in/dir.tmp",
        "in/m.tmp",
        "in/.in.b",
    ]);
    assert_eq!(names(&mut ftp, "NLST in").await, all);
    let matching = set(["in/m.tmp", "in/dir.tmp"]);
    assert_eq!(names(&mut ftp, "NLST in/*.tmp").await, matching);
    assert_eq!(names(&mut ftp, "NLST in/m*").await, set(["in/m.tmp"]));
    assert_eq!(names(&mut ftp, "NLST in/[m]*").await, set(["in/m.tmp"]));
    assert_eq!(names(&mut ftp, "NLST in/m.tmp").await, set(["in/m.tmp"]));
    let (list, _) = ftp.list("LIST in").await;
    assert_eq!(list.lines().count(), 6, "{list}");
    let line = list.lines().find(|line| line.ends_with(" m.tmp")).unwrap();
    assert!(line.starts_with("-rw") && line.contains(" 5 "), "{line}");
    let status = ftp.expect("STAT in", 212).await.lines.join("\n");
    assert!(
        status.contains(" m.tmp") && status.contains(" a"),
        "{status}"
    );
    let status = ftp.expect("STAT in/m.tmp", 213).await.lines.join("\n");
    assert!(status.contains("m.tmp"), "{status}");

    // The facts of MLSD are those of MLST.
    let (facts, _) = ftp.list("MLSD in").await;
    for name in ["m.tmp", "a"] {
        let line = facts
            .lines()
            .find(|line| line.ends_with(&format!(" {name}")))
            .unwrap();
        let one = ftp
            .expect(&format!("MLST in/{name}"), 250)
            .await
            .lines
            .join("\n");
        let same = line.split(' ').next().unwrap();
        assert!(one.contains(same), "{one}\n{line}");
    }
    let directory = facts.lines().find(|line| line.ends_with(" dir.tmp"));
    assert!(directory.unwrap().contains("type=dir;"), "{facts}");
}

#[tokio::test]
async fn recursive_listings_show_them_in_their_directories() {
    let gateway = builder().start().await;
    for key in ["a", "d/a", "d/e/a", "d/e/f/a", "z/a", "z/hidden.tmp"] {
        gateway.store.put_before(BUCKET, key, "other");
    }
    let mut ftp = gateway.ftp().await;
    for name in ["t.tmp", "d/u.tmp", "d/e/f/v.tmp", "z/w.tmp", "z/x.tmp"] {
        assert_eq!(ftp.store(name, b"12345").await.code, 226);
    }
    let (text, _) = ftp.list("NLST -R").await;
    let blocks: Vec<(String, BTreeSet<String>)> = text
        .split("\r\n\r\n")
        .map(|block| {
            let mut lines = block.lines().map(str::to_owned);
            (lines.next().unwrap(), lines.collect())
        })
        .collect();
    let expected = [
        (".:", set(["t.tmp", "a", "d", "z"])),
        ("./d:", set(["u.tmp", "a", "e"])),
        ("./d/e:", set(["a", "f"])),
        ("./d/e/f:", set(["v.tmp", "a"])),
        ("./z:", set(["w.tmp", "x.tmp", "a"])),
    ];
    let expected = expected.map(|(heading, names)| (heading.to_owned(), names));
    assert_eq!(blocks, expected);
    let (text, _) = ftp.list("LIST -R *.tmp").await;
    assert!(text.contains(" t.tmp") && !text.contains("u.tmp"), "{text}");
}

/// More than a page of each kind.
#[tokio::test]
async fn long_listings_are_whole() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/first.tmp", b"1").await.code, 226);
    let place = super::temporary(&gateway.store)[0].clone();
    let place = place.strip_suffix("first.tmp").unwrap().to_owned();
    for number in 0..2100 {
        gateway.store.put(BUCKET, &format!("in/{number:04}"), "1");
        gateway
            .store
            .put(BUCKET, &format!("{place}{number:04}.tmp"), "1");
    }
    gateway.store.reset_counts();
    assert_eq!(names(&mut ftp, "NLST in").await.len(), 4201);
    assert_eq!(gateway.store.count("ListObjectsV2"), 6);
    let (text, _) = ftp.list("NLST -R in").await;
    assert_eq!(text.lines().count(), 4202);
}

/// A mount without such names costs what it has always cost.
#[tokio::test]
async fn a_listing_costs_one_list_more() {
    for (patterns, lists) in [(PATTERNS, 2), ("", 1)] {
        let gateway = Gateway::builder().mount(patterns).start().await;
        gateway.store.put(BUCKET, "in/a", "1");
        let mut ftp = gateway.ftp().await;
        for command in ["LIST in", "NLST in", "MLSD in", "NLST in/*.tmp", "STAT in"] {
            gateway.store.reset_counts();
            match command {
                "STAT in" => drop(ftp.expect(command, 212).await),
                _ => drop(ftp.list(command).await),
            }
            let found = gateway.store.operations();
            assert_eq!(found, vec!["ListObjectsV2"; lists], "{command}");
        }
    }
}

/// A file that is renamed while it is listed may be shown twice, and is never missing.
#[tokio::test]
async fn a_file_that_is_published_meanwhile_is_not_missing() {
    use test_support::faults::Fault;
    let gateway = builder().start().await;
    gateway.store.put(BUCKET, "in/a", "1");
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", b"1").await.code, 226);
    // The first list is that of the temporary files.
    let held = gateway
        .store
        .fail("ListObjectsV2")
        .nth(2)
        .with(Fault::Stall);
    let mut other = gateway.ftp().await;
    let listing = async {
        let (text, _) = ftp.list("NLST in").await;
        text
    };
    let publish = async {
        test_support::within("the listing", held.hit()).await;
        assert_eq!(rename(&mut other, "in/x.tmp", "in/x").await.code, 250);
        held.release();
    };
    let (text, ()) = tokio::join!(listing, publish);
    assert!(text.contains("in/x"), "{text}");
}
