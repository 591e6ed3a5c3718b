//! ListObjectsV2, page by page, the next page fetched while this one is sent.
//!
//! Keys are asked for url-encoded: XML can't carry control characters, and stores written in Go would replace them.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::answer::NotS3;
use super::error::failure;
use super::head::timestamp;
use super::{Location, ObjectError, keys};

/// One entry of a listing; names are relative to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An object.
    File {
        /// Name below the directory, unfiltered: may hold anything a key can, except `/`.
        name: String,
        /// Bytes.
        size: u64,
        /// LastModified.
        modified: Timestamp,
        /// ETag with its quotes.
        etag: String,
    },
    /// A common prefix.
    Directory {
        /// Name without the slash; may be empty (key with `//`).
        name: String,
    },
}

/// One page: at most 1,000 entries.
#[derive(Debug)]
pub struct Page {
    /// Its entries, in key order. The directory's own marker is left out.
    pub entries: Vec<Entry>,
    /// Whether the directory's own marker was on this page.
    pub marker: bool,
}

/// A listing under way. At most three pages are in memory: the one being sent, the next, and one on its way.
#[derive(Debug)]
pub struct Listing {
    directory: Location,
    name_prefix: String,
    delimiter: Option<&'static str>,
    fetch: Option<Fetch>,
}

#[derive(Debug)]
struct Fetch {
    pages: mpsc::Receiver<Result<Page, ObjectError>>,
    _task: AbortOnDropHandle<()>,
}

impl Listing {
    /// A listing with delimiter `/` of the directory (`location.key` empty or ending in `/`), of names that begin
    /// with `name_prefix`. Makes no request yet.
    pub fn new(directory: &Location, name_prefix: &str) -> Self {
        Listing {
            directory: directory.clone(),
            name_prefix: name_prefix.to_owned(),
            delimiter: Some("/"),
            fetch: None,
        }
    }

    /// The same without a delimiter: all keys below the directory are its files, and their names may hold slashes.
    pub fn all_below(directory: &Location, name_prefix: &str) -> Self {
        Listing {
            delimiter: None,
            ..Listing::new(directory, name_prefix)
        }
    }

    /// The next page, `None` after the last; begins to fetch the one after it. Dropping the listing ends the fetch.
    /// After an error there is no further page.
    pub async fn next_page(&mut self) -> Result<Option<Page>, ObjectError> {
        let fetch = self.fetch.get_or_insert_with(|| {
            let (sender, pages) = mpsc::channel(1);
            let directory = self.directory.clone();
            let name_prefix = std::mem::take(&mut self.name_prefix);
            let delimiter = self.delimiter;
            let task = tokio::spawn(async move {
                fetch_pages(&directory, &name_prefix, delimiter, &sender).await;
            });
            Fetch {
                pages,
                _task: AbortOnDropHandle::new(task),
            }
        });
        fetch.pages.recv().await.transpose()
    }
}

