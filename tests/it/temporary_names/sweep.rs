//! Temporary files stay, unless their mount keeps them for a time only.

use std::time::Duration;

use super::{PATTERNS, builder, rename, temporary};
use crate::resume::sweep::sweep_mounts;
use test_support::gateway::BUCKET;
use test_support::transfers::interrupt;

const KEEP: &str = "temporary = [\"*.tmp\"]\ntemporary_keep = \"3d\"";

#[tokio::test]
async fn they_never_expire_by_default() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    interrupt(&gateway, "STOR in/y.tmp", &[1; 1000]).await;
    gateway
        .store
        .backend()
        .advance_clock(Duration::from_secs(365 * 24 * 3600));
    let sweep = sweep_mounts(&gateway, &[("main", PATTERNS)], &["--unrecorded"]).await;
    assert!(sweep.0, "{}", sweep.1);
    assert!(
        sweep.1.contains("removed: upload files/.s3ftpd/temporary/"),
        "{}",
        sweep.1
    );
    assert_eq!(temporary(&gateway.store).len(), 1);
    assert_eq!(rename(&mut ftp, "in/x.tmp", "in/x").await.code, 250);
    assert_eq!(gateway.store.object(BUCKET, "in/x").unwrap(), b"bytes");
}

#[tokio::test]
async fn they_expire_after_the_time_of_their_mount() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/old.tmp", b"bytes").await.code, 226);
    gateway.store.a_day();
    gateway.store.a_day();
    assert_eq!(ftp.store("in/new.tmp", b"bytes").await.code, 226);
    let sweep = async |mounts: &[(&str, &str)], arguments: &[&str]| {
        let (succeeded, text) = sweep_mounts(&gateway, mounts, arguments).await;
        assert!(succeeded, "{text}");
        text
    };
    let text = sweep(&[("main", KEEP)], &["--older-than", "0s"]).await;
    assert!(text.contains("stays: temporary file"), "{text}");
    assert_eq!(temporary(&gateway.store).len(), 2);
    gateway.store.a_day();
    gateway.store.a_day();
    // A mount of the same bucket keeps them for ever, or longer.
    for other in [PATTERNS, "temporary = [\"x\"]\ntemporary_keep = \"90d\""] {
        sweep(&[("main", KEEP), ("main", other)], &[]).await;
        assert_eq!(temporary(&gateway.store).len(), 2, "{other}");
    }
    let text = sweep(&[("main", KEEP)], &["--dry-run"]).await;
    assert!(text.contains("would be removed: temporary file"), "{text}");
    assert_eq!(temporary(&gateway.store).len(), 2);
    let text = sweep(&[("main", KEEP), ("main", "")], &[]).await;
    assert!(text.contains("removed: temporary file"), "{text}");
    let left = temporary(&gateway.store);
    assert!(left.len() == 1 && left[0].ends_with("/new.tmp"), "{left:?}");
}
