//! Clients that ask for pages and do not read them: who still gets an answer.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::http::{Answer, Request};
use super::{TOKEN, admin, post, with_token};
use test_support::gateway::Gateway;
use test_support::within;

/// With a page that is larger than the buffers of a connection: several megabytes.
async fn with_a_large_page() -> Gateway {
    let gateway = with_token().start().await;
    let mut ftp = gateway.ftp().await;
    // JSON writes a control character as six bytes.
    let name = "\u{1}".repeat(3000);
    for _ in 0..400 {
        ftp.expect(&format!("DELE {name}"), 553).await;
    }
    gateway
}

/// Asks for the page from this address, and reads the status of the answer only.
async fn slow_reader(server: SocketAddr, from: &str) -> (TcpStream, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let from = format!("{from}:0").parse().unwrap();
    socket.bind(from).unwrap();
    let asked = async {
        let mut stream = socket.connect(server).await.unwrap();
        let request = b"GET /transfers?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut head = [0; 16];
        while stream.peek(&mut head).await.unwrap() < 16 {
            tokio::task::yield_now().await;
        }
        let status = std::str::from_utf8(&head[9..12]).unwrap();
        let status = status.parse().unwrap();
        (stream, status)
    };
    within("the status", asked).await
}

/// The page as the client at 127.0.0.1 gets it, with this header.
async fn page(gateway: &Gateway, header: (&str, &str)) -> Answer {
    let request = Request::get("/transfers?limit=1000").with(header.0, header.1);
    request.send(admin(gateway)).await
}

#[tokio::test]
async fn slow_readers_keep_neither_probes_nor_others_from_their_answers() {
    let gateway = with_a_large_page().await;
    let server = admin(&gateway);
    let none = ("Accept", "*/*");
    let bearer = format!("Bearer {TOKEN}");
    let token = ("Authorization", bearer.as_str());
    let login = Request::post("/login", &format!("token={TOKEN}"));
    let logged_in = login.sent_by_page(server, "").send(server).await;
    let cookie = ("Cookie", logged_in.cookie());

    // One address has four pages; another one is still served.
    let mut readers = Vec::new();
    for number in 0..6 {
        let (reader, status) = slow_reader(server, "127.0.0.2").await;
        assert_eq!(status, if number < 4 { 200 } else { 503 }, "{number}");
        readers.push(reader);
    }
    assert_eq!(page(&gateway, none).await.status, 200);

    // Three addresses have them all.
    for from in ["127.0.0.3", "127.0.0.4"] {
        for _ in 0..4 {
            let (reader, status) = slow_reader(server, from).await;
            assert_eq!(status, 200);
            readers.push(reader);
        }
    }
    let busy = page(&gateway, none).await;
    assert_eq!(
        (busy.status, busy.body.as_str()),
        (503, "too many pages at once, try again\n")
    );
    assert_eq!(busy.header("cache-control"), Some("no-store"));
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(Request::get(path).send(server).await.status, 200, "{path}");
    }
    assert_eq!(page(&gateway, token).await.status, 200);
    assert_eq!(page(&gateway, cookie).await.status, 200);
    assert_eq!(post(&gateway, "/bans/7/lift", "").await.status, 404);
    let login = Request::post("/login", &format!("token={TOKEN}"));
    assert_eq!(
        login.sent_by_page(server, "").send(server).await.status,
        303
    );
    // A guess is a guess here too.
    let wrong = ("Authorization", "Bearer another-token-of-tests");
    assert_eq!(page(&gateway, wrong).await.status, 403);

    // The connections end though their clients read nothing.
    within("a page", async {
        while page(&gateway, none).await.status != 200 {}
    })
    .await;
    drop(readers);
    gateway.stop().await;
}
