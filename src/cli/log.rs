//! [`Log`]: the log of the process: which lines it has, and how they are written.
//!
//! ```text
//! tracing ──▶ Selection: is it an event, and does the filter have it? ──▶ LineForm ──▶ LogWriter
//! ```
//!
//! The command line decides, then `RUST_LOG`, then `[log]` of the configuration. The log begins
//! before the configuration is read, so [`Log::configure`] can change it later; and the filter can
//! be changed while the server runs.

mod form;
mod selection;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use clap::Args;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

#[cfg(feature = "otlp")]
use crate::cli::traces::{SpanSink, Traces, TracesError};
use crate::events::EventSink;
use crate::events::filter::{LogFilter, LogFilterError};
use crate::events::log::LogSink;
use crate::events::options::{LogFormat, LogOptions};
use crate::server::admin::status::LogSwitch;

use form::LineForm;
use selection::Selection;
use writer::LogWriter;

/// The variable that sets the filter if `--log` does not.
const VARIABLE: &str = "RUST_LOG";

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long a panic waits for its message: the process may be about to abort.
const PANIC: Duration = Duration::from_secs(1);

/// Writes to the standard error of the process, after [`Log::start`].
static STANDARD_ERROR: OnceLock<LogWriter> = OnceLock::new();

/// The log, on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArguments {
    /// How much is logged: off, error, warn, info, debug, trace, or directives such as
    /// s3ftpd=debug,info; default: RUST_LOG, else log.level of the configuration
    #[arg(long = "log", global = true, value_name = "LEVEL")]
    pub filter: Option<LogFilter>,
    /// How log lines are written, to standard error; default: log.format of the configuration
    #[arg(
        id = "log-format",
        long = "log-format",
        global = true,
        value_enum,
        value_name = "FORMAT"
    )]
    pub format: Option<LogFormat>,
}

/// The log of the process. Clones are the same log.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
    #[cfg(feature = "otlp")]
    traces: Option<Traces>,
}

#[derive(Debug)]
struct Shared {
    handle: reload::Handle<Selection, Registry>,
    json: Arc<AtomicBool>,
    /// What the configuration does not change.
    fixed: Fixed,
    current: Mutex<LogState>,
}

#[derive(Debug)]
struct Fixed {
    filter: bool,
    format: bool,
}

#[derive(Debug)]
struct LogState {
    filter: LogFilter,
    /// What the configuration said last.
    configured: LogFilter,
}

