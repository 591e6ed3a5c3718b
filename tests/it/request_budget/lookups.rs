//! SIZE, MDTM and MLST: which requests they make, and which answers serve more than one command.

use super::Step::{Get, Say};

use super::{RANGE, Session};
use test_support::ftp::Mode;
use test_support::gateway::{Builder, Gateway};
use test_support::pattern;

/// A user without write permission has no interrupted uploads.
fn reader() -> Builder {
    Gateway::builder().mount("permissions = [\"list\", \"read\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn size_with_write_permission_reads_the_record_too() {
    let mut session = Session::start().await;
    session.given("a", 1000);
    session.given("b", 1000);
    let with_record = [("HeadObject", 1), ("GetObject", 1)];
    let size = [Say("SIZE a", 213)];
    session.costs("SIZE", &size, &with_record).await;
    let facts = [Say("MLST a", 250)];
    session.costs("MLST", &facts, &with_record).await;
    let none = [Say("SIZE none", 550)];
    session.costs("nothing", &none, &with_record).await;
    session
        .costs("MDTM", &[Say("MDTM a", 213)], &[("HeadObject", 1)])
        .await;
    session.costs("between", &[Say("PWD", 257)], &[]).await;
    let and_get = [Say("SIZE a", 213), Say("MDTM a", 213), Get("a")];
    session
        .costs(
            "the first",
            &and_get,
            &[("HeadObject", 1), ("GetObject", 2)],
        )
        .await;
    let and_get = [Say("SIZE b", 213), Say("MDTM b", 213), Get("b")];
    session
        .costs("the second", &and_get, &[("GetObject", 2)])
        .await;
    session.ftp.expect("REST 1000", 350).await;
    session.ftp.expect("EPSV", 229).await;
    let beyond = [Say("STOR none", 554)];
    session.costs("REST + STOR", &beyond, &with_record).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn size_mdtm_and_retr_of_one_file_share_requests() {
    let mut session = Session::of(reader()).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        session.given(name, 1000);
    }
    let head_and_get = [("HeadObject", 1), ("GetObject", 1)];
    let one_get = [("GetObject", 1)];
    session
        .costs(
            "the first",
            &[Say("SIZE a", 213), Say("MDTM a", 213), Get("a")],
            &head_and_get,
        )
        .await;
    session
        .costs(
            "the second",
            &[Say("SIZE b", 213), Say("MDTM b", 213), Get("b")],
            &one_get,
        )
        .await;
    session
        .costs(
            "as curl does",
            &[
                Say("MDTM c", 213),
                Say("TYPE I", 200),
                Say("SIZE c", 213),
                Say("REST 0", 350),
                Get("c"),
            ],
            &one_get,
        )
        .await;
    // An answer serves once, and only the next command.
    session
        .costs("again", &[Get("c")], &[("GetObject", 1)])
        .await;
    session
        .costs(
            "another command in between",
            &[Say("SIZE d", 213), Say("PWD", 257), Get("d")],
            &[("GetObject", 2)],
        )
        .await;
    session
        .costs(
            "another file",
            &[Say("SIZE e", 213), Get("f")],
            &[("GetObject", 2)],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_that_size_fetched_serve_files_of_up_to_64_kib() {
    let mut session = Session::of(reader()).await;
    for (name, size) in [
        ("first", 10),
        ("at", 64 * 1024),
        ("above", 64 * 1024 + 1),
        ("large", RANGE + 1),
        ("empty", 0),
        ("small", 10),
    ] {
        session.given(name, size);
    }
    session
        .costs(
            "the first of a session",
            &[Say("SIZE first", 213), Get("first")],
            &[("HeadObject", 1), ("GetObject", 1)],
        )
        .await;
    session
        .costs(
            "at the limit",
            &[Say("SIZE at", 213), Say("MDTM at", 213), Get("at")],
            &[("GetObject", 1)],
        )
        .await;
    session
        .costs(
            "an empty one",
            &[Say("SIZE empty", 213), Get("empty")],
            &[("GetObject", 1)],
        )
        .await;
    session
        .costs(
            "whose time needs a HEAD, as an answer without a body does not say so",
            &[Say("SIZE empty", 213), Say("MDTM empty", 213), Get("empty")],
            &[("GetObject", 1), ("HeadObject", 1)],
        )
        .await;
    session
        .costs(
            "above it: the guess was wrong, and a GET costs what a HEAD does",
            &[Say("SIZE above", 213), Say("MDTM above", 213), Get("above")],
            &[("GetObject", 2)],
        )
        .await;
    session
        .costs(
            "which is learnt from",
            &[Say("SIZE large", 213), Get("large")],
            &[("HeadObject", 1), ("GetObject", 2)],
        )
        .await;
    session
        .costs(
            "small ones again",
            &[Say("SIZE small", 213), Get("small")],
            &[("HeadObject", 1), ("GetObject", 1)],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_drops_the_cached_answers() {
    let mut session = Session::start().await;
    session.given("f", 10);
    session.given("g", 10);
    // Twice: by a HEAD, and by a GET of the first bytes.
    for (line, done) in [
        ("STOR f", 4),
        ("STOR f", 5),
        ("APPE f", 9),
        ("STOR f", 70_000),
    ] {
        session.perform(Say("SIZE f", 213)).await;
        let reply = session
            .ftp
            .upload_with(
                line,
                &pattern(if line == "APPE f" { 4 } else { done }, 9),
                Mode::Passive,
            )
            .await;
        assert_eq!(reply.code, 226, "{reply:?}");
        let reply = session.ftp.expect("SIZE f", 213).await;
        assert_eq!(reply.text(), done.to_string(), "{line}");
        session.perform(Get("f")).await;
    }
    session.perform(Say("SIZE f", 213)).await;
    session.perform(Say("DELE f", 250)).await;
    session.perform(Say("SIZE f", 550)).await;
    session.perform(Say("SIZE g", 213)).await;
    session.perform(Say("RNFR g", 350)).await;
    session.perform(Say("RNTO f", 250)).await;
    session.perform(Say("SIZE g", 550)).await;
    let reply = session.ftp.expect("SIZE f", 213).await;
    assert_eq!(reply.text(), "10");
}
