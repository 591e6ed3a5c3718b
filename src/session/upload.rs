//! STOR, STOU, APPE (RFC 959, 4.1.3; 1123, 4.1.2.9): data connection → [`Upload`].

use bytes::{Bytes, BytesMut};

use crate::data::ascii::FromWire;
use crate::data::stream::DataStream;
use crate::memory::Budget;
use crate::namespace::{Mount, Permission, Place, VirtualPath};
use crate::object::{
    AppendTo, Condition, Location, ObjectError, ObjectInfo, TransferId, Upload, UploadOptions, head,
};
use crate::protocol::Reply;
use crate::protocol::command::TransferType;

use super::control::ControlError;
use super::data_setup::DataSetup;
use super::transfer::{End, Failure, Label, Link, Signal};
use super::{Flow, Session, replies, require};

/// How much is read at once where bytes are converted on their way.
const CONVERT_CHUNK: usize = 64 * 1024;

/// What the client wants done with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// STOR.
    Replace,
    /// REST n, STOR.
    From(u64),
    /// APPE.
    Append,
}

/// An upload, ready to run.
struct Job {
    path: VirtualPath,
    location: Location,
    options: UploadOptions,
    data: DataSetup,
    budget: Budget,
    timeouts: crate::config::Timeouts,
    /// See [`crate::config::TransferConfig::part_size`].
    part_size: u64,
    convert: bool,
    opening: String,
}

impl Session {
    pub(super) async fn store(&mut self, argument: &str) -> Result<Flow, ControlError> {
        let mode = if self.restart > 0 {
            Mode::From(self.restart)
        } else {
            Mode::Replace
        };
        self.upload(argument, mode, "STOR").await
    }

    pub(super) async fn append(&mut self, argument: &str) -> Result<Flow, ControlError> {
        self.upload(argument, Mode::Append, "APPE").await
    }

    async fn upload(
        &mut self,
        argument: &str,
        mode: Mode,
        verb: &'static str,
    ) -> Result<Flow, ControlError> {
        let prepared = self.prepare_upload(argument, mode).await;
        self.run_upload(prepared, verb).await
    }

    /// STOU (RFC 1123, 4.1.2.9): a name nobody has, told in the 150.
    pub(super) async fn store_unique(
        &mut self,
        argument: Option<&str>,
    ) -> Result<Flow, ControlError> {
        let prepared = self.prepare_unique(argument);
        self.run_upload(prepared, "STOU").await
    }

    async fn run_upload(
        &mut self,
        prepared: Result<Job, Reply>,
        verb: &'static str,
    ) -> Result<Flow, ControlError> {
        let job = match prepared {
            Ok(job) => job,
            Err(reply) => return self.refuse_transfer(&reply).await,
        };
        let label = Label {
            id: job.options.id.clone(),
            verb,
            path: job.path.clone(),
            location: Some(job.location.clone()),
        };
        self.run_transfer(label, |link| job.run(link)).await
    }

