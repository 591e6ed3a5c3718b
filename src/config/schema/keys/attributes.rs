//! Keys of mounts that say what objects are like.

use crate::config::schema::entry::{LARGEST_PART, NONE, SMALLEST_PART, key, table};
use crate::config::schema::{Fallback, KeySchema, Kind, TableSchema};
use Fallback::{Required, Text};
use Kind::{Flag, Line, Map, Number, Secret, Size, Table, Word};

/// The canned ACLs of S3.
const ACLS: &[&str] = &[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

pub(super) const CONTENT_TYPE: KeySchema = key(
    "content_type",
    Line(255),
    Text("left to the store; a copy keeps it"),
    "the MIME type of objects, or `\"by_name\"`: that of the name's extension, else `application/octet-stream`",
);
pub(super) const STORAGE_CLASS: KeySchema = key(
    "storage_class",
    Line(64),
    Text("left to the store; a copy keeps it"),
    "the storage class of objects, such as `STANDARD_IA`. Any name in upper case is passed on",
);
pub(super) const ENCRYPTION_OF_OBJECTS: KeySchema = key(
    "encryption",
    Table(&ENCRYPTION),
    Text("left to the bucket; a copy keeps it"),
    "how the store encrypts objects, and the state of uploads: [encryption](#encryption)",
);
pub(super) const ACL: KeySchema = key(
    "acl",
    Word(ACLS),
    Text("left to the bucket"),
    "a canned ACL of objects",
);
pub(super) const TAGS: KeySchema = key(
    "tags",
    Map(&Line(1024)),
    NONE,
    "tags of objects, such as `{ customer = \"{customer}\" }`, at most 10. An object has these and no others. Placeholders are those of `metadata`",
);
pub(super) const METADATA: KeySchema = key(
    "metadata",
    Map(&Line(2048)),
    NONE,
    "user metadata of objects, such as `{ \"ftp-user\" = \"{user}\", \"ftp-peer\" = \"{peer}\" }`: `{user}`, `{group}`, an attribute of the user, and `{peer}`, the client's address. A copy keeps the others that it has",
);
pub(super) const PART_SIZE: KeySchema = key(
    "part_size",
    Size(SMALLEST_PART, LARGEST_PART),
    Text("`transfer.part_size`"),
    "the size of the first parts of a multipart upload, and the largest PutObject; `memory.budget` must be at least four times as large",
);
pub(super) const UPLOAD_PARALLEL: KeySchema = key(
    "upload_parallel",
    Number(1, 64),
    Text("`transfer.upload_parallel`"),
    "parts of one upload in parallel",
);

table!(
    ENCRYPTION,
    [
        key(
            "type",
            Word(&["AES256", "aws:kms", "aws:kms:dsse", "customer"]),
            Required,
            "SSE-S3, SSE-KMS, SSE-KMS with two layers, or SSE-C",
        ),
        key(
            "key",
            Secret,
            Text("the default key of SSE-KMS"),
            "SSE-KMS: the id of a key. SSE-C: the key, 32 bytes in base64",
        ),
        key(
            "bucket_key",
            Flag,
            Text("left to the bucket"),
            "SSE-KMS: true: the bucket has a key of its own, which saves requests to the service",
        ),
    ]
);
