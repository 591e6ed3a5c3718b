//! `upload_rate` and `download_rate`: the bytes a second of all transfers of a user together.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway, PASSWORD};
use test_support::transfers::{begin, nothing_left, size};
use test_support::{MIB, pattern, within};

const MOUNTS: &str = "{ \"/\" = \"main\" }";

/// What passes at once when a user begins: half a second of the rate, and two turns.
const AT_ONCE: f64 = 0.7;

/// A gateway on a store that answers late, with limits of `u`.
async fn gateway(limits: &str) -> Gateway {
    let gateway = Gateway::builder()
        .user("v", PASSWORD, MOUNTS)
        .with(&format!("[users.u]\n{limits}"))
        .start()
        .await;
    for operation in ["PutObject", "UploadPart", "GetObject"] {
        let rule = gateway.store.fail(operation);
        rule.always().with(Fault::Delay(Duration::from_millis(50)));
    }
    gateway
}

/// Runs transfers in sessions of their own; returns the seconds that each took.
async fn times(
    gateway: &Gateway,
    count: usize,
    transfer: impl AsyncFn(test_support::ftp::Ftp, usize),
) -> Vec<f64> {
    let sessions = join_all((0..count).map(async |_| gateway.ftp().await)).await;
    let begun = Instant::now();
    let each = sessions.into_iter().enumerate().map(async |(n, ftp)| {
        transfer(ftp, n).await;
        begun.elapsed().as_secs_f64()
    });
    join_all(each).await
}

/// Asserts that `count` transfers of this number of bytes have shared the rate.
fn assert_shared(times: &[f64], bytes: usize, rate: usize, slack: f64) {
    let all = (bytes * times.len()) as f64 / rate as f64;
    let (first, last) = (
        times.iter().copied().fold(f64::MAX, f64::min),
        times.iter().copied().fold(0.0, f64::max),
    );
    assert!(last >= all - AT_ONCE, "{times:?}: faster than {all} s");
    assert!(last <= all + slack, "{times:?}: slower than {all} s");
    assert!(first >= last * 0.8 - AT_ONCE, "{times:?}: not shared");
}

