//! ListObjectsV2, page by page, the next page fetched while this one is sent.
//!
//! Keys are asked for url-encoded: XML can't carry control characters, and stores written in Go
//! would replace them.
//!
//! Each page's memory comes out of the budget ([`PageMemory`]) and is given back with the page. A
//! page that is fetched ahead takes memory only if some is free. A page whose reader is slow can be
//! [given back](Listing::give_back) when others wait for memory; the same page is then listed
//! again, by the same token, when the reader gets there.

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::memory::Grant;
use crate::object::error::{NotS3, ObjectError, failure};
use crate::object::head::timestamp;
use crate::object::keys;
use crate::object::location::Location;
use crate::object::page_memory::{IfTaken, PageMemory};

/// Keys of a page.
const PAGE: i32 = 1000;

/// What the allocator adds to a string, bytes.
const STRING: u64 = 16;

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

impl Entry {
    /// Its place in the order of keys.
    fn order(&self) -> KeyOrder<'_> {
        match self {
            Entry::File { name, .. } => (name, ""),
            Entry::Directory { name } => (name, "/"),
        }
    }

    /// Memory of its strings, bytes.
    fn heap(&self) -> u64 {
        let strings = match self {
            Entry::File { name, etag, .. } => [name.capacity(), etag.capacity()],
            Entry::Directory { name } => [name.capacity(), 0],
        };
        strings.iter().map(|bytes| *bytes as u64 + STRING).sum()
    }
}

/// A name, and what follows it in the key.
type KeyOrder<'a> = (&'a str, &'static str);

/// Whether the one comes before the other in the order of keys.
fn precedes((name, end): KeyOrder<'_>, (other, other_end): KeyOrder<'_>) -> bool {
    let bytes = name.bytes().chain(end.bytes());
    bytes.lt(other.bytes().chain(other_end.bytes()))
}

/// One page: at most 1,000 entries. Holds its memory of the budget.
#[derive(Debug)]
pub struct Page {
    /// Its entries, in key order. The directory's own marker is left out.
    pub entries: Vec<Entry>,
    /// Whether the directory's own marker was on this page.
    pub marker: bool,
    /// The token by which it was asked for.
    token: Option<String>,
    /// The last entry that had been sent when this page was given back before.
    sent: Option<Entry>,
    _memory: Option<Grant>,
}

/// A listing under way. At most two pages are in memory: the one being sent, and the next one or
/// the one on its way.
#[derive(Debug)]
pub struct Listing {
    directory: Location,
    prefix: String,
    delimiter: Option<&'static str>,
    /// The next page to ask for.
    next: NextPage,
    /// That page, if it is being fetched already.
    ahead: Option<AbortOnDropHandle<Result<Fetched, ObjectError>>>,
    /// The last entry that was sent of the page that was given back.
    sent: Option<Entry>,
    /// Whether the next page was given back, and is listed once more.
    given_back: bool,
    tokens: Tokens,
}

#[derive(Debug, Clone)]
enum NextPage {
    Page(Option<String>),
    End,
}

/// A page, and which one follows.
#[derive(Debug)]
struct Fetched {
    page: Page,
    next: NextPage,
}

impl Listing {
    /// A listing with delimiter `/` of the directory (`location.key` empty or ending in `/`), of
    /// names that begin with `name_prefix`. Makes no request yet.
    pub fn new(directory: &Location, name_prefix: &str) -> Self {
        Listing {
            directory: directory.clone(),
            prefix: format!("{}{name_prefix}", directory.key),
            delimiter: Some("/"),
            next: NextPage::Page(None),
            ahead: None,
            sent: None,
            given_back: false,
            tokens: Tokens::default(),
        }
    }

    /// Begins a listing without a delimiter: all keys below the directory are files of it, and
    /// their names may contain slashes.
    pub fn all_below(directory: &Location, name_prefix: &str) -> Self {
        Listing {
            delimiter: None,
            ..Listing::new(directory, name_prefix)
        }
    }

