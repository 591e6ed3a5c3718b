//! TYPE, REST, ALLO, ABOR without a transfer, OPTS MLST, SITE CHMOD (RFC 959; 3659).

use crate::namespace::Permission;
use ftp_proto::Reply;
use ftp_proto::command::TransferType;
use ftp_proto::facts::FactSet;

use crate::session::data_setup::DataSetup;
use crate::session::resolve::require;
use crate::session::state::{Handled, Session};

impl Session {
    pub(in crate::session) fn set_type(&mut self, transfer_type: TransferType) -> Handled {
        self.transfer_type = transfer_type;
        Ok(Reply::new(
            200,
            match transfer_type {
                TransferType::Ascii => "Type is A",
                TransferType::Image => "Type is I",
            },
        ))
    }

    /// RFC 3659, 5: the offset the next transfer begins at.
    pub(in crate::session) fn rest(&mut self, offset: u64) -> Handled {
        self.restart = offset;
        self.range = None;
        Ok(Reply::new(
            350,
            format!("The next transfer begins at {offset}"),
        ))
    }

    /// RFC 959: storage is not set aside; but what can't fit is said before it is sent.
    pub(in crate::session) fn allo(&mut self, bytes: u64) -> Handled {
        let (path, resolved) = self.resolve("")?;
        let limit = match &resolved {
            crate::namespace::Resolved::Mounted { mount, .. } => mount.store.largest_object(),
            _ => self
                .context
                .stores
                .values()
                .map(|store| store.largest_object())
                .max()
                .unwrap_or(0),
        };
        if bytes > limit {
            return Err(Reply::new(
                552,
                format!("{path}: the largest file here has {limit} bytes"),
            ));
        }
        // Not 202: old cameras give up at it.
        Ok(Reply::new(200, "No storage needs to be allocated"))
    }

    /// ABOR while nothing runs: a data connection that was set up is closed.
    pub(in crate::session) fn abor_nothing(&mut self) -> Handled {
        self.data = DataSetup::None;
        Ok(Reply::new(226, "No transfer to abort"))
    }

    pub(in crate::session) fn opts_mlst(&mut self, names: &[String]) -> Handled {
        self.facts = FactSet::select(names);
        let chosen = self.facts.chosen();
        Ok(Reply::new(
            200,
            if chosen.is_empty() {
                "MLST OPTS".to_owned()
            } else {
                format!("MLST OPTS {chosen}")
            },
        ))
    }

    /// Objects have no mode bits; clients that set them must not fail for it.
    pub(in crate::session) fn site_chmod(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Write)?;
        Ok(Reply::new(
            200,
            format!("{path}: accepted, it has no effect here"),
        ))
    }
}
