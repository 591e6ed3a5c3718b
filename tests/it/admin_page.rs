//! The status page and its JSON on the admin port: what they show, what they escape, and what they
//! let an operator change.

mod actions;
mod bans;
mod crowd;
mod hostile_names;
mod http;
mod shown;
mod token;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use test_support::gateway::{Builder, Gateway};
use test_support::within;

use http::Request;

const TOKEN: &str = "a-token-of-the-tests";

/// With the admin port, read-only.
fn read_only() -> Builder {
    Gateway::builder().with("[admin]\nlisten = \"127.0.0.1:0\"")
}

/// With the admin port and a token.
fn with_token() -> Builder {
    read_only().with(&format!("[admin]\ntoken = \"{TOKEN}\""))
}

fn admin(gateway: &Gateway) -> SocketAddr {
    gateway.server.admin_address().unwrap()
}

/// The JSON at a path.
async fn json(gateway: &Gateway, path: &str) -> Value {
    let answer = Request::get(path).send(admin(gateway)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    serde_json::from_str(&answer.body).unwrap()
}

/// Asks for the JSON at a path until it is as wanted.
async fn json_until(gateway: &Gateway, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let looked = async {
        loop {
            let found = json(gateway, path).await;
            if fits(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(path, looked).await
}

/// A request that changes something, with the token.
async fn post(gateway: &Gateway, path: &str, body: &str) -> http::Answer {
    let request = Request::post(path, body).with("Authorization", &format!("Bearer {TOKEN}"));
    request.send(admin(gateway)).await
}
