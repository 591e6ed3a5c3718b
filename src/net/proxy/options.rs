//! Options of the PROXY protocol.

use std::time::Duration;

use ipnet::IpNet;

/// Load balancers that send their clients' addresses by the PROXY protocol.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Their networks; a connection from there must begin with a header, others must not.
    pub networks: Vec<IpNet>,
    /// How long the header may take.
    pub header_timeout: Duration,
}
