//! What is asked, and what a yes and a no lead to.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{SIZES, asked, asking, only, sent, staged, visible};
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::receiver::{Receiver, allow, refuse};

/// Split, so that no scanner takes this file for one that is infected.
const EICAR: [&str; 2] = [
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-",
    "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*",
];

/// A receiver that reads the staged file from the store and refuses EICAR.
async fn scanner() -> (Arc<Receiver>, Gateway) {
    let receiver = Arc::new(Receiver::start().await);
    let gateway = asking(&receiver).start().await;
    let store = Arc::clone(&gateway.store);
    receiver.react_by(move |call| {
        let found = staged(&store, &call);
        let eicar = EICAR.concat();
        let infected = found
            .windows(eicar.len())
            .any(|window| window == eicar.as_bytes());
        let reaction = match infected {
            true => refuse("Eicar-Test-Signature\r\n226 Stored"),
            false => allow(),
        };
        std::future::ready(reaction)
    });
    (receiver, gateway)
}

#[tokio::test]
async fn a_scanner_refuses_eicar_and_nothing_of_it_is_ever_visible() {
    for old in [None, Some("the old one")] {
        for size in SIZES {
            let (receiver, gateway) = scanner().await;
            if let Some(old) = old {
                gateway.store.put_before(BUCKET, "x", old);
            }
            let mut ftp = gateway.ftp().await;
            let infected = [pattern(size, 1), EICAR.concat().into_bytes()].concat();
            let reply = ftp.store("x", &infected).await;
            assert_eq!(reply.code, 550, "{reply:?}");
            let text = reply.text();
            assert!(
                text.contains("/x: refused") && text.contains("Eicar-Test-Signature 226 Stored"),
                "{text}"
            );
            ftp.in_step().await;
            let found = gateway.store.object(BUCKET, "x");
            assert_eq!(found.as_deref(), old.map(str::as_bytes));
            // Nothing can be resumed.
            match old {
                Some(old) => assert_eq!(
                    ftp.expect("SIZE x", 213).await.text(),
                    old.len().to_string()
                ),
                None => drop(ftp.expect("SIZE x", 550).await),
            }
            let keys: &[&str] = if old.is_some() { &["x"] } else { &[] };
            only(&gateway, 1, keys).await;
            let clean = pattern(size, 2);
            assert_eq!(ftp.store("x", &clean).await.code, 226);
            assert!(gateway.store.object(BUCKET, "x").unwrap() == clean);
            only(&gateway, 1, &["x"]).await;
            assert_eq!(receiver.calls().len(), 2);
        }
    }
}

#[tokio::test]
async fn the_question_names_the_upload_and_is_signed() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver)
        .with("[before_publish]\nsecret = \"the secret\"")
        .mount("prefix = \"in/\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("a b.csv", b"12345").await.code, 226);
    let calls = receiver.calls();
    let [call] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(call.line, "POST /hook HTTP/1.1");
    assert_eq!(call.headers["content-type"], "application/json");
    let question = call.json();
    assert_eq!(question["user"], "u");
    assert_eq!(question["path"], "/a b.csv");
    assert_eq!(question["size"], 5);
    assert_eq!(question["store"], "main");
    assert_eq!(question["bucket"], BUCKET);
    assert_eq!(question["peer"], "127.0.0.1");
    let transfer = question["transfer"].as_str().unwrap();
    let written = gateway.store.metadata(BUCKET, "in/a b.csv").unwrap();
    assert_eq!(written["s3ftpd-transfer"], transfer);
    let id = &call.headers["webhook-id"];
    assert!(
        id.starts_with(transfer) && id.len() > transfer.len(),
        "{id}"
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(b"the secret").unwrap();
    mac.update(format!("{id}.{}.", call.headers["webhook-timestamp"]).as_bytes());
    mac.update(&call.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(call.headers["webhook-signature"], expected);
}

#[tokio::test]
async fn nothing_is_visible_and_no_memory_is_held_while_the_question_is_open() {
    for size in SIZES {
        let whole = pattern(size, 1);
        let mut asked = asked(|builder| builder, &whole).await;
        let store = &asked.gateway.store;
        assert_eq!(staged(store, &asked.receiver.calls()[0]), whole);
        assert_eq!(visible(store), Vec::<String>::new());
        assert_eq!(asked.gateway.budget_in_use(), 0);
        let mut other = asked.gateway.ftp_as("u", "p").await;
        assert_eq!(other.list("NLST").await.0, "");
        let status = asked.ftp.expect("STAT", 211).await;
        assert!(
            status
                .lines
                .iter()
                .any(|line| line.contains("being checked")),
            "{status:?}"
        );
        asked.released.cancel();
        asked.ftp.expect_reply(226).await;
        assert!(store.object(BUCKET, "x").unwrap() == whole);
        drop(other);
        only(&asked.gateway, 1, &["x"]).await;
    }
}

/// The requests of a checked upload of up to one part.
const CHECKED: &[&str] = &["PutObject", "HeadObject", "CopyObject", "DeleteObject"];

#[tokio::test]
async fn the_requests_are_those_that_the_documentation_counts() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver).start().await;
    let mut ftp = gateway.ftp().await;
    for (size, requests) in [(0, CHECKED), (SIZES[0], CHECKED)] {
        gateway.store.reset_counts();
        assert_eq!(ftp.store("x", &pattern(size, 3)).await.code, 226);
        only(&gateway, 1, &["x"]).await;
        assert_eq!(gateway.store.operations(), requests);
    }
}

