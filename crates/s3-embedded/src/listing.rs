//! One page of an ordered map of keys, for ListObjectsV2 and ListMultipartUploads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use s3s::dto::{CommonPrefix, EncodingType, ListObjectsV2Input, ListObjectsV2Output, Object};
use s3s::{S3Response, S3Result, s3_error};

use super::backend::Backend;
use super::index::is_below_file;
use super::record::RESERVED;
use super::s3_types::{quoted, timestamp};

/// Upper limit of the entries of a page.
const MAX_KEYS: usize = 1000;

/// What is escaped in a name of an answer, before `+` replaces spaces.
const IN_ANSWER: &AsciiSet = &RESERVED.remove(b'/').remove(b'*').remove(b' ');

/// The start of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// At the first key.
    Start,
    /// After this key, which need not exist.
    Key(String),
    /// After all keys with this prefix.
    Prefix(String),
}

impl After {
    /// As a continuation token: opaque to clients, and valid forever.
    fn token(&self) -> String {
        let (tag, text) = match self {
            After::Start => ('s', ""),
            After::Key(key) => ('k', key.as_str()),
            After::Prefix(prefix) => ('p', prefix.as_str()),
        };
        BASE64.encode(format!("{tag}{text}"))
    }

    fn from_token(token: &str) -> Option<After> {
        let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
        match text.split_at_checked(1)? {
            ("k", key) => Some(After::Key(key.to_owned())),
            ("p", prefix) => Some(After::Prefix(prefix.to_owned())),
            _ => None,
        }
    }
}

/// A page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<V> {
    pub(crate) entries: Vec<(String, V)>,
    pub(crate) prefixes: Vec<String>,
    /// The start of the next page; `None`: this is the last one.
    pub(crate) next: Option<After>,
}

/// Cuts a page of at most `max` entries and common prefixes, in the order of the keys' bytes.
///
/// It skips the keys of a common prefix without reading them, so a page costs only its entries.
pub(crate) fn page<V: Clone>(
    map: &BTreeMap<String, V>,
    prefix: &str,
    delimiter: Option<&str>,
    after: &After,
    max: usize,
) -> Page<V> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
    let mut page = Page {
        entries: Vec::new(),
        prefixes: Vec::new(),
        next: None,
    };
    let mut last = after.clone();
    let mut skipped = match after {
        After::Prefix(prefix) => Some(prefix.clone()),
        After::Key(key) => Some(key.clone()).filter(|key| {
            // A listing that starts at the name of a common prefix does not repeat it.
            let rest = key.get(prefix.len()..).unwrap_or_default();
            delimiter.is_some_and(|d| rest.find(d).is_some_and(|at| at + d.len() == rest.len()))
        }),
        After::Start => None,
    };
    while let Some((key, value)) = next_entry(map, prefix, &last, skipped.as_deref()) {
        if page.entries.len() + page.prefixes.len() == max {
            page.next = Some(last).filter(|_| max > 0);
            return page;
        }
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let cut = delimiter.and_then(|d| Some(rest.find(d)? + d.len()));
        match cut.and_then(|cut| key.get(..prefix.len() + cut)) {
            Some(common) => {
                page.prefixes.push(common.to_owned());
                last = After::Prefix(common.to_owned());
                skipped = Some(common.to_owned());
            }
            None => {
                page.entries.push((key.clone(), value.clone()));
                last = After::Key(key.clone());
                skipped = None;
            }
        }
    }
    page
}

/// The first entry with the prefix, after `after`, that does not begin with `skipped`.
fn next_entry<'a, V>(
    map: &'a BTreeMap<String, V>,
    prefix: &str,
    after: &After,
    skipped: Option<&str>,
) -> Option<(&'a String, &'a V)> {
    let from = match after {
        After::Start => None,
        After::Key(key) => Some(key.clone()),
        // No character is above this one: at most a few keys of the prefix remain.
        After::Prefix(prefix) => Some(format!("{prefix}{}", char::MAX)),
    };
    let lower = match &from {
        Some(from) if from.as_str() >= prefix => Bound::Excluded(from.as_str()),
        _ => Bound::Included(prefix),
    };
    let mut following = map.range::<str, _>((lower, Bound::Unbounded));
    following
        .find(|(key, _)| !skipped.is_some_and(|skipped| key.starts_with(skipped)))
        .filter(|(key, _)| key.starts_with(prefix))
}

/// A name as in an answer: percent-encoded if the client asks for it, with `+` for a space.
pub(crate) fn encoded(encoding: Option<&EncodingType>, name: &str) -> String {
    match encoding.map(EncodingType::as_str) {
        Some(EncodingType::URL) => utf8_percent_encode(name, IN_ANSWER)
            .to_string()
            .replace(' ', "+"),
        _ => name.to_owned(),
    }
}

/// The number of entries of a page, from the client's `max-keys`.
pub(crate) fn page_size(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(MAX_KEYS),
        Some(asked) => usize::try_from(asked)
            .map(|asked| asked.min(MAX_KEYS))
            .map_err(|_| s3_error!(InvalidArgument, "a page can't have {asked} entries")),
    }
}

