//! What is configured of the PROXY protocol.

use std::time::Duration;

use ipnet::IpNet;

/// Load balancers that tell their clients' addresses by the PROXY protocol.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Where they are; a connection from there must begin with a header, none from elsewhere may.
    pub networks: Vec<IpNet>,
    /// For the header to be there.
    pub header_timeout: Duration,
}
