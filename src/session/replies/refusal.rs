//! [`Refusal`]: each reason to refuse a command, with the code and the text of its reply.
//!
//! One variant is one reason. Its data is what the text needs: the path, a permission, an offset, a
//! number of seconds. A text names the path first, then the reason, then what the client can do.
//! 4yz asks the client to try again later, 5yz not to repeat the command (RFC 959, 4.2); 421 also
//! closes the connection.

#[cfg(test)]
mod tests;

use std::fmt;

use ftp_proto::Reply;

use crate::namespace::{Permission, VirtualPath};

/// Defines [`Refusal`] by a table: variant, data, code and text.
macro_rules! refusals {
    ($($variant:ident $(($($field:ident: $kind:ty),+))? => $code:expr, $text:literal
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
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Refusal::$variant $(($($field),+))? => write!(f, $text $(, $argument)*),)+
                }
            }
        }
    };
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        Reply::new(refusal.code(), refusal.to_string())
    }
}

refusals! {
    // Command lines.
    LineTooLong => 500, "Command line too long, closing the connection";
    HttpRequest => 500, "This is FTP, not HTTP; closing the connection";
    UnknownCommand => 500, "Unknown command";
    LineNotUtf8 => 501, "The line is not UTF-8";
    Syntax(text: String) => 501, "{text}";
    NotOffered(verb: &'static str) => 502, "{verb} is not offered";
    NoSuchCommand => 502, "There is no such command";
    ParameterNotOffered(text: String) => 504, "{text}";
    Utf8Off => 504, "UTF8 can't be switched off";
    NoSuchProtocol => 522, "Network protocol not supported, use (1,2)";

    // The session.
    SessionsFull => 421, "Too many sessions, try again later";
    AddressSessionsFull => 421, "Too many sessions from your address, try again later";
    EarlySessionsFull => 421, "Too many sessions before login, try again later";
    EarlyAddressSessionsFull => 421,
        "Too many sessions before login from your address, try again later";
    UserSessionsFull => 421, "Too many sessions of this user, try again later";
    Displaced => 421,
        "Too many sessions before login, this one made room for another, try again later";
    EarlyCommands => 421, "Too many commands without a login, closing the connection";
    LoginTimeout => 421, "No login within the time limit, closing the connection";
    IdleTimeout => 421, "No command within the time limit, closing the connection";
    ShuttingDown => 421, "The server is shutting down, connect again";
    CommandCut => 451,
        "The server is shutting down and has stopped the command, check whether it was done";

    // Logging in.
    UserFirst => 503, "Send USER first";
    AlreadyLoggedIn => 503, "Already logged in";
    NotLoggedIn => 530, "Log in with USER and PASS first";
    LoginIncorrect => 530, "Login incorrect";
    AddressBanned => 421, "Too many failed logins from your address, try again later";
    FailedLogins => 421, "Too many failed logins, closing the connection";
    LoginsBusy => 421, "Too many logins at once, try again later";
    NoMemoryForLogin => 421, "No memory is free to check the password, try again later";
    AccountNotSetUp => 421, "Your account is not set up, ask the operator";
    AccountNeedsTls => 530, "This account needs TLS, send AUTH TLS first";
    AccountWithoutTls => 530, "This account can't be used under TLS";
    AccountNeedsCertificate => 530, "This account needs its client certificate";
    LastLogin(cause: Box<Refusal>) => 421, "{cause}, closing the connection";
    HostAfterUser => 503, "HOST comes before USER";
    NoSuchHost => 504, "There is no such host here";
    HostNotOfHandshake => 504, "The TLS handshake named another host";

    // TLS.
    TlsRequired => 530, "TLS is required, send AUTH TLS first";
    AlreadyUnderTls => 503, "The connection is under TLS already";
    AuthFirst => 503, "Send AUTH TLS first";
    PbszFirst => 503, "Send PBSZ 0 first";
    ProtClear => 534, "Data connections must be under TLS, PROT C is refused";
    ProtPrivate => 534, "Data connections can't be under TLS here, PROT P is refused";
    ProtLevel => 536, "TLS has the levels C and P only";
    CccUnderTls => 534, "The control connection stays under TLS";
    CccWithoutTls => 533, "The control connection is not under TLS";
    ReinUnderTls => 502, "REIN is not offered under TLS, connect again or send USER";
    DataNeedsAuth => 522, "Data connections must be under TLS, send AUTH TLS first";
    DataNeedsProt => 522, "Data connections must be under TLS, send PBSZ 0 and PROT P first";
    DataWithoutTls => 522, "Data connections can't be under TLS here, send PROT C first";

    // Data connections.
    NoDataSetup => 425, "Use EPSV, PASV, EPRT or PORT first";
    AfterEpsvAll => 503, "Refused after EPSV ALL, use EPSV";
    PasvOverIpv6 => 425, "PASV is for IPv4 only, use EPSV";
    NoPassiveAddress => 425, "No address for passive mode, use EPSV";
    PassivePortsTaken => 425, "All passive ports are taken for your address, try again later";
    // RFC 2428, 2: the protocols to use stand in parentheses.
    NetworkProtocol(protocol: u8) => 522, "Network protocol not supported here, use ({protocol})";
    PortNetworkProtocol(protocol: u8) => 501,
        "Network protocol not supported here, use ({protocol})";
    ForeignAddress => 504, "Data connections go to your own address only";
    LowPort(port: u16) => 504, "Data connections go to ports of 1024 and up only, not {port}";
    NoDataConnection => 425, "No data connection within the time limit";
    ConnectFailed(error: String) => 425, "Can't connect to the client: {error}";
    DataHandshake(error: String) => 522,
        "The TLS handshake of the data connection failed: {error}";
    DataNotResumed => 522,
        "The data connection must resume the TLS session of the control connection";
    DataCertificate => 522,
        "The client certificate of the data connection is not that of the control connection";

    // Paths and permissions.
    ControlCharacter => 553, "The name has a control character";
    PathTooLong => 553, "The path is longer than 1024 bytes";
    NotOneName => 553, "The name is not that of one file or directory";
    KeyTooLong => 553,
        "The path is longer than a key can be (1024 bytes with the mount's prefix; a directory's \
         ends in a slash)";
    PermissionDenied(path: VirtualPath, permission: Permission) => 550,
        "{path}: permission denied ({})", permission.name();
    NotFound(path: VirtualPath) => 550, "{path}: no such file or directory";
    NoSuchDirectory(path: VirtualPath) => 550, "{path}: no such directory";
    IsDirectory(path: VirtualPath) => 550, "{path}: is a directory";
    IsFile(path: VirtualPath) => 550, "{path}: is a file";
    BelowFile(path: VirtualPath) => 550, "{path}: a part of the path is a file";
    Exists(path: VirtualPath) => 550, "{path}: exists already";
    HoldsMount(path: VirtualPath) => 550,
        "{path}: holds a mount and can't be renamed or removed";
    NotEmpty(path: VirtualPath) => 550, "{path}: the directory is not empty";
    // For users who may not see whether the directory exists.
    NoneOrNotEmpty(path: VirtualPath) => 550, "{path}: no such directory, or it is not empty";

    // Sizes, times and digests.
    ListsDirectories(path: VirtualPath) => 501,
        "{path}: is a file, MLSD lists directories (MLST shows a file)";
    SizeInAscii(path: VirtualPath) => 550,
        "{path}: SIZE is not known in TYPE A here, use TYPE I";
    DigestInAscii(path: VirtualPath) => 504,
        "{path}: digests are of the stored bytes, use TYPE I";
    DigestOfChanging(path: VirtualPath) => 450,
        "{path}: another session is writing this file, try again";
    TimesNotKept(path: VirtualPath) => 550,
        "{path}: the store's own times are shown here and can't be set";
    TooLarge(path: VirtualPath, limit: u64) => 552,
        "{path}: larger than the largest object here, {limit} bytes";
    BeyondAnyFile(path: VirtualPath) => 554, "{path}: the offset is beyond the end of any file";
    BeyondEnd(path: VirtualPath) => 554, "{path}: the offset is beyond the end of the file";
    BeyondEndAt(path: VirtualPath, end: u64) => 554,
        "{path}: the offset is beyond the end, which is at {end}";

    // Renaming. `new` and `old` are the names; a tree's `cause` is what stopped it.
    RnfrFirst => 503, "Send RNFR first";
    BeingRenamed(old: VirtualPath) => 450,
        "{old}: another session is renaming it, try again later";
    SourceChanged(old: VirtualPath) => 451,
        "{old}: another session has written it in the meantime, try again";
    OldNameGone(new: VirtualPath, old: VirtualPath) => 550,
        "{new} is there, but another session has moved or deleted {old} in the meantime";
    OldNameWritten(new: VirtualPath, old: VirtualPath) => 451,
        "{new} is there, but {old} was written in the meantime and stays";
    OldNameStays(new: VirtualPath, old: VirtualPath) => 451,
        "{new} is there, but {old} could not be deleted and stays";
    MayBeRenamed(cause: Box<Refusal>, new: VirtualPath, old: VirtualPath) => cause.code(),
        "{cause}; {old} stays, check whether {new} was written";
    IntoItself(new: VirtualPath) => 553,
        "{new}: a directory can't be moved into itself or onto one it is in";
    OntoExisting(new: VirtualPath) => 553,
        "{new}: exists already, a directory is not moved onto it";
    TreeChanged(new: VirtualPath, old: VirtualPath) => 451,
        "{new}: another session has written there, or in {old}, in the meantime";
    TreeUnmoved(cause: Box<Refusal>) => cause.code(), "{cause}; nothing was moved";
    TreeCopiesLeft(cause: Box<Refusal>, new: VirtualPath) => cause.code(),
        "{cause}; nothing was moved, but copies are left in {new}";
    TreeSourceLeft(cause: Box<Refusal>, new: VirtualPath, old: VirtualPath) => cause.code(),
        "{cause}; {new} is there, and a part of {old} is not deleted and stays";

    // The server's memory.
    NoMemory(path: VirtualPath) => 450,
        "{path}: no memory is free for the transfer, try again later";
    NoMemoryForListing => 450, "No memory is free for the listing, try again later";

    // The store. Its own words can show its inside: they stand in the log, the client gets these.
    NoSuchBucket(path: VirtualPath) => 550, "{path}: the bucket does not exist";
    StoreDenied(path: VirtualPath) => 550, "{path}: the store denies access";
    StoreUnsupported(path: VirtualPath) => 550, "{path}: the store does not support this";
    StoreRefused(path: VirtualPath) => 550, "{path}: the store refused the operation";
    WrittenByOther(path: VirtualPath) => 550,
        "{path}: another client has created or changed the file";
    NameTooLong(path: VirtualPath) => 553, "{path}: the name is too long for the store";
    StoreFull(path: VirtualPath) => 452, "{path}: the store is full";
    StoreCredentials(path: VirtualPath) => 451,
        "{path}: the server's access to the store has expired or its clock is wrong, \
         try again later";
    StoreUnreachable(path: VirtualPath) => 451,
        "{path}: the store can't be reached, try again later";
    StoreTimeout(path: VirtualPath) => 451,
        "{path}: the store did not answer in time, try again later";
    StoreOverloaded(path: VirtualPath) => 451,
        "{path}: the store is overloaded, try again later";
    NotTheStore(path: VirtualPath) => 451,
        "{path}: something other than the store answered, try again later";
    OtherBytesStored(path: VirtualPath) => 451,
        "{path}: what the store received is not what was sent, try again";
    OtherBytesRead(path: VirtualPath) => 451,
        "{path}: what the store sent does not match its checksum, try again";
    ChangedWhileRead(path: VirtualPath) => 451,
        "{path}: the file was changed while it was read, try again";
    BeingWritten(path: VirtualPath) => 450,
        "{path}: another session is writing this file, try again later";
    Superseded(path: VirtualPath) => 451,
        "{path}: another upload of the same name has replaced this one";
    UploadUnknown(path: VirtualPath) => 451,
        "{path}: the store no longer knows the upload, check whether the file was stored";
    MayBeStored(cause: Box<Refusal>) => cause.code(), "{cause}; check whether the file was stored";

    // Uploads.
    RangBeforeStor => 504, "RANG is for RETR and HASH, use REST";
    RestBeforeStou => 504, "STOU begins at byte 0, use STOR after REST";
    RestInAscii => 504, "REST and RANG are not possible in TYPE A here, use TYPE I";
    RestBeyondEnd(path: VirtualPath, end: u64) => 554,
        "{path}: the offset is beyond the end, use REST {end} or less";
    AppeNotAtEnd(path: VirtualPath) => 554,
        "{path}: the offset of REST is not the end of the file, at which APPE begins";
    WrittenMeanwhile(path: VirtualPath) => 550,
        "{path}: another client has written it in the meantime, it was left as it is";
    UploadDiscarded(path: VirtualPath) => 554,
        "{path}: your upload broke off and was discarded, use STOR without REST";

    // Uploads that can be resumed.
    // The same text for each file whose size the user may not see.
    NothingToResume(path: VirtualPath) => 554,
        "{path}: nothing can be resumed at this offset, use STOR without REST";
    OtherLength(path: VirtualPath) => 450,
        "{path}: the file is not the one whose length was reported, ask SIZE again";
    BeingSaved(path: VirtualPath) => 450,
        "{path}: an earlier upload is still being saved, try again in 10 s";
    OnOtherServer(path: VirtualPath, seconds: u64) => 450,
        "{path}: another server is receiving this upload, try again in {seconds} s";
    InOtherSession(path: VirtualPath, length: u64) => 450,
        "{path}: another session of yours is uploading this file and has sent {length} bytes, \
         try again when it has ended";
    Interrupted(path: VirtualPath, length: u64) => 554,
        "{path}: an upload of yours was interrupted, use REST {length} and STOR to resume it, \
         or STOR without REST to start over";
    LaterRecord(path: VirtualPath, format: u32) => 450,
        "{path}: a later version of this server has recorded an upload of yours (format {format}), \
         try again when all servers have that version, or start over with STOR without REST";
    ResumeTooLarge(path: VirtualPath) => 554,
        "{path}: this server has too little memory for the parts of the interrupted upload, \
         use STOR without REST to start over";
    ShorterThanStored(path: VirtualPath) => 554,
        "{path}: the file ends before the bytes that are stored of it, start over with STOR \
         without REST";
    ResumedObjectWritten(path: VirtualPath) => 450,
        "{path}: another client has written it or resumes it, ask SIZE again";
    BeingWrittenButSaved(path: VirtualPath) => 450,
        "{path}: another session is writing this file; your upload is saved, ask SIZE and resume \
         it later";
    ResumedByOther(path: VirtualPath) => 426,
        "{path}: another session of yours resumes this upload";

    // Downloads.
    LengthOfUpload(path: VirtualPath) => 450,
        "{path}: the length that SIZE reported is that of an interrupted upload, ask SIZE again \
         for the stored file";
    LengthOfUploadInOther(path: VirtualPath) => 550,
        "{path}: SIZE has reported the length of an interrupted upload, ask SIZE in this session \
         before a part of the stored file";
    ReplacedAfterSize(path: VirtualPath) => 450,
        "{path}: the file was replaced after SIZE had reported its length, try again";
    ReplacedAfterDownload(path: VirtualPath) => 550,
        "{path}: the file was replaced after a download of it had broken off, fetch it from its \
         beginning";

    // Transfers that broke off.
    DataIncomplete(path: VirtualPath, error: String) => 426,
        "{path}: data connection broken: {error}, so it was not taken for whole";
    DataBroken(path: VirtualPath) => 426,
        "{path}: data connection broken, nothing was stored or all was not sent";
    DataStalled(path: VirtualPath, seconds: u64) => 426, "{path}: no data moved for {seconds} s";
    Aborted(path: VirtualPath) => 426, "{path}: aborted by the client";
    ControlEnded(path: VirtualPath) => 426,
        "{path}: broken off: the control connection was closed before its end";
    ControlLost(path: VirtualPath) => 426, "{path}: control connection lost";
    TransferCut(path: VirtualPath) => 426, "{path}: cut: the server is shutting down";
    LineTooLongInTransfer(path: VirtualPath) => 426, "{path}: cut: the command line is too long";
}
