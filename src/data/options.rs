//! What is configured of data connections.

use ipnet::IpNet;

/// Where passive listeners are bound and what clients are told.
#[derive(Debug, Clone)]
pub struct PassiveOptions {
    /// The ports to listen on.
    pub ports: PassivePorts,
    /// Address or host name told in PASV replies; `None`: the control connection's own.
    pub address: Option<String>,
    /// Clients that are told another address; the first match wins.
    pub networks: Vec<PassiveNetwork>,
}

/// Which ports passive mode listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassivePorts {
    /// First and last port, inclusive (`ports = "30000-30099"`).
    Range(u16, u16),
    /// This many ports chosen by the operating system (`ports = "auto"`: 16; `"auto:N"`).
    Ephemeral(u16),
}

/// One entry of `passive.networks`.
#[derive(Debug, Clone)]
pub struct PassiveNetwork {
    /// The clients it is for.
    pub clients: IpNet,
    /// Address or host name they are told.
    pub address: String,
}

/// Active mode.
#[derive(Debug, Clone)]
pub struct ActiveOptions {
    /// Local port of outgoing data connections where it can be bound; 0: any.
    pub source_port: u16,
}
