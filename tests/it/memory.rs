//! Promise 5: one budget of memory for the whole process. What runs never goes beyond it, waits for its share or is
//! refused before the 150, and gives everything back, however it ends.

mod process;

use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::faults::Fault;
use crate::support::ftp::{Ftp, Mode, read_to_end_deadline, reset_stream};
use crate::support::gateway::{BUCKET, Builder, Gateway};
use crate::support::transfers::narrow_data;
use crate::support::{MIB, pattern, within};

/// A budget of four parts, the least there can be.
fn smallest() -> Builder {
    Gateway::builder().with("[memory]\nbudget = \"20MiB\"\n[transfer]\nrange_size = \"1MiB\"")
}

/// Does some work; at no time meanwhile may more than the budget be held.
async fn within_the_budget<T>(gateway: &Gateway, work: impl Future<Output = T>) -> T {
    let total = gateway.server.budget().total();
    let watch = async {
        let mut samples = tokio::time::interval(Duration::from_millis(1));
        loop {
            samples.tick().await;
            let held = gateway.budget_in_use();
            assert!(held <= total, "{held} bytes are held of {total}");
        }
    };
    tokio::select! {
        done = work => done,
        () = watch => unreachable!("it has no end"),
    }
}

/// Waits until transfers hold nothing any more.
async fn all_given_back(gateway: &Gateway) {
    within("the budget to be free again", async {
        while gateway.budget_in_use() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!gateway.server.budget().contended());
}

/// A STOR that has sent so many bytes and stops there.
async fn half_an_upload(gateway: &Gateway, path: &str, bytes: usize) -> (Ftp, TcpStream) {
    let mut ftp = gateway.ftp().await;
    let mut data = ftp.data_passive().await;
    ftp.expect(&format!("STOR {path}"), 150).await;
    let bytes = vec![7; bytes];
    within("the gateway to take it", data.write_all(&bytes))
        .await
        .unwrap();
    (ftp, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uploads_at_once_share_64_mib_and_all_end() {
    let gateway = Gateway::builder()
        .with("[memory]\nbudget = \"64MiB\"")
        // All of them log in at once, from one address.
        .with("[limits]\nsessions_before_login_per_address = 200")
        .start()
        .await;
    let clients = join_all((0..200).map(|_| gateway.ftp())).await;
    let uploads = join_all(
        clients
            .into_iter()
            .enumerate()
            .map(async |(number, mut ftp)| {
                // Enough to need a part's memory each; every 40th needs several parts.
                let size = if number % 40 == 0 {
                    11 * MIB + number
                } else {
                    200_000 + number
                };
                let bytes = pattern(size, number as u64);
                let path = format!("f{number}");
                let reply = ftp.store(&path, &bytes).await;
                assert_eq!(reply.code, 226, "{path}: {reply:?}");
                assert!(
                    gateway.store.object(BUCKET, &path) == Some(bytes),
                    "{path} is not what was sent"
                );
            }),
    );
    within_the_budget(&gateway, uploads).await;
    all_given_back(&gateway).await;
    crate::support::transfers::settled(&gateway).await;
    assert_eq!(gateway.store.keys(BUCKET).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_downloads_share_it() {
    let gateway = smallest().start().await;
    let large = pattern(7 * MIB + 1, 1);
    gateway.store.put(BUCKET, "large", &large);
    let both = join_all((0..16).map(async |number: usize| {
        let mut ftp = gateway.ftp().await;
        let path = format!("f{number}");
        if number.is_multiple_of(2) {
            let reply = ftp.store(&path, &large).await;
            assert_eq!(reply.code, 226, "{path}: {reply:?}");
        } else {
            let (bytes, reply) = ftp.retrieve("large").await;
            assert_eq!(reply.code, 226, "{reply:?}");
            assert!(bytes == large, "{number} got something else");
        }
    }));
    within_the_budget(&gateway, both).await;
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_nobody_reads_hold_their_window_and_no_more() {
    let gateway = smallest().start().await;
    gateway.store.put(BUCKET, "large", pattern(30 * MIB, 1));
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut ftp = gateway.ftp().await;
        let data = narrow_data(&mut ftp).await;
        ftp.expect("RETR large", 150).await;
        readers.push((ftp, data));
    }
    // Eight times 30 MiB are wanted, and 20 are there: what is read is bounded by what is held.
    let another = async {
        let mut ftp = gateway.ftp().await;
        for number in 0..50 {
            let line = format!("MDTM large-{number}");
            ftp.expect(&line, 550).await;
        }
    };
    within_the_budget(&gateway, another).await;
    for (ftp, data) in readers {
        reset_stream(data);
        ftp.reset();
    }
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_no_share_is_refused_before_the_150_and_gets_it_later() {
    let gateway = smallest()
        .with("[timeouts]\ndata_connect = \"3s\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "there", "12345");
    // Of 20 MiB 2 are set aside for passwords, 5 are reserved, 5 are for a part, and the rest is for first memory: 64 times
    // 128 KiB.
    let mut holders =
        join_all((0..64).map(async |number: usize| {
            half_an_upload(&gateway, &format!("held{number}"), 1).await
        }))
        .await;
    let mut ftp = gateway.ftp().await;
    gateway.store.reset_counts();
    for command in ["STOR late", "APPE late", "RETR there"] {
        let _data = ftp.data_passive().await;
        let reply = ftp.expect(command, 450).await;
        assert!(reply.text().contains("memory"), "{reply:?}");
        ftp.in_step().await;
    }
    let asked = gateway.store.operations();
    assert!(
        !asked.iter().any(|o| o == "GetObject" || o == "PutObject"),
        "{asked:?}"
    );
    // One of them ends, and the next gets its place.
    let (mut first, mut data) = holders.pop().unwrap();
    data.shutdown().await.unwrap();
    first.expect_reply(226).await;
    assert_eq!(ftp.store("late", b"at last").await.code, 226);
    let (bytes, reply) = ftp.retrieve("there").await;
    assert_eq!((&bytes[..], reply.code), (&b"12345"[..], 226));
    for (ftp, data) in holders {
        reset_stream(data);
        ftp.reset();
    }
    all_given_back(&gateway).await;
    let mut keys = gateway.store.keys(BUCKET);
    keys.retain(|key| !key.starts_with(".s3ftpd/"));
    assert_eq!(
        keys,
        ["held63", "late", "there"],
        "what broke off was not published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_its_share_gets_it_as_soon_as_there_is_one() {
    let gateway = smallest().start().await;
    // Of 20 MiB a part's 5 are reserved, and 2.5 are left for admissions.
    let mut holders = join_all((0..2).map(async |number: usize| {
        half_an_upload(&gateway, &format!("held{number}"), 300_000).await
    }))
    .await;
    let mut waiting = gateway.ftp().await;
    let bytes = pattern(6 * MIB, 2);
    let upload = waiting.store("waits", &bytes);
    let end_one = async {
        within("somebody to wait for memory", async {
            while !gateway.server.budget().contended() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let (mut ftp, mut data) = holders.pop().unwrap();
        data.shutdown().await.unwrap();
        ftp.expect_reply(226).await;
    };
    let (reply, ()) = within_the_budget(&gateway, async { tokio::join!(upload, end_one) }).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    for (mut ftp, mut data) in holders {
        data.shutdown().await.unwrap();
        ftp.expect_reply(226).await;
    }
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_on_a_part_others_wait_for_is_cut() {
    // Without others it would be left alone for a minute. What it has sent can't be stored meanwhile.
    let gateway = smallest().start().await;
    let rule = gateway.store.fail("PutObject").key(".s3ftpd/tails/");
    rule.always().with(Fault::Status(403, "AccessDenied"));
    let mut holders = join_all((0..3).map(async |number: usize| {
        half_an_upload(&gateway, &format!("stalls{number}"), 300_000).await
    }))
    .await;
    let mut ftp = gateway.ftp().await;
    let reply = ftp.store("goes on", &pattern(300_000, 2)).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    let mut cut = 0;
    for (ftp, data) in &mut holders {
        data.shutdown().await.unwrap();
        let reply = ftp.reply().await;
        match reply.code {
            426 => cut += 1,
            // Cut was who was needed, and nobody else waits now.
            226 => {}
            _ => panic!("{reply:?}"),
        }
    }
    assert!(cut > 0, "nobody was cut, but somebody got through");
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_transfers_and_listings_wait_for_no_upload_however_slow() {
    let gateway = smallest()
        .with("[timeouts]\ndata_connect = \"3s\"")
        .start()
        .await;
    // They hold all memory of parts, and some wait for more.
    let holders = join_all((0..9).map(async |number: usize| {
        half_an_upload(&gateway, &format!("held{number}"), 300_000).await
    }))
    .await;
    within("an upload to wait for memory", async {
        while !gateway.server.budget().contended() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let bytes = pattern(20_000, 1);
    let mut ftp = gateway.ftp().await;
    for number in 0..20 {
        let path = format!("small{number}");
        let reply = ftp.store(&path, &bytes).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        let (got, reply) = ftp.retrieve(&path).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(got == bytes);
        let (_, reply) = ftp.list("LIST").await;
        assert_eq!(reply.code, 226, "{reply:?}");
    }
    for (ftp, data) in holders {
        reset_stream(data);
        ftp.reset();
    }
    all_given_back(&gateway).await;
}

/// A gateway with a user `argon` whose password's hash is what `s3ftpd hash-password` makes.
async fn with_argon2id(budget: &str) -> Gateway {
    let hash = s3ftpd::auth::hash_password(&"argon".into()).unwrap();
    let user = format!("[users.argon]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}");
    Gateway::builder()
        .with(&format!("[memory]\nbudget = \"{budget}\"\n{user}"))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_waits_for_no_upload_however_slow() {
    let gateway = with_argon2id("64MiB").await;
    // Of 5 MiB each, and 45 MiB are there: the last one waits for its part.
    let mut begun = Vec::new();
    for number in 0..9 {
        let mut ftp = gateway.ftp().await;
        let data = ftp.data_passive().await;
        ftp.expect(&format!("STOR held{number}"), 150).await;
        begun.push((ftp, data));
    }
    let mut holders = Vec::new();
    for (ftp, mut data) in begun {
        let trickle = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_secs(1));
            let mut piece = vec![7; 300_000];
            // A client that never stalls; it ends where it is cut.
            while data.write_all(&piece).await.is_ok() {
                piece.truncate(1);
                pace.tick().await;
            }
        });
        holders.push((ftp, trickle));
    }
    within("all memory to be held", async {
        while !gateway.server.budget().contended() && gateway.budget_in_use() < 9 * 5 * MIB as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.ftp_as("argon", "argon").await.in_step().await;
    gateway.ftp().await.in_step().await;
    for (ftp, trickle) in holders {
        trickle.abort();
        let _ = trickle.await;
        ftp.reset();
    }
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_where_a_password_needs_most_of_the_budget() {
    // Of which it can't be set aside, and of which little else is left.
    for budget in ["20MiB", "38MiB"] {
        let gateway = with_argon2id(budget).await;
        for number in 0..3 {
            let mut ftp = gateway.ftp_as("argon", "argon").await;
            let path = format!("f{number}");
            let bytes = pattern(11 * MIB, number);
            let reply = within_the_budget(&gateway, ftp.store(&path, &bytes)).await;
            assert_eq!(reply.code, 226, "{budget}: {reply:?}");
            assert!(gateway.store.object(BUCKET, &path) == Some(bytes));
        }
        all_given_back(&gateway).await;
    }
}

/// Their bytes are kept, and with them their memory: the upload that waits for more of it must hear that they have failed.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_wait_for_the_memory_of_its_own_failed_parts() {
    let gateway = smallest().with("[stores.main]\nattempts = 1").start().await;
    let rule = gateway.store.fail("UploadPart").always();
    let rule = rule.with(Fault::Status(503, "SlowDown"));
    let mut ftp = gateway.ftp().await;
    let bytes = pattern(40 * MIB, 1);
    let reply = within_the_budget(&gateway, ftp.store("x", &bytes)).await;
    assert_eq!(reply.code, 451, "{reply:?}");
    assert!(reply.text().contains("store"), "{reply:?}");
    rule.remove();
    ftp.close().await;
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_gives_back_what_was_held() {
    let gateway = smallest()
        .with("[timeouts]\ndata_connect = \"1s\"\ndata_stall = \"3s\"\n[stores.main]\nattempts = 1")
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, "f", pattern(3 * MIB, 1));
    let large = pattern(11 * MIB, 2);

    for (operation, command, code) in [
        ("PutObject", "STOR small", 550),
        ("CreateMultipartUpload", "STOR large", 550),
        ("UploadPart", "STOR large", 550),
        ("CompleteMultipartUpload", "STOR large", 550),
        ("GetObject", "RETR f", 550),
        ("HeadObject", "APPE f", 550),
        ("GetObject", "APPE f", 550),
    ] {
        let rule = store
            .fail(operation)
            .with(Fault::Status(403, "AccessDenied"));
        let mut ftp = gateway.ftp().await;
        let bytes = if command.ends_with("large") {
            &large[..]
        } else {
            b"1"
        };
        let reply = ftp.upload_with(command, bytes, Mode::Passive).await;
        assert_eq!(reply.code, code, "{operation}, {command}: {reply:?}");
        rule.hit().await;
        all_given_back(&gateway).await;
    }

    // A body that breaks off for good.
    let rule = store.fail("GetObject").always().with(Fault::CutBody(0));
    let mut ftp = gateway.ftp().await;
    let (_, reply) = ftp.retrieve("f").await;
    assert!(reply.code == 451 || reply.code == 426, "{reply:?}");
    rule.remove();
    all_given_back(&gateway).await;

    // No data connection.
    ftp.epsv().await;
    ftp.expect("STOR none", 425).await;
    ftp.epsv().await;
    ftp.expect("RETR f", 425).await;
    all_given_back(&gateway).await;
    ftp.expect("RETR none", 425).await;

    for how in ["ABOR", "data reset", "control reset", "stall"] {
        let (mut ftp, data) = half_an_upload(&gateway, "half", 6 * MIB).await;
        match how {
            "ABOR" => {
                ftp.expect("ABOR", 426).await;
                ftp.expect_reply(226).await;
            }
            "data reset" => {
                reset_stream(data);
                ftp.expect_reply(426).await;
            }
            "control reset" => ftp.reset(),
            _ => {
                ftp.expect_reply(426).await;
            }
        }
        all_given_back(&gateway).await;
    }
    for how in ["ABOR", "data reset", "control reset", "stall"] {
        let mut ftp = gateway.ftp().await;
        let data = narrow_data(&mut ftp).await;
        ftp.expect("RETR f", 150).await;
        match how {
            "ABOR" => {
                ftp.expect("ABOR", 426).await;
                ftp.expect_reply(226).await;
            }
            "data reset" => {
                reset_stream(data);
                ftp.expect_reply(426).await;
            }
            "control reset" => ftp.reset(),
            _ => {
                ftp.expect_reply(426).await;
            }
        }
        all_given_back(&gateway).await;
    }
    store.no_uploads_left().await;
    assert_eq!(store.keys(BUCKET), ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_size_keeps_for_a_download_is_counted_and_not_kept_for_long() {
    let gateway = smallest().start().await;
    gateway.store.put(BUCKET, "f", "12345");
    let mut ftp = gateway.ftp().await;
    for held in [0, 64 * 1024] {
        ftp.expect("SIZE f", 213).await;
        assert_eq!(gateway.budget_in_use(), held);
        let (_, reply) = ftp.retrieve("f").await;
        assert_eq!(reply.code, 226);
        all_given_back(&gateway).await;
    }
    // A client that asks for no more keeps it for seconds; and one that leaves not at all.
    for leaves in [false, true] {
        let mut ftp = gateway.ftp().await;
        for _ in 0..2 {
            ftp.expect("SIZE f", 213).await;
            let (_, reply) = ftp.retrieve("f").await;
            assert_eq!(reply.code, 226);
        }
        ftp.expect("SIZE f", 213).await;
        assert!(gateway.budget_in_use() > 0);
        if leaves {
            ftp.reset();
        } else {
            all_given_back(&gateway).await;
            ftp.in_step().await;
        }
        all_given_back(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_at_most_three_pages_ahead_of_its_reader() {
    const PAGES: usize = 12;
    // What the kernel takes on the way, as many as its largest send buffer holds (4 MiB).
    const KERNEL: usize = 5;
    let gateway = Gateway::start().await;
    let name = "n".repeat(900);
    for number in 0..PAGES * 1000 {
        gateway
            .store
            .put(BUCKET, &format!("d/{number:05}{name}"), "");
    }
    let mut slow = gateway.ftp().await;
    let mut data = narrow_data(&mut slow).await;
    slow.expect("NLST d", 150).await;
    let mut first = [0; 1000];
    within("the first name", data.read_exact(&mut first))
        .await
        .unwrap();
    // As long as another client needs for all pages, one after another.
    let mut quick = gateway.ftp().await;
    let (text, reply) = quick.list("NLST d").await;
    assert_eq!((text.lines().count(), reply.code), (PAGES * 1000, 226));
    let pages = gateway.store.count("ListObjectsV2");
    assert!(
        pages <= PAGES + 3 + KERNEL,
        "{} pages for a client that has read one name",
        pages - PAGES
    );
    let (rest, end) = read_to_end_deadline(&mut data).await;
    end.unwrap();
    slow.expect_reply(226).await;
    let all = [&first[..], &rest].concat();
    assert!(all == text.into_bytes(), "the slow reader got another list");
}
