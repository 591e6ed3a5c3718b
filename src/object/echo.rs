//! Whether a store echoes the checksum of what it has stored.
//!
//! A store that verifies a CRC-32 names it in its answer. What it names is compared with what was
//! sent. An answer without it, from a store that has named it before, is as unclear as one without
//! an ETag: the caller looks for what was written. If it is there, the store does not always name
//! it, and no further answer is doubted. Whether stores echo differs from operation to operation.

use crate::object::answer::Habit;
use crate::object::checksum::crc_from_header;
use crate::object::error::{NotS3, ObjectError};

/// What a store is known to echo.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// In the answer to PutObject.
    pub put: Echo,
    /// To UploadPart.
    pub part: Echo,
    /// To CompleteMultipartUpload.
    pub complete: Echo,
}

/// Of one operation.
#[derive(Debug, Default)]
pub(super) struct Echo(Habit);

/// What an answer says of the checksum that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echoed {
    /// All that the store's answers say.
    AsEver,
    /// Less than they say: whether the store has written it is not known.
    Missing,
}

impl Echo {
    /// Compares what was sent with what the store says that it stored, if both are known. A
    /// checksum of checksums (`…-3`) is of no whole.
    ///
    /// # Errors
    /// [`ObjectError::Integrity`] if they differ.
    pub(super) fn check(
        &self,
        sent: Option<u32>,
        stored: Option<&str>,
    ) -> Result<Echoed, ObjectError> {
        match (sent, stored.and_then(crc_from_header)) {
            (Some(sent), Some(stored)) if sent != stored => Err(ObjectError::Integrity(format!(
                "CRC-32 {sent:08x} was sent, {stored:08x} is stored"
            ))),
            (Some(_), Some(_)) => {
                self.0.seen();
                Ok(Echoed::AsEver)
            }
            (Some(_), None) if self.0.holds() => Ok(Echoed::Missing),
            _ => Ok(Echoed::AsEver),
        }
    }

    /// What was acknowledged without a checksum is there: the store has answered so.
    pub(super) fn missed(&self) {
        self.0.missed();
    }

    /// Why an answer without a checksum is not taken.
    pub(super) fn missing() -> ObjectError {
        NotS3::result(200, "without the checksum that the store sends")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_echo_is_missed_where_there_was_one_before() {
        let echo = Echo::default();
        let (sent, stored) = (Some(0xcbf4_3926), Some("y/Q5Jg=="));
        assert_eq!(echo.check(sent, None).unwrap(), Echoed::AsEver);
        assert_eq!(echo.check(sent, stored).unwrap(), Echoed::AsEver);
        for other in [None, Some("y/Q5Jg==-2"), Some("")] {
            assert_eq!(echo.check(sent, other).unwrap(), Echoed::Missing);
        }
        // Nothing was sent that could be echoed.
        assert_eq!(echo.check(None, None).unwrap(), Echoed::AsEver);
        assert!(echo.check(Some(1), stored).is_err());
        echo.missed();
        assert_eq!(echo.check(sent, stored).unwrap(), Echoed::AsEver);
        assert_eq!(echo.check(sent, None).unwrap(), Echoed::AsEver);
    }
}
