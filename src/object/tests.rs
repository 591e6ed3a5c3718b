//! The room as a whole, against an embedded S3 server on loopback. What a store does wrong on cue
//! is tested elsewhere; here bodies break off by a small server that speaks just enough HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod copies;
mod rare_answers;
mod server;
mod staged;
mod transfers;
mod unclear_answers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::memory::Admission;
use crate::object::tests::server::TestStore;

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;
const LONG: Duration = Duration::from_secs(60);

/// Bytes that differ at each place.
fn pattern(size: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect::<Vec<u8>>()
        .into()
}

async fn admission(store: &Store) -> Admission {
    store.context().budget.admit(LONG).await.unwrap()
}

fn options() -> UploadOptions {
    UploadOptions {
        id: TransferId::generate(),
        condition: Condition::None,
        append: None,
        metadata: Vec::new(),
        staged: None,
        keep: None,
    }
}

async fn upload(
    location: &Location,
    options: UploadOptions,
    data: &Bytes,
) -> Result<Published, ObjectError> {
    let admission = admission(&location.store).await;
    let mut upload = Upload::begin(location.clone(), admission, options).await?;
    upload.write(data.clone()).await?;
    let upload = upload.seal().await?;
    assert_eq!(upload.received(), data.len() as u64);
    let turn = upload.turn().await?;
    Ok(upload.publish(turn).await?)
}

async fn put(location: &Location, data: &Bytes) -> Published {
    upload(location, options(), data).await.unwrap()
}

async fn download(location: &Location, offset: u64) -> Result<Bytes, ObjectError> {
    let admission = admission(&location.store).await;
    let mut download = Download::open(location.clone(), admission, offset).await?;
    let mut data = Vec::new();
    while let Some(chunk) = download.next().await? {
        data.extend_from_slice(&chunk);
    }
    Ok(data.into())
}

