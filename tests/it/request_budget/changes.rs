//! DELE and renames: the number of requests.

use super::Step::Say;

use super::Session;
use test_support::gateway::{BUCKET, Gateway};

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_is_at_most_three() {
    let mut session = Session::start().await;
    for key in [
        "only/a",
        "two/a",
        "two/b",
        "many/a",
        "many/b",
        "many/c",
        "many/d",
        "marked/",
        "marked/a",
        "root",
        "one/other",
        "tree/x/y",
    ] {
        session.given(key, 1);
    }
    for (line, code, expected) in [
        (
            "DELE only/a",
            250,
            &[("ListObjectsV2", 1), ("PutObject", 1), ("DeleteObject", 1)][..],
        ),
        (
            // Another session may have deleted the other file at the same moment.
            "DELE two/b",
            250,
            &[("ListObjectsV2", 2), ("DeleteObject", 1)],
        ),
        (
            "DELE many/d",
            250,
            &[("ListObjectsV2", 1), ("HeadObject", 1), ("DeleteObject", 1)],
        ),
        (
            "DELE many/a",
            250,
            &[("ListObjectsV2", 1), ("DeleteObject", 1)],
        ),
        (
            "DELE marked/a",
            250,
            &[("ListObjectsV2", 1), ("DeleteObject", 1)],
        ),
        ("DELE root", 250, &[("HeadObject", 1), ("DeleteObject", 1)]),
        // A missing file: the user may have an interrupted upload of it.
        ("DELE root", 550, &[("HeadObject", 1), ("GetObject", 1)]),
        (
            "DELE one/none",
            550,
            &[("ListObjectsV2", 1), ("GetObject", 1)],
        ),
        (
            "DELE nowhere/none",
            550,
            &[("ListObjectsV2", 1), ("GetObject", 1)],
        ),
        (
            "DELE many/none",
            550,
            &[("ListObjectsV2", 1), ("HeadObject", 1), ("GetObject", 1)],
        ),
        ("DELE tree", 550, &[("HeadObject", 1), ("GetObject", 1)]),
        (
            "DELE tree/x",
            550,
            &[("ListObjectsV2", 1), ("GetObject", 1)],
        ),
    ] {
        let cost: usize = expected.iter().map(|(_, count)| count).sum();
        assert!(cost <= 3);
        session.costs("DELE", &[Say(line, code)], expected).await;
    }
    assert_eq!(
        session.store().keys(BUCKET),
        [
            "many/b",
            "many/c",
            "marked/",
            "one/other",
            "only/",
            "tree/x/y",
            "two/a"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_of_a_file_is_at_most_five() {
    let builder = Gateway::builder().add_mount("second", "second", "").user(
        "u",
        "p",
        r#"{ "/" = "main", "/second" = "second" }"#,
    );
    let mut session = Session::of(builder).await;
    for key in [
        "only/a", "in/a", "two/a", "two/b", "many/a", "many/b", "many/c", "many/d", "marked/",
        "marked/a", "root", "there", "away",
    ] {
        session.given(key, 1);
    }
    let inside = [
        ("HeadObject", 1),
        ("CopyObject", 1),
        ("ListObjectsV2", 1),
        ("DeleteObject", 1),
    ];
    // Another session may have deleted the other file there at the same moment.
    let of_two = [inside[0], inside[1], ("ListObjectsV2", 2), inside[3]];
    // The first keys of the directory do not show whether it is still the version that was copied.
    let beyond = [("HeadObject", 2), inside[1], inside[2], inside[3]];
    let with_marker = [inside[0], inside[1], inside[2], inside[3], ("PutObject", 1)];
    let at_root = [("HeadObject", 2), inside[1], inside[3]];
    // Written by this server, which has not asked for interrupted uploads of other replicas.
    let written = [at_root[0], at_root[1], at_root[2], ("ListObjectsV2", 1)];
    for (from, to, expected) in [
        ("only/a", "out/a", &with_marker[..]),
        ("in/a", "in/b", &of_two),
        ("two/b", "out/b", &of_two),
        ("many/a", "out/c", &inside),
        ("many/d", "out/d", &beyond),
        ("marked/a", "out/e", &inside),
        ("root", "new", &at_root),
        ("new", "there", &written),
        ("there", "there", &[("HeadObject", 1)]),
        ("away", "second/away", &at_root),
        ("second/away", "out/f", &written),
    ] {
        let cost: usize = expected.iter().map(|(_, count)| count).sum();
        assert!(cost <= 5);
        let (from, to) = (format!("RNFR {from}"), format!("RNTO {to}"));
        session
            .costs("a rename", &[Say(&from, 350), Say(&to, 250)], expected)
            .await;
    }
    session
        .costs(
            "nothing there",
            &[Say("RNFR none", 550)],
            &[("HeadObject", 1), ("ListObjectsV2", 1)],
        )
        .await;
    assert_eq!(
        session.store().keys(BUCKET),
        [
            "in/b", "many/b", "many/c", "marked/", "only/", "out/a", "out/b", "out/c", "out/d",
            "out/e", "out/f", "there", "two/a"
        ]
    );
}
