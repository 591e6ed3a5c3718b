//! Which bytes each name may hold.

use std::collections::BTreeMap;
use std::sync::Mutex;

use s3ftpd::demo::EmbeddedStore;

use crate::client::Client;
use crate::content::Content;
use crate::gateway::Gateways;
use crate::{BUCKET, within};

/// What a name may hold; `None` in it: nothing.
pub type Possible = Vec<Option<Content>>;

#[derive(Default)]
pub struct Model {
    names: Mutex<BTreeMap<String, Possible>>,
    /// Names that several write: all files that were sent whole, and whether one was acknowledged.
    shared: Mutex<BTreeMap<String, (Vec<Content>, bool)>>,
}

impl Model {
    pub fn possible(&self, name: &str) -> Possible {
        let names = self.names.lock().unwrap();
        names.get(name).cloned().unwrap_or_else(|| vec![None])
    }

    pub fn set(&self, name: &str, possible: Possible) {
        self.names.lock().unwrap().insert(name.to_owned(), possible);
    }

    /// One content more that it may hold.
    pub fn add(&self, name: &str, content: Option<Content>) {
        let mut names = self.names.lock().unwrap();
        let possible = names.entry(name.to_owned()).or_insert_with(|| vec![None]);
        if !possible.contains(&content) {
            possible.push(content);
        }
    }

    pub fn sent_shared(&self, name: &str, content: Content, acknowledged: bool) {
        let mut shared = self.shared.lock().unwrap();
        let (contents, any) = shared.entry(name.to_owned()).or_default();
        contents.push(content);
        *any |= acknowledged;
    }

    /// Each object, as the store holds it and as a client gets it, is one that may be there.
    pub async fn check(&self, store: &EmbeddedStore, gateways: &Gateways) {
        let mut possible = self.names.lock().unwrap().clone();
        for (name, (contents, acknowledged)) in self.shared.lock().unwrap().iter() {
            let mut states: Possible = contents.iter().cloned().map(Some).collect();
            if !acknowledged {
                states.push(None);
            }
            possible.insert(name.clone(), states);
        }
        let keys = store.backend().keys(BUCKET);
        for key in keys.iter().filter(|key| !key.starts_with(".s3ftpd/")) {
            // Markers of directories that have become empty.
            assert!(
                key.ends_with('/') || possible.contains_key(key),
                "nobody has written {key}"
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
                    "{name} holds {:?} bytes, none of {states:#?}",
                    object.map(|bytes| bytes.len())
                );
            }
            let address = gateways.address(number % 2);
            let read = within("a download at the end", Client::fetch(address, name)).await;
            assert_eq!(read, object, "{name} by a gateway");
        }
    }
}
