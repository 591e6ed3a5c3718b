//! What the targets of whole sessions share.

use std::cell::RefCell;

use s3ftpd::fuzzing::Gateway;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static STAGE: RefCell<Option<(Runtime, Gateway)>> = const { RefCell::new(None) };
}

/// One conversation with a gateway whose store is as new.
///
/// # Panics
/// Where an answer is not what it must be.
pub fn converse(before: &[u8], input: &[u8]) {
    STAGE.with_borrow_mut(|stage| {
        let (runtime, gateway) = stage.get_or_insert_with(|| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let gateway = runtime.block_on(Gateway::start());
            (runtime, gateway)
        });
        runtime.block_on(async {
            gateway.check(&[before, input].concat()).await;
            gateway.reset().await;
        });
    });
}
