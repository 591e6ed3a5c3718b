//! Temporary files: what others do not see yet.
//!
//! Their objects lie at keys of their own ([`TemporaryNames`](crate::namespace::TemporaryNames)), so
//! that most commands need not know of them. Here is what a rename does: it asks before a file
//! becomes visible (`[before_publish]`), and leaves no temporary file in a directory that moves away.

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::namespace::{Resolved, VirtualPath};
use crate::object::{
    Deleted, Entry, Expected, Listing, Location, NameWatch, ObjectError, ObjectInfo, Page,
    TransferId, delete_temporary, directory_exists, head,
};

use crate::session::replies::Refusal;
use crate::session::resolve::holds_temporary;
use crate::session::state::Session;
use crate::session::transfer::check::{
    CheckResult, UncheckedFile, published_unchecked, unanswered,
};

/// Directories that are looked at in parallel.
const AT_ONCE: usize = 8;

/// A temporary file that may be published.
#[derive(Debug)]
pub(super) struct Publishable {
    /// For the operator.
    pub(super) detail: Option<String>,
}

impl Session {
    /// Asks whether a temporary file may appear at its new name, if anyone is to be asked. If it may
    /// not, it is removed. `source` has its path, `file` what RNFR has found.
    pub(super) async fn check_temporary(
        &mut self,
        (old, from): &(VirtualPath, Resolved),
        (info, _, watch): &(ObjectInfo, Option<u32>, NameWatch),
        new: &VirtualPath,
        id: &TransferId,
    ) -> Result<Publishable, Refusal> {
        let (Some(check), Some(at)) = (self.check()?, from.object()) else {
            return Ok(Publishable { detail: None });
        };
        let transfer = info.transfer();
        let file = UncheckedFile {
            path: new,
            at: &at,
            transfer: transfer.as_ref().unwrap_or(id),
            size: info.size,
        };
        match check.ask(file).await {
            CheckResult::Allowed => {
                // The copy is pinned to the bytes that RNFR has found. Another session of the user
                // may have put others in their place while they were read.
                let read = head(&at).await;
                match read {
                    Ok(read) if read.identity() == info.identity() => {
                        Ok(Publishable { detail: None })
                    }
                    Ok(_) => Err(Refusal::SourceChanged(old.clone())),
                    Err(error) => Err(Refusal::store(old, &error)),
                }
            }
            CheckResult::Unchecked(error) => Ok(Publishable {
                detail: Some(published_unchecked(&error)),
            }),
            CheckResult::Refused(reason) => {
                self.remove_refused(old, from, &at, info, watch).await;
                Err(Refusal::RefusedByCheck(new.clone(), reason))
            }
            CheckResult::Unknown(error) => Err(Refusal::UncheckedRename(
                new.clone(),
                old.clone(),
                unanswered(&error),
            )),
        }
    }

    /// Removes a temporary file that was refused. If that fails, it is asked about once more before
    /// it becomes visible.
    async fn remove_refused(
        &mut self,
        old: &VirtualPath,
        from: &Resolved,
        at: &Location,
        info: &ObjectInfo,
        watch: &NameWatch,
    ) {
        self.reported.forget(old);
        let expected = Expected {
            version: &info.identity(),
            watch,
            copy: None,
        };
        let mut removed = match delete_temporary(at, expected).await {
            Ok(Deleted::Gone | Deleted::IsTheCopy) => Ok(()),
            Err(error) => Err(ObjectError::from(error)),
        };
        if removed.is_ok()
            && let Some(scope) = self.resume_scope_in(from)
        {
            removed = Box::pin(scope.own_object_removed(at, info)).await;
        }
        if let Err(error) = removed {
            tracing::warn!(path = %old.to_string().escape_debug(), %error,
                "a temporary file that was refused, or an interrupted upload of it, may be left");
        }
    }
}

/// Whether the user has temporary files in a directory or in one below it. On a mount with such
/// names 1 ListObjectsV2 for each 1,000 keys, and 1 for each directory; none elsewhere.
pub(super) async fn holds_temporary_anywhere(resolved: &Resolved) -> Result<bool, ObjectError> {
    let (Resolved::Mounted { mount, .. }, Some(top)) = (resolved, resolved.directory()) else {
        return Ok(false);
    };
    if mount.temporary.is_none() {
        return Ok(false);
    }
    if holds_temporary(resolved).await? {
        return Ok(true);
    }
    let mut listing = Listing::all_below(&top, "");
    let mut last = String::new();
    while let Some(page) = listing.next_page().await? {
        let found = stream::iter(directories(&page, &mut last))
            .map(|name| {
                let directory = Location {
                    key: format!("{}{name}", top.key),
                    ..top.clone()
                };
                let temporary = mount.temporary_in(&directory);
                async move {
                    match temporary {
                        Some(temporary) => directory_exists(&temporary).await,
                        None => Ok(false),
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_any(std::future::ready)
            .await?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The directories on a page of all keys that were not on the pages before. `last` is the last name
/// before the page: keys come in order, so those of one directory follow each other.
fn directories(page: &Page, last: &mut String) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &page.entries {
        let Entry::File { name, .. } = entry else {
            continue;
        };
        let ends = name.match_indices('/').map(|(at, _)| &name[..=at]);
        found.extend(
            ends.filter(|directory| !last.starts_with(directory))
                .map(str::to_owned),
        );
        last.clone_from(name);
    }
    found
}
