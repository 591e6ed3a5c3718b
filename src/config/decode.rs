//! Reads the tree by the schema: sections → the options of each room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::auth::options::{Limits, UserOptions};
use crate::config::accounts;
use crate::config::edge;
use crate::config::fingerprint;
use crate::config::hooks;
use crate::config::log;
use crate::config::report::{ConfigErrors, Report};
use crate::config::secret;
use crate::config::section::{Field, Section};
use crate::config::tls;
use crate::config::tree::Node;
use crate::config::users::Hashes;
use crate::config::values;
use crate::data::options::{ActiveOptions, PassiveNetwork, PassiveOptions, PassivePorts};
use crate::events::metrics::options::MetricsOptions;
use crate::object::options::{ResumeOptions, TransferOptions};
use crate::server::capacity::machine;
use crate::server::options::{
    AdminOptions, ListenOptions, LookOptions, MemoryOptions, ReloadOptions, ServerOptions,
};
use crate::session::options::{RemovedUsers, Timeouts};
use crate::units::human_bytes;

/// The shortest `admin.token`, bytes.
const SHORTEST_TOKEN: usize = 16;

const MOVED: &str = "unknown key: it is login_failures.delay now";

/// Reads the whole tree.
pub(super) fn decode(tree: Node, report: &Report) -> Result<ServerOptions, ConfigErrors> {
    let root = Section::root(&tree, report);
    let mut tls = tls::decode(&root);
    let listen = tls::listen(&root, tls.as_ref());
    let greeting = root.line_or_default("greeting");
    let passive = passive(root.section("passive"));
    let active = active(root.section("active"));
    let admin = admin(&root);
    let log = log::decode(root.section("log"));
    let metrics = metrics(root.section("metrics"));
    let transfer = transfer(root.section("transfer"));
    let memory = memory(root.section("memory"), &transfer);
    let timeouts = timeouts(root.section("timeouts"));
    let limits = limits(root.section("limits"));
    let reload = reload(root.section("reload"));
    let replica = root.line("replica");
    let resume = resume(root.section("resume"));
    let proxy_protocol = edge::proxy_protocol(root.section("proxy_protocol"));
    let auth = edge::auth(root.section("auth"));
    let login_failures = edge::login_failures(root.section("login_failures"));
    check_ports(&root, &listen, &passive, admin.as_ref());
    let hashes = Hashes {
        budget: memory.budget,
        weak: auth.weak_hashes,
    };
    let (stores, users) = accounts::decode(&root, hashes, tls.as_ref(), &listen, report);
    check_parts(&root, memory.budget, &users);
    let names: Vec<&str> = accounts::names(&root, "users");
    let hosts = edge::hosts(&root, &names, tls.as_mut());
    let before_publish = hooks::before_publish(&root);
    let events = hooks::events(&root);
    root.finish();
    report.check()?;
    Ok(ServerOptions {
        hash: fingerprint::of(&tree),
        inputs: report.inputs(),
        sections: fingerprint::of_sections(&tree),
        reload,
        listen,
        tls,
        greeting,
        passive,
        active,
        admin,
        log,
        metrics,
        memory,
        transfer,
        timeouts,
        limits,
        proxy_protocol,
        auth,
        login_failures,
        hosts,
        replica,
        resume,
        store_looks: LookOptions::default(),
        before_publish,
        events,
        stores,
        users,
    })
}

fn passive(section: Section<'_>) -> PassiveOptions {
    let ports = section
        .field("ports")
        .and_then(|field| values::passive_ports(&field));
    let address = section
        .field("address")
        .and_then(|field| values::host(&field));
    let allowed = "a list of { clients = \"NETWORK\", address = \"ADDRESS\" }";
    let mut networks = Vec::new();
    for item in section
        .field("networks")
        .and_then(|field| field.items(allowed))
        .unwrap_or_default()
    {
        let Some(network) = item.section("{ clients = \"NETWORK\", address = \"ADDRESS\" }") else {
            continue;
        };
        let clients = network
            .required("clients", "a network")
            .and_then(|field| values::network(&field));
        let address = network.required("address", "an address or a host name");
        let address = address.and_then(|field| values::host(&field));
        network.finish();
        if let (Some(clients), Some(address)) = (clients, address) {
            networks.push(PassiveNetwork { clients, address });
        }
    }
    let passive = PassiveOptions {
        ports: ports
            .or_else(|| section.default_of("ports", values::ports_in))
            .unwrap_or(PassivePorts::Ephemeral(16)),
        address,
        networks,
    };
    section.finish();
    passive
}

fn active(section: Section<'_>) -> ActiveOptions {
    let source_port = section.number_or_default("source_port");
    section.finish();
    ActiveOptions { source_port }
}

fn admin(root: &Section<'_>) -> Option<AdminOptions> {
    if !root.has("admin") {
        root.section("admin").finish();
        return None;
    }
    let section = root.section("admin");
    let listen = section.required("listen", "an IP address and a port");
    let listen = listen.and_then(|field| values::socket_address(&field));
    let token = section.field("token");
    let token = token.and_then(|field| admin_token(&field));
    section.finish();
    listen.map(|listen| AdminOptions { listen, token })
}

/// It is guessed at over the network, however slowly.
fn admin_token(field: &Field<'_>) -> Option<SecretString> {
    let token = secret::read(field)?;
    if token.expose_secret().len() < SHORTEST_TOKEN {
        let allowed = format!("a secret of at least {SHORTEST_TOKEN} bytes");
        return field.wrong("is too short", allowed);
    }
    Some(token)
}

fn metrics(section: Section<'_>) -> MetricsOptions {
    let last_uploads = section.number_or_default("last_uploads");
    section.finish();
    MetricsOptions { last_uploads }
}

