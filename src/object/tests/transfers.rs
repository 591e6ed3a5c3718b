//! Uploads and downloads around the sizes that matter.

use super::*;
use crate::object::options::Capability;

#[tokio::test]
async fn round_trips_around_the_part_size() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let sizes = [
        (0, 0),
        (1, 0),
        (32 * 1024, 0),
        (96 * 1024 + 1, 0),
        (PART - 1, 0),
        (PART, 0),
        (PART + 1, 2),
        (2 * PART, 2),
        (2 * PART + 1, 3),
        (4 * PART + 12_345, 5),
    ];
    let whole = pattern(5 * PART);
    for (size, parts) in sizes {
        let location = server.location(&store, &format!("dir/file-{size}"));
        let data = whole.slice(..size);
        server.requests();
        let published = put(&location, &data).await;
        assert_eq!(
            (published.size, published.parts),
            (size as u64, parts),
            "{size}"
        );
        let requests = server.requests();
        let expected = if parts == 0 { 1 } else { parts as usize + 2 };
        assert_eq!(requests.len(), expected, "{size}: {requests:?}");

        assert_eq!(download(&location, 0).await.unwrap(), data, "{size}");
        let requests = server.requests();
        assert_eq!(
            requests.len(),
            size.div_ceil(PART).max(1),
            "{size}: {requests:?}"
        );
        assert!(requests.iter().all(|request| request == "GetObject"));
        assert_eq!(head(&location).await.unwrap().etag, published.etag.unwrap());
    }
    idle(&store).await;
}

#[tokio::test]
async fn signed_payloads() {
    let server = TestStore::start().await;
    let store = server.store_with(|config| config.sign_payload = true).await;
    for size in [0, 1000, PART, 2 * PART + 7] {
        let location = server.location(&store, "signed");
        let data = pattern(size);
        put(&location, &data).await;
        assert_eq!(download(&location, 0).await.unwrap(), data, "{size}");
    }
    idle(&store).await;
}

#[tokio::test]
async fn capabilities_are_probed_once_and_leave_nothing() {
    let server = TestStore::start().await;
    let store = server
        .store_with(|config| {
            config.checksums = Capability::Auto;
            config.conditional_writes = Capability::Auto;
        })
        .await;
    let location = server.location(&store, "f");
    let data = pattern(10);
    let mut if_absent = options();
    if_absent.condition = Condition::IfAbsent;
    let both = futures::future::join(
        upload(&location, if_absent, &data),
        upload(&server.location(&store, "g"), options(), &data),
    )
    .await;
    both.0.unwrap();
    both.1.unwrap();
    let probes = server.requests();
    // One wrong checksum and a delete, two puts and a delete, and the two uploads.
    assert_eq!(probes.len(), 7, "{probes:?}");
    let left = list::RawPage::fetch(&location, ".s3ftpd/", None, 10, None)
        .await
        .unwrap();
    assert!(left.keys.is_empty(), "{left:?}");
    assert_eq!(
        store.integrity("bucket").await,
        crate::object::checksum::Integrity::Crc32
    );
    assert!(store.conditional_writes("bucket").await);
    server.requests();
    put(&location, &data).await;
    assert_eq!(server.requests(), ["PutObject"]);
}

#[tokio::test]
async fn if_absent_holds_with_and_without_the_stores_help() {
    let server = TestStore::start().await;
    for honoured in [Capability::Yes, Capability::No] {
        let store = server
            .store_with(|config| config.conditional_writes = honoured)
            .await;
        for size in [10, 2 * PART] {
            let location = server.location(&store, &format!("{honoured:?}-{size}"));
            let data = pattern(size);
            let mut first = options();
            first.condition = Condition::IfAbsent;
            upload(&location, first.clone(), &data).await.unwrap();
            first.id = TransferId::generate();
            let second = upload(&location, first, &data.slice(1..)).await;
            assert!(matches!(second, Err(ObjectError::Conflict)), "{second:?}");
            assert_eq!(head(&location).await.unwrap().size, size as u64);
        }
        idle(&store).await;
    }
}

#[tokio::test]
async fn the_same_transfer_finds_its_own_object() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    let mut twice = options();
    twice.condition = Condition::IfAbsent;
    let data = pattern(1000);
    upload(&location, twice.clone(), &data).await.unwrap();
    // As if the answer to the first had been lost and the SDK had sent it again: 412, and the
    // object is ours.
    assert_eq!(upload(&location, twice, &data).await.unwrap().size, 1000);
}

#[tokio::test]
async fn abandoned_uploads_leave_nothing() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    let data = pattern(3 * PART);
    let begin = async || {
        let admission = admission(&store).await;
        let mut upload = Upload::begin(location.clone(), admission, options())
            .await
            .unwrap();
        upload.write(data.clone()).await.unwrap();
        upload
    };
    begin().await.abandon().await;
    assert!(
        server
            .requests()
            .contains(&"AbortMultipartUpload".to_owned())
    );
    drop(begin().await);
    idle(&store).await;
    assert!(
        server
            .requests()
            .contains(&"AbortMultipartUpload".to_owned())
    );
    assert!(matches!(head(&location).await, Err(ObjectError::NotFound)));
}

