//! The length that SIZE and MLST report while an upload of the name is not published. A client that
//! downloads never takes a part for the whole, and a client that resumes never splices two files.

mod endings;
mod moving;
mod permissions;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD, USER};
use test_support::pattern;
use test_support::transfers::{begin, interrupt, moved, nothing_left, settled};

/// Bytes of the existing object.
const STORED: usize = 300_000;
/// Bytes of its next version that have arrived.
const SENT: usize = 200_000;
/// Bytes of the next version.
const NEXT: usize = 400_000;

/// Running uploads count as moving however slow the machine is, or never.
const MOVING: &str = "[resume]\nstalled_after = \"1h\"";
const STALLED: &str = "[resume]\nstalled_after = 0";

fn stored() -> Vec<u8> {
    pattern(STORED, 1)
}

fn next() -> Vec<u8> {
    pattern(NEXT, 2)
}

/// A gateway with the object `x`.
async fn gateway(settings: &str) -> Gateway {
    let gateway = empty(settings).await;
    gateway.store.put_before(BUCKET, "x", stored());
    gateway
}

async fn empty(settings: &str) -> Gateway {
    Gateway::builder().with(settings).start().await
}

/// An upload of the next version of `x` that is still running.
async fn running(gateway: &Gateway) -> (Ftp, TcpStream) {
    let mut ftp = gateway.ftp().await;
    let data = sending(&mut ftp).await;
    (ftp, data)
}

async fn sending(ftp: &mut Ftp) -> TcpStream {
    let data = begin(ftp, "STOR x", Mode::Passive).await;
    sent(ftp, data).await
}

async fn sent(ftp: &mut Ftp, mut data: TcpStream) -> TcpStream {
    data.write_all(&next()[..SENT]).await.unwrap();
    moved(ftp, SENT).await;
    data
}

/// A client of the same user at another address.
async fn elsewhere(gateway: &Gateway) -> Ftp {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let mut ftp = Ftp::connect_from(address, gateway.address).await;
    ftp.login(USER, PASSWORD).await;
    ftp
}

/// The length in SIZE and in MLST, which agree.
async fn length(ftp: &mut Ftp, path: &str) -> usize {
    let listing = ftp.expect(&format!("MLST {path}"), 250).await;
    let size = ftp.expect(&format!("SIZE {path}"), 213).await;
    let size = size.text().parse().unwrap();
    let fact = format!("size={size};");
    assert!(format!("{listing:?}").contains(&fact), "{listing:?}");
    size
}

/// Whether that is the length of the upload: a byte less than what has arrived.
fn is_of_upload(length: usize) -> bool {
    length == SENT - 1
}

/// A transfer that is refused before its 150.
async fn refused(ftp: &mut Ftp, commands: &[&str], code: u16) -> String {
    let (last, before) = commands.split_last().unwrap();
    for command in before {
        ftp.expect(command, 350).await;
    }
    ftp.expect("EPSV", 229).await;
    ftp.expect(last, code).await.text().to_owned()
}

/// The rest of the next version, from this byte on.
async fn resumes(ftp: &mut Ftp, offset: usize) {
    ftp.expect(&format!("REST {offset}"), 350).await;
    let rest = &next()[offset..];
    let reply = ftp.upload_with("STOR x", rest, Mode::Passive).await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
}

/// A client that downloads as curl does: it stops at the length that SIZE reported.
async fn fetch(ftp: &mut Ftp, path: &str) -> Option<Vec<u8>> {
    let size = ftp.command(&format!("SIZE {path}")).await;
    if size.code != 213 {
        return None;
    }
    let size = size.text().parse().unwrap();
    let data = ftp.data(Mode::Passive).await;
    if ftp.command(&format!("RETR {path}")).await.code != 150 {
        return None;
    }
    let mut stream = data.stream().await;
    let (mut bytes, _) = test_support::ftp::read_to_end_deadline(&mut stream).await;
    ftp.reply().await;
    bytes.truncate(size);
    Some(bytes)
}

