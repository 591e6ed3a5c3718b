//! TYPE, REST, ALLO, ABOR without a transfer, OPTS MLST, SITE CHMOD (RFC 959; 3659).

use std::sync::Arc;

use crate::namespace::{Mount, Permission, Resolved};
use ftp_proto::command::TransferType;
use ftp_proto::facts::FactSet;

use crate::session::data_setup::DataSetup;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::resolve::{check_file_size, require};
use crate::session::state::{Session, Start};

impl Session {
    pub(in crate::session) fn set_type(&mut self, transfer_type: TransferType) -> Handled {
        self.transfer_type = transfer_type;
        Ok(success::transfer_type(transfer_type))
    }

    /// RFC 3659, 5: the offset where the next transfer begins.
    pub(in crate::session) fn rest(&mut self, offset: u64) -> Handled {
        self.start = match offset {
            0 => Start::Beginning,
            offset => Start::Offset(offset),
        };
        Ok(success::rest(offset))
    }

    /// RFC 959: no storage is set aside, but a file that is too large is refused before it is sent.
    pub(in crate::session) fn allo(&mut self, bytes: u64) -> Handled {
        let (path, resolved) = self.resolve("")?;
        let mounts = match &resolved {
            Resolved::Mounted { mount, .. } => vec![Arc::clone(mount)],
            // The file may go to any of them.
            _ => self.user()?.namespace.mounts().to_vec(),
        };
        let largest = |mount: &Arc<Mount>| mount.location(String::new()).largest_object();
        let allowed = |mount: &Arc<Mount>| self.max_file_size(mount).unwrap_or(u64::MAX);
        let limit = mounts.iter().map(largest).max().unwrap_or(0);
        check_file_size(&path, bytes, mounts.iter().map(allowed).max())?;
        if bytes > limit {
            return Err(Refusal::TooLarge(path, limit));
        }
        Ok(success::nothing_to_allocate())
    }

    /// ABOR while no transfer runs closes a data connection that was set up.
    pub(in crate::session) fn abor_nothing(&mut self) -> Handled {
        self.data = DataSetup::None;
        Ok(success::no_transfer_to_abort())
    }

    pub(in crate::session) fn opts_mlst(&mut self, names: &[String]) -> Handled {
        self.facts = FactSet::select(names);
        Ok(success::facts(&self.facts.chosen()))
    }

    /// Objects have no mode bits. Clients that set them must not fail.
    pub(in crate::session) fn site_chmod(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Write)?;
        Ok(success::mode_has_no_effect(&path))
    }
}
