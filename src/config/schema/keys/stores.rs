//! Keys of stores and mounts.

use crate::config::schema::entry::{LARGEST_FILE, LARGEST_PART, NONE, SMALLEST_PART, key, table};
use crate::config::schema::keys::attributes;
use crate::config::schema::{Fallback, Kind, Rule, TableSchema};
use Fallback::{Required, Text, Value};
use Kind::{
    Bucket, Capability, Days, Flag, Line, List, Map, Name, NamePattern, Number, Prefix, Secret,
    Size, Table, Time, Url, Word,
};

const PERMISSIONS: &[&str] = &[
    "list",
    "read",
    "write",
    "overwrite",
    "append",
    "delete",
    "rename",
    "mkdir",
    "rmdir",
];

const AWS_CHAIN: Fallback =
    Text("the AWS default chain (environment, profile, web identity, instance role)");

table!(
    STORE,
    [
        key("endpoint", Url, Text("AWS"), "the store's URL"),
        key(
            "region",
            Line(100),
            Text("the AWS default chain, else us-east-1"),
            "the region of the buckets",
        ),
        key(
            "path_style",
            Flag,
            Text("true if an endpoint is given"),
            "true: `endpoint/bucket/key`; false: `bucket.endpoint/key`",
        ),
        key(
            "access_key_id",
            Secret,
            AWS_CHAIN,
            "the access key; only together with `secret_access_key`"
        ),
        key(
            "secret_access_key",
            Secret,
            AWS_CHAIN,
            "the secret key; only together with `access_key_id`"
        ),
        key(
            "session_token",
            Secret,
            NONE,
            "the session token of temporary credentials"
        ),
        key(
            "checksums",
            Word(&["auto", "crc32", "none"]),
            Value("\"auto\""),
            "whether the store verifies CRC-32, also of whole multipart uploads; `\"auto\"`: assumed on AWS, else probed",
        ),
        key(
            "conditional_writes",
            Capability,
            Value("\"auto\""),
            "whether the store honours If-Match and If-None-Match on writes",
        ),
        key(
            "conditional_deletes",
            Capability,
            Value("\"auto\""),
            "whether the store honours If-Match on DeleteObject. If not, records end as empty objects, which the sweep deletes",
        ),
        key(
            "files_hide_directories",
            Capability,
            Value("\"auto\""),
            "whether an object `a` hides the objects `a/…` from listings (MinIO). If so, one list before an upload or a rename of a file to a new name makes sure that the name is not a directory",
        ),
        key(
            "sign_payload",
            Flag,
            Value("false"),
            "true: sign payloads (SHA-256) even if checksums work",
        ),
        key(
            "connect_timeout",
            Time,
            Value("\"5s\""),
            "how long a TCP connection to the store may take to be established"
        ),
        key(
            "request_timeout",
            Time,
            Value("\"30s\""),
            "how long a request may stay without progress; see below"
        ),
        key(
            "attempts",
            Number(1, 10),
            Value("4"),
            "the number of attempts for one request"
        ),
        key(
            "copy_limit",
            Size(SMALLEST_PART, LARGEST_PART),
            Value("\"5GiB\""),
            "larger objects are copied in parts",
        ),
        key(
            "equal_parts",
            Flag,
            Text("true if the endpoint's host ends in `.r2.cloudflarestorage.com`, else false"),
            "true: all parts of an object but the last have one size, as Cloudflare R2 requires. The largest object is then 10,000 × `transfer.part_size` (8 MiB: 78 GiB)",
        ),
        key(
            "required",
            Flag,
            Value("false"),
            "true: the server does not start if a bucket of the store can't be listed for 60 s. It looks at each store in any case: [stores](../operations/stores.md)",
        ),
    ],
    &[
        Rule::Needs("access_key_id", "secret_access_key"),
        Rule::Needs("secret_access_key", "access_key_id"),
        Rule::Needs("session_token", "access_key_id"),
    ]
);

