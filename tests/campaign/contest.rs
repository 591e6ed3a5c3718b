//! Several sessions contest the same few names of one gateway: they store, append, rename, delete
//! and set times in parallel, round after round, on stores that honour conditions and on stores
//! that ignore them. No fault is injected.
//!
//! After each round the bucket must be the result of some order of the acknowledged operations:
//! each operation with a success reply took place, each refused one did not, and nothing else
//! happened. A rename is three steps here, because other sessions may act between them
//! (docs/reference/commands.md): the source is read, the target is written, and the version that
//! was read is removed. Only the target's lock is held during the copy, so two renames that cross
//! can swap two files.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use s3_embedded::{Behaviour, EmbeddedStore, Interceptor, Next, ResetConnection, StoreOptions};
use s3ftpd::config;
use s3ftpd::server::Server;
use s3s::{HttpRequest, HttpResponse};

use crate::BUCKET;
use crate::client::{Break, Client};
use crate::content::Random;
use test_support::within;

/// The names that all sessions write.
const NAMES: [&str; 4] = ["x", "y", "d/z", "d/w"];
/// Parallel sessions. All orders of their steps are tried, so they are few.
const SESSIONS: usize = 4;
/// Users, whose sessions take turns. The second one has no permission to overwrite.
const USERS: [&str; 2] = ["all", "careful"];
/// More than one part.
const LARGE: usize = 5 * 1024 * 1024 + 1;

/// What the names hold.
type Files = BTreeMap<&'static str, Arc<[u8]>>;

