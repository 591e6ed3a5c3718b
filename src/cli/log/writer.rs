//! [`LogWriter`]: lines of the log → standard error, on a thread of its own.
//!
//! ```text
//! tracing, on any thread ── line ──▶ bounded queue ──▶ thread ──▶ standard error
//! ```
//!
//! A pipe that no process reads delays only the thread. If the queue is full, lines are lost. Their
//! number is a metric, and the log reports it when standard error takes lines again.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes that wait for the thread.
const LARGEST_QUEUE: usize = 4 * 1024 * 1024;

/// What a full queue still takes of the messages that must not be lost, bytes.
const RESERVE: usize = 64 * 1024;

/// The most bytes of whole lines that are written at once. A pipe takes them undivided (PIPE_BUF),
/// so another process that writes to it tears no line.
const AT_ONCE: usize = 4096;

/// An empty buffer that is larger than this is given back, bytes.
const KEPT_BUFFER: usize = 64 * 1024;

/// How long the thread lets lines gather once the first has come. A thread that is woken for each
/// line costs a small transfer 4 to 8 % more CPU time (benches/RESULTS.md).
const GATHERING: Duration = Duration::from_millis(20);

/// As many bytes wait for no more.
const GATHERED: usize = 64 * 1024;

/// The pause before a write is repeated that standard error, not blocking, did not take.
const PAUSE: Duration = Duration::from_millis(10);

/// Writes lines without making their senders wait. Clones have one queue.
#[derive(Debug, Clone)]
pub(in crate::cli) struct LogWriter(Arc<LineQueue>);

#[derive(Debug, Default)]
struct LineQueue {
    state: Mutex<QueueState>,
    /// Notified if the first line has come, or no more are to be waited for.
    came: Condvar,
    /// Notified if all lines have been written.
    written: Condvar,
    /// The lines that were lost.
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whole lines that wait.
    waiting: Vec<u8>,
    /// The bytes that the thread has taken and not yet written.
    taken: usize,
    /// Whether the thread is at work.
    busy: bool,
    /// Whether the thread waits for the first line.
    asleep: bool,
    /// Whether somebody waits until the lines are written.
    hurried: bool,
    /// The lost lines that the log does not yet report.
    unreported: u64,
}

impl LogWriter {
    /// Starts the thread, which lives as long as the process.
    ///
    /// # Errors
    /// The system has no thread.
    pub(in crate::cli) fn start(to: impl Write + Send + 'static) -> io::Result<LogWriter> {
        let queue = Arc::<LineQueue>::default();
        let writer = LogWriter(Arc::clone(&queue));
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(&queue, to))?;
        Ok(writer)
    }

    /// Writes a message that must not be lost, such as the reason why the process ends: a full queue
    /// has room for it.
    pub(in crate::cli) fn write_last_words(&self, text: &str) {
        self.0.push(text.as_bytes(), LARGEST_QUEUE + RESERVE);
        self.0.hurry(&mut self.0.state());
    }

    /// Waits until all lines are written, for this time at most; whether they are.
    pub(in crate::cli) fn flush(&self, time: Duration) -> bool {
        let mut state = self.0.state();
        self.0.hurry(&mut state);
        let unwritten = |state: &mut QueueState| !state.is_idle();
        let (state, _) = self
            .0
            .written
            .wait_timeout_while(state, time, unwritten)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_idle()
    }

    /// The number of lines that were lost, which grows.
    pub(in crate::cli) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.lost)
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        self.clone()
    }
}

/// Takes a whole line with each write.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line, LARGEST_QUEUE);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LineQueue {
    /// Adds whole lines, or counts them as lost if there would be more than this number of bytes.
    fn push(&self, lines: &[u8], largest: usize) {
        let mut state = self.state();
        if state.waiting.len() + state.taken + lines.len() > largest {
            self.lose(&mut state, lines);
            return;
        }
        let few = state.waiting.len() < GATHERED;
        state.waiting.extend_from_slice(lines);
        let wakes = state.asleep || few && state.waiting.len() >= GATHERED;
        state.asleep = false;
        drop(state);
        if wakes {
            self.came.notify_one();
        }
    }

    /// Lets the thread write at once what has come.
    fn hurry(&self, state: &mut QueueState) {
        state.hurried = true;
        self.came.notify_one();
    }

    /// Waits for lines, and takes them.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut state = self.state();
        state.busy = false;
        if state.is_idle() {
            self.written.notify_all();
        }
        state.asleep = state.waiting.is_empty();
        let state = self
            .came
            .wait_while(state, |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let gathers = |state: &mut QueueState| !state.hurried && state.waiting.len() < GATHERED;
        let (mut state, _) = self
            .came
            .wait_timeout_while(state, GATHERING, gathers)
            .unwrap_or_else(PoisonError::into_inner);
        state.hurried = false;
        std::mem::swap(&mut state.waiting, batch);
        state.taken = batch.len();
        state.busy = true;
    }

    /// Notes how the write of lines has ended. Returns the number of lost lines that the log is to
    /// report now.
    fn note(&self, lines: &[u8], written: io::Result<()>) -> u64 {
        let mut state = self.state();
        state.taken -= lines.len();
        match written {
            Ok(()) => std::mem::take(&mut state.unreported),
            Err(_) => {
                self.lose(&mut state, lines);
                0
            }
        }
    }

    fn lose(&self, state: &mut QueueState, lines: &[u8]) {
        let number = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.lost.fetch_add(number, Ordering::Relaxed);
        state.unreported += number;
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // It is right between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn is_idle(&self) -> bool {
        !self.busy && self.waiting.is_empty()
    }
}

