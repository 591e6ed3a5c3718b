//! The subcommands: arguments → a [`ServerOptions`](crate::server::options::ServerOptions) → the server.
//!
//! What they print goes to standard output, what went wrong to standard error. Exit codes: 0 right,
//! 1 failed while running (and `check` of a wrong configuration), 2 wrong usage or configuration.

mod check;
pub mod demo;
mod sweep;
mod warnings;

use std::io::{IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::{HashError, hash_password};
use crate::config;
use crate::server::Server;
use crate::server::capacity::descriptors;
use crate::server::capacity::{machine, memory};

/// Failed while running.
const FAILURE: u8 = 1;
/// Wrong usage or configuration; clap ends with it too.
const USAGE: u8 = 2;
/// No password is as long; what is beyond is not read.
const LONGEST_INPUT: u64 = 64 * 1024;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "s3ftpd",
    version,
    about = "An FTP server whose disk is S3",
    max_term_width = 100
)]
pub struct Cli {
    /// How much is logged: off, error, warn, info, debug, trace, or directives such as
    /// s3ftpd=debug,info; left out: what RUST_LOG says, else info
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How log lines are written, to standard error
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server
    Serve(Files),
    /// Runs a server with a store of its own, to try things out
    Demo(DemoArguments),
    /// Says everything that is wrong with a configuration, or sums it up
    Check(Files),
    /// Tells what broken uploads have left, and removes what is old
    Sweep(sweep::SweepArguments),
    /// Reads a password from standard input and prints its hash for the configuration
    HashPassword,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct Files {
    /// TOML or (.yaml, .yml) YAML; a later file overrides an earlier one, the environment (S3FTPD__…) all of them
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub config: Vec<PathBuf>,
}

/// What `demo` can be told.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Address of the control listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2121")]
    pub listen: SocketAddr,
    /// Directory that keeps the objects; left out: a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Ports of passive mode: FIRST-LAST, one port, or auto (the system's choice); a container publishes the same ones
    #[arg(long, value_name = "PORTS", default_value = "auto")]
    pub passive: String,
    /// Address or host name that passive mode tells clients; left out: the control connection's own
    #[arg(long, value_name = "HOST")]
    pub passive_address: Option<String>,
    /// Address of the embedded S3 store; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub s3_listen: SocketAddr,
}

/// Runs a subcommand to its end; `shutdown` ends `serve` and `demo` gracefully, `reload` has `serve` read certificates
/// anew.
pub async fn run(command: Command, shutdown: CancellationToken, reload: Arc<Notify>) -> ExitCode {
    match command {
        Command::Serve(files) => serve(&files.config, shutdown, &reload).await,
        Command::Demo(arguments) => {
            let options = demo::Options {
                listen: arguments.listen,
                data: arguments.data,
                passive_ports: arguments.passive,
                passive_address: arguments.passive_address,
                s3_listen: arguments.s3_listen,
            };
            match Box::pin(demo::run(options, shutdown)).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(FAILURE, &format!("demo: {error}")),
            }
        }
        Command::Check(files) => match Box::pin(check::check(&files.config)).await {
            Ok(summary) => print(&summary),
            Err(problems) => failed(FAILURE, &problems),
        },
        Command::Sweep(arguments) => {
            let swept = tokio::select! {
                swept = Box::pin(sweep::sweep(&arguments)) => swept,
                () = shutdown.cancelled() => return ExitCode::from(FAILURE),
            };
            match swept {
                Ok(text) => print(&text),
                Err((true, problems)) => failed(USAGE, &problems),
                Err((false, problems)) => failed(FAILURE, problems.trim_end()),
            }
        }
        Command::HashPassword => {
            // Reading blocks, and a signal must still end it.
            let reading = tokio::task::spawn_blocking(|| {
                let input = std::io::stdin();
                let terminal = input.is_terminal();
                if terminal {
                    eprint!("Password (it will show): ");
                }
                hash_from(input.lock(), terminal)
            });
            let read = tokio::select! {
                () = shutdown.cancelled() => return ExitCode::from(FAILURE),
                read = reading => read,
            };
            match read {
                Ok(Ok(hash)) => print(&format!("{hash}\n")),
                Ok(Err(error @ InputError::Read(_))) => failed(FAILURE, &error.to_string()),
                Ok(Err(error)) => failed(USAGE, &error.to_string()),
                Err(error) => failed(FAILURE, &error.to_string()),
            }
        }
    }
}

/// Has no more sessions than what the system allows suffices for; the warnings about that, and about what is probably not
/// meant in the configuration. An error if there is room for one session only.
fn cap(config: &mut crate::server::options::ServerOptions) -> Result<Vec<String>, String> {
    let descriptors = descriptors::cap(config, descriptors::limit());
    if let Some(shortage) = descriptors.as_ref().filter(|shortage| shortage.is_fatal()) {
        return Err(shortage.to_string());
    }
    let shortage = memory::cap(config, memory::memory());
    let warnings = [
        descriptors.map(|shortage| shortage.to_string()),
        shortage.map(|shortage| shortage.to_string()),
    ];
    let mut warnings: Vec<String> = warnings.into_iter().flatten().collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the machine's clock"
    )]
    warnings.extend(warnings::warnings(
        config,
        machine::memory(),
        jiff::Timestamp::now(),
    ));
    Ok(warnings)
}

