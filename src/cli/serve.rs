//! `serve`: runs the server until a signal stops it.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::server::Server;

use super::limits::cap;
use super::output::{FAILURE, USAGE, failed};

/// Runs the server until `shutdown`; `reload` makes it read certificates anew.
pub(super) async fn run(
    files: &[PathBuf],
    shutdown: CancellationToken,
    reload: &Notify,
) -> ExitCode {
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
    let server = match Box::pin(Server::start(config, Vec::new())).await {
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
