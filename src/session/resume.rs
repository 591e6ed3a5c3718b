//! Going on with a broken upload: what SIZE, MLST, REST + STOR and APPE know of what is kept (DESIGN 5).
//!
//! What is kept of a user's upload is to him what a half-written file is on other servers: SIZE tells its length, and
//! he goes on from there. Nobody else sees it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::timeout;

use crate::namespace::{Mount, Permission, Place, VirtualPath};
use crate::object::{Found, Keep, Kept, Location, ObjectError, ObjectInfo, Older, head};
use crate::protocol::Reply;

use super::{Session, replies};

/// How long a session waits for an upload of this process that has broken off, or that it stops, to be kept. Its parts
/// in flight may take longer over a slow line; then the client is told to try again.
const GONE: Duration = Duration::from_secs(70);

/// So many files' lengths are remembered at most.
const MOST_TOLD: usize = 64;

/// What SIZE and MLST have told of uploads that are not published: an APPE of such a file goes on with its upload, and
/// what has been told is no offset in an object. A refusal changes nothing of that, so that who tries the same command
/// again does not add the end of his upload to another object.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of each path a keyed hash, which is all that a long one may take of a session's memory.
    sizes: VecDeque<(u64, u64)>,
    hasher: RandomState,
}

impl Told {
    /// The client is told this length of a file of which there is an upload.
    pub(super) fn note(&mut self, path: &VirtualPath, size: u64) {
        self.forget(path);
        if self.sizes.len() == MOST_TOLD {
            self.sizes.pop_front();
        }
        self.sizes.push_back((self.hasher.hash_one(path), size));
    }

    /// What was told last, if it was of an upload.
    pub(super) fn of(&self, path: &VirtualPath) -> Option<u64> {
        let path = self.hasher.hash_one(path);
        let mut told = self.sizes.iter();
        told.find(|(of, _)| *of == path).map(|(_, size)| *size)
    }

    /// The client has been told otherwise, or has published or deleted the file.
    pub(super) fn forget(&mut self, path: &VirtualPath) {
        let path = self.hasher.hash_one(path);
        self.sizes.retain(|(of, _)| *of != path);
    }
}

/// What a user who may write to a file is told of it.
#[derive(Debug)]
pub(super) enum Seen {
    /// The object, if there is one.
    Object(Option<Box<ObjectInfo>>),
    /// His own upload that is not published: its length, and when it last moved, where that is known.
    Upload(u64, Option<jiff::Timestamp>),
}

impl Seen {
    fn object(info: Option<ObjectInfo>) -> Seen {
        Seen::Object(info.map(Box::new))
    }
}

impl Session {
    /// How uploads of the user to a mount are kept; `None` where they are not.
    pub(super) fn keep(&self, mount: &Mount) -> Option<Keep> {
        self.state_of(mount).filter(|_| mount.keep_interrupted)
    }

    /// The state of the user's uploads to a mount, also if they are not kept when they break off.
    pub(super) fn state_of(&self, mount: &Mount) -> Option<Keep> {
        let user = self.user.as_ref()?;
        Some(Keep {
            user: user.config.name.as_str().into(),
            peer: Some(self.control.peer.ip()),
            state_bucket: mount.state_bucket.clone(),
            over_object: self.gateway.config.resume.keep_over_object,
        })
    }

    /// The same for where a place is.
    pub(super) fn keep_in(&self, place: &Place) -> Option<Keep> {
        match place {
            Place::Mounted { mount, .. } => self.keep(mount),
            _ => None,
        }
    }

    /// The same, where the user may write to the place: who may not can have nothing kept there.
    pub(super) fn keep_at(&self, place: &Place) -> Option<Keep> {
        let Place::Mounted { mount, .. } = place else {
            return None;
        };
        let wanted = place.allows(Permission::Write) && !self.converts(mount);
        wanted.then(|| self.keep(mount)).flatten()
    }