    /// All that can be refused before the data connection is opened. Nothing is written.
    async fn prepare_upload(&mut self, argument: &str, mode: Mode) -> Result<Job, Reply> {
        let (path, place) = self.place(argument)?;
        require(&path, &place, Permission::Write)?;
        let (mount, location) = file_at(&path, &place)?;
        // A file of that name would lie beside the directory that is meant, or be hidden by the way to a mount.
        if names_directory(argument) || self.user()?.namespace.holds_mount(&path) {
            return Err(Reply::new(550, format!("{path}: is a directory")));
        }
        let convert = self.converts(&mount);
        if convert && matches!(mode, Mode::From(_)) {
            return Err(Reply::new(
                504,
                "REST is not possible in TYPE A here, use TYPE I",
            ));
        }
        let mut condition = Condition::None;
        let mut append = None;
        let overwrite = place.allows(Permission::Overwrite);
        match mode {
            Mode::Replace if overwrite => {}
            Mode::Replace => {
                // Asked before, so that nobody sends a gigabyte for a refusal; and made a condition, so that of two at
                // once only one wins.
                condition = Condition::IfAbsent;
                if existing(&path, &location).await?.is_some() {
                    return Err(replies::forbidden(&path, Permission::Overwrite));
                }
            }
            Mode::From(offset) => match existing(&path, &location).await? {
                Some(info) if offset <= info.size => {
                    require(&path, &place, Permission::Append)?;
                    if offset < info.size {
                        require(&path, &place, Permission::Overwrite)?;
                    }
                    append = Some(AppendTo { info, keep: offset });
                }
                found => {
                    let end = found.map_or(0, |info| info.size);
                    return Err(Reply::new(
                        554,
                        format!("{path}: the offset is beyond the end, use REST {end} or less"),
                    ));
                }
            },
            Mode::Append => match existing(&path, &location).await? {
                Some(info) => {
                    require(&path, &place, Permission::Append)?;
                    let keep = info.size;
                    append = Some(AppendTo { info, keep });
                }
                None => condition = Condition::IfAbsent,
            },
        }
        self.job(path, location, condition, append, convert)
    }

    /// The name holds the transfer's own id, so nobody has it; the condition makes sure.
    fn prepare_unique(&mut self, argument: Option<&str>) -> Result<Job, Reply> {
        let id = TransferId::generate();
        let (path, place) = self.place(&format!("{}.{id}", argument.unwrap_or("stou")))?;
        require(&path, &place, Permission::Write)?;
        let (mount, location) = file_at(&path, &place)?;
        let convert = self.converts(&mount);
        let mut job = self.job(path, location, Condition::IfAbsent, None, convert)?;
        job.opening = format!("FILE: {}", job.path.name().unwrap_or_default());
        job.options.id = id;
        Ok(job)
    }

    fn job(
        &mut self,
        path: VirtualPath,
        location: Location,
        condition: Condition,
        append: Option<AppendTo>,
        convert: bool,
    ) -> Result<Job, Reply> {
        let data = self.take_data()?;
        let kept = append.as_ref().map_or(0, |append| append.keep);
        let opening = match &append {
            Some(_) => format!("Ready for {path} from byte {kept}"),
            None => format!("Ready for {path}"),
        };
        Ok(Job {
            path,
            location,
            options: UploadOptions {
                id: TransferId::generate(),
                condition,
                append,
                metadata: Vec::new(),
            },
            data,
            budget: self.gateway.budget.clone(),
            timeouts: self.gateway.config.timeouts.clone(),
            part_size: self.gateway.config.transfer.part_size,
            convert,
            opening,
        })
    }

    /// Whether line ends are converted in a mount, as TYPE now is.
    pub(super) fn converts(&self, mount: &Mount) -> bool {
        mount.ascii_convert && self.transfer_type == TransferType::Ascii
    }
}

impl Job {
    async fn run(self, link: Link) -> End {
        let abort = link.abort.clone();
        tokio::select! {
            biased;
            end = self.transfer(link) => end,
            // The upload is dropped here, which abandons it: nothing becomes visible. An upload that has its permit
            // is never aborted (see transfer.rs).
            () = abort.cancelled() => End::Aborted,
        }
    }

    async fn transfer(self, link: Link) -> End {
        let path = self.path.clone();
        match self.receive(link).await {
            Ok(text) => End::Finished(text),
            Err(Failure::Object(ObjectError::Conflict)) => {
                End::Failed(Failure::Refused(Reply::new(
                    550,
                    format!("{path}: somebody else has written it meanwhile, it was left as it is"),
                )))
            }
            Err(failure) => End::Failed(failure),
        }
    }

