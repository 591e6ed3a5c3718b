//! Paths, keys and bytes in arguments.

use tokio::io::AsyncReadExt;

use test_support::faults::Fault;
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};
use test_support::process::Process;
use test_support::{MIB, within};

#[tokio::test(flavor = "multi_thread")]
async fn no_user_leaves_their_mounts() {
    let builder = Gateway::builder()
        .add_mount("homes", "homes", "home/{user}/")
        .user("alice", "p", r#"{ "/" = "homes" }"#)
        .user("bob", "p", r#"{ "/files" = "homes" }"#);
    let gateway = builder.start().await;
    for key in [
        "home/alice/mine",
        "home/alice-archive/secret",
        "home/bob/mine",
        "home/alic/secret",
        "home/secret",
        "secret",
        // The keys that a prefix without its slash would show.
        "home/alice",
    ] {
        gateway.store.put("homes", key, key);
    }
    let before = gateway.store.keys("homes");
    let mut alice = gateway.ftp_as("alice", "p").await;
    for (command, expected) in [
        ("NLST", "mine"),
        ("NLST /", "/mine"),
        ("NLST ..", "../mine"),
        ("NLST /../..", "/../../mine"),
        ("NLST *", "mine"),
        ("NLST ../*", "../mine"),
        ("NLST -a /../../../home/..", "/../../../home/../mine"),
    ] {
        let (text, reply) = alice.list(command).await;
        assert_eq!(reply.code, 226, "{command}: {reply:?}");
        assert_eq!(text, format!("{expected}\r\n"), "{command}");
    }
    for path in [
        "../bob/mine",
        "/../bob/mine",
        "../alice-archive/secret",
        "/home/bob/mine",
        "-archive/secret",
        "../../secret",
        "..\\bob\\mine",
        "%2e%2e/bob/mine",
        "..%2fbob%2fmine",
        "....//bob/mine",
        "mine/../../bob/mine",
        "\u{ff0e}\u{ff0e}/bob/mine",
    ] {
        for command in ["SIZE", "MLST", "DELE", "RNFR", "CWD"] {
            let reply = alice.command(&format!("{command} {path}")).await;
            assert_eq!(reply.code, 550, "{command} {path}: {reply:?}");
        }
        let _data = alice.data_passive().await;
        alice.expect(&format!("RETR {path}"), 550).await;
    }
    // Files are written only below the user's own prefix.
    let mut ftp = gateway.ftp_as("alice", "p").await;
    for path in ["../../x", "/../bob/x", "../alice-archive/x"] {
        assert_eq!(ftp.store(path, b"1").await.code, 226);
    }
    let after = gateway.store.keys("homes");
    let new: Vec<&String> = after.iter().filter(|key| !before.contains(key)).collect();
    assert_eq!(
        new,
        [
            "home/alice/alice-archive/x",
            "home/alice/bob/x",
            "home/alice/x"
        ]
    );
    // Above a mount there is only the way to it.
    let mut bob = gateway.ftp_as("bob", "p").await;
    for (command, expected) in [
        ("NLST", "files"),
        ("NLST files", "files/mine"),
        ("NLST files/..", "files/../files"),
    ] {
        let (text, _) = bob.list(command).await;
        assert_eq!(text, format!("{expected}\r\n"), "{command}");
    }
    for command in [
        "SIZE mine",
        "MLST filesx",
        "CWD files/../home",
        "DELE files",
        "RNFR files",
        "MKD x",
        "RMD files",
    ] {
        bob.expect(command, 550).await;
    }
    bob.epsv().await;
    bob.expect("STOR x", 550).await;
    bob.epsv().await;
    bob.expect("STOR files/../../x", 550).await;
    assert_eq!(gateway.store.keys("homes"), after);
}

/// NUL, and UTF-8 that encodes a slash or a dot in too many bytes, are not names.
#[tokio::test]
async fn bytes_that_are_not_utf_8_name_nothing() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "1");
    let mut ftp = gateway.ftp().await;
    for name in [
        &b"x\0"[..],
        b"\0",
        b"x\0y",
        b"\xc0\xae\xc0\xae/x",
        b"\xc0\xafx",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
    ] {
        for verb in ["RETR", "STOR", "DELE", "CWD", "SIZE", "RNFR", "LIST", "MKD"] {
            ftp.send_raw(&[verb.as_bytes(), b" ", name, b"\r\n"].concat())
                .await;
            ftp.expect_reply(501).await;
        }
        ftp.in_step().await;
    }
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
    gateway.stop().await;
}