/// Waits until all that a store's transfers held is free again.
async fn idle(store: &Arc<Store>) {
    let context = store.context();
    context.cleanups.close();
    tokio::time::timeout(LONG, context.cleanups.wait())
        .await
        .unwrap();
    // Memory is given back by the tasks of the HTTP client as they end.
    tokio::time::timeout(LONG, async {
        while context.budget.in_use() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("memory is still held");
    assert!(!context.budget.contended());
}

#[tokio::test]
async fn listings_go_over_pages() {
    let server = TestStore::start().await;
    let store = server.store().await;
    server.fill("d/file", 2100);
    server.fill("d/sub/x", 1);
    server.fill("other", 1);
    let directory = server.location(&store, "d/");
    let mut listing = Listing::new(&directory, "");
    let mut names = Vec::new();
    let mut pages = 0;
    while let Some(page) = listing.next_page().await.unwrap() {
        pages += 1;
        assert!(!page.marker);
        names.extend(page.entries.into_iter().map(|entry| match entry {
            Entry::File { name, .. } => name,
            Entry::Directory { name } => format!("{name}/"),
        }));
    }
    assert_eq!(pages, 3);
    assert_eq!(names.len(), 2101);
    assert!(names.is_sorted());
    assert_eq!(names.last().map(String::as_str), Some("sub/"));
    assert_eq!(server.requests(), ["ListObjectsV2"; 3]);

    let mut listing = Listing::new(&directory, "file-00001");
    let page = listing.next_page().await.unwrap().unwrap();
    assert_eq!(page.entries.len(), 10);
    assert!(listing.next_page().await.unwrap().is_none());
    assert!(directory_exists(&directory).await.unwrap());
    assert!(
        !directory_exists(&server.location(&store, "nowhere/"))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_page_that_was_given_back_continues_after_what_was_sent() {
    let server = TestStore::start().await;
    let store = server.store().await;
    server.fill("d/file", 1100);
    // In the order of keys it comes after the file of its name, and before a longer one.
    server.fill("d/file-00500/x", 1);
    server.fill("d/file-00500.txt", 1);
    let name = |entry: &Entry| match entry {
        Entry::File { name, .. } => name.clone(),
        Entry::Directory { name } => format!("{name}/"),
    };
    let directory = server.location(&store, "d/");
    let mut listing = Listing::new(&directory, "");
    let mut whole = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        whole.extend(page.entries.iter().map(name));
    }
    assert_eq!(whole.len(), 1102);
    for sent in [0, 1, 501, 502, 503, 999, 1000] {
        let mut listing = Listing::new(&directory, "");
        let page = listing.next_page().await.unwrap().unwrap();
        let mut names: Vec<_> = page.entries.iter().take(sent).map(name).collect();
        listing.give_back(page, sent);
        // Twice, of which the second time has sent nothing more.
        if let Some(page) = listing.next_page().await.unwrap() {
            listing.give_back(page, 0);
        }
        while let Some(page) = listing.next_page().await.unwrap() {
            names.extend(page.entries.iter().map(name));
        }
        assert_eq!(names, whole, "{sent}");
    }
    drop(listing);
    idle(&store).await;
}

#[tokio::test]
async fn directories_outlive_their_last_file() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let at = |key: &str| server.location(&store, key);
    let directory = at("a/");
    make_directory(&directory).await.unwrap();
    assert_eq!(server.requests(), ["ListObjectsV2", "PutObject"]);

    // The embedded store lists no markers, so what is put is seen by the requests alone.
    server.fill("a/one", 1);
    let file = at("a/one-000000");
    for known in [
        make_directory(&directory).await,
        remove_directory(&directory, None).await.map_err(Into::into),
    ] {
        assert!(matches!(known, Err(ObjectError::Conflict)), "{known:?}");
    }
    server.requests();
    delete_keeping_directory(&file, Some(&directory), None)
        .await
        .unwrap();
    assert_eq!(
        server.requests(),
        ["ListObjectsV2", "PutObject", "DeleteObject"]
    );
    for gone in [
        delete_keeping_directory(&file, Some(&directory), None)
            .await
            .map(drop),
        delete_keeping_directory(&at("nothing"), None, None)
            .await
            .map(drop),
        remove_directory(&at("nowhere/"), None).await,
    ] {
        let gone = gone.map_err(ObjectError::from);
        assert!(matches!(gone, Err(ObjectError::NotFound)), "{gone:?}");
    }

    server.fill("a/one", 3);
    server.requests();
    delete_keeping_directory(&file, Some(&directory), None)
        .await
        .unwrap();
    assert_eq!(server.requests(), ["ListObjectsV2", "DeleteObject"]);
    server.fill("a/one", 3);
    let last = at("a/one-000002");
    delete_keeping_directory(&last, Some(&directory), None)
        .await
        .unwrap();
    assert_eq!(
        server.requests(),
        ["ListObjectsV2", "HeadObject", "DeleteObject"]
    );
    let gone = delete_keeping_directory(&last, Some(&directory), None).await;
    let gone = gone.map_err(ObjectError::from);
    assert!(matches!(gone, Err(ObjectError::NotFound)), "{gone:?}");
}

#[tokio::test]
async fn heads_and_peeks() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let at = |key: &str| server.location(&store, key);
    let data = pattern(100_000);
    let mut with_mtime = options();
    with_mtime.metadata = vec![("mtime".to_owned(), "1700000000.5".to_owned())];
    let id = with_mtime.id.clone();
    upload(&at("f"), with_mtime, &data).await.unwrap();
    let info = head(&at("f")).await.unwrap();
    assert_eq!(info.size, 100_000);
    assert_eq!(
        info.client_modified().unwrap().as_millisecond(),
        1_700_000_000_500
    );
    assert_eq!(info.attributes.metadata["s3ftpd-transfer"], id.as_str());
    assert!(matches!(head(&at("g")).await, Err(ObjectError::NotFound)));

    let first = peek(&at("f"), 1000).await.unwrap();
    assert_eq!(first.first, data[..1000]);
    assert_eq!((first.info.size, &first.info.etag), (100_000, &info.etag));
    assert_eq!(peek(&at("f"), 200_000).await.unwrap().first, data);
    put(&at("empty"), &Bytes::new()).await;
    assert_eq!(peek(&at("empty"), 1000).await.unwrap().info.size, 0);
    assert!(matches!(
        peek(&at("g"), 1000).await,
        Err(ObjectError::NotFound)
    ));
    let mut elsewhere = at("f");
    elsewhere.bucket = "no-bucket".into();
    let missing = directory_exists(&elsewhere).await;
    assert!(
        matches!(missing, Err(ObjectError::NoSuchBucket)),
        "{missing:?}"
    );
}
