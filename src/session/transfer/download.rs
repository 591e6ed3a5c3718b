//! RETR (RFC 959, 4.1.3; REST: RFC 3659, 5): [`Download`] → data connection.

use bytes::Bytes;
use tokio::time::Instant;

use crate::data::ascii::ToWire;
use crate::data::linger::Lingering;
use crate::memory::{Budget, Grant};
use crate::namespace::{Permission, VirtualPath};
use crate::object::{Download, Location, ObjectError, ObjectInfo, TransferId};
use crate::session::options::Timeouts;
use ftp_proto::Reply;

use crate::session::broken::UserTransfers;
use crate::session::control::ControlError;
use crate::session::data_setup::DataSetup;
use crate::session::last_file::Whole;
use crate::session::replies::check_offset;
use crate::session::resolve::{file_at, require};
use crate::session::state::{Flow, Session};
use crate::session::transfer::job::{ControlEnd, End, Label, Link, Signal, TransferError};
use crate::session::transfer::sink::Sink;

/// Where the bytes come from.
enum FileSource {
    /// The store, from this offset to before that, and whether and with what the whole is compared; of the version whose
    /// length SIZE has reported, if it has.
    Store(Location, u64, u64, Verify, Option<Box<ObjectInfo>>),
    /// SIZE had them all, of this version.
    Known(Whole, Box<ObjectInfo>),
}

/// Whether a download is compared with the object's checksum.
enum Verify {
    No,
    /// With what the GET says, else with what SIZE has said of the version with an ETag.
    Yes(Option<(String, u32)>),
}

/// A download, ready to run.
struct DownloadJob {
    path: VirtualPath,
    source: FileSource,
    /// Whether it is all of the file.
    whole: bool,
    /// After REST or RANG: what was fetched before is not sent.
    rest: bool,
    transfers: UserTransfers,
    data: DataSetup,
    budget: Budget,
    timeouts: Timeouts,
    lingering: Lingering,
    convert: bool,
}

impl Session {
    pub(in crate::session) async fn retrieve(
        &mut self,
        argument: &str,
    ) -> Result<Flow, ControlError> {
        let (job, location) = match self.prepare_retrieve(argument) {
            Ok(prepared) => prepared,
            Err(reply) => return self.refuse_transfer(reply.into()).await,
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

    fn prepare_retrieve(&mut self, argument: &str) -> Result<(DownloadJob, Location), Reply> {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Read)?;
        let (mount, location) = file_at(&path, &resolved)?;
        let convert = self.converts(&mount);
        let (offset, stop) = match self.range {
            Some((first, last)) => (first, last.saturating_add(1)),
            None => (self.restart, u64::MAX),
        };
        check_offset(&path, offset)?;
        if convert && (offset > 0 || stop < u64::MAX) {
            return Err(Reply::new(
                504,
                "REST and RANG are not possible in TYPE A here, use TYPE I",
            ));
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
        let data = self.take_data()?;
        let context = &self.context;
        let job = DownloadJob {
            path,
            source,
            whole: offset == 0 && stop == u64::MAX,
            rest: offset > 0,
            transfers,
            data,
            budget: context.budget.clone(),
            timeouts: context.options.timeouts.clone(),
            lingering: context.lingering.clone(),
            convert,
        };
        Ok((job, location))
    }
}

impl DownloadJob {
    async fn run(self, link: Link) -> End {
        match self.transfer(&link).await {
            Ok(()) => End::Finished(format!(
                "Transfer complete, {} bytes sent",
                link.progress.bytes()
            )),
            Err(None) => End::Aborted,
            Err(Some(failure)) => End::Failed(failure),
        }
    }

    /// `Err(None)`: aborted.
    async fn transfer(self, link: &Link) -> Result<(), Option<TransferError>> {
        let DownloadJob {
            path,
            source,
            whole,
            rest,
            transfers,
            mut data,
            budget,
            timeouts,
            lingering,
            convert,
        } = self;
        let open = async {
            let source = match source {
                FileSource::Known(whole, info) => Opened::Known {
                    bytes: Some(whole.bytes),
                    info,
                    _grant: whole.grant,
                },
                FileSource::Store(location, offset, stop, verify, reported) => {
                    let admission = budget
                        .admit(timeouts.data_connect)
                        .await
                        .map_err(|_| ObjectError::Memory)?;
                    let opened = Download::open_between(location, admission, offset, stop).await?;
                    // The client may stop at the length of the other.
                    if reported.is_some_and(|reported| differ(&reported, opened.info())) {
                        return Err(TransferError::Refused(Reply::new(
                            450,
                            format!(
                                "{path}: the file was replaced after SIZE had reported its length, try again"
                            ),
                        )));
                    }
                    let mut download = Box::new(opened);
                    if let Verify::Yes(known) = &verify {
                        let known = known.as_ref().map(|(etag, crc)| (etag.as_str(), *crc));
                        download.verify(known);
                    }
                    Opened::Store(download)
                }
            };
            if rest && transfers.download_broke_in_another(source.info()) {
                return Err(TransferError::Refused(Reply::new(
                    550,
                    format!(
                        "{path}: the file was replaced after a download of it had broken off, fetch it from its beginning"
                    ),
                )));
            }
            Ok::<_, TransferError>(source)
        };
        // The store and the client at the same time; a missing file is told without waiting for a data connection.
        let opening = |source: &Opened| format!("Sending {path} ({} bytes)", source.size());
        let opened = link.open(&mut data, timeouts.data_connect, open, opening);
        let (mut source, arrival) = tokio::select! {
            biased;
            () = link.abort.cancelled() => return Err(None),
            opened = opened => match opened {
                Ok(opened) => opened,
                Err(failure) => {
                    link.signal(Signal::Unused(data));
                    return Err(Some(failure));
                }
            },
        };
        let stream = tokio::select! {
            biased;
            () = link.abort.cancelled() => return Err(None),
            secured = arrival.stream() => secured.map_err(|error| Some(error.into()))?,
        };
        let mut sink = Sink {
            stream,
            budget: &budget,
            stall: timeouts.data_stall,
            link,
        };
        let mut filter = convert.then(ToWire::default);
        let sending = async {
            while let Some(chunk) = source.next().await? {
                let chunk = match &mut filter {
                    Some(filter) => filter.convert(chunk),
                    None => chunk,
                };
                sink.send_beside(chunk, || source.relieve()).await?;
            }
            Ok::<_, TransferError>(())
        };
        let sent = tokio::select! {
            biased;
            () = link.abort.cancelled() => Err(None),
            sent = sending => sent.map_err(Some),
        };
        let closed = sink.close(&lingering, sent).await;
        match &closed {
            Ok(()) if whole => transfers.download_ended(),
            Err(_) if link.progress.bytes() > 0 => transfers.download_broke(source.info()),
            _ => {}
        }
        closed
    }
}

/// Whether two looks at an object have seen different bytes. Stores report no ETag of an empty object to a GET.
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

    /// The version that is read.
    fn info(&self) -> &ObjectInfo {
        match self {
            Opened::Store(download) => download.info(),
            Opened::Known { info, .. } => info,
        }
    }

    /// See [`Download::relieve`].
    fn relieve(&mut self) {
        if let Opened::Store(download) = self {
            download.relieve(Instant::now());
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        match self {
            Opened::Store(download) => download.next().await,
            Opened::Known { bytes, .. } => Ok(bytes.take()),
        }
    }
}
