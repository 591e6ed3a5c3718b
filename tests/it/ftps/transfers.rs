//! Uploads, downloads and listings under TLS, byte for byte: versions × explicit and implicit ×
//! sizes × habits.

use super::{Begins, begin_tls, download, implicit, secured, upload, with_tls};
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, PASSWORD, USER};
use test_support::tls::{Habit, Pki, VERSIONS, read_all, send_and_end};
use test_support::transfers::nothing_left;
use test_support::{MIB, pattern};

/// From no byte to many parts.
const SIZES: [usize; 5] = [0, 1, 64 * 1024, 5 * MIB, 23 * MIB + 12_345];

#[tokio::test(flavor = "multi_thread")]
async fn every_size_every_version_explicit_and_implicit_with_and_without_resumption() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    for version in VERSIONS {
        for habit in [Habit::Reuse, Habit::Once, Habit::Never] {
            for is_implicit in [false, true] {
                let what = format!("{version:?} {habit:?} implicit {is_implicit}");
                let client = pki.client().version(version).habit(habit).build();
                let mut ftp = match is_implicit {
                    false => secured(&gateway, &client).await,
                    true => {
                        let mut ftp = Ftp::connect_implicit(implicit(&gateway), &client).await;
                        ftp.login(USER, PASSWORD).await;
                        ftp.expect("TYPE I", 200).await;
                        ftp
                    }
                };
                for size in SIZES {
                    let bytes = pattern(size, size as u64 + 1);
                    let reply = upload(&mut ftp, &client, "dir/file", &bytes).await;
                    assert_eq!(reply.code, 226, "{what}\n{}", ftp.transcript());
                    assert!(
                        gateway.store.object(BUCKET, "dir/file").as_deref() == Some(&bytes),
                        "{what}: {size} bytes are not what was sent"
                    );
                    let (back, reply) = download(&mut ftp, &client, "RETR dir/file").await;
                    assert_eq!(reply.code, 226, "{what}");
                    assert!(
                        back == bytes,
                        "{what}: {size} bytes are not what was stored"
                    );
                    let (listing, reply) = download(&mut ftp, &client, "MLSD dir").await;
                    let listing = String::from_utf8(listing).unwrap();
                    assert_eq!(reply.code, 226, "{what}");
                    assert!(listing.contains(&format!("size={size};")), "{listing}");
                    let (listing, _) = download(&mut ftp, &client, "NLST nowhere*").await;
                    assert_eq!(listing, b"", "{what}");
                }
                ftp.expect("QUIT", 221).await;
                ftp.expect_end().await;
            }
        }
    }
    nothing_left(&gateway, 0).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_may_come_before_the_command_or_after_the_150_in_each_mode() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    for mode in Mode::ALL {
        for begins in [Begins::Early, Begins::Late] {
            if begins == Begins::Early && matches!(mode, Mode::Active | Mode::Eprt) {
                // There is no connection before the command.
                continue;
            }
            let bytes = pattern(100_000, 3);
            let mut tls = begin_tls(&mut ftp, &client, "STOR x", mode, begins).await;
            send_and_end(&mut tls, &bytes).await.unwrap();
            ftp.expect_reply(226).await;
            let mut tls = begin_tls(&mut ftp, &client, "RETR x", mode, begins).await;
            let (back, end) = read_all(&mut tls).await;
            end.unwrap();
            ftp.expect_reply(226).await;
            assert!(back == bytes, "{mode:?} {begins:?}");
        }
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_data_connections_under_a_secured_control_connection() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    ftp.expect("PROT C", 200).await;
    assert_eq!(ftp.store("x", b"in the clear").await.code, 226);
    ftp.expect("PROT P", 200).await;
    let (bytes, _) = download(&mut ftp, &client, "RETR x").await;
    assert_eq!(bytes, b"in the clear");
    // After AUTH TLS alone they are in plaintext too.
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login(USER, PASSWORD).await;
    let (bytes, reply) = ftp.retrieve("x").await;
    assert_eq!((bytes.as_slice(), reply.code), (&b"in the clear"[..], 226));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_writes_loses_nothing() {
    use tokio::io::AsyncWriteExt;
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    for version in VERSIONS {
        let client = pki.client().version(version).build();
        let mut ftp = secured(&gateway, &client).await;
        for round in 0..20_u64 {
            let bytes = pattern(300_000, round);
            let mut tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, Begins::Late).await;
            tls.write_all(&bytes).await.unwrap();
            tls.shutdown().await.unwrap();
            // Closed with everything that the server sent unread.
            drop(tls);
            let reply = ftp.reply().await;
            assert_eq!(reply.code, 226, "{version:?}\n{}", ftp.transcript());
            assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
        }
        ftp.close().await;
    }
    gateway.stop().await;
}

/// A rate counts the bytes of the file, however many TLS adds to them.
#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_a_user_holds_under_tls() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .with("[users.u]\nupload_rate = \"256KiB\"\ndownload_rate = \"256KiB\"")
        .start()
        .await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    let content = pattern(512 * 1024, 1);
    // Two seconds, without the half that passes at once and a turn.
    let least = std::time::Duration::from_millis(1300);
    let begun = std::time::Instant::now();
    let reply = upload(&mut ftp, &client, "f", &content).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    let (got, reply) = download(&mut ftp, &client, "RETR f").await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(got == content);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    ftp.close().await;
    gateway.stop().await;
}
