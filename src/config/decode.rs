//! The schema: which keys there are, their defaults and their bounds.

use std::time::Duration;

use crate::auth::options::Limits;
use crate::config::accounts;
use crate::config::edge;
use crate::config::error::ConfigErrors;
use crate::config::section::{Report, Section};
use crate::config::tls;
use crate::config::tree::Node;
use crate::config::values;
use crate::data::options::{ActiveOptions, PassiveNetwork, PassiveOptions, PassivePorts};
use crate::object::options::{ResumeOptions, TransferOptions};
use crate::server::capacity::machine;
use crate::server::options::{AdminOptions, ListenOptions, MemoryOptions, ServerOptions};
use crate::session::options::Timeouts;
use crate::units::{GIB, KIB, MIB, human_bytes};

const MOVED: &str = "unknown key: it is login_failures.delay now";

/// S3's smallest part; smaller ones are refused when an upload is completed.
pub(super) const SMALLEST_PART: u64 = 5 * MIB;
/// S3's largest part, PutObject and CopyObject.
pub(super) const LARGEST_PART: u64 = 5 * GIB;
/// No machine has more memory.
const LARGEST_BUDGET: u64 = 1024 * 1024 * GIB;

/// Reads the whole tree.
pub(super) fn decode(tree: Node, report: &Report) -> Result<ServerOptions, ConfigErrors> {
    let mut root = Section::root(&tree, report);
    let mut tls = tls::decode(&mut root);
    let listen = tls::listen(&mut root, tls.as_ref());
    let greeting = root
        .field("greeting")
        .and_then(|field| values::line(&field, 500));
    let passive = passive(root.section("passive"));
    let active = active(root.section("active"));
    let admin = admin(&mut root);
    let transfer = transfer(root.section("transfer"));
    let memory = memory(root.section("memory"), &transfer);
    let timeouts = timeouts(root.section("timeouts"));
    let limits = limits(root.section("limits"));
    let replica = root
        .field("replica")
        .and_then(|field| values::line(&field, 200));
    let resume = resume(root.section("resume"));
    let proxy_protocol = edge::proxy_protocol(root.section("proxy_protocol"));
    let login_failures = edge::login_failures(root.section("login_failures"));
    check_ports(&root, &listen, &passive, admin.as_ref());
    let (stores, users) = accounts::decode(&mut root, memory.budget, tls.as_ref(), &listen);
    let names: Vec<&str> = accounts::names(&mut root, "users");
    let hosts = edge::hosts(&mut root, &names, tls.as_mut());
    root.finish();
    report.check()?;
    Ok(ServerOptions {
        listen,
        tls,
        greeting: greeting.unwrap_or_else(|| "s3ftpd ready".to_owned()),
        passive,
        active,
        admin,
        memory,
        transfer,
        timeouts,
        limits,
        proxy_protocol,
        login_failures,
        hosts,
        replica,
        resume,
        stores,
        users,
    })
}

fn passive(mut section: Section<'_>) -> PassiveOptions {
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
        let Some(mut network) = item.section("{ clients = \"NETWORK\", address = \"ADDRESS\" }")
        else {
            continue;
        };
        let clients = network
            .required("clients", "a network")
            .and_then(|field| values::network(&field));
        let told = network.required("address", "an address or a host name");
        let told = told.and_then(|field| values::host(&field));
        network.finish();
        if let (Some(clients), Some(address)) = (clients, told) {
            networks.push(PassiveNetwork { clients, address });
        }
    }
    section.finish();
    PassiveOptions {
        ports: ports.unwrap_or(PassivePorts::Range(30000, 30099)),
        address,
        networks,
    }
}

fn active(mut section: Section<'_>) -> ActiveOptions {
    let port = section
        .field("source_port")
        .and_then(|field| values::integer(&field, 0, 65535));
    section.finish();
    ActiveOptions {
        source_port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(20),
    }
}

fn admin(root: &mut Section<'_>) -> Option<AdminOptions> {
    if !root.has("admin") {
        root.section("admin").finish();
        return None;
    }
    let mut section = root.section("admin");
    let listen = section.required("listen", "an IP address and a port");
    let listen = listen.and_then(|field| values::socket_address(&field));
    section.finish();
    listen.map(|listen| AdminOptions { listen })
}

fn transfer(mut section: Section<'_>) -> TransferOptions {
    let part_size = section
        .field("part_size")
        .and_then(|field| values::size(&field, SMALLEST_PART, LARGEST_PART));
    let upload_parallel = section
        .field("upload_parallel")
        .and_then(|field| values::count(&field, 1, 64));
    let range_size = section
        .field("range_size")
        .and_then(|field| values::size(&field, 64 * KIB, LARGEST_PART));
    let download_parallel = section
        .field("download_parallel")
        .and_then(|field| values::count(&field, 1, 64));
    section.finish();
    TransferOptions {
        part_size: part_size.unwrap_or(8 * MIB),
        upload_parallel: upload_parallel.unwrap_or(8),
        range_size: range_size.unwrap_or(8 * MIB),
        download_parallel: download_parallel.unwrap_or(8),
    }
}

