//! What a reviewer of the object room found: ways to lose bytes that a client was promised, and answers settled wrongly.

use std::sync::Arc;

use crate::support::gateway::{BUCKET, Gateway};
use crate::support::store::Store;

/// A user who reaches the same keys by two paths, by one store and by two that are one endpoint.
async fn two_ways() -> Gateway {
    let store = Arc::new(Store::start(&[]).await);
    let (endpoint, (key, secret)) = (store.endpoint(), store.credentials());
    let more = format!(
        "[stores.second]\nendpoint = \"{endpoint}/\"\nregion = \"us-east-1\"\npath_style = true\n\
         access_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n\
         [mounts.below]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"me/\"\n\
         [mounts.other]\nstore = \"second\"\nbucket = \"{BUCKET}\"\nprefix = \"me/\""
    );
    let mounts = r#"{ "/" = "main", "/below" = "below", "/other" = "other" }"#;
    let gateway = Gateway::builder().on(&store).with(&more);
    gateway.user("u", "p", mounts).start().await
}

#[tokio::test]
async fn a_rename_onto_itself_by_another_path_keeps_the_file() {
    let gateway = two_ways().await;
    gateway.store.put(BUCKET, "me/f", "precious");
    gateway.store.put(BUCKET, "me/d/f", "precious");
    let mut ftp = gateway.ftp().await;
    for (from, to) in [("/below/f", "/me/f"), ("/other/f", "/me/f")] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        ftp.expect(&format!("RNTO {to}"), 250).await;
        let there = gateway.store.object(BUCKET, "me/f");
        assert_eq!(there.as_deref(), Some(&b"precious"[..]), "{from} to {to}");
    }
    // A directory into itself would never come to an end.
    for from in ["/below/d", "/other/d"] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        ftp.expect("RNTO /me/d/sub", 550).await;
        assert_eq!(gateway.store.keys(BUCKET), ["me/d/f", "me/f"]);
    }
    ftp.close().await;
    gateway.stop().await;
}