#[tokio::test]
async fn a_download_is_refused_once_and_then_gets_the_whole_object() {
    // Interrupted, hanging, and moving; in the producer's own session too.
    for (settings, runs) in [(STALLED, false), (STALLED, true), (MOVING, true)] {
        let gateway = gateway(settings).await;
        let _producer = match runs {
            true => Some(running(&gateway).await),
            false => {
                interrupt(&gateway, "STOR x", &next()[..SENT]).await;
                None
            }
        };
        let mut consumer = gateway.ftp().await;
        if settings == MOVING {
            assert_eq!(length(&mut consumer, "x").await, STORED);
        } else {
            assert!(is_of_upload(length(&mut consumer, "x").await));
            let text = refused(&mut consumer, &["RETR x"], 450).await;
            assert!(text.contains("ask SIZE again"), "{text}");
        }
        // In each session of the user, any number of times.
        for _ in 0..2 {
            for ftp in [&mut consumer, &mut gateway.ftp().await] {
                assert_eq!(length(ftp, "x").await, STORED);
                assert!(fetch(ftp, "x").await.unwrap() == stored());
            }
        }
    }
}

#[tokio::test]
async fn a_download_that_asks_nothing_more_after_the_refusal_gets_the_whole_object() {
    let gateway = gateway(STALLED).await;
    interrupt(&gateway, "STOR x", &next()[..SENT]).await;
    let mut consumer = gateway.ftp().await;
    consumer.expect("MLST x", 250).await;
    refused(&mut consumer, &["RETR x"], 450).await;
    let (bytes, reply) = consumer.retrieve("x").await;
    assert!(reply.code == 226 && bytes == stored());
}

#[tokio::test]
async fn a_download_of_a_new_name_is_refused_until_it_is_published() {
    let gateway = empty(MOVING).await;
    let (mut producer, mut data) = running(&gateway).await;
    let mut consumer = gateway.ftp().await;
    assert_eq!(length(&mut consumer, "x").await, SENT - 1);
    // It may have been published since.
    refused(&mut consumer, &["RETR x"], 450).await;
    consumer.expect("SIZE x", 550).await;
    refused(&mut consumer, &["RETR x"], 550).await;
    let mut late = gateway.ftp().await;
    late.expect("SIZE x", 550).await;
    data.write_all(&next()[SENT..]).await.unwrap();
    drop(data);
    producer.expect_reply(226).await;
    for ftp in [&mut consumer, &mut late] {
        assert!(fetch(ftp, "x").await.unwrap() == next());
    }
}

/// SIZE reported the upload's length, and RETR finds it published: longer than the client reads.
#[tokio::test]
async fn a_download_after_size_of_an_upload_is_refused_once_when_it_is_published() {
    for new in [true, false] {
        let gateway = match new {
            true => empty(STALLED).await,
            false => gateway(STALLED).await,
        };
        let (mut producer, mut data) = running(&gateway).await;
        let mut consumer = gateway.ftp().await;
        assert_eq!(length(&mut consumer, "x").await, SENT - 1);
        data.write_all(&next()[SENT..]).await.unwrap();
        drop(data);
        producer.expect_reply(226).await;
        refused(&mut consumer, &["RETR x"], 450).await;
        assert!(fetch(&mut consumer, "x").await.unwrap() == next());
    }
}

