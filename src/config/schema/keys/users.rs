//! Keys of users.

use crate::config::schema::entry::{NONE, PROTECTION, SESSIONS, key, table};
use crate::config::schema::keys::stores::MOUNT;
use crate::config::schema::{Fallback, Kind, Rule, TableSchema};
use Fallback::{Required, Text, Value};
use Kind::{Either, Flag, Line, Name, Paths, Secret, Table, Word};

table!(
    USER,
    [
        key(
            "tls",
            Table(&USER_TLS),
            Text("the listener's"),
            "overrides the listener's `control` and `data` for this user. If a listener requires TLS on control connections, no user is admitted without it",
        ),
        key(
            "certificate",
            Table(&CERTIFICATE_LOGIN),
            NONE,
            "the client certificate that the user must have",
        ),
        key(
            "lenient_close",
            Flag,
            Value("false"),
            "true: under TLS an upload may also end with a bare FIN between two records, for devices that never send close_notify. Anyone on the path can then cut an upload short",
        ),
        key(
            "password",
            Secret,
            Text("required, unless `certificate.password` is `\"none\"`"),
            "a hash from `s3ftpd hash-password`, or another argon2id (PHC), bcrypt (`$2a$`, `$2b$`, `$2y$`) or sha512-crypt (`$6$`) hash",
        ),
        key(
            "mounts",
            Paths(&Either(&Name, &Table(&MOUNT))),
            Required,
            "the user's tree: absolute paths, each with the name of a mount or an inline mount; at least one",
        ),
        key(
            "sessions",
            SESSIONS,
            Text("`limits.sessions_per_user`"),
            "the number of sessions of this user",
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
