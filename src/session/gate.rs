//! One table of phase × command: what runs now, what waits, what is refused.

use ftp_proto::Command;

use crate::session::replies::Refusal;

/// The phase of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No user is logged in or named.
    Anonymous,
    /// USER was sent, PASS is next.
    PasswordWanted,
    /// Logged in.
    LoggedIn,
    /// Logged in, a transfer is running.
    Transferring,
}

/// What happens to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Run it.
    Run,
    /// Hold it until the transfer has ended.
    Hold,
    /// Answer with this.
    Refuse(Refusal),
}

/// Looks a command up.
pub(super) fn verdict(phase: Phase, command: &Command) -> Verdict {
    use Command as C;
    match (phase, command) {
        // RFC 959, 4.1.1: only these make sense while a transfer runs.
        (Phase::Transferring, C::Abor | C::Noop | C::Stat(None)) => Verdict::Run,
        (Phase::Transferring, _) => Verdict::Hold,

        // Commands that reveal no user's files, and the login itself.
        (
            _,
            C::User(_)
            | C::Quit
            | C::Rein
            | C::Noop
            | C::Feat
            | C::Help(_)
            | C::Syst
            | C::OptsUtf8(_)
            | C::OptsHash(_)
            | C::Clnt(_)
            | C::Csid(_)
            | C::SiteHelp
            | C::Abor
            | C::Auth(_)
            | C::Pbsz
            | C::Prot(_)
            | C::Ccc,
        ) => Verdict::Run,
        // RFC 7151, 3: before the login, and not in the middle of it.
        (Phase::Anonymous, C::Host(_)) => Verdict::Run,
        (_, C::Host(_)) => Verdict::Refuse(Refusal::HostAfterUser),
        (Phase::PasswordWanted, C::Pass(_)) => Verdict::Run,
        (Phase::Anonymous, C::Pass(_)) => Verdict::Refuse(Refusal::UserFirst),
        (Phase::LoggedIn, C::Pass(_)) => Verdict::Refuse(Refusal::AlreadyLoggedIn),
        (Phase::Anonymous | Phase::PasswordWanted, _) => Verdict::Refuse(Refusal::NotLoggedIn),
        (Phase::LoggedIn, _) => Verdict::Run,
    }
}

/// Whether a REST offset survives this command. RFC 959 expects the transfer directly after REST,
/// but every client sets up the data connection in between, and tries another command if one is
/// refused.
pub(super) fn keeps_restart(command: &Command) -> bool {
    use Command as C;
    matches!(
        command,
        C::Pasv
            | C::Epsv(_)
            | C::Port(_)
            | C::Eprt(_)
            | C::Pbsz
            | C::Prot(_)
            | C::Type(_)
            | C::Mode
            | C::Stru
            | C::Noop
            | C::Size(_)
            | C::Mdtm(_)
            | C::Allo(_)
            | C::OptsHash(_)
    )
}

/// Whether what SIZE and MDTM have learnt about a file survives this command
/// (docs/design/promises.md, 7).
pub(super) fn keeps_last_file(command: &Command) -> bool {
    use Command as C;
    keeps_restart(command) || matches!(command, C::Rest(_) | C::Retr(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ftp_proto::command::{HostName, Password, TransferType};

    #[test]
    fn before_login_nothing_but_the_login_runs() {
        for command in [
            Command::Retr("x".into()),
            Command::Stor("x".into()),
            Command::Pasv,
            Command::Stat(None),
            Command::Type(TransferType::Image),
            Command::Rest(1),
            Command::Pwd,
        ] {
            for phase in [Phase::Anonymous, Phase::PasswordWanted] {
                match verdict(phase, &command) {
                    Verdict::Refuse(refusal) => assert_eq!(refusal.code(), 530, "{command:?}"),
                    other => panic!("{command:?} in {phase:?}: {other:?}"),
                }
            }
        }
        assert_eq!(
            verdict(Phase::Anonymous, &Command::User("a".into())),
            Verdict::Run
        );
        let pass = Command::Pass(Password("x".into()));
        assert!(
            matches!(verdict(Phase::Anonymous, &pass), Verdict::Refuse(refusal) if refusal.code() == 503)
        );
        assert_eq!(verdict(Phase::PasswordWanted, &pass), Verdict::Run);
        let host = Command::Host(HostName::Name("a".into()));
        assert_eq!(verdict(Phase::Anonymous, &host), Verdict::Run);
        for phase in [Phase::PasswordWanted, Phase::LoggedIn] {
            assert!(
                matches!(verdict(phase, &host), Verdict::Refuse(refusal) if refusal.code() == 503)
            );
        }
    }

    #[test]
    fn while_a_transfer_runs_only_abor_stat_and_noop_do() {
        assert_eq!(verdict(Phase::Transferring, &Command::Abor), Verdict::Run);
        assert_eq!(
            verdict(Phase::Transferring, &Command::Stat(None)),
            Verdict::Run
        );
        assert_eq!(verdict(Phase::Transferring, &Command::Noop), Verdict::Run);
        for command in [
            Command::Quit,
            Command::Rein,
            Command::Pwd,
            Command::Retr("x".into()),
        ] {
            assert_eq!(
                verdict(Phase::Transferring, &command),
                Verdict::Hold,
                "{command:?}"
            );
        }
    }
}
