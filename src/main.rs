//! The process and nothing else: arguments, runtime, log, signals, exit code.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use s3ftpd::cli::log::Log;
use s3ftpd::cli::{self, Cli};
use s3ftpd::server::capacity::descriptors;
use tikv_jemalloc_ctl::{Access, AsName};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second SIGINT has ended.
const GAVE_UP: i32 = 1;

/// A SIGINT within this time after the first one counts as the same: `timeout` signals the process
/// and then its whole group.
const ONE_SIGNAL: Duration = Duration::from_secs(1);

/// jemalloc returns memory some seconds after it was freed. glibc keeps the memory that its threads
/// have freed, which after a busy hour is several times the budget.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// mallctl's name of the arena of the calling thread.
const THREAD_ARENA: &str = "thread.arena\0";

fn main() -> ExitCode {
    let arguments = Cli::parse();
    let log = match Log::start(&arguments.log) {
        Ok(log) => log,
        Err(error) => Cli::command()
            .error(ErrorKind::ValueValidation, error)
            .exit(),
    };
    // Also after a panic.
    let _end = EndOfLog(&log);
    descriptors::raise();
    share_one_arena();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .on_thread_start(share_one_arena)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime can't be started");
            return ExitCode::FAILURE;
        }
    };
    let shutdown = CancellationToken::new();
    let reload = Arc::new(Notify::new());
    let code = runtime.block_on(async {
        match listen_to_signals(shutdown.clone(), reload.clone()) {
            Ok(()) => Box::pin(cli::run(arguments.command, &log, shutdown, reload)).await,
            Err(error) => {
                tracing::error!(%error, "signals can't be handled");
                ExitCode::FAILURE
            }
        }
    });
    // Everything has ended, except a read from standard input that a signal interrupted.
    runtime.shutdown_background();
    code
}

/// Finishes the log when it is dropped.
struct EndOfLog<'a>(&'a Log);

impl Drop for EndOfLog<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Makes this thread allocate from the arena that all others use. By default jemalloc has up to
/// four arenas a core, and an arena keeps freed memory for ten seconds: with several, each thread
/// that a fast download has moved to holds its memory once (benches/RESULTS.md).
fn share_one_arena() {
    if let Err(error) = THREAD_ARENA.name().write(0_u32) {
        tracing::warn!(%error, "threads do not share an arena of the allocator: more memory is held");
    }
}

/// Every SIGINT and SIGTERM stops gracefully: supervisors repeat SIGTERM, and each upload that is
/// cut has to be resumed. Only a second SIGINT, from a person at a terminal, ends the process at
/// once. SIGHUP makes the server read certificates again. The task lives as long as the process.
fn listen_to_signals(shutdown: CancellationToken, reload: Arc<Notify>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the task lives as long as the process"
    )]
    tokio::spawn(async move {
        let mut interrupted: Option<Instant> = None;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => {
                    reload.notify_one();
                    continue;
                }
            };
            if name == "SIGINT" {
                let first = *interrupted.get_or_insert_with(Instant::now);
                if first.elapsed() >= ONE_SIGNAL {
                    tracing::warn!(signal = name, "second SIGINT: the process ends at once");
                    Log::flush();
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the user wants the process to end at once"
                    )]
                    std::process::exit(GAVE_UP);
                }
            }
            if shutdown.is_cancelled() {
                tracing::info!(signal = name, "already stopping gracefully");
                continue;
            }
            tracing::info!(signal = name, "stopping gracefully");
            shutdown.cancel();
        }
    });
    Ok(())
}
