//! Names: whatever a key can hold and FTP can send is a file like any other; names that FTP cannot
//! send forge nothing; and no name leads out of a user's mounts.

use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};

/// Names that have broken servers and clients.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "plain",
        "two words",
        " leading",
        "trailing ",
        "  both  ",
        " ",
        "\"quoted\"",
        "quote\"inside",
        "it's",
        "-la",
        "-",
        "--",
        "-rf x",
        "back\\slash",
        "100%",
        "%2e%2e",
        "%2F",
        "%00",
        "a+b",
        "+",
        "#hash",
        "what?",
        "?",
        "[abc]",
        "[",
        "]",
        "*",
        "a*b",
        "{braces}",
        "~",
        "~root",
        "$HOME",
        "`id`",
        "a;b",
        "a&b=c",
        "<xml>&amp;",
        "a:b",
        "a|b",
        "a,b",
        "a=b;c",
        "...",
        "..a",
        ".hidden",
        ".s3ftpd2",
        "226 Transfer complete",
        "20200102030405",
        "size=1; x",
        // Two, three and four bytes; combining; right to left; a character of no font.
        "Übergröße.csv",
        "naïve cafe\u{301}",
        "日本語",
        "\u{202e}gnp.exe",
        "\u{2028}line\u{2029}",
        "\u{feff}bom",
        "🦀",
        "👩\u{200d}👩\u{200d}👧",
        "𐍈",
        "\u{10ffff}",
        "\u{e000}",
        "nbsp\u{a0}",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("a".repeat(255));
    names.push("ü".repeat(300));
    names
}

/// The names in the lines of MLSD.
fn mlsd_names(text: &str) -> Vec<&str> {
    text.split_terminator("\r\n")
        .map(|line| line.split_once("; ").expect("facts and a name").1)
        .collect()
}

/// The name in a line of LIST, for a size of one digit.
fn long_name(line: &str) -> &str {
    &line["-rw-r--r-- 1 ftp ftp 3 Nov 23 20:00 ".len()..]
}

