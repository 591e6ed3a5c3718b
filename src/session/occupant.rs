//! What is at a name before it is written: a file, a directory, or something that the store does
//! not reveal.

use crate::namespace::{Resolved, VirtualPath};
use crate::object::{Location, ObjectError, ObjectInfo, directory_exists, head};

use crate::session::replies::Refusal;

/// The file that is there (HEAD). `None` also if the store does not say whether there is one (403:
/// without the right to list a bucket S3 calls each missing key forbidden) but refuses to replace
/// it: the write that follows has to be conditional (`If-None-Match: *`). If the store honours no
/// such condition, 550, and the log names the missing right.
pub(super) async fn file_or_undisclosed(
    path: &VirtualPath,
    location: &Location,
) -> Result<Option<ObjectInfo>, Refusal> {
    let error = match head(location).await {
        Ok(info) => return Ok(Some(info)),
        Err(ObjectError::NotFound) => return Ok(None),
        Err(error) => error,
    };
    if matches!(error, ObjectError::Denied(_)) {
        if location.store.honours_if_absent(&location.bucket).await {
            return Ok(None);
        }
        tracing::warn!(
            path = %path.to_string().escape_debug(),
            store = location.store.name(),
            bucket = &*location.bucket,
            "the store answers 403 for a key that may be missing and honours no If-None-Match: without s3:ListBucket for \
             this key the upload is refused"
        );
    }
    Err(Refusal::store(path, &error))
}

/// 550 if a directory has the name of the file that is to be written, on stores where the file
/// would hide it. There it costs one ListObjectsV2; elsewhere nothing is asked.
pub(super) async fn refuse_directory(
    path: &VirtualPath,
    resolved: &Resolved,
    location: &Location,
) -> Result<(), Refusal> {
    let Some(directory) = resolved.directory() else {
        return Ok(());
    };
    // Its key is not next to that of the directory.
    if resolved.is_temporary() {
        return Ok(());
    }
    if !location
        .store
        .files_hide_directories(&location.bucket)
        .await
    {
        return Ok(());
    }
    match directory_exists(&directory).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(Refusal::IsDirectory(path.clone())),
        Err(error) => Err(Refusal::store(path, &error)),
    }
}
