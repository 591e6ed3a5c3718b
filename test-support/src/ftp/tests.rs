//! The client against scripted servers.

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::reply::{parse_epsv, parse_pasv};
use super::*;

/// Serves one connection: `script` is what a server does with it.
async fn serve<F, S>(script: S) -> (SocketAddr, JoinHandle<F::Output>)
where
    S: FnOnce(Server) -> F + Send + 'static,
    F: Future<Output: Send + 'static> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(Server(stream)).await
    });
    (address, serving)
}

async fn join<T>(serving: JoinHandle<T>) -> T {
    timeout(DEADLINE, serving).await.unwrap().unwrap()
}

/// The server's end of a scripted conversation.
struct Server(TcpStream);

impl Server {
    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = self.0.read_u8().await.unwrap();
            line.push(byte);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// Hears this line and answers.
    async fn play(&mut self, line: &str, answer: &str) {
        assert_eq!(self.hear().await, line);
        self.say(format!("{answer}\r\n").as_bytes()).await;
    }

    /// Answers an EPSV and takes the data connection.
    async fn passive(&mut self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        self.play("EPSV", &format!("229 Listening (|||{port}|)"))
            .await;
        listener.accept().await.unwrap().0
    }
}

#[test]
fn replies_are_parsed_wherever_they_are_cut() {
    let raw = b"211-Features:\r\n SIZE\r\n211-still\r\n\r\n 211 no end\r\n211 End\r\n";
    for cut in 0..raw.len() {
        assert_eq!(parse_reply(&raw[..cut]), Ok(None), "{cut}");
    }
    let more = [&raw[..], b"200 next\r\n"].concat();
    let reply = parse_reply(&more).unwrap().unwrap();
    assert_eq!((reply.code, reply.lines.len()), (211, 6));
    assert_eq!(reply.text(), "End");
    assert_eq!(reply.lines[1], " SIZE");
    assert_eq!(reply.raw, raw);
    let empty = parse_reply(b"200 \r\n").unwrap().unwrap();
    assert_eq!(empty.text(), "");
}

#[test]
fn malformed_replies_are_refused() {
    for wrong in [
        &b"220 hello\n"[..],
        b"220 a\rb\r\n",
        b"220 a\r\r\n",
        b"hello\r\n",
        b"\r\n",
        b"22 hello\r\n",
        b"220\r\n",
        b"220hello\r\n",
        b"020 hello\r\n",
        b"720 hello\r\n",
        b"211-a\r\n226 b\r\n",
        b"211-a\r\n226-b\r\n",
        b"211-a\n211 b\r\n",
    ] {
        assert!(parse_reply(wrong).is_err(), "{}", wrong.escape_ascii());
    }
}

#[test]
fn addresses_go_there_and_back() {
    let address: SocketAddr = "192.0.2.7:5001".parse().unwrap();
    let port = port_command(address);
    assert_eq!(port, "PORT 192,0,2,7,19,137");
    let numbers = port.strip_prefix("PORT ").unwrap();
    let text = format!("Entering Passive Mode ({numbers}).");
    assert_eq!(parse_pasv(&text), Some(address));
    assert_eq!(parse_pasv("(192,0,2,7,19)"), None);
    assert_eq!(parse_pasv("(192,0,2,256,19,1)"), None);
    assert_eq!(parse_epsv("Entering (|||5001|)"), Some(5001));
    assert_eq!(parse_epsv("Entering (||5001|)"), None);
    assert_eq!(eprt_command(address), "EPRT |1|192.0.2.7|5001|");
    let six = "[2001:db8::7]:5001".parse().unwrap();
    assert_eq!(eprt_command(six), "EPRT |2|2001:db8::7|5001|");
}

#[tokio::test]
async fn a_login_an_upload_and_the_end() {
    let (address, serving) = serve(async |mut server: Server| {
        server.say(b"220-hello\r\n220 there\r\n").await;
        server.play("USER me", "331 password").await;
        server.play("PASS secret", "230 in").await;
        let mut data = server.passive().await;
        server.play("STOR a b", "150 go").await;
        let (bytes, end) = read_to_end_deadline(&mut data).await;
        end.unwrap();
        server.say(b"226 done\r\n").await;
        server.play("NOOP", "200 yes").await;
        server.play("QUIT", "221 bye").await;
        bytes
    })
    .await;
    let mut ftp = Ftp::connect(address).await;
    ftp.login("me", "secret").await;
    let reply = ftp.store("a b", b"some bytes").await;
    assert_eq!((reply.code, reply.text()), (226, "done"));
    ftp.in_step().await;
    ftp.expect("QUIT", 221).await;
    ftp.expect_end().await;
    assert_eq!(join(serving).await, b"some bytes");
    assert!(ftp.transcript().contains("C: STOR a b\\r\\n\nS: 150 go"));
}