/// What a session does in a round.
#[derive(Debug, Clone)]
enum Operation {
    Store(&'static str, Bytes),
    Append(&'static str, Bytes),
    Rename(&'static str, &'static str),
    Delete(&'static str),
    SetTime(&'static str),
}

/// The content that is sent.
#[derive(Clone)]
struct Bytes(Arc<[u8]>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&describe(&self.0))
    }
}

/// A file's size and its origin: the beginnings of its lines.
fn describe(bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|byte| *byte == b'>');
    let mut lines: Vec<_> = lines.map(String::from_utf8_lossy).collect();
    lines.dedup();
    format!("{} bytes {}", bytes.len(), lines.concat())
}

/// An operation of a user, and its final reply.
#[derive(Debug)]
struct Done {
    user: &'static str,
    operation: Operation,
    code: u16,
    text: String,
}

/// One step of an acknowledged operation.
#[derive(Debug, Clone)]
enum Step {
    Store(&'static str, Arc<[u8]>, Over),
    Append(&'static str, Arc<[u8]>),
    /// The first step of a rename.
    Read(&'static str),
    /// The second step of the rename with this number: the target has what was read.
    Write(&'static str, usize, Over),
    /// The last step of the rename with this number: the source is removed if it is still what was
    /// read.
    Remove(&'static str, usize),
    Delete(&'static str),
}

/// Whether an object may exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Anything,
    Nothing,
}

/// Delays each request and its answer a little, as a network does.
struct Delays(Mutex<Random>);

impl Interceptor for Delays {
    fn intercept(
        &self,
        request: HttpRequest,
        next: Next,
    ) -> BoxFuture<'static, Result<HttpResponse, ResetConnection>> {
        let mut random = self.0.lock().unwrap();
        let [before, after] = [random.below(3_000), random.below(3_000)];
        drop(random);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(before)).await;
            let answer = next.run(request).await;
            tokio::time::sleep(Duration::from_micros(after)).await;
            Ok(answer)
        })
    }
}

/// Runs this number of rounds on a store with this behaviour.
pub async fn run(name: &str, behaviour: Behaviour, rounds: u64, seed: u64) {
    let store = EmbeddedStore::start(StoreOptions {
        interceptor: Some(Arc::new(Delays(Mutex::new(Random::new(seed))))),
        ..StoreOptions::default()
    })
    .await
    .unwrap();
    store.backend().create_bucket(BUCKET).unwrap();
    store.backend().set_behaviour(behaviour);
    let server = Server::start(configuration(&store), Vec::new())
        .await
        .unwrap();
    let address = server.control_addresses()[0];
    let mut random = Random::new(seed);
    let mut files = Files::new();
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut operations = Vec::new();
        for session in 0..SESSIONS {
            let user = USERS[session % USERS.len()];
            operations.push((user, operation(&mut random, round, session)));
        }
        let sessions = operations
            .into_iter()
            .map(|(user, operation)| perform(address, user, operation));
        let done = within("a round", join_all(sessions)).await;
        let now = files_of(&store).await;
        let steps = acknowledged_steps(&done);
        acknowledged += done.iter().filter(|done| done.succeeded()).count();
        assert!(
            reachable(&files, &steps, &now),
            "{name}, round {round} of CAMPAIGN_SEED={seed}: no order of these makes\n{}\nof\n{}\n{done:#?}",
            show(&now),
            show(&files),
        );
        files = now;
    }
    println!("contest on {name}: {rounds} rounds, {acknowledged} operations acknowledged");
    assert!(acknowledged as u64 > rounds, "hardly anything was tried");
    within("the server's end", server.stop()).await;
    store.stop().await;
}

fn configuration(store: &EmbeddedStore) -> s3ftpd::server::options::ServerOptions {
    let (key, secret) = store.credentials();
    let hash = bcrypt::hash("p", 4).unwrap();
    let text = format!(
        r#"listen = ["127.0.0.1:0"]
passive.ports = "auto:32"
transfer.part_size = "5MiB"
memory.budget = "128MiB"
[stores.main]
endpoint = "{}"
region = "us-east-1"
access_key_id = "{key}"
secret_access_key = "{secret}"
[mounts.all]
store = "main"
bucket = "{BUCKET}"
times = "metadata"
[mounts.careful]
store = "main"
bucket = "{BUCKET}"
times = "metadata"
permissions = ["list", "read", "write", "append", "delete", "rename", "mkdir"]
[users.all]
password = '{hash}'
mounts = {{ "/" = "all" }}
[users.careful]
password = '{hash}'
mounts = {{ "/" = "careful" }}
"#,
        store.endpoint()
    );
    config::from_str(&text, "contest").unwrap()
}

fn operation(random: &mut Random, round: u64, session: usize) -> Operation {
    let name = NAMES[random.below(NAMES.len() as u64) as usize];
    let line = format!("<{round}.{session}>");
    let size = match random.below(20) {
        0 => LARGE,
        // Two empty files have one ETag.
        1..4 => 0,
        _ => line.len() * (1 + random.below(40) as usize),
    };
    let bytes: Arc<[u8]> = line.bytes().cycle().take(size).collect();
    match random.below(100) {
        0..35 => Operation::Store(name, Bytes(bytes)),
        35..60 => Operation::Append(name, Bytes(bytes)),
        60..85 => {
            let others: Vec<_> = NAMES.into_iter().filter(|other| *other != name).collect();
            Operation::Rename(name, others[random.below(others.len() as u64) as usize])
        }
        85..95 => Operation::Delete(name),
        _ => Operation::SetTime(name),
    }
}

async fn perform(address: SocketAddr, user: &'static str, operation: Operation) -> Done {
    let mut client = Client::connect(address, user).await.unwrap();
    let (code, text) = match &operation {
        Operation::Store(name, bytes) => send(client, "STOR", name, bytes).await,
        Operation::Append(name, bytes) => send(client, "APPE", name, bytes).await,
        Operation::Rename(from, to) => {
            let first = client.command(&format!("RNFR {from}")).await.unwrap();
            match first.0 {
                350 => client.command(&format!("RNTO {to}")).await.unwrap(),
                _ => first,
            }
        }
        Operation::Delete(name) => client.command(&format!("DELE {name}")).await.unwrap(),
        Operation::SetTime(name) => {
            let command = format!("MFMT 20200102030405 {name}");
            client.command(&command).await.unwrap()
        }
    };
    Done {
        user,
        operation,
        code,
        text,
    }
}

async fn send(client: Client, verb: &str, name: &str, bytes: &Bytes) -> (u16, String) {
    let command = format!("{verb} {name}");
    let sent = client.upload(&[], &command, &bytes.0, Break::None).await;
    sent.reply.expect("a reply")
}

async fn files_of(store: &EmbeddedStore) -> Files {
    let mut files = Files::new();
    for name in NAMES {
        if let Some(bytes) = store.backend().object(BUCKET, name).await {
            files.insert(name, bytes.into());
        }
    }
    let known = |key: &String| {
        key.starts_with(".s3ftpd/") || key.ends_with('/') || NAMES.contains(&key.as_str())
    };
    let keys = store.backend().keys(BUCKET);
    let strange: Vec<_> = keys.into_iter().filter(|key| !known(key)).collect();
    assert_eq!(strange, [""; 0], "no session has written these");
    files
}

impl Done {
    fn succeeded(&self) -> bool {
        matches!(self.code, 200..300)
    }

