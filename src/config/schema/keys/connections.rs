//! Keys of connections: listeners, TLS, passive and active data connections, health endpoints and
//! status page, load balancers, virtual hosts.

use crate::config::schema::entry::{NETWORKS, NONE, PROTECTION, key, table};
use crate::config::schema::{Fallback, Kind, Rule, TableSchema};
use Fallback::{Required, Text, Value};
use Kind::{
    Address, File, Flag, Host, Line, List, Name, Network, Number, Ports, Secret, Table, Time,
    TimeOrZero, Word,
};

table!(
    LISTENER,
    [
        key("address", Address, Required, "the address of the listener"),
        key(
            "tls",
            Word(&["explicit", "implicit"]),
            Value("\"explicit\""),
            "whether TLS begins with AUTH (`\"explicit\"`) or with the first byte (`\"implicit\"`)",
        ),
        key(
            "control",
            PROTECTION,
            Text("that of `[tls]`"),
            "as in `[tls]`; always `\"required\"` on an implicit listener",
        ),
        key("data", PROTECTION, Text("that of `[tls]`"), "as in `[tls]`"),
    ]
);

table!(
    TLS,
    [
        key(
            "certificate",
            File,
            Text("required, unless `certificates` is given"),
            "a PEM file: the certificate followed by its issuers",
        ),
        key(
            "key",
            File,
            Text("required, unless `certificates` is given"),
            "a PEM file: the private key of `certificate`, not encrypted",
        ),
        key(
            "certificates",
            List(&Table(&CERTIFICATE), 0),
            Value("[]"),
            "further certificates. The host name that the client asks for (SNI) selects one: `names` and the names of `[hosts]` count before the names in certificates; other clients get the first certificate",
        ),
        key(
            "control",
            PROTECTION,
            Value("\"optional\""),
            "TLS on control connections; `\"required\"`: USER is refused before AUTH",
        ),
        key(
            "data",
            PROTECTION,
            Value("\"optional\""),
            "TLS on data connections; `\"required\"`: transfers need PROT P",
        ),
        key(
            "min_version",
            Word(&["1.2", "1.3"]),
            Value("\"1.2\""),
            "the oldest version of TLS that is accepted",
        ),
        key(
            "require_session_reuse",
            Flag,
            Value("false"),
            "true: a data connection must resume the TLS session of its control connection",
        ),
        key(
            "client_ca",
            File,
            NONE,
            "a PEM file: the authorities that sign client certificates",
        ),
        key(
            "client_certificates",
            PROTECTION,
            Text("`\"optional\"` if `client_ca` is given, else `\"off\"`"),
            "whether clients are asked for a certificate; `\"required\"` only if `control` is `\"required\"` on each listener",
        ),
        key(
            "reload",
            TimeOrZero,
            Value("\"30s\""),
            "how often the server checks the certificate files for changes; 0: on SIGHUP only",
        ),
    ],
    &[
        Rule::Needs("certificate", "key"),
        Rule::Needs("key", "certificate")
    ]
);

table!(
    CERTIFICATE,
    [
        key("certificate", File, Required, "as in `[tls]`"),
        key("key", File, Required, "as in `[tls]`"),
        key(
            "names",
            List(&Name, 1),
            Text("those in the certificate"),
            "host names such as `\"*.example.com\"`",
        ),
    ]
);

table!(
    PASSIVE,
    [
        key(
            "ports",
            Ports,
            Value("\"30000-30099\""),
            "the ports for data connections; none may be the port of a listener",
        ),
        key(
            "address",
            Host,
            Text("the control connection's own"),
            "the address that PASV advertises",
        ),
        key(
            "networks",
            List(&Table(&PASSIVE_NETWORK), 0),
            Value("[]"),
            "other addresses for the clients of some networks; the first match wins",
        ),
    ]
);

table!(
    PASSIVE_NETWORK,
    [
        key("clients", Network, Required, "the network of the clients"),
        key(
            "address",
            Host,
            Required,
            "the address that PASV advertises to them"
        ),
    ]
);

table!(
    ACTIVE,
    [key(
        "source_port",
        Number(0, 65535),
        Value("20"),
        "the port from which the server connects to clients. If the process may not bind it, and with 0: any port",
    )]
);

table!(
    ADMIN,
    [
        key("listen", Address, Required, "the address of the endpoints"),
        key(
            "token",
            Secret,
            Text("the status page is read-only"),
            "a secret of at least 16 bytes, with which operators end sessions, lift bans and change the filter of the log on the [status page](../how-to/status-page.md)",
        ),
    ]
);

table!(
    PROXY_PROTOCOL,
    [
        key(
            "networks",
            NETWORKS,
            Value("[]"),
            "the load balancers: their connections must begin with a PROXY header",
        ),
        key(
            "header_timeout",
            Time,
            Value("\"5s\""),
            "how long the server waits for the header before it closes the connection",
        ),
    ]
);

table!(
    HOST,
    [
        key(
            "greeting",
            Line(500),
            Text("the top-level `greeting`"),
            "the text of the 220 reply to HOST, and of the first 220 if TLS is implicit",
        ),
        key(
            "users",
            List(&Name, 1),
            Text("every user"),
            "names of users who may log in there",
        ),
        key(
            "certificate",
            File,
            Text("by its name, from `[tls]`"),
            "a PEM file: the certificate for clients that ask for this host. Needs `[tls]`",
        ),
        key(
            "key",
            File,
            Text("by its name, from `[tls]`"),
            "a PEM file: the private key of `certificate`"
        ),
    ],
    &[
        Rule::Needs("certificate", "key"),
        Rule::Needs("key", "certificate")
    ]
);
