//! Which [`Refusal`] an error of the rooms below becomes.

use ftp_proto::CommandError;

use crate::auth::Refused;
use crate::data::DataError;
use crate::data::active::ActiveRefused;
use crate::namespace::{PathError, VirtualPath};
use crate::object::{DeleteError, ObjectError, PublishError};
use crate::session::replies::refusal::{Detail, Refusal};

impl Refusal {
    /// A store's error about a path.
    pub(in crate::session) fn store(path: &VirtualPath, error: &ObjectError) -> Refusal {
        let detail = || Detail::of(error);
        let path = path.clone();
        match error {
            ObjectError::NotFound => Refusal::NotFound(path),
            ObjectError::NoSuchBucket => Refusal::NoSuchBucket(path),
            ObjectError::Denied(_) => Refusal::StoreDenied(path, detail()),
            ObjectError::Credentials(_) => Refusal::StoreCredentials(path, detail()),
            ObjectError::Clock(_) => Refusal::StoreClock(path, detail()),
            ObjectError::Conflict => Refusal::WrittenByOther(path),
            ObjectError::Changed => Refusal::ChangedWhileRead(path),
            ObjectError::OutOfRange { size: Some(size) } => Refusal::BeyondEndAt(path, *size),
            ObjectError::OutOfRange { size: None } => Refusal::BeyondEnd(path),
            ObjectError::IsDirectory => Refusal::IsDirectory(path),
            ObjectError::IsFile => Refusal::IsFile(path),
            ObjectError::BelowFile => Refusal::BelowFile(path),
            ObjectError::Busy => Refusal::BeingWritten(path),
            ObjectError::NameTooLong => Refusal::NameTooLong(path),
            ObjectError::TooLarge { limit } => Refusal::TooLarge(path, *limit),
            ObjectError::Integrity(_) => Refusal::OtherBytesStored(path, detail()),
            ObjectError::Damaged => Refusal::OtherBytesRead(path),
            ObjectError::Throttled => Refusal::StoreOverloaded(path),
            ObjectError::Unavailable(_) => Refusal::StoreUnreachable(path, detail()),
            ObjectError::Timeout => Refusal::StoreTimeout(path),
            ObjectError::Full => Refusal::StoreFull(path),
            ObjectError::Memory => Refusal::NoMemory(path),
            ObjectError::Superseded => Refusal::Superseded(path),
            ObjectError::Lost => Refusal::UploadUnknown(path),
            ObjectError::Unsupported(_) => Refusal::StoreUnsupported(path, detail()),
            ObjectError::Foreign(_) => Refusal::NotTheStore(path, detail()),
            ObjectError::OtherKey => Refusal::OtherKey(path),
            ObjectError::Other(_) => Refusal::StoreRefused(path, detail()),
        }
    }

    /// Why an upload was not published.
    pub(in crate::session) fn publish(path: &VirtualPath, error: &PublishError) -> Refusal {
        let cause = || Refusal::store(path, error.cause());
        match error {
            PublishError::Conflict => Refusal::WrittenMeanwhile(path.clone()),
            PublishError::Final(_) | PublishError::Temporary(_) => cause(),
            // Says it itself.
            PublishError::Unclear(ObjectError::Lost) => cause(),
            PublishError::Unclear(_) => Refusal::MayBeStored(Box::new(cause())),
        }
    }
}

impl Refusal {
    /// Why a file or a directory was not deleted.
    pub(in crate::session) fn delete(path: &VirtualPath, error: &DeleteError) -> Refusal {
        match error {
            DeleteError::Refused(error) => Refusal::store(path, error),
            DeleteError::Unclear(error) => {
                Refusal::MayBeDeleted(Box::new(Refusal::store(path, error)))
            }
        }
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Refusal {
        match error {
            CommandError::Unknown => Refusal::UnknownCommand,
            CommandError::Http => Refusal::HttpRequest,
            CommandError::NotOffered(verb) => Refusal::NotOffered(verb),
            CommandError::Syntax(wanted) => Refusal::Syntax(sentence(&wanted)),
            CommandError::Parameter(offered) => Refusal::ParameterNotOffered(sentence(&offered)),
            CommandError::Protocol => Refusal::NoSuchProtocol,
            CommandError::NotUtf8 => Refusal::LineNotUtf8,
        }
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Refusal {
        match error {
            PathError::ControlCharacter => Refusal::ControlCharacter,
            PathError::TooLong => Refusal::PathTooLong,
            PathError::NotAnElement => Refusal::NotOneName,
        }
    }
}

/// RFC 4217: a failure of TLS is 522, not 425.
impl From<&DataError> for Refusal {
    fn from(error: &DataError) -> Refusal {
        match error {
            DataError::Timeout => Refusal::NoDataConnection,
            DataError::Connect(error) => Refusal::ConnectFailed(error.to_string()),
            DataError::Tls(error) => Refusal::DataHandshake(error.to_string()),
            DataError::NotReused => Refusal::DataNotResumed,
            DataError::OtherCertificate => Refusal::DataCertificate,
        }
    }
}

impl From<ActiveRefused> for Refusal {
    fn from(refused: ActiveRefused) -> Refusal {
        match refused {
            ActiveRefused::OtherHost => Refusal::ForeignAddress,
            ActiveRefused::LowPort(port) => Refusal::LowPort(port),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::Full => Refusal::SessionsFull,
            Refused::AddressFull => Refusal::AddressSessionsFull,
            Refused::EarlyFull => Refusal::EarlySessionsFull,
            Refused::EarlyAddressFull => Refusal::EarlyAddressSessionsFull,
            Refused::Displaced => Refusal::Displaced,
            Refused::Banned => Refusal::AddressBanned,
        }
    }
}

/// The first letter in upper case.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
