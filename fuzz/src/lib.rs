//! Shared by the targets of whole sessions.

use std::cell::RefCell;

use test_support::in_memory::InMemoryGateway;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static STAGE: RefCell<Option<(Runtime, InMemoryGateway)>> = const { RefCell::new(None) };
}

/// Runs one conversation with a gateway whose store has only its initial objects.
///
/// # Panics
/// If a reply is not as it must be.
pub fn converse(before: &[u8], input: &[u8]) {
    STAGE.with_borrow_mut(|stage| {
        let (runtime, gateway) = stage.get_or_insert_with(|| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let gateway = runtime.block_on(InMemoryGateway::start());
            (runtime, gateway)
        });
        runtime.block_on(async {
            gateway.check(&[before, input].concat()).await;
            gateway.reset().await;
        });
    });
}
