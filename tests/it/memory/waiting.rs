//! Transfers and logins that wait for memory, and transfers that do not.

use std::time::Duration;

use futures::future::join_all;
use tokio::io::AsyncWriteExt;

use super::{all_given_back, half_an_upload, smallest, within_the_budget};
use test_support::faults::Fault;
use test_support::ftp::reset_stream;
use test_support::gateway::{BUCKET, Gateway};
use test_support::{MIB, pattern, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_without_memory_is_refused_before_the_150() {
    let gateway = smallest()
        .with("[timeouts]\ndata_connect = \"3s\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "there", "12345");
    // Of 20 MiB 2 are set aside for passwords, 5 are reserved, 5 are for a part, and the rest is
    // for first memory: 64 times 128 KiB.
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
    // The others are slow enough by now to store what they have sent, under other keys.
    let mut requests = gateway.store.requests();
    requests.retain(|request| ["late", "there"].contains(&request.key.as_str()));
    let moves_bytes = |operation: &str| operation == "GetObject" || operation == "PutObject";
    assert!(
        !requests.iter().any(|it| moves_bytes(&it.operation)),
        "{requests:?}"
    );
    // One of them ends, and the next one gets its memory.
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
async fn a_waiting_client_gets_memory_as_soon_as_it_is_free() {
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
        within("a transfer that waits for memory", async {
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
    // Without other transfers it could stall for a minute. What it has sent cannot be stored in the
    // meantime.
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
            // The transfer that was cut had the memory that was needed, and no other waits now.
            226 => {}
            _ => panic!("{reply:?}"),
        }
    }
    assert!(cut > 0, "a transfer got memory, and none was cut");
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_transfers_and_listings_do_not_wait_for_slow_uploads() {
    let gateway = smallest()
        .with("[timeouts]\ndata_connect = \"3s\"")
        .start()
        .await;
    // They hold all memory for parts, and some wait for more.
    let holders = join_all((0..9).map(async |number: usize| {
        half_an_upload(&gateway, &format!("held{number}"), 300_000).await
    }))
    .await;
    within("an upload waits for memory", async {
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

/// A gateway with a user `argon`, whose password hash is one of `s3ftpd hash-password`.
async fn with_argon2id(budget: &str) -> Gateway {
    let hash = s3ftpd::auth::hash_password(&"argon".into()).unwrap();
    let user = format!("[users.argon]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}");
    Gateway::builder()
        .with(&format!("[memory]\nbudget = \"{budget}\"\n{user}"))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_does_not_wait_for_slow_uploads() {
    let gateway = with_argon2id("64MiB").await;
    // They need 5 MiB each, and 45 MiB exist: the last one waits for its part.
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
            // A client that never stalls, and ends when it is cut.
            while data.write_all(&piece).await.is_ok() {
                piece.truncate(1);
                pace.tick().await;
            }
        });
        holders.push((ftp, trickle));
    }
    within("all memory is held", async {
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
async fn uploads_work_if_a_password_check_needs_most_of_the_budget() {
    // Memory for the password cannot be set aside, and little else is left.
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
