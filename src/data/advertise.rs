//! Which address a PASV reply tells.
//!
//! Behind NAT or a load balancer the server's own address is of no use to a client, and clients in
//! different networks may need different ones. The first entry of `passive.networks` that holds the
//! client's address decides, else `passive.address`, else it is the address that the client's
//! control connection came to. (EPSV tells a port only, and needs none of this.)
//!
//! Either may be a host name, since a load balancer's address may change: it is looked up when
//! needed and kept for a minute. Sessions that need it at the same time share one look-up. When a
//! look-up fails, the address known before goes on being told.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use ipnet::IpNet;
use tokio::time::{Instant, timeout};

use crate::data::options::PassiveOptions;

/// How long a look-up's answer holds.
const KEEP: Duration = Duration::from_secs(60);
/// After a failed look-up, the old address is told for so long before the next one.
const RETRY: Duration = Duration::from_secs(5);
/// A look-up takes at most this long.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// Why no address can be told; the client may still use EPSV.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdvertiseError {
    /// The host name has no answer now.
    #[error("can't look up {name}: {reason}")]
    Lookup {
        /// The host name, as configured.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// What is to be told is an IPv6 address, which PASV (RFC 959) can't carry.
    #[error("{0} is no IPv4 address: PASV can't tell it")]
    NotIpv4(String),
}

/// The addresses told in PASV replies.
pub struct Advertise {
    networks: Vec<(IpNet, AdvertisedAddress)>,
    address: Option<AdvertisedAddress>,
    resolve: Arc<Resolve>,
}

/// Looks up a host name.
type Resolve = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;
type AddressLookup = Shared<BoxFuture<'static, Result<Ipv4Addr, AdvertiseError>>>;

/// One configured address.
#[derive(Debug)]
enum AdvertisedAddress {
    Address(IpAddr),
    Name(String, Mutex<Cache>),
}

/// What is known of a host name.
#[derive(Debug, Default)]
struct Cache {
    answer: Option<CachedAddress>,
    /// The look-up under way.
    running: Option<AddressLookup>,
}

#[derive(Debug, Clone, Copy)]
struct CachedAddress {
    address: Ipv4Addr,
    until: Instant,
}

impl Advertise {
    /// What the configuration says. Nothing is looked up yet.
    pub fn new(config: &PassiveOptions) -> Self {
        Self::with_resolver(config, Arc::new(|name| look_up(name).boxed()))
    }

    fn with_resolver(config: &PassiveOptions, resolve: Arc<Resolve>) -> Self {
        Advertise {
            networks: config
                .networks
                .iter()
                .map(|network| (network.clients, AdvertisedAddress::parse(&network.address)))
                .collect(),
            address: config.address.as_deref().map(AdvertisedAddress::parse),
            resolve,
        }
    }

    /// The address to tell a client at `peer` whose control connection came to `local`. An
    /// IPv4-mapped IPv6 address is the IPv4 address. Takes at most some seconds. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`AdvertiseError`]: a host name that can't be looked up, or no IPv4 address.
    pub async fn ipv4(&self, peer: IpAddr, local: IpAddr) -> Result<Ipv4Addr, AdvertiseError> {
        let of_network = self
            .networks
            .iter()
            .find(|(clients, _)| holds(clients, peer))
            .map(|(_, told)| told);
        match of_network.or(self.address.as_ref()) {
            None => only_ipv4(local),
            Some(AdvertisedAddress::Address(address)) => only_ipv4(*address),
            Some(AdvertisedAddress::Name(name, cache)) => self.look_up_cached(name, cache).await,
        }
    }

    async fn look_up_cached(
        &self,
        name: &str,
        cache: &Mutex<Cache>,
    ) -> Result<Ipv4Addr, AdvertiseError> {
        let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = {
            let mut cache = lock();
            match cache.answer {
                Some(answer) if Instant::now() < answer.until => return Ok(answer.address),
                _ => cache
                    .running
                    .get_or_insert_with(|| self.start_lookup(name))
                    .clone(),
            }
        };
        let result = lookup.clone().await;
        let mut cache = lock();
        // The first of those who shared the look-up notes what came of it.
        if cache.running.as_ref().is_some_and(|it| it.ptr_eq(&lookup)) {
            cache.running = None;
            cache.note(name, &result);
        }
        result.or_else(|error| cache.answer.map(|old| old.address).ok_or(error))
    }

    fn start_lookup(&self, name: &str) -> AddressLookup {
        let answer = timeout(LOOKUP_DEADLINE, (self.resolve)(name.to_owned()));
        let name = name.to_owned();
        async move {
            let failed = |reason: String| AdvertiseError::Lookup {
                name: name.clone(),
                reason,
            };
            let addresses = answer
                .await
                .map_err(|_| failed("no answer in time".to_owned()))?
                .map_err(|error| failed(error.to_string()))?;
            addresses
                .into_iter()
                .find_map(|address| only_ipv4(address).ok())
                .ok_or_else(|| failed("it has no IPv4 address".to_owned()))
        }
        .boxed()
        .shared()
    }
}

