//! Keys of the log.

use crate::config::schema::entry::{key, table};
use crate::config::schema::{Fallback, Kind, TableSchema};
use Fallback::{Text, Value};
use Kind::{File, Line, Word};

table!(
    LOG,
    [
        key(
            "level",
            Line(1000),
            Value("\"info\""),
            "what is logged: `off`, `error`, `warn`, `info`, `debug`, `trace`, or directives such as `s3ftpd=debug,info`. `--log` and `RUST_LOG` override it",
        ),
        key(
            "format",
            Word(&["text", "json"]),
            Value("\"text\""),
            "how log lines are written; `json`: one object a line. `--log-format` overrides it",
        ),
        key(
            "xferlog",
            File,
            Text("no transfer log"),
            "the [transfer log](logs-and-metrics.md#the-transfer-log) in wu-ftpd's format: a file, or `\"stdout\"` (also `\"-\"`)",
        ),
    ]
);
