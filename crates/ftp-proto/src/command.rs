//! Command lines → [`Command`].
//!
//! A line is a verb, one space, and a parameter. The table in `verbs` has the verbs and their
//! syntax, for HELP and for the 501; `parse` and `parameters` read the parameter. A line that can't
//! be parsed is a [`CommandError`]. Its text has the expected syntax and repeats nothing of the
//! line, which may have a secret.

mod address;
mod argument;
mod host;
mod list_argument;
mod parameters;
mod parse;
mod verbs;

use std::net::SocketAddr;

use jiff::Timestamp;

pub use host::HostName;
pub use verbs::verb_of;

/// One command with its parsed parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// USER name
    User(String),
    /// PASS password (its Debug output hides it)
    Pass(Password),
    /// HOST name (RFC 7151)
    Host(HostName),
    /// ACCT information
    Acct,
    /// REIN
    Rein,
    /// AUTH mechanism (RFC 4217)
    Auth(AuthMechanism),
    /// PBSZ size; TLS ignores the size
    Pbsz,
    /// PROT level
    Prot(ProtectionLevel),
    /// CCC
    Ccc,
    /// QUIT
    Quit,
    /// CWD, XCWD path
    Cwd(String),
    /// CDUP, XCUP
    Cdup,
    /// PWD, XPWD
    Pwd,
    /// MKD, XMKD path
    Mkd(String),
    /// RMD, XRMD path
    Rmd(String),
    /// TYPE
    Type(TransferType),
    /// MODE S, the only supported mode
    Mode,
    /// STRU F, the only supported structure
    Stru,
    /// PASV
    Pasv,
    /// `EPSV [1|2|ALL]`
    Epsv(EpsvArgument),
    /// PORT h1,h2,h3,h4,p1,p2
    Port(SocketAddr),
    /// EPRT |1|a|p|
    Eprt(SocketAddr),
    /// RETR path
    Retr(String),
    /// STOR path
    Stor(String),
    /// `STOU [path]`
    Stou(Option<String>),
    /// APPE path
    Appe(String),
    /// `ALLO bytes [R n]`
    Allo(u64),
    /// REST offset
    Rest(u64),
    /// `LIST [options] [path]`
    List(ListArgument),
    /// `NLST [options] [path]`
    Nlst(ListArgument),
    /// `MLSD [path]`
    Mlsd(Option<String>),
    /// `MLST [path]`
    Mlst(Option<String>),
    /// `STAT [options] [path]`
    Stat(Option<ListArgument>),
    /// SIZE path
    Size(String),
    /// MDTM path
    Mdtm(String),
    /// MFMT time path
    Mfmt(Timestamp, String),
    /// `MDTM time path`, the old form of MFMT: time, path, and the whole text, which is the path if
    /// an object of that name exists
    MdtmSet(Timestamp, String, String),
    /// MFF modify=time; path
    Mff(Timestamp, String),
    /// DELE path
    Dele(String),
    /// RNFR path
    Rnfr(String),
    /// RNTO path
    Rnto(String),
    /// ABOR
    Abor,
    /// FEAT
    Feat,
    /// `OPTS UTF8 [ON|OFF]` (OFF: false)
    OptsUtf8(bool),
    /// OPTS MLST fact;fact; as the client wrote them, for [`super::facts::FactSet::select`]
    OptsMlst(Vec<String>),
    /// `OPTS HASH [name]`; `None` asks for the current one
    OptsHash(Option<HashName>),
    /// HASH path (draft-ietf-ftpext2-hash)
    Hash(String),
    /// RANG first last: bytes, with the last one; `None`: the whole file (RANG 1 0)
    Rang(Option<(u64, u64)>),
    /// XCRC, XMD5, XSHA…: the digest of a file, or of a piece of it
    Digest(HashName, PieceOfFile),
    /// `HELP [command]`
    Help(Option<String>),
    /// SYST
    Syst,
    /// NOOP
    Noop,
    /// SITE HELP
    SiteHelp,
    /// SITE UTIME time path, or SITE UTIME path atime mtime ctime UTC: the time of modification,
    /// and the path
    SiteUtime(Timestamp, String),
    /// SITE CHMOD mode path: the path; the mode is valid and has no effect
    SiteChmod(String),
    /// CLNT name
    Clnt(String),
    /// CSID facts (draft-peterson-streamlined-ftp-command-extensions): the client's name, or the
    /// whole parameter if it has no name
    Csid(String),
}