/// The thread.
fn run(queue: &LineQueue, mut to: impl Write) {
    let mut batch = Vec::new();
    let mut torn = false;
    loop {
        batch.clear();
        batch.shrink_to(KEPT_BUFFER);
        queue.take(&mut batch);
        let mut rest = &*batch;
        while !rest.is_empty() {
            let (lines, later) = rest.split_at(whole_lines(rest));
            rest = later;
            let written = write(&mut to, lines, &mut torn);
            let lost = queue.note(lines, written);
            if lost > 0 {
                tracing::error!(
                    lines = lost,
                    "lines of the log were lost: standard error did not take them"
                );
            }
        }
    }
}

/// The length of the lines at the begin of a text that are written at once.
fn whole_lines(text: &[u8]) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let first = &text[..text.len().min(AT_ONCE)];
    match first.iter().rposition(is_end) {
        Some(end) => end + 1,
        None => text
            .iter()
            .position(is_end)
            .map_or(text.len(), |end| end + 1),
    }
}

/// Writes lines. `torn`: whether the last write ended in the middle of a line.
fn write(to: &mut impl Write, lines: &[u8], torn: &mut bool) -> io::Result<()> {
    if *torn {
        write_all(to, b"\n", &mut false)?;
        *torn = false;
    }
    write_all(to, lines, torn)
}

fn write_all(to: &mut impl Write, text: &[u8], torn: &mut bool) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                *torn = rest[bytes - 1] != b'\n';
                rest = &rest[bytes..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// An output whose reader is the test. Each write waits for what becomes of it.
    struct Piped {
        answers: Receiver<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Piped {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            // After the test's end, all is taken.
            let bytes = self.answers.recv().unwrap_or(Ok(usize::MAX))?;
            let bytes = bytes.min(text.len());
            self.written
                .lock()
                .unwrap()
                .extend_from_slice(&text[..bytes]);
            Ok(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<u8>>>;

    fn piped() -> (LogWriter, Sender<io::Result<usize>>, Written) {
        let (answer, answers) = channel();
        let written = Written::default();
        let piped = Piped {
            answers,
            written: Arc::clone(&written),
        };
        (LogWriter::start(piped).unwrap(), answer, written)
    }

    fn lost(log: &LogWriter) -> u64 {
        log.lost().load(Ordering::Relaxed)
    }

    fn text(written: &Written) -> String {
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_output_that_takes_nothing_delays_no_line_and_loses_only_what_exceeds_the_queue() {
        let (mut log, answer, written) = piped();
        let line = format!("{}\n", "x".repeat(1023));
        let fit = LARGEST_QUEUE / line.len();
        for _ in 0..fit + 3 {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lost(&log), 3);
        assert!(!LogWriter::flush(&log, Duration::ZERO));
        log.write_last_words("why the process ends\n");
        assert_eq!(lost(&log), 3);
        drop(answer);
        assert!(LogWriter::flush(&log, LONG));
        let all = text(&written);
        assert_eq!(all.lines().count(), fit + 1);
        assert!(all.ends_with("why the process ends\n"));
    }

    #[test]
    fn last_words_are_bounded_too() {
        let (log, _answer, _) = piped();
        let panic = format!("{}\n", "x".repeat(RESERVE));
        for _ in 0..=LARGEST_QUEUE / RESERVE + 2 {
            log.write_last_words(&panic);
        }
        assert!(lost(&log) > 0);
    }

    #[test]
    fn a_write_that_fails_loses_its_lines_and_the_next_line_begins_a_new_one() {
        let (mut log, answer, written) = piped();
        answer.send(Ok(3)).unwrap();
        answer.send(Err(ErrorKind::Interrupted.into())).unwrap();
        answer.send(Err(ErrorKind::WouldBlock.into())).unwrap();
        answer.send(Err(ErrorKind::StorageFull.into())).unwrap();
        log.write_all(b"torn\n").unwrap();
        assert!(LogWriter::flush(&log, LONG));
        assert_eq!((text(&written).as_str(), lost(&log)), ("tor", 1));
        answer.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        log.write_all(b"lost\n").unwrap();
        assert!(LogWriter::flush(&log, LONG));
        drop(answer);
        log.write_all(b"whole\n").unwrap();
        assert!(LogWriter::flush(&log, LONG));
        assert_eq!((text(&written).as_str(), lost(&log)), ("tor\nwhole\n", 2));
    }

    #[test]
    fn lines_are_written_whole() {
        assert_eq!(whole_lines(b"a\nb\n"), 4);
        let long = [b"a\n".to_vec(), vec![b'x'; AT_ONCE], b"\nb\n".to_vec()].concat();
        assert_eq!(whole_lines(&long), 2);
        assert_eq!(whole_lines(&long[2..]), AT_ONCE + 1);
    }
}
