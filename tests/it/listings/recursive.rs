//! LIST -R and NLST -R: what `ls -R` would print, from one list of keys.

use std::collections::BTreeMap;

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};

async fn text(ftp: &mut Ftp, command: &str) -> String {
    let (text, reply) = ftp.list(command).await;
    assert_eq!(reply.code, 226, "{command}: {reply:?}");
    text
}

/// As a client reads `ls -R`: headings with the names below them; a heading may appear more than
/// once.
fn blocks(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut heading = None;
    let mut blank = true;
    for line in text.split_terminator("\r\n") {
        match line.strip_suffix(':').filter(|_| blank) {
            Some(found) => {
                heading = Some(found.to_owned());
                blocks.entry(found.to_owned()).or_default();
                blank = false;
            }
            None if line.is_empty() => blank = true,
            None => {
                let heading = heading.clone().expect("a heading first");
                blocks.entry(heading).or_default().push(line.to_owned());
            }
        }
    }
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_printed_as_ls_prints_it() {
    let gateway = Gateway::start().await;
    for key in ["d/a", "d/e/b", "d/e/f/g", "d/z", "d/empty/", "dd/x", "top"] {
        gateway.store.put(BUCKET, key, "12345");
    }
    gateway.store.reset_counts();
    let mut ftp = gateway.ftp().await;
    let printed =
        "d:\r\na\r\ne\r\nempty\r\nz\r\n\r\nd/e:\r\nb\r\nf\r\n\r\nd/e/f:\r\ng\r\n\r\nd/empty:\r\n";
    for command in ["NLST -R d", "NLST -R d/", "NLST -aR d"] {
        assert_eq!(text(&mut ftp, command).await, printed, "{command}");
    }
    assert_eq!(gateway.store.count("ListObjectsV2"), 3);
    let long = text(&mut ftp, "LIST -laR d").await;
    let names: Vec<&str> = long
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    let expected: Vec<&str> = printed.split_terminator("\r\n").collect();
    assert_eq!(names, expected);
    assert!(
        long.contains("drwxr-xr-x 1 ftp ftp 0 Jan  1  1970 e\r\n"),
        "{long}"
    );
    assert!(
        long.lines()
            .any(|line| line.starts_with("-rw-r--r-- 1 ftp ftp 5 ") && line.ends_with(" a"))
    );
    assert_eq!(text(&mut ftp, "NLST -Rl d").await, long);
    for (cwd, command, first) in [
        ("/", "NLST -R", ".:\r\nd\r\ndd\r\ntop\r\n\r\n./d:\r\na\r\n"),
        ("/", "NLST -R /", "/:\r\nd\r\ndd\r\ntop\r\n\r\n/d:\r\na\r\n"),
        (
            "/d",
            "NLST -R",
            ".:\r\na\r\ne\r\nempty\r\nz\r\n\r\n./e:\r\nb\r\n",
        ),
        ("/d", "NLST -R e", "e:\r\nb\r\nf\r\n\r\ne/f:\r\ng\r\n"),
        ("/", "NLST -R d*", ".:\r\nd\r\ndd\r\n\r\n./d:\r\n"),
        ("/", "NLST -R d/[e]*", "d:\r\ne\r\nempty\r\n\r\nd/e:\r\n"),
        // A file, and a directory itself.
        ("/", "NLST -R top", "top\r\n"),
        ("/", "NLST -Rd d", "d\r\n"),
    ] {
        ftp.expect(&format!("CWD {cwd}"), 250).await;
        let printed = text(&mut ftp, command).await;
        assert!(printed.starts_with(first), "{cwd} {command}: {printed}");
    }
    let status = ftp.expect("STAT -R /d", 212).await;
    assert!(
        status.lines.iter().any(|line| line == " /d/e/f:"),
        "{status:?}"
    );
    ftp.epsv().await;
    ftp.expect("LIST -R none", 550).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hidden_is_printed_and_times_are_the_clients() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .start()
        .await;
    for key in [
        ".s3ftpd/uploads/x",
        "a//b",
        "a/./c",
        "a/\u{1}/d",
        "a/ok",
        "a/b\rc",
    ] {
        gateway.store.put(BUCKET, key, "1");
    }
    let mut ftp = gateway.ftp().await;
    assert_eq!(
        text(&mut ftp, "NLST -R").await,
        ".:\r\na\r\n\r\n./a:\r\nok\r\n"
    );
    ftp.expect("MFMT 20010203040506 a/ok", 213).await;
    let long = text(&mut ftp, "LIST -R").await;
    assert!(long.contains("Feb  3  2001 ok"), "{long}");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_below_are_printed_with_their_contents() {
    let gateway = Gateway::builder()
        .add_mount("in", "scans", "today/")
        .add_mount("deep", "deeps", "")
        .add_mount("shut", "shuts", "")
        .with("[mounts.shut]\npermissions = [\"write\"]")
        .user(
            "v",
            "p",
            "{ \"/\" = \"main\", \"/in\" = \"in\", \"/a/way/deep\" = \"deep\", \"/in/shut\" = \"shut\" }",
        )
        .start()
        .await;
    let store = &gateway.store;
    for (bucket, key) in [
        (BUCKET, "in/covered"),
        (BUCKET, "in"),
        (BUCKET, "a/file"),
        (BUCKET, "a/way/deep/covered"),
        (BUCKET, "a/zz/y"),
        ("scans", "today/s1"),
        ("scans", "today/sub/s2"),
        ("scans", "yesterday/s3"),
        ("deeps", "d1"),
        ("shuts", "secret"),
    ] {
        store.put(bucket, key, "1");
    }
    let mut ftp = gateway.ftp_as("v", "p").await;
    let found = blocks(&text(&mut ftp, "NLST -R").await);
    let expected: [(&str, &[&str]); 7] = [
        (".", &["a", "in"]),
        ("./a", &["file", "way", "zz"]),
        ("./a/way", &["deep"]),
        ("./a/way/deep", &["d1"]),
        ("./a/zz", &["y"]),
        ("./in", &["s1", "shut", "sub"]),
        ("./in/sub", &["s2"]),
    ];
    let sorted: BTreeMap<String, Vec<String>> = found
        .into_iter()
        .map(|(heading, mut names)| {
            names.sort();
            (heading, names)
        })
        .collect();
    let expected: BTreeMap<String, Vec<String>> = expected
        .into_iter()
        .map(|(heading, names)| {
            (
                heading.to_owned(),
                names.iter().map(ToString::to_string).collect(),
            )
        })
        .collect();
    assert_eq!(sorted, expected);
    ftp.close().await;
    // Nothing except mounts.
    let gateway = Gateway::builder()
        .add_mount("in", "scans", "")
        .user("v", "p", "{ \"/x/in\" = \"in\" }")
        .start()
        .await;
    gateway.store.put("scans", "s/1", "1");
    let mut ftp = gateway.ftp_as("v", "p").await;
    assert_eq!(
        text(&mut ftp, "NLST -R").await,
        ".:\r\nx\r\n\r\n./x:\r\nin\r\n\r\n./x/in:\r\ns\r\n\r\n./x/in/s:\r\n1\r\n"
    );
    ftp.close().await;
    gateway.stop().await;
}

/// Files and subdirectories alternate in the order of keys: nothing is lost or doubled when a
/// directory comes in pieces, and there is one request for 1,000 keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_tree_is_complete_in_bounded_memory() {
    let gateway = Gateway::start().await;
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let long = "n".repeat(60);
    for number in 0..3000 {
        let (heading, name) = match number % 3 {
            0 => ("d".to_owned(), format!("{number:05}-{long}")),
            1 => (
                format!("d/{:05}", number / 30),
                format!("{number:05}-{long}"),
            ),
            _ => (
                format!("d/{:05}/deep", number / 30),
                format!("{number:05}-{long}"),
            ),
        };
        gateway.store.put(BUCKET, &format!("{heading}/{name}"), "1");
        expected.entry(heading).or_default().push(name);
    }
    for number in 0..100 {
        let names = [format!("{number:05}"), "deep".to_owned()];
        expected.get_mut("d").unwrap().push(names[0].clone());
        expected
            .entry(format!("d/{number:05}"))
            .or_default()
            .push(names[1].clone());
    }
    expected.values_mut().for_each(|names| names.sort());
    gateway.store.reset_counts();
    let mut ftp = gateway.ftp().await;
    let mut found = blocks(&text(&mut ftp, "NLST -R d").await);
    found.values_mut().for_each(|names| names.sort());
    assert!(found == expected, "{} of {}", found.len(), expected.len());
    assert_eq!(gateway.store.count("ListObjectsV2"), 3);
    ftp.close().await;
    test_support::transfers::nothing_left(&gateway, 0).await;
    gateway.stop().await;
}
