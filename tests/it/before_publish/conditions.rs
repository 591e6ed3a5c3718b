//! The object is written under the conditions of the upload's begin, also if another writer comes
//! while the question is open.

use tokio::io::AsyncWriteExt;

use super::{Asked, SIZES, asked, asking, hold, only, sent};
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::pattern;
use test_support::receiver::{Receiver, allow};
use test_support::transfers::begin;

/// Stores that honour conditions on all writes, on PutObject only, and on none.
fn stores() -> [fn(Builder) -> Builder; 2] {
    [
        |builder| builder,
        |builder| builder.with("[stores.main]\nconditional_writes = false"),
    ]
}

#[tokio::test]
async fn an_object_that_appears_meanwhile_stays() {
    let permissions = "permissions = [\"list\", \"read\", \"write\"]";
    for store in stores() {
        for size in SIZES {
            let whole = pattern(size, 1);
            let Asked {
                gateway,
                receiver: _receiver,
                released,
                mut ftp,
            } = asked(|builder| store(builder).mount(permissions), &whole).await;
            gateway.store.put(BUCKET, "x", "another's");
            released.cancel();
            let reply = ftp.expect_reply(550).await;
            assert!(reply.text().contains("in the meantime"), "{reply:?}");
            assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"another's");
            only(&gateway, 1, &["x"]).await;
        }
    }
}

#[tokio::test]
async fn an_append_to_an_object_that_changes_meanwhile_is_refused() {
    for store in stores() {
        for size in SIZES {
            let receiver = Receiver::start().await;
            let gateway = store(asking(&receiver)).start().await;
            gateway.store.put(BUCKET, "x", pattern(size, 2));
            let released = hold(&receiver, allow());
            let mut ftp = gateway.ftp().await;
            sent(&mut ftp, "APPE x", b" and more").await;
            receiver.called(1).await;
            gateway.store.put(BUCKET, "x", "another's");
            released.cancel();
            ftp.expect_reply(550).await;
            assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"another's");
            only(&gateway, 1, &["x"]).await;
        }
    }
}

#[tokio::test]
async fn an_upload_that_may_overwrite_replaces_what_appears_meanwhile() {
    let whole = pattern(SIZES[2], 1);
    let Asked {
        gateway,
        receiver: _receiver,
        released,
        mut ftp,
    } = asked(|builder| builder, &whole).await;
    gateway.store.put(BUCKET, "x", "another's");
    released.cancel();
    ftp.expect_reply(226).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only(&gateway, 1, &["x"]).await;
}

#[tokio::test]
async fn of_two_sessions_without_overwrite_one_publishes() {
    let permissions = "permissions = [\"list\", \"read\", \"write\"]";
    for store in stores() {
        let receiver = Receiver::start().await;
        let released = hold(&receiver, allow());
        let settings = |builder: Builder| {
            let builder = store(builder).mount(permissions);
            builder.user("v", "p", "{ \"/\" = \"main\" }")
        };
        let gateway = settings(asking(&receiver)).start().await;
        let mut one = gateway.ftp().await;
        let mut other = gateway.ftp_as("v", "p").await;
        let (first, second) = (pattern(SIZES[2], 1), pattern(SIZES[0], 2));
        sent(&mut one, "STOR x", &first).await;
        receiver.called(1).await;
        sent(&mut other, "STOR x", &second).await;
        receiver.called(2).await;
        released.cancel();
        let codes = [one.reply().await.code, other.reply().await.code];
        let found = gateway.store.object(BUCKET, "x").unwrap();
        match codes {
            [226, 550] => assert!(found == first),
            [550, 226] => assert!(found == second),
            codes => panic!("{codes:?}"),
        }
        only(&gateway, 2, &["x"]).await;
    }
}

#[tokio::test]
async fn of_two_sessions_that_overwrite_the_later_upload_stays() {
    let receiver = Receiver::start().await;
    let released = hold(&receiver, allow());
    let gateway = asking(&receiver).start().await;
    let mut one = gateway.ftp().await;
    let mut other = gateway.ftp().await;
    let (first, second) = (pattern(SIZES[0], 1), pattern(SIZES[2], 2));
    sent(&mut one, "STOR x", &first).await;
    receiver.called(1).await;
    sent(&mut other, "STOR x", &second).await;
    receiver.called(2).await;
    released.cancel();
    // The first to get the lock of the name is either.
    let code = one.reply().await.code;
    assert!([226, 451].contains(&code), "{code}");
    other.expect_reply(226).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == second);
    only(&gateway, 2, &["x"]).await;
}

/// Sends `x` and, while its question is open, lets another session put another object there.
async fn superseded(store: fn(Builder) -> Builder, size: usize, later: impl AsyncFn(&Asked)) {
    let mut asked = asked(store, &pattern(size, 1)).await;
    asked.receiver.react(allow());
    later(&asked).await;
    let expected = asked.gateway.store.object(BUCKET, "x").unwrap();
    asked.released.cancel();
    let reply = asked.ftp.expect_reply(451).await;
    assert!(reply.text().contains("has replaced this one"), "{reply:?}");
    assert!(asked.gateway.store.object(BUCKET, "x").unwrap() == expected);
    only(&asked.gateway, 1, &["x"]).await;
}

/// A client whose session was lost sends its file again, and has the answer.
#[tokio::test]
async fn a_file_that_was_sent_again_is_not_replaced_by_the_earlier_upload() {
    for store in stores() {
        for size in SIZES {
            for again in [0, SIZES[0], SIZES[2]] {
                let stored = |asked: &Asked| asked.gateway.store.object(BUCKET, "x").unwrap();
                superseded(store, size, async |asked| {
                    let mut ftp = asked.gateway.ftp().await;
                    let whole = pattern(again, 2);
                    assert_eq!(ftp.store("x", &whole).await.code, 226);
                    assert!(stored(asked) == whole);
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn nor_are_one_sent_to_another_process_one_appended_to_and_one_moved_there() {
    let whole = pattern(SIZES[0], 2);
    superseded(
        |builder| builder,
        SIZES[0],
        async |asked| {
            let other = Gateway::builder().on(&asked.gateway.store).start().await;
            let mut ftp = other.ftp().await;
            assert_eq!(ftp.store("x", &whole).await.code, 226);
        },
    )
    .await;
    superseded(
        |builder| builder,
        SIZES[2],
        async |asked| {
            asked.gateway.store.put(BUCKET, "x", "old");
            let mut ftp = asked.gateway.ftp().await;
            let reply = ftp.upload_with("APPE x", &whole, Mode::Passive).await;
            assert_eq!(reply.code, 226);
        },
    )
    .await;
    superseded(
        |builder| builder,
        SIZES[2],
        async |asked| {
            let mut ftp = asked.gateway.ftp().await;
            assert_eq!(ftp.store("y", &whole).await.code, 226);
            ftp.expect("RNFR y", 350).await;
            ftp.expect("RNTO x", 250).await;
        },
    )
    .await;
}

/// It had begun before the bytes of the other ended: the last to end stays, as without a check.
#[tokio::test]
async fn an_upload_that_ends_after_another_that_ran_beside_it_replaces_that() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver).start().await;
    let mut one = gateway.ftp().await;
    let mut other = gateway.ftp().await;
    let whole = pattern(SIZES[0], 1);
    let mut data = begin(&mut one, "STOR x", Mode::Passive).await;
    data.write_all(&whole).await.unwrap();
    assert_eq!(other.store("x", b"another's").await.code, 226);
    data.shutdown().await.unwrap();
    one.expect_reply(226).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only(&gateway, 2, &["x"]).await;
}
