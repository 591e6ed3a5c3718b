//! What replies may reveal to a user who may write and neither list nor read.

use super::{SENT, STORED, next, refused, sending, stored};
use test_support::ftp::{Ftp, Mode, reset_stream, without_id};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::settled;

/// Users of one tree, who may write and little else.
async fn gateway(permissions: &str) -> Gateway {
    let gateway = Gateway::builder()
        .mount(&format!("permissions = [{permissions}]"))
        .with("[resume]\nstalled_after = \"1h\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "a.bin", stored());
    gateway
}

/// A reply without the name.
async fn reply(ftp: &mut Ftp, command: &str, name: &str) -> String {
    let reply = ftp.command(&format!("{command} {name}")).await;
    without_id(&reply.lines.join("\n")).replace(name, "NAME")
}

/// The reply to each command is the same for an existing file and a missing one, unless the user's
/// permissions reveal the difference by what the command does.
#[tokio::test]
async fn no_reply_reveals_a_file_without_list_or_read() {
    for permissions in [
        "\"write\"",
        "\"write\", \"overwrite\"",
        "\"write\", \"overwrite\", \"append\"",
        "\"write\", \"append\", \"mkdir\"",
    ] {
        let gateway = gateway(permissions).await;
        let mut ftp = gateway.ftp().await;
        for command in [
            "SIZE",
            "MDTM",
            "MLST",
            "MLSD",
            "LIST",
            "NLST",
            "STAT",
            "RETR",
            "HASH",
            "XCRC",
            "XMD5",
            "DELE",
            "RNFR",
            "MFMT 20260101000000",
            "MDTM 20260101000000",
        ] {
            let there = reply(&mut ftp, command, "a.bin").await;
            let absent = reply(&mut ftp, command, "b.bin").await;
            assert_eq!(there, absent, "{permissions}: {command}");
            assert!(!there.contains(&STORED.to_string()), "{there}");
        }
        // With `append` a restart inside the object is allowed, so its length is not a secret.
        let least = match permissions.contains("append") {
            true => STORED + 1,
            false => 1,
        };
        for offset in [1, STORED - 1, STORED, STORED + 1]
            .into_iter()
            .filter(|offset| *offset >= least)
        {
            let rest = format!("REST {offset}");
            let there = refused(&mut ftp, &[&rest, "STOR a.bin"], 554).await;
            let absent = refused(&mut ftp, &[&rest, "STOR b.bin"], 554).await;
            assert_eq!(
                without_id(&there).replace("a.bin", "NAME"),
                without_id(&absent).replace("b.bin", "NAME"),
                "{permissions}"
            );
        }
        assert!(gateway.store.object(BUCKET, "a.bin").unwrap() == stored());
        ftp.close().await;
    }
}

#[tokio::test]
async fn an_append_does_not_reveal_the_length_of_the_object() {
    let gateway = gateway("\"write\", \"append\"").await;
    let mut ftp = gateway.ftp().await;
    for name in ["a.bin", "b.bin"] {
        let command = format!("APPE {name}");
        let reply = ftp.upload_with(&command, b"more", Mode::Passive).await;
        assert_eq!(reply.code, 226);
    }
    let shown = ftp.transcript().replace("a.bin", "b.bin");
    assert!(!shown.contains("from byte"), "{shown}");
    assert!(!shown.contains(&STORED.to_string()), "{shown}");
    assert!(!shown.contains("stored after"), "{shown}");
    // Nor does an interrupted append, which is as long as both together.
    let data = sending_by(&mut ftp, "APPE a.bin").await;
    for runs in [true, false] {
        let mut other = gateway.ftp().await;
        other.expect("SIZE a.bin", 550).await;
        let text = refused(&mut other, &["REST 7", "STOR a.bin"], 554).await;
        assert!(!text.contains("30"), "{text}");
        if !runs {
            break;
        }
    }
    reset_stream(data);
    ftp.expect_reply(426).await;
    settled(&gateway).await;
    ftp.expect("SIZE a.bin", 550).await;
    refused(&mut ftp, &["REST 7", "STOR a.bin"], 554).await;
}

async fn sending_by(ftp: &mut Ftp, command: &str) -> tokio::net::TcpStream {
    let data = test_support::transfers::begin(ftp, command, Mode::Passive).await;
    super::sent(ftp, data).await
}

/// Users may resume their own uploads, by SIZE, by the length in a refusal, and while they are
/// running.
#[tokio::test]
async fn a_user_who_may_only_write_resumes_their_own_upload() {
    for (permissions, old) in [
        ("\"write\"", false),
        ("\"write\", \"overwrite\"", true),
        ("\"list\", \"write\", \"overwrite\"", true),
    ] {
        for runs in [true, false] {
            let gateway = gateway(permissions).await;
            if old {
                gateway.store.put_before(BUCKET, "x", stored());
            }
            let mut ftp = gateway.ftp().await;
            let data = sending(&mut ftp).await;
            if !runs {
                reset_stream(data);
                ftp.expect_reply(426).await;
                settled(&gateway).await;
            }
            let mut other = super::elsewhere(&gateway).await;
            let size = other.expect("SIZE x", 213).await;
            let size: usize = size.text().parse().unwrap();
            assert!(super::is_of_upload(size), "{permissions} {old} {size}");
            // It may still be moving, and is not stopped for this.
            let (code, words) = if runs {
                (450, "try again")
            } else {
                (554, "use REST ")
            };
            let text = refused(&mut other, &["REST 7", "STOR x"], code).await;
            assert!(text.contains(words), "{text}");
            let size = other.expect("SIZE x", 213).await;
            let size: usize = size.text().parse().unwrap();
            assert!(size <= SENT);
            super::resumes(&mut other, size).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
        }
    }
}

/// Users who may list or read get the real answer.
#[tokio::test]
async fn list_or_read_shows_existence_length_and_time() {
    for permissions in [
        "\"list\", \"write\", \"append\"",
        "\"read\", \"write\", \"append\"",
    ] {
        let gateway = gateway(permissions).await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("SIZE a.bin", 213).await;
        ftp.expect("MDTM a.bin", 213).await;
        ftp.expect("SIZE b.bin", 550).await;
        let text = refused(&mut ftp, &["REST 300001", "STOR a.bin"], 554).await;
        assert!(text.contains("use REST 300000 or less"), "{text}");
        let reply = ftp.upload_with("APPE a.bin", b"more", Mode::Passive).await;
        assert!(reply.text().contains("300000"), "{reply:?}");
    }
}
