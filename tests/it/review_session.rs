//! What a review of the session found, a test each.

use std::net::Shutdown;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::faults::Fault;
use crate::support::ftp::{Ftp, read_to_end_deadline};
use crate::support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use crate::support::within;

/// An upload of some bytes that goes on until its data connection is closed.
async fn begin_upload(ftp: &mut Ftp, path: &str) -> TcpStream {
    let mut data = ftp.data_passive().await;
    ftp.expect(&format!("STOR {path}"), 150).await;
    data.write_all(b"bytes").await.unwrap();
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_too_long_during_an_upload_gets_the_final_reply_and_500() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let data = begin_upload(&mut ftp, "a").await;
    ftp.send_raw(&[b'x'; 5000]).await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(500).await;
    ftp.expect_end().await;
    drop(data);
    assert_eq!(gateway.store.object(BUCKET, "a"), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_his_side_behind_a_quit_gets_the_replies_all_the_same() {
    let gateway = Gateway::start().await;
    let control = std::net::TcpStream::connect(gateway.address).unwrap();
    control.set_nonblocking(true).unwrap();
    let twin = control.try_clone().unwrap();
    let mut ftp = Ftp::over(TcpStream::from_std(control).unwrap());
    ftp.expect_reply(220).await;
    ftp.login(USER, PASSWORD).await;
    let mut data = begin_upload(&mut ftp, "a").await;
    data.shutdown().await.unwrap();
    ftp.send_raw(b"PWD\r\nQUIT\r\n").await;
    twin.shutdown(Shutdown::Write).unwrap();
    ftp.expect_reply(226).await;
    ftp.expect_reply(257).await;
    ftp.expect_reply(221).await;
    ftp.expect_end().await;
    assert_eq!(gateway.store.object(BUCKET, "a").unwrap(), b"bytes");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quit_held_since_the_transfer_before_is_no_goodbye_to_this_one() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut first = begin_upload(&mut ftp, "first").await;
    let listener = tokio::net::TcpListener::bind((ftp.local_addr().ip(), 0))
        .await
        .unwrap();
    let port = crate::support::ftp::port_command(listener.local_addr().unwrap());
    ftp.send_raw(format!("{port}\r\nSTOR second\r\nQUIT\r\n").as_bytes())
        .await;
    first.shutdown().await.unwrap();
    let (mut second, _) = within("the second data connection", listener.accept())
        .await
        .unwrap();
    ftp.expect_reply(226).await;
    ftp.expect_reply(200).await;
    ftp.expect_reply(150).await;
    second.write_all(b"bytes").await.unwrap();
    ftp.close().await;
    let _ = second.shutdown().await;
    crate::support::transfers::settled(&gateway).await;
    assert!(gateway.store.object(BUCKET, "first").is_some());
    assert_eq!(gateway.store.object(BUCKET, "second"), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_in_the_order_of_their_commands_during_a_transfer() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin_upload(&mut ftp, "a").await;
    ftp.expect("NOOP", 200).await;
    ftp.send_raw(b"PWD\r\nNOOP\r\nSTAT\r\n").await;
    data.shutdown().await.unwrap();
    for code in [226, 257, 200, 211] {
        ftp.expect_reply(code).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// A copy of an object onto itself is allowed where its metadata is replaced; the delete behind it would take both.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_onto_another_name_of_the_same_object_deletes_nothing() {
    let gateway = Gateway::builder()
        .with(&format!(
            "[mounts.alias]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"dir/\"\n\
             [users.u]\nmounts = {{ \"/\" = \"main\", \"/alias\" = \"alias\" }}"
        ))
        .start()
        .await;
    gateway.store.put(BUCKET, "dir/a", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR /dir/a", 350).await;
    ftp.expect("RNTO /alias/a", 250).await;
    assert_eq!(gateway.store.object(BUCKET, "dir/a").unwrap(), b"bytes");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_goes_on_does_not_hold_up_the_end_beyond_the_grace_period() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nshutdown_grace = \"100ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "a", "bytes");
    let stalled = gateway.store.fail("CopyObject").always().with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR a", 350).await;
    ftp.send("RNTO b").await;
    stalled.hit().await;
    let store = within("the end of the server", gateway.stop()).await;
    ftp.expect_reply(451).await;
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
    assert_eq!(store.object(BUCKET, "a").unwrap(), b"bytes");
    stalled.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn rein_gives_no_more_time_to_log_in() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nlogin = \"300ms\"")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    let knocking = async {
        loop {
            match ftp.command("REIN").await.code {
                220 => {}
                code => break code,
            }
        }
    };
    assert_eq!(within("the deadline of the login", knocking).await, 421);
    ftp.expect_end().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_the_name_of_a_directory_is_refused() {
    let gateway = Gateway::builder()
        .with(&format!(
            "[mounts.deep]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"deep/\"\n\
             [users.u]\nmounts = {{ \"/\" = \"main\", \"/way/deep\" = \"deep\" }}"
        ))
        .start()
        .await;
    gateway.store.put(BUCKET, "in/a", "1");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD in", 250).await;
    for path in [
        "/in/",
        ".",
        "..",
        "new/.",
        "/way",
        "/way/",
        "/way/deep",
        "/",
    ] {
        for verb in ["STOR", "APPE"] {
            let data = ftp.data_passive().await;
            let reply = ftp.expect(&format!("{verb} {path}"), 550).await;
            assert!(reply.text().ends_with("is a directory"), "{reply:?}");
            drop(data);
        }
    }
    assert_eq!(gateway.store.keys(BUCKET), ["in/a"]);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_brackets_is_listed_as_it_is() {
    let gateway = Gateway::start().await;
    for key in ["a[1].csv", "a1.csv", "dir[2]/x"] {
        gateway.store.put(BUCKET, key, "1");
    }
    let mut ftp = gateway.ftp().await;
    for (argument, expected) in [
        ("a[1].csv", "a[1].csv\r\n"),
        ("dir[2]", "dir[2]/x\r\n"),
        ("a[0-9].csv", "a1.csv\r\n"),
        ("[b-z]*", "dir[2]\r\n"),
    ] {
        let (text, reply) = ftp.list(&format!("NLST {argument}")).await;
        assert_eq!((text.as_str(), reply.code), (expected, 226), "{argument}");
    }
    ftp.close().await;
    gateway.stop().await;
}

/// What a device may do that only drops files: store new ones, wherever it may go, and see nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_box_takes_files_and_shows_none() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"write\"]")
        .start()
        .await;
    gateway.store.put(BUCKET, "in/old", "old");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD in", 250).await;
    assert_eq!(ftp.store("new", b"bytes").await.code, 226);
    assert_eq!(ftp.store("old", b"bytes").await.code, 550);
    gateway.store.reset_counts();
    for command in [
        "LIST",
        "LIST -la *",
        "LIST o[l]d",
        "NLST old",
        "MLSD",
        "RETR old",
        "SIZE old",
        "SIZE none",
        "MDTM old",
        "MDTM 20200102030405 old",
        "MLST old",
        "STAT old",
        "DELE old",
        "RNFR old",
        "MKD x",
        "RMD /in",
    ] {
        let data = ftp.data_passive().await;
        let reply = ftp.expect(command, 550).await;
        assert!(
            reply.text().contains("no permission to "),
            "{command}: {reply:?}"
        );
        drop(data);
    }
    assert!(
        gateway.store.requests().is_empty(),
        "refusals ask the store nothing"
    );
    assert_eq!(gateway.store.keys(BUCKET), ["in/new", "in/old"]);
    assert_eq!(gateway.store.object(BUCKET, "in/old").unwrap(), b"old");
    ftp.close().await;
    gateway.stop().await;
}

/// A port that was set up for one user is of no use to the next, and a refused STOR closes what was opened for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_connection_belongs_to_its_command_and_login() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"list\", \"read\"]")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    for ending in ["STOR a", "USER u", "REIN", "ABOR"] {
        let mut data = ftp.data_passive().await;
        ftp.command(ending).await;
        let (bytes, _) = read_to_end_deadline(&mut data).await;
        assert!(bytes.is_empty());
        match ending {
            "USER u" => drop(ftp.expect(&format!("PASS {PASSWORD}"), 230).await),
            "REIN" => ftp.login(USER, PASSWORD).await,
            _ => {}
        }
        ftp.expect("LIST", 425).await;
    }
    ftp.close().await;
    gateway.stop().await;
}

/// A client that probes for files it never gets must not use up the ports of its address.
#[tokio::test(flavor = "multi_thread")]
async fn refused_transfers_use_up_no_ports() {
    let gateway = Gateway::builder()
        .with("[passive]\nports = \"auto:2\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let first = ftp.epsv().await;
    for _ in 0..50 {
        ftp.expect("RETR none", 550).await;
        assert_eq!(ftp.epsv().await, first);
    }
    ftp.close().await;
    gateway.stop().await;
}