#[tokio::test]
async fn an_object_is_the_same_with_and_without_a_check() {
    for size in [0, SIZES[0], SIZES[1], SIZES[1] + 1, SIZES[2]] {
        let receiver = Receiver::start().await;
        let settings = "times = \"metadata\"";
        let with = asking(&receiver).mount(settings).start().await;
        let without = Gateway::builder().mount(settings).start().await;
        let whole = pattern(size, 4);
        let mut heads = Vec::new();
        for gateway in [&with, &without] {
            let mut ftp = gateway.ftp().await;
            assert_eq!(ftp.store("x.txt", &whole).await.code, 226);
            assert_eq!(
                ftp.upload_with("APPE x.txt", b" and more", Mode::Passive)
                    .await
                    .code,
                226
            );
            let head = gateway
                .store
                .client()
                .head_object()
                .bucket(BUCKET)
                .key("x.txt");
            let mut head = head.send().await.unwrap();
            let metadata = head.metadata.as_mut().unwrap();
            assert!(metadata.remove("s3ftpd-transfer").is_some());
            heads.push((head.metadata, head.content_type, head.content_length));
            assert!(
                gateway.store.object(BUCKET, "x.txt").unwrap()
                    == [&whole[..], b" and more"].concat()
            );
        }
        assert_eq!(heads[0], heads[1]);
        assert_eq!(receiver.calls().len(), 2);
    }
}

#[tokio::test]
async fn each_kind_of_upload_asks_once_and_a_rename_does_not() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver).start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("a", b"one").await.code, 226);
    assert_eq!(
        ftp.upload_with("APPE a", b" two", Mode::Passive).await.code,
        226
    );
    assert_eq!(
        ftp.upload_with("APPE new", b"three", Mode::Passive)
            .await
            .code,
        226
    );
    assert_eq!(
        ftp.upload_with("STOU", b"four", Mode::Passive).await.code,
        226
    );
    ftp.expect("REST 3", 350).await;
    let reply = ftp.upload_with("STOR a", b" 2", Mode::Passive).await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert_eq!(gateway.store.object(BUCKET, "a").unwrap(), b"one 2");
    assert_eq!(gateway.store.object(BUCKET, "new").unwrap(), b"three");
    assert_eq!(receiver.calls().len(), 5);
    ftp.expect("RNFR a", 350).await;
    ftp.expect("RNTO b", 250).await;
    assert_eq!(receiver.calls().len(), 5);
    sent(&mut ftp, "STOR c", b"").await;
    ftp.expect_reply(226).await;
    assert_eq!(receiver.calls()[5].json()["size"], 0);
}