table!(
    MOUNT,
    [
        key("store", Name, Required, "the name of a store"),
        key("bucket", Bucket, Required, "the name of a bucket"),
        key(
            "prefix",
            Prefix,
            Text("the whole bucket"),
            "the mount shows the keys below it. `{user}` is the login name, `{group}` the user's group, other names in braces are [attributes](#groupsname). Slashes at its ends are added or removed as needed",
        ),
        key(
            "permissions",
            List(&Word(PERMISSIONS), 1),
            Text("all"),
            "what users may do: [permissions](#permissions)",
        ),
        key(
            "ascii",
            Word(&["binary", "convert"]),
            Value("\"binary\""),
            "whether [TYPE A](commands.md#type-a) converts line ends",
        ),
        key(
            "times",
            Word(&["store", "metadata"]),
            Value("\"store\""),
            "an object's time: LastModified, or the client's [times](commands.md#times), in the user metadata",
        ),
        key(
            "verify_downloads",
            Flag,
            Value("true"),
            "true: a RETR of a whole file is compared with the CRC-32 that the store holds: [which downloads](commands.md#downloads-are-compared-with-the-stores-checksum)",
        ),
        key(
            "state_bucket",
            Bucket,
            Text("the bucket itself"),
            "a bucket in the same store for the records and tails of interrupted uploads. Give all mounts of a bucket the same one",
        ),
        key(
            "interrupted",
            Word(&["keep", "abort"]),
            Value("\"keep\""),
            "whether an interrupted upload is kept for a resume, or removed",
        ),
        key(
            "on_control_loss",
            Word(&["keep", "publish"]),
            Value("\"keep\""),
            "what happens to an upload whose control connection ends without QUIT: it is kept for a resume, or published when its data connection ends. For [clients that leave without QUIT](../how-to/clients.md#clients-that-leave-without-quit)",
        ),
        attributes::CONTENT_TYPE,
        attributes::STORAGE_CLASS,
        attributes::ENCRYPTION_OF_OBJECTS,
        attributes::ACL,
        attributes::TAGS,
        attributes::METADATA,
        attributes::PART_SIZE,
        attributes::UPLOAD_PARALLEL,
        key(
            "max_file_size",
            Size(1, LARGEST_FILE),
            Text("the largest object of the store"),
            "the largest file that may come to be there; with that of the [user](#usersname) the smaller one counts. A larger one gets 552: [limits of a mount](#limits-of-a-mount)",
        ),
        key(
            "allow_names",
            List(&Line(255), 1),
            Text("all"),
            "patterns, such as `\"*.csv\"`: a file with a name that matches none of them may not come to be there. [Patterns](#names-of-a-mount)",
        ),
        key(
            "deny_names",
            List(&Line(255), 1),
            NONE,
            "patterns: a file with a name that matches one of them may not come to be there",
        ),
        key(
            "names",
            Table(&NAMES),
            Text("names stay as they are sent"),
            "how names that clients send are changed, for old devices: [names](#names-of-a-mount)",
        ),
        key(
            "temporary",
            List(&NamePattern, 1),
            NONE,
            "the names of [temporary files](commands.md#temporary-names), such as `[\"*.tmp\", \".in.*\"]`: only their user sees them before they are renamed",
        ),
        key(
            "temporary_keep",
            Days(3660),
            Text("for ever"),
            "how long a temporary file is kept after its last write; then the [sweep](../operations/sweep-and-lifecycle.md) removes it. Of mounts with one state bucket the longest time counts",
        ),
    ],
    &[Rule::Needs("temporary_keep", "temporary")]
);

table!(
    NAMES,
    [
        key(
            "case",
            Word(&["keep", "lower", "upper"]),
            Value("\"keep\""),
            "letters become lower-case or upper-case letters",
        ),
        key(
            "replace",
            Map(&Line(16)),
            NONE,
            "characters and what replaces them, such as `{ \" \" = \"_\" }`, after `case`",
        ),
    ]
);
