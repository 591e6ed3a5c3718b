//! `times = "metadata"`, and TYPE A on mounts that convert and on those that do not.

use std::collections::BTreeMap;

use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, moved, settled};
use test_support::{MIB, pattern};

/// The fact `modify` of each name in an MLSD.
async fn modified(ftp: &mut Ftp, path: &str) -> BTreeMap<String, String> {
    let (text, reply) = ftp.list(&format!("MLSD {path}")).await;
    assert_eq!(reply.code, 226);
    let lines = text.lines().map(|line| {
        let (facts, name) = line.split_once(' ').unwrap();
        let modify = facts
            .split(';')
            .find_map(|fact| fact.strip_prefix("modify="));
        (name.to_owned(), modify.unwrap_or_default().to_owned())
    });
    lines.collect()
}

#[tokio::test]
async fn times_that_clients_set_are_stored_and_reported_everywhere() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .start()
        .await;
    let client = gateway.store.client();
    let put = client.put_object().bucket(BUCKET).key("dir/x");
    let put = put.content_type("text/csv").metadata("colour", "red");
    let bytes = pattern(1000, 1);
    put.body(bytes.clone().into()).send().await.unwrap();
    gateway.store.put(BUCKET, "dir/untouched", "1");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD dir", 250).await;
    for (line, answer, time) in [
        (
            "MFMT 20200102030405 x",
            "modify=20200102030405; /dir/x",
            "20200102030405",
        ),
        (
            "MFF modify=20010203040506; x",
            "Modify=20010203040506; /dir/x",
            "20010203040506",
        ),
        (
            "MDTM 19991231235959 x",
            "modify=19991231235959; /dir/x",
            "19991231235959",
        ),
        (
            "MFMT 19700101000000 /dir/x",
            "modify=19700101000000; /dir/x",
            "19700101000000",
        ),
    ] {
        let reply = ftp.expect(line, 213).await;
        assert!(
            reply.text().eq_ignore_ascii_case(answer),
            "{line}: {reply:?}"
        );
        assert_eq!(ftp.expect("MDTM x", 213).await.text(), time, "{line}");
        assert_eq!(modified(&mut ftp, "").await["x"], time, "{line}");
        let reply = ftp.expect("MLST x", 250).await;
        let fact = format!("modify={time};");
        assert!(reply.lines[1].contains(&fact), "{line}: {reply:?}");
        let (list, _) = ftp.list("LIST x").await;
        assert!(list.contains(&time[..4]), "{line}: {list}");
    }
    // The store's own time if no client has set one.
    let own = ftp.expect("MDTM untouched", 213).await.text().to_owned();
    assert!(own.starts_with("20"), "{own}");
    assert_eq!(modified(&mut ftp, "").await["untouched"], own);
    // Everything else is unchanged.
    let head = client.head_object().bucket(BUCKET).key("dir/x");
    let head = head.send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/csv"));
    assert_eq!(head.metadata().unwrap()["colour"], "red");
    assert_eq!(gateway.store.object(BUCKET, "dir/x").unwrap(), bytes);
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// What lftp sends after an upload, and the names that could be taken for a part of it.
#[tokio::test]
async fn site_utime_sets_the_time_in_both_forms() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .start()
        .await;
    let names = ["x", "a b", "20200102030405", "a 20200102030405 UTC"];
    for name in names {
        gateway.store.put(BUCKET, name, "1");
    }
    let mut ftp = gateway.ftp().await;
    for name in names {
        for (line, time) in [
            (
                format!("SITE UTIME 20200102030405 {name}"),
                "20200102030405",
            ),
            (format!("site utime 202001020306 {name}"), "20200102030600"),
            (
                format!("SITE UTIME {name} 20200102030408 20200102030407 20200102030409 UTC"),
                "20200102030407",
            ),
            (
                format!("SITE UTIME {name} 202001020308 202001020309 202001020310 utc"),
                "20200102030900",
            ),
        ] {
            ftp.expect(&line, 200).await;
            let reply = ftp.expect(&format!("MDTM {name}"), 213).await;
            assert_eq!(reply.text(), time, "{line}");
        }
    }
    for (line, code) in [
        ("SITE UTIME 20200102030405 none", 550),
        ("SITE UTIME 20200102030405 /", 550),
        ("SITE UTIME 20201302030405 x", 501),
        ("SITE UTIME x", 501),
    ] {
        ftp.expect(line, code).await;
    }
    let help = ftp.expect("SITE HELP", 214).await;
    assert!(help.lines[1].contains("UTIME"), "{help:?}");
    ftp.close().await;
    gateway.stop().await;
}