/// The log can't start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The variable `RUST_LOG` is wrong.
    #[error("{VARIABLE}: {0}")]
    Variable(#[from] LogFilterError),
    /// The system has no thread for the writer.
    #[error("the log's thread can't be started: {0}")]
    Thread(#[from] io::Error),
    /// Spans can't be exported.
    #[cfg(feature = "otlp")]
    #[error(transparent)]
    Traces(#[from] TracesError),
}

impl Log {
    /// Starts the log of the process, to standard error, so that standard output holds what a
    /// command prints and no more. Messages of panics take the same way. [`Log::finish`] must be
    /// called before the process ends.
    ///
    /// # Errors
    /// `RUST_LOG` counts, and is not a filter; the system has no thread; or traces are wanted and
    /// can't be exported.
    pub fn start(arguments: &LogArguments) -> Result<Log, LogError> {
        let variable = match (&arguments.filter, std::env::var(VARIABLE)) {
            (None, Ok(text)) if !text.trim().is_empty() => Some(text.parse::<LogFilter>()?),
            _ => None,
        };
        let given = LogArguments {
            filter: arguments.filter.clone().or(variable),
            format: arguments.format,
        };
        let colours = io::IsTerminal::is_terminal(&io::stderr());
        let writer = LogWriter::start(io::stderr())?;
        let writer = STANDARD_ERROR.get_or_init(|| writer);
        std::panic::set_hook(Box::new(|info| report_panic(writer, info)));
        let (log, layer) = Log::new(&given, colours, writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        #[cfg(feature = "otlp")]
        let (log, subscriber) = {
            let traces = Traces::start()?;
            let layer = traces.as_ref().map(Traces::layer);
            (Log { traces, ..log }, subscriber.with(layer))
        };
        subscriber.init();
        Ok(log)
    }

    /// A log, and what writes it.
    pub(super) fn new<W>(
        given: &LogArguments,
        colours: bool,
        writer: W,
    ) -> (Log, impl Layer<Registry> + Send + Sync + 'static)
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let filter = given.filter.clone().unwrap_or_default();
        let (shown, handle) = reload::Layer::new(Selection::new(&filter));
        let json = Arc::new(AtomicBool::new(given.format == Some(LogFormat::Json)));
        let layer = fmt::layer()
            .event_format(LineForm::new(Arc::clone(&json)))
            .fmt_fields(format::debug_fn(form::field).delimited(" "))
            .with_ansi(colours)
            // An error of writing the log would else be written to standard error, which is the
            // log, and panic.
            .log_internal_errors(false)
            .with_writer(writer)
            .with_filter(shown);
        let shared = Shared {
            handle,
            json,
            fixed: Fixed {
                filter: given.filter.is_some(),
                format: given.format.is_some(),
            },
            current: Mutex::new(LogState {
                filter,
                configured: LogFilter::default(),
            }),
        };
        let log = Log {
            shared: Arc::new(shared),
            #[cfg(feature = "otlp")]
            traces: None,
        };
        (log, layer)
    }

    /// What takes the events of a server for the log, and for traces.
    pub fn sinks(&self) -> Vec<Arc<dyn EventSink>> {
        vec![
            Arc::new(LogSink),
            #[cfg(feature = "otlp")]
            Arc::new(SpanSink),
        ]
    }

    /// The process ends: what is left of traces is exported, and the last lines are written.
    pub fn finish(&self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = &self.traces {
            traces.finish();
        }
        Log::flush();
    }

    /// Waits until all lines are written, for a few seconds at most.
    pub fn flush() {
        if let Some(writer) = STANDARD_ERROR.get() {
            // What standard error does not take in this time is lost.
            writer.flush(LAST_LINES);
        }
    }

    /// The filter now.
    pub fn filter(&self) -> String {
        self.current().filter.to_string()
    }

    /// Changes the filter, until the next change.
    ///
    /// # Errors
    /// The text is not a filter; the old one stays.
    pub fn set_filter(&self, text: &str) -> Result<(), LogFilterError> {
        let filter: LogFilter = text.parse()?;
        self.show(&mut self.current(), filter);
        Ok(())
    }

    /// Does what `[log]` says, unless the command line or `RUST_LOG` says otherwise. A filter that
    /// was set since stays if the configuration's has not changed.
    pub fn configure(&self, options: &LogOptions) {
        let mut current = self.current();
        if !self.shared.fixed.filter && options.filter != current.configured {
            current.configured = options.filter.clone();
            self.show(&mut current, options.filter.clone());
        }
        if !self.shared.fixed.format {
            let json = options.format == LogFormat::Json;
            self.shared.json.store(json, Ordering::Relaxed);
        }
    }

    fn show(&self, current: &mut LogState, filter: LogFilter) {
        // It fails only if the subscriber is gone, and with it the log.
        let _ = self.shared.handle.reload(Selection::new(&filter));
        current.filter = filter;
    }

    fn current(&self) -> MutexGuard<'_, LogState> {
        // A value is replaced as a whole.
        let current = self.shared.current.lock();
        current.unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogSwitch for Log {
    fn filter(&self) -> String {
        Log::filter(self)
    }

    fn set_filter(&self, filter: &str) -> Result<(), String> {
        Log::set_filter(self, filter).map_err(|error| error.to_string())
    }

    fn lost_lines(&self) -> Arc<AtomicU64> {
        STANDARD_ERROR
            .get()
            .map(LogWriter::lost)
            .unwrap_or_default()
    }
}

/// Prints the reason why the process ends to standard error, after all lines of the log.
pub(super) fn print_last_words(text: &str) {
    match STANDARD_ERROR.get() {
        Some(writer) => writer.write_last_words(&format!("{text}\n")),
        // If standard error is closed, the message is lost.
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Writes the message of a panic.
fn report_panic(writer: &LogWriter, info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let mut text = format!("thread '{name}' {info}\n");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("stack backtrace:\n{backtrace}"));
    }
    writer.write_last_words(&text);
    writer.flush(PANIC);
}

#[cfg(test)]
mod tests;
