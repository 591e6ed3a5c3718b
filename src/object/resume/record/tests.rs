#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::object::parts::tail::PieceNote;
use crate::object::resume::keys::user_hash;

pub fn record(state: RecordState, process: &str, name: Option<&str>) -> Record {
    Record {
        format: FORMAT,
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        user: "u".to_owned(),
        peer: None,
        transfer: "t".to_owned(),
        state,
        began: Began {
            process: process.to_owned(),
            serial: 0,
            at_ms: 0,
        },
        moved_ms: 0,
        attempt: AttemptNote {
            id: "w".to_owned(),
            generation: 1,
            replica: name.map(str::to_owned),
            process: process.to_owned(),
            refresh_ms: 60_000,
        },
        upload: None,
        schedule: ScheduleNote {
            first: 1,
            largest: 2,
        },
        tail: None,
        base: BaseObject::Unknown,
        old_bytes: 0,
        attributes: Attributes::default(),
    }
}

#[test]
fn records_can_be_read_again() {
    let record = Record {
        peer: Some([192, 0, 2, 1].into()),
        base: BaseObject::Object(VersionNote {
            etag: "\"x\"".to_owned(),
            transfer: None,
            modified_ms: 5,
        }),
        upload: Some(UploadNote {
            id: "u".to_owned(),
            key: None,
            crc32: true,
            copied: 2,
        }),
        tail: Some(TailNote::new(
            "tail".to_owned(),
            7,
            vec![PieceNote {
                number: 2,
                size: 3,
                etag: "\"y\"".to_owned(),
                crc32: Some(9),
            }],
        )),
        ..record(RecordState::Running, "p", Some("n"))
    };
    let text = serde_json::to_vec(&record).unwrap();
    let RecordContent::Record(read) = parse(&text) else {
        panic!("not read");
    };
    assert_eq!(*read, record);
}

/// This must be read for ever: it is never changed, only a further one is added.
#[test]
fn format_1_is_read() {
    let text = include_bytes!("../../../../tests/fixtures/record-1.json");
    let RecordContent::Record(read) = parse(text) else {
        panic!("not read");
    };
    assert_eq!(
        (&*read.bucket, &*read.key, &*read.user),
        ("files", "in/ä b.csv", "scanner")
    );
    assert_eq!(read.peer, Some("2001:db8::7".parse().unwrap()));
    assert_eq!(read.state, RecordState::Interrupted);
    assert_eq!(read.upload.as_ref().unwrap().id, "upload-1");
    let tail = read.tail.as_ref().unwrap();
    assert_eq!(
        (tail.offset, tail.size, tail.end()),
        (5_242_880, 3000, 5_245_880)
    );
    let directory = tails_of(&read.bucket, &read.key);
    assert_eq!(
        tail.keys().collect::<Vec<_>>(),
        [tail.key.clone(), format!("{}.1", tail.key)]
    );
    assert!(tail.key.starts_with(&directory), "{directory}");
    let BaseObject::Object(base) = &read.base else {
        panic!("{:?}", read.base);
    };
    assert_eq!(base.modified_ms, 1_767_225_599_000);
    // No field of it is lost; further ones may have come.
    let written = serde_json::to_value(&*read).unwrap();
    let fixture: serde_json::Value = serde_json::from_slice(text).unwrap();
    assert_within(&fixture, &written);
}

fn assert_within(part: &serde_json::Value, whole: &serde_json::Value) {
    match part {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                assert_within(value, &whole[name]);
            }
        }
        value => assert_eq!(value, whole),
    }
}

#[test]
fn of_a_later_format_the_names_are_read() {
    let text = include_bytes!("../../../../tests/fixtures/record-2.json");
    let RecordContent::Later(names) = parse(text) else {
        panic!("not read");
    };
    assert_eq!((names.format, &*names.bucket), (2, "files"));
    assert_eq!(names.upload.as_ref().unwrap().id, "upload-2");
    let tail = names.tail.as_ref().unwrap().key.clone();
    assert_eq!(names.tail_prefix(), Some(&*tail));
}

/// A prefix of more than one tail would remove what others have sent.
#[test]
fn only_a_tail_of_the_object_is_removed_for_a_record() {
    let names = |key: &str| StableFields {
        format: 2,
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        upload: None,
        tail: Some(StableTail {
            key: key.to_owned(),
        }),
    };
    let directory = tails_of("b", "k");
    let user = format!("{directory}{}/", user_hash("u"));
    for (key, tail) in [
        (format!("{user}x"), true),
        (user, false),
        (directory, false),
        (tails_of("b", "other") + "u/x", false),
        (".s3ftpd/".to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(names(&key).tail_prefix().is_some(), tail, "{key}");
    }
}

#[test]
fn what_is_not_a_record_is_garbage() {
    for (text, empty) in [
        ("", true),
        ("no JSON", false),
        ("{}", false),
        ("[1]", false),
        ("{\"bucket\":\"files\",\"key\":\"x\"}", false),
        ("{\"format\":1,\"bucket\":\"files\",\"key\":\"x\"}", false),
        ("{\"format\":0,\"bucket\":\"files\",\"key\":\"x\"}", false),
        ("{\"format\":-1,\"bucket\":\"files\",\"key\":\"x\"}", false),
        ("<html>default backend</html>", false),
    ] {
        let found = parse(text.as_bytes());
        assert_eq!(matches!(found, RecordContent::Empty), empty, "{text}");
        assert_eq!(matches!(found, RecordContent::Garbage(_)), !empty, "{text}");
    }
}