impl Cache {
    fn note(&mut self, name: &str, result: &Result<Ipv4Addr, AdvertiseError>) {
        match (result, &mut self.answer) {
            (Ok(address), answer) => {
                *answer = Some(CachedAddress {
                    address: *address,
                    until: Instant::now() + KEEP,
                });
            }
            (Err(error), Some(old)) => {
                old.until = Instant::now() + RETRY;
                tracing::warn!(name, %error, address = %old.address, "passive address not found, telling the old one");
            }
            (Err(error), None) => {
                tracing::warn!(name, %error, "passive address not found");
            }
        }
    }
}

impl AdvertisedAddress {
    fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(address) => AdvertisedAddress::Address(address),
            Err(_) => AdvertisedAddress::Name(text.to_owned(), Mutex::default()),
        }
    }
}

impl fmt::Debug for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advertise")
            .field("networks", &self.networks)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Whether `client` is in the network, where either may be written as IPv4-mapped IPv6. (`::/0` is
/// all of IPv6 and not, for its mapped part, IPv4 too.)
fn holds(network: &IpNet, client: IpAddr) -> bool {
    /// Length of the prefix `::ffff:0:0` under which IPv4 is mapped.
    const MAPPED: u8 = 96;
    match (client.to_canonical(), network) {
        (IpAddr::V4(client), IpNet::V6(network)) if network.prefix_len() >= MAPPED => {
            network.contains(&client.to_ipv6_mapped())
        }
        (client, network) => network.contains(&client),
    }
}

fn only_ipv4(address: IpAddr) -> Result<Ipv4Addr, AdvertiseError> {
    match address.to_canonical() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => Err(AdvertiseError::NotIpv4(address.to_string())),
    }
}

async fn look_up(name: String) -> io::Result<Vec<IpAddr>> {
    let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
    Ok(addresses.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
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

    async fn told(advertise: &Advertise, peer: &str, local: &str) -> String {
        match advertise.ipv4(ip(peer), ip(local)).await {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// `advertise` for the name `ftp.example.com`, with its look-ups answered from a list.
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
            assert_eq!(told(&all, peer, "127.0.0.1").await, want, "{peer}");
        }
        let none = Advertise::new(&config(None, &networks));
        assert_eq!(told(&none, "203.0.113.5", "192.0.2.1").await, "192.0.2.1");
        assert_eq!(
            told(&none, "203.0.113.5", "::ffff:192.0.2.1").await,
            "192.0.2.1"
        );
    }

    #[tokio::test]
    async fn ipv6_cannot_be_told() {
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
            told(&advertise, "192.0.2.5", "192.0.2.1").await,
            "127.0.0.1"
        );
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_a_minute() {
        let first = Ok(vec![ip("2001:db8::1"), ip("192.0.2.10"), ip("192.0.2.11")]);
        let (advertise, left) = scripted([first, Ok(vec![ip("192.0.2.20")])].into());
        for _ in 0..3 {
            assert_eq!(
                told(&advertise, "192.0.2.5", "192.0.2.1").await,
                "192.0.2.10"
            );
        }
        assert_eq!(left.lock().unwrap().len(), 1);
        expire(&advertise);
        for _ in 0..3 {
            assert_eq!(
                told(&advertise, "192.0.2.5", "192.0.2.1").await,
                "192.0.2.20"
            );
        }
    }

    #[tokio::test]
    async fn a_failed_look_up_leaves_the_old_address_or_is_told() {
        let failed = || Err(io::Error::other("no such name"));
        let only_ipv6 = Ok(vec![ip("2001:db8::1")]);
        let found = Ok(vec![ip("192.0.2.10")]);
        let (advertise, left) = scripted([failed(), only_ipv6, found, failed()].into());
        let first = told(&advertise, "192.0.2.5", "192.0.2.1").await;
        assert_eq!(first, "can't look up ftp.example.com: no such name");
        let second = told(&advertise, "192.0.2.5", "192.0.2.1").await;
        assert!(second.contains("no IPv4"), "{second}");
        assert_eq!(
            told(&advertise, "192.0.2.5", "192.0.2.1").await,
            "192.0.2.10"
        );
        expire(&advertise);
        for _ in 0..3 {
            assert_eq!(
                told(&advertise, "192.0.2.5", "192.0.2.1").await,
                "192.0.2.10"
            );
        }
        assert!(left.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn those_who_ask_together_share_a_look_up_that_outlives_each_of_them() {
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
            told(&advertise, "192.0.2.5", "192.0.2.1").await,
            "192.0.2.10"
        );
    }
}