fn transfer(section: Section<'_>) -> TransferOptions {
    let transfer = TransferOptions {
        part_size: section.size_or_default("part_size"),
        upload_parallel: section.number_or_default("upload_parallel"),
        range_size: section.size_or_default("range_size"),
        download_parallel: section.number_or_default("download_parallel"),
    };
    section.finish();
    transfer
}

fn memory(section: Section<'_>, transfer: &TransferOptions) -> MemoryOptions {
    let written = section.field("budget");
    let found = if written.is_some() {
        ""
    } else {
        " (the default: half of the memory there is)"
    };
    let budget = match written {
        Some(field) => values::size(&field),
        None => Some(machine::default_budget()),
    };
    let least = transfer
        .part_size
        .saturating_mul(4)
        .max(transfer.range_size);
    if let Some(budget) = budget.filter(|budget| *budget < least) {
        section.wrong(
            "budget",
            format!(
                "{}{found} is too little for transfer.part_size = {} and transfer.range_size = {}",
                human_bytes(budget),
                human_bytes(transfer.part_size),
                human_bytes(transfer.range_size),
            ),
            format!(
                "at least {}: four times transfer.part_size, and once transfer.range_size",
                human_bytes(least)
            ),
        );
    }
    let hold = section.time_or_default("hold");
    section.finish();
    // A wrong value is never used, but others are compared with it.
    MemoryOptions {
        budget: budget.unwrap_or(u64::MAX),
        hold,
    }
}

/// A mount may have larger parts than `transfer`.
fn check_parts(root: &Section<'_>, budget: u64, users: &BTreeMap<String, Arc<UserOptions>>) {
    let mounts = users.values().flat_map(|user| user.mounts.values());
    let largest = mounts.filter_map(|mount| mount.attributes.part_size).max();
    if let Some(largest) = largest.filter(|largest| budget < largest.saturating_mul(4)) {
        root.section("memory").wrong(
            "budget",
            format!(
                "{} is too little for the part_size of a mount, {}",
                human_bytes(budget),
                human_bytes(largest)
            ),
            format!(
                "at least {}: four times that",
                human_bytes(largest.saturating_mul(4))
            ),
        );
    }
}

/// No client waits longer for its 226 without a reason.
const LONGEST_SETTLE: Duration = Duration::from_secs(10);

fn timeouts(section: Section<'_>) -> Timeouts {
    let timeouts = Timeouts {
        login: section.time_or_default("login"),
        idle: section.time_or_default("idle"),
        data_connect: section.time_or_default("data_connect"),
        data_stall: section.time_or_default("data_stall"),
        control_write: section.time_or_default("control_write"),
        tls_handshake: section.time_or_default("tls_handshake"),
        same_name: section.time_or_default("same_name"),
        settle_min: section.time_or_default("settle_min"),
        shutdown_grace: section.time_or_default("shutdown_grace"),
    };
    if timeouts.settle_min > LONGEST_SETTLE {
        section.wrong("settle_min", "it is out of range", "at most 10 s");
    }
    section.finish_with(|key| (key == "login_failure_delay").then_some(MOVED));
    timeouts
}

fn limits(section: Section<'_>) -> Limits {
    let sessions = section.number_or_default("sessions");
    let before_login = section.number("sessions_before_login");
    let before_login = before_login.unwrap_or_else(|| Limits::default_before_login(sessions));
    let of_one_address = section.number("sessions_before_login_per_address");
    let limits = Limits {
        sessions,
        sessions_per_address: section.number_or_default("sessions_per_address"),
        before_login,
        before_login_per_address: of_one_address
            .unwrap_or_else(|| Limits::default_before_login_per_address(before_login)),
        sessions_per_user: section.number("sessions_per_user"),
        login_attempts: section.number_or_default("login_attempts"),
    };
    section.finish();
    limits
}

fn reload(section: Section<'_>) -> ReloadOptions {
    let words = [
        RemovedUsers::AfterTransfer,
        RemovedUsers::Now,
        RemovedUsers::Keep,
    ];
    let reload = ReloadOptions {
        every: section.time_or_default("every"),
        removed_users: section.word_or_default("removed_users", &words),
    };
    section.finish();
    reload
}

fn resume(section: Section<'_>) -> ResumeOptions {
    let resume = ResumeOptions {
        refresh: section.time_or_default("refresh"),
        stalled_after: section.time_or_default("stalled_after"),
        keep_for: section.time_or_default("keep_for"),
        keep_over_object: section.time_or_default("keep_over_object"),
        sweep_every: section.time_or_default("sweep_every"),
        look_every: section.time_or_default("look_every"),
    };
    section.finish();
    resume
}

/// A port can be listened on once: the health endpoints have their own, and the passive range leaves out the others.
fn check_ports(
    root: &Section<'_>,
    listen: &[ListenOptions],
    passive: &PassiveOptions,
    admin: Option<&AdminOptions>,
) {
    let taken = admin.and_then(|admin| {
        let mut others = listen.iter().map(|listener| listener.address);
        others.find(|other| values::collide(*other, admin.listen))
    });
    if let Some(taken) = taken {
        let problem = format!("its port can't be had: listen has {taken}");
        root.wrong("admin", problem, "a port of its own");
    }
    let PassivePorts::Range(first, last) = passive.ports else {
        return;
    };
    let control = listen
        .iter()
        .map(|listener| ("listen", listener.address.port()));
    let admin = admin.map(|admin| ("admin", admin.listen.port()));
    for (key, port) in control.chain(admin) {
        if (first..=last).contains(&port) {
            let problem = format!("port {port} is one of passive.ports");
            root.wrong(key, problem, format!("a port outside {first}-{last}"));
            return;
        }
    }
}
