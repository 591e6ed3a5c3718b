//! Transfers in progress and interrupted ones, and the proof that nothing of them is left.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::ftp::{Ftp, Mode, reset_stream};
use crate::gateway::{Gateway, PASSWORD, USER};
use crate::within;

/// Begins a transfer: the 150 has come and the data connection is there.
pub async fn begin(ftp: &mut Ftp, command: &str, mode: Mode) -> TcpStream {
    let data = ftp.data(mode).await;
    ftp.expect(command, 150).await;
    data.stream().await
}

/// Begins an upload by `command` and sends `bytes`; the gateway has taken all of them when this returns.
pub async fn upload_in_progress(ftp: &mut Ftp, command: &str, bytes: &[u8]) -> TcpStream {
    let mut data = begin(ftp, command, Mode::Passive).await;
    data.write_all(bytes).await.unwrap();
    moved(ftp, bytes.len()).await;
    data
}

/// An upload in a session of its own that breaks off after `bytes`: its data connection is reset.
pub async fn break_off(gateway: &Gateway, command: &str, bytes: &[u8]) {
    break_off_as(gateway, USER, command, bytes).await;
}

async fn break_off_as(gateway: &Gateway, user: &str, command: &str, bytes: &[u8]) {
    let mut ftp = gateway.ftp_as(user, PASSWORD).await;
    let data = upload_in_progress(&mut ftp, command, bytes).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    ftp.close().await;
}

/// As [`break_off`], and waits until the gateway has stored what is needed to resume the upload.
pub async fn interrupt(gateway: &Gateway, command: &str, bytes: &[u8]) {
    interrupt_as(gateway, USER, command, bytes).await;
}

/// As [`interrupt`], by another user, whose password is that of [`USER`].
pub async fn interrupt_as(gateway: &Gateway, user: &str, command: &str, bytes: &[u8]) {
    break_off_as(gateway, user, command, bytes).await;
    settled(gateway).await;
}

/// Asks STAT until the gateway has received (or sent) this number of bytes of the running transfer.
pub async fn moved(ftp: &mut Ftp, bytes: usize) {
    let wanted = format!("{bytes} bytes in ");
    let asking = async {
        loop {
            let status = ftp.expect("STAT", 211).await;
            if status
                .lines
                .iter()
                .any(|line| line.trim().starts_with(&wanted))
            {
                return;
            }
        }
    };
    within(&format!("{bytes} bytes moved"), asking).await;
}

/// The length that SIZE reports.
pub async fn size(ftp: &mut Ftp, path: &str) -> usize {
    let reply = ftp.expect(&format!("SIZE {path}"), 213).await;
    reply.text().parse().unwrap()
}

/// Waits until no session is open.
pub async fn sessions_ended(gateway: &Gateway) {
    let ended = async {
        while gateway.server.sessions() != 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within("the end of all sessions", ended).await;
}

/// Waits until no transfer has left anything: no open multipart upload in the store, no memory of
/// the budget. `sessions` of them are still open.
pub async fn nothing_left(gateway: &Gateway, sessions: usize) {
    let quiet = async {
        while gateway.server.sessions() != sessions
            || gateway.budget_in_use() != 0
            || gateway.server.uploads() != 0
            || !gateway.store.open_uploads().is_empty()
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(crate::DEADLINE, quiet).await.is_err() {
        panic!(
            "left: {} sessions, {} bytes of the budget, {} uploads, in the store {:?}",
            gateway.server.sessions(),
            gateway.budget_in_use(),
            gateway.server.uploads(),
            gateway.store.open_uploads()
        );
    }
}

/// Waits until each interrupted upload of the gateway has been saved or removed.
pub async fn settled(gateway: &Gateway) {
    settled_but(gateway, 0).await;
}

/// The same, while `running` uploads are still running.
pub async fn settled_but(gateway: &Gateway, running: usize) {
    let quiet = async {
        while gateway.server.uploads() != running {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within("each upload is saved or removed", quiet).await;
}

/// A data connection (EPSV) whose receive buffer holds almost nothing.
pub async fn narrow_data(ftp: &mut Ftp) -> TcpStream {
    let address = ftp.epsv().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    within("the data connection", socket.connect(address))
        .await
        .unwrap()
}