#[tokio::test]
async fn appends() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    let old = pattern(13 * MIB);
    let new = pattern(PART + 3).slice(1..);
    for (size, keep, added) in [
        (1000, 1000, 10),
        (1000, 400, 10),
        (1000, 400, 0),
        (1000, 0, 5),
        (4 * MIB, 4 * MIB, 2 * MIB),
        (13 * MIB, 13 * MIB, 1),
        (13 * MIB, 5 * MIB, 0),
        (13 * MIB, 11 * MIB, PART + 1),
    ] {
        put(&location, &old.slice(..size)).await;
        let info = head(&location).await.unwrap();
        let mut append = options();
        append.append = Some(AppendTo {
            info: info.clone(),
            keep: keep as u64,
        });
        let published = upload(&location, append.clone(), &new.slice(..added))
            .await
            .unwrap();
        assert_eq!(published.size, (keep + added) as u64);
        let expected = [&old[..keep], &new[..added]].concat();
        assert_eq!(
            download(&location, 0).await.unwrap(),
            expected,
            "{size} {keep} {added}"
        );

        // The old object is another now.
        append.id = TransferId::generate();
        let late = upload(&location, append, &new.slice(..added)).await;
        assert!(
            matches!(late, Err(ObjectError::Conflict)),
            "{size} {keep} {added}: {late:?}"
        );
        assert_eq!(head(&location).await.unwrap().size, expected.len() as u64);
    }
    idle(&store).await;
}

#[tokio::test]
async fn downloads_begin_anywhere() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    let data = pattern(3 * PART + 17);
    put(&location, &data).await;
    for offset in [0, 1, PART - 1, PART, 3 * PART + 16, 3 * PART + 17] {
        server.requests();
        let rest = download(&location, offset as u64).await.unwrap();
        assert_eq!(rest, data.slice(offset..), "{offset}");
        let gets = (data.len() - offset).div_ceil(PART).max(1);
        assert_eq!(
            server
                .requests()
                .iter()
                .filter(|r| *r == "GetObject")
                .count(),
            gets
        );
    }
    let beyond = download(&location, data.len() as u64 + 1).await;
    let size = Some(data.len() as u64);
    assert!(
        matches!(beyond, Err(ObjectError::OutOfRange { size: s }) if s == size),
        "{beyond:?}"
    );
    let missing = download(&server.location(&store, "g"), 0).await;
    assert!(matches!(missing, Err(ObjectError::NotFound)), "{missing:?}");
    idle(&store).await;
}

#[tokio::test]
async fn an_object_that_changes_ends_its_download() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    put(&location, &pattern(8 * PART)).await;
    let admission = admission(&store).await;
    let mut download = Download::open(location.clone(), admission, 0)
        .await
        .unwrap();
    put(&location, &pattern(8 * PART + 1)).await;
    let changed = loop {
        match download.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(changed, Err(ObjectError::Changed)), "{changed:?}");
    drop(download);
    idle(&store).await;
}

#[tokio::test]
async fn next_can_be_cancelled() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    let data = pattern(3 * PART);
    put(&location, &data).await;
    server.requests();
    let admission = admission(&store).await;
    let mut download = Download::open(location, admission, 0).await.unwrap();
    let mut got = Vec::new();
    loop {
        // Polled once and dropped, as by a select that another branch wins.
        if let Some(next) = futures::FutureExt::now_or_never(download.next()) {
            match next.unwrap() {
                Some(chunk) => got.extend_from_slice(&chunk),
                None => break,
            }
        } else {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(got, data);
    assert_eq!(server.requests().len(), 3, "no request was begun anew");
}

#[tokio::test]
async fn many_uploads_share_a_small_budget() {
    let server = TestStore::start().await;
    let store = server.store_of(4 * PART as u64).await;
    let data = pattern(2 * PART + 1);
    let uploads = (0..12).map(|index| {
        let location = server.location(&store, &format!("f{index}"));
        let data = &data;
        async move { put(&location, data).await }
    });
    let mut uploads = std::pin::pin!(futures::future::join_all(uploads));
    let budget = &store.context().budget;
    let mut most = 0;
    let published = std::future::poll_fn(|context| {
        let published = uploads.as_mut().poll(context);
        most = most.max(budget.in_use());
        published
    });
    let published = tokio::time::timeout(LONG, published).await.unwrap();
    assert!(published.iter().all(|published| published.parts == 3));
    assert!(most <= budget.total(), "{most}");
    assert!(most > 2 * PART as u64, "{most}");
    assert_eq!(
        download(&server.location(&store, "f11"), 0).await.unwrap(),
        data
    );
    idle(&store).await;
}