/// A password: its Debug output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// AUTH's mechanism: all of them are TLS (RFC 4217, 17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMechanism {
    /// TLS, TLS-C: data connections are plaintext until PROT P.
    Tls,
    /// SSL, TLS-P, of older drafts: data connections are private from the start.
    TlsPrivate,
}

impl AuthMechanism {
    /// Whether data connections are private from the start.
    pub fn implies_private(self) -> bool {
        self == AuthMechanism::TlsPrivate
    }
}

/// PROT's level (RFC 2228).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectionLevel {
    /// C
    Clear,
    /// S, which TLS does not have
    Safe,
    /// E, which TLS does not have
    Confidential,
    /// P
    Private,
}

/// TYPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferType {
    /// A, A N
    Ascii,
    /// I, L 8
    Image,
}

/// A digest, with its name in IANA's registry of hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashName {
    /// SHA-256, the default of HASH.
    Sha256,
    /// SHA-1
    Sha1,
    /// SHA-512
    Sha512,
    /// MD5
    Md5,
    /// CRC32
    Crc32,
}

impl HashName {
    /// All digests, in the order of FEAT.
    pub const ALL: [HashName; 5] = [
        HashName::Sha256,
        HashName::Sha1,
        HashName::Sha512,
        HashName::Md5,
        HashName::Crc32,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            HashName::Sha256 => "SHA-256",
            HashName::Sha1 => "SHA-1",
            HashName::Sha512 => "SHA-512",
            HashName::Md5 => "MD5",
            HashName::Crc32 => "CRC32",
        }
    }
}

/// The part of a file of XCRC and similar commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceOfFile {
    /// The file.
    pub path: String,
    /// Its first byte.
    pub first: u64,
    /// The byte after the last; `None`: to the end.
    pub stop: Option<u64>,
}

/// EPSV's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpsvArgument {
    /// None: the protocol of the control connection.
    Default,
    /// 1
    V4,
    /// 2
    V6,
    /// ALL
    All,
}

/// The argument of LIST, NLST and STAT, with its `ls` options parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListArgument {
    /// `-a`, `-A`: names with a leading dot too. Listings always show them.
    pub all: bool,
    /// `-R`: recursive.
    pub recursive: bool,
    /// `-d`: the directory itself.
    pub directory: bool,
    /// `-l` of NLST: long lines.
    pub long: bool,
    /// Path or glob, unquoted; `None`: the working directory.
    pub path: Option<String>,
}

/// Why a line is not a command. The text is that of the reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 500: no such command.
    #[error("unknown command")]
    Unknown,
    /// 500: an HTTP request, from a browser that was sent to an FTP server. What follows it must
    /// not become commands: the session closes the connection.
    #[error("this is FTP, not HTTP; closing the connection")]
    Http,
    /// 502: a known command that is not supported.
    #[error("{0} is not offered")]
    NotOffered(&'static str),
    /// 501: a missing, superfluous or malformed parameter: the expected syntax.
    #[error("{0}")]
    Syntax(String),
    /// 504: a valid parameter that is not supported.
    #[error("{0}")]
    Parameter(String),
    /// 522: EPSV or EPRT with a network protocol that is neither 1 (IPv4) nor 2 (IPv6) (RFC 2428,
    /// 2).
    #[error("network protocol not supported, use (1,2)")]
    Protocol,
    /// 501: not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
}

impl CommandError {
    /// The reply's code.
    pub fn code(&self) -> u16 {
        match self {
            CommandError::Unknown | CommandError::Http => 500,
            CommandError::Syntax(_) | CommandError::NotUtf8 => 501,
            CommandError::NotOffered(_) => 502,
            CommandError::Parameter(_) => 504,
            CommandError::Protocol => 522,
        }
    }
}

