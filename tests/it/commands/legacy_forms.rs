//! Forms of commands that old clients send.

use super::answers;
use test_support::gateway::{BUCKET, Gateway};

#[tokio::test]
async fn cwd_to_a_tilde_or_to_nothing_is_the_start_directory() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "in/today/a", "1");
    gateway.store.put(BUCKET, "~/b", "1");
    let mut ftp = gateway.ftp().await;
    for (line, lands) in [
        ("CWD ~", "\"/\""),
        ("XCWD ~", "\"/\""),
        ("CWD ~/", "\"/\""),
        ("CWD ", "\"/\""),
        ("cwd ~/in/today", "\"/in/today\""),
        ("CWD ./~", "\"/in/~\""),
        // After a directory of that name exists.
        ("CWD ~", "\"/in/~\""),
        ("CWD /~", "\"/~\""),
    ] {
        ftp.expect("CWD /in", 250).await;
        if line.starts_with("CWD ./") {
            ftp.expect("MKD ~", 257).await;
        }
        ftp.expect(line, 250).await;
        let reply = ftp.expect("PWD", 257).await;
        assert!(reply.text().starts_with(lands), "{line}: {reply:?}");
    }
    ftp.expect("CWD ~/none", 550).await;
    // In all other commands it is a name.
    ftp.expect("CWD /", 250).await;
    ftp.expect("MKD ~", 550).await;
    assert_eq!(ftp.list("NLST ~").await.0, "~/b\r\n");
    ftp.expect("CWD ~x", 550).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn types_without_a_space_and_commands_of_old_cameras() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    answers(
        &mut ftp,
        &[
            ("TYPE L8", 200),
            ("type l8", 200),
            ("TYPE L8 ", 200),
            ("TYPE  I ", 200),
            ("TYPE L36", 504),
            ("TYPE L8 8", 501),
            ("TYPE AN", 501),
            ("MODE  S", 200),
            ("MODE S ", 200),
            ("STRU F ", 200),
            ("ALLO 100", 200),
            ("ALLO 100 R 10", 200),
            ("ALLO 0", 200),
            ("ALLO 999999999999999999", 552),
        ],
    )
    .await;
    ftp.close().await;
    gateway.stop().await;
}