async fn fetch_pages(
    directory: &Location,
    name_prefix: &str,
    delimiter: Option<&str>,
    sender: &mpsc::Sender<Result<Page, ObjectError>>,
) {
    let prefix = format!("{}{name_prefix}", directory.key);
    let mut token = None;
    let mut tokens = Tokens::default();
    loop {
        let page = RawPage::fetch(directory, &prefix, delimiter, 1000, token).await;
        match page.and_then(|page| tokens.checked(page)) {
            Ok(raw) => {
                token = raw.next.clone();
                if sender
                    .send(Ok(raw.relative_to(&directory.key)))
                    .await
                    .is_err()
                {
                    return;
                }
                if token.is_none() {
                    return;
                }
            }
            Err(error) => {
                // The receiver is gone only when nobody wants to know.
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

/// One key of a listing.
#[derive(Debug)]
pub(super) struct Key {
    /// The whole key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// LastModified.
    pub modified: Timestamp,
    /// ETag with its quotes.
    pub etag: String,
}

/// One page as the store gives it.
#[derive(Debug)]
pub(super) struct RawPage {
    /// The keys, in order.
    pub keys: Vec<Key>,
    /// The common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Token of the next page.
    pub next: Option<String>,
}

impl RawPage {
    /// ListObjectsV2.
    pub(super) async fn fetch(
        bucket: &Location,
        prefix: &str,
        delimiter: Option<&str>,
        max_keys: i32,
        token: Option<String>,
    ) -> Result<RawPage, ObjectError> {
        let asked = token.clone();
        let request = bucket
            .store
            .client()
            .list_objects_v2()
            .bucket(&*bucket.bucket)
            .prefix(prefix)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_continuation_token(token)
            // The store's own default; named only where it is another, as some stores count it as a feature.
            .set_max_keys((max_keys != 1000).then_some(max_keys))
            .encoding_type(EncodingType::Url);
        let output = Box::pin(request.send()).await.map_err(failure)?;
        let page = RawPage::from_output(output)?;
        if page.next.is_some() && page.next == asked {
            return Err(NotS3::result(200, "whose next page is the same again"));
        }
        Ok(page)
    }

    /// The first `count` keys of a directory, all where it has fewer: a page may hold fewer than were asked for, even
    /// none, and not be the last.
    pub(super) async fn first(directory: &Location, count: i32) -> Result<RawPage, ObjectError> {
        let wanted = usize::try_from(count).unwrap_or(1);
        let mut keys = Vec::new();
        let mut token = None;
        let mut tokens = Tokens::default();
        loop {
            let page = RawPage::fetch(directory, &directory.key, None, count, token).await?;
            let page = tokens.checked(page)?;
            keys.extend(page.keys);
            if keys.len() >= wanted || page.next.is_none() {
                return Ok(RawPage { keys, ..page });
            }
            token = page.next;
        }
    }

    fn from_output(output: ListObjectsV2Output) -> Result<RawPage, ObjectError> {
        // Some stores count the keys alone.
        let entries = output.contents().len() + output.common_prefixes().len();
        let count = output
            .key_count()
            .and_then(|count| usize::try_from(count).ok());
        if count.is_some_and(|count| count > entries) {
            return Err(NotS3::result(200, "with fewer entries than it says"));
        }
        let encoded = output.encoding_type() == Some(&EncodingType::Url)
            && output
                .contents()
                .iter()
                .filter_map(|object| object.key())
                .chain(output.common_prefixes().iter().filter_map(|p| p.prefix()))
                .all(keys::looks_encoded);
        let decode = |text: String| if encoded { keys::decode(&text) } else { text };
        let next = match (output.is_truncated(), output.next_continuation_token) {
            (Some(true), Some(token)) => Some(token),
            (Some(true), None) => {
                return Err(NotS3::result(200, "that goes on without a token"));
            }
            _ => None,
        };
        let keys = output
            .contents
            .unwrap_or_default()
            .into_iter()
            .map(|object| Key {
                size: object
                    .size
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or(0),
                modified: timestamp(object.last_modified.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH),
                etag: object.e_tag.unwrap_or_default(),
                key: decode(object.key.unwrap_or_default()),
            })
            .collect();
        let prefixes = output
            .common_prefixes
            .unwrap_or_default()
            .into_iter()
            .filter_map(|prefix| prefix.prefix)
            .map(decode)
            .collect();
        Ok(RawPage {
            keys,
            prefixes,
            next,
        })
    }

    /// Merges keys and prefixes, both in order, into entries of the directory.
    fn relative_to(self, directory: &str) -> Page {
        let mut entries = Vec::with_capacity(self.keys.len() + self.prefixes.len());
        let mut marker = false;
        let mut prefixes = self.prefixes.into_iter().peekable();
        let directory_entry = |prefix: String| {
            let name = prefix.strip_prefix(directory)?.strip_suffix('/')?;
            Some(Entry::Directory {
                name: name.to_owned(),
            })
        };
        for key in self.keys {
            while let Some(prefix) = prefixes.next_if(|prefix| *prefix < key.key) {
                entries.extend(directory_entry(prefix));
            }
            match key.key.strip_prefix(directory) {
                Some("") => marker = true,
                Some(name) => entries.push(Entry::File {
                    name: name.to_owned(),
                    size: key.size,
                    modified: key.modified,
                    etag: key.etag,
                }),
                None => {}
            }
        }
        entries.extend(prefixes.filter_map(directory_entry));
        Page { entries, marker }
    }
}

/// Recognises tokens that lead round in a circle, by keeping one of them: the first, second, fourth, eighth, …
#[derive(Debug, Default)]
struct Tokens {
    kept: Option<String>,
    pages: u64,
}

impl Tokens {
    /// The page, if its token has not led here before.
    fn checked(&mut self, page: RawPage) -> Result<RawPage, ObjectError> {
        if page.next.is_some() && page.next == self.kept {
            return Err(NotS3::result(200, "whose next page has been there before"));
        }
        self.pages += 1;
        if self.pages.is_power_of_two() {
            self.kept.clone_from(&page.next);
        }
        Ok(page)
    }
}

/// Whether any key has the directory's key as its prefix (1 ListObjectsV2 with max-keys 1).
pub async fn directory_exists(directory: &Location) -> Result<bool, ObjectError> {
    let page = RawPage::first(directory, 1).await?;
    Ok(!page.keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Key {
        Key {
            key: key.to_owned(),
            size: 1,
            modified: Timestamp::UNIX_EPOCH,
            etag: String::new(),
        }
    }

    #[test]
    fn a_circle_of_tokens_ends() {
        for circle in 1..20 {
            let mut tokens = Tokens::default();
            let failed = (0..100).position(|page| {
                let next = match page {
                    0..7 => format!("{page}"),
                    _ => format!("circle {}", page % circle),
                };
                let page = RawPage {
                    keys: Vec::new(),
                    prefixes: Vec::new(),
                    next: Some(next),
                };
                tokens.checked(page).is_err()
            });
            assert!(failed.is_some_and(|page| page > 7), "{circle}: {failed:?}");
        }
        let mut tokens = Tokens::default();
        for next in (0..1000).map(|page| page.to_string()) {
            let page = RawPage {
                keys: Vec::new(),
                prefixes: Vec::new(),
                next: Some(next),
            };
            assert!(tokens.checked(page).is_ok());
        }
    }

    #[test]
    fn pages_are_in_key_order_and_without_the_marker() {
        let page = RawPage {
            keys: vec![key("d/"), key("d/b"), key("d/c.txt"), key("d/z")],
            prefixes: vec!["d//".into(), "d/a/".into(), "d/c/".into(), "d/zz/".into()],
            next: None,
        };
        let page = page.relative_to("d/");
        let names: Vec<_> = page
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::File { name, .. } => name.clone(),
                Entry::Directory { name } => format!("{name}/"),
            })
            .collect();
        assert!(page.marker);
        assert_eq!(names, ["/", "a/", "b", "c.txt", "c/", "z", "zz/"]);
    }
}
