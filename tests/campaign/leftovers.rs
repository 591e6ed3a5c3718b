//! What is left in the store at the end. Records and what they name are left by design. Everything
//! else must have a cause, counted for each key: a process that was killed at the wrong moment, or
//! a request that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use s3_embedded::EmbeddedStore;

use crate::BUCKET;
use crate::figures::Figures;
use crate::gateway::Gateways;

/// The longest time from a Create (or a tail's PutObject) until a record names it: its own attempts
/// and the record's.
const UNNAMED: Duration = Duration::from_secs(30);

/// The store may still read what a process sent before it died.
const READ_LATE: Duration = Duration::from_secs(5);

/// Possible causes of things without a record.
#[derive(Default)]
pub struct Causes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By key: requests that failed, or whose answer was lost.
    lost: BTreeMap<String, usize>,
    /// By key, for tails by the part that they share: when an upload was opened, or a tail written.
    begun: BTreeMap<String, Vec<Instant>>,
    kills: Vec<Instant>,
    /// By key: the requests, to explain how a thing came to be left.
    history: BTreeMap<String, Vec<String>>,
}

/// A tail's directory, which is that of all tails of one object; other keys as they are.
fn common(key: &str) -> &str {
    match key.starts_with(".s3ftpd/tails/") {
        true => key.rsplit_once('/').map_or(key, |(directory, _)| directory),
        false => key,
    }
}

impl Causes {
    /// A request, and what is going to happen to it.
    pub fn request(&self, operation: &str, key: &str, trouble: &str) {
        let tail = key.starts_with(".s3ftpd/tails/");
        if !tail && !operation.contains("MultipartUpload") {
            return;
        }
        let mut state = self.state.lock().unwrap();
        // A new tail replaces an older one, which is then removed.
        if (tail && operation == "PutObject") || operation == "CreateMultipartUpload" {
            let begun = state.begun.entry(common(key).to_owned()).or_default();
            begun.push(Instant::now());
        }
        let line = format!("{:?} {operation} {key} {trouble}", Instant::now());
        let history = state.history.entry(common(key).to_owned()).or_default();
        history.push(line);
    }

    /// A request whose sender does not know its result.
    pub fn lost(&self, key: &str) {
        let mut state = self.state.lock().unwrap();
        *state.lost.entry(key.to_owned()).or_default() += 1;
    }

    /// A gateway was killed.
    pub fn killed(&self) {
        self.state.lock().unwrap().kills.push(Instant::now());
    }

    fn history(&self, key: &str) -> String {
        let state = self.state.lock().unwrap();
        let lines = state.history.get(common(key));
        lines.map_or_else(String::new, |lines| lines.join("\n"))
    }

    /// The number of things of this key that may exist without a record.
    fn of(&self, key: &str) -> usize {
        let state = self.state.lock().unwrap();
        let lost = state.lost.get(key).copied().unwrap_or(0);
        let begun = state.begun.get(common(key)).into_iter().flatten();
        let cut = |begun: &&Instant| {
            let within = |kill: &&Instant| {
                **begun < **kill + READ_LATE && kill.saturating_duration_since(**begun) < UNNAMED
            };
            state.kills.iter().any(|kill| within(&kill))
        };
        lost + begun.filter(cut).count()
    }
}

/// What the store has left of uploads.
#[derive(Debug)]
struct Left {
    /// Open uploads: key and id.
    uploads: Vec<(String, String)>,
    records: usize,
    tails: Vec<String>,
    /// Other keys below the state prefix.
    others: Vec<String>,
    /// Every text in the records: ids of uploads and keys of tails are among them.
    named: BTreeSet<String>,
    /// Records with `running`: of a process that was killed, or of uploads that no process owns any
    /// more.
    running: Vec<serde_json::Value>,
}

