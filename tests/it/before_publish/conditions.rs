//! The object is written under the conditions of the upload's begin, also if another writer comes
//! while the question is open.

use super::{Asked, SIZES, asked, asking, hold, only, sent};
use test_support::gateway::{BUCKET, Builder};
use test_support::pattern;
use test_support::receiver::{Receiver, allow};

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
async fn two_sessions_that_overwrite_end_as_one_of_the_two_files() {
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
    for ftp in [&mut one, &mut other] {
        ftp.expect_reply(226).await;
    }
    let found = gateway.store.object(BUCKET, "x").unwrap();
    assert!(found == first || found == second);
    only(&gateway, 2, &["x"]).await;
}