#[tokio::test]
async fn active_uploads_and_both_ways_to_say_so() {
    for (mode, verb) in [
        (Mode::Active, "PORT 127,0,0,1,"),
        (Mode::Eprt, "EPRT |1|127.0.0.1|"),
    ] {
        let (address, serving) = serve(async move |mut server: Server| {
            server.say(b"220 hello\r\n").await;
            let line = server.hear().await;
            assert!(line.starts_with(verb), "{line}");
            let to = match mode {
                Mode::Active => parse_pasv(&format!("({})", &line[5..])).unwrap(),
                _ => {
                    let port = line.split('|').nth(3).unwrap();
                    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
                }
            };
            server.say(b"200 so be it\r\n").await;
            server.play("APPE x", "150 go").await;
            let mut data = TcpStream::connect(to).await.unwrap();
            let (bytes, _) = read_to_end_deadline(&mut data).await;
            server.say(b"226 done\r\n").await;
            bytes
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        let reply = ftp.upload_with("APPE x", b"bytes", mode).await;
        assert_eq!(reply.code, 226);
        assert_eq!(join(serving).await, b"bytes");
    }
}

#[tokio::test]
async fn a_refusal_is_the_final_reply_also_while_data_is_on_its_way() {
    let (address, serving) = serve(async |mut server: Server| {
        server.say(b"220 hello\r\n").await;
        let unused = server.passive().await;
        server.play("STOR x", "553 no").await;
        drop(unused);
        let _never_read = server.passive().await;
        server.play("STOR y", "150 go").await;
        server.say(b"452 full\r\n").await;
        let mut data = server.passive().await;
        server.play("RETR z", "150 go").await;
        data.write_all(b"half").await.unwrap();
        // The client's reset.
        data.read_u8().await.unwrap_err();
    })
    .await;
    let mut ftp = Ftp::connect(address).await;
    assert_eq!(ftp.store("x", b"bytes").await.code, 553);
    let too_much = vec![0; 64 << 20];
    assert_eq!(ftp.store("y", &too_much).await.code, 452);
    let mut data = ftp.data_passive().await;
    ftp.expect("RETR z", 150).await;
    let mut half = [0; 4];
    data.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"half");
    reset_stream(data);
    join(serving).await;
}

#[tokio::test]
async fn downloads_end_cleanly_or_not() {
    let (address, serving) = serve(async |mut server: Server| {
        server.say(b"220 hello\r\n").await;
        let mut data = server.passive().await;
        server.play("RETR x", "150 go").await;
        data.write_all(b"whole").await.unwrap();
        drop(data);
        server.say(b"226 done\r\n").await;
        let mut data = server.passive().await;
        server.play("LIST -la", "150 go").await;
        data.write_all("ä\r\n".as_bytes()).await.unwrap();
        drop(data);
        server.say(b"226 done\r\n").await;
        let data = server.passive().await;
        server.play("RETR y", "150 go").await;
        reset_stream(data);
        server.say(b"426 broken\r\n").await;
    })
    .await;
    let mut ftp = Ftp::connect(address).await;
    let (bytes, reply) = ftp.retrieve("x").await;
    assert_eq!((&bytes[..], reply.code), (&b"whole"[..], 226));
    let (text, reply) = ftp.list("LIST -la").await;
    assert_eq!((text.as_str(), reply.code), ("ä\r\n", 226));
    let (bytes, reply) = ftp.retrieve("y").await;
    assert_eq!((&bytes[..], reply.code), (&b""[..], 426));
    join(serving).await;
}

#[tokio::test]
async fn an_extra_reply_is_found() {
    let (address, _serving) = serve(async |mut server: Server| {
        server.say(b"220 hello\r\n226 once too often\r\n").await;
        server.play("NOOP", "200 yes").await;
    })
    .await;
    let mut ftp = Ftp::connect(address).await;
    let out_of_step = tokio::spawn(async move { ftp.in_step().await });
    let panic = timeout(DEADLINE, out_of_step).await.unwrap().unwrap_err();
    let message = *panic.into_panic().downcast::<String>().unwrap();
    assert!(message.starts_with("226 instead of 200"), "{message}");
    assert!(message.contains("S: 226 once too often"), "{message}");
}

#[tokio::test]
async fn an_end_within_a_reply_is_not_a_clean_end() {
    let (address, serving) = serve(async |mut server: Server| {
        server.say(b"220 hello\r\n421 go").await;
    })
    .await;
    let mut ftp = Ftp::connect(address).await;
    join(serving).await;
    let ending = tokio::spawn(async move { ftp.expect_end().await });
    let panic = timeout(DEADLINE, ending).await.unwrap().unwrap_err();
    let message = *panic.into_panic().downcast::<String>().unwrap();
    assert!(message.contains("ended within a reply"), "{message}");
}

#[tokio::test]
async fn urgent_data_is_marked() {
    let (address, serving) = serve(async |mut server: Server| {
        server.say(b"220 hello\r\n").await;
        let mut bytes = Vec::new();
        // Not inline: the urgent byte is missing from the stream.
        server.0.read_to_end(&mut bytes).await.unwrap();
        bytes
    })
    .await;
    let mut ftp = Ftp::connect(address).await;
    ftp.send_abor_with_synch().await;
    ftp.close().await;
    assert_eq!(
        join(serving).await,
        [&[IAC, IP, DM], &b"ABOR\r\n"[..]].concat()
    );
}

#[tokio::test]
async fn closing_and_resetting_differ() {
    for resets in [false, true] {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n").await;
            server.0.read(&mut [0]).await
        })
        .await;
        let ftp = Ftp::connect(address).await;
        if resets {
            ftp.reset();
            let error = join(serving).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        } else {
            ftp.close().await;
            assert_eq!(join(serving).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn the_source_address_can_be_chosen() {
    let (address, serving) = serve(async |mut server: Server| {
        server.say(b"220 hello\r\n").await;
        server.0.peer_addr().unwrap().ip()
    })
    .await;
    let source = Ipv4Addr::new(127, 0, 0, 2).into();
    let ftp = Ftp::connect_from(source, address).await;
    assert_eq!(join(serving).await, source);
    assert_eq!(ftp.local_addr().ip(), source);
}
