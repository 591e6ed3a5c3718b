//! How the data connections of an FTP session resume the TLS session of its control connection.
//!
//! FileZilla, curl and all clients with OpenSSL or GnuTLS offer one ticket of the control
//! connection repeatedly, and FTP servers expect that: the gateway sends four tickets on the
//! control connection and none elsewhere. rustls uses each TLS 1.3 ticket once and can't copy one,
//! so it would start a new session from the fifth file on. Therefore the client stores the record
//! with the tickets, and repeats it to the control connection ([`super::rewind`]) for each ticket:
//! the result equals the first one.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};

use super::{Identity, Tls};

/// Bytes of one read of a control connection: more than any reply.
const CONTROL_BUFFER: usize = 4 << 10;

/// The TLS session of a control connection.
#[derive(Debug)]
pub struct Resumption {
    config: Arc<ClientConfig>,
    ticket: Arc<Ticket>,
    /// The record in which the server sent it.
    record: Vec<u8>,
}

impl Resumption {
    /// The handshake of a control connection.
    pub fn begin(identity: &Identity, tcp: TcpStream) -> Result<(Tls, Resumption)> {
        let ticket = Arc::new(Ticket::default());
        let mut config = identity.client.clone();
        config.resumption = rustls::client::Resumption::store(Arc::clone(&ticket) as _);
        let config = Arc::new(config);
        let mut control = Tls::connect(&config, tcp, CONTROL_BUFFER)?;
        let record = control.read_record().context("waiting for a ticket")?;
        control.feed(&record)?;
        ensure!(
            ticket.slot().is_some(),
            "no ticket follows the control connection's handshake"
        );
        let resumption = Resumption {
            config,
            ticket,
            record,
        };
        Ok((control, resumption))
    }

    /// The handshake of a data connection, with reads of `buffer` bytes. Fails if the server does
    /// not resume the session.
    pub fn resume(&self, control: &mut Tls, tcp: TcpStream, buffer: usize) -> Result<Tls> {
        if self.ticket.slot().is_none() {
            control.feed(&self.record)?;
        }
        let data = Tls::connect(&self.config, tcp, buffer)?;
        ensure!(
            data.is_resumed(),
            "a data connection has not resumed the control connection's session"
        );
        Ok(data)
    }
}

/// Room for one ticket, the newest.
#[derive(Debug, Default)]
struct Ticket(Mutex<Option<Tls13ClientSessionValue>>);

impl Ticket {
    fn slot(&self) -> MutexGuard<'_, Option<Tls13ClientSessionValue>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Ticket {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.slot() = Some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.slot().take()
    }
}
