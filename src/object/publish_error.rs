//! [`PublishError`]: what is known of an upload or a copy whose publication failed.

use crate::object::error::ObjectError;
use crate::object::retry::Sent;
use crate::object::verify::WriteCheck;

/// Why an upload or a copy was not published, and whether the object may be there all the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// Another client has written or removed the object: the precondition of the upload does not
    /// hold. Nothing was published, and the upload is removed.
    #[error("{}", ObjectError::Conflict)]
    Conflict,
    /// The store would refuse the same bytes later, too, or another object has replaced them. The
    /// upload is removed.
    #[error(transparent)]
    Final(ObjectError),
    /// Nothing was published. The same bytes can be published later: an upload that has a record is
    /// stored to be resumed.
    #[error(transparent)]
    Temporary(ObjectError),
    /// The store has given no clear answer, and it could not be seen what became of the request:
    /// the object may be there, or come later. The upload's clean-up looks before it removes
    /// anything.
    #[error(transparent)]
    Unclear(ObjectError),
}

/// Whether an upload that ends before it is published can be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum OnFailure {
    /// It is stored to be resumed, if it has a record.
    Keep,
    /// It is removed.
    Remove,
}

impl PublishError {
    /// What the store or this server has answered.
    pub fn cause(&self) -> &ObjectError {
        match self {
            PublishError::Conflict => &ObjectError::Conflict,
            PublishError::Final(error)
            | PublishError::Temporary(error)
            | PublishError::Unclear(error) => error,
        }
    }

    /// An error after which the object may be there.
    pub(in crate::object) fn unclear(error: ObjectError) -> Self {
        match error {
            ObjectError::Conflict => PublishError::Conflict,
            error => PublishError::Unclear(error),
        }
    }

    /// What a write has failed with that is not ours as far as `check` shows. If the object could
    /// not be looked at, an attempt before the last may have written it. A server that may not look
    /// at objects has sent most requests once: then the error is the answer.
    pub(in crate::object) fn after(check: WriteCheck, error: ObjectError, sent: Sent) -> Self {
        match (check, sent) {
            (WriteCheck::Unknown(ObjectError::Denied(_)), Sent::Once) => error.into(),
            (WriteCheck::Unknown(unseen), _) => PublishError::unclear(unseen),
            _ => error.into(),
        }
    }

    /// Whether the upload can be resumed.
    pub(in crate::object) fn on_failure(&self) -> OnFailure {
        match self {
            PublishError::Conflict | PublishError::Final(_) => OnFailure::Remove,
            PublishError::Temporary(_) => OnFailure::Keep,
            PublishError::Unclear(error) if can_be_published_later(error) => OnFailure::Keep,
            PublishError::Unclear(_) => OnFailure::Remove,
        }
    }
}

/// An error after which it is clear that nothing was published.
impl From<ObjectError> for PublishError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Conflict => PublishError::Conflict,
            error if can_be_published_later(&error) => PublishError::Temporary(error),
            error => PublishError::Final(error),
        }
    }
}

impl From<PublishError> for ObjectError {
    fn from(error: PublishError) -> Self {
        error.cause().clone()
    }
}

/// Whether the same bytes can be published later: the store was at fault, not they.
fn can_be_published_later(error: &ObjectError) -> bool {
    error.can_go_on() && !matches!(error, ObjectError::Integrity(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_of_an_upload_that_was_not_published() {
        let cases: [(PublishError, OnFailure); 6] = [
            (ObjectError::Conflict.into(), OnFailure::Remove),
            (ObjectError::Timeout.into(), OnFailure::Keep),
            (ObjectError::NameTooLong.into(), OnFailure::Remove),
            (
                ObjectError::Integrity("x".to_owned()).into(),
                OnFailure::Remove,
            ),
            (PublishError::unclear(ObjectError::Timeout), OnFailure::Keep),
            (PublishError::unclear(ObjectError::Lost), OnFailure::Remove),
        ];
        for (error, expected) in cases {
            assert_eq!(error.on_failure(), expected, "{error:?}");
        }
    }

    #[test]
    fn a_conflict_is_one_if_no_attempt_before_it_can_have_written_the_object() {
        let denied = || WriteCheck::Unknown(ObjectError::Denied(String::new()));
        let after = |check, sent| PublishError::after(check, ObjectError::Conflict, sent);
        assert!(matches!(
            after(denied(), Sent::Once),
            PublishError::Conflict
        ));
        assert!(matches!(
            after(denied(), Sent::Repeatedly),
            PublishError::Unclear(ObjectError::Denied(_))
        ));
        for sent in [Sent::Once, Sent::Repeatedly] {
            assert!(matches!(
                after(WriteCheck::Absent, sent),
                PublishError::Conflict
            ));
            let unseen = WriteCheck::Unknown(ObjectError::Timeout);
            assert!(matches!(
                after(unseen, sent),
                PublishError::Unclear(ObjectError::Timeout)
            ));
        }
        let conflict = PublishError::unclear(ObjectError::Conflict);
        assert!(matches!(conflict, PublishError::Conflict));
    }
}
