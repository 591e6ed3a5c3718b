//! [`Precondition`]: what must hold of the object that a write replaces.

use crate::object::error::ObjectError;
use crate::object::head::head;
use crate::object::identity::ObjectIdentity;
use crate::object::location::Location;

/// What must hold of the object that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::object) enum Precondition {
    /// Nothing.
    None,
    /// There is none.
    Absent,
    /// It still has this ETag; for objects whose bytes are never the same twice, as records are.
    Etag(String),
    /// It is still this version.
    Version(ObjectIdentity),
}

/// The headers that make the store check a [`Precondition`].
#[derive(Debug, Clone, Default)]
pub(in crate::object) struct PreconditionHeaders {
    /// If-None-Match
    pub if_none_match: Option<String>,
    /// If-Match
    pub if_match: Option<String>,
}

impl Precondition {
    /// Whether there must be an object.
    pub(in crate::object) fn wants_object(&self) -> bool {
        matches!(self, Precondition::Etag(_) | Precondition::Version(_))
    }

    /// The headers, if the store honours them; else looks now, right before the write.
    pub(in crate::object) async fn conditions(
        &self,
        location: &Location,
    ) -> Result<PreconditionHeaders, ObjectError> {
        if *self == Precondition::None {
            return Ok(PreconditionHeaders::default());
        }
        if location.store.conditional_writes(&location.bucket).await {
            return Ok(match self {
                Precondition::None => PreconditionHeaders::default(),
                Precondition::Absent => PreconditionHeaders {
                    if_none_match: Some("*".to_owned()),
                    if_match: None,
                },
                Precondition::Etag(etag) => PreconditionHeaders {
                    if_none_match: None,
                    if_match: Some(etag.clone()),
                },
                Precondition::Version(version) => PreconditionHeaders {
                    if_none_match: None,
                    if_match: Some(version.etag().to_owned()),
                },
            });
        }
        self.check(location).await?;
        Ok(PreconditionHeaders::default())
    }

    /// The conditions of a CompleteMultipartUpload. Many stores honour conditions on PutObject,
    /// which the probe tests, but ignore them on CompleteMultipartUpload. So on stores other than
    /// AWS this also looks at the object now.
    pub(in crate::object) async fn conditions_of_parts(
        &self,
        location: &Location,
    ) -> Result<PreconditionHeaders, ObjectError> {
        let conditions = self.conditions(location).await?;
        let sent = conditions.if_match.is_some() || conditions.if_none_match.is_some();
        if sent && location.store.config().endpoint.is_some() {
            match self.check(location).await {
                // Who may only write, or may not list and asks for what is not there, has the
                // condition alone.
                Ok(()) | Err(ObjectError::Denied(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(conditions)
    }

    /// Looks whether it holds: 1 HEAD, none if there is no condition.
    pub(in crate::object) async fn check(&self, location: &Location) -> Result<(), ObjectError> {
        if *self == Precondition::None {
            return Ok(());
        }
        let found = match head(location).await {
            Ok(info) => Some(info),
            Err(ObjectError::NotFound) => None,
            Err(error) => return Err(error),
        };
        match (self, found) {
            (Precondition::None, _) | (Precondition::Absent, None) => Ok(()),
            (Precondition::Etag(expected), Some(info)) if *expected == info.etag => Ok(()),
            (Precondition::Version(expected), Some(info)) if *expected == info.identity() => Ok(()),
            _ => Err(ObjectError::Conflict),
        }
    }
}
