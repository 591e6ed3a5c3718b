//! HASH, OPTS HASH, RANG (draft-ietf-ftpext2-hash) and XCRC, XMD5, XSHA1, XSHA256, XSHA512, which
//! other servers offer.
//!
//! To compute a digest the server reads the object, which can take minutes. So it runs like a
//! transfer, without a data connection: NOOP and STAT get their replies while it runs, and ABOR
//! stops it.

use crate::namespace::{Permission, VirtualPath};
use crate::object::{Algorithm, Location, ObjectError, TransferId, digest};
use ftp_proto::Reply;
use ftp_proto::command::{HashName, PieceOfFile};

use crate::session::control::ControlError;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::resolve::{check_offset, file_at, require};
use crate::session::state::{Flow, Session, Start};
use crate::session::transfer::job::{ControlEnd, End, Label};

impl Session {
    /// Sets the bytes of the next RETR or HASH, the last included.
    pub(in crate::session) fn rang(&mut self, range: Option<(u64, u64)>) -> Handled {
        self.start = match range {
            Some((first, last)) => Start::Range { first, last },
            None => Start::Beginning,
        };
        Ok(success::range(range))
    }

    pub(in crate::session) fn opts_hash(&mut self, name: Option<HashName>) -> Handled {
        self.hash = name.unwrap_or(self.hash);
        Ok(success::hash_name(self.hash))
    }

    /// The names as FEAT lists them. A star marks the chosen one.
    pub(in crate::session) fn hash_names(&self) -> String {
        let names = HashName::ALL.map(|name| match name == self.hash {
            true => format!("{}*", name.name()),
            false => name.name().to_owned(),
        });
        names.join(";")
    }

    /// The reply is `213 SHA-256 0-49 <digest> <path>`. The range of an empty file is `0-0`.
    pub(in crate::session) async fn hash(&mut self, argument: &str) -> Result<Flow, ControlError> {
        let (first, stop) = match self.start {
            Start::Range { first, last } => (first, Some(last.saturating_add(1))),
            Start::Beginning | Start::Offset(_) => (0, None),
        };
        let name = self.hash;
        let shown = argument.to_owned();
        self.compute("HASH", argument, name, (first, stop), move |text, end| {
            let last = end.saturating_sub(1).max(first);
            success::hash(name, (first, last), &text, &shown)
        })
        .await
    }

    /// The reply is `250 <digest>`, in capitals as other servers write it.
    pub(in crate::session) async fn digest(
        &mut self,
        verb: &'static str,
        name: HashName,
        piece: &PieceOfFile,
    ) -> Result<Flow, ControlError> {
        let range = (piece.first, piece.stop);
        let answer = |text: String, _| success::digest(&text);
        self.compute(verb, &piece.path, name, range, answer).await
    }

    async fn compute(
        &mut self,
        verb: &'static str,
        argument: &str,
        name: HashName,
        (first, stop): (u64, Option<u64>),
        answer: impl FnOnce(String, u64) -> Reply,
    ) -> Result<Flow, ControlError> {
        let found = self.file_to_read(argument);
        let found = found.and_then(|(path, location)| {
            check_offset(&path, first)?;
            Ok((path, location))
        });
        let (path, location) = match found {
            Ok(found) => found,
            Err(refusal) => {
                let reply = self.refuse(refusal);
                self.control.reply(&reply).await?;
                return Ok(Flow::Continue);
            }
        };
        let label = Label {
            id: TransferId::generate(),
            verb,
            path: path.clone(),
            location: Some(location.clone()),
            control_end: ControlEnd::NeedsQuit,
        };
        let wait = self.context.options.timeouts.data_connect;
        self.run_transfer(label, |link| async move {
            let progress = |bytes| link.progress.add(bytes);
            let computed = tokio::select! {
                biased;
                () = link.abort.cancelled() => return End::Aborted,
                computed = digest(&location, algorithm(name), first, stop, wait, progress) => computed,
            };
            match computed {
                Ok((digest, end)) => {
                    let text = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    End::Answered(answer(text, end))
                }
                Err(ObjectError::Changed) => {
                    End::Failed(Refusal::DigestOfChanging(path).into())
                }
                Err(error) => {
                    End::Failed(Refusal::store(&path, &error).into())
                }
            }
        })
        .await
    }

    fn file_to_read(&self, argument: &str) -> Result<(VirtualPath, Location), Refusal> {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Read)?;
        let (mount, location) = file_at(&path, &resolved)?;
        if self.converts(&mount) {
            return Err(Refusal::DigestInAscii(path));
        }
        Ok((path, location))
    }
}

fn algorithm(name: HashName) -> Algorithm {
    match name {
        HashName::Sha256 => Algorithm::Sha256,
        HashName::Sha1 => Algorithm::Sha1,
        HashName::Sha512 => Algorithm::Sha512,
        HashName::Md5 => Algorithm::Md5,
        HashName::Crc32 => Algorithm::Crc32,
    }
}
