//! The subcommands: arguments → [`ServerOptions`](crate::server::options::ServerOptions) → the
//! server.
//!
//! Commands print results to standard output and errors to standard error. Exit codes: 0 success, 1
//! failure while running (and `check` of a wrong configuration), 2 wrong usage or configuration, 3 a
//! store that can't be used, or something that `import` could not carry over.

mod check;
pub mod demo;
mod hash_password;
mod import;
mod limits;
pub mod log;
mod output;
mod serve;
mod sweep;
#[cfg(feature = "otlp")]
pub mod traces;
mod warnings;
mod whoami;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use log::{Log, LogArguments};
use output::{FAILURE, USAGE, failed, print};
use sweep::SweepError;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "s3ftpd",
    version,
    about = "An FTP server whose disk is S3",
    max_term_width = 100
)]
pub struct Cli {
    /// The log
    #[command(flatten)]
    pub log: LogArguments,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server
    Serve(Files),
    /// Runs a server with an embedded store, to try things out
    Demo(DemoArguments),
    /// Reports everything that is wrong with a configuration, or sums it up; looks at its stores
    Check(check::CheckArguments),
    /// Reports interrupted uploads and other leftovers, and removes the old ones
    Sweep(sweep::SweepArguments),
    /// Shows what a user would get: tree, permissions and limits, and the origin of each
    Whoami(whoami::WhoamiArguments),
    /// Prints the JSON Schema of the configuration
    Schema,
    /// Reads a password from standard input and prints its hash for the configuration
    HashPassword,
    /// Writes the users of another FTP server as files of the configuration
    Import(import::ImportArguments),
}

/// The location of the configuration.
#[derive(Debug, Args)]
pub struct Files {
    /// TOML or (.yaml, .yml) YAML; a later file overrides an earlier one, the environment
    /// (S3FTPD__…) all of them
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub config: Vec<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Address of the control listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2121")]
    pub listen: SocketAddr,
    /// Directory that keeps the objects; default: a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Ports of passive mode: FIRST-LAST, one port, or auto (the system's choice); a container
    /// publishes the same ones
    #[arg(long, value_name = "PORTS", default_value = "auto")]
    pub passive: String,
    /// Address or host name for clients in passive mode; default: the control connection's own
    /// address
    #[arg(long, value_name = "HOST")]
    pub passive_address: Option<String>,
    /// Address of the embedded S3 store; port 0: the system chooses one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub s3_listen: SocketAddr,
}

/// Runs a subcommand to its end. `shutdown` ends `serve` and `demo` gracefully; `reload` makes
/// `serve` read certificates again.
pub async fn run(
    command: Command,
    log: &Log,
    shutdown: CancellationToken,
    reload: Arc<Notify>,
) -> ExitCode {
    match command {
        Command::Serve(files) => serve::run(&files.config, log, shutdown, &reload).await,
        Command::Demo(arguments) => {
            let options = demo::Options {
                listen: arguments.listen,
                data: arguments.data,
                passive_ports: arguments.passive,
                passive_address: arguments.passive_address,
                s3_listen: arguments.s3_listen,
                sinks: log.sinks(),
            };
            match Box::pin(demo::run(options, shutdown)).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(FAILURE, &format!("demo: {error}")),
            }
        }
        Command::Whoami(arguments) => whoami::run(&arguments),
        Command::Schema => print(&crate::config::schema()),
        Command::Check(arguments) => Box::pin(check::run(&arguments, &shutdown)).await,
        Command::Sweep(arguments) => {
            let swept = tokio::select! {
                swept = Box::pin(sweep::sweep(&arguments, log)) => swept,
                () = shutdown.cancelled() => return ExitCode::from(FAILURE),
            };
            match swept {
                Ok(text) => print(&text),
                Err(error @ SweepError::Configuration(_)) => failed(USAGE, &error.to_string()),
                Err(error @ (SweepError::Store { .. } | SweepError::Incomplete(_))) => {
                    failed(FAILURE, error.to_string().trim_end())
                }
            }
        }
        Command::HashPassword => hash_password::run(shutdown).await,
        Command::Import(arguments) => import::run(arguments, shutdown).await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::events::options::LogFormat;

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
        assert_eq!(cli.log.format, Some(LogFormat::Json));
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
            &["s3ftpd", "--log", "inof", "demo"],
        ] {
            assert_eq!(
                Cli::try_parse_from(wrong).unwrap_err().exit_code(),
                i32::from(USAGE),
                "{wrong:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_wrong_configuration_stops_serve_before_anything_is_bound() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("wrong.toml");
        std::fs::write(&file, "listen = 3\n").unwrap();
        let files = || Files {
            config: vec![file.clone()],
        };
        let check = check::CheckArguments {
            files: files(),
            stores: false,
            write: false,
            format: check::CheckFormat::Text,
        };
        let shutdown = CancellationToken::new;
        let (log, _) = Log::new(&LogArguments::default(), false, std::io::sink);
        assert_eq!(
            run(Command::Serve(files()), &log, shutdown(), Arc::default()).await,
            ExitCode::from(USAGE)
        );
        assert_eq!(
            run(Command::Check(check), &log, shutdown(), Arc::default()).await,
            ExitCode::from(FAILURE)
        );
    }
}
