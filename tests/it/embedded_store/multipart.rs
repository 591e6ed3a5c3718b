//! Multipart uploads of the embedded store.

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use s3_embedded::Behaviour;

use super::{B, Upload, body, code, crc32, md5, refusal, started};
use test_support::{MIB, pattern};

#[tokio::test]
async fn complete_verifies_numbers_order_and_sizes_of_parts() {
    let (store, client) = started().await;
    let (big, small) = (pattern(5 * MIB, 1), pattern(100, 2));
    let mut upload = Upload::create(&client, "x").await;
    upload.part(3, &big).await.part(7, &small).await;

    let mut wrong_order = upload.complete();
    let mut reversed = upload.parts.clone();
    reversed.reverse();
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(reversed))
        .build();
    wrong_order = wrong_order.multipart_upload(parts);
    assert_eq!(
        refusal(wrong_order.send().await),
        (400, "InvalidPartOrder".to_owned())
    );

    let other = CompletedPart::builder()
        .part_number(3)
        .e_tag("\"00000000000000000000000000000000\"");
    let parts = CompletedMultipartUpload::builder()
        .parts(other.build())
        .build();
    let wrong_etag = upload.complete().multipart_upload(parts);
    assert_eq!(
        refusal(wrong_etag.send().await),
        (400, "InvalidPart".to_owned())
    );

    let missing = CompletedPart::builder().part_number(4).e_tag(md5(&big));
    let parts = CompletedMultipartUpload::builder()
        .parts(missing.build())
        .build();
    assert_eq!(
        code(upload.complete().multipart_upload(parts).send().await),
        "InvalidPart"
    );

    let wrong_size = upload.complete().mpu_object_size(5);
    assert_eq!(code(wrong_size.send().await), "InvalidRequest");

    let listed = client
        .list_parts()
        .bucket(B)
        .key("x")
        .upload_id(&upload.id)
        .max_parts(1);
    let listed = listed.send().await.unwrap();
    assert_eq!(listed.is_truncated(), Some(true));
    assert_eq!(listed.next_part_number_marker(), Some("3"));
    assert_eq!(listed.parts()[0].e_tag(), upload.parts[0].e_tag());
    assert_eq!(listed.parts()[0].size(), Some(5 * MIB as i64));
    assert!(store.keys(B).is_empty());

    let size = (big.len() + small.len()) as i64;
    let done = upload
        .complete()
        .mpu_object_size(size)
        .send()
        .await
        .unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""));
    assert_eq!(store.object(B, "x").unwrap(), [big, small].concat());
    assert!(store.open_uploads().is_empty());
    // A repeated Complete gets the answer of the first; on stores without that, NoSuchUpload.
    assert_eq!(
        upload.complete().send().await.unwrap().e_tag(),
        done.e_tag()
    );
    store.backend().set_behaviour(Behaviour::minio());
    assert_eq!(
        refusal(upload.complete().send().await),
        (404, "NoSuchUpload".to_owned())
    );
}

#[tokio::test]
async fn small_parts_are_refused_unless_allowed() {
    let (store, client) = started().await;
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"small").await.part(2, b"last").await;
    assert_eq!(
        refusal(upload.complete().send().await),
        (400, "EntityTooSmall".to_owned())
    );
    store.behave(|behaviour| behaviour.min_part_size = 5);
    upload.complete().send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"smalllast");
    store.behave(|behaviour| behaviour.equal_parts = true);
    let mut upload = Upload::create(&client, "y").await;
    upload
        .part(1, b"123456")
        .await
        .part(2, b"12345")
        .await
        .part(3, b"1")
        .await;
    assert_eq!(code(upload.complete().send().await), "InvalidPart");
}

#[tokio::test]
async fn a_checksum_of_the_whole_is_verified_at_complete() {
    let (store, client) = started().await;
    let (big, small) = (pattern(5 * MIB, 1), pattern(100, 2));
    let created = client.create_multipart_upload().bucket(B).key("x");
    let created = created.checksum_algorithm(ChecksumAlgorithm::Crc32);
    let created = created
        .checksum_type(ChecksumType::FullObject)
        .send()
        .await
        .unwrap();
    let id = created.upload_id.unwrap();
    let part = |number, bytes: &[u8], crc: String| {
        let part = client
            .upload_part()
            .bucket(B)
            .key("x")
            .upload_id(&id)
            .part_number(number);
        part.checksum_crc32(crc).body(body(bytes)).send()
    };
    assert_eq!(
        refusal(part(1, &big, crc32(b"other")).await),
        (400, "BadDigest".to_owned())
    );
    let mut upload = Upload {
        client: &client,
        key: "x",
        id: id.clone(),
        parts: Vec::new(),
    };
    for (number, bytes) in [(1, &big), (2, &small)] {
        let sent = part(number, bytes, crc32(bytes)).await.unwrap();
        assert_eq!(sent.checksum_crc32(), Some(crc32(bytes).as_str()));
        let done = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag);
        upload.parts.push(done.checksum_crc32(crc32(bytes)).build());
    }
    let listed = client
        .list_parts()
        .bucket(B)
        .key("x")
        .upload_id(&id)
        .send()
        .await
        .unwrap();
    assert_eq!(
        listed.parts()[1].checksum_crc32(),
        Some(crc32(&small).as_str())
    );
    let whole = [big, small].concat();
    let complete = |crc: String| {
        let complete = upload.complete().checksum_type(ChecksumType::FullObject);
        complete.checksum_crc32(crc).send()
    };
    assert_eq!(
        refusal(complete(crc32(b"other")).await),
        (400, "BadDigest".to_owned())
    );
    complete(crc32(&whole)).await.unwrap();
    let head = client
        .head_object()
        .bucket(B)
        .key("x")
        .checksum_mode(ChecksumMode::Enabled);
    assert_eq!(
        head.send().await.unwrap().checksum_crc32(),
        Some(crc32(&whole).as_str())
    );
    // A checksum type that was not requested at Create is refused.
    let mut upload = Upload::create(&client, "y").await;
    upload.part(1, b"1").await;
    let unasked = upload.complete().checksum_crc32(crc32(b"1"));
    assert_eq!(code(unasked.send().await), "InvalidRequest");
    assert_eq!(store.keys(B), ["x"]);
}

