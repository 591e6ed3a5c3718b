//! USER, PASS, REIN (RFC 959, 4.1.1).

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::auth::options::UserOptions;
use crate::auth::{AuthError, Verified};
use crate::events::{Cause, Kind, Level};
use ftp_proto::Reply;
use ftp_proto::command::{HashName, Password, TransferType};
use ftp_proto::facts::FactSet;

use crate::session::control::ControlError;
use crate::session::data_setup::DataSetup;
use crate::session::replies::{Refusal, success};
use crate::session::state::{Flow, Login, PreLogin, Session, Start, User, wall_clock};

/// The largest number of characters of CLNT that events show.
const LONGEST_CLIENT: usize = 200;

/// Whether a login that is refused has proven who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credentials {
    Right,
    Wrong,
}

impl Session {
    pub(in crate::session) async fn user_name(&mut self, name: &str) -> Result<Flow, ControlError> {
        // RFC 959: a new USER begins a new login, whether a user is logged in or not.
        if let Err(full) = self.leave() {
            return self.close_with(full).await;
        }
        self.reset();
        self.configured = self.context.newest.get();
        let reply = match (self.require_tls(), self.by_certificate(name)) {
            (Err(refused), _) => {
                self.note_refused_login(name, Cause::Tls, &refused);
                refused.into()
            }
            (Ok(()), Some(user)) => return self.user_by_certificate(user).await,
            (Ok(()), None) => {
                self.login = Login::NameGiven(name.to_owned());
                success::password_wanted()
            }
        };
        self.control.reply(&reply).await?;
        Ok(Flow::Continue)
    }

    /// A login without a password. It must pass all checks that a login with the right password
    /// must pass.
    async fn user_by_certificate(&mut self, user: Arc<UserOptions>) -> Result<Flow, ControlError> {
        let address = self.control.peer.ip();
        if self.context.failures.bans_address(address) {
            let refusal = Refusal::AddressBanned;
            return self.end_login(&user.name, Cause::Banned, refusal).await;
        }
        match self.unwelcome(&user) {
            Some(cause) => {
                self.refuse_login(&user.name, Credentials::Right, cause)
                    .await
            }
            None => {
                let welcome = success::logged_in_by_certificate();
                self.log_in(user, &welcome).await
            }
        }
    }

    pub(in crate::session) async fn pass(
        &mut self,
        password: &Password,
    ) -> Result<Flow, ControlError> {
        let Login::NameGiven(name) = &self.login else {
            self.control.reply(&Refusal::UserFirst.into()).await?;
            return Ok(Flow::Continue);
        };
        let name = name.clone();
        self.configured = self.context.newest.get();
        let address = self.control.peer.ip();
        if self.context.failures.bans_address(address) {
            // The ban may be newer than this connection.
            let refusal = Refusal::AddressBanned;
            return self.end_login(&name, Cause::Banned, refusal).await;
        }
        if self
            .context
            .authenticator
            .is_probe(&self.configured.accounts, &name)
        {
            return self.refuse_probe(&name).await;
        }
        let password = SecretString::from(password.0.clone());
        let may_log_in = self.host_admits(&name) && !self.context.failures.bans(address, &name);
        let authenticator = &self.context.authenticator;
        let recent = || {
            let accounts = &self.configured.accounts;
            authenticator.logged_in_recently(accounts, &name, &password)
        };
        // A quick refusal would show that the password is right.
        if may_log_in
            && let Some(config) = recent()
            && self.unwelcome(&config).is_none()
        {
            return self.log_in(config, &success::logged_in()).await;
        }
        let heard = || !self.context.failures.bans_address(address);
        let verifying =
            authenticator.verify(&self.configured.accounts, &name, &password, address, heard);
        let verified = tokio::select! {
            verified = verifying => verified,
            () = self.context.drain.cancelled() => {
                return self.close_with(Refusal::ShuttingDown).await;
            }
        };
        match verified {
            Err(AuthError::Unheard) => {
                self.end_login(&name, Cause::Banned, Refusal::AddressBanned)
                    .await
            }
            Err(AuthError::Busy) => {
                self.end_login(&name, Cause::Limit, Refusal::LoginsBusy)
                    .await
            }
            Err(AuthError::Memory) => {
                self.end_login(&name, Cause::Limit, Refusal::NoMemoryForLogin)
                    .await
            }
            Ok(Verified { user, ticket }) => match self.unwelcome(&user) {
                Some(cause) => self.refuse_login(&name, Credentials::Right, cause).await,
                None => {
                    let flow = self.log_in(user, &success::logged_in()).await?;
                    if let Login::LoggedIn(_) = self.login {
                        self.context.authenticator.remember(ticket);
                    }
                    Ok(flow)
                }
            },
            Err(AuthError::Refused) => {
                let cause = match self.configured.accounts.user(&name) {
                    Some(_) => Cause::Password,
                    None => Cause::UnknownUser,
                };
                self.refuse_login(&name, Credentials::Wrong, cause).await
            }
        }
    }

