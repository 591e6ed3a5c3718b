//! The keys of a directory are copied, and then deleted, in parallel, with a limit.

use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};
use test_support::{MIB, pattern};

/// Small objects in parallel.
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_copied_and_then_deleted_in_parallel() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let names: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    for name in &names {
        store.put(BUCKET, &format!("tree/{name}"), name);
    }
    let copying = store.fail("CopyObject").always().with(Fault::Stall);
    let deleting = store.fail("DeleteObject").key("tree/").always();
    let deleting = deleting.with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR tree", 350).await;
    ftp.send("RNTO moved").await;
    copying.hit_times(AT_ONCE).await;
    // A request from outside arrives after everything that was sent at once.
    let mut other = gateway.ftp().await;
    other.expect("SIZE tree/199", 213).await;
    assert_eq!(copying.hits(), AT_ONCE);
    copying.release();
    deleting.hit_times(AT_ONCE).await;
    // Everything is copied before the first delete.
    for name in &names {
        let moved = store.object(BUCKET, &format!("moved/{name}"));
        assert_eq!(moved.as_deref(), Some(name.as_bytes()));
    }
    assert_eq!(store.keys(BUCKET).len(), 400);
    other.expect("SIZE tree/199", 213).await;
    assert_eq!(deleting.hits(), AT_ONCE);
    deleting.release();
    ftp.expect_reply(250).await;
    assert_eq!(store.keys(BUCKET).len(), 200);
    ftp.close().await;
    other.close().await;
    gateway.stop().await;
}

/// A large object is much work for the store, or many requests itself.
#[tokio::test(flavor = "multi_thread")]
async fn of_large_objects_fewer_are_copied_at_once() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let bytes = pattern(8 * MIB + 1, 1);
    for number in 0..10 {
        store.put(BUCKET, &format!("tree/{number}"), &bytes);
    }
    let copying = store.fail("CopyObject").always().with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR tree", 350).await;
    ftp.send("RNTO moved").await;
    copying.hit_times(8).await;
    let mut other = gateway.ftp().await;
    other.expect("SIZE tree/9", 213).await;
    assert_eq!(copying.hits(), 8);
    copying.release();
    ftp.expect_reply(250).await;
    assert_eq!(store.keys(BUCKET).len(), 10);
    ftp.close().await;
    other.close().await;
    gateway.stop().await;
}
