//! Which bytes each name may hold.
//!
//! A name of one client's own holds what was acknowledged last. More is possible only if an answer
//! was lost, or if the reply says that the result is not known; no other refusal leaves anything
//! open. A write that the store carried out after its gateway had given up (see [`crate::chaos`])
//! may become visible late: from its start on, the content that it wrote is possible too. A name
//! that all clients write holds one of the files that were sent whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use s3_embedded::EmbeddedStore;

use crate::client::Client;
use crate::content::Content;
use crate::gateway::Gateways;
use crate::{BUCKET, user};
use test_support::within;

/// What a name may hold; a `None` in it is a missing object.
pub type Possible = Vec<Option<Content>>;

/// A late write may be one of this number of writes that were begun last.
const INTENTS: usize = 4;

/// How long after an operation without a clear result the store may still carry it out: a gateway
/// that was killed leaves a request that the store is handling, longer on a busy machine.
const MAY_COME: Duration = Duration::from_secs(2);

/// The number of lines that explain a failure.
const EXPLAINED: usize = 300;

pub struct Model {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Name>,
    shared: BTreeMap<String, Shared>,
    /// Late writes so far: a clock of the store's own.
    landings: u64,
    /// What happened to all names at once.
    events: Vec<Line>,
}

/// A line of a history.
struct Line {
    /// After the begin of the campaign.
    at: Duration,
    text: String,
}

/// A name of one client's own.
struct Name {
    possible: Possible,
    /// The writes that were begun last.
    intents: VecDeque<Option<Content>>,
    /// Late writes that are pending.
    pending: Vec<(u64, Possible)>,
    /// Late writes that have been carried out, and when.
    landed: Vec<(u64, Possible)>,
    /// What operations without a clear result may still make of it, and until when.
    open: Vec<(Instant, Option<Content>)>,
    history: Vec<Line>,
}

/// A name that several clients write.
#[derive(Default)]
struct Shared {
    /// Files that were sent whole.
    sent: Vec<Content>,
    acknowledged: bool,
    /// Sizes of all files that were begun.
    sizes: BTreeSet<u64>,
    history: Vec<Line>,
}

/// A pending late write.
pub struct Late {
    key: String,
    number: u64,
}

impl Default for Name {
    fn default() -> Self {
        Name {
            possible: vec![None],
            intents: VecDeque::new(),
            pending: Vec::new(),
            landed: Vec::new(),
            open: Vec::new(),
            history: Vec::new(),
        }
    }
}

impl Name {
    fn add(&mut self, content: Option<Content>) {
        if !self.possible.contains(&content) {
            self.possible.push(content);
        }
    }
}

/// The names of one client have this in common. Of the others each stands for itself.
fn client_of(name: &str) -> &str {
    match name.split_once("/n") {
        Some((client, _)) => client,
        None => name,
    }
}

/// Whether a reply says that the result of a write is not known, or that it was cut in the middle.
pub fn leaves_open(text: &str) -> bool {
    text.contains("check whether")
}

