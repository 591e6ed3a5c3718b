//! `max_file_size` of a user and of a mount: on each way a file can come to be.

use s3ftpd::events::{Class, Kind};
use tokio::io::AsyncWriteExt;

use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD};
use test_support::transfers::{begin, interrupt, nothing_left, settled};
use test_support::{MIB, pattern};

/// Of the mount; that of the user is larger, and of no effect.
fn limited(limit: usize) -> Builder {
    Gateway::builder()
        .mount(&format!("max_file_size = {limit}"))
        .with(&format!("[users.u]\nmax_file_size = {}", limit + 1))
}

/// Sends more than is taken, and does not end it; returns the final reply's text.
async fn sends_too_much(ftp: &mut Ftp, command: &str, bytes: &[u8]) -> String {
    let mut data = begin(ftp, command, Mode::Passive).await;
    // The server may reset the connection before it has all.
    let _ = data.write_all(bytes).await;
    ftp.expect_reply(552).await.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_at_the_first_byte_above_the_limit() {
    // Within the first part, at its end, and beyond it.
    for limit in [1000, 5 * MIB, 11 * MIB] {
        let bytes = pattern(limit + 1, 1);
        for builder in [
            limited(limit),
            Gateway::builder().with(&format!(
                "[groups.g]\nmax_file_size = {limit}\n[users.u]\ngroup = \"g\""
            )),
        ] {
            let gateway = builder.start().await;
            let mut ftp = gateway.ftp().await;
            ftp.expect("TYPE I", 200).await;
            for command in ["STOR f", "APPE f", "STOU f"] {
                gateway.events.drain();
                let text = sends_too_much(&mut ftp, command, &bytes).await;
                let expected = format!("the largest file that is allowed here, {limit} bytes");
                assert!(text.contains(&expected), "{command}: {text}");
                let event = gateway.events.wait_for(Kind::Transfer).await;
                assert_eq!(
                    (event.code, event.class),
                    (Some(552), Some(Class::TooLarge))
                );
                assert_eq!(gateway.events.of(Kind::Refused).len(), 0);
                // Not kept for a resume, as it can't become whole.
                settled(&gateway).await;
                ftp.expect("SIZE f", 550).await;
                assert_eq!(gateway.store.keys(BUCKET), [""; 0], "{command} {limit}");
            }
            gateway.store.put(BUCKET, "old", "old");
            sends_too_much(&mut ftp, "STOR old", &bytes).await;
            settled(&gateway).await;
            assert_eq!(gateway.store.object(BUCKET, "old").unwrap(), b"old");
            assert_eq!(ftp.store("f", &bytes[..limit]).await.code, 226);
            assert!(gateway.store.object(BUCKET, "f").unwrap() == bytes[..limit]);
            ftp.close().await;
            nothing_left(&gateway, 0).await;
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn what_is_known_to_be_too_large_gets_no_150() {
    let gateway = limited(1000).start().await;
    gateway.store.put(BUCKET, "large", vec![1; 1001]);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    ftp.expect("ALLO 1000", 200).await;
    ftp.expect("ALLO 1001", 552).await;
    for (commands, name) in [
        (&["REST 1001", "STOR large"][..], "large"),
        (&["REST 1001", "STOR new"], "new"),
        (&["APPE large"], "large"),
    ] {
        let _port = ftp.data(Mode::Passive).await;
        gateway.events.drain();
        let (last, before) = commands.split_last().unwrap();
        for command in before {
            ftp.expect(command, 350).await;
        }
        let reply = ftp.expect(last, 552).await;
        assert!(
            reply.text().starts_with(&format!("/{name}: larger than")),
            "{reply:?}"
        );
        let event = gateway.events.wait_for(Kind::Refused).await;
        assert_eq!(
            (event.code, event.class),
            (Some(552), Some(Class::TooLarge))
        );
    }
    assert_eq!(gateway.store.keys(BUCKET), ["large"]);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn old_bytes_count() {
    for large in [false, true] {
        let (old, limit) = match large {
            true => (6 * MIB, 6 * MIB + 1000),
            false => (600, 1000),
        };
        let bytes = pattern(limit + 1, 1);
        let gateway = limited(limit).start().await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        gateway.store.put(BUCKET, "f", &bytes[..old]);
        sends_too_much(&mut ftp, "APPE f", &bytes[old..]).await;
        ftp.expect(&format!("REST {old}"), 350).await;
        sends_too_much(&mut ftp, "STOR f", &bytes[old..]).await;
        settled(&gateway).await;
        assert!(gateway.store.object(BUCKET, "f").unwrap() == bytes[..old]);
        assert_eq!(gateway.store.keys(BUCKET), ["f"]);
        let reply = ftp
            .upload_with("APPE f", &bytes[old..limit], Mode::Passive)
            .await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(gateway.store.object(BUCKET, "f").unwrap() == bytes[..limit]);
        // Nothing more fits.
        let reply = ftp.upload_with("APPE f", b"", Mode::Passive).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        sends_too_much(&mut ftp, "APPE f", &bytes[limit..]).await;
        ftp.close().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_upload_that_is_resumed_beyond_the_limit_is_removed() {
    for (sent, limit) in [(900, 1000), (6 * MIB, 7 * MIB)] {
        let bytes = pattern(limit + 1, 1);
        let gateway = limited(limit).start().await;
        interrupt(&gateway, "STOR f", &bytes[..sent]).await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        let size: usize = ftp.expect("SIZE f", 213).await.text().parse().unwrap();
        assert!(size + 1 >= sent && size <= sent, "{size}");
        ftp.expect(&format!("REST {size}"), 350).await;
        sends_too_much(&mut ftp, "STOR f", &bytes[size..]).await;
        settled(&gateway).await;
        ftp.expect("SIZE f", 550).await;
        assert_eq!(gateway.store.keys(BUCKET), [""; 0]);

        interrupt(&gateway, "STOR f", &bytes[..sent]).await;
        let size: usize = ftp.expect("SIZE f", 213).await.text().parse().unwrap();
        ftp.expect(&format!("REST {size}"), 350).await;
        assert_eq!(ftp.store("f", &bytes[size..limit]).await.code, 226);
        assert!(gateway.store.object(BUCKET, "f").unwrap() == bytes[..limit]);
        ftp.close().await;
        nothing_left(&gateway, 0).await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn stored_bytes_count_if_line_ends_are_converted() {
    let gateway = Gateway::builder()
        .mount("max_file_size = 10\nascii = \"convert\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE A", 200).await;
    let reply = ftp.store("f", b"abc\r\ndef\r\nhi").await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!(gateway.store.object(BUCKET, "f").unwrap(), b"abc\ndef\nhi");
    // It does not end, so nothing but the limit can end the upload.
    sends_too_much(&mut ftp, "STOR g", b"abc\r\ndef\r\nhij").await;
    settled(&gateway).await;
    assert_eq!(gateway.store.keys(BUCKET), ["f"]);
    ftp.close().await;
    gateway.stop().await;
}

/// Mounts `/`, and `/in` with a limit of 10 bytes; both buckets are in one store.
async fn two_mounts(user: &str) -> Gateway {
    Gateway::builder()
        .add_mount("in", "inbox", "")
        .with("[mounts.in]\nmax_file_size = 10")
        .user("u", PASSWORD, "{ \"/\" = \"main\", \"/in\" = \"in\" }")
        .with(&format!("[users.u]\n{user}"))
        .start()
        .await
}

#[tokio::test]
async fn a_rename_into_a_mount_is_limited_as_an_upload_to_it_is() {
    let gateway = two_mounts("").await;
    let store = &gateway.store;
    store.put(BUCKET, "ten", [1; 10]);
    store.put(BUCKET, "eleven", [1; 11]);
    store.put(BUCKET, "dir/a", [1; 10]);
    store.put(BUCKET, "dir/sub/b", [1; 11]);
    store.put("inbox", "was/here", [1; 11]);
    let mut ftp = gateway.ftp().await;
    for (from, to, code, text) in [
        (
            "eleven",
            "in/x",
            552,
            "/in/x: larger than the largest file that is allowed here, 10 bytes",
        ),
        (
            "dir",
            "in/x",
            552,
            "/in/x/sub/b: larger than the largest file that is allowed here, 10 bytes; nothing was moved",
        ),
        ("ten", "in/ten", 250, "/ten is now /in/ten"),
        // Inside one mount, and out of it.
        ("in/was", "in/is", 250, "/in/was is now /in/is"),
        (
            "in/is/here",
            "in/there",
            250,
            "/in/is/here is now /in/there",
        ),
        ("in/there", "there", 250, "/in/there is now /there"),
    ] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        store.reset_counts();
        let reply = ftp.expect(&format!("RNTO {to}"), code).await;
        assert!(reply.text().starts_with(text), "{reply:?}");
        if code == 552 {
            assert_eq!(
                store.count("CopyObject") + store.count("PutObject"),
                0,
                "{from}"
            );
        }
    }
    let event = gateway.events.of(Kind::Refused).pop().unwrap();
    assert_eq!(
        (event.code, event.class),
        (Some(552), Some(Class::TooLarge))
    );
    assert_eq!(
        store.keys(BUCKET),
        ["dir/a", "dir/sub/b", "eleven", "there"]
    );
    assert!(store.keys("inbox").contains(&"ten".to_owned()));
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_smaller_limit_of_user_and_mount_counts() {
    let gateway = two_mounts("max_file_size = 5").await;
    let mut ftp = gateway.ftp().await;
    for (path, size, code) in [
        ("/f", 5, 226),
        ("/f", 6, 552),
        ("/in/f", 5, 226),
        ("/in/f", 6, 552),
    ] {
        let mut data = begin(&mut ftp, &format!("STOR {path}"), Mode::Passive).await;
        data.write_all(&vec![1; size]).await.unwrap();
        data.shutdown().await.unwrap();
        let reply = ftp.expect_reply(code).await;
        assert!(
            code == 226 || reply.text().contains("here, 5 bytes"),
            "{reply:?}"
        );
    }
    ftp.expect("CWD /in", 250).await;
    ftp.expect("ALLO 6", 552).await;
    ftp.close().await;
    gateway.stop().await;
}
