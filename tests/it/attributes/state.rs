//! The state of uploads: each request that writes an object says how it is encrypted, as policies of
//! buckets demand, and no record needs a customer's key.

use test_support::faults::Request;
use test_support::ftp::Mode;
use test_support::gateway::Gateway;
use test_support::transfers::{interrupt, nothing_left, size};
use test_support::{MIB, pattern};

use super::{By, gateway};

/// The requests that write an object, or begin to.
fn writes(gateway: &Gateway) -> Vec<Request> {
    let mut requests = gateway.store.requests();
    requests.retain(|request| {
        let writes = ["PutObject", "CreateMultipartUpload", "CopyObject"];
        writes.contains(&request.operation.as_str())
    });
    requests
}

fn encrypted_by(request: &Request) -> Option<By> {
    let kind = request.header("x-amz-server-side-encryption");
    let customer = "x-amz-server-side-encryption-customer-key-md5";
    match (kind, request.header(customer)) {
        (Some("AES256"), None) => Some(By::Store),
        (Some("aws:kms"), None) => {
            assert_eq!(
                request.header("x-amz-server-side-encryption-aws-kms-key-id"),
                Some("k1")
            );
            Some(By::Kms)
        }
        (None, Some(md5)) if md5 == super::KEY_MD5 => Some(By::Customer),
        (None, None) => None,
        other => panic!("{other:?}"),
    }
}

/// An upload that leaves records, a tail and an empty record, is resumed, and is discarded.
#[tokio::test(flavor = "multi_thread")]
async fn each_write_says_how_it_is_encrypted() {
    for by in By::ALL {
        // Without conditional deletes records end as empty objects.
        for conditional_deletes in [true, false] {
            let gateway = gateway(by)
                .with(&format!(
                    "[stores.main]\nconditional_deletes = {conditional_deletes}"
                ))
                .start()
                .await;
            gateway
                .store
                .behave(|behaviour| behaviour.conditional_deletes = conditional_deletes);
            let whole = pattern(7 * MIB, 1);
            interrupt(&gateway, "STOR a", &whole[..6 * MIB]).await;
            let mut ftp = gateway.ftp().await;
            let from = size(&mut ftp, "a").await;
            ftp.expect(&format!("REST {from}"), 350).await;
            assert_eq!(ftp.store("a", &whole[from..]).await.code, 226);
            interrupt(&gateway, "STOR b", &whole[..6 * MIB]).await;
            let reply = ftp.upload_with("STOR b", b"1", Mode::Passive).await;
            assert_eq!(reply.code, 226, "{reply:?}");
            ftp.expect("MKD d", 257).await;
            ftp.close().await;
            nothing_left(&gateway, 0).await;
            let writes = writes(&gateway);
            let of = |part: &str| writes.iter().filter(|w| w.key.contains(part)).count();
            assert!(of("uploads/") >= 4 && of("tails/") >= 2, "{writes:?}");
            for write in &writes {
                let record = write.key.starts_with(".s3ftpd/uploads/");
                let wanted = Some(by).filter(|by| !record || *by != By::Customer);
                let operation = &write.operation;
                assert_eq!(encrypted_by(write), wanted, "{operation} {}", write.key);
                if write.key.starts_with(".s3ftpd/") {
                    for private in ["x-amz-acl", "x-amz-tagging", "x-amz-storage-class"] {
                        assert_eq!(write.header(private), None, "{private} {}", write.key);
                    }
                }
            }
            gateway.stop().await;
        }
    }
}
