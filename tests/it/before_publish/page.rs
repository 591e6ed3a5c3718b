//! The receiver of docs/how-to/hooks.md, run as it stands there.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use test_support::gateway::{BUCKET, Gateway};
use test_support::within;

/// The code block of the page.
fn receiver() -> String {
    let page = include_str!("../../../docs/how-to/hooks.md");
    let (_, rest) = page.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_receiver_of_the_page_verifies_signatures_and_decides() {
    let mut receiver = Command::new("python3")
        .args(["-c", &receiver()])
        .env("HOOK_SECRET", "the secret")
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let first = within("its port", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    let port = first.strip_prefix("port ").unwrap();
    for (secret, csv, exe) in [("the secret", 226, 550), ("another", 451, 451)] {
        let gateway = Gateway::builder()
            .with(&format!(
                "[before_publish]\nurl = \"http://127.0.0.1:{port}/\"\nsecret = \"{secret}\"\n\
                 [events.e]\nurl = \"http://127.0.0.1:{port}/\"\nsecret = \"{secret}\"\n\
                 on = [\"upload\"]"
            ))
            .start()
            .await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("a.csv", b"a").await.code, csv);
        let reply = ftp.store("a.exe", b"a").await;
        assert_eq!(reply.code, exe, "{reply:?}");
        let named = reply.text().contains("programs are not accepted");
        assert_eq!(named, exe == 550, "{reply:?}");
        assert!(gateway.store.object(BUCKET, "a.exe").is_none());
        if csv == 226 {
            let line = within("the event", lines.next_line()).await.unwrap();
            assert_eq!(line.unwrap(), "s3ftpd.transfer /a.csv ok");
        }
    }
}
