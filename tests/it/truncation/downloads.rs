//! Downloads: no client can take a part of a file for the whole, and no client gets mixed bytes.

use tokio::io::AsyncReadExt;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, read_to_end_deadline, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, nothing_left};
use test_support::{MIB, pattern};

/// More than the sockets on the way hold.
const HUGE: usize = 16 * MIB;
/// Several ranges.
const LARGE: usize = 5 * MIB;

async fn gateway(config: &str) -> Gateway {
    let gateway = Gateway::builder()
        .with("[transfer]\nrange_size = \"1MiB\"")
        .with(config)
        .start()
        .await;
    gateway.store.put(BUCKET, "x", pattern(HUGE, 1));
    gateway
}

#[tokio::test]
async fn a_client_that_breaks_the_data_connection_gets_426() {
    let gateway = gateway("").await;
    let mut ftp = gateway.ftp().await;
    for mode in Mode::ALL {
        let data = begin(&mut ftp, "RETR x", mode).await;
        reset_stream(data);
        ftp.expect_reply(426).await;
        ftp.in_step().await;
        nothing_left(&gateway, 1).await;
    }
}

#[tokio::test]
async fn an_abor_ends_the_data_connection_by_a_reset() {
    let gateway = gateway("").await;
    let mut ftp = gateway.ftp().await;
    for mode in [Mode::Passive, Mode::Active] {
        let mut data = begin(&mut ftp, "RETR x", mode).await;
        data.read_exact(&mut [0; 1000]).await.unwrap();
        ftp.send_abor_with_synch().await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        let (_, end) = read_to_end_deadline(&mut data).await;
        end.unwrap_err();
        ftp.in_step().await;
        nothing_left(&gateway, 1).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_or_stalls_leaves_nothing_open() {
    let gateway = gateway("[timeouts]\ndata_stall = \"300ms\"").await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "RETR x", Mode::Passive).await;
    let reply = ftp.expect_reply(426).await;
    assert!(reply.text().contains("no data moved"), "{reply:?}");
    let (_, end) = read_to_end_deadline(&mut data).await;
    end.unwrap_err();
    let mut data = begin(&mut ftp, "RETR x", Mode::Passive).await;
    ftp.close().await;
    let (_, end) = read_to_end_deadline(&mut data).await;
    end.unwrap_err();
    nothing_left(&gateway, 0).await;
}

#[tokio::test]
async fn an_object_that_changes_underneath_never_gives_mixed_bytes() {
    for changed in [Some(HUGE), Some(10), None] {
        let gateway = gateway("").await;
        let store = &gateway.store;
        let rule = store.fail("GetObject").nth(3).with(Fault::Stall);
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "RETR x", Mode::Passive).await;
        let changing = async {
            rule.hit().await;
            match changed {
                Some(size) => store.put(BUCKET, "x", pattern(size, 2)),
                None => assert!(store.backend().remove(BUCKET, "x")),
            }
            rule.release();
        };
        let ((bytes, end), ()) = tokio::join!(read_to_end_deadline(&mut data), changing);
        end.unwrap_err();
        assert!(bytes.len() < HUGE && pattern(HUGE, 1).starts_with(&bytes));
        let reply = ftp.expect_reply(451).await;
        assert!(reply.text().contains("changed"), "{reply:?}");
        ftp.in_step().await;
        nothing_left(&gateway, 1).await;
        ftp.close().await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_resumed_at_its_offset() {
    for (nth, fault) in [
        (1, Fault::CutBody(300_000)),
        (1, Fault::ResetBody(300_000)),
        (4, Fault::CutBody(300_000)),
        (2, Fault::StallBody(300_000)),
        (3, Fault::ResetBeforeHandling),
        (3, Fault::Status(503, "SlowDown")),
    ] {
        let gateway = gateway("[stores.main]\nrequest_timeout = \"1s\"").await;
        gateway.store.put(BUCKET, "x", pattern(LARGE, 1));
        let rule = gateway.store.fail("GetObject").nth(nth).with(fault.clone());
        let mut ftp = gateway.ftp().await;
        let (bytes, reply) = ftp.retrieve("x").await;
        assert_eq!(reply.code, 226, "{fault:?}: {reply:?}");
        assert!(bytes == pattern(LARGE, 1), "{fault:?}: {}", bytes.len());
        assert_eq!(rule.hits(), 1);
        if matches!(fault, Fault::CutBody(_)) {
            let requests = gateway.store.requests();
            let resumed = |range: &str| range.contains(&format!("={}-", (nth - 1) * MIB + 300_000));
            assert!(
                requests
                    .iter()
                    .any(|r| r.range.as_deref().is_some_and(resumed))
            );
        }
        ftp.in_step().await;
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}

#[tokio::test]
async fn a_store_that_keeps_failing_ends_the_download_by_a_reset() {
    for (fault, code) in [
        (Fault::Status(503, "SlowDown"), 451),
        (Fault::Status(403, "AccessDenied"), 550),
        (Fault::ResetBeforeHandling, 451),
        (Fault::CutBody(0), 451),
    ] {
        let gateway = gateway("[stores.main]\nattempts = 2").await;
        let rule = gateway.store.fail("GetObject").nth(3).always();
        rule.with(fault.clone());
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "RETR x", Mode::Passive).await;
        let (bytes, end) = read_to_end_deadline(&mut data).await;
        end.unwrap_err();
        assert!(pattern(HUGE, 1).starts_with(&bytes));
        let reply = ftp.reply().await;
        assert_eq!(reply.code, code, "{fault:?}: {reply:?}");
        ftp.in_step().await;
        nothing_left(&gateway, 1).await;
        ftp.close().await;
    }
}

/// lftp and wget resume by REST without asking the user, in the same session or the next one.
#[tokio::test]
async fn the_rest_of_a_download_that_broke_off_is_of_the_same_version() {
    let gateway = gateway("").await;
    let mut ftp = gateway.ftp().await;
    for (mode, size) in Mode::ALL
        .into_iter()
        .zip([HUGE, HUGE + 1, 200_000].into_iter().cycle())
    {
        let [old, new] = [pattern(HUGE, 1), pattern(size, 2)];
        gateway.store.put(BUCKET, "x", old.clone());
        let mut data = begin(&mut ftp, "RETR x", mode).await;
        data.read_exact(&mut [0; 1000]).await.unwrap();
        reset_stream(data);
        ftp.expect_reply(426).await;
        // The same version is resumed.
        ftp.expect("REST 16777000", 350).await;
        let (got, reply) = ftp.retrieve("x").await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(got == old[16_777_000..]);
        gateway.store.put(BUCKET, "x", new.clone());
        let mut next = gateway.ftp().await;
        for ftp in [&mut ftp, &mut next] {
            for (restart, size) in [
                ("REST 1000", false),
                ("REST 1000", true),
                ("RANG 1000 1999", false),
            ] {
                if size {
                    ftp.expect("SIZE x", 213).await;
                }
                ftp.expect(restart, 350).await;
                let (got, reply) = ftp.retrieve("x").await;
                assert_eq!((got.len(), reply.code), (0, 550), "{reply:?}");
                ftp.in_step().await;
            }
        }
        // A client in another session has not read the other version.
        let mut elsewhere = Ftp::connect_from([127, 0, 0, 2].into(), gateway.address).await;
        elsewhere.login("u", "p").await;
        elsewhere.expect("REST 1000", 350).await;
        let (got, _) = elsewhere.retrieve("x").await;
        assert!(got == new[1000..]);
        // From its start it is fetched as before, and bytes that were appended since can be fetched
        // by REST.
        let (got, reply) = ftp.retrieve("x").await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(got == new);
        gateway.store.put(BUCKET, "x", [&new[..], b"more"].concat());
        next.expect(&format!("REST {size}"), 350).await;
        assert_eq!(next.retrieve("x").await.0, b"more");
    }
}
