//! Patterns in the argument of a listing, and names that look like one.

use super::{lines, names};
use test_support::gateway::{BUCKET, Gateway};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_brackets_is_listed_as_it_is() {
    let gateway = Gateway::start().await;
    for key in ["a[1].csv", "a1.csv", "dir[2]/x"] {
        gateway.store.put(BUCKET, key, "1");
    }
    let mut ftp = gateway.ftp().await;
    for (argument, expected) in [
        ("a[1].csv", "a[1].csv\r\n"),
        ("dir[2]", "dir[2]/x\r\n"),
        ("a[0-9].csv", "a1.csv\r\n"),
        ("[b-z]*", "dir[2]\r\n"),
    ] {
        let (text, reply) = ftp.list(&format!("NLST {argument}")).await;
        assert_eq!((text.as_str(), reply.code), (expected, 226), "{argument}");
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn globs_select_and_their_literal_prefix_narrows_the_request() {
    let gateway = Gateway::start().await;
    for key in [
        "a.csv", "b.csv", "c.txt", "d.csv", "ab", "abc", "dir/x1", "dir/x2", "dir/y1", "e[1]",
    ] {
        gateway.store.put(BUCKET, key, "1");
    }
    let mut ftp = gateway.ftp().await;
    for (glob, expected, prefix) in [
        ("*", "a.csv ab abc b.csv c.txt d.csv dir e[1]", ""),
        ("*.csv", "a.csv b.csv d.csv", ""),
        ("?.csv", "a.csv b.csv d.csv", ""),
        ("[a-c]*", "a.csv ab abc b.csv c.txt", ""),
        ("[!a-c]*", "d.csv dir e[1]", ""),
        ("ab*", "ab abc", "ab"),
        ("ab?", "abc", "ab"),
        ("d*", "d.csv dir", "d"),
        ("dir/x*", "dir/x1 dir/x2", "dir%2Fx"),
        ("/dir/*1", "/dir/x1 /dir/y1", "dir%2F"),
        ("z*", "", "z"),
        ("dir*", "dir", "dir"),
        ("**", "a.csv ab abc b.csv c.txt d.csv dir e[1]", ""),
    ] {
        gateway.store.reset_counts();
        assert_eq!(names(&mut ftp, glob).await.join(" "), expected, "{glob}");
        let requests = gateway.store.requests();
        // With brackets it may be a name, which is looked up first.
        let asked = if glob.contains('[') { 3 } else { 1 };
        assert_eq!(requests.len(), asked, "{glob}: {requests:?}");
        assert_eq!(
            requests[asked - 1].parameter("prefix").unwrap_or_default(),
            prefix,
            "{glob}"
        );
    }
    let (text, reply) = ftp.list("LIST -la *.csv").await;
    assert_eq!((lines(&text).len(), reply.code), (3, 226));
    // In elements before the last a star is a character.
    let (_, reply) = ftp.list("NLST di*/x1").await;
    assert_eq!(reply.code, 550, "{reply:?}");
    assert_eq!(names(&mut ftp, "di*/*").await, [""; 0]);
    assert_eq!(names(&mut ftp, &"*".repeat(500)).await.len(), 8);
}