impl Command {
    /// Parses a line without its end. Verbs can have any case, and the old X forms (RFC 1123,
    /// 4.1.3.1).
    ///
    /// Exactly one space is between verb and path. Further ones belong to the name, since names can
    /// begin and end with spaces. Other parameters can have spaces around them. A command without
    /// parameters ignores one.
    ///
    /// # Errors
    ///
    /// See [`CommandError`]. An unknown verb takes precedence over a wrong parameter.
    ///
    /// # Examples
    ///
    /// ```
    /// use ftp_proto::{Command, CommandError};
    ///
    /// let command = Command::parse(b"stor in/two words.txt").unwrap();
    /// assert_eq!(command, Command::Stor("in/two words.txt".to_owned()));
    ///
    /// let error = Command::parse(b"GET / HTTP/1.1").unwrap_err();
    /// assert_eq!((error.code(), error), (500, CommandError::Http));
    /// ```
    pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
        parse::parse(line)
    }

    /// The verb, as in FEAT and HELP.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::User(_) => "USER",
            Command::Pass(_) => "PASS",
            Command::Host(_) => "HOST",
            Command::Acct => "ACCT",
            Command::Rein => "REIN",
            Command::Auth(_) => "AUTH",
            Command::Pbsz => "PBSZ",
            Command::Prot(_) => "PROT",
            Command::Ccc => "CCC",
            Command::Quit => "QUIT",
            Command::Cwd(_) => "CWD",
            Command::Cdup => "CDUP",
            Command::Pwd => "PWD",
            Command::Mkd(_) => "MKD",
            Command::Rmd(_) => "RMD",
            Command::Type(_) => "TYPE",
            Command::Mode => "MODE",
            Command::Stru => "STRU",
            Command::Pasv => "PASV",
            Command::Epsv(_) => "EPSV",
            Command::Port(_) => "PORT",
            Command::Eprt(_) => "EPRT",
            Command::Retr(_) => "RETR",
            Command::Stor(_) => "STOR",
            Command::Stou(_) => "STOU",
            Command::Appe(_) => "APPE",
            Command::Allo(_) => "ALLO",
            Command::Rest(_) => "REST",
            Command::List(_) => "LIST",
            Command::Nlst(_) => "NLST",
            Command::Mlsd(_) => "MLSD",
            Command::Mlst(_) => "MLST",
            Command::Stat(_) => "STAT",
            Command::Size(_) => "SIZE",
            Command::Mdtm(_) | Command::MdtmSet(..) => "MDTM",
            Command::Mfmt(..) => "MFMT",
            Command::Mff(..) => "MFF",
            Command::Dele(_) => "DELE",
            Command::Rnfr(_) => "RNFR",
            Command::Rnto(_) => "RNTO",
            Command::Abor => "ABOR",
            Command::Feat => "FEAT",
            Command::OptsUtf8(_) | Command::OptsMlst(_) | Command::OptsHash(_) => "OPTS",
            Command::Hash(_) => "HASH",
            Command::Rang(_) => "RANG",
            Command::Digest(HashName::Crc32, _) => "XCRC",
            Command::Digest(HashName::Md5, _) => "XMD5",
            Command::Digest(HashName::Sha1, _) => "XSHA1",
            Command::Digest(HashName::Sha256, _) => "XSHA256",
            Command::Digest(HashName::Sha512, _) => "XSHA512",
            Command::Help(_) => "HELP",
            Command::Syst => "SYST",
            Command::Noop => "NOOP",
            Command::SiteHelp | Command::SiteChmod(_) | Command::SiteUtime(..) => "SITE",
            Command::Clnt(_) => "CLNT",
            Command::Csid(_) => "CSID",
        }
    }

    /// Each supported verb, in the order of the documentation: the reply to HELP.
    pub fn verbs() -> impl Iterator<Item = &'static str> {
        verbs::OFFERED.iter().map(|offered| offered.verb)
    }

    /// The syntax of a command, such as `CWD path`, for a verb in any case: the reply to HELP with
    /// a parameter. `None` if the command is not supported.
    pub fn syntax(verb: &str) -> Option<&'static str> {
        verbs::offered(verb.as_bytes()).map(|offered| offered.syntax)
    }
}
