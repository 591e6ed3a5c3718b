//! REST, RANG and RNFR hold for the next command, except for data connection set-up (RFC 959,
//! 4.1.3; RFC 3659, 5).

use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};

const OLD: &[u8] = b"0123456789";

/// Each command in between that is not on the list drops them.
const FORGOTTEN_BY: [&str; 12] = [
    "XYZZY",
    "PASX",
    "",
    "\u{ff}",
    "STORE x",
    "PASS again",
    "TYPE X",
    "REST x",
    "MFCT 1 x",
    "PWD",
    "CWD none",
    "DELE",
];

async fn give_in_turn(ftp: &mut Ftp, first: &str, between: &str) {
    ftp.expect(first, 350).await;
    let reply = ftp.command(between).await;
    assert!(reply.code < 600, "{between:?}: {reply:?}");
}

#[tokio::test]
async fn an_unknown_command_drops_rest_and_rnfr() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for between in FORGOTTEN_BY {
        gateway.store.put(BUCKET, "x", OLD);
        give_in_turn(&mut ftp, "REST 5", between).await;
        assert_eq!(ftp.retrieve("x").await.0, OLD, "REST, {between:?}, RETR");
        give_in_turn(&mut ftp, "RANG 2 4", between).await;
        assert_eq!(ftp.retrieve("x").await.0, OLD, "RANG, {between:?}, RETR");
        give_in_turn(&mut ftp, "REST 5", between).await;
        assert_eq!(ftp.store("x", b"new").await.code, 226);
        assert_eq!(
            gateway.store.object(BUCKET, "x").unwrap(),
            b"new",
            "REST, {between:?}, STOR"
        );
        give_in_turn(&mut ftp, "RNFR x", between).await;
        ftp.expect("RNTO y", 503).await;
    }
    ftp.close().await;
    gateway.stop().await;
}

/// Clients set up the data connection after REST, and try another way if one is refused.
#[tokio::test]
async fn a_refused_data_set_up_keeps_rest_and_rnfr() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", OLD);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for between in [
        "EPSV 2",
        "PORT 192,0,2,1,200,1",
        "EPRT |2|::1|50000|",
        "PROT P",
        "SIZE none",
        "TYPE I",
        "NOOP",
    ] {
        give_in_turn(&mut ftp, "REST 5", between).await;
        assert_eq!(ftp.retrieve("x").await.0, &OLD[5..], "{between}");
    }
    ftp.close().await;
    gateway.stop().await;
}

/// RFC 3659, 5.3: an offset that no file reaches is 554, however large it is.
#[tokio::test]
async fn offsets_near_the_limits_of_numbers_are_554() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", OLD);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for offset in [
        11,
        (1_u64 << 31) - 1,
        1 << 31,
        1 << 32,
        (1 << 63) - 1,
        1 << 63,
        (1 << 63) + 1,
        u64::MAX - 1,
        u64::MAX,
    ] {
        for command in ["RETR x", "STOR x"] {
            ftp.expect(&format!("REST {offset}"), 350).await;
            let data = ftp.data(Mode::Passive).await;
            let reply = ftp.expect(command, 554).await;
            assert!(reply.text().contains("beyond the end"), "{reply:?}");
            drop(data);
        }
        for command in ["RETR x", "HASH x"] {
            ftp.expect(&format!("RANG {offset} {}", u64::MAX), 350)
                .await;
            let data = ftp.data(Mode::Passive).await;
            ftp.expect(command, 554).await;
            drop(data);
        }
        ftp.expect(&format!("XCRC \"x\" {offset}"), 554).await;
        assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), OLD);
    }
    for line in [
        "REST 18446744073709551616",
        "REST 99999999999999999999999",
        "REST -1",
        "REST +1",
        "REST 0x10",
    ] {
        ftp.expect(line, 501).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// A client that sends the rest of a file means it to follow the bytes before its offset.
#[tokio::test]
async fn an_offset_at_which_the_upload_does_not_begin_is_refused() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", OLD);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for (command, code) in [
        ("APPE x", 554),
        ("APPE new", 554),
        ("STOU", 504),
        ("STOU x", 504),
    ] {
        for (first, code) in [("REST 5", code), ("RANG 2 4", 504)] {
            ftp.expect(first, 350).await;
            let reply = ftp.upload_with(command, b"rest", Mode::Passive).await;
            assert_eq!(reply.code, code, "{first}, {command}: {reply:?}");
        }
    }
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), OLD);
    for (offset, command) in [(10, "APPE x"), (0, "APPE new"), (0, "STOU")] {
        ftp.expect(&format!("REST {offset}"), 350).await;
        let reply = ftp.upload_with(command, b"rest", Mode::Passive).await;
        assert_eq!(reply.code, 226, "{command}: {reply:?}");
    }
    assert_eq!(
        gateway.store.object(BUCKET, "x").unwrap(),
        b"0123456789rest"
    );
    ftp.close().await;
    gateway.stop().await;
}