#[tokio::test]
async fn uploads_complete_under_conditions_and_in_an_order() {
    let (store, client) = started().await;
    store.put(B, "x", "old");
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"new").await;
    assert_eq!(
        refusal(upload.complete().if_none_match("*").send().await).0,
        412
    );
    assert_eq!(
        refusal(upload.complete().if_match("\"other\"").send().await).0,
        412
    );
    assert_eq!(store.open_uploads().len(), 1);
    let matching = upload.complete().if_match(format!("\"{}\"", md5(b"old")));
    matching.send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"new");

    store.behave(|behaviour| behaviour.hides_older_uploads = true);
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"older").await;
    store.put(B, "x", "younger");
    upload.complete().send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"younger");

    store.backend().set_behaviour(Behaviour::garage());
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"dropped").await;
    store.put(B, "x", "put");
    assert_eq!(code(upload.complete().send().await), "NoSuchUpload");
}

#[tokio::test]
async fn parts_are_copied_by_range_and_condition() {
    let (store, client) = started().await;
    let source = pattern(6 * MIB, 3);
    store.put(B, "source", &source);
    store.put(B, "small", "small");
    let etag = store.backend().etag(B, "source").unwrap();
    let mut upload = Upload::create(&client, "x").await;
    let copy = |from: &str, range: &str, etag: &str| {
        let copy = client
            .upload_part_copy()
            .bucket(B)
            .key("x")
            .upload_id(&upload.id);
        let copy = copy.part_number(1).copy_source(format!("{B}/{from}"));
        copy.copy_source_range(range)
            .copy_source_if_match(etag)
            .send()
    };
    let refused = copy("source", "bytes=0-5242879", "\"other\"").await;
    assert_eq!(refusal(refused), (412, "PreconditionFailed".to_owned()));
    assert_eq!(
        code(copy("source", "bytes=0-99999999", &etag).await),
        "InvalidArgument"
    );
    assert_eq!(
        code(copy("small", "bytes=0-1", &md5(b"small")).await),
        "InvalidRequest"
    );
    let copied = copy("source", "bytes=1000-5243879", &etag).await.unwrap();
    let copied = copied.copy_part_result.unwrap();
    assert_eq!(
        copied.e_tag(),
        Some(format!("\"{}\"", md5(&source[1000..5_243_880])).as_str())
    );
    let done = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(copied.e_tag);
    upload.parts.push(done.build());
    upload
        .part(2, b"tail")
        .await
        .complete()
        .send()
        .await
        .unwrap();
    let expected = [&source[1000..5_243_880], b"tail"].concat();
    assert_eq!(store.object(B, "x").unwrap(), expected);
}

#[tokio::test]
async fn uploads_are_listed_and_aborted() {
    let (store, client) = started().await;
    let mut created = Vec::new();
    for key in ["dir/a", "dir/a", "dir/b", "other"] {
        created.push(Upload::create(&client, key).await);
    }
    let list = client
        .list_multipart_uploads()
        .bucket(B)
        .prefix("dir/")
        .max_uploads(1);
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let page = list
            .clone()
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker);
        let page = page.send().await.unwrap();
        found.extend(
            page.uploads()
                .iter()
                .map(|u| (u.key.clone().unwrap(), u.upload_id.clone().unwrap())),
        );
        if page.is_truncated() != Some(true) {
            break;
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    let expected: Vec<_> = created[..3]
        .iter()
        .map(|u| (u.key.to_owned(), u.id.clone()))
        .collect();
    assert_eq!(found, expected);
    store.backend().set_behaviour(Behaviour::minio());
    let prefix = list.clone().max_uploads(9).send().await.unwrap();
    assert!(prefix.uploads().is_empty());
    let exact = list.prefix("dir/a").max_uploads(9).send().await.unwrap();
    assert_eq!(exact.uploads().len(), 2);
    for upload in &created {
        let abort = client.abort_multipart_upload().bucket(B).key(upload.key);
        abort.upload_id(&upload.id).send().await.unwrap();
    }
    store.no_uploads_left().await;
    let again = client
        .abort_multipart_upload()
        .bucket(B)
        .key("other")
        .upload_id(&created[3].id);
    assert_eq!(code(again.send().await), "NoSuchUpload");
    let part = client
        .upload_part()
        .bucket(B)
        .key("other")
        .upload_id(&created[3].id)
        .part_number(1);
    assert_eq!(code(part.body(body(b"x")).send().await), "NoSuchUpload");
}