    /// A rename that copied, and then found another file at the source: its refusal says so.
    fn copied(&self) -> bool {
        self.text.contains(" is there, but ")
    }
}

/// The steps of what was acknowledged, operation by operation.
fn acknowledged_steps(done: &[Done]) -> Vec<Vec<Step>> {
    let succeeded = done.iter().filter(|done| done.succeeded() || done.copied());
    let steps = succeeded.enumerate().map(|(number, done)| {
        let over = match done.user {
            "all" => Over::Anything,
            _ => Over::Nothing,
        };
        match &done.operation {
            Operation::Store(name, bytes) => vec![Step::Store(name, bytes.0.clone(), over)],
            Operation::Append(name, bytes) => vec![Step::Append(name, bytes.0.clone())],
            Operation::Rename(from, to) => {
                let mut steps = rename(from, to, number, over);
                if done.copied() {
                    steps.pop();
                }
                steps
            }
            Operation::Delete(name) => vec![Step::Delete(name)],
            Operation::SetTime(_) => Vec::new(),
        }
    });
    steps.collect()
}

/// The steps of the rename with this number.
fn rename(from: &'static str, to: &'static str, number: usize, over: Over) -> Vec<Step> {
    vec![
        Step::Read(from),
        Step::Write(to, number, over),
        Step::Remove(from, number),
    ]
}

/// Whether some order of the steps, in which each operation's steps keep their order, leads from
/// one state to the other.
fn reachable(from: &Files, steps: &[Vec<Step>], to: &Files) -> bool {
    let start = State {
        files: from.clone(),
        next: vec![0; steps.len()],
        read: vec![None; steps.len()],
    };
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        if !seen.insert(state.clone()) {
            continue;
        }
        let mut ended = true;
        for (number, steps) in steps.iter().enumerate() {
            if let Some(step) = steps.get(state.next[number]) {
                ended = false;
                open.extend(state.after(number, step));
            }
        }
        if ended && state.files == *to {
            return true;
        }
    }
    false
}

/// A moment between two steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    files: Files,
    /// The number of steps taken of each operation.
    next: Vec<usize>,
    /// What each rename has read.
    read: Vec<Option<Arc<[u8]>>>,
}

impl State {
    /// The state after a step; `None` if it cannot succeed here.
    fn after(&self, number: usize, step: &Step) -> Option<State> {
        let mut state = self.clone();
        state.next[number] += 1;
        let files = &mut state.files;
        match step {
            Step::Store(name, bytes, over) => {
                if *over == Over::Nothing && files.contains_key(name) {
                    return None;
                }
                files.insert(name, bytes.clone());
            }
            Step::Append(name, bytes) => {
                let mut whole = files.get(name).map_or_else(Vec::new, |old| old.to_vec());
                whole.extend_from_slice(bytes);
                files.insert(name, whole.into());
            }
            Step::Read(source) => state.read[number] = Some(files.get(source)?.clone()),
            Step::Write(target, rename, over) => {
                if *over == Over::Nothing && files.contains_key(target) {
                    return None;
                }
                files.insert(target, state.read[*rename].clone()?);
            }
            Step::Remove(name, rename) => {
                if files.get(name) == state.read[*rename].as_ref() {
                    files.remove(name);
                }
            }
            Step::Delete(name) => {
                files.remove(name)?;
            }
        }
        Some(state)
    }
}

fn show(files: &Files) -> String {
    let lines = files
        .iter()
        .map(|(name, bytes)| format!("  {name}: {}\n", describe(bytes)));
    lines.collect()
}

#[test]
fn the_model_finds_what_was_lost() {
    let bytes = |text: &str| -> Arc<[u8]> { text.as_bytes().into() };
    let files = |list: &[(&'static str, &str)]| -> Files {
        list.iter()
            .map(|(name, text)| (*name, bytes(text)))
            .collect()
    };
    let before = files(&[("x", "old")]);
    let store = vec![Step::Store("x", bytes("new"), Over::Anything)];
    let both = [store, rename("x", "y", 1, Over::Anything)];
    for (after, possible) in [
        // The rename first, the STOR first, the STOR between the two steps of the rename.
        (files(&[("x", "new"), ("y", "old")]), true),
        (files(&[("y", "new")]), true),
        // The new file is nowhere, and the old one is doubled.
        (files(&[("y", "old")]), false),
        (files(&[("x", "old"), ("y", "old")]), false),
    ] {
        assert_eq!(reachable(&before, &both, &after), possible, "{after:?}");
    }
    let append = |text: &str| vec![Step::Append("x", bytes(text))];
    let appends = [append("1"), append("2")];
    assert!(reachable(&before, &appends, &files(&[("x", "old21")])));
    assert!(!reachable(&before, &appends, &files(&[("x", "old1")])));
    let two = files(&[("x", "1"), ("d/z", "2")]);
    let to_one = [
        rename("x", "y", 0, Over::Nothing),
        rename("d/z", "y", 1, Over::Nothing),
    ];
    assert!(!reachable(&two, &to_one, &files(&[("y", "1")])));
    // Two renames that cross, and both keep their source because it is another file by then.
    let two = files(&[("x", "1"), ("y", "2")]);
    let crossed = [
        rename("x", "y", 0, Over::Anything)[..2].to_vec(),
        rename("y", "x", 1, Over::Anything)[..2].to_vec(),
    ];
    assert!(reachable(&two, &crossed, &files(&[("x", "2"), ("y", "1")])));
    assert!(!reachable(&two, &crossed, &files(&[("x", "2")])));
}