fn memory(mut section: Section<'_>, transfer: &TransferOptions) -> MemoryOptions {
    let written = section.field("budget");
    let found = if written.is_some() {
        ""
    } else {
        " (the default: half of the memory there is)"
    };
    let budget = match written {
        Some(field) => values::size(&field, 4 * SMALLEST_PART, LARGEST_BUDGET),
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
    let hold = section.field("hold");
    let hold = hold.and_then(|field| values::duration(&field, false));
    section.finish();
    // Where it is wrong this value is never used, but others are measured against it.
    MemoryOptions {
        budget: budget.unwrap_or(LARGEST_BUDGET),
        hold: hold.unwrap_or(crate::memory::HOLD),
    }
}

/// No client waits longer for its 226 without a reason.
const LONGEST_SETTLE: Duration = Duration::from_secs(10);

fn timeouts(mut section: Section<'_>) -> Timeouts {
    let settle_min = section.field("settle_min").and_then(|field| {
        let time = values::duration(&field, true)?;
        if time > LONGEST_SETTLE {
            return field.wrong("it is out of range", "at most 10 s");
        }
        Some(time)
    });
    let mut time = |key, default: Duration, zero| {
        section
            .field(key)
            .and_then(|field| values::duration(&field, zero))
            .unwrap_or(default)
    };
    let timeouts = Timeouts {
        login: time("login", Duration::from_secs(60), false),
        idle: time("idle", Duration::from_secs(300), false),
        data_connect: time("data_connect", Duration::from_secs(30), false),
        data_stall: time("data_stall", Duration::from_secs(60), false),
        control_write: time("control_write", Duration::from_secs(60), false),
        tls_handshake: time("tls_handshake", Duration::from_secs(20), false),
        same_name: time("same_name", Duration::from_secs(300), false),
        settle_min: settle_min.unwrap_or(Duration::from_millis(1)),
        shutdown_grace: time("shutdown_grace", Duration::from_secs(30), true),
    };
    section.finish_with(|key| (key == "login_failure_delay").then_some(MOVED));
    timeouts
}

/// No machine serves more sessions.
pub(super) const MOST_SESSIONS: u64 = 10_000_000;

fn limits(mut section: Section<'_>) -> Limits {
    let sessions = section
        .field("sessions")
        .and_then(|field| values::count(&field, 1, MOST_SESSIONS));
    let per_address = section.field("sessions_per_address");
    let per_address = per_address.and_then(|field| values::count(&field, 1, MOST_SESSIONS));
    let before_login = section.field("sessions_before_login");
    let before_login = before_login.and_then(|field| values::count(&field, 1, MOST_SESSIONS));
    let early_per_address = section.field("sessions_before_login_per_address");
    let early_per_address =
        early_per_address.and_then(|field| values::count(&field, 1, MOST_SESSIONS));
    let per_user = section.field("sessions_per_user");
    let per_user = per_user.and_then(|field| values::count(&field, 1, MOST_SESSIONS));
    let attempts = section
        .field("login_attempts")
        .and_then(|field| values::small(&field, 1, 1000));
    section.finish();
    let sessions = sessions.unwrap_or(10_000);
    let before_login = before_login.unwrap_or_else(|| Limits::default_before_login(sessions));
    Limits {
        sessions,
        sessions_per_address: per_address.unwrap_or(1_000),
        before_login,
        before_login_per_address: early_per_address
            .unwrap_or_else(|| Limits::default_before_login_per_address(before_login)),
        sessions_per_user: per_user,
        login_attempts: attempts.unwrap_or(3),
    }
}

fn resume(mut section: Section<'_>) -> ResumeOptions {
    let mut time = |key, default: Duration, zero| {
        section
            .field(key)
            .and_then(|field| values::duration(&field, zero))
            .unwrap_or(default)
    };
    let resume = ResumeOptions {
        refresh: time("refresh", Duration::from_secs(60), false),
        stalled_after: time("stalled_after", Duration::from_secs(5), true),
        keep_for: time("keep_for", Duration::from_secs(3 * 86_400), false),
        keep_over_object: time("keep_over_object", Duration::from_secs(3600), false),
        sweep_every: time("sweep_every", Duration::from_secs(6 * 3600), true),
        look_every: time("look_every", Duration::from_secs(60), true),
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
