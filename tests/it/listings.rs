//! Listings: pages are sent as they arrive, each entry once and in order; directories as S3 has
//! them, mount points, facts, and a store that fails in the middle.

mod globs;
mod recursive;

use tokio::io::AsyncReadExt;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, read_to_end_deadline};
use test_support::gateway::{BUCKET, Gateway};
use test_support::within;

/// Lines without their ends.
fn lines(text: &str) -> Vec<&str> {
    text.split_terminator("\r\n").collect()
}

/// NLST, which must succeed.
async fn names(ftp: &mut Ftp, argument: &str) -> Vec<String> {
    let (text, reply) = ftp.list(&format!("NLST {argument}")).await;
    assert_eq!(reply.code, 226, "{argument}: {reply:?}");
    lines(&text).into_iter().map(str::to_owned).collect()
}

/// A gateway in front of the files `d/00000`, `d/00001`, ….
async fn with_files(count: usize) -> (Gateway, Vec<String>) {
    let gateway = Gateway::start().await;
    let names: Vec<String> = (0..count).map(|number| format!("{number:05}")).collect();
    for name in &names {
        gateway.store.put(BUCKET, &format!("d/{name}"), "1");
    }
    (gateway, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_sent_while_the_next_is_being_fetched() {
    let (gateway, expected) = with_files(2500).await;
    for command in ["NLST d", "LIST d", "MLSD d"] {
        let second = gateway
            .store
            .fail("ListObjectsV2")
            .nth(2)
            .with(Fault::Stall);
        let mut ftp = gateway.ftp().await;
        let mut data = ftp.data_passive().await;
        ftp.expect(command, 150).await;
        let mut text = Vec::new();
        // The store delays the second page, and the first one has arrived completely.
        within("the first page", async {
            while !text.ends_with(b"00999\r\n") {
                let read = data.read_buf(&mut text).await.unwrap();
                assert!(read > 0, "it ended");
            }
        })
        .await;
        second.hit().await;
        second.release();
        let (rest, end) = read_to_end_deadline(&mut data).await;
        end.unwrap();
        ftp.expect_reply(226).await;
        text.extend(rest);
        let text = String::from_utf8(text).unwrap();
        let found: Vec<&str> = lines(&text)
            .into_iter()
            .map(|line| &line[line.len() - 5..])
            .collect();
        assert_eq!(found, expected, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_come_once_and_in_order() {
    let gateway = Gateway::start().await;
    // Enough of both for pages that end between them, and a file next to a directory of the same
    // name.
    let mut expected = Vec::new();
    for number in 0..1300 {
        let name = format!("{number:04}");
        if number % 3 == 0 {
            for file in ["a", "b/c", ""] {
                gateway.store.put(BUCKET, &format!("{name}/{file}"), "");
            }
            expected.push(format!("type=dir; {name}"));
        }
        if number % 3 != 0 || number % 6 == 0 {
            gateway.store.put(BUCKET, &name, "");
            expected.push(format!("type=file; {name}"));
        }
    }
    let mut ftp = gateway.ftp().await;
    ftp.expect("OPTS MLST type;", 200).await;
    let (text, reply) = ftp.list("MLSD").await;
    assert_eq!(reply.code, 226);
    let found = lines(&text);
    let name = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    assert!(
        found.windows(2).all(|pair| name(pair[0]) <= name(pair[1])),
        "not in order"
    );
    let mut sorted: Vec<String> = found.iter().map(ToString::to_string).collect();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_may_be_empty_but_must_be_there() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "empty/", "");
    gateway.store.put(BUCKET, "marked/", "");
    gateway.store.put(BUCKET, "marked/sub/", "");
    gateway.store.put(BUCKET, "marked/f", "");
    gateway.store.put(BUCKET, "file", "1");
    let mut ftp = gateway.ftp().await;
    for command in ["LIST", "NLST", "MLSD"] {
        let (text, reply) = ftp.list(&format!("{command} empty")).await;
        assert_eq!((text.as_str(), reply.code), ("", 226), "{command}");
        for missing in ["none", "empt", "empty/none", "file/none"] {
            ftp.epsv().await;
            ftp.expect(&format!("{command} {missing}"), 550).await;
        }
    }
    // A marker is the directory itself and not an entry of it.
    assert_eq!(names(&mut ftp, "marked").await, ["marked/f", "marked/sub"]);
    assert_eq!(names(&mut ftp, "").await, ["empty", "file", "marked"]);
    ftp.expect("STAT none", 550).await;
    ftp.expect("STAT empty", 212).await;
    ftp.expect("MLST none", 550).await;
    let reply = ftp.expect("MLST empty", 250).await;
    assert!(reply.lines[1].starts_with(" type=dir;"), "{reply:?}");
    // The root of a mount exists without any key.
    let bare = Gateway::start().await;
    let mut ftp = bare.ftp().await;
    assert_eq!(names(&mut ftp, "").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_listed_as_one_line() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "d/f", "12345");
    let mut ftp = gateway.ftp().await;
    let (text, reply) = ftp.list("LIST d/f").await;
    assert_eq!(reply.code, 226);
    assert!(
        text.starts_with("-rw-r--r-- 1 ftp ftp 5 ") && text.ends_with(" d/f\r\n"),
        "{text}"
    );
    assert_eq!(names(&mut ftp, "d/f").await, ["d/f"]);
    assert_eq!(names(&mut ftp, "/d/f").await, ["/d/f"]);
    ftp.epsv().await;
    ftp.expect("MLSD d/f", 501).await;
    let reply = ftp.expect("STAT d/f", 213).await;
    assert_eq!(reply.lines.len(), 3, "{reply:?}");
    let (text, reply) = ftp.list("LIST -d d").await;
    assert_eq!(reply.code, 226);
    assert!(
        text.starts_with("drwxr-xr-x 1 ") && text.ends_with(" d\r\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mount_points_are_directories_and_hide_the_keys_below_them() {
    let builder = Gateway::builder()
        .add_mount("inner", "inner", "")
        .add_mount("deep", "deep", "p/")
        .user(
            "u",
            "p",
            r#"{ "/" = "main", "/inner" = "inner", "/inner/a/b" = "deep", "/far/away" = "deep" }"#,
        )
        .user("v", "p", r#"{ "/x/y" = "main", "/x/z/w" = "inner" }"#);
    let gateway = builder.start().await;
    // Hidden: a file and a directory at the name of a mount, and a directory on the way to one.
    for key in ["f", "inner", "inner/shadowed", "far/here", "zoo/k"] {
        gateway.store.put(BUCKET, key, "1");
    }
    gateway.store.put("inner", "g", "1");
    gateway.store.put("inner", "a/h", "1");
    gateway.store.put("deep", "p/i", "1");
    gateway.store.put("deep", "outside", "1");
    let mut ftp = gateway.ftp().await;
    for (path, expected) in [
        ("/", "/far /f /inner /zoo"),
        ("/inner", "/inner/a /inner/g"),
        ("/inner/a", "/inner/a/b /inner/a/h"),
        ("/inner/a/b", "/inner/a/b/i"),
        ("/far", "/far/away /far/here"),
        ("/far/away", "/far/away/i"),
        ("/in*", "/inner"),
        ("/f*", "/far /f"),
    ] {
        let mut found = names(&mut ftp, path).await;
        let mut expected: Vec<&str> = expected.split(' ').collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{path}");
    }
    let (text, _) = ftp.list("MLSD /").await;
    let inner: Vec<&str> = lines(&text)
        .into_iter()
        .filter(|line| line.ends_with(" inner"))
        .collect();
    assert_eq!(inner.len(), 1, "{text}");
    assert!(inner[0].starts_with("type=dir;"), "{text}");
    let mut ftp = gateway.ftp_as("v", "p").await;
    gateway.store.reset_counts();
    for (path, expected) in [("/", "/x"), ("/x", "/x/y /x/z"), ("/x/z", "/x/z/w")] {
        assert_eq!(names(&mut ftp, path).await.join(" "), expected);
        ftp.expect(&format!("CWD {path}"), 250).await;
        ftp.expect(&format!("STAT {path}"), 212).await;
        ftp.expect(&format!("MLST {path}"), 250).await;
    }
    assert_eq!(gateway.store.operations(), [""; 0], "above the mounts");
    for path in ["/y", "/x/q", "/x/z/q"] {
        ftp.epsv().await;
        ftp.expect(&format!("LIST {path}"), 550).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stat_lists_over_the_control_connection() {
    let (gateway, expected) = with_files(1500).await;
    // Names that look like replies.
    gateway.store.put(BUCKET, "e/212 End", "1");
    gateway.store.put(BUCKET, "e/226 done", "1");
    let mut ftp = gateway.ftp().await;
    let reply = ftp.expect("STAT d", 212).await;
    let found: Vec<&str> = reply.lines[1..reply.lines.len() - 1]
        .iter()
        .map(|line| &line[line.len() - 5..])
        .collect();
    assert_eq!(found, expected);
    let reply = ftp.expect("STAT e", 212).await;
    assert_eq!(reply.lines.len(), 4, "{reply:?}");
    assert!(
        reply.lines[1].starts_with(" -rw-") && reply.lines[1].ends_with(" 212 End"),
        "{reply:?}"
    );
    let reply = ftp.expect("STAT -la d/0000*", 212).await;
    assert_eq!(reply.lines.len(), 12, "{reply:?}");
    ftp.in_step().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_sent_and_can_be_chosen() {
    let gateway = Gateway::builder()
        .add_mount("closed", "closed", "")
        .with("[mounts.closed]\npermissions = [\"list\", \"read\"]")
        .user("u", "p", r#"{ "/" = "main", "/closed" = "closed" }"#)
        .start()
        .await;
    gateway.store.put(BUCKET, "f", "12345");
    gateway.store.put("closed", "g", "1");
    gateway.store.put("closed", "d/", "");
    let mut ftp = gateway.ftp().await;
    let fact = |line: &str, name: &str| {
        let facts = line.trim_start().split("; ").next().unwrap().to_owned();
        let mut facts = facts.split(';').filter_map(|fact| fact.split_once('='));
        facts
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
    };
    let (text, _) = ftp.list("MLSD /closed").await;
    let listed = lines(&text);
    for (line, kind, size, perm, mode) in [
        (listed[0], "dir", None, "el", "0555"),
        (listed[1], "file", Some("1"), "r", "0444"),
    ] {
        for (name, value) in [
            ("type", Some(kind)),
            ("size", size),
            ("perm", Some(perm)),
            ("UNIX.mode", Some(mode)),
        ] {
            assert_eq!(fact(line, name).as_deref(), value, "{name} in {line}");
        }
    }
    // The same facts in both commands, so that no client takes an entry for another one.
    let (text, _) = ftp.list("MLSD").await;
    let of_f = lines(&text)
        .into_iter()
        .find(|line| line.ends_with("; f"))
        .unwrap()
        .to_owned();
    let reply = ftp.expect("MLST f", 250).await;
    assert_eq!(reply.lines[1], format!(" {}", of_f.replace("; f", "; /f")));
    for (options, chosen, line) in [
        ("type;size;", "type;size;", "type=file;size=5; f"),
        ("SIZE;TYPE;nonsense;", "type;size;", "type=file;size=5; f"),
        ("perm;", "perm;", "perm=adfrw; f"),
        ("", "", " f"),
        ("unix.mode;", "UNIX.mode;", "UNIX.mode=0644; f"),
    ] {
        let reply = ftp
            .expect(format!("OPTS MLST {options}").trim_end(), 200)
            .await;
        assert!(reply.text().ends_with(chosen), "{reply:?}");
        let (text, _) = ftp.list("MLSD").await;
        assert!(lines(&text).contains(&line), "{options}: {text}");
        let feat = ftp.expect("FEAT", 211).await;
        let offered = feat
            .lines
            .iter()
            .find(|line| line.starts_with(" MLST "))
            .unwrap();
        assert_eq!(
            offered.matches('*').count(),
            chosen.matches(';').count(),
            "{offered}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_in_the_middle_cuts_the_listing_with_a_reply() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    for number in 0..2500 {
        gateway.store.put(BUCKET, &format!("d/{number:05}"), "1");
    }
    for (command, nth) in [("NLST d", 2), ("LIST d", 3), ("MLSD d", 2)] {
        for (fault, code) in [
            (Fault::Status(503, "SlowDown"), 451),
            (Fault::Status(500, "InternalError"), 451),
            (Fault::ResetBeforeHandling, 451),
        ] {
            let what = format!("{command}: {fault:?}");
            let rule = gateway
                .store
                .fail("ListObjectsV2")
                .nth(nth)
                .times(10)
                .with(fault);
            let mut ftp = gateway.ftp().await;
            let mut data = ftp.data_passive().await;
            ftp.expect(command, 150).await;
            let (_, end) = read_to_end_deadline(&mut data).await;
            assert!(end.is_err(), "{what}: the list seems whole");
            ftp.expect_reply(code).await;
            ftp.in_step().await;
            rule.remove();
        }
    }
    // Before the first line nothing has been sent.
    let rule = gateway
        .store
        .fail("ListObjectsV2")
        .always()
        .with(Fault::Status(503, "SlowDown"));
    let mut ftp = gateway.ftp().await;
    for command in ["NLST d", "LIST d", "MLSD d", "STAT d"] {
        ftp.epsv().await;
        ftp.expect(command, 451).await;
    }
    rule.remove();
    assert_eq!(names(&mut ftp, "d").await.len(), 2500);
    // STAT has no connection to reset: its last line reports it.
    let rule = gateway
        .store
        .fail("ListObjectsV2")
        .nth(2)
        .times(10)
        .with(Fault::Status(503, "SlowDown"));
    let reply = ftp.expect("STAT d", 212).await;
    assert!(reply.text().contains("not complete"), "{:?}", reply.text());
    rule.remove();
    ftp.in_step().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_aborted_as_a_download_is() {
    let (gateway, _) = with_files(2500).await;
    let rule = gateway
        .store
        .fail("ListObjectsV2")
        .nth(2)
        .with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    let mut data = ftp.data_passive().await;
    ftp.expect("LIST d", 150).await;
    rule.hit().await;
    ftp.expect("ABOR", 426).await;
    ftp.expect_reply(226).await;
    let (_, end) = read_to_end_deadline(&mut data).await;
    assert!(end.is_err(), "the list seems whole");
    ftp.in_step().await;
    rule.remove();
    assert_eq!(names(&mut ftp, "d").await.len(), 2500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_one_time_in_all_commands() {
    for metadata in [false, true] {
        let mut builder = Gateway::builder();
        if metadata {
            builder = builder.mount("times = \"metadata\"");
        }
        let gateway = builder.start().await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("set", b"1").await.code, 226);
        assert_eq!(ftp.store("unset", b"1").await.code, 226);
        let feat = ftp.expect("FEAT", 211).await;
        assert_eq!(
            feat.lines.iter().any(|line| line.contains("MFMT")),
            metadata,
            "{feat:?}"
        );
        if metadata {
            ftp.expect("MFMT 20200102030405 set", 213).await;
            let stored = gateway.store.metadata(BUCKET, "set").unwrap();
            assert!(stored["mtime"].starts_with("1577934245"), "{stored:?}");
        } else {
            ftp.expect("MFMT 20200102030405 set", 550).await;
        }
        for name in ["set", "unset"] {
            let time = ftp
                .expect(&format!("MDTM {name}"), 213)
                .await
                .text()
                .to_owned();
            assert_eq!(
                time == "20200102030405",
                metadata && name == "set",
                "{time}"
            );
            let fact = format!("modify={time};");
            let (text, _) = ftp.list("MLSD").await;
            let listed = lines(&text)
                .into_iter()
                .find(|line| line.ends_with(&format!(" {name}")))
                .unwrap()
                .to_owned();
            assert!(listed.contains(&fact), "{listed}");
            let reply = ftp.expect(&format!("MLST {name}"), 250).await;
            assert!(reply.lines[1].contains(&fact), "{reply:?}");
            // LIST shows minutes for the last half year, and days for older times.
            let months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
            let month = months
                .split(' ')
                .nth(time[4..6].parse::<usize>().unwrap() - 1)
                .unwrap();
            let day: u32 = time[6..8].parse().unwrap();
            let shown = if metadata && name == "set" {
                format!(" {month} {day:>2}  {} {name}", &time[..4])
            } else {
                format!(
                    " {month} {day:>2} {}:{} {name}",
                    &time[8..10],
                    &time[10..12]
                )
            };
            for command in ["LIST", "LIST *", &format!("LIST {name}")] {
                let (text, _) = ftp.list(command).await;
                assert!(text.contains(&shown), "{command}: {text} has no {shown:?}");
            }
            let reply = ftp.expect("STAT .", 212).await;
            assert!(
                reply.lines.iter().any(|line| line.ends_with(&shown)),
                "{reply:?}"
            );
        }
    }
}