/// The names in the lines of MLSD.
fn mlsd_names(text: &str) -> Vec<&str> {
    text.split_terminator("\r\n")
        .map(|line| line.split_once("; ").expect("facts and a name").1)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_ftp_cannot_name_forge_nothing() {
    let gateway = Gateway::start().await;
    let forged = [
        "a\r\n226 x",
        "a\n-rw-r--r-- 1 ftp ftp 9 Jan  1  1970 forged",
        "type=dir; \rforged",
        "\0",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}next",
        "b//c",
        "//",
        "/absolute",
        ".",
        "..",
        "./x",
        "../x",
        "e/../f",
        "dir\r\n/x",
        "dir\r\n/",
    ];
    for key in forged {
        gateway.store.put(BUCKET, key, "1");
        gateway.store.put(BUCKET, &format!("in/{key}"), "1");
    }
    gateway.store.put(BUCKET, "in/good", "1");
    let count = gateway.store.keys(BUCKET).len();
    let mut ftp = gateway.ftp().await;
    // Directories among them have names; the others are left out.
    for (path, expected) in [("/", &["b", "e", "in"][..]), ("/in", &["b", "e", "good"])] {
        let (text, reply) = ftp.list(&format!("MLSD {path}")).await;
        assert_eq!((mlsd_names(&text), reply.code), (expected.to_vec(), 226));
        ftp.expect(&format!("CWD {path}"), 250).await;
        let (text, reply) = ftp.list("NLST").await;
        assert_eq!(reply.code, 226);
        assert_eq!(text.split_terminator("\r\n").collect::<Vec<_>>(), expected);
        let (text, reply) = ftp.list("LIST -la").await;
        assert_eq!(reply.code, 226);
        assert_eq!(text.split('\n').count(), expected.len() + 1, "{text:?}");
        assert!(
            !text.contains("forged") && !text.contains("226"),
            "{text:?}"
        );
        let reply = ftp.expect(&format!("STAT {path}"), 212).await;
        assert_eq!(reply.lines.len(), expected.len() + 2, "{reply:?}");
        ftp.in_step().await;
    }
    for directory in ["/b", "/e", "/in/b", "/in/e"] {
        let (text, reply) = ftp.list(&format!("NLST {directory}")).await;
        assert_eq!((text.as_str(), reply.code), ("", 226), "{directory}");
    }
    // From a client they are refused, in one reply.
    for name in ["a\0b", "\u{1b}[2J", "x\u{7f}", "\u{85}next"] {
        for command in ["SIZE", "MLST", "CWD", "MKD", "DELE", "RNFR"] {
            let reply = ftp.command(&format!("{command} {name}")).await;
            assert!(
                matches!(reply.code, 500 | 501 | 553),
                "{command} {name:?}: {reply:?}"
            );
        }
        ftp.in_step().await;
    }
    assert_eq!(gateway.store.keys(BUCKET).len(), count, "something changed");
}

/// Each verb that takes a parameter.
const VERBS: &[&str] = &[
    "USER",
    "PASS",
    "HOST",
    "ACCT",
    "CWD",
    "XCWD",
    "MKD",
    "XMKD",
    "RMD",
    "XRMD",
    "TYPE",
    "MODE",
    "STRU",
    "EPSV",
    "PORT",
    "EPRT",
    "RETR",
    "STOR",
    "STOU",
    "APPE",
    "ALLO",
    "REST",
    "LIST",
    "NLST",
    "MLSD",
    "MLST",
    "STAT",
    "SIZE",
    "MDTM",
    "MFMT 20200101000000",
    "MFF modify=20200101000000;",
    "DELE",
    "RNFR",
    "RNTO",
    "OPTS",
    "OPTS MLST",
    "OPTS UTF8",
    "HELP",
    "SITE",
    "SITE CHMOD 644",
    "CLNT",
    "CSID",
];

