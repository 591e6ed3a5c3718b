//! `s3ftpd demo`, without its process.

use s3_embedded::Backend;
use s3ftpd::cli::demo::{self, DemoError, Options};
use tokio_util::sync::CancellationToken;

use test_support::within;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_on_request_and_keeps_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let shutdown = CancellationToken::new();
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        data: Some(data.clone()),
        ..Options::default()
    };
    let running = tokio::spawn(demo::run(options, shutdown.clone()));
    shutdown.cancel();
    let ended = within("the demo's end", running).await.unwrap();
    ended.unwrap();
    // It no longer locks the directory.
    let store = Backend::open(&data).unwrap();
    assert!(store.keys("demo").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_an_error_that_names_the_port() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        listen: busy.local_addr().unwrap(),
        ..Options::default()
    };
    let run = demo::run(options, CancellationToken::new());
    let error = within("the refusal", run).await.unwrap_err();
    let address = busy.local_addr().unwrap();
    assert!(
        matches!(error, DemoError::PortInUse(busy) if busy == address),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_store_port_is_an_error_that_names_the_port() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        s3_listen: busy.local_addr().unwrap(),
        ..Options::default()
    };
    let run = demo::run(options, CancellationToken::new());
    let error = within("the refusal", run).await.unwrap_err();
    assert!(matches!(error, DemoError::StoreAddress { .. }), "{error}");
    assert!(error.to_string().contains("--s3-listen"), "{error}");
}
