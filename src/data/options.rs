//! Options of data connections.

use ipnet::IpNet;

/// The passive ports, and the address in PASV replies.
#[derive(Debug, Clone)]
pub struct PassiveOptions {
    /// The ports to listen on.
    pub ports: PassivePorts,
    /// Address or host name in PASV replies; `None`: the control connection's own.
    pub address: Option<String>,
    /// Clients that get another address; the first match wins.
    pub networks: Vec<PassiveNetwork>,
}

/// The ports of passive mode.
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
    /// The clients of this entry.
    pub clients: IpNet,
    /// Address or host name for them.
    pub address: String,
}

/// Active mode.
#[derive(Debug, Clone)]
pub struct ActiveOptions {
    /// Local port of outgoing data connections if it can be bound; 0: any.
    pub source_port: u16,
}
