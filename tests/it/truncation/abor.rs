//! ABOR before an upload is published, in each form in which clients send it.

use tokio::io::AsyncWriteExt;

use super::{ABORS, nothing_is_published, nothing_is_published_by};

#[tokio::test]
async fn an_abor_in_the_middle() {
    for abor in ABORS {
        nothing_is_published(abor.cases(), "", async |mut ftp, data| {
            abor.send(&mut ftp).await;
            let reply = ftp.expect_reply(426).await;
            assert!(reply.text().contains("aborted by the client"), "{reply:?}");
            ftp.expect_reply(226).await;
            drop(data);
            Some(ftp)
        })
        .await;
    }
}

#[tokio::test]
async fn an_abor_right_after_the_data_ends() {
    for abor in ABORS {
        nothing_is_published(abor.cases(), "", async |mut ftp, mut data| {
            data.shutdown().await.unwrap();
            abor.send(&mut ftp).await;
            ftp.expect_reply(426).await;
            ftp.expect_reply(226).await;
            Some(ftp)
        })
        .await;
    }
}

#[tokio::test]
async fn an_abor_right_before_the_data_ends_and_after_queued_commands() {
    nothing_is_published_by("", async |mut ftp, mut data| {
        ftp.send_raw(b"PWD\r\nABOR\r\n").await;
        data.shutdown().await.unwrap();
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        // The replies to queued commands follow.
        ftp.expect_reply(257).await;
        Some(ftp)
    })
    .await;
}
