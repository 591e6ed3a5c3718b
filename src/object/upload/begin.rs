//! How an upload begins.

use crate::memory::Admission;
use crate::object::error::ObjectError;
use crate::object::head::{Attributes, MTIME_KEY};
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::precondition::Precondition;
use crate::object::resume::record::BaseObject;
use crate::object::resume::record_task::{EarlierCheck, RecordHandle};
use crate::object::transfer_id::TRANSFER_KEY;
use crate::object::upload::running::{Retention, Upload};
use crate::object::upload::{Condition, UploadOptions};

impl Upload {
    /// Begins; makes no request unless it appends.
    pub async fn begin(
        location: Location,
        admission: Admission,
        options: UploadOptions,
    ) -> Result<Upload, ObjectError> {
        let attributes = options
            .append
            .as_ref()
            .map(|append| append.info.attributes.clone())
            .unwrap_or_default();
        Upload::begin_with(location, Some(admission), options, attributes).await
    }

    /// As [`Upload::begin`], with the attributes the object is to have but for those of its mount.
    pub(in crate::object) async fn begin_with(
        location: Location,
        admission: Option<Admission>,
        options: UploadOptions,
        mut attributes: Attributes,
    ) -> Result<Upload, ObjectError> {
        if options.append.is_some() {
            // The time of the old content.
            attributes.metadata.remove(MTIME_KEY);
        }
        attributes = attributes.of_object(&location);
        attributes.metadata.extend(options.metadata);
        attributes.metadata.remove(TRANSFER_KEY);
        let precondition = match (&options.append, &options.condition) {
            (Some(append), _) => Precondition::Version(append.info.identity()),
            (None, Condition::IfAbsent) => Precondition::Absent,
            (None, Condition::None) => Precondition::None,
        };
        let base = match (&options.append, &options.condition) {
            (Some(append), _) => BaseObject::Object(append.info.identity().into()),
            (None, Condition::IfAbsent) => BaseObject::Absent,
            (None, Condition::None) => BaseObject::Unknown,
        };
        let sizes = location.part_sizes();
        let mut upload = Upload::blank(
            Target::new(location, options.id, attributes).staged_at(options.staged),
            precondition,
            admission,
            sizes,
        );
        if let Some(keep) = options.keep {
            upload.may_store_pieces(&keep);
            upload.retention = Retention::UntilStored;
            upload.record = Some(RecordHandle::new(
                &upload.target,
                keep,
                upload.sizes.sizes(),
                base,
                options.append.as_ref().map_or(0, |append| append.keep),
                upload.failed.clone(),
            ));
            if let Some(record) = &mut upload.record {
                Box::pin(record.discard_earlier(EarlierCheck::AtBegin)).await;
            }
        }
        if let Some(append) = options.append {
            Box::pin(upload.append_to(append)).await?;
        }
        Ok(upload)
    }
}
