//! Temporary names (`temporary` of a mount): a file that only its user sees until it is renamed, and
//! the rename that publishes it as one object event.

mod before_publish;
mod directories;
mod files;
mod interruptions;
mod listings;
mod permissions;
mod publish;
mod requests;
mod sweep;

use std::sync::Arc;

use s3_embedded::Event;
use tokio::sync::broadcast::Receiver;

use test_support::MIB;
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::store::Store;

const PATTERNS: &str = r#"temporary = ["*.tmp", "*.filepart", ".in.*"]"#;

/// Nothing, less than a part, exactly one (the tests' parts have 5 MiB), and three.
const SIZES: [usize; 4] = [0, 70_000, 5 * MIB, 12 * MIB];

/// A gateway whose mount has temporary names.
fn builder() -> Builder {
    Gateway::builder().mount(PATTERNS)
}

/// The keys that consumers of the bucket see.
fn visible(store: &Store) -> Vec<String> {
    visible_in(store, BUCKET)
}

fn visible_in(store: &Store, bucket: &str) -> Vec<String> {
    let mut keys = store.keys(bucket);
    keys.retain(|key| !key.starts_with(".s3ftpd/"));
    keys
}

/// The keys of temporary files.
fn temporary(store: &Store) -> Vec<String> {
    let mut keys = store.keys(BUCKET);
    keys.retain(|key| key.starts_with(".s3ftpd/temporary/"));
    keys
}

/// What consumers see of the changes of a store: the keys of users only.
struct Consumer(Receiver<Event>);

impl Consumer {
    fn of(store: &Store) -> Consumer {
        Consumer(store.backend().events())
    }

    /// The changes since the last call: `bucket/key` that was written, `-bucket/key` that was
    /// deleted.
    fn saw(&mut self) -> Vec<String> {
        let mut saw = Vec::new();
        while let Ok(event) = self.0.try_recv() {
            let (sign, bucket, key) = match event {
                Event::Landed { bucket, key, .. } => ("", bucket, key),
                Event::Copied {
                    to: (bucket, key), ..
                } => ("", bucket, key),
                Event::Deleted { bucket, key } => ("-", bucket, key),
            };
            if !key.starts_with(".s3ftpd/") {
                saw.push(format!("{sign}{bucket}/{key}"));
            }
        }
        saw
    }
}

/// Renames; the reply to RNTO.
async fn rename(ftp: &mut Ftp, from: &str, to: &str) -> test_support::ftp::Reply {
    ftp.expect(&format!("RNFR {from}"), 350).await;
    ftp.command(&format!("RNTO {to}")).await
}

/// Another replica: a process of its own on the same store.
async fn replica(store: &Arc<Store>) -> Gateway {
    builder().on(store).start().await
}
