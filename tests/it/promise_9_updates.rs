//! Promise 9: a rolling update breaks no transfer that ends within the grace period, nor one that had its 226 before.

use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::support::gateway::{BUCKET, Gateway};
use crate::support::{MIB, pattern, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_until_a_finished_download_is_with_its_client() {
    // What a client's kernel takes before the client reads.
    const AHEAD: usize = 64 * 1024;
    let gateway = Gateway::builder()
        .with("[timeouts]\nshutdown_grace = \"60s\"")
        .start()
        .await;
    let bytes = pattern(MIB, 1);
    gateway.store.put(BUCKET, "f", &bytes);
    let mut ftp = gateway.ftp().await;
    let address = ftp.epsv().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut data = within("the data connection", socket.connect(address))
        .await
        .unwrap();
    ftp.expect("RETR f", 150).await;
    ftp.expect_reply(226).await;
    ftp.expect("QUIT", 221).await;
    ftp.expect_end().await;

    let mut stop = pin!(gateway.stop());
    let mut got = vec![0; bytes.len()];
    let mut read = 0;
    // Some seconds in all, a second more than a client may keep a connection open that it has read.
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    while read + AHEAD < bytes.len() {
        tokio::select! {
            biased;
            _ = &mut stop => panic!("stopped with {} bytes to be sent", bytes.len() - read),
            _ = pace.tick() => {}
        }
        let piece = AHEAD.min(bytes.len() - read);
        within("some more", data.read_exact(&mut got[read..read + piece]))
            .await
            .unwrap();
        read += piece;
    }
    let rest = async {
        data.read_exact(&mut got[read..]).await.unwrap();
        assert_eq!(data.read(&mut [0]).await.unwrap(), 0);
    };
    let (store, ()) = within("the stop", async { tokio::join!(stop, rest) }).await;
    assert!(got == bytes);
    drop(store);
}
