//! A data directory that is opened again, whole or damaged.

#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Disk;
use super::load::Loader;
use crate::backend::Backend;
use crate::record::{Record, percent_encode};

fn files(root: &Path) -> usize {
    ["blobs", "objects", "uploads", "parts"]
        .iter()
        .map(|name| fs::read_dir(root.join(name)).unwrap().count())
        .sum()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let odd = "a//b/../\r\n\u{1} \u{fc}.txt";
    {
        let store = Backend::open(root).unwrap();
        store.create_bucket("demo").unwrap();
        store.put("demo", "x", b"first").await.unwrap();
        store.put("demo", "x", b"second").await.unwrap();
        store.put("demo", "x/y", b"").await.unwrap();
        store.put("demo", odd, b"odd").await.unwrap();
        store.put("demo", "gone", b"gone").await.unwrap();
        assert!(store.remove("demo", "gone"));
    }
    fs::write(root.join("blobs/999.blob"), "rubbish").unwrap();
    fs::write(root.join("objects/998.new"), "rubbish").unwrap();
    let store = Backend::open(root).unwrap();
    assert_eq!(store.keys("demo"), [odd, "x", "x/y"]);
    assert_eq!(store.object("demo", "x").await.unwrap(), b"second");
    assert_eq!(store.object("demo", "x/y").await.unwrap(), b"");
    assert_eq!(store.object("demo", odd).await.unwrap(), b"odd");
    // Three objects with a blob each (the file of an empty one has no slice, so it was
    // removed).
    assert_eq!(files(root), 5);
    store.put("demo", "new", b"new").await.unwrap();
    assert_eq!(store.object("demo", "x").await.unwrap(), b"second");
}

#[test]
fn one_store_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = Backend::open(directory.path()).unwrap();
    let second = Backend::open(directory.path());
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop(first);
    Backend::open(directory.path()).unwrap();
}

#[tokio::test]
async fn damaged_records_are_left_out_and_nothing_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    {
        let store = Backend::open(root).unwrap();
        store.create_bucket("demo").unwrap();
        for key in ["good", "cut", "empty", "without a blob"] {
            store.put("demo", key, key.as_bytes()).await.unwrap();
        }
    }
    let record_of = |key: &str| {
        let key = format!("key {}\n", percent_encode(key));
        let records = fs::read_dir(root.join("objects")).unwrap();
        let mut paths = records.map(|entry| entry.unwrap().path());
        paths
            .find(|path| fs::read_to_string(path).unwrap().contains(&key))
            .unwrap()
    };
    let (cut, empty, blobless) = (
        record_of("cut"),
        record_of("empty"),
        record_of("without a blob"),
    );
    let text = fs::read_to_string(&cut).unwrap();
    fs::write(&cut, &text[..text.len() / 2]).unwrap();
    fs::write(&empty, "").unwrap();
    let record = Record::read(&blobless).unwrap();
    let (_, segment) = record.with_prefix("segment").next().unwrap();
    let blob = root.join("blobs").join(segment.split(' ').next().unwrap());
    fs::remove_file(blob).unwrap();
    let strays = [
        root.join("parts/77.record"),
        root.join("uploads/stray.record"),
    ];
    for stray in &strays {
        fs::write(stray, "upload %zz\n").unwrap();
    }
    // It has no record, but the cut record may have named it.
    fs::write(root.join("blobs/76.blob"), "rubbish").unwrap();
    let before = files(root);
    let store = Backend::open(root).unwrap();
    assert_eq!(store.keys("demo"), ["good"]);
    assert_eq!(store.object("demo", "good").await.unwrap(), b"good");
    assert_eq!(files(root), before);
    // It works as any other store.
    store.put("demo", "cut", b"again").await.unwrap();
    drop(store);
    let (disk, _, _) = {
        for damaged in [cut, empty, blobless].iter().chain(&strays) {
            assert!(damaged.exists(), "{}", damaged.display());
            fs::remove_file(damaged).unwrap();
        }
        Disk::open(root).unwrap()
    };
    drop(disk);
    assert!(!root.join("blobs/76.blob").exists());
}

#[tokio::test]
async fn what_is_left_out_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    drop(Backend::open(root).unwrap());
    fs::write(root.join("parts/77.record"), "upload %zz\nend\n").unwrap();
    let mut loader = Loader::new(root, Arc::new(AtomicBool::new(true)));
    loader.load().unwrap();
    let [(path, error)] = loader.left_out.as_slice() else {
        panic!("{:?}", loader.left_out)
    };
    assert_eq!(*path, root.join("parts/77.record"));
    assert_eq!(error.to_string(), "a damaged escape");
}
