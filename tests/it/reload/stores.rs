//! Stores, their credentials, and what is swept.

use super::{refused, taken};
use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;

#[tokio::test]
async fn a_store_and_a_mount_can_be_added() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let second = Store::start(&["more"]).await;
    let event = gateway
        .reload(|settings| {
            settings.lay(&store_section("second", &second));
            settings.lay("[mounts.more]\nstore = \"second\"\nbucket = \"more\"");
            settings.lay("[users.u]\nmounts = { \"/\" = \"main\", \"/more\" = \"more\" }");
        })
        .await;
    taken(&event, "1 users");
    assert_eq!(ftp.store("more/a", b"1").await.code, 226);
    assert_eq!(second.object("more", "a").unwrap(), b"1");
    ftp.close().await;
    gateway.stop().await;
}

/// Requests are signed by the newest credentials, without a new client.
#[tokio::test]
async fn credentials_count_at_once() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("a", b"1").await.code, 226);
    let (_, secret) = gateway.store.credentials();
    let secret = secret.to_owned();
    let wrong = "[stores.main]\nsecret_access_key = \"wrong\"";
    gateway.reload(|settings| settings.lay(wrong)).await;
    assert_eq!(ftp.store("b", b"1").await.code, 451);
    let right = format!("[stores.main]\nsecret_access_key = \"{secret}\"");
    gateway.reload(|settings| settings.lay(&right)).await;
    assert_eq!(ftp.store("b", b"1").await.code, 226);
    assert!(gateway.store.object(BUCKET, "b").is_some());
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_store_whose_client_can_not_be_built_is_refused() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let wrong = "[stores.main]\nendpoint = \"https://\"";
    let event = gateway.reload(|settings| settings.lay(wrong)).await;
    refused(&event, "stores.main.endpoint");
    assert_eq!(ftp.store("a", b"1").await.code, 226);
    ftp.close().await;
    gateway.stop().await;
}
