//! [`Refusal`]: each reason to refuse a command, with the code and the text of its reply,
//! and the class of its event.
//!
//! One variant is one reason. Its data is what the text needs: the path, a permission, an offset, a
//! number of seconds. A text names the path first, then the reason, then what the client can do.
//! 4yz asks the client to try again later, 5yz not to repeat the command (RFC 959, 4.2); 421 also
//! closes the connection.

#[cfg(test)]
mod tests;

use std::fmt;

use ftp_proto::Reply;

use crate::events::Class;
use crate::namespace::{Permission, VirtualPath};

/// Defines [`Refusal`] by a table: variant, data, code, class and text.
macro_rules! refusals {
    ($($variant:ident $(($($field:ident: $kind:ty),+))? => $code:expr, $class:expr, $text:literal
        $(, $argument:expr)*;)+) => {
        /// Why a command is refused.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(in crate::session) enum Refusal {
            $($variant $(($($kind),+))?,)+
        }

        impl Refusal {
            /// The code of the reply.
            #[allow(unused_variables, reason = "most codes do not depend on the data")]
            pub(in crate::session) fn code(&self) -> u16 {
                match self {
                    $(Refusal::$variant $(($($field),+))? => $code,)+
                }
            }

            /// The class of the event.
            #[allow(unused_variables, reason = "most classes do not depend on the data")]
            pub(in crate::session) fn class(&self) -> Class {
                match self {
                    $(Refusal::$variant $(($($field),+))? => $class,)+
                }
            }

            /// One of each variant.
            #[cfg(test)]
            fn samples() -> Vec<(&'static str, Refusal)> {
                use tests::Sample;
                vec![$(
                    (stringify!($variant), Refusal::$variant $(($(<$kind>::sample()),+))?),
                )+]
            }
        }

        /// The text of the reply.
        impl fmt::Display for Refusal {
            #[allow(unused_variables, reason = "the client does not get the detail")]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Refusal::$variant $(($($field),+))? => write!(f, $text $(, $argument)*),)+
                }
            }
        }
    };
}

/// The error that led to a refusal. It can show the inside of the store or the network: the operator
/// gets it, the client does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) struct Detail(Box<str>);

impl Detail {
    pub(in crate::session) fn of(error: impl fmt::Display) -> Detail {
        Detail(error.to_string().into())
    }
}

