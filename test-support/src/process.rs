//! The binary in front of a store of the test's process.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::ftp::Ftp;
use crate::launcher::{Launcher, ServerProcess};
use crate::settings::{BUCKET, PASSWORD, Settings, USER};
use crate::store::Store;

/// `s3ftpd serve` in front of a store of this process: a [`ServerProcess`].
pub struct Process {
    server: ServerProcess,
    /// Its store.
    pub store: Arc<Store>,
    /// The only directory that it knows, empty when it starts.
    pub temporary: tempfile::TempDir,
}

impl Process {
    /// Starts one with these settings and [`Settings::least`]: user `u`, password `p`, the bucket
    /// `files`.
    pub async fn start(settings: &str) -> Process {
        Self::start_logging("info", settings).await
    }

    /// The same, with this log level.
    pub async fn start_logging(level: &str, settings: &str) -> Process {
        Self::start_under("", level, settings).await
    }

    /// The same, after a shell command (`ulimit -n 100`).
    pub async fn start_under(before: &str, level: &str, settings: &str) -> Process {
        let store = Arc::new(Store::start(&[BUCKET]).await);
        Self::launch(store, before, level, settings).await
    }

    /// Starts one in front of a store that exists already.
    pub async fn start_on(store: &Arc<Store>, settings: &str) -> Process {
        Self::launch(Arc::clone(store), "", "info", settings).await
    }

    async fn launch(store: Arc<Store>, before: &str, level: &str, settings: &str) -> Process {
        let temporary = tempfile::tempdir().unwrap();
        let text = Settings::least(&store).with(settings).text();
        let server = Launcher::of_text(&text)
            .after(before)
            .options(&["--log", level, "--log-format", "json"])
            .in_directory(temporary.path())
            .start()
            .await;
        Process {
            server,
            store,
            temporary,
        }
    }

    /// A client that is logged in.
    pub async fn ftp(&self) -> Ftp {
        let mut ftp = Ftp::connect(self.address).await;
        ftp.login(USER, PASSWORD).await;
        ftp
    }

    /// Kills it with SIGKILL.
    pub async fn kill(self) {
        self.server.kill().await;
    }
}

impl Deref for Process {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.server
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut ServerProcess {
        &mut self.server
    }
}