/// lftp sends FEAT before the login only.
#[tokio::test]
async fn before_the_login_feat_lists_mfmt_if_any_user_may_use_it() {
    for (settings, expected) in [
        ("times = \"metadata\"", true),
        (
            "times = \"metadata\"\npermissions = [\"list\", \"read\"]",
            false,
        ),
        ("times = \"store\"", false),
    ] {
        let gateway = Gateway::builder()
            .user("v", "p", "{ \"/\" = \"other\" }")
            .add_mount("other", "others", "")
            .mount(settings)
            .start()
            .await;
        let mut ftp = Ftp::connect(gateway.address).await;
        let feat = ftp.expect("FEAT", 211).await;
        let listed = feat.lines.iter().any(|line| line.trim() == "MFMT");
        assert_eq!(listed, expected, "{settings}");
        // After USER only what works for that user.
        ftp.login("v", "p").await;
        let feat = ftp.expect("FEAT", 211).await;
        assert!(!feat.lines.iter().any(|line| line.trim() == "MFMT"));
        assert_eq!(ftp.store("x", b"1").await.code, 226);
        ftp.expect("SITE UTIME 20200102030405 x", 502).await;
        ftp.close().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_new_upload_gets_a_new_time_and_a_rename_keeps_the_old_one() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    assert_eq!(ftp.store("x", b"old").await.code, 226);
    ftp.expect("MFMT 20200102030405 x", 213).await;
    ftp.expect("RNFR x", 350).await;
    ftp.expect("RNTO y", 250).await;
    assert_eq!(ftp.expect("MDTM y", 213).await.text(), "20200102030405");
    let reply = ftp.upload_with("APPE y", b"+new", Mode::Passive).await;
    assert_eq!(reply.code, 226);
    let appended = ftp.expect("MDTM y", 213).await;
    assert_ne!(appended.text(), "20200102030405");
    ftp.expect("MFMT 20200102030405 y", 213).await;
    assert_eq!(ftp.store("y", b"anew").await.code, 226);
    let anew = ftp.expect("MDTM y", 213).await;
    assert_ne!(anew.text(), "20200102030405");
    for line in [
        "MFMT 20200102030405 none",
        "MFMT 20200102030405 /",
        "MDTM none",
    ] {
        ftp.expect(line, 550).await;
    }
    for line in [
        "MFMT 2020 x",
        "MFMT 20201302030405 x",
        "MFF modify=2020; x",
        "MFF modify=20200102030405 x",
    ] {
        ftp.expect(line, 501).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// What clients send in TYPE A, cut between the two bytes of CR LF, and what is stored.
#[tokio::test]
async fn line_ends_are_converted_wherever_they_are_cut() {
    let gateway = Gateway::builder()
        .mount("ascii = \"convert\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE A", 200).await;
    for (sent, stored) in [
        (&[&b"one\r"[..], b"\ntwo\r", b"\n"][..], &b"one\ntwo\n"[..]),
        (&[b"\r", b"\n", b"\r", b"\n"], b"\n\n"),
        (&[b"a\r\r", b"\nb"], b"a\r\nb"),
        (&[b"lone\nlf"], b"lone\nlf"),
        (&[b"lone\rcr"], b"lone\rcr"),
        (&[b"at the end\r"], b"at the end\r"),
        (&[], b""),
    ] {
        let mut data = ftp.data_passive().await;
        data.set_nodelay(true).unwrap();
        ftp.expect("STOR x", 150).await;
        let mut total = 0;
        for piece in sent {
            data.write_all(piece).await.unwrap();
            total += piece.len();
            // The server has read it when its count says so: the next piece arrives separately.
            let status = format!("{total} bytes");
            while !ftp
                .expect("STAT", 211)
                .await
                .lines
                .join("\n")
                .contains(&status)
            {
                tokio::task::yield_now().await;
            }
        }
        drop(data);
        ftp.expect_reply(226).await;
        let found = gateway.store.object(BUCKET, "x").unwrap();
        assert_eq!(
            found.escape_ascii().to_string(),
            stored.escape_ascii().to_string()
        );
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_many_chunks_is_converted_both_ways() {
    let gateway = Gateway::builder()
        .mount("ascii = \"convert\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    // Lines of all lengths, so that line ends fall on every boundary; 6 MiB, more than a part.
    let mut unix = Vec::new();
    for number in 0.. {
        unix.extend(std::iter::repeat_n(b'x', number % 97));
        unix.push(b'\n');
        if unix.len() > 6 * MIB {
            break;
        }
    }
    let text = String::from_utf8(unix.clone()).unwrap();
    let wire = text.replace('\n', "\r\n").into_bytes();
    ftp.expect("TYPE A", 200).await;
    assert_eq!(ftp.store("x", &wire).await.code, 226);
    assert!(gateway.store.object(BUCKET, "x").unwrap() == unix, "stored");
    let (bytes, reply) = ftp.retrieve("x").await;
    assert_eq!(reply.code, 226);
    assert!(bytes == wire, "sent");
    // In TYPE I the file is unchanged.
    ftp.expect("TYPE I", 200).await;
    assert!(ftp.retrieve("x").await.0 == unix);
    let length = unix.len().to_string();
    assert_eq!(ftp.expect("SIZE x", 213).await.text(), length);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn offsets_and_sizes_are_refused_if_line_ends_are_converted() {
    let gateway = Gateway::builder()
        .mount("ascii = \"convert\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "one\ntwo\n");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE A", 200).await;
    ftp.expect("SIZE x", 550).await;
    for line in ["RETR x", "STOR x"] {
        ftp.expect("REST 3", 350).await;
        let data = ftp.data_passive().await;
        ftp.expect(line, 504).await;
        ftp.in_step().await;
        drop(data);
    }
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"one\ntwo\n");
    // APPE has no offset from the client.
    let reply = ftp.upload_with("APPE x", b"three\r\n", Mode::Passive).await;
    assert_eq!(reply.code, 226);
    let found = gateway.store.object(BUCKET, "x").unwrap();
    assert_eq!(found, b"one\ntwo\nthree\n");
    // Lines of a listing end in CR LF in either TYPE.
    assert_eq!(ftp.list("NLST").await.0, "x\r\n");
    ftp.close().await;
    gateway.stop().await;
}

/// SIZE has reported the length of an interrupted upload, and the client changes to TYPE A before
/// it resumes.
#[tokio::test]
async fn a_resume_is_not_appended_to_the_object_if_line_ends_are_converted() {
    let gateway = Gateway::builder()
        .mount("ascii = \"convert\"")
        .start()
        .await;
    gateway.store.put_before(BUCKET, "x", "the old one\n");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    data.write_all(b"one\ntwo\n").await.unwrap();
    moved(&mut ftp, 8).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    settled(&gateway).await;
    assert_eq!(ftp.expect("SIZE x", 213).await.text(), "7");
    ftp.expect("TYPE A", 200).await;
    let reply = ftp
        .upload_with("APPE x", b"\r\nthree\r\n", Mode::Passive)
        .await;
    assert_eq!(reply.code, 504, "{reply:?}");
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"the old one\n");
    ftp.expect("TYPE I", 200).await;
    let reply = ftp.upload_with("APPE x", b"\nthree\n", Mode::Passive).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    let found = gateway.store.object(BUCKET, "x").unwrap();
    assert_eq!(found, b"one\ntwo\nthree\n");
}

/// A converted upload that breaks off is not saved, and still ends an interrupted upload of another
/// server.
#[tokio::test]
async fn deleting_a_converted_file_removes_an_older_interrupted_upload() {
    let converting = || Gateway::builder().mount("ascii = \"convert\"");
    let gateway = converting().start().await;
    let other = converting().on(&gateway.store).start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    data.write_all(b"one\ntwo\n").await.unwrap();
    moved(&mut ftp, 8).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    settled(&gateway).await;
    let mut ftp = other.ftp().await;
    ftp.expect("TYPE A", 200).await;
    assert_eq!(ftp.store("x", b"three\r\n").await.code, 226);
    ftp.expect("DELE x", 250).await;
    ftp.expect("TYPE I", 200).await;
    ftp.expect("SIZE x", 550).await;
}

#[tokio::test]
async fn by_default_neither_type_changes_bytes() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut bytes = b"one\r\ntwo\nthree\r\r\n\0\xff".to_vec();
    bytes.extend(0..=255);
    for line in ["TYPE A", "TYPE A N", "TYPE I", "TYPE L 8"] {
        ftp.expect(line, 200).await;
        assert_eq!(ftp.store("x", &bytes).await.code, 226);
        assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), bytes, "{line}");
        assert_eq!(ftp.retrieve("x").await.0, bytes, "{line}");
        let size = ftp.expect("SIZE x", 213).await;
        assert_eq!(size.text(), bytes.len().to_string(), "{line}");
        ftp.expect("REST 4", 350).await;
        assert_eq!(ftp.retrieve("x").await.0, bytes[4..], "{line}");
        gateway.store.backend().remove(BUCKET, "x");
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn setting_a_time_does_not_restore_old_bytes() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .with("[stores.main]\ncopy_limit = \"5MiB\"")
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, "f", vec![1; 6 << 20]);
    let mut ftp = gateway.ftp().await;
    let complete = store.fail("CompleteMultipartUpload").with(Fault::Stall);
    ftp.send("MFMT 20200102030405 f").await;
    complete.hit().await;
    store.put(BUCKET, "f", "new, and acknowledged");
    complete.release();
    assert!(ftp.reply().await.code >= 400);
    let there = store.object(BUCKET, "f");
    assert_eq!(there.as_deref(), Some(&b"new, and acknowledged"[..]));
    store.no_uploads_left().await;
    ftp.close().await;
    gateway.stop().await;
}