impl Model {
    pub fn new() -> Model {
        Model {
            begun: Instant::now(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn possible(&self, name: &str) -> Possible {
        let state = self.state();
        let name = state.names.get(name);
        name.map_or_else(|| vec![None], |name| name.possible.clone())
    }

    /// A moment before an operation: late writes from then on are not forgotten by the operation's
    /// result.
    pub fn moment(&self) -> u64 {
        self.state().landings
    }

    /// A write of this content begins. See [`Model::moment`].
    pub fn intend(&self, name: &str, content: Option<Content>) -> u64 {
        let mut state = self.state();
        let intents = &mut state.names.entry(name.to_owned()).or_default().intents;
        intents.push_back(content);
        if intents.len() > INTENTS {
            intents.pop_front();
        }
        state.landings
    }

    /// What a name may hold after an operation that began at a moment.
    pub fn set(&self, name: &str, possible: Possible, since: u64) {
        let mut state = self.state();
        let name = state.names.entry(name.to_owned()).or_default();
        name.possible = possible;
        let pending = name.pending.iter().map(|(_, late)| late);
        let landed = name.landed.iter().filter(|(at, _)| *at > since);
        let late = pending.chain(landed.map(|(_, late)| late));
        let mut late: Possible = late.flatten().cloned().collect();
        let now = Instant::now();
        name.open.retain(|(until, _)| *until > now);
        late.extend(name.open.iter().map(|(_, content)| content.clone()));
        for content in late {
            name.add(content);
        }
    }

    /// An operation without a clear result may have made this of a name, or may still do it.
    pub fn may_become(&self, name: &str, content: Option<Content>) {
        let mut state = self.state();
        let name = state.names.entry(name.to_owned()).or_default();
        name.open.push((Instant::now() + MAY_COME, content.clone()));
        name.add(content);
    }

    /// A write of a key will be carried out late; `None` if it is of no file of a client.
    pub fn late(&self, key: &str) -> Option<Late> {
        let mut state = self.state();
        state.landings += 1;
        let number = state.landings;
        let name = state.names.get_mut(key)?;
        let meant: Possible = name.intents.iter().cloned().collect();
        for content in &meant {
            name.add(content.clone());
        }
        name.pending.push((number, meant));
        Some(Late {
            key: key.to_owned(),
            number,
        })
    }

    /// The late write has been carried out.
    pub fn landed(&self, late: &Late) {
        let mut state = self.state();
        state.landings += 1;
        let now = state.landings;
        let Some(name) = state.names.get_mut(&late.key) else {
            return;
        };
        let which = name
            .pending
            .iter()
            .position(|(number, _)| *number == late.number);
        let Some(which) = which else { return };
        let (_, meant) = name.pending.swap_remove(which);
        for content in &meant {
            name.add(content.clone());
        }
        name.landed.push((now, meant));
    }

    /// A file of a shared name is begun.
    pub fn begin_shared(&self, name: &str, size: u64) {
        let mut state = self.state();
        let shared = state.shared.entry(name.to_owned()).or_default();
        shared.sizes.insert(size);
    }

    pub fn sent_shared(&self, name: &str, content: Content, acknowledged: bool) {
        let mut state = self.state();
        let shared = state.shared.entry(name.to_owned()).or_default();
        if !shared.sent.contains(&content) {
            shared.sent.push(content);
        }
        shared.acknowledged |= acknowledged;
    }

    /// Whether an object of this name may have this size.
    pub fn may_be_object(&self, name: &str, size: u64) -> bool {
        let state = self.state();
        if let Some(shared) = state.shared.get(name) {
            return shared.sizes.contains(&size);
        }
        let name = state.names.get(name);
        let mut contents = name.iter().flat_map(|name| name.possible.iter().flatten());
        contents.any(|content| content.size() == size)
    }

    /// Notes an operation, to explain a failure.
    pub fn note(&self, name: &str, text: &str) {
        let line = self.line(text);
        let mut state = self.state();
        match state.shared.get_mut(name) {
            Some(shared) => shared.history.push(line),
            None => {
                let name = state.names.entry(name.to_owned()).or_default();
                name.history.push(line);
            }
        }
    }

    /// Notes what happens to a request of a key, if it is a client's file.
    pub fn note_request(&self, key: &str, text: &str) {
        let line = self.line(text);
        let mut state = self.state();
        if let Some(shared) = state.shared.get_mut(key) {
            shared.history.push(line);
        } else if let Some(name) = state.names.get_mut(key) {
            name.history.push(line);
        }
    }

    /// Notes what happens to all names: the end of a gateway, an outage.
    pub fn note_event(&self, text: &str) {
        let line = self.line(text);
        self.state().events.push(line);
    }

    fn line(&self, text: &str) -> Line {
        Line {
            at: self.begun.elapsed(),
            text: text.to_owned(),
        }
    }

    /// The last operations of a name and of all other names of its client, which renames connect,
    /// with the faults of their requests.
    pub fn history(&self, name: &str) -> String {
        let state = self.state();
        let mut lines: Vec<(&str, &Line)> = Vec::new();
        if let Some(shared) = state.shared.get(name) {
            lines.extend(shared.history.iter().map(|line| (name, line)));
        }
        let client = client_of(name);
        for (other, known) in &state.names {
            if client_of(other) == client {
                lines.extend(known.history.iter().map(|line| (other.as_str(), line)));
            }
        }
        lines.extend(state.events.iter().map(|line| ("", line)));
        lines.sort_by_key(|(_, line)| line.at);
        let last = lines.len().saturating_sub(EXPLAINED);
        let lines = lines[last..].iter().map(|(name, line)| {
            let at = line.at.as_secs_f64();
            format!("{at:9.3} {name:6} {}", line.text)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// All names, and what they may hold.
    fn all(&self) -> BTreeMap<String, Possible> {
        let state = self.state();
        let own = state.names.iter();
        let mut all: BTreeMap<String, Possible> = own
            .map(|(name, own)| (name.clone(), own.possible.clone()))
            .collect();
        for (name, shared) in &state.shared {
            let mut states: Possible = shared.sent.iter().cloned().map(Some).collect();
            if !shared.acknowledged {
                states.push(None);
            }
            all.insert(name.clone(), states);
        }
        all
    }

    /// Asserts that each object, as the store holds it and as a client gets it, is one that may
    /// exist.
    pub async fn check(&self, store: &EmbeddedStore, gateways: &Gateways) {
        let possible = self.all();
        let keys = store.backend().keys(BUCKET);
        for key in keys.iter().filter(|key| !key.starts_with(".s3ftpd/")) {
            // Markers of directories that have become empty.
            assert!(
                key.ends_with('/') || possible.contains_key(key),
                "no client has written {key}"
            );
        }
        for (number, (name, states)) in possible.iter().enumerate() {
            let object = store.backend().object(BUCKET, name).await;
            let fits = |state: &Option<Content>| match (state, &object) {
                (None, None) => true,
                (Some(content), Some(bytes)) => {
                    content.size() == bytes.len() as u64 && content.holds(0, bytes)
                }
                _ => false,
            };
            if !states.iter().any(fits) {
                panic!(
                    "{name} holds {:?} bytes, none of {states:#?}\n{}",
                    object.map(|bytes| bytes.len()),
                    self.history(name)
                );
            }
            // The files of the crowd are many, and all alike.
            if name.starts_with("crowd/") && !number.is_multiple_of(8) {
                continue;
            }
            let address = gateways.address(number % 2);
            let reader = user(0);
            let read = Client::fetch(address, &reader, name);
            let read = within("a download at the end", read).await;
            assert!(
                read == object,
                "{name} by a gateway: {:?} bytes",
                read.map(|read| read.len())
            );
        }
    }
}
