//! Command lines → [`Command`].

use std::net::SocketAddr;

use jiff::Timestamp;

/// One command, its parameters parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// USER name
    User(String),
    /// PASS password (its Debug output hides it)
    Pass(Password),
    /// ACCT information
    Acct,
    /// REIN
    Rein,
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
    /// MODE S
    Mode,
    /// STRU F
    Stru,
    /// PASV
    Pasv,
    /// EPSV [1|2|ALL]
    Epsv(EpsvArgument),
    /// PORT h1,h2,h3,h4,p1,p2
    Port(SocketAddr),
    /// EPRT |1|a|p|
    Eprt(SocketAddr),
    /// RETR path
    Retr(String),
    /// STOR path
    Stor(String),
    /// STOU [path]
    Stou(Option<String>),
    /// APPE path
    Appe(String),
    /// ALLO bytes [R n]
    Allo(u64),
    /// REST offset
    Rest(u64),
    /// LIST [options] [path]
    List(ListArgument),
    /// NLST [options] [path]
    Nlst(ListArgument),
    /// MLSD [path]
    Mlsd(Option<String>),
    /// MLST [path]
    Mlst(Option<String>),
    /// STAT [options] [path]
    Stat(Option<ListArgument>),
    /// SIZE path
    Size(String),
    /// MDTM path
    Mdtm(String),
    /// MFMT time path, and the old `MDTM time path`
    Mfmt(Timestamp, String),
    /// `MDTM time path`: the whole text is a path too, where an object of that name exists
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
    /// OPTS UTF8 [ON|OFF] (OFF: false)
    OptsUtf8(bool),
    /// OPTS MLST fact;fact;
    OptsMlst(Vec<String>),
    /// HELP [command]
    Help(Option<String>),
    /// SYST
    Syst,
    /// NOOP
    Noop,
    /// SITE HELP
    SiteHelp,
    /// SITE CHMOD mode path
    SiteChmod(String),
    /// CLNT name
    Clnt(String),
    /// CSID facts (draft): the client's name
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

/// TYPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferType {
    /// A, A N
    Ascii,
    /// I, L 8
    Image,
}

/// EPSV's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpsvArgument {
    /// None: the control connection's own protocol.
    Default,
    /// 1
    V4,
    /// 2
    V6,
    /// ALL
    All,
}

/// The argument of LIST, NLST and STAT, its `ls` options taken off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListArgument {
    /// `-a`, `-A`: names beginning with a dot too (they are always shown; kept for completeness).
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

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 500: no such command.
    #[error("unknown command")]
    Unknown,
    /// 502: known, not offered.
    #[error("{0} is not offered")]
    NotOffered(&'static str),
    /// 501: a parameter missing, left over, or that can't be read: what is wanted.
    #[error("{0}")]
    Syntax(String),
    /// 504: a parameter that is understood and not offered.
    #[error("{0}")]
    Parameter(String),
    /// 501: not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
}

impl Command {
    /// Parses a line without its end. Verbs in any case.
    pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
        let _ = line;
        todo!()
    }
    /// The verb, as FEAT and HELP write it.
    pub fn verb(&self) -> &'static str {
        todo!()
    }
}
