//! `[before_publish]` asks about a temporary file when it is renamed, and not when it is sent.

use std::sync::Arc;

use super::{Consumer, PATTERNS, SIZES, rename, temporary, visible};
use s3ftpd::events::Kind;
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::pattern;
use test_support::receiver::{Reaction, Receiver, allow, refuse};

fn asking(receiver: &Receiver, more: &str) -> Builder {
    let url = receiver.url();
    Gateway::builder()
        .mount(PATTERNS)
        .with(&format!("[before_publish]\nurl = \"{url}\"\n{more}"))
}

#[tokio::test]
async fn it_is_asked_once_at_the_rename_and_reads_the_file() {
    for size in SIZES {
        let receiver = Receiver::start().await;
        receiver.react(allow());
        let gateway = asking(&receiver, "").start().await;
        let mut consumer = Consumer::of(&gateway.store);
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(size, 1);
        let stored = ftp.store("in/x.tmp", &bytes).await;
        assert_eq!(stored.code, 226);
        assert_eq!(rename(&mut ftp, "in/x.tmp", "in/y.tmp").await.code, 250);
        assert!(receiver.calls().is_empty());
        let place = temporary(&gateway.store)[0].clone();
        assert_eq!(rename(&mut ftp, "in/y.tmp", "out/x").await.code, 250);
        let calls = receiver.calls();
        assert_eq!(calls.len(), 1);
        let question = calls[0].json();
        assert_eq!(question["path"], "/out/x");
        assert_eq!(question["user"], "u");
        assert_eq!(question["size"], size);
        assert_eq!(question["bucket"], BUCKET);
        assert_eq!(question["key"], place);
        assert_eq!(consumer.saw(), ["files/out/x"]);
        assert!(gateway.store.object(BUCKET, "out/x").unwrap() == bytes);
        assert_eq!(temporary(&gateway.store), [""; 0]);
        // A rename of an ordinary file does not ask.
        assert_eq!(rename(&mut ftp, "out/x", "out/z").await.code, 250);
        assert_eq!(receiver.calls().len(), 1);
        // An upload to an ordinary name does.
        assert_eq!(ftp.store("n", &bytes).await.code, 226);
        assert_eq!(receiver.calls().len(), 2);
    }
}

#[tokio::test]
async fn a_refused_file_is_removed_and_was_never_visible() {
    let receiver = Receiver::start().await;
    receiver.react(refuse("a virus"));
    let gateway = asking(&receiver, "").start().await;
    gateway.store.put_before(BUCKET, "x", "old");
    let mut consumer = Consumer::of(&gateway.store);
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bad").await.code, 226);
    let reply = rename(&mut ftp, "x.tmp", "x").await;
    assert_eq!(reply.code, 550);
    assert!(reply.text().contains("a virus"), "{reply:?}");
    assert_eq!(consumer.saw(), [""; 0]);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
    assert_eq!(temporary(&gateway.store), [""; 0]);
    ftp.expect("RNFR x.tmp", 550).await;
}

#[tokio::test]
async fn without_an_answer_the_file_stays_or_is_published() {
    for closed in [true, false] {
        let receiver = Receiver::start().await;
        receiver.react(Reaction::Answer(500, String::new()));
        let on_failure = match closed {
            true => "on_failure = \"closed\"",
            false => "on_failure = \"open\"",
        };
        let gateway = asking(&receiver, on_failure).start().await;
        let mut consumer = Consumer::of(&gateway.store);
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("x.tmp", b"bytes").await.code, 226);
        let reply = rename(&mut ftp, "x.tmp", "x").await;
        if closed {
            assert_eq!(reply.code, 451, "{reply:?}");
            assert_eq!(consumer.saw(), [""; 0]);
            assert_eq!(temporary(&gateway.store).len(), 1);
            receiver.react(allow());
            assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
        } else {
            assert_eq!(reply.code, 250, "{reply:?}");
            let event = gateway.events.wait_for(Kind::Renamed).await;
            let detail = event.detail.as_deref().unwrap();
            assert!(detail.starts_with("published unchecked"), "{detail}");
        }
        assert_eq!(consumer.saw(), ["files/x"]);
    }
}

/// What the receiver has read is what is published, or nothing is.
#[tokio::test]
async fn a_file_that_is_written_while_it_is_checked_is_not_published() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver, "").start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bad").await.code, 226);
    let address = gateway.address;
    // While the question is open another session sends a good file, and then the bad one once more.
    let read = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&read);
    let store = Arc::clone(&gateway.store);
    receiver.react_by(move |call| {
        let (noted, store) = (Arc::clone(&noted), Arc::clone(&store));
        async move {
            let mut other = test_support::ftp::Ftp::connect(address).await;
            other.login("u", "p").await;
            assert_eq!(other.store("x.tmp", b"good").await.code, 226);
            let key = call.json()["key"].as_str().unwrap().to_owned();
            *noted.lock().unwrap() = store.object(BUCKET, &key).unwrap();
            assert_eq!(other.store("x.tmp", b"bad").await.code, 226);
            allow()
        }
    });
    let reply = rename(&mut ftp, "x.tmp", "x").await;
    assert_eq!(*read.lock().unwrap(), b"good");
    assert_eq!(reply.code, 451, "{reply:?}");
    assert_eq!(visible(&gateway.store), [""; 0]);
}

/// An interrupted upload of a temporary name has no staged key.
#[tokio::test]
async fn an_interrupted_upload_is_resumed_without_a_question() {
    use test_support::transfers::{interrupt, size};
    let receiver = Receiver::start().await;
    receiver.react(allow());
    let gateway = asking(&receiver, "").start().await;
    let bytes = pattern(13 * test_support::MIB, 5);
    interrupt(&gateway, "STOR x.tmp", &bytes[..7 * test_support::MIB]).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let there = size(&mut ftp, "x.tmp").await;
    ftp.expect(&format!("REST {there}"), 350).await;
    assert_eq!(ftp.store("x.tmp", &bytes[there..]).await.code, 226);
    assert!(receiver.calls().is_empty());
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
    assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
    assert_eq!(receiver.calls().len(), 1);
}
