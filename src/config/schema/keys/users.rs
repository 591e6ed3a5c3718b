//! Keys of users and groups.

use crate::config::schema::entry::{LARGEST_FILE, NONE, PROTECTION, SESSIONS, key, table};
use crate::config::schema::keys::stores::MOUNT;
use crate::config::schema::{Fallback, KeySchema, Kind, Rule, TableSchema};
use crate::units::{KIB, TIB};
use Fallback::{Text, Value};
use Kind::{
    Date, Either, Flag, Line, List, Map, Name, Network, Path, Paths, Secret, Size, Table, Time,
    Word,
};

const OWN_TLS: KeySchema = key(
    "tls",
    Table(&USER_TLS),
    Text("the listener's"),
    "overrides the listener's `control` and `data` for this user. If a listener requires TLS on control connections, no user is admitted without it",
);
const LENIENT_CLOSE: KeySchema = key(
    "lenient_close",
    Flag,
    Value("false"),
    "true: under TLS an upload may also end with a bare FIN between two records, for devices that never send close_notify. Anyone on the path can then cut an upload short",
);
const START_DIRECTORY: KeySchema = key(
    "start_directory",
    Path,
    Value("\"/\""),
    "the directory in which sessions begin. Paths that do not begin with `/` are relative to the current directory, as always",
);
const SESSIONS_OF_USER: KeySchema = key(
    "sessions",
    SESSIONS,
    Text("`limits.sessions_per_user`"),
    "the number of sessions of a user",
);
const TRANSFERS_OF_USER: KeySchema = key(
    "transfers",
    SESSIONS,
    Text("any number"),
    "the uploads and downloads that run at the same time in all sessions of a user. A further one gets 450 before its 150; listings do not count",
);
const UPLOAD_RATE: KeySchema = key(
    "upload_rate",
    Size(KIB, TIB),
    Text("unlimited"),
    "bytes a second of all uploads of a user together, such as `\"20MiB\"`; see [rates](#rates-of-a-user)",
);
const DOWNLOAD_RATE: KeySchema = key(
    "download_rate",
    Size(KIB, TIB),
    Text("unlimited"),
    "bytes a second of all downloads of a user together; see [rates](#rates-of-a-user)",
);
const IDLE: KeySchema = key(
    "idle",
    Time,
    Text("`timeouts.idle`"),
    "how long a session of the user may be without a command while no transfer runs",
);
const MAX_FILE_SIZE: KeySchema = key(
    "max_file_size",
    Size(1, LARGEST_FILE),
    Text("that of the mount"),
    "the largest file that the user may store; with that of the [mount](#mountsname) the smaller one counts",
);
const OWN_NETWORKS: KeySchema = key(
    "networks",
    List(&Network, 1),
    Text("all"),
    "the addresses that the user may log in from. A login from another one is refused like a wrong password; the event `login_refused` has the cause `network`",
);
const ATTRIBUTES: KeySchema = key(
    "attributes",
    Map(&Line(500)),
    NONE,
    "values for placeholders of these names in the prefixes of mounts, such as `{customer}`",
);
const DISABLED: KeySchema = key(
    "disabled",
    Flag,
    Value("false"),
    "true: logins are refused like a wrong password; the event `login_refused` has the cause `expired`",
);
const EXPIRES: KeySchema = key(
    "expires",
    Date,
    Text("never"),
    "when the account ends. From then on logins are refused like a wrong password; the event `login_refused` has the cause `expired`",
);

table!(
    GROUP,
    [
        key(
            "mounts",
            Paths(&Either(&Name, &Table(&MOUNT))),
            NONE,
            "mounts of all users of the group; a user's own mount on the same path replaces that of the group",
        ),
        ATTRIBUTES,
        START_DIRECTORY,
        OWN_NETWORKS,
        SESSIONS_OF_USER,
        TRANSFERS_OF_USER,
        UPLOAD_RATE,
        DOWNLOAD_RATE,
        IDLE,
        MAX_FILE_SIZE,
        OWN_TLS,
        LENIENT_CLOSE,
        DISABLED,
        EXPIRES,
    ]
);

table!(
    USER,
    [
        key(
            "group",
            Name,
            NONE,
            "the [group](#groupsname) whose keys are the defaults of this user",
        ),
        key(
            "password",
            Secret,
            Text("required, unless `certificate.password` is `\"none\"`"),
            "a hash from `s3ftpd hash-password`, or [one of another program](#password-hashes)",
        ),
        key(
            "next_password",
            Secret,
            NONE,
            "the hash of a second password, which is right too: for the time of a rotation",
        ),
        key(
            "mounts",
            Paths(&Either(&Name, &Table(&MOUNT))),
            Text("required, unless the group has mounts"),
            "the user's tree: absolute paths, each with the name of a mount or an inline mount; at least one",
        ),
        ATTRIBUTES,
        START_DIRECTORY,
        DISABLED,
        EXPIRES,
        OWN_NETWORKS,
        SESSIONS_OF_USER,
        TRANSFERS_OF_USER,
        UPLOAD_RATE,
        DOWNLOAD_RATE,
        IDLE,
        MAX_FILE_SIZE,
        OWN_TLS,
        key(
            "certificate",
            Table(&CERTIFICATE_LOGIN),
            NONE,
            "the client certificate that the user must have",
        ),
        LENIENT_CLOSE,
        key(
            "comment",
            Line(500),
            NONE,
            "a note for operators, which `s3ftpd whoami` shows",
        ),
    ]
);

table!(
    USER_TLS,
    [
        key(
            "control",
            PROTECTION,
            Text("the listener's"),
            "as in `[tls]`"
        ),
        key("data", PROTECTION, Text("the listener's"), "as in `[tls]`"),
    ]
);

table!(
    CERTIFICATE_LOGIN,
    [
        key(
            "subject",
            Line(500),
            NONE,
            "the common name that the certificate must have"
        ),
        key(
            "san",
            Line(500),
            NONE,
            "a host name or e-mail address that must be among the subject alternative names of the certificate",
        ),
        key(
            "password",
            Word(&["required", "none"]),
            Value("\"required\""),
            "whether the user needs a password as well; `\"none\"`: the certificate is enough",
        ),
    ],
    &[Rule::ExactlyOne(&["subject", "san"])]
);