async fn serve(files: &[PathBuf], shutdown: CancellationToken, reload: &Notify) -> ExitCode {
    let mut config = match config::load(files) {
        Ok(config) => config,
        Err(errors) => return failed(USAGE, &errors.to_string()),
    };
    match cap(&mut config) {
        Ok(warnings) => warnings
            .iter()
            .for_each(|warning| tracing::warn!("{warning}")),
        Err(problem) => return failed(USAGE, &problem),
    }
    let server = match Box::pin(Server::start(config)).await {
        Ok(server) => server,
        Err(error) => return failed(FAILURE, &error.to_string()),
    };
    if let Some(address) = server.admin_address() {
        tracing::info!(%address, "health endpoints");
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = reload.notified() => server.reload(),
        }
    }
    Box::pin(server.stop()).await;
    ExitCode::SUCCESS
}

/// Why standard input gave no hash.
#[derive(Debug, thiserror::Error)]
enum InputError {
    /// It can't be read, or is no UTF-8.
    #[error("standard input can't be read: {0}")]
    Read(#[from] std::io::Error),
    /// There is more than one line.
    #[error("standard input holds more than one line; a password is one line")]
    Lines,
    /// The password can't be hashed.
    #[error("{0}")]
    Password(#[from] HashError),
}

/// The hash of the one line in `input`. On a terminal the first line is all there is to wait for.
fn hash_from(input: impl Read, terminal: bool) -> Result<String, InputError> {
    let mut input = std::io::BufReader::new(input.take(LONGEST_INPUT));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut input, &mut line)?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    if !terminal && input.read(&mut [0])? > 0 {
        return Err(InputError::Lines);
    }
    Ok(hash_password(&SecretString::from(line))?)
}

/// Prints to standard output. A reader who has gone is a failure, and no panic.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILURE),
    }
}

fn failed(code: u8, problem: &str) -> ExitCode {
    // Nothing is left to be done where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{problem}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::auth::PasswordHash;

    #[test]
    fn arguments() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from([
            "s3ftpd",
            "serve",
            "--config",
            "a.toml",
            "b.yaml",
            "--log-format",
            "json",
        ]);
        let cli = cli.unwrap();
        assert_eq!(cli.log_format, LogFormat::Json);
        let Command::Serve(files) = cli.command else {
            panic!("not serve")
        };
        assert_eq!(
            files.config,
            [PathBuf::from("a.toml"), PathBuf::from("b.yaml")]
        );

        let Command::Demo(demo) = Cli::try_parse_from(["s3ftpd", "demo"]).unwrap().command else {
            panic!("not demo")
        };
        assert_eq!(demo.listen, ([127, 0, 0, 1], 2121).into());
        assert_eq!(demo.data, None);

        for wrong in [
            &["s3ftpd"][..],
            &["s3ftpd", "serve"],
            &["s3ftpd", "demo", "--listen", "x"],
            &["s3ftpd", "sing"],
        ] {
            assert_eq!(
                Cli::try_parse_from(wrong).unwrap_err().exit_code(),
                i32::from(USAGE),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn the_password_is_one_line() {
        for input in ["changeme", "changeme\n", "changeme\r\n"] {
            let hash = hash_from(input.as_bytes(), false).unwrap();
            assert!(
                PasswordHash::parse(&hash.into())
                    .unwrap()
                    .verify(&"changeme".into()),
                "{input:?}"
            );
        }
        let spaces = hash_from(" change me \n".as_bytes(), false).unwrap();
        assert!(
            PasswordHash::parse(&spaces.into())
                .unwrap()
                .verify(&" change me ".into())
        );
        for input in ["", "\n", "\r\n"] {
            let empty = hash_from(input.as_bytes(), false);
            assert!(
                matches!(empty, Err(InputError::Password(HashError::Empty))),
                "{input:?}"
            );
        }
        assert!(matches!(
            hash_from("one\ntwo\n".as_bytes(), false),
            Err(InputError::Lines)
        ));
        assert!(hash_from("one\ntwo\n".as_bytes(), true).is_ok());
        assert!(matches!(
            hash_from(&b"\xff\n"[..], false),
            Err(InputError::Read(_))
        ));
    }

    #[tokio::test]
    async fn a_wrong_configuration_stops_serve_before_anything_is_bound() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("wrong.toml");
        std::fs::write(&file, "listen = 3\n").unwrap();
        let files = || Files {
            config: vec![file.clone()],
        };
        let shutdown = CancellationToken::new;
        assert_eq!(
            run(Command::Serve(files()), shutdown(), Arc::default()).await,
            ExitCode::from(USAGE)
        );
        assert_eq!(
            run(Command::Check(files()), shutdown(), Arc::default()).await,
            ExitCode::from(FAILURE)
        );
    }
}