    async fn receive(mut self, link: Link) -> Result<String, Failure> {
        let timeouts = &self.timeouts;
        let admission = self
            .budget
            .admit(timeouts.data_connect)
            .await
            .map_err(|_| ObjectError::Memory)?;
        let kept = self.options.append.as_ref().map_or(0, |append| append.keep);
        let (mut upload, mut stream) = tokio::try_join!(
            async {
                Ok::<_, Failure>(
                    Upload::begin(self.location.clone(), admission, self.options.clone()).await?,
                )
            },
            async { Ok(self.data.open(timeouts.data_connect).await?) },
        )?;
        link.signal(Signal::Preliminary(Reply::new(150, self.opening)));
        let pump = Pump {
            budget: &self.budget,
            stall: timeouts.data_stall,
            link: &link,
        };
        if self.convert {
            pump.convert(&mut stream, &mut upload).await?;
        } else {
            pump.copy(&mut stream, &mut upload).await?;
        }
        link.signal(Signal::InputEnded {
            large: upload.received() > self.part_size,
        });
        upload.seal().await?;
        let received = upload.received();
        // A session that drops the permit has gone, and the transfer with it.
        link.permit
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionAborted))?;
        upload.publish().await?;
        Ok(if kept > 0 {
            format!("Transfer complete, {received} bytes stored behind {kept}")
        } else {
            format!("Transfer complete, {received} bytes stored")
        })
    }
}

/// Moves the client's bytes into an upload.
struct Pump<'a> {
    budget: &'a Budget,
    stall: std::time::Duration,
    link: &'a Link,
}

impl Pump<'_> {
    async fn copy(&self, stream: &mut DataStream, upload: &mut Upload) -> Result<(), Failure> {
        let mut failure = upload.failure();
        loop {
            let space = upload.space().await?;
            let read = tokio::select! {
                read = self.read(stream, space) => read?,
                error = failure.wait() => return Err(error.into()),
            };
            if read == 0 {
                return Ok(());
            }
            self.link.progress.add(read);
        }
    }

    async fn convert(&self, stream: &mut DataStream, upload: &mut Upload) -> Result<(), Failure> {
        let mut failure = upload.failure();
        let mut filter = FromWire::default();
        loop {
            let mut buffer = BytesMut::with_capacity(CONVERT_CHUNK);
            let read = tokio::select! {
                read = self.read(stream, &mut buffer) => read?,
                error = failure.wait() => return Err(error.into()),
            };
            let converted: Bytes = if read == 0 {
                filter.finish()
            } else {
                filter.convert(buffer.freeze())
            };
            upload.write(converted).await?;
            if read == 0 {
                return Ok(());
            }
            self.link.progress.add(read);
        }
    }

    /// Reads, unless nothing comes for the stall time; sooner where others wait for the memory it holds.
    async fn read(&self, stream: &mut DataStream, space: &mut BytesMut) -> Result<usize, Failure> {
        super::download::with_stall(self.budget, self.stall, stream.read_into(space)).await
    }
}

/// The mount and object a path names; refused where it can be no file.
pub(super) fn file_at(
    path: &VirtualPath,
    place: &Place,
) -> Result<(std::sync::Arc<Mount>, Location), Reply> {
    match (place, place.object()) {
        (Place::Mounted { mount, .. }, Some(location)) => Ok((mount.clone(), location)),
        (Place::Nowhere(_), _) => Err(replies::not_found(path)),
        _ => Err(Reply::new(550, format!("{path}: is a directory"))),
    }
}

/// Whether an argument can only mean a directory: `in/`, `.`, `in/..`.
fn names_directory(argument: &str) -> bool {
    matches!(argument.rsplit('/').next(), Some("" | "." | ".."))
}

/// HEAD, where "not there" is an answer.
pub(super) async fn existing(
    path: &VirtualPath,
    location: &Location,
) -> Result<Option<ObjectInfo>, Reply> {
    match head(location).await {
        Ok(info) => Ok(Some(info)),
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(replies::object_error(path, &error)),
    }
}
