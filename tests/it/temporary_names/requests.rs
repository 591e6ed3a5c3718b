//! What temporary names cost (docs/design/promises.md, 7).

use super::{builder, rename};
use s3_embedded::Behaviour;
use test_support::gateway::BUCKET;
use test_support::transfers::settled;
use test_support::{MIB, pattern};

#[tokio::test]
async fn an_upload_costs_what_any_other_costs() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    gateway.store.reset_counts();
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    assert_eq!(gateway.store.operations(), ["PutObject"]);
    gateway.store.reset_counts();
    assert_eq!(ftp.store("in/x.tmp", &pattern(12 * MIB, 1)).await.code, 226);
    settled(&gateway).await;
    assert_eq!(gateway.store.count("CompleteMultipartUpload"), 1);
    assert_eq!(gateway.store.count("UploadPart"), 3);
    assert!(gateway.store.operations().len() <= 7);
}

/// RNFR: 1 HEAD. RNTO: 1 CopyObject, 1 DELETE, and 1 HEAD after an upload of up to one part: of the
/// record that an upload in another process may have left. Also over an existing file, in a directory, and in another one.
#[tokio::test]
async fn to_publish_costs_a_copy_a_head_and_a_delete() {
    let gateway = builder().start().await;
    gateway.store.put_before(BUCKET, "old", "old");
    let mut ftp = gateway.ftp().await;
    for to in ["in/x", "out/x", "x", "old"] {
        for size in [0, 1000, 6 * MIB] {
            assert_eq!(ftp.store("in/x.tmp", &pattern(size, 1)).await.code, 226);
            settled(&gateway).await;
            gateway.store.reset_counts();
            ftp.expect("RNFR in/x.tmp", 350).await;
            assert_eq!(gateway.store.operations(), ["HeadObject"]);
            gateway.store.reset_counts();
            ftp.expect(&format!("RNTO {to}"), 250).await;
            settled(&gateway).await;
            let mut found = gateway.store.operations();
            found.sort_unstable();
            found.retain(|operation| size < 5 * MIB || operation != "HeadObject");
            let expected = match size < 5 * MIB {
                true => vec!["CopyObject", "DeleteObject", "HeadObject"],
                false => vec!["CopyObject", "DeleteObject"],
            };
            assert_eq!(found, expected, "{to} {size}");
            assert!(gateway.store.operations().len() <= 3);
        }
    }
}

/// On a store that ignores conditions a HEAD comes right before the delete, and one before a copy
/// that must not replace anything.
#[tokio::test]
async fn a_store_without_conditions_is_looked_at() {
    for (overwrite, most) in [(true, 5), (false, 6)] {
        let behaviour = Behaviour {
            conditional_writes: false,
            conditional_deletes: false,
            ..Behaviour::default()
        };
        let permissions = match overwrite {
            true => "[\"list\", \"write\", \"overwrite\"]",
            false => "[\"list\", \"write\"]",
        };
        let gateway = builder()
            .with(&format!(
                "[mounts.main]\npermissions = {permissions}\n[stores.main]\nconditional_writes = false\n\
                 conditional_deletes = false"
            ))
            .start()
            .await;
        gateway.store.behave(|default| *default = behaviour);
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
        gateway.store.reset_counts();
        assert_eq!(rename(&mut ftp, "in/x.tmp", "in/x").await.code, 250);
        let found = gateway.store.operations();
        assert_eq!(found.len(), most, "{found:?}");
        assert_eq!(gateway.store.count("CopyObject"), 1);
    }
}

#[tokio::test]
async fn a_delete_costs_at_most_three_requests() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    gateway.store.reset_counts();
    ftp.expect("DELE in/x.tmp", 250).await;
    let expected = ["ListObjectsV2", "HeadObject", "DeleteObject"];
    assert_eq!(gateway.store.operations(), expected);
}
