//! USER, PASS, REIN (RFC 959, 4.1.1).

use std::sync::Arc;

use secrecy::SecretString;

use crate::auth::AuthError;
use crate::config::UserConfig;
use crate::namespace::{Mount, Namespace};
use crate::protocol::Reply;
use crate::protocol::command::{HashName, Password, TransferType};
use crate::protocol::facts::FactSet;

use super::control::ControlError;
use super::data_setup::DataSetup;
use super::{Flow, Handled, Session, User};

impl Session {
    pub(super) fn user_name(&mut self, name: &str) -> Handled {
        // RFC 959: a new USER begins a new login, whoever is logged in.
        self.reset();
        self.require_tls()?;
        if let Some(user) = self.by_certificate(name) {
            self.admit(&user)?;
            self.enter(user)?;
            // RFC 2228: authorised by the security data exchange.
            return Ok(Reply::new(232, "Logged in by the client certificate"));
        }
        self.name = Some(name.to_owned());
        Ok(Reply::new(331, "Send the password"))
    }

    pub(super) async fn pass(&mut self, password: &Password) -> Result<Flow, ControlError> {
        let Some(name) = self.name.clone() else {
            self.control
                .reply(&Reply::new(503, "Send USER first"))
                .await?;
            return Ok(Flow::Continue);
        };
        let password = SecretString::from(password.0.clone());
        let reply = match self.gateway.authenticator.verify(&name, &password).await {
            Ok(config) => match self.admit(&config).and_then(|()| self.enter(config)) {
                Ok(()) => Reply::new(230, "Logged in"),
                Err(reply) => {
                    self.name = None;
                    reply
                }
            },
            Err(AuthError::Busy) => {
                self.name = None;
                Reply::new(421, "Too many logins at once, try again later")
            }
            Err(error) => {
                self.name = None;
                self.failed_logins += 1;
                tracing::warn!(peer = %self.control.peer, user = %name.escape_debug(), %error, "login refused");
                // Holds up only this session: guessing becomes slow, others don't notice.
                tokio::time::sleep(self.gateway.config.timeouts.login_failure_delay).await;
                if self.failed_logins >= self.gateway.config.limits.login_attempts {
                    Reply::new(421, "Too many failed logins, closing the connection")
                } else {
                    Reply::new(530, "Login incorrect")
                }
            }
        };
        let flow = if reply.code == 421 {
            Flow::Close
        } else {
            Flow::Continue
        };
        self.control.reply(&reply).await?;
        Ok(flow)
    }

    /// The login is done.
    fn enter(&mut self, config: Arc<UserConfig>) -> Result<(), Reply> {
        let namespace = self.namespace_of(&config)?;
        tracing::info!(peer = %self.control.peer, user = %config.name, "logged in");
        self.name = Some(config.name.clone());
        self.user = Some(User { config, namespace });
        self.failed_logins = 0;
        Ok(())
    }

    pub(super) fn reinitialise(&mut self) -> Handled {
        self.refuse_rein()?;
        self.reset();
        Ok(Reply::new(220, "Ready for a new user"))
    }

    /// As after the greeting.
    pub(super) fn reset(&mut self) {
        // Only one who was in gets time to log in anew, so nobody stays for ever without.
        if self.user.take().is_some() {
            self.login_deadline = tokio::time::Instant::now() + self.gateway.config.timeouts.login;
        }
        self.name = None;
        self.cwd = crate::namespace::VirtualPath::root();
        self.transfer_type = TransferType::Ascii;
        self.data = DataSetup::None;
        self.epsv_all = false;
        self.restart = 0;
        self.range = None;
        self.hash = HashName::Sha256;
        self.rename_from = None;
        self.facts = FactSet::all();
        self.recent.forget();
        self.told = None;
    }

    fn namespace_of(&self, config: &UserConfig) -> Result<Namespace, Reply> {
        let mut mounts = Vec::with_capacity(config.mounts.len());
        for (path, mount) in &config.mounts {
            let Some(store) = self.gateway.stores.get(&mount.store) else {
                tracing::error!(user = %config.name, store = %mount.store, "a mount names a store that is not there");
                return Err(Reply::new(
                    421,
                    "Your account is not set up, tell the operator",
                ));
            };
            mounts.push(Mount {
                path: path.clone(),
                store: store.clone(),
                bucket: mount.bucket.as_str().into(),
                prefix: mount.prefix.clone(),
                permissions: mount.permissions,
                ascii_convert: mount.ascii_convert,
                times_metadata: mount.times_metadata,
                state_bucket: mount
                    .state_bucket
                    .as_deref()
                    .unwrap_or(&mount.bucket)
                    .into(),
                keep_interrupted: mount.keep_interrupted,
                on_control_loss: mount.on_control_loss,
            });
        }
        Ok(Namespace::new(mounts))
    }
}
