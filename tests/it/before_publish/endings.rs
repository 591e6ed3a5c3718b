//! What ends an upload while its question is open: until the copy each end counts.

use std::sync::Arc;

use super::{Asked, SIZES, asked, asking, only, visible};
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::receiver::Receiver;
use test_support::transfers::{sessions_ended, settled, size};
use test_support::{pattern, within};

/// Resumes an upload of which all bytes are there, and which is asked about again.
async fn resumes(gateway: &Gateway, receiver: &Receiver, whole: &[u8]) {
    let before = receiver.calls().len();
    let mut ftp = gateway.ftp().await;
    let from = size(&mut ftp, "x").await;
    assert_eq!(from, whole.len() - 1);
    ftp.expect(&format!("REST {from}"), 350).await;
    let reply = ftp
        .upload_with("STOR x", &whole[from..], Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    assert_eq!(receiver.calls().len(), before + 1);
    ftp.close().await;
    only(gateway, 0, &["x"]).await;
}

/// Ends an upload while its question is open; then it is resumed, once as it was and once with
/// further bytes.
async fn kept_after(ending: impl AsyncFn(Ftp, &Gateway)) {
    for size in SIZES {
        for more in [0, 3_000_000] {
            let whole = pattern(size + more, 1);
            let Asked {
                gateway,
                receiver,
                released,
                ftp,
            } = asked(|builder| builder, &whole[..size]).await;
            ending(ftp, &gateway).await;
            settled(&gateway).await;
            sessions_ended(&gateway).await;
            assert_eq!(visible(&gateway.store), Vec::<String>::new());
            released.cancel();
            if more == 0 {
                resumes(&gateway, &receiver, &whole).await;
                continue;
            }
            // On another replica.
            let other = asking(&receiver).on(&gateway.store).start().await;
            let mut ftp = other.ftp().await;
            ftp.expect(&format!("REST {}", size - 1), 350).await;
            let rest = &whole[size - 1..];
            let reply = ftp.upload_with("STOR x", rest, Mode::Passive).await;
            assert_eq!(reply.code, 226, "{}", ftp.transcript());
            assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
            ftp.close().await;
            only(&other, 0, &["x"]).await;
        }
    }
}

#[tokio::test]
async fn an_abor() {
    kept_after(async |mut ftp, _| {
        ftp.send("ABOR").await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        ftp.in_step().await;
        ftp.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_reset_of_the_control_connection() {
    kept_after(async |ftp, _| ftp.reset()).await;
}

#[tokio::test]
async fn a_control_connection_closed_without_quit() {
    kept_after(async |ftp, _| ftp.close().await).await;
}

#[tokio::test]
async fn a_quit_after_the_data_does_not_end_it() {
    let whole = pattern(SIZES[0], 1);
    let mut asked = asked(|builder| builder, &whole).await;
    asked.ftp.send("QUIT").await;
    asked.ftp.end_sending().await;
    // The line and the end have been read when another session is served after them.
    let other = asked.gateway.ftp().await;
    asked.released.cancel();
    asked.ftp.expect_reply(226).await;
    asked.ftp.expect_reply(221).await;
    assert!(asked.gateway.store.object(BUCKET, "x").unwrap() == whole);
    drop(other);
}

#[tokio::test]
async fn a_mount_that_ignores_the_loss_of_the_control_connection_publishes() {
    let whole = pattern(SIZES[0], 1);
    let publish = "on_control_loss = \"publish\"";
    let Asked {
        gateway,
        receiver: _receiver,
        released,
        ftp,
    } = asked(|builder| builder.mount(publish), &whole).await;
    ftp.reset();
    released.cancel();
    gateway
        .store
        .until("the object", |store| store.object(BUCKET, "x").is_some())
        .await;
    only(&gateway, 0, &["x"]).await;
}

#[tokio::test]
async fn the_end_of_the_grace_period() {
    for size in SIZES {
        let whole = pattern(size, 1);
        let grace = "[timeouts]\nshutdown_grace = \"50ms\"";
        let Asked {
            gateway,
            receiver,
            released,
            mut ftp,
        } = asked(|builder| builder.with(grace), &whole).await;
        let (store, ()) = within("the server's end", async {
            tokio::join!(gateway.stop(), async {
                let reply = ftp.expect_reply(426).await;
                assert!(reply.text().contains("shutting down"), "{reply:?}");
            })
        })
        .await;
        assert_eq!(visible(&store), Vec::<String>::new());
        released.cancel();
        let next = asking(&receiver).on(&store).start().await;
        resumes(&next, &receiver, &whole).await;
    }
}

#[tokio::test]
async fn another_session_that_resumes_the_upload_ends_it() {
    let whole = pattern(SIZES[0], 1);
    let mut asked = asked(|builder| builder, &whole).await;
    asked.released.cancel();
    let receiver = Arc::clone(&asked.receiver);
    let released = super::hold(&receiver, test_support::receiver::allow());
    asked.ftp.expect_reply(226).await;
    super::sent(&mut asked.ftp, "STOR y", &whole).await;
    receiver.called(2).await;
    let mut other = asked.gateway.ftp().await;
    let from = size(&mut other, "y").await;
    other.expect(&format!("REST {from}"), 350).await;
    super::sent(&mut other, "STOR y", &whole[from..]).await;
    asked.ftp.expect_reply(426).await;
    receiver.called(3).await;
    released.cancel();
    other.expect_reply(226).await;
    assert!(asked.gateway.store.object(BUCKET, "y").unwrap() == whole);
    only(&asked.gateway, 2, &["x", "y"]).await;
}
