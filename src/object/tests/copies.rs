//! Copies and renames.

use std::collections::BTreeMap;

use super::*;

async fn names(directory: &Location) -> Vec<String> {
    let mut listing = Listing::new(directory, "");
    let mut names = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        names.extend(page.entries.into_iter().map(|entry| match entry {
            Entry::File { name, .. } => name,
            Entry::Directory { name } => format!("{name}/"),
        }));
    }
    names
}

fn copy_options(if_absent: bool) -> CopyOptions {
    CopyOptions {
        id: TransferId::generate(),
        if_absent,
        source_crc: None,
    }
}

#[tokio::test]
async fn copies_keep_the_metadata() {
    let server = TestStore::start().await;
    // The second one copies by parts.
    for limit in [5 << 30, PART as u64] {
        let store = server.store_with(|config| config.copy_limit = limit).await;
        let (from, to) = (
            server.location(&store, "odd name +%ü"),
            server.location(&store, "to/it"),
        );
        let data = pattern(11 * MIB);
        let mut with = options();
        with.metadata = vec![("mtime".to_owned(), "1".to_owned())];
        upload(&from, with, &data).await.unwrap();
        let info = head(&from).await.unwrap();
        let options = copy_options(false);
        copy(&from, &info, &to, &options).await.unwrap();
        assert_eq!(download(&to, 0).await.unwrap(), data);
        let copied = head(&to).await.unwrap();
        assert_eq!(copied.attributes.metadata["mtime"], "1");
        assert_eq!(
            copied.attributes.metadata["s3ftpd-transfer"],
            options.id.as_str()
        );

        let exists = copy(&from, &info, &to, &copy_options(true)).await;
        assert!(matches!(exists, Err(PublishError::Conflict)), "{exists:?}");

        let change = |metadata: &mut BTreeMap<String, String>| {
            metadata.insert("mtime".to_owned(), "2".to_owned());
        };
        set_metadata(&to, change, &TransferId::generate())
            .await
            .unwrap();
        assert_eq!(head(&to).await.unwrap().attributes.metadata["mtime"], "2");
        assert_eq!(download(&to, 0).await.unwrap(), data);
        idle(&store).await;
    }
}

#[tokio::test]
async fn a_source_that_changed_is_not_copied() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let (from, to) = (server.location(&store, "a"), server.location(&store, "b"));
    put(&from, &pattern(10)).await;
    let info = head(&from).await.unwrap();
    put(&from, &pattern(11)).await;
    let changed = copy(&from, &info, &to, &copy_options(false)).await;
    let cause = changed.unwrap_err();
    assert!(matches!(cause.cause(), ObjectError::Changed), "{cause:?}");
    assert!(matches!(head(&to).await, Err(ObjectError::NotFound)));
}

#[tokio::test]
async fn copies_between_stores_are_streamed() {
    let (one, two) = (TestStore::start().await, TestStore::start().await);
    let (store, other) = (one.store().await, two.store().await);
    let (from, to) = (one.location(&store, "a"), two.location(&other, "b"));
    for size in [0, 10, 3 * PART + 1] {
        let data = pattern(size);
        put(&from, &data).await;
        let info = head(&from).await.unwrap();
        copy(&from, &info, &to, &copy_options(false)).await.unwrap();
        assert_eq!(download(&to, 0).await.unwrap(), data);
        let exists = copy(&from, &info, &to, &copy_options(true)).await;
        assert!(matches!(exists, Err(PublishError::Conflict)), "{exists:?}");
    }
    idle(&store).await;
    idle(&other).await;
}

#[tokio::test]
async fn directories_are_renamed() {
    let server = TestStore::start().await;
    let store = server.store().await;
    server.fill("old/file", 1010);
    server.fill("old/sub/deep/file", 2);
    server.fill("older/file", 1);
    let (from, to) = (
        server.location(&store, "old/"),
        server.location(&store, "new/"),
    );
    let id = TransferId::generate();
    assert_eq!(rename_directory(&from, &to, &id, None).await.unwrap(), 1012);
    assert!(!directory_exists(&from).await.unwrap());
    let renamed = names(&to).await;
    assert_eq!(renamed.len(), 1011);
    assert_eq!(renamed[1010], "sub/");
    assert_eq!(
        names(&server.location(&store, "new/sub/deep/")).await.len(),
        2
    );
    assert_eq!(names(&server.location(&store, "older/")).await.len(), 1);

    let nowhere = server.location(&store, "nowhere/");
    let missing = rename_directory(&from, &nowhere, &id, None).await;
    assert!(
        matches!(missing, Err(DirectoryError::Unmoved(ObjectError::NotFound))),
        "{missing:?}"
    );
    assert!(!directory_exists(&nowhere).await.unwrap());
    for inside in ["new/sub/", "new/", "new/x/"] {
        let refused = rename_directory(&to, &server.location(&store, inside), &id, None).await;
        assert!(
            matches!(refused, Err(DirectoryError::IntoItself)),
            "{refused:?}"
        );
    }
    idle(&store).await;
}