/// A path in which no option, glob or quote is read.
fn exact(name: &str) -> String {
    format!("./{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_work_in_every_command_of_a_file() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("MKD dir", 257).await;
    ftp.expect("CWD dir", 250).await;
    for name in odd_names() {
        let key = format!("dir/{name}");
        let reply = ftp.store(&name, name.as_bytes()).await;
        assert_eq!(reply.code, 226, "STOR {name}: {reply:?}");
        assert_eq!(
            gateway.store.object(BUCKET, &key).as_deref(),
            Some(name.as_bytes()),
            "{name:?}"
        );
        let reply = ftp.expect(&format!("SIZE {name}"), 213).await;
        assert_eq!(reply.text(), name.len().to_string());
        ftp.expect(&format!("MDTM {name}"), 213).await;
        let (bytes, reply) = ftp.retrieve(&name).await;
        assert_eq!(
            (&bytes[..], reply.code),
            (name.as_bytes(), 226),
            "RETR {name}"
        );
        let reply = ftp.expect(&format!("MLST {name}"), 250).await;
        assert!(
            reply.lines[1].ends_with(&format!("; /dir/{name}")),
            "{reply:?}"
        );
        let renamed = format!("{name}.new");
        ftp.expect(&format!("RNFR {name}"), 350).await;
        ftp.expect(&format!("RNTO {renamed}"), 250).await;
        assert_eq!(
            gateway.store.keys(BUCKET),
            ["dir/".to_owned(), format!("{key}.new")]
        );
        let reply = ftp
            .upload_with(&format!("APPE {renamed}"), b"!", Mode::Passive)
            .await;
        assert_eq!(reply.code, 226, "APPE {renamed}: {reply:?}");
        ftp.expect(&format!("DELE {renamed}"), 250).await;
        assert_eq!(gateway.store.keys(BUCKET), ["dir/"]);
        ftp.in_step().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_listed_as_they_are() {
    let gateway = Gateway::start().await;
    let mut names = odd_names();
    for name in &names {
        gateway.store.put(BUCKET, &format!("d/{name}"), "123");
    }
    names.sort();
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD d", 250).await;
    let (text, reply) = ftp.list("NLST").await;
    assert_eq!(reply.code, 226);
    assert_eq!(text.split_terminator("\r\n").collect::<Vec<_>>(), names);
    let (text, _) = ftp.list("MLSD").await;
    assert_eq!(mlsd_names(&text), names);
    for command in ["LIST", "LIST -la", "LIST -a", "LIST -l ."] {
        let (text, _) = ftp.list(command).await;
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), names.len(), "{command}");
        for (line, name) in lines.iter().zip(&names) {
            assert!(line.starts_with("-rw-r--r-- 1 ftp ftp 3 "), "{line}");
            assert_eq!(long_name(line), name);
        }
    }
    // Each by its own name, if that is not a glob.
    for name in names.iter().filter(|name| !name.contains(['*', '?', '['])) {
        let (text, reply) = ftp.list(&format!("NLST {}", exact(name))).await;
        assert_eq!(
            (text, reply.code),
            (format!("{}\r\n", exact(name)), 226),
            "{name:?}"
        );
        let (text, reply) = ftp.list(&format!("LIST {}", exact(name))).await;
        assert_eq!(reply.code, 226, "{name:?}");
        assert_eq!(text.lines().count(), 1, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_directories_too() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "in/", "");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD in", 250).await;
    for name in odd_names() {
        let quoted = name.replace('"', "\"\"");
        let reply = ftp.expect(&format!("MKD {name}"), 257).await;
        assert!(
            reply.text().starts_with(&format!("\"/in/{quoted}\"")),
            "{reply:?}"
        );
        ftp.expect(&format!("CWD {name}"), 250).await;
        let reply = ftp.expect("PWD", 257).await;
        assert!(
            reply.text().starts_with(&format!("\"/in/{quoted}\"")),
            "{reply:?}"
        );
        assert_eq!(ftp.store("f", b"1").await.code, 226);
        ftp.expect("CDUP", 250).await;
        let (text, reply) = ftp.list(&format!("MLSD {name}")).await;
        assert_eq!((mlsd_names(&text), reply.code), (vec!["f"], 226));
        let (text, _) = ftp.list("MLSD").await;
        assert_eq!(mlsd_names(&text), [&name]);
        ftp.expect(&format!("RMD {name}"), 550).await;
        ftp.expect(&format!("RNFR {name}"), 350).await;
        ftp.expect("RNTO moved", 250).await;
        assert!(
            gateway
                .store
                .keys(BUCKET)
                .contains(&"in/moved/f".to_owned()),
            "{name:?}"
        );
        ftp.expect("DELE moved/f", 250).await;
        ftp.expect("RMD moved", 250).await;
        assert_eq!(gateway.store.keys(BUCKET), ["in/"], "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_quotes_and_slashes_are_understood() {
    let gateway = Gateway::start().await;
    for key in ["some dir/a.csv", "some dir/b.txt", "x/y", "q\"q/in quotes"] {
        gateway.store.put(BUCKET, key, "1");
    }
    let mut ftp = gateway.ftp().await;
    for (command, expected) in [
        ("NLST -la", "q\"q some dir x"),
        ("NLST -a x", "x/y"),
        ("NLST \"some dir\"", "some dir/a.csv some dir/b.txt"),
        ("NLST some dir", "some dir/a.csv some dir/b.txt"),
        ("NLST \"q\"\"q\"", "q\"q/in quotes"),
        ("NLST some dir/*.csv", "some dir/a.csv"),
        ("NLST //x", "//x/y"),
        ("NLST /x/", "/x/y"),
        ("NLST x/../x", "x/../x/y"),
        ("LIST -la", "q\"q some dir x"),
        ("LIST -la \"some dir\"", "a.csv b.txt"),
        ("LIST \"some dir\"", "a.csv b.txt"),
        ("LIST -la some dir", "a.csv b.txt"),
        ("LIST -la \"some dir/*.csv\"", "a.csv"),
        ("LIST -- x", "y"),
        ("LIST ././/x//.", "y"),
    ] {
        let (text, reply) = ftp.list(command).await;
        assert_eq!(reply.code, 226, "{command}: {reply:?}");
        let long = command.starts_with("LIST") || command.contains("-la");
        let names: Vec<&str> = text
            .split_terminator("\r\n")
            .map(|line| if long { long_name(line) } else { line })
            .collect();
        assert_eq!(names.join(" "), expected, "{command}: {text}");
    }
    for (command, directory) in [
        ("CWD //x", "/x"),
        ("CWD ////", "/"),
        ("CWD /x/", "/x"),
        ("CWD ../some dir", "/some dir"),
        ("CWD .", "/some dir"),
        ("CWD /../..", "/"),
        ("CWD x/../x", "/x"),
    ] {
        ftp.expect(command, 250).await;
        let reply = ftp.expect("PWD", 257).await;
        assert!(
            reply.text().starts_with(&format!("\"{directory}\"")),
            "{command}: {reply:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_may_be_as_long_as_a_key_and_no_longer() {
    let builder = Gateway::builder()
        .add_mount("deep", "deep", "a/prefix/")
        .user("u", "p", r#"{ "/" = "main", "/deep" = "deep" }"#);
    let gateway = builder.start().await;
    let mut ftp = gateway.ftp().await;
    // At the root of the bucket 1,024 bytes; below a prefix what is left of them.
    for (bucket, mount, most) in [
        (BUCKET, "", 1024),
        ("deep", "deep/", 1024 - "a/prefix/".len()),
    ] {
        let longest = ["e".repeat(600), "f".repeat(most - 601)].join("/");
        let path = format!("{mount}{longest}");
        let reply = ftp.store(&path, b"1").await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert_eq!(gateway.store.keys(bucket).last().unwrap().len(), 1024);
        ftp.expect(&format!("SIZE {path}"), 213).await;
        let (bytes, _) = ftp.retrieve(&path).await;
        assert_eq!(bytes, b"1");
        let (text, _) = ftp.list(&format!("NLST {path}")).await;
        assert_eq!(text, format!("{path}\r\n"));
        gateway.store.reset_counts();
        for command in [
            "STOR", "APPE", "RETR", "SIZE", "DELE", "RNFR", "MKD", "CWD", "MLST",
        ] {
            if matches!(command, "STOR" | "APPE" | "RETR") {
                ftp.epsv().await;
            }
            ftp.expect(&format!("{command} {path}g"), 553).await;
        }
        assert_eq!(gateway.store.operations(), [""; 0], "asked of the store");
        ftp.expect(&format!("DELE {path}"), 250).await;
        // The key of a directory has one more slash.
        ftp.expect(&format!("MKD {path}"), 553).await;
        ftp.expect(&format!("MKD {mount}d"), 257).await;
        ftp.expect(&format!("RNFR {mount}d"), 350).await;
        ftp.expect(&format!("RNTO {path}"), 553).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_renamed_with_keys_that_ftp_cannot_name() {
    let gateway = Gateway::start().await;
    let below = [
        "",
        "a\r\n226 x",
        "b//c",
        "./x",
        "../x",
        "good",
        "%2e",
        "two  words ",
    ];
    for key in below {
        gateway.store.put(BUCKET, &format!("old/{key}"), key);
    }
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR old", 350).await;
    ftp.expect("RNTO new", 250).await;
    for key in below {
        let moved = gateway.store.object(BUCKET, &format!("new/{key}"));
        assert_eq!(moved.as_deref(), Some(key.as_bytes()), "{key:?}");
    }
    assert_eq!(gateway.store.keys(BUCKET).len(), below.len());
}

/// Asserts that a path is neither listed, read, written nor entered.
async fn unreachable(ftp: &mut Ftp, path: &str) {
    for command in ["SIZE", "MDTM", "MLST", "CWD", "DELE", "RMD", "MKD", "RNFR"] {
        let reply = ftp.command(&format!("{command} {path}")).await;
        assert_eq!(reply.code, 550, "{command} {path}: {reply:?}");
    }
    for command in ["RETR", "STOR", "APPE", "LIST", "NLST", "MLSD"] {
        let _data = ftp.data_passive().await;
        let reply = ftp.command(&format!("{command} {path}")).await;
        assert_eq!(reply.code, 550, "{command} {path}: {reply:?}");
    }
    ftp.expect("RNFR mine", 350).await;
    let reply = ftp.command(&format!("RNTO {path}")).await;
    assert_eq!(reply.code, 550, "RNTO {path}: {reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_state_is_hidden() {
    let gateway = Gateway::start().await;
    for key in [
        ".s3ftpd/records/x",
        ".s3ftpd",
        "mine",
        ".s3ftpd2",
        "d/.s3ftpd/x",
    ] {
        gateway.store.put(BUCKET, key, "1");
    }
    let before = gateway.store.keys(BUCKET);
    let mut ftp = gateway.ftp().await;
    for path in [
        ".s3ftpd",
        "/.s3ftpd",
        "//.s3ftpd/",
        ".s3ftpd/records",
        ".s3ftpd/records/x",
        "d/../.s3ftpd/records/x",
        "./.s3ftpd/new",
    ] {
        unreachable(&mut ftp, path).await;
    }
    for command in ["NLST", "NLST -a", "NLST .s*", "NLST *"] {
        let (text, reply) = ftp.list(command).await;
        assert_eq!(reply.code, 226, "{command}");
        assert!(
            !text.lines().any(|name| name == ".s3ftpd"),
            "{command}: {text}"
        );
        assert!(text.contains(".s3ftpd2"), "{command}: {text}");
    }
    for command in ["LIST -la", "MLSD"] {
        let (text, _) = ftp.list(command).await;
        assert!(!text.contains(".s3ftpd\r\n"), "{command}: {text}");
    }
    // It is the server's only at the root of a bucket.
    let (text, _) = ftp.list("NLST d").await;
    assert_eq!(text, "d/.s3ftpd\r\n");
    assert_eq!(gateway.store.keys(BUCKET), before);
}
