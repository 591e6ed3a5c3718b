//! Transfers and commands.

use test_support::ftp::Mode;
use test_support::transfers::{begin, interrupt, upload_in_progress};
use test_support::{MIB, pattern};

use super::{Scrape, with_admin};

#[tokio::test]
async fn a_transfer_is_counted_by_direction_class_and_mount() {
    let gateway = with_admin()
        .add_mount("scans", "scans", "")
        .user("u", "p", "{ \"/\" = \"main\", \"/in\" = \"scans\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    ftp.store("/a.bin", &pattern(5000, 1)).await;
    ftp.store("/in/b.bin", &pattern(7, 2)).await;
    ftp.retrieve("/a.bin").await;
    ftp.list("LIST").await;
    ftp.expect("EPSV", 229).await;
    ftp.expect("RETR /missing", 550).await;
    let scrape = Scrape::of(&gateway).await;
    for (direction, mount, bytes) in [
        ("in", "/", 5000.0),
        ("in", "/in", 7.0),
        ("out", "/", 5000.0),
    ] {
        let labels = [("direction", direction), ("mount", mount)];
        scrape.is("s3ftpd_transfer_bytes_total", &labels, bytes);
        let labels = [labels[0], labels[1], ("class", "ok")];
        scrape.is("s3ftpd_transfers_total", &labels, 1.0);
        scrape.is("s3ftpd_transfer_size_bytes_count", &labels, 1.0);
        scrape.is("s3ftpd_transfer_size_bytes_sum", &labels, bytes);
        scrape.is("s3ftpd_transfer_duration_seconds_count", &labels, 1.0);
    }
    let labels = [("direction", "in"), ("mount", "/in"), ("le", "4096.0")];
    scrape.is("s3ftpd_transfer_size_bytes_bucket", &labels, 1.0);
    scrape.is("s3ftpd_transfers_total", &[], 3.0);
    scrape.is("s3ftpd_listings_total", &[("class", "ok")], 1.0);
    let labels = [("verb", "RETR"), ("class", "not_found")];
    scrape.is("s3ftpd_refused_total", &labels, 1.0);
    for (verb, code, count) in [
        ("STOR", "226", 2.0),
        ("RETR", "226", 1.0),
        ("RETR", "550", 1.0),
        ("LIST", "226", 1.0),
        ("PASS", "230", 1.0),
        ("none", "220", 1.0),
        ("STOR", "150", 0.0),
    ] {
        let labels = [("verb", verb), ("code", code)];
        scrape.is("s3ftpd_commands_total", &labels, count);
    }
}

#[tokio::test]
async fn a_running_transfer_is_a_gauge_and_commands_in_it_have_their_own_verbs() {
    let gateway = with_admin().start().await;
    let mut ftp = gateway.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR /a", &pattern(MIB, 1)).await;
    ftp.expect("NOOP", 200).await;
    ftp.expect("STAT", 211).await;
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_transfers_running", &[("verb", "STOR")], 1.0);
    scrape.is("s3ftpd_sessions", &[("state", "transferring")], 1.0);
    assert!(scrape.sum("s3ftpd_memory_used_bytes", &[]) >= 65536.0);
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    drop(data);
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_transfers_running", &[], 0.0);
    scrape.is("s3ftpd_sessions", &[("state", "transferring")], 0.0);
    for (verb, code) in [
        ("NOOP", "200"),
        ("STAT", "211"),
        ("STOR", "426"),
        ("ABOR", "226"),
    ] {
        let labels = [("verb", verb), ("code", code)];
        let count = scrape.sum("s3ftpd_commands_total", &labels);
        // `upload_in_progress` asks by STAT, too.
        assert!(count >= 1.0, "{verb} {code}: {count}");
    }
    let labels = [("class", "client_aborted"), ("direction", "in")];
    scrape.is("s3ftpd_transfers_total", &labels, 1.0);
}

#[tokio::test]
async fn an_interrupted_upload_is_counted_and_has_a_record_until_it_is_resumed() {
    let gateway = with_admin().start().await;
    let bytes = pattern(6 * MIB, 3);
    interrupt(&gateway, "STOR /big", &bytes).await;
    let scrape = Scrape::until(&gateway, "it is stored", |scrape| {
        scrape.sum("s3ftpd_uploads_interrupted_total", &[]) > 0.0
    })
    .await;
    scrape.is("s3ftpd_uploads_interrupted_total", &[], 1.0);
    scrape.is("s3ftpd_upload_records", &[], 1.0);
    let mut ftp = gateway.ftp().await;
    ftp.store("/big", &bytes).await;
    Scrape::until(&gateway, "no record", |scrape| {
        scrape.sum("s3ftpd_upload_records", &[]) == 0.0
            && scrape.sum("s3ftpd_uploads_active", &[]) == 0.0
    })
    .await;
}

#[tokio::test]
async fn the_last_upload_of_a_user_is_reported_if_it_is_asked_for() {
    let gateway = with_admin()
        .with("[metrics]\nlast_uploads = 10")
        .start()
        .await;
    let name = "s3ftpd_last_upload_timestamp_seconds";
    let mut ftp = gateway.ftp().await;
    // A download and an upload that fails are none.
    ftp.expect("EPSV", 229).await;
    ftp.expect("RETR /missing", 550).await;
    let data = begin(&mut ftp, "STOR /a", Mode::Passive).await;
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    drop(data);
    assert!(!Scrape::of(&gateway).await.samples.contains_key(name));
    ftp.store("/a", b"x").await;
    let scrape = Scrape::of(&gateway).await;
    let time = scrape.sum(name, &[("user", "u")]);
    let uploaded = gateway.events.of(s3ftpd::events::Kind::Transfer);
    let uploaded = uploaded.last().unwrap().time.as_second();
    assert!((time - uploaded as f64).abs() < 1.0, "{time} {uploaded}");
}
