#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::pin::pin;

use futures::poll;
use tokio::sync::oneshot;

use super::*;
use crate::data::options::{PassiveNetwork, PassivePorts};

type Answers = VecDeque<io::Result<Vec<IpAddr>>>;

fn config(address: Option<&str>, networks: &[(&str, &str)]) -> PassiveOptions {
    PassiveOptions {
        ports: PassivePorts::Ephemeral(1),
        address: address.map(str::to_owned),
        networks: networks
            .iter()
            .map(|(clients, address)| PassiveNetwork {
                clients: clients.parse().unwrap(),
                address: (*address).to_owned(),
            })
            .collect(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn advertised(advertise: &Advertise, peer: &str, local: &str) -> String {
    match advertise.ipv4(ip(peer), ip(local)).await {
        Ok(address) => address.to_string(),
        Err(error) => error.to_string(),
    }
}

/// An `Advertise` for the name `ftp.example.com`, with its look-ups answered from a list.
fn scripted(answers: Answers) -> (Advertise, Arc<Mutex<Answers>>) {
    let answers = Arc::new(Mutex::new(answers));
    let script = Arc::clone(&answers);
    let resolve = move |name: String| {
        assert_eq!(name, "ftp.example.com");
        let answer = script
            .lock()
            .unwrap()
            .pop_front()
            .expect("one look-up less");
        async move { answer }.boxed()
    };
    let config = config(Some("ftp.example.com"), &[]);
    (
        Advertise::with_resolver(&config, Arc::new(resolve)),
        answers,
    )
}

fn expire(advertise: &Advertise) {
    let Some(AdvertisedAddress::Name(_, cache)) = &advertise.address else {
        panic!("no name");
    };
    cache.lock().unwrap().answer.as_mut().unwrap().until = Instant::now();
}

#[tokio::test]
async fn a_network_comes_first_then_the_address_then_the_own() {
    let networks = [
        ("10.1.0.0/16", "10.1.2.3"),
        ("10.0.0.0/8", "10.9.9.9"),
        ("::ffff:172.16.0.0/108", "172.16.0.1"),
        ("2001:db8::/32", "192.0.2.6"),
        ("::/0", "192.0.2.66"),
    ];
    let all = Advertise::new(&config(Some("198.51.100.7"), &networks));
    let table = [
        ("10.1.5.5", "10.1.2.3"),
        ("::ffff:10.1.5.5", "10.1.2.3"),
        ("10.2.5.5", "10.9.9.9"),
        ("172.16.5.5", "172.16.0.1"),
        ("2001:db8::5", "192.0.2.6"),
        ("2001:db9::5", "192.0.2.66"),
        ("203.0.113.5", "198.51.100.7"),
    ];
    for (peer, want) in table {
        assert_eq!(advertised(&all, peer, "127.0.0.1").await, want, "{peer}");
    }
    let none = Advertise::new(&config(None, &networks));
    assert_eq!(
        advertised(&none, "203.0.113.5", "192.0.2.1").await,
        "192.0.2.1"
    );
    assert_eq!(
        advertised(&none, "203.0.113.5", "::ffff:192.0.2.1").await,
        "192.0.2.1"
    );
}

#[tokio::test]
async fn ipv6_is_refused() {
    let own = Advertise::new(&config(None, &[]));
    let error = own.ipv4(ip("2001:db8::5"), ip("2001:db8::1")).await;
    assert!(
        matches!(error, Err(AdvertiseError::NotIpv4(_))),
        "{error:?}"
    );
    let fixed = Advertise::new(&config(Some("2001:db8::9"), &[]));
    let error = fixed.ipv4(ip("192.0.2.5"), ip("192.0.2.1")).await;
    assert!(
        matches!(error, Err(AdvertiseError::NotIpv4(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_systems_resolver_is_asked() {
    let advertise = Advertise::new(&config(Some("localhost"), &[]));
    assert_eq!(
        advertised(&advertise, "192.0.2.5", "192.0.2.1").await,
        "127.0.0.1"
    );
}

#[tokio::test]
async fn a_name_is_looked_up_once_a_minute() {
    let first = Ok(vec![ip("2001:db8::1"), ip("192.0.2.10"), ip("192.0.2.11")]);
    let (advertise, left) = scripted([first, Ok(vec![ip("192.0.2.20")])].into());
    for _ in 0..3 {
        assert_eq!(
            advertised(&advertise, "192.0.2.5", "192.0.2.1").await,
            "192.0.2.10"
        );
    }
    assert_eq!(left.lock().unwrap().len(), 1);
    expire(&advertise);
    for _ in 0..3 {
        assert_eq!(
            advertised(&advertise, "192.0.2.5", "192.0.2.1").await,
            "192.0.2.20"
        );
    }
}

#[tokio::test]
async fn a_failed_look_up_leaves_the_old_address_or_is_reported() {
    let failed = || Err(io::Error::other("no such name"));
    let only_ipv6 = Ok(vec![ip("2001:db8::1")]);
    let found = Ok(vec![ip("192.0.2.10")]);
    let (advertise, left) = scripted([failed(), only_ipv6, found, failed()].into());
    let first = advertised(&advertise, "192.0.2.5", "192.0.2.1").await;
    assert_eq!(first, "can't look up ftp.example.com: no such name");
    let second = advertised(&advertise, "192.0.2.5", "192.0.2.1").await;
    assert!(second.contains("no IPv4"), "{second}");
    assert_eq!(
        advertised(&advertise, "192.0.2.5", "192.0.2.1").await,
        "192.0.2.10"
    );
    expire(&advertise);
    for _ in 0..3 {
        assert_eq!(
            advertised(&advertise, "192.0.2.5", "192.0.2.1").await,
            "192.0.2.10"
        );
    }
    assert!(left.lock().unwrap().is_empty());
}

#[tokio::test]
async fn parallel_calls_share_a_look_up_that_outlives_each_of_them() {
    let (answer, asked) = oneshot::channel::<Vec<IpAddr>>();
    let asked = Mutex::new(Some(asked));
    let resolve = move |_| {
        let answer = asked.lock().unwrap().take().expect("one look-up only");
        async move { Ok(answer.await.unwrap()) }.boxed()
    };
    let config = config(Some("ftp.example.com"), &[]);
    let advertise = Advertise::with_resolver(&config, Arc::new(resolve));
    let (peer, local) = (ip("192.0.2.5"), ip("192.0.2.1"));
    let mut second = pin!(advertise.ipv4(peer, local));
    {
        let mut first = pin!(advertise.ipv4(peer, local));
        assert!(poll!(first.as_mut()).is_pending());
        assert!(poll!(second.as_mut()).is_pending());
    }
    answer.send(vec![ip("192.0.2.10")]).unwrap();
    assert_eq!(second.await.unwrap().to_string(), "192.0.2.10");
    assert_eq!(
        advertised(&advertise, "192.0.2.5", "192.0.2.1").await,
        "192.0.2.10"
    );
}
