//! A slow line to a store, which all connections share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The receive buffer of a connection: small, so that the line's rate limits the sender.
const WINDOW: u32 = 64 * 1024;

/// Carries `rate` bytes a second to the store, and back without a limit. It ends when it is
/// dropped.
pub struct SlowLine {
    address: SocketAddr,
    _carries: JoinSet<()>,
}

impl SlowLine {
    /// A line to a store.
    pub fn to(store: SocketAddr, rate: u64) -> SlowLine {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(WINDOW).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let free = Arc::new(Mutex::new(Instant::now()));
        let mut carries = JoinSet::new();
        carries.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(store).await.unwrap();
                connections.spawn(carry(near, far, rate, Arc::clone(&free)));
            }
        });
        SlowLine {
            address,
            _carries: carries,
        }
    }

    /// The URL of the store at its other end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn carry(near: TcpStream, far: TcpStream, rate: u64, free: Arc<Mutex<Instant>>) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let there = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = near_read.read(&mut bytes).await {
            let through = {
                let mut free = free.lock().unwrap();
                let takes = Duration::from_micros(count as u64 * 1_000_000 / rate);
                *free = Instant::now().max(*free) + takes;
                *free
            };
            sleep_until(through).await;
            if far_write.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = tokio::io::copy(&mut far_read, &mut near_write) => {}
    }
}