#[tokio::test]
async fn a_download_of_an_object_replaced_since_size_is_refused_once() {
    for late in [false, true] {
        let gateway = gateway("[timeouts]\nidle = \"1h\"").await;
        let mut consumer = gateway.ftp().await;
        // From the second small file on SIZE fetches the bytes together with the length.
        for small in ["a", "b"] {
            gateway.store.put(BUCKET, small, small);
            assert_eq!(fetch(&mut consumer, small).await.unwrap(), small.as_bytes());
        }
        for (path, size) in [("small", 5), ("x", STORED)] {
            gateway.store.put(BUCKET, path, &stored()[..size]);
            consumer.expect(&format!("SIZE {path}"), 213).await;
            gateway.store.put(BUCKET, path, next());
            if path == "small" && !late {
                // These bytes are those whose length SIZE reported.
                let (bytes, reply) = consumer.retrieve(path).await;
                assert!(reply.code == 226 && bytes == stored()[..size]);
                continue;
            }
            if path == "small" {
                // They are dropped after five seconds.
                while gateway.budget_in_use() > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            let text = refused(&mut consumer, &[&format!("RETR {path}")], 450).await;
            assert!(text.contains("replaced"), "{text}");
            assert!(fetch(&mut consumer, path).await.unwrap() == next());
        }
    }
}

/// lftp's pget sends SIZE in its first session only. After 550 it fetches the file in one piece.
#[tokio::test]
async fn ranges_over_several_sessions_are_refused_in_those_that_sent_no_size() {
    for replaced in [false, true] {
        let gateway = gateway(STALLED).await;
        let (mut producer, mut data) = running(&gateway).await;
        let mut first = gateway.ftp().await;
        assert_eq!(length(&mut first, "x").await, SENT - 1);
        let mut second = gateway.ftp().await;
        if replaced {
            data.write_all(&next()[SENT..]).await.unwrap();
            drop(data);
            producer.expect_reply(226).await;
        }
        for _ in 0..2 {
            let text = refused(&mut second, &["REST 100000", "RETR x"], 550).await;
            assert!(text.contains("ask SIZE"), "{text}");
            second.expect("RANG 100000 110000", 350).await;
            refused(&mut second, &["RETR x"], 550).await;
        }
        refused(&mut first, &["RETR x"], 450).await;
        refused(&mut first, &["REST 100000", "RETR x"], 550).await;
        // With a SIZE of their own, and for other users, nothing changes.
        let whole = if replaced { next() } else { stored() };
        for ftp in [&mut first, &mut second] {
            assert_eq!(length(ftp, "x").await, whole.len());
            ftp.expect("REST 100000", 350).await;
            let (bytes, reply) = ftp.retrieve("x").await;
            assert!(reply.code == 226 && bytes == whole[100_000..]);
        }
    }
}

#[tokio::test]
async fn another_address_gets_the_object_and_resumes_by_what_the_refusal_names() {
    for command in ["STOR x", "APPE x"] {
        let gateway = gateway(STALLED).await;
        interrupt(&gateway, "STOR x", &next()[..SENT]).await;
        let mut other = elsewhere(&gateway).await;
        assert_eq!(length(&mut other, "x").await, STORED);
        assert!(fetch(&mut other, "x").await.unwrap() == stored());
        assert_eq!(length(&mut other, "x").await, STORED);
        let rest = format!("REST {STORED}");
        let text = match command {
            "STOR x" => refused(&mut other, &[&rest, command], 554).await,
            // Any number of times: the same bytes again are not those of the upload.
            _ => {
                refused(&mut other, &[command], 554).await;
                refused(&mut other, &[command], 554).await
            }
        };
        let named = text.split_once("use REST ").unwrap().1;
        let offset: usize = named.split_once(' ').unwrap().0.parse().unwrap();
        assert!(is_of_upload(offset), "{text}");
        assert!(gateway.store.object(BUCKET, "x").unwrap() == stored());
        resumes(&mut other, offset).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
        other.close().await;
        nothing_left(&gateway, 0).await;
    }
}

/// The offset that SIZE reported for the object is by chance the upload's length.
#[tokio::test]
async fn the_length_of_the_object_never_resumes_an_upload_of_the_same_length() {
    let gateway = gateway(STALLED).await;
    interrupt(&gateway, "STOR x", &next()[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    let reported = length(&mut ftp, "x").await;
    gateway.store.put_before(BUCKET, "x", &stored()[..reported]);
    interrupt(&gateway, "STOR x", &next()[..SENT]).await;
    let mut other = elsewhere(&gateway).await;
    assert_eq!(length(&mut other, "x").await, reported);
    let rest = format!("REST {reported}");
    refused(&mut other, &[&rest, "STOR x"], 554).await;
    // The refusal has named it.
    resumes(&mut other, reported).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
}

#[tokio::test]
async fn a_moving_upload_is_not_stopped_by_a_session_that_cannot_resume_it() {
    for (asks, commands) in [
        (true, &["REST 300000", "STOR x"][..]),
        (true, &["APPE x"]),
        (false, &["REST 300000", "STOR x"]),
        (false, &["REST 7", "STOR x"]),
    ] {
        let gateway = gateway(MOVING).await;
        let (mut producer, mut data) = running(&gateway).await;
        for mut other in [gateway.ftp().await, elsewhere(&gateway).await] {
            if asks {
                assert_eq!(length(&mut other, "x").await, STORED);
            }
            let text = refused(&mut other, commands, 450).await;
            assert!(text.contains(&format!("{} bytes", SENT - 1)), "{text}");
        }
        data.write_all(&next()[SENT..]).await.unwrap();
        drop(data);
        producer.expect_reply(226).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
    }
}

/// Between SIZE and the next command the upload is published: its length is an offset of another
/// file.
#[tokio::test]
async fn the_length_of_an_object_is_not_an_offset_of_its_replacement() {
    for commands in [&["REST 300000", "STOR x"][..], &["APPE x"]] {
        let gateway = gateway(MOVING).await;
        let (mut producer, mut data) = running(&gateway).await;
        let mut other = gateway.ftp().await;
        assert_eq!(length(&mut other, "x").await, STORED);
        data.write_all(&next()[SENT..]).await.unwrap();
        drop(data);
        producer.expect_reply(226).await;
        for _ in 0..2 {
            let text = refused(&mut other, commands, 450).await;
            assert!(text.contains("ask SIZE again"), "{text}");
        }
        assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
        assert_eq!(length(&mut other, "x").await, NEXT);
        let reply = other.upload_with("APPE x", b"more", Mode::Passive).await;
        assert_eq!(reply.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == [&next()[..], b"more"].concat());
    }
}

/// A client that has fetched the object appends to it, and not to the upload.
#[tokio::test]
async fn appe_after_a_download_does_not_resume_the_upload() {
    let gateway = gateway(STALLED).await;
    interrupt(&gateway, "STOR x", &next()[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    assert!(is_of_upload(length(&mut ftp, "x").await));
    refused(&mut ftp, &["RETR x"], 450).await;
    refused(&mut ftp, &["APPE x"], 554).await;
    assert_eq!(length(&mut ftp, "x").await, STORED);
    refused(&mut ftp, &["APPE x"], 554).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == stored());
}

/// A session that got the lengths of more files than it remembers.
#[tokio::test]
async fn a_forgotten_length_of_an_upload_is_not_taken_for_the_objects() {
    let gateway = gateway(STALLED).await;
    interrupt(&gateway, "STOR x", &next()[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    let reported = length(&mut ftp, "x").await;
    let mut others = Vec::new();
    for number in 0..64 {
        let mut other = gateway.ftp().await;
        let path = format!("n{number}");
        let mut data = begin(&mut other, &format!("STOR {path}"), Mode::Passive).await;
        data.write_all(b"some").await.unwrap();
        moved(&mut other, 4).await;
        ftp.expect(&format!("SIZE {path}"), 213).await;
        others.push((other, data));
    }
    let text = refused(&mut ftp, &["APPE x"], 554).await;
    assert!(text.contains(&format!("REST {reported} ")), "{text}");
    assert!(gateway.store.object(BUCKET, "x").unwrap() == stored());
}

/// Behind a load balancer the client's address is that of the PROXY protocol; of IPv6 a /64 is one
/// client.
#[tokio::test]
async fn the_address_is_that_of_the_client() {
    for (producer, consumer, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8::1", "2001:db8::2", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1", "2001:db8::1", false),
    ] {
        for runs in [true, false] {
            let gateway = proxied().start().await;
            gateway.store.put_before(BUCKET, "x", stored());
            let mut sender = proxied_client(&gateway, producer).await;
            let port = sender.epsv().await.port();
            let address = SocketAddr::new(gateway.address.ip(), port);
            let data = proxied_from(address, producer).await;
            sender.expect("STOR x", 150).await;
            let data = sent(&mut sender, data).await;
            if !runs {
                reset_stream(data);
                sender.expect_reply(426).await;
                settled(&gateway).await;
            }
            let mut asker = proxied_client(&gateway, consumer).await;
            let found = length(&mut asker, "x").await;
            let what = format!("{producer} {consumer} {runs}");
            assert_eq!(is_of_upload(found), same, "{what}: {found}");
            assert!(same || found == STORED, "{what}: {found}");
        }
    }
}

fn proxied() -> Builder {
    Gateway::builder()
        .with("[proxy_protocol]\nnetworks = [\"127.0.0.1/32\"]")
        .with(STALLED)
}

/// A client at this address, behind a load balancer.
async fn proxied_client(gateway: &Gateway, client: &str) -> Ftp {
    let mut ftp = Ftp::over(proxied_from(gateway.address, client).await);
    ftp.expect_reply(220).await;
    ftp.login(USER, PASSWORD).await;
    ftp
}

async fn proxied_from(address: SocketAddr, client: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (family, reached) = match client.contains(':') {
        true => ('6', "2001:db8::99"),
        false => ('4', "127.0.0.77"),
    };
    let header = format!("PROXY TCP{family} {client} {reached} 40000 21\r\n");
    stream.write_all(header.as_bytes()).await.unwrap();
    stream
}
