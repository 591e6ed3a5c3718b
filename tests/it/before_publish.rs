//! `[before_publish]`: an upload lies whole at a staged key, and its URL is asked, before anything
//! of it becomes visible.

mod conditions;
mod endings;
mod leftovers;
mod no_answer;
mod page;
mod store_failures;
mod verdicts;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::receiver::{Call, Reaction, Receiver, allow};
use test_support::store::Store;
use test_support::transfers::{begin, nothing_left};
use test_support::{MIB, within};

/// Less than a part, exactly one (the tests' parts have 5 MiB), and three.
const SIZES: [usize; 3] = [70_000, 5 * MIB, 12 * MIB];

/// A gateway that asks this receiver.
fn asking(receiver: &Receiver) -> Builder {
    let url = receiver.url();
    Gateway::builder().with(&format!("[before_publish]\nurl = \"{url}\""))
}

/// The bytes that a call asks about, read from the store as a scanner does.
fn staged(store: &Store, call: &Call) -> Vec<u8> {
    let question = call.json();
    let text = |name: &str| question[name].as_str().unwrap().to_owned();
    let key = text("key");
    assert!(key.starts_with(".s3ftpd/"), "{key}");
    store
        .object(&text("bucket"), &key)
        .expect("the staged file")
}

/// Lets the receiver hold each call until the token is cancelled; then it answers.
fn hold(receiver: &Receiver, reaction: Reaction) -> CancellationToken {
    let released = CancellationToken::new();
    let token = released.clone();
    receiver.react_by(move |_| {
        let (token, reaction) = (token.clone(), reaction.clone());
        async move {
            token.cancelled().await;
            reaction
        }
    });
    released
}

/// The keys that users see.
fn visible(store: &Store) -> Vec<String> {
    let mut keys = store.keys(BUCKET);
    keys.retain(|key| !key.starts_with(".s3ftpd/"));
    keys
}

/// Waits until only these objects are left, and nothing in memory.
async fn only(gateway: &Gateway, sessions: usize, keys: &[&str]) {
    nothing_left(gateway, sessions).await;
    only_objects_of(&gateway.store, keys).await;
}

async fn only_objects_of(store: &Store, keys: &[&str]) {
    store
        .until("only the objects are left", |store| {
            store.keys(BUCKET) == keys
        })
        .await;
}

/// Sends a whole file; the reply is still to come.
async fn sent(ftp: &mut Ftp, command: &str, bytes: &[u8]) {
    let mut data = begin(ftp, command, Mode::Passive).await;
    data.write_all(bytes).await.unwrap();
    data.shutdown().await.unwrap();
}

/// A gateway whose receiver holds the question about an upload of `x`.
struct Asked {
    gateway: Gateway,
    receiver: Arc<Receiver>,
    released: CancellationToken,
    ftp: Ftp,
}

/// Sends `x` and waits until its question has arrived.
async fn asked(configure: impl Fn(Builder) -> Builder, bytes: &[u8]) -> Asked {
    let receiver = Arc::new(Receiver::start().await);
    let released = hold(&receiver, allow());
    let gateway = configure(asking(&receiver)).start().await;
    let mut ftp = gateway.ftp().await;
    sent(&mut ftp, "STOR x", bytes).await;
    within("the question", receiver.called(1)).await;
    Asked {
        gateway,
        receiver,
        released,
        ftp,
    }
}
