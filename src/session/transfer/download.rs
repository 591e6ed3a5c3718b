//! RETR (RFC 959, 4.1.3; REST: RFC 3659, 5): [`Download`] → data connection.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::auth::TransferPermit;
use crate::data::ascii::ToWire;
use crate::events::Direction;
use crate::memory::{Budget, Grant};
use crate::namespace::{Permission, VirtualPath};
use crate::object::{Download, Location, ObjectError, ObjectInfo, TransferId};

use crate::session::broken::UserTransfers;
use crate::session::control::ControlError;
use crate::session::last_file::Whole;
use crate::session::replies::{Refusal, success};
use crate::session::resolve::{check_offset, file_at, require};
use crate::session::state::{Flow, Session, Start};
use crate::session::transfer::job::{ControlEnd, End, Label, Link, Signal, TransferError};
use crate::session::transfer::sink::{Outgoing, Sink, Stop};

/// The source of the bytes.
enum FileSource {
    /// The object, from the first offset to before the second; what its bytes are compared with;
    /// and the version whose length SIZE has reported, if it has.
    Store(Location, u64, u64, Verify, Option<Box<ObjectInfo>>),
    /// All bytes of this version, which SIZE got.
    Known(Whole, Box<ObjectInfo>),
}

/// Whether a download is compared with the object's checksum.
enum Verify {
    No,
    /// Compared with the checksum in the GET, or else with the one that SIZE got for the version
    /// with this ETag.
    Yes(Option<(String, u32)>),
}

/// A download, ready to run.
struct DownloadJob {
    path: VirtualPath,
    source: FileSource,
    /// Whether it is the whole file.
    whole: bool,
    /// Its first byte, by REST or RANG.
    offset: u64,
    transfers: UserTransfers,
    sink: Sink,
    /// Counts it among the transfers of its user.
    permit: TransferPermit,
    convert: bool,
}

impl Session {
    pub(in crate::session) async fn retrieve(
        &mut self,
        argument: &str,
    ) -> Result<Flow, ControlError> {
        let (job, location) = match self.prepare_retrieve(argument) {
            Ok(prepared) => prepared,
            Err(refusal) => return self.refuse_transfer(refusal).await,
        };
        let label = Label {
            id: TransferId::generate(),
            verb: "RETR",
            path: job.path.clone(),
            location: Some(location),
            control_end: ControlEnd::NeedsQuit,
        };
        self.run_transfer(label, |link| job.run(link)).await
    }

    fn prepare_retrieve(&mut self, argument: &str) -> Result<(DownloadJob, Location), Refusal> {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Read)?;
        let (mount, location) = file_at(&path, &resolved)?;
        let convert = self.converts(&mount);
        let (offset, stop) = match self.start {
            Start::Beginning => (0, u64::MAX),
            Start::Offset(offset) => (offset, u64::MAX),
            Start::Range { first, last } => (first, last.saturating_add(1)),
        };
        check_offset(&path, offset)?;
        if convert && (offset > 0 || stop < u64::MAX) {
            return Err(Refusal::RestInAscii);
        }
        self.check_retrieve(&path, &location, offset)?;
        let verify = match mount.verify_downloads {
            true => Verify::Yes(self.last_file.crc(&path)),
            false => Verify::No,
        };
        let source = match self.last_file.retrieve(&path) {
            Some((info, Some(mut whole))) if offset <= info.size => {
                let skip = usize::try_from(offset).unwrap_or(usize::MAX);
                whole
                    .bytes
                    .truncate(usize::try_from(stop).unwrap_or(usize::MAX));
                let skip = skip.min(whole.bytes.len());
                bytes::Buf::advance(&mut whole.bytes, skip);
                FileSource::Known(whole, Box::new(info))
            }
            reported => {
                let reported = reported.map(|(info, _)| Box::new(info));
                FileSource::Store(location.clone(), offset, stop, verify, reported)
            }
        };
        let transfers = self.transfers_of(&location)?;
        let permit = self.transfer_permit(&path, Direction::Out)?;
        let sink = self.take_sink()?;
        let job = DownloadJob {
            path,
            source,
            whole: offset == 0 && stop == u64::MAX,
            offset,
            transfers,
            sink,
            permit,
            convert,
        };
        Ok((job, location))
    }
}

