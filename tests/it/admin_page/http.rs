//! One HTTP request over a socket of its own.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use test_support::within;

/// A request.
pub(super) struct Request {
    text: String,
    body: String,
}

/// Its answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// In lower case.
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn get(path: &str) -> Request {
        Request::of("GET", path, "")
    }

    /// With a form as its body.
    pub(super) fn post(path: &str, body: &str) -> Request {
        Request::of("POST", path, body)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Content-Length", &body.len().to_string())
    }

    fn of(method: &str, path: &str, body: &str) -> Request {
        Request {
            text: format!("{method} {path} HTTP/1.1\r\n"),
            body: body.to_owned(),
        }
    }

    /// With a header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Request {
        self.text.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// As a browser sends it from a page of this server.
    pub(super) fn sent_by_page(self, server: SocketAddr, cookie: &str) -> Request {
        self.with("Origin", &format!("http://{server}"))
            .with("Accept", "text/html,*/*")
            .with("Cookie", cookie)
    }

    /// Sends it and reads the whole answer.
    pub(super) async fn send(self, server: SocketAddr) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(server).await.unwrap();
            let request = format!("{}Host: {server}\r\n\r\n{}", self.text, self.body);
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = within("the answer", exchange).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Answer {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The cookie that it sets, as a browser sends it back.
    pub(super) fn cookie(&self) -> &str {
        let set = self.header("set-cookie").unwrap();
        set.split(';').next().unwrap()
    }
}