impl Refusal {
    /// The error that led to the refusal, for the operator.
    pub(in crate::session) fn detail(&self) -> Option<&str> {
        match self {
            Refusal::StoreDenied(_, detail)
            | Refusal::StoreUnsupported(_, detail)
            | Refusal::StoreRefused(_, detail)
            | Refusal::StoreCredentials(_, detail)
            | Refusal::StoreClock(_, detail)
            | Refusal::StoreUnreachable(_, detail)
            | Refusal::NotTheStore(_, detail)
            | Refusal::OtherBytesStored(_, detail)
            | Refusal::OldNameStays(.., detail)
            | Refusal::OldNameMayStay(.., detail)
            | Refusal::Unchecked(_, detail)
            | Refusal::UncheckedButSaved(_, detail)
            | Refusal::UncheckedRename(.., detail)
            | Refusal::DataBroken(_, detail) => Some(&detail.0),
            Refusal::LastLogin(cause)
            | Refusal::MayBeRenamed(cause, ..)
            | Refusal::TreeUnmoved(cause)
            | Refusal::TreeCopiesLeft(cause, _)
            | Refusal::TreeSourceLeft(cause, ..)
            | Refusal::ListingBroken(cause)
            | Refusal::MayBeStored(cause)
            | Refusal::MayBeDeleted(cause) => cause.detail(),
            _ => None,
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        Reply::new(refusal.code(), refusal.to_string())
    }
}

refusals! {
    // Command lines.
    LineTooLong => 500, Class::Invalid, "Command line too long, closing the connection";
    HttpRequest => 500, Class::Invalid, "This is FTP, not HTTP; closing the connection";
    UnknownCommand => 500, Class::Invalid, "Unknown command";
    LineNotUtf8 => 501, Class::Invalid, "The line is not UTF-8";
    Syntax(text: String) => 501, Class::Invalid, "{text}";
    NotOffered(verb: &'static str) => 502, Class::Invalid, "{verb} is not offered";
    NoSuchCommand => 502, Class::Invalid, "There is no such command";
    ParameterNotOffered(text: String) => 504, Class::Invalid, "{text}";
    Utf8Off => 504, Class::Invalid, "UTF8 can't be switched off";
    NoSuchProtocol => 522, Class::Invalid, "Network protocol not supported, use (1,2)";

    // The session.
    SessionsFull => 421, Class::Busy, "Too many sessions, try again later";
    AddressSessionsFull => 421, Class::Busy, "Too many sessions from your address, try again later";
    EarlySessionsFull => 421, Class::Busy, "Too many sessions before login, try again later";
    EarlyAddressSessionsFull => 421, Class::Busy,
        "Too many sessions before login from your address, try again later";
    UserSessionsFull => 421, Class::Busy, "Too many sessions of this user, try again later";
    Displaced => 421, Class::Busy,
        "Too many sessions before login, this one made room for another, try again later";
    EarlyCommands => 421, Class::Invalid, "Too many commands without a login, closing the connection";
    LoginTimeout => 421, Class::ClientStalled, "No login within the time limit, closing the connection";
    IdleTimeout => 421, Class::ClientStalled, "No command within the time limit, closing the connection";
    ShuttingDown => 421, Class::Shutdown, "The server is shutting down, connect again";
    SessionEnded => 421, Class::Shutdown, "The operator has ended the session";
    AccountEnded => 421, Class::Permission, "The account can not be used any more";
    CommandCut => 451, Class::Shutdown,
        "The server is shutting down and has stopped the command, check whether it was done";
    CommandEnded => 451, Class::Shutdown,
        "The operator has ended the session and stopped the command, check whether it was done";

    // Logging in.
    UserFirst => 503, Class::Invalid, "Send USER first";
    AlreadyLoggedIn => 503, Class::Invalid, "Already logged in";
    NotLoggedIn => 530, Class::Permission, "Log in with USER and PASS first";
    LoginIncorrect => 530, Class::Permission, "Login incorrect";
    AddressBanned => 421, Class::Permission, "Too many failed logins from your address, try again later";
    FailedLogins => 421, Class::Permission, "Too many failed logins, closing the connection";
    LoginsBusy => 421, Class::Busy, "Too many logins at once, try again later";
    NoMemoryForLogin => 421, Class::Busy, "No memory is free to check the password, try again later";
    AccountNotSetUp => 421, Class::Permission, "Your account is not set up, ask the operator";
    AccountNeedsTls => 530, Class::Permission, "This account needs TLS, send AUTH TLS first";
    AccountWithoutTls => 530, Class::Permission, "This account can't be used under TLS";
    AccountNeedsCertificate => 530, Class::Permission, "This account needs its client certificate";
    LastLogin(cause: Box<Refusal>) => 421, cause.class(), "{cause}, closing the connection";
    HostAfterUser => 503, Class::Invalid, "HOST comes before USER";
    NoSuchHost => 504, Class::Invalid, "There is no such host here";
    HostNotOfHandshake => 504, Class::Invalid, "The TLS handshake named another host";

    // TLS.
    TlsRequired => 530, Class::Permission, "TLS is required, send AUTH TLS first";
    AlreadyUnderTls => 503, Class::Invalid, "The connection is under TLS already";
    AuthFirst => 503, Class::Invalid, "Send AUTH TLS first";
    PbszFirst => 503, Class::Invalid, "Send PBSZ 0 first";
    ProtClear => 534, Class::Permission, "Data connections must be under TLS, PROT C is refused";
    ProtPrivate => 534, Class::Permission, "Data connections can't be under TLS here, PROT P is refused";
    ProtLevel => 536, Class::Invalid, "TLS has the levels C and P only";
    CccUnderTls => 534, Class::Invalid, "The control connection stays under TLS";
    CccWithoutTls => 533, Class::Invalid, "The control connection is not under TLS";
    ReinUnderTls => 502, Class::Invalid, "REIN is not offered under TLS, connect again or send USER";
    DataNeedsAuth => 522, Class::NoDataConnection, "Data connections must be under TLS, send AUTH TLS first";
    DataNeedsProt => 522, Class::NoDataConnection, "Data connections must be under TLS, send PBSZ 0 and PROT P first";
    DataWithoutTls => 522, Class::NoDataConnection, "Data connections can't be under TLS here, send PROT C first";

    // Data connections.
    NoDataSetup => 425, Class::NoDataConnection, "Use EPSV, PASV, EPRT or PORT first";
    AfterEpsvAll => 503, Class::NoDataConnection, "Refused after EPSV ALL, use EPSV";
    PasvOverIpv6 => 425, Class::NoDataConnection, "PASV is for IPv4 only, use EPSV";
    NoPassiveAddress => 425, Class::NoDataConnection, "No address for passive mode, use EPSV";
    PassivePortsTaken => 425, Class::Busy, "All passive ports are taken for your address, try again later";
    // RFC 2428, 2: the protocols to use stand in parentheses.
    NetworkProtocol(protocol: u8) => 522, Class::NoDataConnection, "Network protocol not supported here, use ({protocol})";
    PortNetworkProtocol(protocol: u8) => 501, Class::NoDataConnection,
        "Network protocol not supported here, use ({protocol})";
    ForeignAddress => 504, Class::NoDataConnection, "Data connections go to your own address only";
    LowPort(port: u16) => 504, Class::NoDataConnection, "Data connections go to ports of 1024 and up only, not {port}";
    NoDataConnection => 425, Class::NoDataConnection, "No data connection within the time limit";
    ConnectFailed(error: String) => 425, Class::NoDataConnection, "Can't connect to the client: {error}";
    DataHandshake(error: String) => 522, Class::NoDataConnection,
        "The TLS handshake of the data connection failed: {error}";
    DataNotResumed => 522, Class::NoDataConnection,
        "The data connection must resume the TLS session of the control connection";
    DataCertificate => 522, Class::NoDataConnection,
        "The client certificate of the data connection is not that of the control connection";

    // Paths and permissions.
    ControlCharacter => 553, Class::Invalid, "The name has a control character";
    PathTooLong => 553, Class::Invalid, "The path is longer than 1024 bytes";
    NotOneName => 553, Class::Invalid, "The name is not that of one file or directory";
    KeyTooLong => 553, Class::Invalid,
        "The path is longer than a key can be (1024 bytes with the mount's prefix; a directory's \
         ends in a slash)";
    NameRefused(path: VirtualPath, rule: String) => 553, Class::Permission,
        "{path}: files may not have this name here ({rule})";
    PermissionDenied(path: VirtualPath, permission: Permission) => 550, Class::Permission,
        "{path}: permission denied ({})", permission.name();
    NotFound(path: VirtualPath) => 550, Class::NotFound, "{path}: no such file or directory";
    NoSuchDirectory(path: VirtualPath) => 550, Class::NotFound, "{path}: no such directory";
    IsDirectory(path: VirtualPath) => 550, Class::Invalid, "{path}: is a directory";
    IsFile(path: VirtualPath) => 550, Class::Invalid, "{path}: is a file";
    BelowFile(path: VirtualPath) => 550, Class::Invalid, "{path}: a part of the path is a file";
    Exists(path: VirtualPath) => 550, Class::Exists, "{path}: exists already";
    HoldsMount(path: VirtualPath) => 550, Class::Invalid,
        "{path}: holds a mount and can't be renamed or removed";
    NotEmpty(path: VirtualPath) => 550, Class::Exists, "{path}: the directory is not empty";
    // For users who may not see whether the directory exists.
    NoneOrNotEmpty(path: VirtualPath) => 550, Class::NotFound, "{path}: no such directory, or it is not empty";

    // Sizes, times and digests.
    ListsDirectories(path: VirtualPath) => 501, Class::Invalid,
        "{path}: is a file, MLSD lists directories (MLST shows a file)";
    SizeInAscii(path: VirtualPath) => 550, Class::Invalid,
        "{path}: SIZE is not known in TYPE A here, use TYPE I";
    DigestInAscii(path: VirtualPath) => 504, Class::Invalid,
        "{path}: digests are of the stored bytes, use TYPE I";
    DigestOfChanging(path: VirtualPath) => 450, Class::Busy,
        "{path}: another session is writing this file, try again";
    TimesNotKept(path: VirtualPath) => 550, Class::Invalid,
        "{path}: the store's own times are shown here and can't be set";
    TooLarge(path: VirtualPath, limit: u64) => 552, Class::TooLarge,
        "{path}: larger than the largest object here, {limit} bytes";
    FileTooLarge(path: VirtualPath, limit: u64) => 552, Class::TooLarge,
        "{path}: larger than the largest file that is allowed here, {limit} bytes";
    BeyondAnyFile(path: VirtualPath) => 554, Class::Invalid, "{path}: the offset is beyond the end of any file";
    BeyondEnd(path: VirtualPath) => 554, Class::Invalid, "{path}: the offset is beyond the end of the file";
    BeyondEndAt(path: VirtualPath, end: u64) => 554, Class::Invalid,
        "{path}: the offset is beyond the end, which is at {end}";

    // Renaming. `new` and `old` are the names; a tree's `cause` is what stopped it.
    RnfrFirst => 503, Class::Invalid, "Send RNFR first";
    BeingRenamed(old: VirtualPath) => 450, Class::Busy,
        "{old}: another session is renaming it, try again later";
    SourceChanged(old: VirtualPath) => 451, Class::Superseded,
        "{old}: another session has written it in the meantime, try again";
    OldNameGone(new: VirtualPath, old: VirtualPath) => 550, Class::Superseded,
        "{new} is there, but another session has moved or deleted {old} in the meantime";
    OldNameWritten(new: VirtualPath, old: VirtualPath) => 451, Class::Superseded,
        "{new} is there, but {old} was written in the meantime and stays";
    OldNameStays(new: VirtualPath, old: VirtualPath, detail: Detail) => 451, Class::StoreError,
        "{new} is there, but {old} could not be deleted and stays";
    OldNameMayStay(new: VirtualPath, old: VirtualPath, detail: Detail) => 451, Class::StoreError,
        "{new} is there, but {old} may not be deleted, check whether it stays";
    MayBeRenamed(cause: Box<Refusal>, new: VirtualPath, old: VirtualPath) => cause.code(),
        cause.class(),
        "{cause}; {old} stays, check whether {new} was written";
    IntoItself(new: VirtualPath) => 553, Class::Invalid,
        "{new}: a directory can't be moved into itself or onto one it is in";
    OntoExisting(new: VirtualPath) => 553, Class::Exists,
        "{new}: exists already, a directory is not moved onto it";
    HoldsTemporary(old: VirtualPath) => 550, Class::Exists,
        "{old}: holds temporary files of yours, rename or delete them first";
    TreeChanged(new: VirtualPath, old: VirtualPath) => 451, Class::Superseded,
        "{new}: another session has written there, or in {old}, in the meantime";
    TreeUnmoved(cause: Box<Refusal>) => cause.code(), cause.class(), "{cause}; nothing was moved";
    TreeCopiesLeft(cause: Box<Refusal>, new: VirtualPath) => cause.code(), cause.class(),
        "{cause}; nothing was moved, but copies are left in {new}";
    TreeSourceLeft(cause: Box<Refusal>, new: VirtualPath, old: VirtualPath) => cause.code(), cause.class(),
        "{cause}; {new} is there, and a part of {old} is not deleted and stays";

    // Limits of the user.
    UserTransfersFull(path: VirtualPath, limit: usize) => 450, Class::Busy,
        "{path}: transfers of this user are limited to {limit} at the same time, try again when one \
         has ended";

    // The server's memory.
    NoMemory(path: VirtualPath) => 450, Class::Busy,
        "{path}: no memory is free for the transfer, try again later";
    NoMemoryForListing => 450, Class::Busy, "No memory is free for the listing, try again later";

    // The store. Its own words can show its inside: they stand in the log, the client gets these.
    StoreDenied(path: VirtualPath, detail: Detail) => 550, Class::StoreDenied, "{path}: the store denies access";
    StoreUnsupported(path: VirtualPath, detail: Detail) => 550, Class::StoreError, "{path}: the store does not support this";
    OtherKey(path: VirtualPath) => 550, Class::StoreError, "{path}: the object is encrypted with another key than this server has";
    StoreRefused(path: VirtualPath, detail: Detail) => 550, Class::StoreError, "{path}: the store refused the operation";
    WrittenByOther(path: VirtualPath) => 550, Class::Superseded,
        "{path}: another client has created or changed the file";
    NameTooLong(path: VirtualPath) => 553, Class::Invalid, "{path}: the name is too long for the store";
    StoreFull(path: VirtualPath) => 452, Class::Quota, "{path}: the store is full";
    // The server's own access is at fault, and the file may be right.
    NoSuchBucket(path: VirtualPath) => 451, Class::StoreError,
        "{path}: the bucket does not exist, the operator has to create it; try again later";
    StoreCredentials(path: VirtualPath, detail: Detail) => 451, Class::StoreCredentials,
        "{path}: the store does not take this server's credentials, the operator has to renew \
         them; try again later";
    StoreClock(path: VirtualPath, detail: Detail) => 451, Class::StoreCredentials,
        "{path}: the clocks of this server and the store differ, the operator has to set them; \
         try again later";
    StoreUnreachable(path: VirtualPath, detail: Detail) => 451, Class::StoreUnreachable,
        "{path}: the store can't be reached, try again later";
    StoreTimeout(path: VirtualPath) => 451, Class::StoreUnreachable,
        "{path}: the store did not answer in time, try again later";
    StoreOverloaded(path: VirtualPath) => 451, Class::StoreUnreachable,
        "{path}: the store is overloaded, try again later";
    NotTheStore(path: VirtualPath, detail: Detail) => 451, Class::StoreUnreachable,
        "{path}: something other than the store answered, try again later";
    OtherBytesStored(path: VirtualPath, detail: Detail) => 451, Class::StoreError,
        "{path}: what the store received is not what was sent, try again";
    OtherBytesRead(path: VirtualPath) => 451, Class::StoreError,
        "{path}: what the store sent does not match its checksum, try again";
    ChangedWhileRead(path: VirtualPath) => 451, Class::Superseded,
        "{path}: the file was changed while it was read, try again";
    BeingWritten(path: VirtualPath) => 450, Class::Busy,
        "{path}: another session is writing this file, try again later";
    Superseded(path: VirtualPath) => 451, Class::Superseded,
        "{path}: another upload of the same name has replaced this one";
    UploadUnknown(path: VirtualPath) => 451, Class::StoreError,
        "{path}: the store no longer knows the upload, check whether the file was stored";
    MayBeStored(cause: Box<Refusal>) => cause.code(), cause.class(), "{cause}; check whether the file was stored";
    MayBeDeleted(cause: Box<Refusal>) => cause.code(), cause.class(), "{cause}; check whether it is still there";

    // Uploads.
    RangBeforeStor => 504, Class::Invalid, "RANG is for RETR and HASH, use REST";
    RestBeforeStou => 504, Class::Invalid, "STOU begins at byte 0, use STOR after REST";
    RestInAscii => 504, Class::Invalid, "REST and RANG are not possible in TYPE A here, use TYPE I";
    RestBeyondEnd(path: VirtualPath, end: u64) => 554, Class::Invalid,
        "{path}: the offset is beyond the end, use REST {end} or less";
    AppeNotAtEnd(path: VirtualPath) => 554, Class::Invalid,
        "{path}: the offset of REST is not the end of the file, at which APPE begins";
    WrittenMeanwhile(path: VirtualPath) => 550, Class::Superseded,
        "{path}: another client has written it in the meantime, it was left as it is";
    RefusedByCheck(path: VirtualPath, reason: String) => 550, Class::Permission,
        "{path}: refused, nothing was stored: {reason}";
    Unchecked(path: VirtualPath, detail: Detail) => 451, Class::Busy,
        "{path}: the file could not be checked and was not stored, send it again later";
    UncheckedRename(new: VirtualPath, old: VirtualPath, detail: Detail) => 451, Class::Busy,
        "{new}: the file could not be checked; {old} stays, rename it again later";
    UploadDiscarded(path: VirtualPath) => 554, Class::Invalid,
        "{path}: your upload broke off and was discarded, use STOR without REST";

    // Uploads that can be resumed.
    // The same text for each file whose size the user may not see.
    NothingToResume(path: VirtualPath) => 554, Class::Invalid,
        "{path}: nothing can be resumed at this offset, use STOR without REST";
    OtherLength(path: VirtualPath) => 450, Class::Invalid,
        "{path}: the file is not the one whose length was reported, ask SIZE again";
    BeingSaved(path: VirtualPath) => 450, Class::Busy,
        "{path}: an earlier upload is still being saved, try again in 10 s";
    OnOtherServer(path: VirtualPath, seconds: u64) => 450, Class::Busy,
        "{path}: another server is receiving this upload, try again in {seconds} s";
    InOtherSession(path: VirtualPath, length: u64) => 450, Class::Busy,
        "{path}: another session of yours is uploading this file and has sent {length} bytes, \
         try again when it has ended";
    Interrupted(path: VirtualPath, length: u64) => 554, Class::Invalid,
        "{path}: an upload of yours was interrupted, use REST {length} and STOR to resume it, \
         or STOR without REST to start over";
    LaterRecord(path: VirtualPath, format: u32) => 450, Class::Invalid,
        "{path}: a later version of this server has recorded an upload of yours (format {format}), \
         try again when all servers have that version, or start over with STOR without REST";
    ResumeTooLarge(path: VirtualPath) => 554, Class::Invalid,
        "{path}: this server has too little memory for the parts of the interrupted upload, \
         use STOR without REST to start over";
    ShorterThanStored(path: VirtualPath) => 554, Class::Invalid,
        "{path}: the file ends before the bytes that are stored of it, start over with STOR \
         without REST";
    ResumedObjectWritten(path: VirtualPath) => 450, Class::Superseded,
        "{path}: another client has written it or resumes it, ask SIZE again";
    BeingWrittenButSaved(path: VirtualPath) => 450, Class::Busy,
        "{path}: another session is writing this file; your upload is saved, ask SIZE and resume \
         it later";
    UncheckedButSaved(path: VirtualPath, detail: Detail) => 451, Class::Busy,
        "{path}: the file could not be checked; your upload is saved, ask SIZE and resume it later, \
         or send it again";
    ResumedByOther(path: VirtualPath) => 426, Class::Superseded,
        "{path}: another session of yours resumes this upload";

    // Downloads.
    LengthOfUpload(path: VirtualPath) => 450, Class::Invalid,
        "{path}: the length that SIZE reported is that of an interrupted upload, ask SIZE again \
         for the stored file";
    LengthOfUploadInOther(path: VirtualPath) => 550, Class::Invalid,
        "{path}: SIZE has reported the length of an interrupted upload, ask SIZE in this session \
         before a part of the stored file";
    ReplacedAfterSize(path: VirtualPath) => 450, Class::Superseded,
        "{path}: the file was replaced after SIZE had reported its length, try again";
    ReplacedAfterDownload(path: VirtualPath) => 550, Class::Superseded,
        "{path}: the file was replaced after a download of it had broken off, fetch it from its \
         beginning";

    // STAT of a directory that broke off after its first line.
    ListingCut => 451, Class::Shutdown,
        "Broken off: the server is shutting down, the list is not complete";
    ListingBroken(cause: Box<Refusal>) => cause.code(), cause.class(),
        "Broken off: the store failed, the list is not complete";

    // Transfers that broke off.
    DataIncomplete(path: VirtualPath, error: String) => 426, Class::ClientGone,
        "{path}: data connection broken: {error}, so it was not taken for whole";
    DataBroken(path: VirtualPath, detail: Detail) => 426, Class::ClientGone,
        "{path}: data connection broken, nothing was stored or all was not sent";
    DataStalled(path: VirtualPath, seconds: u64) => 426, Class::ClientStalled, "{path}: no data moved for {seconds} s";
    Aborted(path: VirtualPath) => 426, Class::ClientAborted, "{path}: aborted by the client";
    ControlEnded(path: VirtualPath) => 426, Class::ClientGone,
        "{path}: broken off: the control connection was closed before its end";
    ControlLost(path: VirtualPath) => 426, Class::ClientGone, "{path}: control connection lost";
    TransferCut(path: VirtualPath) => 426, Class::Shutdown, "{path}: cut: the server is shutting down";
    TransferEnded(path: VirtualPath) => 426, Class::Shutdown,
        "{path}: cut: the operator has ended the session";
    LineTooLongInTransfer(path: VirtualPath) => 426, Class::Invalid, "{path}: cut: the command line is too long";
}