    /// Why a user may not log in although the credentials are right. A client can't tell this from a
    /// wrong password.
    ///
    /// Asked after the check of the password: of many guesses in parallel, those that are being
    /// checked when a ban begins must not succeed.
    fn unwelcome(&self, user: &UserOptions) -> Option<Cause> {
        let address = self.control.peer.ip();
        if !self.host_admits(&user.name) {
            Some(Cause::Host)
        } else if user.ended(wall_clock()) {
            Some(Cause::Expired)
        } else if !user.admits(address) {
            Some(Cause::Network)
        } else if self.context.failures.bans(address, &user.name) {
            Some(Cause::Banned)
        } else {
            None
        }
    }

    /// Refuses `anonymous` if there is no such user. This counts as no failure, and such logins of
    /// one address get their replies one after the other.
    async fn refuse_probe(&mut self, name: &str) -> Result<Flow, ControlError> {
        self.login = Login::Anonymous;
        let peer = self.control.peer;
        let Some(turn) = self.context.authenticator.probe_turn(peer.ip()) else {
            return self
                .end_login(name, Cause::Limit, Refusal::LoginsBusy)
                .await;
        };
        let delay = turn.max(self.context.options.login_delay);
        let refusal = self.last_or(Refusal::LoginIncorrect);
        self.note_refused_login(name, Cause::UnknownUser, &refusal);
        self.answer_refused(refusal, delay).await
    }

    /// Refuses a wrong name, a wrong password, and [other users](Self::unwelcome), all with the same
    /// reply.
    async fn refuse_login(
        &mut self,
        name: &str,
        credentials: Credentials,
        cause: Cause,
    ) -> Result<Flow, ControlError> {
        self.login = Login::Anonymous;
        self.pre_login.failures += 1;
        let peer = self.control.peer;
        // The event comes before that of the ban to which it may lead.
        let refusal = self.last_or(Refusal::LoginIncorrect);
        self.note_refused_login(name, cause, &refusal);
        let failures = &self.context.failures;
        let delay = match credentials {
            Credentials::Right => failures.refused(peer.ip(), name),
            Credentials::Wrong => failures.failed(peer.ip(), name),
        };
        self.answer_refused(refusal, delay).await
    }

    /// The refusal of a login, or the one that ends the session if it has had its last attempt.
    fn last_or(&self, refusal: Refusal) -> Refusal {
        match refusal {
            _ if self.pre_login.failures < self.context.options.login_attempts => refusal,
            Refusal::LoginIncorrect => Refusal::FailedLogins,
            refusal => Refusal::LastLogin(Box::new(refusal)),
        }
    }

    /// Sends the event of a refused login.
    fn note_refused_login(&self, name: &str, cause: Cause, refusal: &Refusal) {
        let event = self.chronicle.login_refused(Some(name), cause, refusal);
        self.chronicle.send(event);
    }

    /// Refuses a login, and ends the session.
    async fn end_login(
        &mut self,
        name: &str,
        cause: Cause,
        refusal: Refusal,
    ) -> Result<Flow, ControlError> {
        self.note_refused_login(name, cause, &refusal);
        self.close_with(refusal).await
    }