#[tokio::test]
async fn bytes_that_are_not_utf_8_get_a_reply_in_every_argument() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    for verb in VERBS {
        let mut lines = Vec::new();
        for byte in 0x80..0xff {
            lines.extend_from_slice(verb.as_bytes());
            lines.extend_from_slice(&[b' ', byte, b'\r', b'\n']);
        }
        ftp.send_raw(&lines).await;
        for _ in 0x80..0xff {
            ftp.expect_reply(501).await;
        }
        // Telnet's own escape byte, alone and doubled, gets a reply too.
        for bytes in [&[0xff][..], &[0xff, 0xff], &[0xff, 0xf4], &[0xff, 0xfb, 1]] {
            let line = [verb.as_bytes(), b" ", bytes, b"x\r\n"].concat();
            if ["USER", "PASS", "ACCT"].contains(verb) {
                let mut other = Ftp::connect(gateway.address).await;
                other.send_raw(&line).await;
                other.reply().await;
                other.in_step().await;
                other.close().await;
                continue;
            }
            ftp.send_raw(&line).await;
            let mut reply = ftp.reply().await;
            while reply.is_preliminary() {
                reply = ftp.reply().await;
            }
            ftp.in_step().await;
        }
    }
    ftp.expect("PWD", 257).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wild_globs_take_neither_time_nor_requests() {
    let gateway = Gateway::start().await;
    for number in 0..200 {
        let key = format!("{}{number}", "a".repeat(200));
        gateway.store.put(BUCKET, &key, "1");
    }
    gateway.store.put(BUCKET, "dir/x", "1");
    let mut ftp = gateway.ftp().await;
    let stars = "*".repeat(1000);
    let alternating = "*a".repeat(500);
    for (glob, found) in [
        ("*****", 201),
        (&*stars, 201),
        // Patterns on which a matcher that tries every way never ends.
        (&*format!("{alternating}b"), 0),
        (&*format!("{}*", "?".repeat(203)), 100),
    ] {
        gateway.store.reset_counts();
        let (text, reply) = within(glob, ftp.list(&format!("NLST {glob}"))).await;
        assert_eq!(reply.code, 226, "{glob}: {reply:?}");
        assert_eq!(text.lines().count(), found, "{glob}");
        assert_eq!(gateway.store.requests().len(), 1, "{glob}");
    }
    // A star in an element before the last is a character, and `..` after it leads back.
    gateway.store.reset_counts();
    for line in ["LIST */../*", "LIST */*/*/*", "NLST */../../*/.."] {
        let (text, _) = within(line, ftp.list(line)).await;
        assert!(text.lines().count() <= 201, "{line}: {text}");
        ftp.in_step().await;
    }
    let requests = gateway.store.requests().len();
    assert!(requests <= 9, "{requests} requests");
    gateway.stop().await;
}

/// However many keys there are, they are never in memory together. The bytes of these lines alone
/// are ten times the memory that is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_number_of_keys_listed() {
    const KEYS: u64 = 1_000_000;
    // One or two pages for each thread's arena of the allocator: on a busy machine any thread may
    // read a page. All keys would need several times as much. The benchmark has the exact figure.
    const ALLOWED: usize = 12 * MIB;
    let process = Process::start("").await;
    let mut ftp = process.ftp().await;
    let lists = || process.store.fail("ListObjectsV2").always();
    // Enough for each thread to have allocated what it keeps for the next page.
    let few = lists().with(Fault::Keys(KEYS / 10));
    let listed = ftp.list("LIST few").await.0;
    assert_eq!(listed.lines().count() as u64, KEYS / 10);
    drop(listed);
    few.remove();
    let before = process.peak();
    let _many = lists().with(Fault::Keys(KEYS));
    let mut data = ftp.data_passive().await;
    ftp.expect("LIST many", 150).await;
    let (mut lines, mut bytes) = (0, 0);
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = within("more of the listing", data.read(&mut piece)).await;
        let read = read.unwrap();
        if read == 0 {
            break;
        }
        bytes += read;
        lines += piece[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    ftp.expect_reply(226).await;
    assert_eq!(lines, KEYS);
    assert!(bytes > 3 * ALLOWED, "the listing has {bytes} bytes");
    let grown = process.peak() - before;
    assert!(grown < ALLOWED, "grown by {} KiB", grown / 1024);
}
