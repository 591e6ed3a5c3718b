//! A URL that gives no answer: `on_failure` decides.

use super::{SIZES, asking, only, staged, visible};
use s3ftpd::events::Kind;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Builder};
use test_support::pattern;
use test_support::receiver::{Reaction, Receiver, allow};
use test_support::transfers::{settled, size};

/// Each way not to answer, apart from a receiver that is down.
fn no_answers() -> Vec<Reaction> {
    let answer = |status, body: &str| Reaction::Answer(status, body.to_owned());
    vec![
        answer(500, "{\"allow\": true}"),
        answer(404, "{\"allow\": true}"),
        answer(204, ""),
        answer(302, "{\"allow\": true}"),
        answer(200, ""),
        answer(200, "allow"),
        answer(200, "{\"allowed\": true}"),
        answer(200, "{\"allow\": \"true\"}"),
        answer(
            200,
            &format!(
                "{{\"allow\": true, \"reason\": \"{}\"}}",
                "x".repeat(70_000)
            ),
        ),
        Reaction::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        Reaction::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"allow\": ".to_vec()),
        Reaction::Trickle,
        Reaction::Silence,
        Reaction::Reset,
    ]
}

fn soon(builder: Builder) -> Builder {
    builder.with("[before_publish]\ntimeout = \"300ms\"")
}

#[tokio::test]
async fn closed_keeps_the_upload_and_asks_again_when_it_is_resumed() {
    for (number, reaction) in no_answers().into_iter().enumerate() {
        let receiver = Receiver::start().await;
        let gateway = soon(asking(&receiver)).start().await;
        receiver.react(reaction.clone());
        let whole = pattern(SIZES[number % SIZES.len()], 1);
        let mut ftp = gateway.ftp().await;
        let reply = ftp.store("x", &whole).await;
        assert_eq!(reply.code, 451, "{reaction:?}: {reply:?}");
        let text = reply.text();
        assert!(
            text.contains("could not be checked") && text.contains("saved"),
            "{text}"
        );
        assert_eq!(receiver.calls().len(), 1, "{reaction:?}");
        assert_eq!(visible(&gateway.store), Vec::<String>::new());
        receiver.react(allow());
        // A client that resumes sends one byte; another sends all again.
        if number % 2 == 0 {
            let from = size(&mut ftp, "x").await;
            assert_eq!(from, whole.len() - 1);
            ftp.expect(&format!("REST {from}"), 350).await;
            let reply = ftp
                .upload_with("STOR x", &whole[from..], Mode::Passive)
                .await;
            assert_eq!(reply.code, 226, "{}", ftp.transcript());
        } else {
            assert_eq!(ftp.store("x", &whole).await.code, 226);
        }
        let calls = receiver.calls();
        assert_eq!(calls.len(), 2);
        assert!(
            gateway.store.object(BUCKET, "x").unwrap() == whole,
            "{reaction:?}"
        );
        only(&gateway, 1, &["x"]).await;
    }
}

#[tokio::test]
async fn a_receiver_that_is_down_and_back_again() {
    let receiver = Receiver::start().await;
    let gateway = soon(asking(&receiver)).start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("before", b"x").await.code, 226);
    receiver.down().await;
    assert_eq!(ftp.store("x", b"meanwhile").await.code, 451);
    receiver.up();
    assert_eq!(ftp.store("x", b"after").await.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"after");
    only(&gateway, 1, &["before", "x"]).await;
}

#[tokio::test]
async fn open_publishes_without_an_answer() {
    for reaction in no_answers() {
        let receiver = Receiver::start().await;
        let gateway = soon(asking(&receiver)).with("[before_publish]\non_failure = \"open\"");
        let gateway = gateway.start().await;
        receiver.react(reaction.clone());
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("x", b"x").await.code, 226, "{reaction:?}");
        assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"x");
        let event = gateway.events.wait_for(Kind::Transfer).await;
        let detail = event.detail.as_deref().unwrap_or_default();
        assert!(detail.starts_with("published unchecked: "), "{event:?}");
        only(&gateway, 1, &["x"]).await;
    }
}

#[tokio::test]
async fn what_cannot_be_resumed_is_removed() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Answer(503, String::new()));
    let gateway = asking(&receiver)
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    for bytes in [pattern(SIZES[0], 1), pattern(SIZES[2], 1), Vec::new()] {
        let reply = ftp.store("x", &bytes).await;
        assert_eq!(reply.code, 451);
        assert!(reply.text().contains("send it again"), "{reply:?}");
        only(&gateway, 1, &[]).await;
    }
}

#[tokio::test]
async fn an_empty_file_leaves_nothing() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Answer(503, String::new()));
    let gateway = asking(&receiver).start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x", b"").await.code, 451);
    only(&gateway, 1, &[]).await;
    receiver.react(allow());
    assert_eq!(ftp.store("x", b"").await.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"");
}

#[tokio::test]
async fn an_upload_that_is_resumed_and_not_answered_again_stays_whole() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Answer(503, String::new()));
    let gateway = asking(&receiver).start().await;
    let mut ftp = gateway.ftp().await;
    for length in SIZES {
        let whole = pattern(length, 1);
        assert_eq!(ftp.store("x", &whole).await.code, 451);
        for _ in 0..2 {
            let from = size(&mut ftp, "x").await;
            assert_eq!(from, length - 1);
            ftp.expect(&format!("REST {from}"), 350).await;
            let reply = ftp
                .upload_with("STOR x", &whole[from..], Mode::Passive)
                .await;
            assert_eq!(reply.code, 451, "{}", ftp.transcript());
        }
        settled(&gateway).await;
        // One staged file and one record.
        let keys = gateway.store.keys(BUCKET);
        assert_eq!(keys.len(), 2, "{keys:?}");
        assert!(staged(&gateway.store, receiver.calls().last().unwrap()) == whole);
        assert!(gateway.store.open_uploads().is_empty());
        let from = size(&mut ftp, "x").await;
        receiver.react(allow());
        ftp.expect(&format!("REST {from}"), 350).await;
        let reply = ftp
            .upload_with("STOR x", &whole[from..], Mode::Passive)
            .await;
        assert_eq!(reply.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        ftp.expect("DELE x", 250).await;
        only(&gateway, 1, &[]).await;
        receiver.react(Reaction::Answer(503, String::new()));
    }
}
