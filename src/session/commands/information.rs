//! FEAT, HELP, STAT without a path, OPTS UTF8, SITE HELP: what the server says of itself (RFC 2389,
//! 959).

use crate::namespace::{Permission, Permissions};
use ftp_proto::command::TransferType;
use ftp_proto::{Command, Reply};

use crate::session::commands::protection::VERBS;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::state::Session;

impl Session {
    /// RFC 2389, 3: exactly what works for this user.
    pub(in crate::session) fn feat(&self) -> Reply {
        let mut lines = vec!["Features:".to_owned()];
        let (auth, protection) = self.tls_features();
        lines.extend(auth.map(str::to_owned));
        lines.extend(["CLNT", "CSID", "EPRT", "EPSV", "MDTM"].map(str::to_owned));
        lines.push(format!("HASH {}", self.hash_names()));
        if self.has_hosts() {
            lines.push("HOST".to_owned());
        }
        if self.sets_times() {
            lines.push("MFF modify;".to_owned());
            lines.push("MFMT".to_owned());
        }
        lines.push(format!("MLST {}", self.facts.feat()));
        lines.push("PASV".to_owned());
        lines.extend(protection.iter().map(|&line| line.to_owned()));
        lines.extend(["RANG STREAM", "REST STREAM", "SIZE"].map(str::to_owned));
        lines.extend(["TVFS", "UTF8", "XCRC", "XMD5", "XSHA1"].map(str::to_owned));
        lines.extend(["XSHA256", "XSHA512", "End"].map(str::to_owned));
        Reply::lines(211, lines)
    }

    /// Whether MFMT works in all mounts that the user may write to: clients that see it in FEAT use
    /// it after each upload. Before the login, whether it does for any user: lftp sends FEAT then,
    /// and never again.
    fn sets_times(&self) -> bool {
        match self.logged_in() {
            Some(user) => all_keep_times(
                user.namespace
                    .mounts()
                    .iter()
                    .map(|mount| (mount.permissions, mount.times_metadata)),
            ),
            None => self.configured.accounts.users().any(|user| {
                all_keep_times(
                    user.mounts
                        .values()
                        .map(|mount| (mount.permissions, mount.times_metadata)),
                )
            }),
        }
    }

    pub(in crate::session) fn site_help(&self) -> Reply {
        let commands = match self.sets_times() {
            true => "CHMOD HELP UTIME",
            false => "CHMOD HELP",
        };
        Reply::lines(
            214,
            vec![
                "SITE commands:".to_owned(),
                commands.to_owned(),
                "End".to_owned(),
            ],
        )
    }

    /// HELP lists only what works for this session.
    pub(in crate::session) fn help(&self, topic: Option<&str>) -> Handled {
        let has_tls = self.offered_tls().is_some();
        let works = |verb: &str| match verb.to_ascii_uppercase().as_str() {
            "HOST" => self.has_hosts(),
            verb => has_tls || !VERBS.contains(&verb),
        };
        match topic {
            Some(topic) if topic.eq_ignore_ascii_case("SITE") => Ok(self.site_help()),
            Some(topic) => match Command::syntax(topic).filter(|_| works(topic)) {
                Some(syntax) => Ok(success::syntax(syntax)),
                // Other text is not repeated: it may be a password.
                None => match Command::verbs().find(|verb| verb.eq_ignore_ascii_case(topic)) {
                    Some(verb) => Err(Refusal::NotOffered(verb)),
                    None => Err(Refusal::NoSuchCommand),
                },
            },
            None => {
                let verbs: Vec<&str> = Command::verbs().filter(|verb| works(verb)).collect();
                let mut lines = vec!["These commands are available:".to_owned()];
                lines.extend(verbs.chunks(10).map(|row| row.join(" ")));
                lines.push("End".to_owned());
                Ok(Reply::lines(214, lines))
            }
        }
    }

    /// STAT without a path while no transfer runs (RFC 959, 4.1.3).
    pub(in crate::session) fn status(&self) -> Reply {
        let transfer_type = match self.transfer_type {
            TransferType::Ascii => "ASCII",
            TransferType::Image => "image",
        };
        Reply::lines(
            211,
            vec![
                "Status:".to_owned(),
                format!("Connected from {}", self.control.peer.ip()),
                self.tls_status(),
                format!("Logged in as {}", self.user_label()),
                format!("Working directory {}", self.cwd),
                format!("TYPE {transfer_type}, STRU file, MODE stream"),
                "No transfer is running".to_owned(),
                "End".to_owned(),
            ],
        )
    }
}

/// Whether all mounts that can be written to keep times. Each item is the permissions of a mount
/// and whether it keeps times.
fn all_keep_times(mounts: impl Iterator<Item = (Permissions, bool)>) -> bool {
    let mut writable = mounts
        .filter(|(permissions, _)| permissions.allows(Permission::Write))
        .peekable();
    writable.peek().is_some() && writable.all(|(_, keeps_times)| keeps_times)
}

pub(in crate::session) fn opts_utf8(on: bool) -> Handled {
    if on {
        Ok(success::utf8_on())
    } else {
        Err(Refusal::Utf8Off)
    }
}
