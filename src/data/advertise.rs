//! The address in a PASV reply.
//!
//! With NAT or a load balancer in front, the server's own address is of no use to a client, and
//! clients in different networks may need different ones. The first entry of `passive.networks`
//! that contains the client's address decides, else `passive.address`, else the address that the
//! client's control connection reached. (EPSV replies contain a port only, and need none of this.)
//!
//! Either may be a host name, since a load balancer's address may change: it is looked up when
//! needed and kept for 60 s. Sessions that need it at the same time share one look-up. If a look-up
//! fails, the last known address stays in use.

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

/// How long the result of a look-up is kept.
const KEEP: Duration = Duration::from_secs(60);
/// After a failed look-up, the old address is used for this time before the next one.
const RETRY: Duration = Duration::from_secs(5);
/// The longest duration of a look-up.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// Why there is no address for PASV; the client may still use EPSV.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdvertiseError {
    /// The host name can't be resolved now.
    #[error("can't look up {name}: {reason}")]
    Lookup {
        /// The host name, as configured.
        name: String,
        /// The resolver's error.
        reason: String,
    },
    /// The address is an IPv6 address, which PASV (RFC 959) can't carry.
    #[error("{0} is not an IPv4 address: PASV can't carry it")]
    NotIpv4(String),
}

/// The addresses for PASV replies.
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

/// What is known about a host name.
#[derive(Debug, Default)]
struct Cache {
    answer: Option<CachedAddress>,
    /// The look-up in progress.
    running: Option<AddressLookup>,
}

#[derive(Debug, Clone, Copy)]
struct CachedAddress {
    address: Ipv4Addr,
    until: Instant,
}

impl Advertise {
    /// Creates it from the configuration. Looks up nothing yet.
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

    /// Returns the address for a client at `peer` whose control connection reached `local`. An
    /// IPv4-mapped IPv6 address counts as the IPv4 address. Takes a few seconds at most. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// [`AdvertiseError`]: a host name that can't be resolved, or an address that is not IPv4.
    pub async fn ipv4(&self, peer: IpAddr, local: IpAddr) -> Result<Ipv4Addr, AdvertiseError> {
        let of_network = self
            .networks
            .iter()
            .find(|(clients, _)| holds(clients, peer))
            .map(|(_, address)| address);
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
        // The first of those that shared the look-up stores its result.
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
                tracing::warn!(name, %error, address = %old.address, "passive address not found, the old one stays in use");
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

/// Whether `client` is in the network; either may be written as IPv4-mapped IPv6. (`::/0` is all of
/// IPv6, and does not include IPv4 through its mapped part.)
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
mod tests;
