//! `serve`: runs the server until a signal stops it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::log::Log;
use crate::config;
use crate::events::EventSink;
use crate::events::xferlog::TransferLog;
use crate::server::builder::Builder;
use crate::server::options::ServerOptions;
use crate::server::reload::{ConfigurationSource, UnusableConfiguration};
use crate::server::{Server, ServerError};

use super::limits::cap;
use super::output::{FAILURE, STORE, USAGE, failed};

/// Runs the server until `shutdown`; `reload` makes it read the configuration and certificates
/// anew, and open the transfer log anew.
pub(super) async fn run(
    files: &[PathBuf],
    log: &Log,
    shutdown: CancellationToken,
    reload: &Notify,
) -> ExitCode {
    let mut config = match config::load(files) {
        Ok(config) => config,
        Err(errors) => return failed(USAGE, &errors.to_string()),
    };
    log.configure(&config.log);
    match cap(&mut config) {
        Ok(warnings) => warnings
            .iter()
            .for_each(|warning| tracing::warn!("{warning}")),
        Err(problem) => return failed(USAGE, &problem),
    }
    let transfer_log = match config
        .log
        .xferlog
        .as_ref()
        .map(TransferLog::start)
        .transpose()
    {
        Ok(transfer_log) => transfer_log,
        Err(error) => return failed(FAILURE, &error.to_string()),
    };
    let mut sinks = log.sinks();
    if let Some(transfer_log) = &transfer_log {
        sinks.push(Arc::<TransferLog>::clone(transfer_log));
    }
    let server = match Box::pin(start(config, files, sinks, log, &shutdown)).await {
        Ok(Some(server)) => server,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error @ ServerError::RequiredStore(_)) => return failed(STORE, &error.to_string()),
        Err(error) => return failed(FAILURE, &error.to_string()),
    };
    if let Some(address) = server.admin_address() {
        tracing::info!(%address, "health endpoints");
    }
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = reload.notified() => {
                server.reload();
                if let Some(transfer_log) = &transfer_log {
                    transfer_log.reopen();
                }
            }
        }
    }
    Box::pin(server.stop()).await;
    if let Some(transfer_log) = &transfer_log {
        transfer_log.stop().await;
    }
    ExitCode::SUCCESS
}

/// The configuration files of the command line.
#[derive(Debug)]
struct ConfigurationFiles(Vec<PathBuf>);

impl ConfigurationSource for ConfigurationFiles {
    fn load(&self) -> Result<ServerOptions, UnusableConfiguration> {
        let loaded = config::load(&self.0);
        let mut config = loaded.map_err(|errors| UnusableConfiguration {
            text: errors.to_string(),
            inputs: errors.inputs().clone(),
        })?;
        match cap(&mut config) {
            Ok(warnings) => warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}")),
            Err(text) => {
                let inputs = config.inputs;
                return Err(UnusableConfiguration { text, inputs });
            }
        }
        Ok(config)
    }
}

/// Starts the server, whose status page may change the log. `None`: `shutdown` came first.
async fn start(
    config: ServerOptions,
    files: &[PathBuf],
    sinks: Vec<Arc<dyn EventSink>>,
    log: &Log,
    shutdown: &CancellationToken,
) -> Result<Option<Server>, ServerError> {
    let source = Arc::new(ConfigurationFiles(files.to_vec()));
    let built = shutdown.run_until_cancelled(Box::pin(Builder::new(config, sinks)));
    let Some(builder) = built.await.transpose()? else {
        return Ok(None);
    };
    let builder = builder.log_switch(Arc::new(log.clone())).follow(source);
    let hooks = builder.event_hooks();
    // It may wait for a required store.
    let started = shutdown.run_until_cancelled(Box::pin(builder.start()));
    let server = started.await.transpose()?;
    if server.is_none() {
        hooks.stop().await;
    }
    Ok(server)
}