    /// Replies after a delay, which slows down guessing. Only this session waits. A server that stops
    /// ends the delay: the reply stays the one of the event, and the session then ends as others do.
    async fn answer_refused(
        &mut self,
        refusal: Refusal,
        delay: Duration,
    ) -> Result<Flow, ControlError> {
        let cut = self.control.cut().clone();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.context.drain.cancelled() => {}
            () = cut.cancelled() => {}
        }
        self.answer_login(refusal).await
    }

    /// Replies to a refused login; after the last attempt the session ends.
    async fn answer_login(&mut self, refusal: Refusal) -> Result<Flow, ControlError> {
        match refusal {
            Refusal::FailedLogins | Refusal::LastLogin(_) => self.close_with(refusal).await,
            _ => {
                self.control.reply(&refusal.into()).await?;
                Ok(Flow::Continue)
            }
        }
    }

    /// Logs a user in whose credentials are right, unless the account requires more.
    async fn log_in(
        &mut self,
        config: Arc<UserOptions>,
        welcome: &Reply,
    ) -> Result<Flow, ControlError> {
        if let Err((cause, refused)) = self.admit(&config) {
            // This failure does not lead to a ban: the credentials were right. But each attempt
            // costs the computation of a hash, so their number has the same limit.
            self.login = Login::Anonymous;
            self.pre_login.failures += 1;
            let refused = self.last_or(refused);
            self.note_refused_login(&config.name, cause, &refused);
            return self.answer_login(refused).await;
        }
        let address = self.control.peer.ip();
        self.context.failures.succeeded(address, &config.name);
        let name = config.name.clone();
        match self.enter(config) {
            Ok(()) => {
                self.control.reply(welcome).await?;
                Ok(Flow::Continue)
            }
            Err(refused) => {
                let cause = match refused {
                    Refusal::AccountNotSetUp => Cause::Configuration,
                    _ => Cause::Limit,
                };
                self.end_login(&name, cause, refused).await
            }
        }
    }

    /// Makes the account the session's user.
    fn enter(&mut self, config: Arc<UserOptions>) -> Result<(), Refusal> {
        let Some(permit) = self.context.user_sessions.enter(&config) else {
            return Err(Refusal::UserSessionsFull);
        };
        let tree = self
            .configured
            .namespace_of(&config, self.control.peer.ip());
        let namespace = tree.ok_or(Refusal::AccountNotSetUp)?;
        self.permit.logged_in()?;
        let name = config.name.as_str().into();
        self.chronicle.change(|facts| facts.user = Some(name));
        self.chronicle
            .send(self.chronicle.event(Kind::Login, Level::Info));
        self.cwd = config.start_directory.clone();
        self.login = Login::LoggedIn(User {
            config,
            namespace,
            _permit: permit,
        });
        Ok(())
    }

    pub(in crate::session) async fn close_with(
        &mut self,
        refusal: Refusal,
    ) -> Result<Flow, ControlError> {
        self.chronicle.ends(refusal.to_string());
        self.control.reply(&refusal.into()).await?;
        Ok(Flow::Close)
    }

    /// CLNT and CSID: the first name counts, and stands in the events of the session.
    pub(in crate::session) fn note_client(&mut self, name: &str) {
        if self.chronicle.facts().client.is_none() {
            let name: String = name.chars().take(LONGEST_CLIENT).collect();
            self.chronicle
                .change(|facts| facts.client = Some(name.into()));
        }
    }

    pub(in crate::session) async fn reinitialise(&mut self) -> Result<Flow, ControlError> {
        let reply = match self.refuse_rein() {
            Err(refused) => refused.into(),
            Ok(()) => {
                if let Err(full) = self.leave() {
                    return self.close_with(full).await;
                }
                self.reset();
                // RFC 7151, 3.2: the session is as it was right after the connection.
                self.enter_host(self.host_of_handshake());
                success::reinitialised()
            }
        };
        self.control.reply(&reply).await?;
        Ok(Flow::Continue)
    }

    /// Ends a login, before [`reset`](Self::reset). The session then counts among those before
    /// login. If their limit is reached, the connection ends: otherwise a client with an account
    /// could hold any number of such sessions.
    pub(in crate::session) fn leave(&mut self) -> Result<(), Refusal> {
        Ok(self.permit.log_out()?)
    }

    /// Sets the session to its state after the greeting.
    pub(in crate::session) fn reset(&mut self) {
        // Only a session that was logged in gets new time for a login, so that no session stays
        // without a login.
        if let Login::LoggedIn(_) = std::mem::replace(&mut self.login, Login::Anonymous) {
            self.pre_login = PreLogin::begin(self.context.options.timeouts.login);
            self.chronicle.change(|facts| facts.user = None);
        }
        self.cwd = crate::namespace::VirtualPath::root();
        self.transfer_type = TransferType::Ascii;
        self.data = DataSetup::None;
        self.epsv_all = false;
        self.start = Start::Beginning;
        self.hash = HashName::Sha256;
        self.rename_from = None;
        self.facts = FactSet::all();
        self.last_file.forget();
        self.reported = crate::session::reported::ReportedLengths::default();
    }
}