impl Backend {
    /// ListObjectsV2.
    pub(crate) fn list_objects(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let max = page_size(input.max_keys)?;
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => After::from_token(token).ok_or_else(|| {
                s3_error!(
                    InvalidArgument,
                    "The continuation token provided is incorrect"
                )
            })?,
            (None, Some(key)) => After::Key(key.clone()),
            (None, None) => After::Start,
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let hides = self.behaviour().files_hide_directories;
        let page = {
            let state = self.state();
            let bucket = state
                .buckets
                .get(&input.bucket)
                .ok_or_else(|| s3_error!(NoSuchBucket))?;
            // Only tests with a few hundred keys use a store that hides some.
            let shown = hides.then(|| {
                let objects = bucket.objects.iter();
                let shown = objects.filter(|(key, _)| !is_below_file(&bucket.objects, key));
                let shown = shown.map(|(key, object)| (key.clone(), Arc::clone(object)));
                shown.collect::<BTreeMap<_, _>>()
            });
            page(
                shown.as_ref().unwrap_or(&bucket.objects),
                &prefix,
                input.delimiter.as_deref(),
                &after,
                max,
            )
        };
        let encoding = input.encoding_type.as_ref();
        let encode = |name: &str| encoded(encoding, name);
        let contents: Vec<Object> = page
            .entries
            .iter()
            .map(|(key, object)| Object {
                key: Some(encode(key)),
                e_tag: quoted(&object.data.etag),
                last_modified: timestamp(object.data.modified),
                size: i64::try_from(object.data.content.length()).ok(),
                storage_class: Some(
                    object
                        .data
                        .attributes
                        .storage_class
                        .clone()
                        .unwrap_or_else(|| "STANDARD".to_owned())
                        .into(),
                ),
                ..Object::default()
            })
            .collect();
        let prefixes: Vec<CommonPrefix> = page
            .prefixes
            .iter()
            .map(|prefix| CommonPrefix {
                prefix: Some(encode(prefix)),
            })
            .collect();
        let count = contents.len() + prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            max_keys: i32::try_from(max).ok(),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(After::token),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            delimiter: input.delimiter.as_deref().map(encode),
            start_after: input.start_after.as_deref().map(encode),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn map(keys: impl IntoIterator<Item = String>) -> BTreeMap<String, ()> {
        keys.into_iter().map(|key| (key, ())).collect()
    }

    /// Keys and prefixes of all pages, read with tokens.
    fn walk(
        map: &BTreeMap<String, ()>,
        prefix: &str,
        delimiter: Option<&str>,
        max: usize,
    ) -> (Vec<String>, Vec<String>) {
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        let mut after = After::Start;
        loop {
            let page = page(map, prefix, delimiter, &after, max);
            keys.extend(page.entries.into_iter().map(|(key, ())| key));
            prefixes.extend(page.prefixes);
            match page.next {
                None => return (keys, prefixes),
                Some(next) => after = After::from_token(&next.token()).unwrap(),
            }
        }
    }

    proptest! {
        #[test]
        fn pages_add_up_to_what_a_plain_filter_gives(
            keys in prop::collection::btree_set("[a-b/\u{10FFFF}é]{0,6}", 0..40),
            prefix in "[a-b/]{0,2}",
            delimiter in prop::option::of("/|b/"),
            max in 1usize..5,
        ) {
            let map = map(keys.clone());
            let mut expected_keys = Vec::new();
            let mut expected_prefixes = BTreeSet::new();
            for key in keys.iter().filter(|key| key.starts_with(&prefix)) {
                let cut = delimiter.as_deref().and_then(|d| Some(key[prefix.len()..].find(d)? + d.len()));
                match cut {
                    Some(cut) => { expected_prefixes.insert(key[..prefix.len() + cut].to_owned()); }
                    None => expected_keys.push(key.clone()),
                }
            }
            let (keys, prefixes) = walk(&map, &prefix, delimiter.as_deref(), max);
            prop_assert_eq!(keys, expected_keys);
            prop_assert_eq!(prefixes, expected_prefixes.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn start_after_and_limits() {
        let map = map(["a", "b", "b/1", "b/2", "c"].map(str::to_owned));
        let keys = |page: Page<()>| page.entries.into_iter().map(|e| e.0).collect::<Vec<_>>();
        let after = |key: &str| After::Key(key.to_owned());
        assert_eq!(
            keys(page(&map, "", None, &after("b"), 9)),
            ["b/1", "b/2", "c"]
        );
        assert_eq!(keys(page(&map, "", None, &after("aa"), 1)), ["b"]);
        assert_eq!(keys(page(&map, "b/", None, &after("a"), 9)), ["b/1", "b/2"]);
        // A key within a common prefix repeats the prefix, the prefix's own name does not.
        assert_eq!(page(&map, "", Some("/"), &after("b/1"), 9).prefixes, ["b/"]);
        assert_eq!(
            page(&map, "", Some("/"), &after("b/"), 9).prefixes,
            Vec::<String>::new()
        );
        let nothing = page(&map, "", None, &After::Start, 0);
        assert_eq!((nothing.entries.len(), nothing.next), (0, None));
        let exactly = page(&map, "", None, &After::Start, 5);
        assert_eq!((exactly.entries.len(), exactly.next), (5, None));
    }

    #[test]
    fn names_are_encoded_as_s3_does() {
        let url = EncodingType::from_static(EncodingType::URL);
        assert_eq!(
            encoded(Some(&url), "a b/c+d\r\n\u{e9}*"),
            "a+b/c%2Bd%0D%0A%C3%A9*"
        );
        assert_eq!(encoded(None, "a b"), "a b");
        assert!(page_size(Some(-1)).is_err());
        assert_eq!(page_size(Some(5000)).unwrap(), 1000);
    }
}
