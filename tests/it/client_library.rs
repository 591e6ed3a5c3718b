//! The client library suppaftp against the server: uploads, downloads, listings and deletions.

use std::time::Duration;

use suppaftp::tokio::AsyncFtpStream;
use suppaftp::types::{FileType, FormatControl, Mode};
use tokio::io::AsyncReadExt;

use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::{MIB, pattern, within};

async fn get(client: &mut AsyncFtpStream, name: &str) -> Vec<u8> {
    let mut stream = client.retr_as_stream(name).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    stream.finish().await.unwrap();
    bytes
}

async fn a_day(gateway: &Gateway, mode: Mode) {
    let mut client = AsyncFtpStream::connect(gateway.address).await.unwrap();
    if mode == Mode::Active {
        client = client.active_mode(Duration::from_secs(20));
    } else {
        client.set_mode(mode);
    }
    client.login(USER, PASSWORD).await.unwrap();
    client.transfer_type(FileType::Binary).await.unwrap();

    let directory = format!("{mode:?} ü");
    client.mkdir(&directory).await.unwrap();
    client.cwd(&directory).await.unwrap();
    assert_eq!(client.pwd().await.unwrap(), format!("/{directory}"));

    let small = pattern(1000, 1);
    let large = pattern(6 * MIB + 1, 2);
    client.put_file("small", &mut &small[..]).await.unwrap();
    client
        .put_file("a large one", &mut &large[..])
        .await
        .unwrap();
    client
        .append_file("small", &mut &b"+more"[..])
        .await
        .unwrap();
    let small = [&small[..], b"+more"].concat();
    assert!(get(&mut client, "small").await == small);
    assert!(get(&mut client, "a large one").await == large);
    client.resume_transfer(1000).await.unwrap();
    assert_eq!(get(&mut client, "small").await, b"+more");

    assert_eq!(client.size("small").await.unwrap(), small.len());
    let modified = client.mdtm("small").await.unwrap();
    let fact = format!("modify={};", modified.format("%Y%m%d%H%M%S"));
    let line = client.mlst(Some("small")).await.unwrap();
    assert!(
        line.contains("size=1005;") && line.contains(&fact),
        "{line}"
    );
    let features = client.feat().await.unwrap();
    assert!(features.contains_key("MLST"), "{features:?}");

    let names = ["a large one", "small"];
    assert_eq!(client.nlst(None).await.unwrap(), names);
    for lines in [
        client.list(None).await.unwrap(),
        client.mlsd(None).await.unwrap(),
    ] {
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, name) in lines.iter().zip(names) {
            assert!(line.ends_with(&format!(" {name}")), "{line}");
        }
    }
    let line = &client.list(Some("small")).await.unwrap()[0];
    let file: suppaftp::list::File = suppaftp::list::ListParser::parse_posix(line).unwrap();
    assert_eq!((file.name(), file.size()), ("small", 1005));

    client.rename("small", "renamed").await.unwrap();
    assert!(client.size("small").await.is_err());
    // An upload that the client gives up.
    let mut stream = client.put_with_stream("given up").await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"half")
        .await
        .unwrap();
    client.abort(stream).await.unwrap();
    client.rm("renamed").await.unwrap();
    client.rm("a large one").await.unwrap();
    assert!(client.nlst(None).await.unwrap().is_empty());
    client.cdup().await.unwrap();
    client.rmdir(&directory).await.unwrap();
    assert!(client.cwd(&directory).await.is_err());
    client.noop().await.unwrap();
    client.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn suppaftp_stores_retrieves_lists_and_deletes() {
    let gateway = Gateway::builder()
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    for mode in [Mode::Passive, Mode::ExtendedPassive, Mode::Active] {
        within(&format!("a day in {mode:?} mode"), a_day(&gateway, mode)).await;
        assert!(gateway.store.keys(BUCKET).is_empty());
        gateway.store.no_uploads_left().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn text_mode_leaves_text_as_the_client_sends_it() {
    let gateway = Gateway::start().await;
    let mut client = AsyncFtpStream::connect(gateway.address).await.unwrap();
    client.login(USER, PASSWORD).await.unwrap();
    let text = FileType::Ascii(FormatControl::Default);
    client.transfer_type(text).await.unwrap();
    client.put_file("x", &mut &b"one\ntwo\n"[..]).await.unwrap();
    assert_eq!(
        gateway.store.object(BUCKET, "x").unwrap(),
        b"one\r\ntwo\r\n"
    );
    client.quit().await.unwrap();
    gateway.stop().await;
}