    /// The next page, `None` after the last; begins to fetch the one after it. Dropping the listing
    /// ends the fetch. Cancel safe. After an error there is no further page.
    ///
    /// # Errors
    /// [`ObjectError::Memory`] if the budget has no memory for the page within the time; what the
    /// store answers.
    pub async fn next_page(&mut self) -> Result<Option<Page>, ObjectError> {
        let NextPage::Page(token) = &self.next else {
            return Ok(None);
        };
        let fetched = match &mut self.ahead {
            Some(ahead) => ahead.await.unwrap_or(Err(ObjectError::Memory)),
            None => Err(ObjectError::Memory),
        };
        self.ahead = None;
        let fetched = match fetched {
            // There was no memory for it ahead of its reader, who is here now.
            Err(ObjectError::Memory) => {
                let (directory, prefix) = (&self.directory, &self.prefix);
                fetch(directory, prefix, self.delimiter, token, IfTaken::Wait).await
            }
            fetched => fetched,
        };
        let again = std::mem::take(&mut self.given_back);
        let checked = fetched.and_then(|fetched| {
            if let (NextPage::Page(token), false) = (&fetched.next, again) {
                self.tokens.check(token.as_ref())?;
            }
            Ok(fetched)
        });
        let Fetched { mut page, next } = match checked {
            Ok(fetched) => fetched,
            Err(error) => {
                self.next = NextPage::End;
                return Err(error);
            }
        };
        self.next = next;
        page.sent = self.sent.take();
        if let Some(sent) = &page.sent {
            page.entries
                .retain(|entry| precedes(sent.order(), entry.order()));
        }
        self.look_ahead();
        Ok(Some(page))
    }

    fn look_ahead(&mut self) {
        if let NextPage::Page(token) = &self.next
            && !self.contended()
        {
            let (directory, prefix) = (self.directory.clone(), self.prefix.clone());
            let (delimiter, token) = (self.delimiter, token.clone());
            let task =
                async move { fetch(&directory, &prefix, delimiter, &token, IfTaken::Refuse).await };
            #[expect(
                clippy::disallowed_methods,
                reason = "the handle aborts the task when dropped"
            )]
            let task = tokio::spawn(task.in_current_span());
            self.ahead = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Whether others wait for memory.
    pub fn contended(&self) -> bool {
        self.directory.store.context().budget.contended()
    }

    /// Gives back the memory of the last page, of which `sent` entries have been sent, and of the
    /// one ahead. The rest of the page is what [`Listing::next_page`] returns next.
    pub fn give_back(&mut self, mut page: Page, sent: usize) {
        self.ahead = None;
        self.given_back = true;
        self.next = NextPage::Page(page.token.take());
        self.sent = match sent.checked_sub(1).filter(|at| *at < page.entries.len()) {
            Some(last) => Some(page.entries.swap_remove(last)),
            None => page.sent,
        };
    }
}

async fn fetch(
    directory: &Location,
    prefix: &str,
    delimiter: Option<&str>,
    token: &Option<String>,
    if_taken: IfTaken,
) -> Result<Fetched, ObjectError> {
    let mut raw =
        RawPage::fetch_or(if_taken, directory, prefix, delimiter, PAGE, token.clone()).await?;
    let next = match raw.next.take() {
        Some(token) => NextPage::Page(Some(token)),
        None => NextPage::End,
    };
    let page = raw.relative_to(&directory.key, token.clone());
    Ok(Fetched { page, next })
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
    /// Covers all of it.
    memory: Option<Grant>,
}

impl RawPage {
    /// ListObjectsV2. Waits for the memory of the page.
    pub(super) async fn fetch(
        bucket: &Location,
        prefix: &str,
        delimiter: Option<&str>,
        max_keys: i32,
        token: Option<String>,
    ) -> Result<RawPage, ObjectError> {
        RawPage::fetch_or(IfTaken::Wait, bucket, prefix, delimiter, max_keys, token).await
    }