impl Left {
    async fn of(store: &EmbeddedStore) -> Left {
        let backend = store.backend();
        let uploads = backend.open_uploads().into_iter();
        let uploads = uploads.map(|upload| (upload.key, upload.upload_id));
        // The uploads of probes are ours by their key, and the sweep removes them as it does their
        // objects.
        let (probes, uploads): (Vec<_>, Vec<_>) =
            uploads.partition(|(key, _)| key.starts_with(".s3ftpd/probe-"));
        let mut left = Left {
            uploads,
            records: 0,
            tails: Vec::new(),
            others: probes.into_iter().map(|(key, _)| key).collect(),
            named: BTreeSet::new(),
            running: Vec::new(),
        };
        for key in backend.keys(BUCKET) {
            if key.starts_with(".s3ftpd/uploads/") {
                left.records += 1;
                let bytes = backend.object(BUCKET, &key).await.unwrap();
                // An empty record counts as none.
                if bytes.is_empty() {
                    continue;
                }
                let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                texts(&record, &mut left.named);
                if record["state"] == "running" || record["state"] == "doubtful" {
                    left.running.push(record);
                }
            } else if key.starts_with(".s3ftpd/tails/") {
                left.tails.push(key);
            } else if key.starts_with(".s3ftpd/") {
                left.others.push(key);
            }
        }
        left
    }

    /// Uploads that no record names.
    fn unrecorded(&self) -> Vec<&(String, String)> {
        let unnamed = |upload: &&(String, String)| !self.named.contains(&upload.1);
        self.uploads.iter().filter(unnamed).collect()
    }
}

/// All texts in a record.
fn texts(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            into.insert(text.clone());
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

/// Looks at what is left, sweeps it as the server would, then sweeps what no record names; nothing
/// stays.
pub async fn check(store: &EmbeddedStore, gateways: &Gateways, causes: &Causes, figures: &Figures) {
    let left = Left::of(store).await;
    let unrecorded = left.unrecorded();
    let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, _) in &unrecorded {
        *by_key.entry(key).or_default() += 1;
    }
    // A further piece of a tail has the key of the first, and a number.
    let unnamed = |tail: &&String| {
        let first = tail.rsplit_once('.').map_or("", |(first, _)| first);
        !left.named.contains(*tail) && !left.named.contains(first)
    };
    let tails = left.tails.iter().filter(unnamed);
    for tail in tails.clone() {
        *by_key.entry(tail).or_default() += 1;
    }
    for (key, count) in by_key {
        let explained = causes.of(key);
        assert!(
            count <= explained,
            "{count} without a record at {key}, {explained} explained: {left:#?}\n{}\n{}\nkills: {:?}",
            gateways.model.history(key),
            causes.history(key),
            causes.state.lock().unwrap().kills
        );
    }
    // Objects and uploads of probes, which are made when a store is first used: a kill or a fault
    // may have come before their removal.
    let unexplained = left.others.iter().filter(|key| causes.of(key) == 0);
    let unexplained: Vec<&String> = unexplained.collect();
    assert!(
        unexplained.len() <= causes.state.lock().unwrap().kills.len(),
        "{unexplained:?}"
    );
    figures.add("left: records", left.records as u64);
    figures.add("left: uploads a record names", {
        (left.uploads.len() - unrecorded.len()) as u64
    });
    figures.add("left: uploads no record names", unrecorded.len() as u64);
    figures.add("left: tails no record names", tails.count() as u64);

    // A record of a running upload counts as alive until it has not been refreshed for 2.5
    // intervals and a second: 3.5 s here. An empty record is deleted after ten minutes, what no
    // record names after a day. Both gateways have ended, so nothing is written any more.
    store
        .backend()
        .advance_clock(Duration::from_secs(25 * 3600));
    let swept = gateways.sweep(&[]).await;
    assert_eq!(swept, unrecorded.len(), "unrecorded uploads by the sweep");
    let swept = Left::of(store).await;
    let stay: Vec<&(String, String)> = swept.uploads.iter().collect();
    assert_eq!(stay, unrecorded, "without --unrecorded");
    let state = (swept.records, &swept.tails, &swept.others);
    let nothing = (0, &Vec::new(), &Vec::new());
    assert_eq!(state, nothing, "left behind: {:#?}", swept.running);
    gateways.sweep(&["--unrecorded"]).await;
    assert_eq!(store.backend().open_uploads(), [], "left open");
}
