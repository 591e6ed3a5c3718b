//! Keys of transfers: parts, memory, interrupted uploads.

use crate::config::schema::entry::{LARGEST_PART, SMALLEST_PART, key, table};
use crate::config::schema::{Fallback, Kind, TableSchema};
use crate::units::{GIB, KIB};
use Fallback::{Text, Value};
use Kind::{Number, Size, Time, TimeOrZero};

/// No machine has more memory.
const LARGEST_BUDGET: u64 = 1024 * 1024 * GIB;

table!(
    TRANSFER,
    [
        key(
            "part_size",
            Size(SMALLEST_PART, LARGEST_PART),
            Value("\"8MiB\""),
            "the size of the first parts of a multipart upload, and the largest PutObject",
        ),
        key(
            "upload_parallel",
            Number(1, 64),
            Value("8"),
            "parts of one upload in parallel",
        ),
        key(
            "range_size",
            Size(64 * KIB, LARGEST_PART),
            Value("\"8MiB\""),
            "the size of one ranged GET",
        ),
        key(
            "download_parallel",
            Number(1, 64),
            Value("8"),
            "ranges of one download in parallel",
        ),
    ]
);

table!(
    MEMORY,
    [
        key(
            "budget",
            Size(4 * SMALLEST_PART, LARGEST_BUDGET),
            Text("half of the cgroup's limit or of the machine's memory, at most 2 GiB"),
            "the memory that transfers and the hashing of passwords share: at least four times `transfer.part_size`, and at least `transfer.range_size`",
        ),
        key(
            "hold",
            Time,
            Value("\"30s\""),
            "how long an upload may hold the memory of a half-filled part while other transfers wait for memory",
        ),
    ]
);

table!(
    RESUME,
    [
        key(
            "refresh",
            Time,
            Value("\"60s\""),
            "how often the record of a running upload is rewritten. If a record was not rewritten for 2.5 times this time, its process counts as dead",
        ),
        key(
            "stalled_after",
            TimeOrZero,
            Value("\"5s\""),
            "a running upload that has received nothing for this time counts as interrupted: SIZE [reports its length](commands.md#what-size-reports-to-whom) even if an object exists",
        ),
        key(
            "keep_for",
            Time,
            Value("\"3d\""),
            "how long an interrupted upload is kept if no client resumes it",
        ),
        key(
            "keep_over_object",
            Time,
            Value("\"1h\""),
            "how long an interrupted upload is kept if an object of its name exists",
        ),
        key(
            "sweep_every",
            TimeOrZero,
            Value("\"6h\""),
            "how often the server sweeps; 0: never (`s3ftpd sweep` does it by hand)",
        ),
        key(
            "look_every",
            TimeOrZero,
            Value("\"60s\""),
            "how often the server lists the names of all records (one ListObjectsV2 for each state bucket), to learn of the interrupted uploads of other servers; 0: never",
        ),
    ]
);