    async fn fetch_or(
        if_taken: IfTaken,
        bucket: &Location,
        prefix: &str,
        delimiter: Option<&str>,
        max_keys: i32,
        token: Option<String>,
    ) -> Result<RawPage, ObjectError> {
        let memory = PageMemory::new(&bucket.store.context().budget, max_keys, if_taken);
        let asked = token.clone();
        let request = bucket
            .store
            .client()
            .list_objects_v2()
            .bucket(&*bucket.bucket)
            .prefix(prefix)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_continuation_token(token)
            // The store's own default; named only if it is another, as some stores count it as a
            // feature.
            .set_max_keys((max_keys != 1000).then_some(max_keys))
            .encoding_type(EncodingType::Url)
            .customize()
            .interceptor(memory.clone())
            .config_override(Builder::default().retry_classifier(memory.clone()));
        let output = Box::pin(request.send()).await;
        if memory.refused() {
            return Err(ObjectError::Memory);
        }
        let mut page = RawPage::from_output(output.map_err(failure)?)?;
        if !page.answers(prefix, delimiter) {
            return Err(NotS3::result(
                200,
                "that lists other keys than were asked for",
            ));
        }
        if page.next.is_some() && page.next == asked {
            return Err(NotS3::result(200, "whose next page is the same again"));
        }
        page.memory = memory.keep(page.bytes());
        Ok(page)
    }

    /// Whether it can be the answer to this question. A cache that ignores the query gives each
    /// directory the listing of another one, and what is in that is not to be renamed or deleted in
    /// its place.
    fn answers(&self, prefix: &str, delimiter: Option<&str>) -> bool {
        let keys = self.keys.iter().map(|key| &key.key);
        keys.chain(&self.prefixes)
            .all(|name| name.starts_with(prefix))
            && (delimiter.is_some() || self.prefixes.is_empty())
    }

    /// The memory it takes.
    fn bytes(&self) -> u64 {
        let own = self.keys.capacity() * size_of::<Key>()
            + self.prefixes.capacity() * size_of::<String>();
        let keys = self.keys.iter().flat_map(|key| [&key.key, &key.etag]);
        let strings = keys.chain(&self.prefixes);
        own as u64
            + strings
                .map(|text| text.capacity() as u64 + STRING)
                .sum::<u64>()
    }

    /// The first `count` keys of a directory, all if it has fewer: a page may hold fewer than were
    /// asked for, even none, and not be the last.
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
            memory: None,
        })
    }

    /// Merges keys and prefixes, both in order, into entries of the directory.
    fn relative_to(self, directory: &str, token: Option<String>) -> Page {
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
        let mut memory = self.memory;
        if let Some(memory) = &mut memory {
            let own = entries.capacity() * size_of::<Entry>();
            memory.shrink_to(own as u64 + entries.iter().map(Entry::heap).sum::<u64>());
        }
        Page {
            entries,
            marker,
            token,
            sent: None,
            _memory: memory,
        }
    }
}

/// Recognises tokens that lead round in a circle, by keeping one of them: the first, second,
/// fourth, eighth, …
#[derive(Debug, Default)]
struct Tokens {
    kept: Option<String>,
    pages: u64,
}

impl Tokens {
    /// The page, if its token has not led here before.
    fn checked(&mut self, page: RawPage) -> Result<RawPage, ObjectError> {
        self.check(page.next.as_ref())?;
        Ok(page)
    }

    fn check(&mut self, next: Option<&String>) -> Result<(), ObjectError> {
        if next.is_some() && next == self.kept.as_ref() {
            return Err(NotS3::result(200, "whose next page has been there before"));
        }
        self.pages += 1;
        if self.pages.is_power_of_two() {
            self.kept = next.cloned();
        }
        Ok(())
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
                    memory: None,
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
                memory: None,
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
            memory: None,
        };
        let page = page.relative_to("d/", None);
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