async fn two_sessions_share(rate: usize, bytes: usize, slack: f64) {
    let content = pattern(bytes, 1);
    let gateway = gateway(&format!("upload_rate = {rate}\ndownload_rate = \"{rate}\"")).await;
    let uploads = times(&gateway, 2, async |mut ftp, n| {
        let reply = ftp.store(&format!("f{n}"), &content).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        ftp.close().await;
    });
    assert_shared(&uploads.await, bytes, rate, slack);
    for name in ["f0", "f1"] {
        assert!(gateway.store.object(BUCKET, name).unwrap() == content);
    }
    // Uploads do not use up the rate of downloads.
    let downloads = times(&gateway, 2, async |mut ftp, n| {
        let (got, reply) = ftp.retrieve(&format!("f{n}")).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(got == content);
        ftp.close().await;
    });
    assert_shared(&downloads.await, bytes, rate, slack);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_of_a_user_share_the_rate_on_a_store_with_latency() {
    // The machine may be busy: that it is not much slower is tested below.
    two_sessions_share(MIB, MIB, 20.0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 40 s, and needs an idle machine"]
async fn the_rate_is_kept_within_a_tenth_over_20_s() {
    two_sessions_share(4 * MIB, 40 * MIB, 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_and_listings_are_not_slowed_down() {
    let gateway = gateway("upload_rate = \"1KiB\"\ndownload_rate = \"1KiB\"").await;
    let content = pattern(MIB, 1);
    let mut ftp = gateway.ftp().await;
    let mut slow = begin(&mut ftp, "STOR slow", Mode::Passive).await;
    slow.write_all(&content).await.unwrap();
    let mut other = gateway.ftp_as("v", PASSWORD).await;
    let reply = other.store("f", &content).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(other.retrieve("f").await.0 == content);
    for n in 0..200 {
        gateway
            .store
            .put(BUCKET, &format!("a-long-name-of-a-file-{n}"), "");
    }
    let mut lists = gateway.ftp().await;
    // At the rate of downloads this would take 20 s.
    let begun = Instant::now();
    let (text, _) = lists.list("MLSD").await;
    assert!(text.len() > 20_000 && begun.elapsed() < Duration::from_secs(10));
    // ABOR, STAT and NOOP are answered at once.
    ftp.expect("NOOP", 200).await;
    let status = ftp.expect("STAT", 211).await;
    assert!(status.lines[1].contains("STOR /slow"), "{status:?}");
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    // What had gathered on the way was not taken at once either.
    ftp.expect("TYPE I", 200).await;
    assert!(size(&mut ftp, "slow").await < 64 * 1024);

    let mut data = begin(&mut ftp, "RETR f", Mode::Passive).await;
    data.read_exact(&mut [0; 512]).await.unwrap();
    ftp.expect("NOOP", 200).await;
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    for ftp in [ftp, other, lists] {
        ftp.close().await;
    }
    gateway.stop().await;
}

/// With twelve transfers each has a turn in a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_the_rate_holds_back_neither_stalls_nor_is_idle() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_stall = \"700ms\"")
        .with("[users.u]\nupload_rate = \"1KiB\"\ndownload_rate = \"1KiB\"\nidle = \"700ms\"")
        .start()
        .await;
    let content = pattern(300, 1);
    gateway.store.put(BUCKET, "f", &content);
    let uploads = times(&gateway, 12, async |mut ftp, n| {
        let reply = ftp.store(&format!("f{n}"), &content).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        ftp.close().await;
    });
    let downloads = times(&gateway, 12, async |mut ftp, _| {
        let (got, reply) = ftp.retrieve("f").await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert_eq!(got, content);
        ftp.close().await;
    });
    let (uploads, downloads) = tokio::join!(uploads, downloads);
    for times in [uploads, downloads] {
        let last = times.iter().copied().fold(0.0, f64::max);
        assert!(last >= 12.0 * 300.0 / 1024.0 - AT_ONCE, "{times:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_stalls_at_a_rate_is_still_cut() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_stall = \"1s\"\n[users.u]\nupload_rate = \"1KiB\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
    data.write_all(&[1; 1000]).await.unwrap();
    let reply = ftp.expect_reply(426).await;
    assert!(reply.text().contains("no data moved"), "{reply:?}");
    ftp.close().await;
    gateway.stop().await;
}

/// A client sends QUIT right after its data, long before the server has taken all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_after_its_data_is_waited_for() {
    let gateway = gateway("upload_rate = \"8KiB\"").await;
    let content = pattern(16 * 1024, 1);
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
    data.write_all(&content).await.unwrap();
    data.shutdown().await.unwrap();
    ftp.send("QUIT").await;
    ftp.expect_reply(226).await;
    ftp.expect_reply(221).await;
    assert!(gateway.store.object(BUCKET, "f").unwrap() == content);
    gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_the_grace_period_cuts_a_transfer_that_is_held_back() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nshutdown_grace = \"50ms\"")
        .with("[users.u]\nupload_rate = \"1KiB\"\ndownload_rate = \"1KiB\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "old", pattern(MIB, 1));
    let mut up = gateway.ftp().await;
    let mut sending = begin(&mut up, "STOR f", Mode::Passive).await;
    sending.write_all(&pattern(100_000, 1)).await.unwrap();
    let mut down = gateway.ftp().await;
    let _receiving = begin(&mut down, "RETR old", Mode::Passive).await;
    let clients = async {
        for ftp in [&mut up, &mut down] {
            let reply = ftp.expect_reply(426).await;
            assert!(reply.text().contains("shutting down"), "{reply:?}");
        }
    };
    let stopped = async { tokio::join!(gateway.stop(), clients).0 };
    let store = within("the server's end", stopped).await;
    assert!(store.object(BUCKET, "f").is_none());
}

/// What a slow rate has filled of its parts is given back when others need the memory.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_held_back_keep_no_memory_from_others() {
    let gateway = Gateway::builder()
        .with("[memory]\nbudget = \"20MiB\"\nhold = \"50ms\"")
        .with("[users.u]\nupload_rate = \"64KiB\"")
        .user("v", PASSWORD, MOUNTS)
        .start()
        .await;
    // More than the memory that a transfer has in any case, so that each of them wants a part's.
    let content = pattern(3 * MIB, 1);
    let mut slow = Vec::new();
    for n in 0..6 {
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, &format!("STOR slow{n}"), Mode::Passive).await;
        let content = content.clone();
        let sending = tokio::spawn(async move {
            // Ends by the reset of the server.
            let _ = data.write_all(&content).await;
        });
        slow.push((ftp, sending));
    }
    let mut other = gateway.ftp_as("v", PASSWORD).await;
    let large = pattern(12 * MIB, 2);
    for n in 0..3 {
        let reply = other.store(&format!("f{n}"), &large).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        let (got, reply) = other.retrieve(&format!("f{n}")).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(got == large);
    }
    for (mut ftp, sending) in slow {
        ftp.send("ABOR").await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        ftp.close().await;
        sending.await.unwrap();
    }
    other.close().await;
    nothing_left(&gateway, 0).await;
    gateway.stop().await;
}
