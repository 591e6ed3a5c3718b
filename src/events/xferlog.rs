//! [`TransferLog`]: uploads, downloads and deletes in wu-ftpd's format, for the scripts that read
//! it.
//!
//! ```text
//! take ── Event ──▶ bounded queue ──▶ thread ── line ──▶ file, or standard output
//! ```
//!
//! A disk or a pipe that does not take the lines delays only the thread: if the queue is full, by
//! its events or their bytes, lines are lost, and the log says so once a minute. The server goes on.

mod line;
mod output;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, iter};

use jiff::tz::TimeZone;

use crate::events::options::TransferLogPlace;
use crate::events::{Event, EventSink};

use output::Output;

/// The number of events that may wait for the thread.
const QUEUE: usize = 4096;

/// The most bytes of them: room for this number of usual length.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// The number of lines that are written at once.
const BATCH: usize = 256;

/// How often lost lines are reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// How long [`TransferLog::stop`] waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The transfer log. Its thread ends when it is stopped or dropped.
#[derive(Debug)]
pub struct TransferLog {
    jobs: Mutex<Option<SyncSender<Job>>>,
    /// The bytes of the events that wait.
    waiting: Arc<AtomicUsize>,
    losses: Arc<Losses>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The transfer log can't be written.
#[derive(Debug, thiserror::Error)]
#[error("log.xferlog: can't write to {path}: {source}")]
pub struct TransferLogError {
    path: String,
    source: io::Error,
}

#[derive(Debug)]
enum Job {
    Write(Arc<Event>),
    /// The file may have been moved away.
    Reopen,
}

impl TransferLog {
    /// Opens the file, and starts the thread that writes to it.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn start(place: &TransferLogPlace) -> Result<Arc<TransferLog>, TransferLogError> {
        let failed = |source| TransferLogError {
            path: match place {
                TransferLogPlace::Stdout => "standard output".to_owned(),
                TransferLogPlace::File(path) => path.display().to_string(),
            },
            source,
        };
        let output = Output::open(place).map_err(failed)?;
        let losses = Arc::<Losses>::default();
        let waiting = Arc::<AtomicUsize>::default();
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("xferlog".to_owned())
            .spawn({
                let (losses, waiting) = (Arc::clone(&losses), Arc::clone(&waiting));
                move || write(&queue, &waiting, output, &losses)
            })
            .map_err(failed)?;
        Ok(Arc::new(TransferLog {
            jobs: Mutex::new(Some(jobs)),
            waiting,
            losses,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Opens the file anew (SIGHUP). A file that was moved or removed is noticed without it, at the
    /// next line.
    pub fn reopen(&self) {
        if let Some(jobs) = &*lock(&self.jobs) {
            // If the queue is full, the next line notices it.
            let _ = jobs.try_send(Job::Reopen);
        }
    }

    /// Takes no more events, and waits until the others are written.
    pub async fn stop(&self) {
        drop(lock(&self.jobs).take());
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(LAST_LINES, joined).await.is_err() {
            tracing::error!("the end of the transfer log could not be written");
        }
    }

    /// Hands an event to the thread, unless the queue is full. After the stop nothing is lost.
    fn queue(&self, event: &Arc<Event>) -> bool {
        let jobs = lock(&self.jobs);
        let Some(jobs) = &*jobs else {
            return true;
        };
        let bytes = event.memory();
        // The number stands for itself: nothing else is read by it.
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before + bytes <= QUEUE_BYTES;
        let sent = fits && jobs.try_send(Job::Write(Arc::clone(event))).is_ok();
        if !sent {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }
}

impl EventSink for TransferLog {
    fn take(&self, event: &Arc<Event>) {
        if line::is_wanted(event) && !self.queue(event) {
            self.losses
                .add(1, &"its file does not take lines fast enough");
        }
    }
}

/// The thread.
fn write(queue: &Receiver<Job>, waiting: &AtomicUsize, mut output: Output, losses: &Losses) {
    let zone = TimeZone::system();
    let mut text = String::new();
    while let Ok(first) = queue.recv() {
        text.clear();
        for job in iter::once(first).chain(queue.try_iter().take(BATCH)) {
            match job {
                Job::Write(event) => {
                    waiting.fetch_sub(event.memory(), Ordering::Relaxed);
                    line::append(&mut text, &event, &zone);
                }
                Job::Reopen => output.reopen(),
            }
        }
        match output.write(&text) {
            Ok(()) => losses.report_rest(REPORT_EVERY),
            Err(failure) => losses.add(failure.lines, &failure.error),
        }
    }
    losses.report_rest(Duration::ZERO);
}

/// Lines that could not be written.
#[derive(Debug, Default)]
struct Losses(Mutex<Lost>);

#[derive(Debug, Default)]
struct Lost {
    /// Those that the log does not yet report.
    lines: u64,
    reported: Option<Instant>,
}

impl Losses {
    fn add(&self, lines: u64, error: &dyn std::fmt::Display) {
        let mut lost = lock(&self.0);
        lost.lines += lines;
        if lost.may_report(REPORT_EVERY) {
            let lines = lost.report();
            drop(lost);
            tracing::error!(lines, %error, "lines of the transfer log are lost");
        }
    }

    /// Reports those that came after the last report, if that was `after` ago.
    fn report_rest(&self, after: Duration) {
        let mut lost = lock(&self.0);
        if lost.lines > 0 && lost.may_report(after) {
            let lines = lost.report();
            drop(lost);
            tracing::error!(lines, "more lines of the transfer log were lost");
        }
    }
}

impl Lost {
    fn may_report(&self, after: Duration) -> bool {
        self.reported.is_none_or(|at| at.elapsed() >= after)
    }

    fn report(&mut self) -> u64 {
        self.reported = Some(Instant::now());
        std::mem::take(&mut self.lines)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each value is right between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::events::{Direction, Kind, Level};

    fn upload(path: &str) -> Arc<Event> {
        let mut event = Event::new(Kind::Transfer, Level::Info);
        event.direction = Some(Direction::In);
        event.path = Some(path.into());
        Arc::new(event)
    }

    fn at(path: &Path) -> Arc<TransferLog> {
        TransferLog::start(&TransferLogPlace::File(path.to_owned())).unwrap()
    }

    /// Waits until a file has this number of lines.
    async fn lines(path: &Path, number: usize) -> String {
        let come = async {
            loop {
                let text = fs::read_to_string(path).unwrap_or_default();
                if text.lines().count() == number {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let what = || panic!("{number} lines in {}", path.display());
        let come = tokio::time::timeout(Duration::from_secs(30), come).await;
        come.unwrap_or_else(|_| what())
    }

    #[tokio::test]
    async fn lines_are_added_to_the_file_and_all_are_there_after_the_stop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xferlog");
        fs::write(&path, "an older line\n").unwrap();
        let log = at(&path);
        for number in 0..1000 {
            log.take(&upload(&format!("/{number}")));
        }
        log.stop().await;
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1001);
        assert!(text.starts_with("an older line\n"), "{text}");
        assert!(text.contains(" /999 b _ i "), "{text}");
        // After the stop it takes nothing.
        log.take(&upload("/late"));
        log.reopen();
        log.stop().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_gets_a_successor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xferlog");
        let moved = directory.path().join("xferlog.1");
        let log = at(&path);
        log.take(&upload("/one"));
        lines(&path, 1).await;
        fs::rename(&path, &moved).unwrap();
        log.take(&upload("/two"));
        assert!(lines(&path, 1).await.contains("/two"));
        // SIGHUP makes the new file at once.
        fs::rename(&path, &moved).unwrap();
        log.reopen();
        lines(&path, 0).await;
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        fs::remove_file(&path).unwrap();
        log.take(&upload("/three"));
        log.stop().await;
        assert!(fs::read_to_string(&path).unwrap().contains("/three"));
        assert!(fs::read_to_string(&moved).unwrap().contains("/two"));
    }

    #[tokio::test]
    async fn a_file_that_was_cut_goes_on_at_its_new_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xferlog");
        let log = at(&path);
        log.take(&upload("/one"));
        lines(&path, 1).await;
        fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        log.take(&upload("/two"));
        log.stop().await;
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("/two") && !text.contains('\0'), "{text:?}");
    }

    #[test]
    fn long_names_wait_in_a_bounded_memory() {
        // Without the thread nothing leaves the queue.
        let (jobs, queue) = sync_channel(QUEUE);
        let log = TransferLog {
            jobs: Mutex::new(Some(jobs)),
            waiting: Arc::default(),
            losses: Arc::default(),
            thread: Mutex::default(),
        };
        let long = upload(&"x".repeat(4000));
        for _ in 0..QUEUE {
            log.take(&long);
        }
        let taken = queue.try_iter().count();
        assert_eq!(taken, QUEUE_BYTES / long.memory());
        assert_eq!(log.waiting.load(Ordering::Relaxed), taken * long.memory());
        // The first loss was logged at once.
        let lost = lock(&log.losses.0).lines + 1;
        assert_eq!(lost, (QUEUE - taken) as u64);
    }

    #[tokio::test]
    async fn what_is_written_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xferlog");
        let log = at(&path);
        let long = "x".repeat(QUEUE_BYTES / 2);
        // More than twice what the queue holds; the second half of a pair waits for no other.
        for number in 0..5 {
            log.take(&upload(&format!("/{number}{long}")));
            lines(&path, number + 1).await;
        }
        log.stop().await;
        assert_eq!(log.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(lock(&log.losses.0).reported, None);
    }

    #[test]
    fn a_file_that_can_t_be_opened_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none/xferlog");
        let error = TransferLog::start(&TransferLogPlace::File(path)).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("log.xferlog: can't write to "), "{shown}");
        assert!(shown.contains("No such file"), "{shown}");
    }

    #[tokio::test]
    async fn a_file_that_takes_nothing_loses_lines_and_delays_no_event() {
        // /dev/full answers each write with ENOSPC.
        let log = at(Path::new("/dev/full"));
        for number in 0..10_000 {
            log.take(&upload(&format!("/{number}")));
        }
        let lost = lock(&log.losses.0).reported.is_some();
        log.stop().await;
        assert!(lost || lock(&log.losses.0).reported.is_some());
        assert_eq!(lock(&log.losses.0).lines, 0);
    }

    #[test]
    fn losses_are_reported_once_a_minute() {
        let losses = Losses::default();
        losses.add(1, &"x");
        assert_eq!(lock(&losses.0).lines, 0);
        losses.add(2, &"x");
        losses.add(3, &"x");
        losses.report_rest(REPORT_EVERY);
        assert_eq!(lock(&losses.0).lines, 5);
        lock(&losses.0).reported = Instant::now().checked_sub(REPORT_EVERY);
        losses.report_rest(REPORT_EVERY);
        assert_eq!(lock(&losses.0).lines, 0);
    }
}
