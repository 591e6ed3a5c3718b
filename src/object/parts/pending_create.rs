//! CreateMultipartUpload in progress or done.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument;

use crate::object::error::ObjectError;
use crate::object::multipart::{Created, PartSource, Target};

/// CreateMultipartUpload under way or done, by a task that always ends: a Create that is cut off in
/// the middle would leave an upload that no task knows.
#[derive(Debug, Clone)]
pub(in crate::object) struct PendingCreate {
    result: watch::Receiver<Option<Result<Created, ObjectError>>>,
}

impl PendingCreate {
    pub(in crate::object) fn start(target: &Arc<Target>, parts: PartSource) -> Self {
        let (sender, result) = watch::channel(None);
        let target = Arc::clone(target);
        let cleanups = target.location.store.context().cleanups.clone();
        let create = async move {
            let created = target.create(None, parts).await;
            sender.send_replace(Some(created));
        };
        cleanups.spawn(create.in_current_span());
        PendingCreate { result }
    }

    /// A Create that has its answer already.
    pub(in crate::object) fn known(created: Created) -> Self {
        let (_, result) = watch::channel(Some(Ok(created)));
        PendingCreate { result }
    }

    /// The multipart upload, when it is there.
    pub(in crate::object) async fn created(&self) -> Result<Created, ObjectError> {
        let mut result = self.result.clone();
        let ended = || ObjectError::Other("CreateMultipartUpload was cut off".to_owned());
        let created = result
            .wait_for(Option::is_some)
            .await
            .map_err(|_| ended())?;
        created.clone().ok_or_else(ended)?
    }
}
