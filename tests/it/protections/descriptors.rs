//! File descriptors: silent connections must never take the last ones.

use std::net::{IpAddr, SocketAddr};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::greeted;
use test_support::ftp::connect_from;
use test_support::process::Process;
use test_support::{MIB, pattern};

const ONE: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";
/// More than there are descriptors.
const FLOOD: usize = 1_500;

/// Silent connections from one address.
async fn silent(from: &str, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    // This process needs a descriptor for each too.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let from: IpAddr = from.parse().unwrap();
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push(connect_from(from, to).await.unwrap());
    }
    streams
}

/// During an upload one address opens more silent connections than there are descriptors: the
/// upload continues, its parts reach the store, and a client at another address logs in and
/// uploads.
async fn a_flood_harms_nobody(process: &Process) {
    let bytes = pattern(21 * MIB, 1);
    let (begin, rest) = bytes.split_at(6 * MIB);
    let mut uploading = greeted(ONE, process.address).await;
    uploading.login("u", "p").await;
    let mut data = uploading.data_passive().await;
    uploading.expect("STOR large", 150).await;
    data.write_all(begin).await.unwrap();
    process.store.wait_for("UploadPart", 1).await;

    let _silent = silent(ONE, process.address, FLOOD).await;
    let mut other = greeted(OTHER, process.address).await;
    other.login("u", "p").await;
    assert_eq!(other.store("small", b"1").await.code, 226);
    assert_eq!(other.retrieve("small").await.0, b"1");

    data.write_all(rest).await.unwrap();
    drop(data);
    uploading.expect_reply(226).await;
    assert!(process.store.object("files", "large") == Some(bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_descriptors_is_raised() {
    let settings = "[transfer]\npart_size = \"5MiB\"";
    let mut process = Process::start_under("ulimit -Sn 1024", "info", settings).await;
    let (soft, hard) = process.descriptors();
    assert!(soft == hard && soft > 1024, "{soft} of {hard}");
    a_flood_harms_nobody(&process).await;
    let log = process.stop().await;
    assert!(!log.contains("accept failed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn few_descriptors_limit_the_number_of_sessions() {
    let settings = "[transfer]\npart_size = \"5MiB\"";
    let mut process = Process::start_under("ulimit -n 512", "info", settings).await;
    assert_eq!(process.descriptors(), (512, 512));
    a_flood_harms_nobody(&process).await;
    let log = process.stop().await;
    assert!(!log.contains("accept failed"), "{log}");
    let warned = "limits.sessions = 10000 may need 16233 file descriptors, and the limit is 512: sessions are held to 172, before login to 43; raise the hard limit";
    assert!(log.contains(warned), "{log}");
}