    /// The user's upload of a file that is not published: running in this process, or kept. `object` asks for the
    /// object, at the same time.
    pub(super) async fn see(
        &self,
        path: &VirtualPath,
        keep: &Keep,
        location: &Location,
        object: impl Future<Output = Result<Option<ObjectInfo>, ObjectError>>,
    ) -> Result<Seen, Reply> {
        let fail = |error: ObjectError| replies::object_error(path, &error);
        let older = keep.older(location);
        match older.size() {
            Some(0 | 1) => return object.await.map(Seen::object).map_err(fail),
            // It may be all of the file, and must not be taken for stored.
            Some(size) => return Ok(Seen::Upload(size - 1, None)),
            None => ending(path, &older).await?,
        }
        let (stored, info) = tokio::join!(keep.stored(location), object);
        let info = info.map_err(fail)?;
        let Some(stored) = stored.map_err(fail)? else {
            return Ok(Seen::object(info));
        };
        match Box::pin(judge(stored, location, keep, info.as_ref())).await {
            Ok(Found::Nothing) => Ok(Seen::object(info)),
            Ok(Found::Busy(at)) => Err(busy(path, at.seconds)),
            Ok(Found::Later(format)) => Err(later(path, format)),
            Ok(Found::Kept(kept)) => Ok(Seen::Upload(kept.told(), Some(kept.written()))),
            Err(error) => Err(fail(error)),
        }
    }

    /// The kept upload that a transfer goes on with; one that is still running in this process is stopped for it, and
    /// waited for. With it, or without one, what a HEAD tells of the object.
    pub(super) async fn kept(
        &self,
        path: &VirtualPath,
        keep: &Keep,
        location: &Location,
    ) -> Result<(Option<Box<Kept>>, Option<ObjectInfo>), Reply> {
        let fail = |error: ObjectError| replies::object_error(path, &error);
        let older = keep.older(location);
        older.stop();
        gone(path, &older).await?;
        let (stored, info) = tokio::join!(keep.stored(location), existing(location));
        let info = info.map_err(fail)?;
        let Some(stored) = stored.map_err(fail)? else {
            return Ok((None, info));
        };
        match Box::pin(judge(stored, location, keep, info.as_ref())).await {
            Ok(Found::Nothing) => Ok((None, info)),
            Ok(Found::Busy(at)) => Err(busy(path, at.seconds)),
            Ok(Found::Later(format)) => Err(later(path, format)),
            Ok(Found::Kept(kept)) => Ok((Some(kept), info)),
            Err(error) => Err(fail(error)),
        }
    }
}

/// Of an empty object a GET tells neither ETag nor time, which are what is judged by.
async fn judge(
    stored: crate::object::Stored,
    location: &Location,
    keep: &Keep,
    info: Option<&ObjectInfo>,
) -> Result<Found, ObjectError> {
    match info {
        Some(info) if info.etag.is_empty() || info.modified == jiff::Timestamp::UNIX_EPOCH => {
            let info = existing(location).await?;
            stored.judge(location, keep, info.as_ref()).await
        }
        info => stored.judge(location, keep, info).await,
    }
}

/// Waits until the user's uploads of this process have ended.
async fn gone(path: &VirtualPath, older: &Older) -> Result<(), Reply> {
    let ended = timeout(GONE, older.gone()).await;
    ended.map_err(|_| being_kept(path))
}

/// Waits until those that have broken off are kept.
pub(super) async fn ending(path: &VirtualPath, older: &Older) -> Result<(), Reply> {
    let ended = timeout(GONE, older.kept()).await;
    ended.map_err(|_| being_kept(path))
}

fn being_kept(path: &VirtualPath) -> Reply {
    Reply::new(
        450,
        format!("{path}: an earlier upload is still being kept, try again in 10 s"),
    )
}

fn busy(path: &VirtualPath, seconds: u64) -> Reply {
    Reply::new(
        450,
        format!("{path}: another server is still at this upload, try again in {seconds} s"),
    )
}

/// Refuses an append to a file of which a later version of this server is known to have recorded an upload.
pub(super) async fn refuse_later(
    path: &VirtualPath,
    keep: &Keep,
    location: &Location,
) -> Result<(), Reply> {
    match keep.later_format(location).await {
        Ok(None) => Ok(()),
        Ok(Some(format)) => Err(later(path, format)),
        Err(error) => Err(replies::object_error(path, &error)),
    }
}

fn later(path: &VirtualPath, format: u64) -> Reply {
    Reply::new(
        450,
        format!(
            "{path}: a later version of this server has recorded an upload of yours (format {format}), \
             retry when all servers have that version, or begin anew with STOR without REST"
        ),
    )
}

/// HEAD, where "not there" is an answer.
pub(super) async fn existing(location: &Location) -> Result<Option<ObjectInfo>, ObjectError> {
    match head(location).await {
        Ok(info) => Ok(Some(info)),
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
