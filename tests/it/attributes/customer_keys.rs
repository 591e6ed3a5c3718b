//! SSE-C: objects with another key, and with none.

use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::size;
use test_support::{MIB, pattern};

use super::{KEY, OTHER_KEY, customer};

/// Gateways on one store, whose mounts have the key, another key, and none.
async fn three() -> [Gateway; 3] {
    let ours = Gateway::builder().mount(&customer(KEY)).start().await;
    let store = ours.store.clone();
    let other = Gateway::builder().mount(&customer(OTHER_KEY)).on(&store);
    let other = other.start().await;
    let none = Gateway::builder().on(&store).start().await;
    [ours, other, none]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_another_key_is_refused_with_the_reason() {
    let [ours, other, none] = three().await;
    let mut ftp = ours.ftp().await;
    let large = pattern(12 * MIB, 1);
    assert_eq!(ftp.store("x", &large).await.code, 226);
    assert_eq!(size(&mut ftp, "x").await, large.len());
    ftp.close().await;
    for without in [&other, &none] {
        let mut ftp = without.ftp().await;
        ftp.expect("TYPE I", 200).await;
        for command in [
            "SIZE x",
            "MDTM x",
            "MLST x",
            "XCRC x",
            "XSHA512 x",
            "RNFR x",
        ] {
            let reply = ftp.command(command).await;
            assert_eq!(reply.code, 550, "{command}: {reply:?}");
            assert!(
                reply.text().contains("encrypted with another key"),
                "{command}: {reply:?}"
            );
        }
        let (_, reply) = ftp.retrieve("x").await;
        assert_eq!(reply.code, 550, "{reply:?}");
        assert!(
            reply.text().contains("encrypted with another key"),
            "{reply:?}"
        );
        let (list, reply) = ftp.list("MLSD").await;
        assert_eq!(reply.code, 226);
        assert!(list.contains(" x\r\n"), "{list}");
        ftp.close().await;
    }
    // It can be replaced and deleted.
    let mut ftp = other.ftp().await;
    assert_eq!(ftp.store("x", b"other").await.code, 226);
    assert_eq!(ftp.retrieve("x").await.0, b"other");
    ftp.close().await;
    let mut ftp = none.ftp().await;
    ftp.expect("DELE x", 250).await;
    ftp.close().await;
    assert!(ours.store.keys(BUCKET).is_empty());
    for gateway in [ours, other, none] {
        gateway.stop().await;
    }
}

/// What was there before the mount had a key stays readable, at one request more.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_a_key_can_be_read() {
    let gateway = Gateway::builder().mount(&customer(KEY)).start().await;
    let large = pattern(12 * MIB, 1);
    gateway.store.put(BUCKET, "small", "1");
    gateway.store.put(BUCKET, "large", &large);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    assert_eq!(size(&mut ftp, "large").await, large.len());
    assert!(ftp.retrieve("large").await.0 == large);
    assert_eq!(ftp.retrieve("small").await.0, b"1");
    let hash = ftp.expect("XCRC large", 250).await;
    let crc = format!("{:08X}", crc32fast::hash(&large));
    assert!(hash.text().to_uppercase().contains(&crc), "{hash:?}");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let mount = format!("encryption = {{ type = \"customer\", key = {{ file = {path:?} }} }}");
    let gateway = Gateway::builder().mount(&mount).start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x", b"1").await.code, 226);
    assert_eq!(
        super::found(&gateway, "x").customer_key_md5.as_deref(),
        Some(super::KEY_MD5)
    );
    ftp.close().await;
    gateway.stop().await;
}