impl DownloadJob {
    async fn run(self, link: Link) -> End {
        match self.transfer(&link).await {
            Ok(()) => End::Finished(success::sent(link.progress.bytes())),
            Err(stop) => stop.into(),
        }
    }

    async fn transfer(self, link: &Link) -> Result<(), Stop> {
        let DownloadJob {
            path,
            source,
            whole,
            offset,
            transfers,
            mut sink,
            mut permit,
            convert,
        } = self;
        let (budget, wait) = (sink.budget.clone(), sink.timeouts.data_connect);
        let open = async {
            let opened = source.open(&path, &budget, wait).await?;
            let info = opened.info();
            link.progress.note(|object| {
                object.offset = Some(offset);
                object.size = Some(info.size);
                object.etag = Some(info.etag.clone()).filter(|etag| !etag.is_empty());
            });
            if offset > 0 && transfers.download_broke_in_another(opened.info()) {
                return Err(Refusal::ReplacedAfterDownload(path.clone()).into());
            }
            if !convert {
                link.progress.expect(opened.size());
            }
            Ok(opened)
        };
        // In parallel: the refusal of a missing file does not wait for the data connection.
        let opening = |opened: &Opened| success::sending(&path, opened.size());
        let (opened, arrival) = match sink.open(link, open, opening).await {
            Ok(opened) => opened,
            Err(stop) => {
                if let Stop::Failed(_) = stop {
                    link.signal(Signal::Unused(sink.data));
                }
                return Err(stop);
            }
        };
        let mut sending = FileBytes {
            opened,
            filter: convert.then(ToWire::default),
        };
        let sent = sink
            .send_all(link, arrival, &mut sending, &mut permit.throttle)
            .await;
        match &sent {
            Ok(()) if whole => transfers.download_ended(),
            Err(_) if link.progress.bytes() > 0 => {
                transfers.download_broke(sending.opened.info());
            }
            _ => {}
        }
        sent
    }
}

impl FileSource {
    async fn open(
        self,
        path: &VirtualPath,
        budget: &Budget,
        wait: Duration,
    ) -> Result<Opened, TransferError> {
        match self {
            FileSource::Known(whole, info) => Ok(Opened::Known {
                bytes: Some(whole.bytes),
                info,
                _grant: whole.grant,
            }),
            FileSource::Store(location, offset, stop, verify, reported) => {
                let admission = budget.admit(wait).await.map_err(|_| ObjectError::Memory)?;
                let opened = Download::open_between(location, admission, offset, stop).await?;
                // The client may stop at the length of the other version.
                if reported.is_some_and(|reported| differ(&reported, opened.info())) {
                    return Err(Refusal::ReplacedAfterSize(path.clone()).into());
                }
                let mut download = Box::new(opened);
                if let Verify::Yes(known) = &verify {
                    let known = known.as_ref().map(|(etag, crc)| (etag.as_str(), *crc));
                    download.verify(known);
                }
                Ok(Opened::Store(download))
            }
        }
    }
}

/// Whether two answers are about different bytes. A GET of an empty object returns no ETag.
fn differ(one: &ObjectInfo, other: &ObjectInfo) -> bool {
    one.size != other.size || (one.size > 0 && one.etag != other.etag)
}

/// An open source.
enum Opened {
    Store(Box<Download>),
    Known {
        bytes: Option<Bytes>,
        info: Box<ObjectInfo>,
        _grant: Option<Grant>,
    },
}

impl Opened {
    fn size(&self) -> u64 {
        match self {
            Opened::Store(download) => download.remaining(),
            Opened::Known { bytes, .. } => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
        }
    }

    /// The version that is sent.
    fn info(&self) -> &ObjectInfo {
        match self {
            Opened::Store(download) => download.info(),
            Opened::Known { info, .. } => info,
        }
    }
}

/// The bytes of a file as they go out on the data connection.
struct FileBytes {
    opened: Opened,
    /// Converts line ends.
    filter: Option<ToWire>,
}

impl Outgoing for FileBytes {
    async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        let chunk = match &mut self.opened {
            Opened::Store(download) => download.next().await?,
            Opened::Known { bytes, .. } => bytes.take(),
        };
        Ok(match &mut self.filter {
            Some(filter) => chunk.map(|chunk| filter.convert(chunk)),
            None => chunk,
        })
    }

    fn relieve(&mut self) {
        if let Opened::Store(download) = &mut self.opened {
            download.relieve(Instant::now());
        }
    }
}
